"""What came in and what went out: by kind and by month, per book, 期初 + 收入 − 支出 = 期末.

A correction (红字) counts on the side of the line that it takes back, with its sign: a payment that
came back makes the cost smaller, not the income larger. What an account held when the gateway took
it over is no income; it stands in the opening balance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.disclosure.lines import fund_currency
from gateway.ledger.writer import OPENING_CATEGORY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.disclosure.period import Period

BOOKS: Final = ("COMMON", "MAINTENANCE")

_M = t.category_months.c


@dataclass(frozen=True, slots=True)
class Sum:
    """What moved in one month under one category, minor units.

    Attributes:
        book: which of the two.
        month: its first day.
        category: of the lines.
        income_minor: received, less what was corrected.
        cost_minor: paid, less what was corrected; above zero.
    """

    book: str
    month: date
    category: str
    income_minor: int
    cost_minor: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One category over the whole period."""

    category: str
    income_minor: int
    cost_minor: int


@dataclass(frozen=True, slots=True)
class Month:
    """One month of a book; `balance_minor` is what the book had at its end."""

    month: date
    income_minor: int
    cost_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class BookSummary:
    """One book over the period, minor units: opening + income − cost = closing."""

    book: str
    opening_minor: int
    income_minor: int
    cost_minor: int
    kinds: tuple[Kind, ...]
    months: tuple[Month, ...]

    @property
    def closing_minor(self) -> int:
        """What the book has at the end."""
        return self.opening_minor + self.income_minor - self.cost_minor


@dataclass(frozen=True, slots=True)
class Summary:
    """A fund over a period: its books in order, in minor units of its currency."""

    currency: str
    books: tuple[BookSummary, ...]


@dataclass(frozen=True, slots=True)
class Movements:
    """What moved, and before it what each book had; of one fund, or added up over several."""

    openings: Counter[str] = field(default_factory=Counter)
    sums: list[Sum] = field(default_factory=list)


async def fund_summary(
    conn: AsyncConnection, fund_id: str, period: Period, disclosed_by: date | None = None
) -> Summary:
    """Both books of a fund, by the days that lines count for.

    Args:
        conn: a snapshot, so that opening and sums are of one moment.
        fund_id: the fund.
        period: which months.
        disclosed_by: only what was disclosed by the end of this day; None for all.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    currency = await fund_currency(conn, fund_id)
    moved = await movements(conn, [fund_id], period, disclosed_by)
    return summary_of(currency, moved.get(fund_id, Movements()), period)


async def movements(
    conn: AsyncConnection, fund_ids: Sequence[str], period: Period, disclosed_by: date | None
) -> dict[str, Movements]:
    """What moved in each of these funds; one where nothing ever did is left out.

    Args:
        conn: a snapshot.
        fund_ids: the funds; what the caller's scope does not show is left out as well.
        period: which months; what was before them is the opening.
        disclosed_by: only what was disclosed by the end of this day; None for all.
    """
    known = [_M.fund_id.in_(fund_ids), _M.month <= period.last]
    if disclosed_by is not None:
        known.append(_M.disclosed_on <= disclosed_by)
    income, cost = sa.func.sum(_M.income_minor), sa.func.sum(_M.cost_minor)
    key = (_M.fund_id, _M.book, _M.month, _M.category)
    rows = await conn.execute(sa.select(*key, income, cost).where(*known).group_by(*key))
    found: dict[str, Movements] = defaultdict(Movements)
    for fund_id, book, month, category, income_minor, cost_minor in rows:
        moved = found[fund_id]
        if month < period.first or category == OPENING_CATEGORY:
            moved.openings[book] += int(income_minor - cost_minor)
        else:
            moved.sums.append(Sum(book, month, category, int(income_minor), int(cost_minor)))
    return found


def summary_of(currency: str, moved: Movements, period: Period) -> Summary:
    """Both books of what moved."""
    books = (summarise(book, moved.openings[book], moved.sums, period) for book in BOOKS)
    return Summary(currency, tuple(books))


def summarise(book: str, opening_minor: int, sums: Sequence[Sum], period: Period) -> BookSummary:
    """One book of these sums."""
    own = [each for each in sums if each.book == book]
    months, balance_minor = list[Month](), opening_minor
    for month in period.months():
        income_minor, cost_minor = _totals(each for each in own if each.month == month)
        balance_minor += income_minor - cost_minor
        months.append(Month(month, income_minor, cost_minor, balance_minor))
    return BookSummary(book, opening_minor, *_totals(own), _kinds(own), tuple(months))


def _kinds(sums: Iterable[Sum]) -> tuple[Kind, ...]:
    """By category; income before cost, the larger first."""
    by_category: dict[str, list[Sum]] = defaultdict(list)
    for each in sums:
        by_category[each.category].append(each)
    kinds = [Kind(category, *_totals(group)) for category, group in by_category.items()]
    return tuple(
        sorted(kinds, key=lambda kind: (-kind.income_minor, -kind.cost_minor, kind.category))
    )


def _totals(sums: Iterable[Sum]) -> tuple[int, int]:
    income_minor = cost_minor = 0
    for each in sums:
        income_minor += each.income_minor
        cost_minor += each.cost_minor
    return income_minor, cost_minor
