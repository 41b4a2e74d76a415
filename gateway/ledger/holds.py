"""Money held for payments that are not released, and money spent, on budget line and book.

A hold is no entry: nothing has moved yet. It only keeps the same fen from a second payment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store import bulk
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, order=True)
class Purse:
    """What a payment draws on: a budget line and its book.

    Attributes:
        fund_id: the fund.
        budget_line_id: the line of its budget.
        book: the book of that line.
    """

    fund_id: str
    budget_line_id: str
    book: str


async def free(conn: AsyncConnection, purse: Purse, amount_minor: int) -> None:
    """Frees a hold: the payment was refused, withdrawn or expired."""
    await bulk.write(conn, *_changes({purse: -amount_minor}, {}))


async def unspend(conn: AsyncConnection, purse: Purse, amount_minor: int) -> None:
    """Gives spending back to the budget line: the bank rejected or returned the payment."""
    await bulk.write(conn, *_changes({}, {purse: -amount_minor}))


def hold_and_spend(
    asked: Mapping[Purse, int], released: Mapping[Purse, int]
) -> tuple[bulk.Change, ...]:
    """Holds what was found available under the funds' locks; of what is released, holds are spent.

    The disclosed lines of what is released lower the books.

    Args:
        asked: minor units to hold.
        released: minor units that were held and are spent.

    Returns:
        What is to be written.
    """
    held = Counter(asked)
    held.subtract(released)
    return _changes(held, released)


def _changes(held: Mapping[Purse, int], spent: Mapping[Purse, int]) -> tuple[bulk.Change, ...]:
    """Adds to what is held and spent. No row may be missing: it would be money from nowhere."""
    purses = sorted({*held, *spent})
    lines = [
        {
            "fund_id": purse.fund_id,
            "budget_line_id": purse.budget_line_id,
            "held_minor": held.get(purse, 0),
            "spent_minor": spent.get(purse, 0),
        }
        for purse in purses
    ]
    books: Counter[tuple[str, str]] = Counter()
    for purse, amount_minor in held.items():
        books[purse.fund_id, purse.book] += amount_minor
    rows = [
        {"fund_id": fund_id, "book": book, "held_minor": amount_minor}
        for (fund_id, book), amount_minor in sorted(books.items())
    ]
    return (
        bulk.update(t.budget_lines, ("fund_id", "budget_line_id"), lines, add=True),
        bulk.update(t.books, ("fund_id", "book"), rows, add=True),
    )
