"""What the bank's word does to lines: settled, unsettled, closed with their corrections."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.store import among, given
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row


async def settle_lines(
    conn: AsyncConnection, fund_id: str, value_dates: Mapping[int, date | None]
) -> frozenset[int]:
    """Marks lines as confirmed by the bank, by number with the bank's value date.

    Returns:
        The numbers of those that were not before.
    """
    lines = t.disclosed_lines
    news = given(
        number=(value_dates, sa.BigInteger()), value_date=(value_dates.values(), sa.Date())
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
            among(lines.c.line_number, numbers),
            lines.c.settled,
        )
        .values(settled=False, bank_value_date=None)
        .returning(lines.c.line_number, lines.c.book, lines.c.amount_minor)
    )
    await _change_pending(conn, fund_id, unsettled.all(), 1)


async def close_void(
    conn: AsyncConnection, fund_id: str, number: int, correction: int, day: date
) -> None:
    """Closes a line and its correction, neither of which the bank will book, if both are open."""
    pair = (number, correction)
    if await _are_untouched(conn, fund_id, pair):
        await settle_lines(conn, fund_id, dict.fromkeys(pair))
        await mark_matched(conn, fund_id, pair, f"void-{correction}", day)


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


async def mark_matched(
    conn: AsyncConnection, fund_id: str, numbers: Sequence[int], match_id: str, day: date
) -> None:
    """Says by which match lines of a fund are closed, and of which day it is."""
    lines = t.disclosed_lines
    await conn.execute(
        lines.update()
        .where(lines.c.fund_id == fund_id, lines.c.line_number.in_(numbers))
        .values(match_id=match_id, match_date=day)
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


async def _change_pending(
    conn: AsyncConnection, fund_id: str, lines: Sequence[Row], sign: int
) -> None:
    """Puts lines into what their books have pending (`sign` 1), or takes them out of it (-1)."""
    changes: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        changes[line.book][pending_column(line.amount_minor)] += sign * line.amount_minor
    for book in sorted(changes):
        await _change_book(conn, fund_id, book, changes[book])


def pending_column(amount_minor: int) -> str:
    """Of `books`: where what the bank has not confirmed yet is summed up."""
    return "pending_in_minor" if amount_minor > 0 else "pending_out_minor"


async def _change_book(
    conn: AsyncConnection, fund_id: str, book: str, changes: Mapping[str, int]
) -> None:
    values = {column: t.books.c[column] + change for column, change in changes.items()}
    await conn.execute(
        t.books.update()
        .where(t.books.c.fund_id == fund_id, t.books.c.book == book)
        .values(**values)
    )
