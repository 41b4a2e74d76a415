"""The only writer of lines, entries and postings. Debit is positive, credit negative."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import GatewayError, Kind, Reason, not_found, precondition
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

OPENING_CATEGORY: Final = "期初余额"
"""Category of the line that takes over what the account held before the gateway."""

_SETTLED_WITHOUT_BANK: Final = "opening"


@dataclass(frozen=True, slots=True)
class LineDraft:
    """A line about to be disclosed.

    Attributes:
        account_id: the fund's bank account through which the money moves.
        book: ``COMMON`` or ``MAINTENANCE``.
        category: under which the owners read it.
        summary: what for.
        amount_minor: minor units; receipts above zero, payments below, never zero.
        effective_date: the day it counts for.
        payment_id: the payment it comes from, empty for others.
        batch_id: the batch of that payment.
        reference: what the bank's entry will carry, where known.
        counterparty_name: the other side; masked when shown.
        counterparty_account: its account; masked when shown.
        vouchers: SHA-256 of each voucher.
        signatures: who asked and who signed: ``party_name``, ``role``, ``created_at``; no persons.
        corrects: number of the line that this one takes back (红字).
        correction_reason: why.
    """

    account_id: str
    book: str
    category: str
    summary: str
    amount_minor: int
    effective_date: date
    payment_id: str = ""
    batch_id: str = ""
    reference: str = ""
    counterparty_name: str = ""
    counterparty_account: str = ""
    vouchers: tuple[str, ...] = ()
    signatures: tuple[Mapping[str, str], ...] = ()
    corrects: int | None = None
    correction_reason: str = ""


@dataclass(frozen=True, slots=True)
class PostedLine:
    """Numbers of a disclosed line and its journal entry, both gap-free within the fund."""

    line_number: int
    entry_number: int


@dataclass(frozen=True, slots=True)
class BankMovement:
    """An entry of a statement, as the ledger needs it; `amount_minor` is positive for a credit."""

    bank_entry_id: str
    amount_minor: int
    booking_date: date


@dataclass(frozen=True, slots=True)
class _Posting:
    kind: str
    amount_minor: int
    account: Mapping[str, str] = field(default_factory=dict)


async def lock_fund(conn: AsyncConnection, fund_id: str) -> Row:
    """Locks the fund until the transaction ends: whoever writes to a fund does this first.

    Returns:
        The row of the fund.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND if there is none in the caller's scope.
    """
    query = sa.select(t.funds).where(t.funds.c.fund_id == fund_id).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}")
    return row


async def post_line(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, now: datetime
) -> PostedLine:
    """Discloses a line and books it: BOOK against TRANSIT.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund, LINE_ALREADY_CORRECTED if another line
            took the corrected one back before.
    """
    if draft.corrects is not None:
        await _require_uncorrected(conn, fund_id, draft.corrects)
    posted = await _insert_line(conn, fund_id, draft, now)
    book = {"book": draft.book, "category": draft.category}
    postings = (
        _Posting("TRANSIT", draft.amount_minor, {"account_id": draft.account_id}),
        _Posting("BOOK", -draft.amount_minor, book),
    )
    cause = {"line_number": posted.line_number}
    entry = (posted.entry_number, draft.effective_date, cause)
    await _insert_entry(conn, fund_id, entry, postings, now)
    await _move_book(conn, fund_id, draft.book, draft.amount_minor)
    return posted


async def book_bank_entries(
    conn: AsyncConnection,
    fund_id: str,
    account_id: str,
    movements: Sequence[BankMovement],
    now: datetime,
) -> None:
    """Books entries of the bank: BANK against TRANSIT. The fund must be locked."""
    if not movements:
        return
    last = await _take_numbers(conn, fund_id, entries=len(movements))
    first = last.last_entry_number - len(movements) + 1
    for number, movement in enumerate(movements, start=first):
        account = {"account_id": account_id}
        postings = (
            _Posting("BANK", movement.amount_minor, account),
            _Posting("TRANSIT", -movement.amount_minor, account),
        )
        cause = {"bank_entry_id": movement.bank_entry_id}
        entry = (number, movement.booking_date, cause)
        await _insert_entry(conn, fund_id, entry, postings, now)
    total = sum(movement.amount_minor for movement in movements)
    await conn.execute(
        t.bank_accounts.update()
        .where(t.bank_accounts.c.fund_id == fund_id, t.bank_accounts.c.account_id == account_id)
        .values(bank_minor=t.bank_accounts.c.bank_minor + total)
    )


async def open_account(
    conn: AsyncConnection,
    *,
    fund_id: str,
    account_id: str,
    opening_minor: int,
    opening_date: date,
    now: datetime,
) -> None:
    """Takes over what the account holds: one settled line of the common book, and the bank's side.

    Nothing happens for an opening balance of zero.
    """
    if opening_minor == 0:
        return
    await lock_fund(conn, fund_id)
    draft = LineDraft(
        account_id, "COMMON", OPENING_CATEGORY, OPENING_CATEGORY, opening_minor, opening_date
    )
    posted = await post_line(conn, fund_id, draft, now)
    opening = BankMovement(f"opening-{account_id}", opening_minor, opening_date)
    await book_bank_entries(conn, fund_id, account_id, (opening,), now)
    await settle_lines(conn, fund_id, {posted.line_number: opening_date})
    await _mark_matched(conn, fund_id, (posted.line_number,), _SETTLED_WITHOUT_BANK, opening_date)


async def void_line(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, now: datetime
) -> PostedLine:
    """Discloses the correction of a line that never reached the bank, and closes both at once.

    The bank will book neither, so nothing is left for reconciliation to wait for. Where somebody
    has matched the line, even in part, something is: then the correction stays open.
    """
    if draft.corrects is None:
        raise ValueError("a void line corrects another")
    posted = await post_line(conn, fund_id, draft, now)
    await close_void(conn, fund_id, draft.corrects, posted.line_number, draft.effective_date)
    return posted


async def close_void(
    conn: AsyncConnection, fund_id: str, number: int, correction: int, day: date
) -> None:
    """Closes a line and its correction, neither of which the bank will book, if both are open."""
    pair = (number, correction)
    if await _are_untouched(conn, fund_id, pair):
        await settle_lines(conn, fund_id, dict.fromkeys(pair))
        await _mark_matched(conn, fund_id, pair, f"void-{correction}", day)


async def settle_lines(
    conn: AsyncConnection, fund_id: str, value_dates: Mapping[int, date | None]
) -> frozenset[int]:
    """Marks lines as confirmed by the bank, by number with the bank's value date.

    Returns:
        The numbers of those that were not before.
    """
    lines = t.disclosed_lines
    news = (
        sa.func.unnest(
            sa.cast(list(value_dates), pg.ARRAY(sa.BigInteger)),
            sa.cast(list(value_dates.values()), pg.ARRAY(sa.Date)),
        )
        .table_valued("number", "value_date")
        .render_derived()
    )
    settled = await conn.execute(
        lines.update()
        .where(
            lines.c.fund_id == fund_id,
            lines.c.line_number == news.c.number,
            lines.c.settled.is_(False),
        )
        .values(settled=True, bank_value_date=news.c.value_date)
        .returning(lines.c.line_number, lines.c.book, lines.c.amount_minor)
    )
    rows = settled.all()
    await _change_pending(conn, fund_id, rows, -1)
    return frozenset(row.line_number for row in rows)


async def unsettle_lines(conn: AsyncConnection, fund_id: str, numbers: Collection[int]) -> None:
    """Marks lines as not confirmed by the bank after all: the match that said so was undone."""
    lines = t.disclosed_lines
    unsettled = await conn.execute(
        lines.update()
        .where(
            lines.c.fund_id == fund_id,
            lines.c.line_number == sa.any_(sa.cast(list(numbers), pg.ARRAY(sa.BigInteger))),
            lines.c.settled,
        )
        .values(settled=False, bank_value_date=None)
        .returning(lines.c.line_number, lines.c.book, lines.c.amount_minor)
    )
    await _change_pending(conn, fund_id, unsettled.all(), 1)


async def _change_pending(
    conn: AsyncConnection, fund_id: str, lines: Sequence[Row], sign: int
) -> None:
    """Puts lines into what their books have pending (`sign` 1), or takes them out of it (-1)."""
    changes: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        changes[line.book][_pending_column(line.amount_minor)] += sign * line.amount_minor
    for book in sorted(changes):
        await _change_book(conn, fund_id, book, changes[book])


def close_staged(table: str, which: str) -> str:
    """The beginning of a statement that matches lines of many funds, and settles as `settle_lines`.

    What follows it has in `settled` (fund_id, line_number) the lines that were not settled before.
    No line is updated twice: each time would write it, and its place in every index, again.

    Args:
        table: a table of the transaction with columns fund_id, line_number, id (the match), and
            value_date. Its funds must be locked; they lie between the statement's parameters
            `first` and `last`, or a nation's lines would be gone through for those of a few.
            The parameter `day` is that of the match.
        which: which rows of it, as a condition on `m`.
    """
    same = """
        l.fund_id BETWEEN :first AND :last
            AND l.fund_id = m.fund_id AND l.line_number = m.line_number
    """
    return f"""
        WITH settled AS (
            UPDATE disclosed_lines l SET match_id = m.id, match_date = :day, settled = true,
                bank_value_date = m.value_date
            FROM {table} m WHERE {which} AND {same} AND NOT l.settled
            RETURNING l.fund_id, l.line_number, l.book, l.amount_minor
        ), confirmed_before AS (
            UPDATE disclosed_lines l SET match_id = m.id, match_date = :day
            FROM {table} m WHERE {which} AND {same} AND l.settled
        ), moved AS (
            SELECT fund_id, book,
                coalesce(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0) AS in_minor,
                coalesce(sum(amount_minor) FILTER (WHERE amount_minor < 0), 0) AS out_minor
            FROM settled GROUP BY fund_id, book
        ), booked AS (
            UPDATE books b SET pending_in_minor = b.pending_in_minor - moved.in_minor,
                pending_out_minor = b.pending_out_minor - moved.out_minor
            FROM moved WHERE b.fund_id = moved.fund_id AND b.book = moved.book
        )
    """  # noqa: S608 - names and conditions of our own code


async def _require_uncorrected(conn: AsyncConnection, fund_id: str, number: int) -> None:
    lines = t.disclosed_lines
    query = sa.select(lines.c.corrected_by).where(
        lines.c.fund_id == fund_id, lines.c.line_number == number
    )
    row = (await conn.execute(query)).one_or_none()
    name = f"funds/{fund_id}/lines/{number}"
    if row is None:
        raise not_found(name)
    if row.corrected_by is not None:
        raise precondition(
            Reason.LINE_ALREADY_CORRECTED,
            name,
            f"line {number} was corrected by line {row.corrected_by}",
            corrected_by=str(row.corrected_by),
        )


async def _insert_line(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, now: datetime
) -> PostedLine:
    fund = await _take_numbers(conn, fund_id, entries=1, lines=1, moved_minor=draft.amount_minor)
    number = fund.last_line_number
    lines = t.disclosed_lines
    await conn.execute(
        lines.insert().values(
            fund_id=fund_id,
            line_number=number,
            running_minor=fund.running_minor,
            disclosed_at=now,
            account_id=draft.account_id,
            book=draft.book,
            category=draft.category,
            summary=draft.summary,
            amount_minor=draft.amount_minor,
            effective_date=draft.effective_date,
            payment_id=draft.payment_id,
            batch_id=draft.batch_id,
            reference=draft.reference,
            counterparty_name=draft.counterparty_name,
            counterparty_account=draft.counterparty_account,
            vouchers=list(draft.vouchers),
            signatures=[dict(each) for each in draft.signatures],
            corrects=draft.corrects,
            correction_reason=draft.correction_reason,
        )
    )
    if draft.corrects is not None:
        await conn.execute(
            lines.update()
            .where(lines.c.fund_id == fund_id, lines.c.line_number == draft.corrects)
            .values(corrected_by=number)
        )
    return PostedLine(number, fund.last_entry_number)


async def _take_numbers(
    conn: AsyncConnection, fund_id: str, *, entries: int, lines: int = 0, moved_minor: int = 0
) -> Row:
    """Advances the fund's counters under its row lock: a rollback gives the numbers back."""
    funds = t.funds
    row = (
        await conn.execute(
            funds.update()
            .where(funds.c.fund_id == fund_id)
            .values(
                last_line_number=funds.c.last_line_number + lines,
                last_entry_number=funds.c.last_entry_number + entries,
                running_minor=funds.c.running_minor + moved_minor,
            )
            .returning(funds.c.last_line_number, funds.c.last_entry_number, funds.c.running_minor)
        )
    ).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}")
    return row


async def _insert_entry(
    conn: AsyncConnection,
    fund_id: str,
    entry: tuple[int, date, Mapping[str, Any]],
    postings: Sequence[_Posting],
    now: datetime,
) -> None:
    number, day, cause = entry
    if sum(posting.amount_minor for posting in postings) != 0:
        raise GatewayError(
            Kind.INVALID, Reason.ENTRY_UNBALANCED, f"entry {number} does not balance"
        )
    await conn.execute(
        t.entries.insert().values(
            fund_id=fund_id, entry_number=number, effective_date=day, created_at=now, **cause
        )
    )
    rows = [
        {
            "fund_id": fund_id,
            "entry_number": number,
            "position": position,
            "account_kind": posting.kind,
            "account_id": posting.account.get("account_id", ""),
            "book": posting.account.get("book", ""),
            "category": posting.account.get("category", ""),
            "amount_minor": posting.amount_minor,
            "effective_date": day,
        }
        for position, posting in enumerate(postings, start=1)
    ]
    await conn.execute(t.postings.insert(), rows)


def _pending_column(amount_minor: int) -> str:
    return "pending_in_minor" if amount_minor > 0 else "pending_out_minor"


async def _move_book(conn: AsyncConnection, fund_id: str, book: str, amount_minor: int) -> None:
    changes = {"total_minor": amount_minor, _pending_column(amount_minor): amount_minor}
    await _change_book(conn, fund_id, book, changes)


async def _change_book(
    conn: AsyncConnection, fund_id: str, book: str, changes: Mapping[str, int]
) -> None:
    values = {column: t.books.c[column] + change for column, change in changes.items()}
    await conn.execute(
        t.books.update()
        .where(t.books.c.fund_id == fund_id, t.books.c.book == book)
        .values(**values)
    )


async def _are_untouched(conn: AsyncConnection, fund_id: str, numbers: Sequence[int]) -> bool:
    """Whether nothing of these lines is matched."""
    lines = t.disclosed_lines.c
    query = sa.select(sa.func.count()).where(
        lines.fund_id == fund_id,
        lines.line_number.in_(numbers),
        lines.match_id == "",
        lines.taken_minor == 0,
    )
    return (await conn.execute(query)).scalar_one() == len(numbers)


async def _mark_matched(
    conn: AsyncConnection, fund_id: str, numbers: Sequence[int], match_id: str, day: date
) -> None:
    lines = t.disclosed_lines
    await conn.execute(
        lines.update()
        .where(lines.c.fund_id == fund_id, lines.c.line_number.in_(numbers))
        .values(match_id=match_id, match_date=day)
    )
