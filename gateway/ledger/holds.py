"""Money held for payments that are not released, and money spent, on budget line and book.

A hold is no entry: nothing has moved yet. It only keeps the same fen from a second payment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
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


async def hold(conn: AsyncConnection, purse: Purse, amount_minor: int) -> None:
    """Holds an amount that was found available under the fund's lock."""
    await _change_budget(conn, purse, {"held_minor": amount_minor})
    await _change_held(conn, purse, amount_minor)


async def free(conn: AsyncConnection, purse: Purse, amount_minor: int) -> None:
    """Frees a hold: the payment was refused, withdrawn or expired."""
    await _change_budget(conn, purse, {"held_minor": -amount_minor})
    await _change_held(conn, purse, -amount_minor)


async def spend(conn: AsyncConnection, purse: Purse, amount_minor: int) -> None:
    """Turns a hold into spending at release; the disclosed line lowers the book."""
    await _change_budget(conn, purse, {"held_minor": -amount_minor, "spent_minor": amount_minor})
    await _change_held(conn, purse, -amount_minor)


async def unspend(conn: AsyncConnection, purse: Purse, amount_minor: int) -> None:
    """Gives spending back to the budget line: the bank rejected or returned the payment."""
    await _change_budget(conn, purse, {"spent_minor": -amount_minor})


async def _change_budget(conn: AsyncConnection, purse: Purse, changes: Mapping[str, int]) -> None:
    lines = t.budget_lines
    await _exactly_one(
        conn,
        lines.update()
        .where(lines.c.fund_id == purse.fund_id, lines.c.budget_line_id == purse.budget_line_id)
        .values({column: lines.c[column] + change for column, change in changes.items()}),
    )


async def _change_held(conn: AsyncConnection, purse: Purse, change_minor: int) -> None:
    books = t.books
    await _exactly_one(
        conn,
        books.update()
        .where(books.c.fund_id == purse.fund_id, books.c.book == purse.book)
        .values(held_minor=books.c.held_minor + change_minor),
    )


async def _exactly_one(conn: AsyncConnection, statement: sa.Update) -> None:
    """A hold that changes no row would be money from nowhere: stop, and roll everything back."""
    result = await conn.execute(statement)
    if result.rowcount != 1:
        raise RuntimeError(f"a hold changed {result.rowcount} rows instead of one")
