"""Looks whether the book that owners are shown is still the one in the log.

The log's own hashes tell when its entries were changed. This tells when the book was: every line is
made into its entry again, a few at a time and for ever, and no line may be there that no log has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.disclosure.entry import line_entry
from gateway.disclosure.lines import shown
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

ENTRIES_AT_ONCE: Final = 512

_E = t.log_entries.c
_L = t.disclosed_lines.c


async def scrub(conn: AsyncConnection, log: Row, start: int) -> tuple[int, str]:
    """Looks at some of a log's lines.

    Args:
        conn: a snapshot of the database.
        log: the log, of that snapshot.
        start: index of the first entry to look at.

    Returns:
        Where to go on, 0 behind the last entry; and what is wrong, empty where nothing is.
    """
    rows = (await conn.execute(_entries_with_lines(log.log_id, start))).all()
    for row in rows:
        if why := _what_is_wrong(row):
            return start, f"line {row.entry_line} of fund {row.entry_fund} {why}"
    funds = {row.entry_fund for row in rows}
    if stranger := await _unlogged(conn, funds):
        return start, f"fund {stranger} has a line that the log never took"
    end = start + ENTRIES_AT_ONCE
    return (end if end < log.size else 0), ""


def _what_is_wrong(row: Row) -> str:
    if row.line_number is None:
        return "is gone"
    if row.salt is not None and line_entry(shown(row), row.salt.bytes) != row.entry:
        return "is not what was disclosed"
    return ""


def _entries_with_lines(log_id: str, start: int) -> sa.Select[*tuple[object, ...]]:
    own = sa.and_(_E.fund_id == _L.fund_id, _E.line_number == _L.line_number)
    return (
        sa.select(
            _E.entry,
            _E.fund_id.label("entry_fund"),
            _E.line_number.label("entry_line"),
            t.disclosed_lines,
            t.funds.c.currency,
        )
        .select_from(
            t.log_entries.outerjoin(t.disclosed_lines, own).outerjoin(
                t.funds, t.funds.c.fund_id == _L.fund_id
            )
        )
        .where(
            _E.log_id == log_id,
            _E.entry_index >= start,
            _E.entry_index < start + ENTRIES_AT_ONCE,
            _E.kind == "LINE",
        )
        .order_by(_E.entry_index)
    )


async def _unlogged(conn: AsyncConnection, funds: Collection[str]) -> str:
    """A fund with a line that stands before the log's position and in no log; empty for none."""
    position = sa.select(
        t.log_position.c.transaction_id, t.log_position.c.fund_id, t.log_position.c.line_number
    ).scalar_subquery()
    logged = sa.exists().where(
        _E.kind == "LINE", _E.fund_id == _L.fund_id, _E.line_number == _L.line_number
    )
    query = (
        sa.select(_L.fund_id)
        .where(
            _L.fund_id.in_(funds),
            sa.tuple_(_L.transaction_id, _L.fund_id, _L.line_number) <= position,
            ~logged,
        )
        .limit(1)
    )
    return (await conn.execute(query)).scalar_one_or_none() or ""
