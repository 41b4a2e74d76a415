"""By when a case is due, and how often it is escalated once it is late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from adapters.calendar import Calendar, CalendarUnknownError, add_working_days
from gateway.clock import BANK_ZONE, bank_date
from gateway.store import given
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.policy import CasePolicy
    from reconciliation.rules import Rules

GATEWAY_ACTOR: Final = "gateway"
"""Who escalates: nobody in person."""

_DAY: Final = timedelta(days=1)
_CHINA: Final = Calendar(working_days="china")
_MOST_MINOR: Final = 2**63 - 1
_CASES_A_ROUND: Final = 5_000


def due_day(found: date, working_days: int) -> date:
    """So many Chinese working days (调休 included) after a day.

    Where the calendar of a year is not published yet, so many calendar days: too early rather than
    too late.
    """
    try:
        return add_working_days(found, working_days, _CHINA)
    except CalendarUnknownError:
        return found + working_days * _DAY


class Deadline(NamedTuple):
    """By when cases are due that were found on a day and weigh within bounds."""

    found: date
    above_minor: int
    up_to_minor: int
    due: date


def deadlines(policy: CasePolicy, days: Iterable[date]) -> Iterator[Deadline]:
    """The deadlines of every weight for cases found on these days of the banks' calendar."""
    for found in days:
        above_minor = -1
        for tier in policy.due:
            up_to_minor = _MOST_MINOR if tier.up_to_minor is None else tier.up_to_minor
            due = due_day(found, tier.working_days)
            yield Deadline(found, above_minor, up_to_minor, due)
            above_minor = up_to_minor


# --- on record ----------------------------------------------------------------------------------

_C: Final = t.cases.c
_TIMING: Final = _C.kind == "timing"


async def age_cases(conn: AsyncConnection, policy: CasePolicy, rules: Rules, now: datetime) -> int:
    """Says by when open cases are due, and escalates those that are late.

    A due day is only ever brought forward: by a weight that grew. What is changed by somebody else
    at this moment is left for the next round, so that nobody waits for anybody.

    Returns:
        How many cases were escalated.
    """
    today = bank_date(now)
    await _set_deadlines(conn, policy)
    await _set_transit_ends(conn, rules)
    escalated = 0
    while (count := await _escalate(conn, policy, today, now)) > 0:
        escalated += count
        if count < _CASES_A_ROUND:
            break
    return escalated


async def _set_deadlines(conn: AsyncConnection, policy: CasePolicy) -> None:
    found = sa.cast(sa.func.timezone(BANK_ZONE.key, _C.opened_at), sa.Date)
    days = (await conn.scalars(sa.select(found).where(_C.open, ~_TIMING).distinct())).all()
    rows = list(deadlines(policy, sorted(days)))
    if not rows:
        return
    known = given(
        found=([row.found for row in rows], sa.Date()),
        above_minor=([row.above_minor for row in rows], sa.BigInteger()),
        up_to_minor=([row.up_to_minor for row in rows], sa.BigInteger()),
        due=([row.due for row in rows], sa.Date()),
    )
    fits = sa.and_(
        ~_TIMING,
        found == known.c.found,
        _C.weight_minor > known.c.above_minor,
        _C.weight_minor <= known.c.up_to_minor,
    )
    await _bring_forward(conn, sa.select(*_KEY, known.c.due).join_from(t.cases, known, fits))


async def _set_transit_ends(conn: AsyncConnection, rules: Rules) -> None:
    """A line in transit is due when the rules no longer call it so."""
    end = _C.oldest_date + sa.cast(sa.literal(rules.transit_days), sa.Integer)
    await _bring_forward(conn, sa.select(*_KEY, end.label("due")).where(_TIMING))


_KEY: Final = (_C.fund_id, _C.case_id)


async def _bring_forward(conn: AsyncConnection, dues: sa.Select[tuple[str, str, date]]) -> None:
    """Sets the due days that this query has (column `due`), where none or a later one is set."""
    due = dues.selected_columns["due"]
    chosen = (
        dues.where(_C.open, _C.due_date.is_(None) | (_C.due_date > due))
        .with_for_update(of=t.cases, skip_locked=True)
        .subquery()
    )
    await conn.execute(
        t.cases.update()
        .where(_C.fund_id == chosen.c.fund_id, _C.case_id == chosen.c.case_id)
        .values(due_date=chosen.c.due)
    )


async def _escalate(conn: AsyncConnection, policy: CasePolicy, today: date, now: datetime) -> int:
    """One round of bounded size; each case says in its history how often it was escalated."""
    late = (
        sa.select(*_KEY, _level(policy, today).label("level"))
        .where(overdue(today), _C.escalation < _level(policy, today))
        .limit(_CASES_A_ROUND)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    raised = await conn.execute(
        t.cases.update()
        .where(_C.fund_id == late.c.fund_id, _C.case_id == late.c.case_id)
        .values(escalation=late.c.level, version=_C.version + 1)
        .returning(*_KEY, _C.escalation, _C.due_date)
    )
    events = [
        {
            "fund_id": row.fund_id,
            "case_id": row.case_id,
            "kind": "ESCALATED",
            "actor": GATEWAY_ACTOR,
            "detail": f"level {row.escalation}: due {row.due_date}",
            "created_at": now,
        }
        for row in raised
    ]
    if events:
        await conn.execute(t.case_events.insert(), events)
    return len(events)


def overdue(today: date) -> sa.ColumnElement[bool]:
    """Whether a case is past its due day and not closed, waiting or at the bank."""
    waiting = _C.wait_until.is_not(None) & (_C.wait_until >= today)
    return sa.and_(_C.open, _C.due_date < today, ~waiting, ~_C.at_bank)


def _level(policy: CasePolicy, today: date) -> sa.ColumnElement[int]:
    """How often a case that is late is escalated by now, from 0."""
    over = sa.cast(sa.literal(today), sa.Date) - _C.due_date
    steps = [
        sa.case((sa.cast(over, sa.Integer) > days, 1), else_=0) for days in policy.escalation_days
    ]
    return sum(steps, sa.literal(0))
