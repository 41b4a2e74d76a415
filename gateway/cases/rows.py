"""Bank entries and disclosed lines in the same words, with what of each is still open."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import sqlalchemy as sa

from gateway.domain.errors import not_found
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Select

Side = Literal["bank", "ledger"]

_COLLECTIONS: Final[Mapping[str, Side]] = {"bankEntries": "bank", "lines": "ledger"}
_NAME: Final = re.compile(r"funds/([^/]+)/(bankEntries|lines)/([^/]+)")
_LINE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")


class Key(NamedTuple):
    """A row within its fund: the side, and the entry's id or the line's number."""

    side: Side
    member_id: str


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A bank entry or a disclosed line; amounts in fen, a credit or receipt positive.

    Attributes:
        key: which.
        account_id: the fund's bank account.
        currency: ISO 4217 code.
        amount_minor: all of it.
        taken_minor: what decisions have matched of it while a rest is open.
        match_id: the match that closed it; empty while it is open.
        day: the bank's booking date, or the day the line counts for.
        value_date: the bank's; None for a line.
        own_id: end-to-end id, or the payment's id.
        reference: the bank's, or the line's.
        batch_id: the batch that it names.
        counterparty_name: the other side.
        counterparty_account: its account.
        text: the bank's text, or the line's summary.
        book: of a line; empty for an entry.
    """

    key: Key
    account_id: str
    currency: str
    amount_minor: int
    taken_minor: int
    match_id: str
    day: date
    value_date: date | None
    own_id: str
    reference: str
    batch_id: str
    counterparty_name: str
    counterparty_account: str
    text: str
    book: str

    @property
    def open_minor(self) -> int:
        """What of it is not matched, signed as the row."""
        return 0 if self.match_id else self.amount_minor - self.taken_minor

    @property
    def signed_open_minor(self) -> int:
        """What it adds to the bank's side less the ledger's."""
        return self.open_minor if self.key.side == "bank" else -self.open_minor


def row_name(fund_id: str, key: Key) -> str:
    """Its resource name."""
    collection = "bankEntries" if key.side == "bank" else "lines"
    return f"funds/{fund_id}/{collection}/{key.member_id}"


def key_of(name: str) -> tuple[str, Key]:
    """The fund and the row that a resource name means.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND for what cannot be the name of one.
    """
    match = _NAME.fullmatch(name)
    if match is None or (match[2] == "lines" and not _LINE_NUMBER.fullmatch(match[3])):
        raise not_found(name)
    return match[1], Key(_COLLECTIONS[match[2]], match[3])


async def load_rows(
    conn: AsyncConnection, fund_id: str, keys: Collection[Key]
) -> dict[Key, OpenRow]:
    """These rows, as far as the fund has them, in the order asked for."""
    entries = [key.member_id for key in keys if key.side == "bank"]
    numbers = [int(key.member_id) for key in keys if key.side == "ledger"]
    e, d = t.bank_entries.c, t.disclosed_lines.c
    query = sa.union_all(
        select_entries().where(e.fund_id == fund_id, e.bank_entry_id.in_(entries)),
        select_lines().where(d.fund_id == fund_id, d.line_number.in_(numbers)),
    )
    found = {row.key: row for row in map(open_row, await conn.execute(query))}
    return {key: found[key] for key in keys if key in found}


async def members_of(
    conn: AsyncConnection, cases: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], tuple[OpenRow, ...]]:
    """The rows of cases, by fund and case: entries first, the oldest first."""
    m, e, d = t.case_members.c, t.bank_entries.c, t.disclosed_lines.c
    wanted = sa.tuple_(m.fund_id, m.case_id).in_(list(cases))
    of_case = (m.fund_id, m.case_id)
    # Only behind the side is a member's id known to be a number.
    number = sa.case((m.side == "ledger", sa.cast(m.member_id, sa.BigInteger)))
    query = sa.union_all(
        select_entries(*of_case)
        .join(t.case_members, (m.fund_id == e.fund_id) & (m.member_id == e.bank_entry_id))
        .where(wanted, m.side == "bank"),
        select_lines(*of_case)
        .join(t.case_members, (m.fund_id == d.fund_id) & (number == d.line_number))
        .where(wanted, m.side == "ledger"),
    ).order_by("side", "day", "member_id")
    groups: dict[tuple[str, str], list[OpenRow]] = defaultdict(list)
    for row in await conn.execute(query):
        groups[row.fund_id, row.case_id].append(open_row(row))
    return {group: tuple(rows) for group, rows in groups.items()}


async def members_of_case(conn: AsyncConnection, fund_id: str, case_id: str) -> tuple[OpenRow, ...]:
    """The rows of one case: entries first, the oldest first."""
    this = (fund_id, case_id)
    return (await members_of(conn, [this])).get(this, ())


def select_entries(*before: sa.ColumnElement[Any]) -> Select:
    """Bank entries in the columns of an `OpenRow`, behind columns of one's own."""
    e = t.bank_entries.c
    return sa.select(
        *before,
        sa.literal("bank").label("side"),
        e.bank_entry_id.label("member_id"),
        e.account_id,
        e.currency,
        e.amount_minor,
        e.taken_minor,
        e.match_id,
        e.booking_date.label("day"),
        e.value_date,
        e.end_to_end_id.label("own_id"),
        e.reference,
        e.batch_id,
        e.counterparty_name,
        e.counterparty_account,
        e.text.label("text"),
        sa.literal("").label("book"),
    ).select_from(t.bank_entries)


def select_lines(*before: sa.ColumnElement[Any]) -> Select:
    """Disclosed lines in the columns of an `OpenRow`, behind columns of one's own."""
    d = t.disclosed_lines.c
    return sa.select(
        *before,
        sa.literal("ledger").label("side"),
        sa.cast(d.line_number, sa.Text).label("member_id"),
        d.account_id,
        t.funds.c.currency,
        d.amount_minor,
        d.taken_minor,
        d.match_id,
        d.effective_date.label("day"),
        sa.cast(sa.null(), sa.Date).label("value_date"),
        d.payment_id.label("own_id"),
        d.reference,
        d.batch_id,
        d.counterparty_name,
        d.counterparty_account,
        d.summary.label("text"),
        d.book,
    ).join_from(t.disclosed_lines, t.funds, t.funds.c.fund_id == d.fund_id)


def open_row(row: Any) -> OpenRow:  # noqa: ANN401 - a row of any query over these columns
    """A row of `select_entries` or `select_lines`."""
    return OpenRow(
        key=Key(row.side, row.member_id),
        account_id=row.account_id,
        currency=row.currency,
        amount_minor=row.amount_minor,
        taken_minor=row.taken_minor,
        match_id=row.match_id,
        day=row.day,
        value_date=row.value_date,
        own_id=row.own_id,
        reference=row.reference,
        batch_id=row.batch_id,
        counterparty_name=row.counterparty_name,
        counterparty_account=row.counterparty_account,
        text=row.text,
        book=row.book,
    )
