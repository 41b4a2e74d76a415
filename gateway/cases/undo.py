"""What was decided or matched, taken back: its rows are open again, and a case stands for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.cases.pin import rows_of, unpin
from gateway.cases.record import (
    Event,
    load_case,
    note,
    open_cases_of,
    reopen_closed_by,
    settle_cases,
    stand,
)
from gateway.cases.resolutions import (
    change,
    load_resolution,
    require_may_post,
    require_state,
    restand,
)
from gateway.cases.rows import Key
from gateway.domain.errors import GatewayError, Kind, Reason, not_found, precondition
from gateway.domain.party import Role
from gateway.ledger.settling import close_void
from gateway.ledger.writer import LineDraft, lock_fund, void_line
from gateway.registry.marks import mark_of
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.actor import Actor
    from gateway.store import Row, Store

_M: Final = t.matches.c


def match_name(fund_id: str, match_id: str, made_by: str) -> str:
    """Resource name of a match."""
    return f"funds/{fund_id}/matches/{match_id}/{made_by}"


# --- a decision ---------------------------------------------------------------------------------


async def undo_resolution(
    conn: AsyncConnection, fund_id: str, resolution_id: str, reason: str, actor: Actor
) -> Row:
    """Undoes a resolution: its match, the line it posted, or what else it said of its case.

    Raises:
        GatewayError: STATE_FORBIDS unless APPROVED; ROLE_NOT_ALLOWED for one that posted a line.
    """
    await lock_fund(conn, fund_id)
    resolution = await load_resolution(conn, fund_id, resolution_id)
    require_state(resolution, "APPROVED")
    require_may_post(resolution.action, actor)
    await change(conn, resolution, state="UNDONE", **_undone(reason, actor))
    event = Event("UNDONE", actor.name, actor.now, reason, resolution_id)
    if resolution.match_id:
        await _undo_pin(conn, resolution, reason, actor, event)
    else:
        await note(conn, fund_id, [resolution.case_id], event)
    await restand(conn, resolution)
    return await load_resolution(conn, fund_id, resolution_id)


def _undone(reason: str, actor: Actor) -> dict[str, object]:
    return {"undone_at": actor.now, "undone_by": actor.name, "undo_reason": reason}


async def _undo_pin(
    conn: AsyncConnection, resolution: Row, reason: str, actor: Actor, event: Event
) -> None:
    fund_id, made_by = resolution.fund_id, resolution.resolution_id
    keys = await rows_of(conn, fund_id, resolution.match_id, made_by)
    await unpin(conn, fund_id, _M.made_by == made_by, **_undone(reason, actor))
    if resolution.line_number is not None:
        keys.append(await _take_back(conn, fund_id, resolution.line_number, reason, actor))
    await reopen_closed_by(conn, fund_id, event)
    case = await load_case(conn, fund_id, resolution.case_id)
    await stand(conn, fund_id, keys, case.run_id, event)
    if case.case_id not in frozenset[str]().union(
        *(await open_cases_of(conn, fund_id, keys)).values()
    ):
        await note(conn, fund_id, [case.case_id], event)
    await settle_cases(conn, fund_id, keys, event)


async def _take_back(
    conn: AsyncConnection, fund_id: str, number: int, reason: str, actor: Actor
) -> Key:
    """A linked red line (红字), on the same day: bank and books agree on every day there was.

    Neither ever reaches the bank, so both are closed at once. Where somebody has corrected the line
    already, that correction is the red line.

    Returns:
        The red line.
    """
    lines = t.disclosed_lines
    query = sa.select(lines).where(lines.c.fund_id == fund_id, lines.c.line_number == number)
    line = (await conn.execute(query)).one()
    if line.corrected_by is not None:
        await close_void(conn, fund_id, number, line.corrected_by, line.effective_date)
        return Key("ledger", str(line.corrected_by))
    role = Role.TRUSTEE_CHECKER if Role.TRUSTEE_CHECKER in actor.roles else Role.OPERATOR
    draft = LineDraft(
        account_id=line.account_id,
        book=line.book,
        category=line.category,
        summary=line.summary,
        amount_minor=-line.amount_minor,
        effective_date=line.effective_date,
        reference=line.reference,
        counterparty_name=line.counterparty_name,
        counterparty_account=line.counterparty_account,
        corrects=number,
        correction_reason=reason,
        signatures=(await mark_of(conn, actor.party_id, role, actor.now),),
    )
    posted = await void_line(conn, fund_id, draft, actor.now)
    return Key("ledger", str(posted.line_number))


# --- what a run matched -------------------------------------------------------------------------


async def undo_match(
    conn: AsyncConnection, fund_id: str, match_id: str, made_by: str, reason: str, actor: Actor
) -> None:
    """Takes an automatic match apart for good, and counts it against its rule.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND; STATE_FORBIDS if it was undone before, or was decided by
            people.
    """
    await lock_fund(conn, fund_id)
    match = await load_match(conn, fund_id, match_id, made_by)
    _require_automatic(match)
    keys = await rows_of(conn, fund_id, match_id, made_by)
    this = sa.and_(_M.match_id == match_id, _M.made_by == made_by)
    await unpin(conn, fund_id, this, kept_apart=True, **_undone(reason, actor))
    event = Event("UNDONE", actor.name, actor.now, reason)
    await stand(conn, fund_id, keys, made_by, event)
    await settle_cases(conn, fund_id, keys, event)


async def load_match(conn: AsyncConnection, fund_id: str, match_id: str, made_by: str) -> Row:
    """The row of a match.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.matches).where(
        _M.fund_id == fund_id, _M.match_id == match_id, _M.made_by == made_by
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(match_name(fund_id, match_id, made_by))
    return row


def _require_automatic(match: Row) -> None:
    name = match_name(match.fund_id, match.match_id, match.made_by)
    if match.undone_at is not None:
        raise precondition(Reason.STATE_FORBIDS, name, "the match was taken back", state="UNDONE")
    if match.status != "automatic":
        message = "people decided this match: undo their resolution"
        raise precondition(Reason.STATE_FORBIDS, name, message, state="DECIDED")


async def undo_run(store: Store, run_id: str, reason: str, actor: Actor) -> int:
    """Takes back every match in force that a run made, fund by fund, each in one transaction.

    What is open again comes back as cases with the next run. If it breaks off, it goes on where it
    was when it is called again.

    Returns:
        How many matches were taken back.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND; STATE_FORBIDS unless the run is done and was not undone;
            RUN_IN_PROGRESS while any run goes on.
    """
    made = _M.made_by == run_id
    async with store.transaction(GATEWAY) as conn:
        await _require_undoable(conn, run_id)
        query = sa.select(_M.fund_id).where(made, _M.undone_at.is_(None)).distinct()
        fund_ids = (await conn.scalars(query.order_by(_M.fund_id))).all()
    count = 0
    for fund_id in fund_ids:
        async with store.transaction(GATEWAY) as conn:
            await lock_fund(conn, fund_id)
            count += await unpin(conn, fund_id, made, **_undone(reason, actor))
    async with store.transaction(GATEWAY) as conn:
        runs = t.runs
        await conn.execute(
            runs.update().where(runs.c.run_id == run_id).values(**_undone(reason, actor))
        )
    return count


async def _require_undoable(conn: AsyncConnection, run_id: str) -> None:
    runs = t.runs.c
    name = f"reconciliationRuns/{run_id}"
    query = sa.select(runs.run_id, runs.state, runs.undone_at)
    rows = {
        row.run_id: row
        for row in await conn.execute(
            query.where((runs.run_id == run_id) | (runs.state == "RUNNING"))
        )
    }
    run = rows.get(run_id)
    if run is None:
        raise not_found(name)
    if any(row.state == "RUNNING" for row in rows.values()):
        message = "a run is going on; try again behind it"
        raise GatewayError(Kind.UNAVAILABLE, Reason.RUN_IN_PROGRESS, message)
    if run.state != "DONE" or run.undone_at is not None:
        state = "UNDONE" if run.undone_at is not None else run.state
        message = f"the run is {state}, not DONE"
        raise precondition(Reason.STATE_FORBIDS, name, message, state=state)
