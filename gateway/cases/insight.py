"""How the two sides of a case compare, and which open rows of the other side may belong to it.

This is the one place that asks `reconciliation` about evidence. It looks at a bounded number of
rows, those nearest by amount and date first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import sqlalchemy as sa

from gateway.cases.rows import open_row, select_entries, select_lines
from gateway.store import tables as t
from reconciliation import ranking
from reconciliation.evidence import Evidence, evidence_of
from reconciliation.frames import SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.rows import OpenRow, Side
    from reconciliation.rules import Rules

CANDIDATES: Final = 10
"""So many are told, of each side."""
_LOOKED_AT: Final = 300
"""Open rows of an account and side that are ranked."""
_ASKED_OF: Final = 50
"""Members of a case that candidates are looked for; a crowd of equal ones has the same."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row that may belong to a case: its rank from 1, hundredths of bits for it, and why."""

    row: OpenRow
    rank: int
    score: int
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Insight:
    """What is to be known of a case besides its members."""

    evidence: tuple[Evidence, ...]
    candidates: tuple[Ranked, ...]


async def look_into(
    conn: AsyncConnection,
    rules: Rules,
    fund_id: str,
    account_id: str,
    members: Sequence[OpenRow],
) -> Insight:
    """Compares the sides of a case, and ranks the open rows of its account that are not in it."""
    ranked: list[Ranked] = []
    for side, other in _SIDES:
        mine = [row for row in members if row.key.side == side and row.open_minor != 0]
        if mine:
            rows = await _open_rows(conn, fund_id, account_id, other, mine)
            others = [row for row in rows if row not in members]
            ranked += await asyncio.to_thread(_rank, mine[:_ASKED_OF], others, side, rules)
    return Insight(await asyncio.to_thread(compare, members, rules), tuple(ranked))


_SIDES: Final[tuple[tuple[Side, Side], ...]] = (("bank", "ledger"), ("ledger", "bank"))


async def _open_rows(
    conn: AsyncConnection, fund_id: str, account_id: str, side: Side, asked: Sequence[OpenRow]
) -> list[OpenRow]:
    """Open rows of one side, the nearest to the sum asked for first, then the nearest in time."""
    table = t.bank_entries if side == "bank" else t.disclosed_lines
    day = table.c.booking_date if side == "bank" else table.c.effective_date
    rows = select_entries() if side == "bank" else select_lines()
    total = sum(row.open_minor for row in asked)
    apart = sa.func.abs(table.c.amount_minor - table.c.taken_minor - total)
    query = (
        rows.where(
            table.c.fund_id == fund_id, table.c.account_id == account_id, table.c.match_id == ""
        )
        .order_by(apart, sa.func.abs(day - sa.cast(sa.literal(asked[0].day), sa.Date)))
        .limit(_LOOKED_AT)
    )
    return [open_row(row) for row in await conn.execute(query)]


def compare(rows: Sequence[OpenRow], rules: Rules) -> tuple[Evidence, ...]:
    """The two sides field by field, by what is open; nothing where one of them has no row."""
    return evidence_of(_frame(rows, "bank"), _frame(rows, "ledger"), rules)


def _rank(
    asked: Sequence[OpenRow], others: Sequence[OpenRow], side: Side, rules: Rules
) -> list[Ranked]:
    """The best rows for any of those asked about, each as it fits the one that it fits best."""
    rows = (*asked, *others)
    told = ranking.candidates(_frame(rows, "bank"), _frame(rows, "ledger"), side, rules)
    best: dict[str, ranking.Candidate] = {}
    for candidate in (each for found in told.values() for each in found):
        known = best.get(candidate.member_id)
        if known is None or candidate.score > known.score:
            best[candidate.member_id] = candidate
    by_id = {row.key.member_id: row for row in others}
    ordered = sorted(best.values(), key=lambda each: (-each.score, each.place, each.member_id))
    return [
        Ranked(by_id[each.member_id], rank, each.score, each.evidence)
        for rank, each in enumerate(ordered[:CANDIDATES], start=1)
    ]


# --- in the kernel's columns --------------------------------------------------------------------

_NAMES: Final[dict[Side, tuple[str, str, str]]] = {
    "bank": ("entry_id", "booking_date", "end_to_end_id"),
    "ledger": ("line_id", "effective_date", "payment_id"),
}


def _frame(rows: Iterable[OpenRow], side: Side) -> pl.DataFrame:
    """The rows of one side, with what is open of each as its amount."""
    shape = SHAPES[side]
    records = [_record(row, side) for row in rows if row.key.side == side]
    columns = {name: [each.get(name) for each in records] for name in shape.columns}
    return pl.DataFrame(columns, schema=dict(shape.columns))


def _record(row: OpenRow, side: Side) -> dict[str, Any]:
    member, day, own = _NAMES[side]
    return {
        member: row.key.member_id,
        day: row.day,
        own: row.own_id,
        "account_id": row.account_id,
        "currency": row.currency,
        "amount_minor": row.open_minor,
        "reference": row.reference,
        "batch_id": row.batch_id,
        "counterparty_name": row.counterparty_name,
        "counterparty_account": row.counterparty_account,
        "text": row.text,
    }
