"""What a fund has, now from the running sums, or at the end of a past day from those by day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.domain.errors import not_found
from gateway.store import narrow
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class BookBalance:
    """One book, in minor units of the fund's currency.

    Attributes:
        book: ``COMMON`` or ``MAINTENANCE``.
        total_minor: all its disclosed lines.
        pending_minor: of the total, what the bank has not confirmed.
        held_minor: held for payments that are not released; no part of the total.
        available_minor: what a new payment can draw on: total less held less receipts that the
            bank has not confirmed. Of a past day both are zero.
    """

    book: str
    total_minor: int
    pending_minor: int
    held_minor: int = 0
    available_minor: int = 0

    @property
    def settled_minor(self) -> int:
        """Of the total, what the bank has confirmed."""
        return self.total_minor - self.pending_minor


@dataclass(frozen=True, slots=True)
class FundBalance:
    """One fund: the bank's side, and both books, in minor units of `currency`."""

    currency: str
    bank_minor: int
    books: tuple[BookBalance, ...]

    @property
    def transit_minor(self) -> int:
        """Between book and bank: what the books have and the bank does not."""
        return sum(book.total_minor for book in self.books) - self.bank_minor


async def fund_balance(conn: AsyncConnection, fund_id: str, as_of: date | None) -> FundBalance:
    """What the fund has, at the end of the day `as_of` by effective date, or now.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    if as_of is None:
        statement, read_book = _NOW, _book_now
    else:
        await narrow(conn, fund_id)
        statement, read_book = _AS_OF, _book_as_of
    rows = (await conn.execute(statement, {"fund": fund_id, "day": as_of})).all()
    if not rows:
        raise not_found(f"funds/{fund_id}")
    first = rows[0]
    return FundBalance(
        first.currency, int(first.bank_minor), tuple(read_book(row) for row in rows if row.book)
    )


def _book_now(row: Row) -> BookBalance:
    return BookBalance(
        book=row.book,
        total_minor=row.total_minor,
        pending_minor=row.pending_in_minor + row.pending_out_minor,
        held_minor=row.held_minor,
        available_minor=row.total_minor - row.held_minor - row.pending_in_minor,
    )


def _book_as_of(row: Row) -> BookBalance:
    # PostgreSQL adds up bigint as numeric; both sums are whole numbers.
    return BookBalance(row.book, int(row.total_minor), int(row.pending_minor))


_FUND = sa.bindparam("fund", type_=sa.Text)
_DAY = sa.bindparam("day", type_=sa.Date)


def _scalar(column: sa.Column[int], *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """The sum of a column over the fund's rows of its table."""
    of_fund = column.table.c.fund_id == _FUND
    return sa.select(sa.func.sum(column)).where(of_fund, *conditions).scalar_subquery()


def _fund_with(*columns: sa.ColumnElement[Any], bank: sa.ScalarSelect[Any]) -> sa.Select[Any]:
    """One statement, so that bank and books are of one moment."""
    return (
        sa.select(t.funds.c.currency, sa.func.coalesce(bank, 0).label("bank_minor"), *columns)
        .select_from(t.funds.outerjoin(t.books, t.books.c.fund_id == t.funds.c.fund_id))
        .where(t.funds.c.fund_id == _FUND)
        .order_by(t.books.c.book)
    )


_NOW = _fund_with(
    *(t.books.c.book, t.books.c.total_minor, t.books.c.held_minor),
    *(t.books.c.pending_in_minor, t.books.c.pending_out_minor),
    bank=_scalar(t.bank_accounts.c.bank_minor),
)

# A row a day and book, however many lines they have. What counts for a day and was confirmed by
# then stands at the later of the two, so that what is pending is a difference of two such sums.
_D = t.book_days.c
_past = (
    sa.select(
        _D.book,
        sa.func.sum(_D.booked_minor).label("total_minor"),
        sa.func.sum(_D.booked_minor - _D.settled_minor).label("pending_minor"),
    )
    .where(_D.fund_id == _FUND, _D.day <= _DAY)
    .group_by(_D.book)
    .subquery()
)
_AS_OF = _fund_with(
    t.books.c.book,
    sa.func.coalesce(_past.c.total_minor, 0).label("total_minor"),
    sa.func.coalesce(_past.c.pending_minor, 0).label("pending_minor"),
    bank=_scalar(t.bank_days.c.moved_minor, t.bank_days.c.day <= _DAY),
).outerjoin(_past, _past.c.book == t.books.c.book)
