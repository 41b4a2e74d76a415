"""How the two sides of a case compare, and which open rows of the other side may belong to it.

This is the one place that asks `reconciliation` about evidence. It looks at a bounded number of
rows, those nearest by amount and date first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.cases.rows import open_row, select_entries, select_lines
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.rows import OpenRow, Side

CANDIDATES: Final = 10
"""So many are told, of each side."""
_LOOKED_AT: Final = 300
"""Open rows of an account and side that are ranked."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one field of the two sides says.

    Attributes:
        field: such as ``amount``.
        bank_value: as text; empty if it has none.
        ledger_value: likewise.
        comparator: ``equal``, ``sum``, ``window`` or ``likeness``.
        result: ``agrees``, ``close``, ``differs`` or ``unknown``.
        detail: by how much.
    """

    field: str
    bank_value: str
    ledger_value: str
    comparator: str
    result: str
    detail: str = ""


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
    conn: AsyncConnection, fund_id: str, account_id: str, members: Sequence[OpenRow]
) -> Insight:
    """Compares the sides of a case, and ranks the open rows of its account that are not in it."""
    ranked: list[Ranked] = []
    for side, other in _SIDES:
        mine = [row for row in members if row.key.side == side]
        if mine:
            rows = await _open_rows(conn, fund_id, account_id, other, mine)
            ranked += _rank(mine, [row for row in rows if row not in members])
    return Insight(compare(members), tuple(ranked))


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


# --- until `reconciliation` says it -------------------------------------------------------------

_WEIGHTS: Final = {"own_id": 2_000, "reference": 1_500, "amount": 1_000, "date": 300}


def compare(rows: Sequence[OpenRow]) -> tuple[Evidence, ...]:
    """The two sides field by field; nothing where one of them has no row."""
    sides = [[row for row in rows if row.key.side == side] for side in ("bank", "ledger")]
    if not all(sides):
        return ()
    return tuple(_fields(*sides))


def _fields(bank: Sequence[OpenRow], ledger: Sequence[OpenRow]) -> Iterator[Evidence]:
    sums = [sum(row.open_minor for row in side) for side in (bank, ledger)]
    yield _equal("amount", str(sums[0]), str(sums[1]), str(sums[0] - sums[1]))
    for field in ("own_id", "reference"):
        said = [
            ", ".join(sorted({getattr(r, field) for r in side} - {""})) for side in (bank, ledger)
        ]
        yield _equal(field, *said)
    days = (max(row.day for row in bank), min(row.day for row in ledger))
    yield _equal("date", str(days[0]), str(days[1]), f"{(days[0] - days[1]).days} days")


def _values(rows: Sequence[OpenRow], field: str) -> str:
    return ", ".join(sorted({getattr(row, field) for row in rows} - {""}))


def _equal(field: str, bank: str, ledger: str, apart: str = "") -> Evidence:
    unknown = not (bank and ledger)
    result = "unknown" if unknown else "agrees" if bank == ledger else "differs"
    return Evidence(field, bank, ledger, "equal", result, apart if result == "differs" else "")


def _rank(asked: Sequence[OpenRow], rows: Sequence[OpenRow]) -> list[Ranked]:
    told = [(row, compare([*asked, row])) for row in rows]
    scored = [(_score(evidence), row, evidence) for row, evidence in told]
    best = sorted(scored, key=lambda each: (-each[0], each[1].day, each[1].key))[:CANDIDATES]
    return [
        Ranked(row, rank, score, evidence)
        for rank, (score, row, evidence) in enumerate(best, start=1)
        if score > 0
    ]


def _score(evidence: Sequence[Evidence]) -> int:
    return sum(_WEIGHTS[each.field] for each in evidence if each.result == "agrees")
