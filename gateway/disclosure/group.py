"""Estates under one management (连片管理), summed up together.

A total is an addition for reading. Every fund has an account and books of its own, and no money
goes from one to another.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.disclosure.summary import Movements, Summary, movements, summary_of
from gateway.domain.errors import not_found
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.disclosure.period import Period
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class FundOfGroup:
    """One fund of a group.

    Attributes:
        fund_id: the fund.
        estate: display name of its estate.
        summary: its own.
    """

    fund_id: str
    estate: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """A group over a period.

    Attributes:
        funds: by id.
        totals: added up over `funds`, one a currency, by its code.
    """

    funds: tuple[FundOfGroup, ...]
    totals: tuple[Summary, ...]


async def group_summary(
    conn: AsyncConnection, group: str, period: Period, disclosed_by: date | None = None
) -> GroupSummary:
    """Each fund of a group that the caller's scope shows, and what they come to together.

    Args:
        conn: a snapshot, so that all funds are of one moment.
        group: name of the group.
        period: which months.
        disclosed_by: only what was disclosed by the end of this day; None for all.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without a fund of such a group in the caller's scope.
    """
    funds = await funds_of_group(conn, group)
    if not funds:
        raise not_found(f"groups/{group}")
    moved = await movements(conn, [fund.fund_id for fund in funds], period, disclosed_by)
    shown = (
        FundOfGroup(
            fund.fund_id,
            fund.estate,
            summary_of(fund.currency, moved.get(fund.fund_id, Movements()), period),
        )
        for fund in funds
    )
    return GroupSummary(tuple(shown), _totals(funds, moved, period))


async def funds_of_group(conn: AsyncConnection, group: str) -> Sequence[Row]:
    """Id, currency and estate of the group's funds that the caller's scope shows, by id."""
    query = (
        sa.select(t.funds.c.fund_id, t.funds.c.currency, t.estates.c.display_name.label("estate"))
        .join_from(t.funds, t.estates, t.funds.c.estate_id == t.estates.c.estate_id)
        .where(t.estates.c.group_name == group, sa.literal(group) != "")
        .order_by(t.funds.c.fund_id)
    )
    return (await conn.execute(query)).all()


def _totals(
    funds: Iterable[Row], moved: Mapping[str, Movements], period: Period
) -> tuple[Summary, ...]:
    by_currency: dict[str, Movements] = defaultdict(Movements)
    for fund in funds:
        total, own = by_currency[fund.currency], moved.get(fund.fund_id, Movements())
        total.openings.update(own.openings)
        total.sums.extend(own.sums)
    return tuple(summary_of(code, by_currency[code], period) for code in sorted(by_currency))
