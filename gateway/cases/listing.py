"""Cases, resolutions, matches and runs as people ask for them: filtered, ordered, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.cases.ageing import overdue
from gateway.cases.rows import Key
from gateway.domain.errors import not_found
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

EVERY_FUND: Final = "-"
NOBODY: Final = "-"

_C: Final = t.cases.c
_R: Final = t.resolutions.c
_M: Final = t.matches.c
_FAR: Final = date(9999, 12, 31)


# --- cases --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """Which cases; empty and zero stand for all, every condition given must hold.

    Attributes:
        kinds: names of kinds, in small letters.
        states: names of `CaseState` without their prefix; none for all but CLOSED.
        min_age_days: days since the oldest day of its members.
        min_weight_minor: in fen.
        max_weight_minor: in fen.
        assignee: a person's resource name, or ``-`` for nobody.
        only_overdue: only those past their due day.
        min_escalation: escalated at least so often.
        cause: of this cause.
    """

    kinds: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    min_age_days: int = 0
    min_weight_minor: int = 0
    max_weight_minor: int = 0
    assignee: str = ""
    only_overdue: bool = False
    min_escalation: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """By what cases are ordered: an expression that rises, and how its value is read from text."""

    by: sa.ColumnElement[Any]
    parse: Callable[[str], Any]


ORDERS: Final[Mapping[str, Order]] = {
    "OLDEST": Order(_C.oldest_date, date.fromisoformat),
    "DUE": Order(sa.func.coalesce(_C.due_date, _FAR), date.fromisoformat),
    "WEIGHT": Order(-_C.weight_minor, int),
}


def state_of(today: date) -> sa.ColumnElement[str]:
    """Where a case stands, a name of `CaseState`."""
    proposed = (
        sa.exists()
        .where(_R.fund_id == _C.fund_id, _R.case_id == _C.case_id, _R.state == "PROPOSED")
        .correlate(t.cases)
    )
    return sa.case(
        (~_C.open, "CLOSED"),
        (proposed, "PROPOSED"),
        (_C.wait_until >= today, "WAITING"),
        (_C.at_bank, "AT_BANK"),
        else_="OPEN",
    )


def select_cases(today: date) -> sa.Select[Any]:
    """Cases with `state`, `overdue` and the fund's `currency`."""
    return sa.select(
        t.cases,
        t.funds.c.currency,
        state_of(today).label("state"),
        sa.func.coalesce(overdue(today), sa.false()).label("overdue"),
    ).join_from(t.cases, t.funds, t.funds.c.fund_id == _C.fund_id)


async def list_cases(
    conn: AsyncConnection,
    fund_id: str,
    which: Filter,
    order: Order,
    after: Sequence[str] | None,
    limit: int,
    today: date,
) -> Sequence[Row]:
    """Cases of one fund, or of all that row-level security lets the caller see (``-``).

    Args:
        conn: the transaction.
        fund_id: the fund, or ``-``.
        which: the filter.
        order: the order; ties by fund and case.
        after: key of the last row of the page before, `sort_key`, fund and case; None for none.
        limit: at most so many.
        today: the banks' day.

    Returns:
        Rows as `select_cases`, with `sort_key`.
    """
    await require_fund(conn, fund_id)
    names = (_C.fund_id, _C.case_id)
    query = select_cases(today).add_columns(order.by.label("sort_key"))
    if fund_id != EVERY_FUND:
        query = query.where(_C.fund_id == fund_id)
    if after is not None:
        key = (order.parse(after[0]), *after[1:])
        query = query.where(sa.tuple_(order.by, *names) > key)
    query = query.where(*_conditions(which, today)).order_by(order.by, *names).limit(limit)
    rows: Sequence[Row] = (await conn.execute(query)).all()
    return rows


def _conditions(which: Filter, today: date) -> list[sa.ColumnElement[bool]]:
    asked = [
        (which.kinds, _C.kind.in_(which.kinds)),
        (which.min_age_days, _C.oldest_date <= today - timedelta(days=which.min_age_days)),
        (which.min_weight_minor, _C.weight_minor >= which.min_weight_minor),
        (which.max_weight_minor, _C.weight_minor <= which.max_weight_minor),
        (which.assignee, _C.assignee == which.assignee.removeprefix(NOBODY)),
        (which.only_overdue, overdue(today)),
        (which.min_escalation, _C.escalation >= which.min_escalation),
        (which.cause, _C.cause == which.cause),
    ]
    conditions = [condition for said, condition in asked if said]
    if "CLOSED" not in which.states:
        conditions.append(_C.open)
    if which.states:
        conditions.append(state_of(today).in_(which.states))
    return conditions


async def require_fund(conn: AsyncConnection, fund_id: str) -> None:
    """Passes if the caller may see the fund, or asks for all.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.funds.c.fund_id).where(t.funds.c.fund_id == fund_id)
    if fund_id != EVERY_FUND and (await conn.execute(query)).one_or_none() is None:
        raise not_found(f"funds/{fund_id}")


async def events_of(conn: AsyncConnection, fund_id: str, case_id: str) -> Sequence[Row]:
    """All that happened to a case, the oldest first."""
    e = t.case_events.c
    query = sa.select(t.case_events).where(e.fund_id == fund_id, e.case_id == case_id)
    rows: Sequence[Row] = (await conn.execute(query.order_by(e.sequence))).all()
    return rows


# --- resolutions and matches --------------------------------------------------------------------


def select_resolutions() -> sa.Select[Any]:
    """Resolutions with the fund's `currency`."""
    return sa.select(t.resolutions, t.funds.c.currency).join_from(
        t.resolutions, t.funds, t.funds.c.fund_id == _R.fund_id
    )


async def resolutions_of(
    conn: AsyncConnection, cases: Sequence[tuple[str, str]], *, only_proposed: bool = False
) -> Sequence[Row]:
    """Resolutions of cases, by fund and case, the newest first."""
    query = select_resolutions().where(sa.tuple_(_R.fund_id, _R.case_id).in_(cases))
    if only_proposed:
        query = query.where(_R.state == "PROPOSED")
    query = query.order_by(_R.created_at.desc(), _R.resolution_id.desc())
    rows: Sequence[Row] = (await conn.execute(query)).all()
    return rows


async def list_resolutions(
    conn: AsyncConnection,
    fund_id: str,
    states: Sequence[str],
    after: Sequence[Any] | None,
    limit: int,
) -> Sequence[Row]:
    """Resolutions of a fund or of all, the newest first; `after` is moment, fund and id."""
    await require_fund(conn, fund_id)
    key = (_R.created_at, _R.fund_id, _R.resolution_id)
    query = select_resolutions().order_by(*(column.desc() for column in key)).limit(limit)
    if fund_id != EVERY_FUND:
        query = query.where(_R.fund_id == fund_id)
    if states:
        query = query.where(_R.state.in_(states))
    if after is not None:
        query = query.where(sa.tuple_(*key) < tuple(after))
    rows: Sequence[Row] = (await conn.execute(query)).all()
    return rows


@dataclass(frozen=True, slots=True)
class MatchFilter:
    """Which matches; empty stands for all. `member` is the side and the id of a row."""

    run_id: str = ""
    rule: str = ""
    member: tuple[str, str] | None = None
    include_undone: bool = False


def select_matches() -> sa.Select[Any]:
    """Matches with what each takes of the bank's side (`amount_minor`) and the `currency`."""
    mm = t.match_members.c
    # Of rows of one side alone, that side nets out: then it is what was given and taken.
    amount = (
        sa.select(sa.func.coalesce(sa.func.sum(mm.allocated_minor), 0))
        .where(
            mm.fund_id == _M.fund_id,
            mm.match_id == _M.match_id,
            mm.made_by == _M.made_by,
            mm.side == "bank",
        )
        .correlate(t.matches)
        .scalar_subquery()
    )
    return sa.select(
        t.matches, t.funds.c.currency, sa.cast(amount, sa.BigInteger).label("amount_minor")
    ).join_from(t.matches, t.funds, t.funds.c.fund_id == _M.fund_id)


async def list_matches(
    conn: AsyncConnection,
    fund_id: str,
    which: MatchFilter,
    after: Sequence[Any] | None,
    limit: int,
) -> Sequence[Row]:
    """Matches of a fund or of all, the newest first; `after` is moment, fund, id and maker."""
    await require_fund(conn, fund_id)
    key = (_M.created_at, _M.fund_id, _M.match_id, _M.made_by)
    query = select_matches().order_by(*(column.desc() for column in key)).limit(limit)
    if fund_id != EVERY_FUND:
        query = query.where(_M.fund_id == fund_id)
    if which.member is not None:
        query = query.where(_has_member(*which.member))
    if not which.include_undone:
        query = query.where(_M.undone_at.is_(None))
    for column, value in ((_M.made_by, which.run_id), (_M.rule, which.rule)):
        query = query.where(column == value) if value else query
    if after is not None:
        query = query.where(sa.tuple_(*key) < tuple(after))
    rows: Sequence[Row] = (await conn.execute(query)).all()
    return rows


def _has_member(side: str, member_id: str) -> sa.ColumnElement[bool]:
    mm = t.match_members.c
    return (
        sa.exists()
        .where(
            mm.fund_id == _M.fund_id,
            mm.match_id == _M.match_id,
            mm.made_by == _M.made_by,
            mm.side == side,
            mm.member_id == member_id,
        )
        .correlate(t.matches)
    )


async def taken_by(
    conn: AsyncConnection, fund_id: str, match_id: str, made_by: str
) -> dict[Key, int]:
    """What a match takes of each row."""
    mm = t.match_members.c
    query = sa.select(mm.side, mm.member_id, mm.allocated_minor).where(
        mm.fund_id == fund_id, mm.match_id == match_id, mm.made_by == made_by
    )
    rows = await conn.execute(query)
    return {Key(row.side, row.member_id): row.allocated_minor for row in rows}
