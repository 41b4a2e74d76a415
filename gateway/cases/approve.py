"""The second of two persons: does what was proposed, looked at again, or turns it down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.cases.even import Taken
from gateway.cases.pin import pin
from gateway.cases.plan import POSTING, plan_of
from gateway.cases.record import Event, load_case, note, require_open, settle_cases
from gateway.cases.resolutions import (
    ask_of,
    change,
    load_resolution,
    require_may_post,
    require_state,
    resolution_name,
    restand,
)
from gateway.cases.rows import Key, load_rows
from gateway.domain.errors import Reason, precondition
from gateway.domain.party import Role
from gateway.ledger.writer import lock_fund, post_line
from gateway.registry.authority import load_person
from gateway.registry.marks import mark_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.actor import Actor
    from gateway.cases.plan import Plan
    from gateway.cases.policy import CasePolicy
    from gateway.ledger.writer import LineDraft
    from gateway.store import Row

_MATCHING: Final = POSTING | {"MATCH"}
_PROPOSING: Final = (Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER, Role.OPERATOR)
"""In which of several roles somebody proposed."""


async def approve(
    conn: AsyncConnection,
    policy: CasePolicy,
    fund_id: str,
    resolution_id: str,
    said: str,
    actor: Actor,
) -> Row:
    """Does what was proposed, in full or not at all.

    Returns:
        The resolution as stored.

    Raises:
        GatewayError: STATE_FORBIDS; SAME_PERSON; ROLE_NOT_ALLOWED; what `plan_of` refuses.
    """
    resolution, case = await _proposed(conn, fund_id, resolution_id, actor)
    require_may_post(resolution.action, actor)
    require_open(case)
    ask = await ask_of(conn, resolution)
    plan = await plan_of(conn, policy, case, ask, actor.today)
    done = await _carry_out(conn, resolution, plan, actor)
    await _decide(conn, resolution, actor, state="APPROVED", decision_note=said, **done)
    event = Event("APPROVED", actor.name, actor.now, said, resolution_id)
    if resolution.action in _MATCHING:
        await settle_cases(conn, fund_id, [each.row.key for each in plan.taken], event)
    else:
        await note(conn, fund_id, [case.case_id], event)
    await restand(conn, case)
    return await load_resolution(conn, fund_id, resolution_id)


async def reject(
    conn: AsyncConnection, fund_id: str, resolution_id: str, reason: str, actor: Actor
) -> Row:
    """Turns a proposal down; the case may be closed meanwhile.

    Raises:
        GatewayError: STATE_FORBIDS; SAME_PERSON.
    """
    resolution, case = await _proposed(conn, fund_id, resolution_id, actor)
    await _decide(conn, resolution, actor, state="REJECTED", decision_note=reason)
    event = Event("REJECTED", actor.name, actor.now, reason, resolution_id)
    await note(conn, fund_id, [case.case_id], event)
    return await load_resolution(conn, fund_id, resolution_id)


async def _proposed(
    conn: AsyncConnection, fund_id: str, resolution_id: str, actor: Actor
) -> tuple[Row, Row]:
    """A proposal of another human's, and its case, behind the fund's lock."""
    await lock_fund(conn, fund_id)
    resolution = await load_resolution(conn, fund_id, resolution_id)
    require_state(resolution, "PROPOSED")
    if resolution.proposer_human == actor.natural_person:
        name = resolution_name(fund_id, resolution_id)
        raise precondition(Reason.SAME_PERSON, name, "another person than who proposed it decides")
    return resolution, await load_case(conn, fund_id, resolution.case_id)


async def _decide(conn: AsyncConnection, resolution: Row, actor: Actor, **values: object) -> None:
    decided = {
        "decider": actor.name,
        "decider_human": actor.natural_person,
        "decided_at": actor.now,
    }
    await change(conn, resolution, **decided, **values)


async def _carry_out(
    conn: AsyncConnection, resolution: Row, plan: Plan, actor: Actor
) -> dict[str, object]:
    """Posts what is to be posted, matches what is to be matched; says which line and match."""
    if resolution.action not in _MATCHING:
        return {}
    fund_id, taken, done = resolution.fund_id, plan.taken, {}
    if plan.line is not None:
        number = await _post(conn, resolution, plan.line, actor)
        taken += (await _whole_line(conn, fund_id, number),)
        done["line_number"] = number
    match_id = await pin(conn, fund_id, resolution.resolution_id, taken, actor.today, actor.now)
    return {**done, "match_id": match_id}


async def _post(conn: AsyncConnection, resolution: Row, line: LineDraft, actor: Actor) -> int:
    marks = await _marks(conn, resolution, actor)
    draft = replace(line, signatures=marks)
    return (await post_line(conn, resolution.fund_id, draft, actor.now)).line_number


async def _whole_line(conn: AsyncConnection, fund_id: str, number: int) -> Taken:
    key = Key("ledger", str(number))
    row = (await load_rows(conn, fund_id, [key]))[key]
    return Taken(row, row.amount_minor)


async def _marks(
    conn: AsyncConnection, resolution: Row, actor: Actor
) -> tuple[dict[str, str], ...]:
    """Who proposed and who approved, as the owners read it: party and role, no person."""
    _, party_id, _, person_id = resolution.proposer.split("/")
    proposer = await load_person(conn, party_id, person_id)
    role = next((each for each in _PROPOSING if each in proposer.roles), Role.OPERATOR)
    return (
        await mark_of(conn, party_id, role, resolution.created_at),
        await mark_of(conn, actor.party_id, Role.TRUSTEE_CHECKER, actor.now),
    )
