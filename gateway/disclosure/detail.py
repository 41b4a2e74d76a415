"""Lump sums told by item: what a line consists of, and which lines are to say so and do not.

A trust supervisor once asked why a month's ground parking stood in the book as one sum; told by
item, what came in rose fivefold. So an estate's rules can name categories of income that are told
by item. The items are added to a line, whichever way it was booked; the line itself never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.store import among
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

_L: Final = t.disclosed_lines.c
_D: Final = t.line_details.c
_R: Final = t.disclosure_rules.c


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a line.

    Attributes:
        label: what it is, as the owners read it.
        count: how many of it, 1 or more.
        amount_minor: all of them together, minor units, signed as the line.
    """

    label: str
    count: int
    amount_minor: int


async def items_of_lines(
    conn: AsyncConnection,
    fund_id: str,
    line_numbers: Collection[int],
    told_before: datetime | None = None,
) -> Mapping[int, Sequence[Item]]:
    """The items of lines, in order; lines without any are missing."""
    query = sa.select(_D.line_number, _D["items"].label("parts")).where(
        _D.fund_id == fund_id, among(_D.line_number, line_numbers)
    )
    if told_before is not None:
        query = query.where(_D.created_at < told_before)
    rows = await conn.execute(query)
    return {row.line_number: [Item(**each) for each in row.parts] for row in rows}


def is_to_be_itemised() -> sa.ColumnElement[bool]:
    """Whether a line is income that the rules of the moment of its disclosure want by item."""
    wanted = (
        sa.select(_R.itemised)
        .where(_R.fund_id == _L.fund_id, _R.created_at <= _L.disclosed_at)
        .order_by(_R.version.desc())
        .limit(1)
        .correlate(t.disclosed_lines)
        .scalar_subquery()
    )
    named = sa.func.coalesce(_L.category == sa.any_(sa.cast(wanted, pg.ARRAY(sa.Text))), sa.false())
    return sa.and_(_L.amount_minor > 0, _L.corrects.is_(None), named)


def lacks_detail() -> sa.ColumnElement[bool]:
    """Whether a line that stands is to be told by item and is not."""
    told = sa.exists().where(_D.fund_id == _L.fund_id, _D.line_number == _L.line_number)
    return sa.and_(
        is_to_be_itemised(), _L.corrected_by.is_(None), ~told.correlate(t.disclosed_lines)
    )


def is_lump_sum(line: Row, items: Sequence[Item]) -> bool:
    """The same of a line as `list_lines` has it, with its items."""
    return line.to_be_itemised and not line.corrected_by and not items
