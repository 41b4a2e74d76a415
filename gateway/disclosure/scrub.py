"""Looks whether the book that owners are shown is still the one in the log.

The log's own hashes tell when its entries were changed. This tells when the book was: every line is
made into its entry again, a few at a time and for ever, and no line may be there that no log has.
Nor may a night's certificate, or what it sums up, be another one than the log's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.disclosure.entry import is_openly, line_entry
from gateway.disclosure.lines import shown
from gateway.disclosure.log import CERTIFICATE, LINE
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

ENTRIES_AT_ONCE: Final = 512

_E = t.log_entries.c
_L = t.disclosed_lines.c
_ERASED = sa.exists().where(
    t.line_erasures.c.fund_id == _L.fund_id, t.line_erasures.c.line_number == _L.line_number
)


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
    for row in await conn.execute(_changed_certificates(log.log_id, start)):
        return start, f"certificate {row.number} of fund {row.fund_id} is not what was logged"
    funds = {row.entry_fund for row in rows}
    if stranger := await _unlogged(conn, funds):
        return start, f"fund {stranger} has a line that the log never took"
    end = start + ENTRIES_AT_ONCE
    return (end if end < log.size else 0), ""


def _what_is_wrong(row: Row) -> str:
    if row.line_number is None:
        return "is gone"
    if row.salt is None:
        return _what_is_wrong_without_salt(row)
    if line_entry(shown(row), row.salt.bytes) != row.entry:
        return "is not what was disclosed"
    return ""


def _what_is_wrong_without_salt(row: Row) -> str:
    if not row.erased:
        return "has lost its salt, and nobody erased it"
    return "" if is_openly(shown(row), row.entry) else "is not what was disclosed"


def _entries_with_lines(log_id: str, start: int) -> sa.Select[*tuple[object, ...]]:
    own = sa.and_(_E.fund_id == _L.fund_id, _E.number == _L.line_number)
    return (
        sa.select(
            _E.entry,
            _E.fund_id.label("entry_fund"),
            _E.number.label("entry_line"),
            t.disclosed_lines,
            t.funds.c.currency,
            _ERASED.label("erased"),
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
            _E.kind == LINE,
        )
        .order_by(_E.entry_index)
    )


def _changed_certificates(log_id: str, start: int) -> sa.Select[*tuple[object, ...]]:
    """Those that are gone, or whose entry or details are not those of the log."""
    c = t.night_certificates.c
    own = sa.and_(_E.fund_id == c.fund_id, _E.number == c.number)
    digest = sa.func.convert_from(_E.entry, "UTF8").cast(pg.JSONB)["details_sha256"].astext
    same = sa.and_(c.entry == _E.entry, sa.func.encode(sa.func.sha256(c.details), "hex") == digest)
    return (
        sa.select(_E.fund_id, _E.number)
        .select_from(t.log_entries.outerjoin(t.night_certificates, own))
        .where(
            _E.log_id == log_id,
            _E.entry_index >= start,
            _E.entry_index < start + ENTRIES_AT_ONCE,
            _E.kind == CERTIFICATE,
            sa.or_(c.number.is_(None), ~same),
        )
        .order_by(_E.entry_index)
        .limit(1)
    )


async def _unlogged(conn: AsyncConnection, funds: Collection[str]) -> str:
    """A fund with a line that stands before the log's position and in no log; empty for none."""
    position = sa.select(
        t.log_position.c.transaction_id, t.log_position.c.fund_id, t.log_position.c.line_number
    ).scalar_subquery()
    logged = sa.exists().where(
        _E.kind == LINE, _E.fund_id == _L.fund_id, _E.number == _L.line_number
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
