"""What a run looks at, read as of one moment.

An account is named ``fund/account`` towards the kernel, which never pairs two accounts: so nothing
is ever paired across funds (Trust Law art. 29).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import sqlalchemy as sa

from gateway.store import tables as t
from reconciliation.frames import BANK, LEDGER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

_ROWS_A_PART: Final = 20_000
_CLOSED: Final[Mapping[str, pl.DataType]] = {
    "side": pl.String(),
    "account_id": pl.String(),
    "member_id": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Account:
    """A bank account at the end of the day, for its proof; amounts in fen.

    Attributes:
        fund_id: its fund.
        account_id: its id within the fund.
        opening_minor: what the bank had when the gateway took the account over.
        ledger_minor: the sum of its disclosed lines.
        covered_until: last day of its last statement; None without any.
        closing_minor: closing balance of that statement; None without any.
        inconsistent: whether the opening balance and the entries of that statement do not make its
            closing balance.
        broken_on: first day of the first statement whose opening balance is not the closing balance
            before it; None where the chain holds.
    """

    fund_id: str
    account_id: str
    opening_minor: int
    ledger_minor: int
    covered_until: date | None
    closing_minor: int | None
    inconsistent: bool
    broken_on: date | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The input of a run.

    Attributes:
        bank: entries, columns as `reconciliation.frames.BANK`: the open ones, and closed ones that
            share an id, a reference, or amount and day with an open one.
        ledger: lines, columns as `reconciliation.frames.LEDGER`, likewise.
        closed: side, account_id and member_id of the closed ones among them.
        accounts: every account that the gateway had taken over by that day.
    """

    bank: pl.DataFrame
    ledger: pl.DataFrame
    closed: pl.DataFrame
    accounts: tuple[Account, ...]

    def digest(self, day: date, rules_digest: str) -> str:
        """SHA-256 over the day, the rules and every row, in hexadecimal."""
        state = sha256(f"{day}|{rules_digest}".encode())
        for frame in (self.bank, self.ledger, self.closed):
            state.update(f"|{frame.height}|".encode())
            for part in frame.sort(pl.all()).iter_slices(_ROWS_A_PART):
                state.update(part.write_csv(include_header=False).encode())
        state.update(repr(self.accounts).encode())
        return state.hexdigest()


async def read(conn: AsyncConnection, day: date) -> Snapshot:
    """Everything open up to the end of `day`; `conn` must see one moment throughout."""
    open_bank = await _frame(conn, _bank_rows(_is_open(_B, day)), BANK.columns)
    open_ledger = await _frame(conn, _ledger_rows(_is_open(_D, day)), LEDGER.columns)
    old_bank = await _frame(conn, _bank_rows(_is_related(_B, day)), BANK.columns)
    old_ledger = await _frame(conn, _ledger_rows(_is_related(_D, day)), LEDGER.columns)
    closed = pl.concat(
        [
            old_bank.select(pl.lit("bank").alias("side"), "account_id", member_id="entry_id"),
            old_ledger.select(pl.lit("ledger").alias("side"), "account_id", member_id="line_id"),
        ]
    )
    return Snapshot(
        pl.concat([open_bank, old_bank]),
        pl.concat([open_ledger, old_ledger]),
        closed.cast(dict(_CLOSED)),  # type: ignore[arg-type]  # names to types is one of its forms
        await _accounts(conn, day),
    )


async def _frame(
    conn: AsyncConnection, query: sa.Select[Any], schema: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    """The rows of a query, fetched in parts: Python never holds more than one of them."""
    frames = [pl.DataFrame(schema=dict(schema))]
    async with conn.stream(query) as result:
        async for rows in result.partitions(_ROWS_A_PART):
            part = [tuple(row) for row in rows]
            frames.append(pl.DataFrame(part, schema=dict(schema), orient="row"))
    return pl.concat(frames)


# --- rows in the kernel's columns ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Columns:
    """What both sides have, by the names that a side's table gives it."""

    fund: sa.Column[str]
    account: sa.Column[str]
    day: sa.Column[Any]
    amount: sa.Column[int]
    own: sa.Column[str]
    reference: sa.Column[str]
    match: sa.Column[str]


def _columns(table: sa.Table, day: str, own: str) -> _Columns:
    names = ("fund_id", "account_id", day, "amount_minor", own, "reference", "match_id")
    return _Columns(*(table.c[name] for name in names))


_B: Final = _columns(t.bank_entries, "booking_date", "end_to_end_id")
_D: Final = _columns(t.disclosed_lines, "effective_date", "payment_id")


def _account(side: _Columns) -> sa.ColumnElement[str]:
    return (side.fund + "/" + side.account).label("account_id")


def _bank_rows(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Entries in the order of `BANK.columns`."""
    e = t.bank_entries.c
    return sa.select(
        *(_account(_B), e.bank_entry_id, e.booking_date, e.value_date, e.amount_minor, e.currency),
        *(e.reference, e.end_to_end_id, e.batch_id, e.counterparty_name, e.counterparty_account),
        *(e.text, e.reversal, e.return_reason),
    ).where(condition)


def _ledger_rows(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Lines in the order of `LEDGER.columns`."""
    d = t.disclosed_lines.c
    number = sa.cast(d.line_number, sa.Text)
    return (
        sa.select(
            *(_account(_D), number, d.effective_date, d.amount_minor, t.funds.c.currency),
            *(d.payment_id, d.batch_id, d.reference, d.counterparty_name, d.counterparty_account),
            d.summary,
        )
        .join_from(t.disclosed_lines, t.funds, t.funds.c.fund_id == d.fund_id)
        .where(condition)
    )


def _is_open(side: _Columns, day: date) -> sa.ColumnElement[bool]:
    return sa.and_(side.match == "", side.day <= day)


def _is_related(side: _Columns, day: date) -> sa.ColumnElement[bool]:
    """Closed, and something open may repeat or undo it."""
    alike = sa.select(side.fund, side.account, side.amount, side.day).where(_is_open(side, day))
    shares = sa.or_(
        sa.tuple_(side.fund, side.own).in_(_named_by_open(day, _B.own, _D.own)),
        sa.tuple_(side.fund, side.reference).in_(_named_by_open(day, _B.reference, _D.reference)),
        sa.tuple_(side.fund, side.account, side.amount, side.day).in_(alike.correlate(None)),
    )
    return sa.and_(side.match != "", side.day <= day, shares)


def _named_by_open(
    day: date, bank: sa.Column[str], ledger: sa.Column[str]
) -> sa.CompoundSelect[Any]:
    """What open rows of either side have in these columns, by fund."""
    return sa.union(
        *(
            sa.select(side.fund, column).where(_is_open(side, day), column != "").correlate(None)
            for side, column in ((_B, bank), (_D, ledger))
        )
    )


# --- accounts ---------------------------------------------------------------------------------

_ACCOUNTS: Final = sa.text("""
    WITH ledger AS (
        SELECT fund_id, account_id, sum(amount_minor)::bigint AS ledger_minor
        FROM disclosed_lines WHERE effective_date <= :day GROUP BY fund_id, account_id
    ), chained AS (
        SELECT s.*, lag(s.closing_minor, 1, a.opening_minor) OVER (
            PARTITION BY s.fund_id, s.account_id
            ORDER BY s.end_date, s.created_at, s.statement_key
        ) AS before_minor
        FROM statements s JOIN bank_accounts a USING (fund_id, account_id)
        WHERE s.end_date BETWEEN a.opening_date AND :day
    ), broken AS (
        SELECT fund_id, account_id, min(start_date) AS broken_on
        FROM chained WHERE opening_minor <> before_minor GROUP BY fund_id, account_id
    ), last AS (
        SELECT DISTINCT ON (fund_id, account_id) * FROM chained
        ORDER BY fund_id, account_id,
            end_date DESC, created_at DESC, statement_key DESC
    ), moved AS (
        SELECT fund_id, statement_key, sum(e.amount_minor)::bigint AS moved_minor
        FROM last JOIN bank_entries e USING (fund_id, statement_key)
        GROUP BY fund_id, statement_key
    )
    SELECT a.fund_id, a.account_id, a.opening_minor,
        coalesce(ledger_minor, 0) AS ledger_minor,
        last.end_date AS covered_until,
        last.closing_minor,
        coalesce(last.opening_minor + coalesce(moved_minor, 0) <> last.closing_minor, false)
            AS inconsistent,
        broken_on
    FROM bank_accounts a
    LEFT JOIN ledger USING (fund_id, account_id)
    LEFT JOIN last USING (fund_id, account_id)
    LEFT JOIN moved USING (fund_id, statement_key)
    LEFT JOIN broken ON broken.fund_id = a.fund_id AND broken.account_id = a.account_id
    WHERE a.opening_date <= :day
    ORDER BY a.fund_id, a.account_id
""").bindparams(sa.bindparam("day", type_=sa.Date))


async def _accounts(conn: AsyncConnection, day: date) -> tuple[Account, ...]:
    rows = await conn.execute(_ACCOUNTS, {"day": day})
    return tuple(Account(**row._mapping) for row in rows)  # noqa: SLF001 - its documented name
