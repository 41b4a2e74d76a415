"""The rules of disclosure of an estate, version by version."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.clock import bank_date
from gateway.domain.duties import BEFORE_ANY, Clock, Cycle, DisclosureRules
from gateway.domain.split import Basis, Share
from gateway.ledger.writer import lock_fund
from gateway.registry.rows import changed, insert_new
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

_R = t.disclosure_rules.c


async def set_rules(
    conn: AsyncConnection, fund_id: str, rules: DisclosureRules, *, now: datetime
) -> Row:
    """Puts the next version in force.

    Args:
        conn: a transaction.
        fund_id: the fund.
        rules: what is to hold; their version is the one that the caller had read, 0 for none.
        now: UTC.

    Raises:
        GatewayError: ETAG_MISMATCH if another version is in force; RESOURCE_NOT_FOUND without such
            a fund.
    """
    await lock_fund(conn, fund_id)
    latest = await rules_row(conn, fund_id)
    name = rules_name(fund_id)
    if rules.version != (latest.version if latest else 0):
        raise changed(name)
    values = {
        "fund_id": fund_id,
        "version": rules.version + 1,
        "answer_working_days": rules.answer_working_days,
        "clocks": [_stored(clock) for clock in rules.clocks],
        "itemised": list(rules.itemised),
        "share_basis": rules.share.basis if rules.share else "",
        "share_weight": rules.share.weight if rules.share else 0,
        "created_at": now,
    }
    return await insert_new(conn, t.disclosure_rules, name, values)


async def rules_row(conn: AsyncConnection, fund_id: str) -> Row | None:
    """The row of the rules in force; None before the first."""
    query = sa.select(t.disclosure_rules).where(_R.fund_id == fund_id)
    return (await conn.execute(query.order_by(_R.version.desc()).limit(1))).one_or_none()


async def rules_in_force(conn: AsyncConnection, fund_id: str) -> DisclosureRules:
    """What holds for a fund now."""
    row = await rules_row(conn, fund_id)
    return BEFORE_ANY if row is None else rules_of(row)


async def versions_of(
    conn: AsyncConnection, fund_ids: Collection[str]
) -> Mapping[str, Sequence[tuple[date, DisclosureRules]]]:
    """All versions of the rules of funds, each with its first day, in order."""
    query = sa.select(t.disclosure_rules).where(_R.fund_id.in_(fund_ids))
    found: dict[str, list[tuple[date, DisclosureRules]]] = defaultdict(list)
    for row in await conn.execute(query.order_by(_R.version)):
        found[row.fund_id].append((bank_date(row.created_at), rules_of(row)))
    return found


def rules_of(row: Row) -> DisclosureRules:
    """The rules in a row."""
    clocks = (Clock(Cycle(c["cycle"]), c["due_day"], c["posting_days"]) for c in row.clocks)
    share = Share(Basis(row.share_basis), row.share_weight) if row.share_basis else None
    return DisclosureRules(
        row.version, row.answer_working_days, tuple(clocks), tuple(row.itemised), share
    )


def rules_name(fund_id: str) -> str:
    """Resource name of a fund's rules."""
    return f"funds/{fund_id}/disclosureRules"


def _stored(clock: Clock) -> dict[str, Any]:
    return {
        "cycle": clock.cycle,
        "due_day": clock.due_day,
        "posting_days": clock.posting_days,
    }
