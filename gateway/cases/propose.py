"""The first of two persons: gives cases to people, says what to do about them, takes it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.cases.plan import plan_of
from gateway.cases.record import Event, case_name, load_case, note, require_open
from gateway.cases.resolutions import (
    PREFIX,
    change,
    load_proposal,
    load_resolution,
    require_state,
    resolution_name,
)
from gateway.domain.errors import Reason, denied, precondition
from gateway.domain.party import Role
from gateway.ids import new_id
from gateway.ledger.writer import lock_fund
from gateway.registry.authority import appointed_parties, load_person
from gateway.registry.rows import require_version
from gateway.store import tables as t

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.actor import Actor
    from gateway.cases.plan import Ask, Plan
    from gateway.cases.policy import CasePolicy
    from gateway.store import Row

DESK: Final = frozenset({Role.OPERATOR, Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER})
"""Who works on cases."""


@dataclass(frozen=True, slots=True)
class Read:
    """A case as somebody read it: what is said about it is said about this state of it."""

    fund_id: str
    case_id: str
    etag: str


async def assign(conn: AsyncConnection, read: Read, assignee: str, actor: Actor) -> None:
    """Gives a case to a person, by resource name, or to nobody.

    Raises:
        GatewayError: ETAG_MISMATCH, STATE_FORBIDS, RESOURCE_NOT_FOUND, ROLE_NOT_ALLOWED.
    """
    fund = await lock_fund(conn, read.fund_id)
    await _open_as_read(conn, read)
    if assignee:
        await _require_worker(conn, fund, assignee)
    event = Event("ASSIGNED", actor.name, actor.now, assignee)
    await note(conn, read.fund_id, [read.case_id], event, assignee=assignee)


async def _require_worker(conn: AsyncConnection, fund: Row, name: str) -> None:
    """Who has a case may work on cases, and on this fund's."""
    _, party_id, _, person_id = name.split("/")
    person = await load_person(conn, party_id, person_id)
    here = Role.OPERATOR in person.roles or party_id in await appointed_parties(
        conn, fund.estate_id
    )
    if person.roles.isdisjoint(DESK) or not here:
        message = f"{name} does not work on the cases of this fund"
        raise denied(Reason.ROLE_NOT_ALLOWED, message, name=name)


async def comment(
    conn: AsyncConnection, fund_id: str, case_id: str, text: str, actor: Actor
) -> Event:
    """Adds a remark to a case, closed or not.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    await lock_fund(conn, fund_id)
    await load_case(conn, fund_id, case_id)
    event = Event("COMMENTED", actor.name, actor.now, text)
    await note(conn, fund_id, [case_id], event)
    return event


async def propose(
    conn: AsyncConnection, policy: CasePolicy, read: Read, ask: Ask, actor: Actor
) -> Row:
    """Records what a person proposes to do about a case; nothing happens yet.

    Returns:
        The resolution as stored.

    Raises:
        GatewayError: ETAG_MISMATCH; STATE_FORBIDS for a closed case or one that has a proposal;
            what `plan_of` refuses.
    """
    await lock_fund(conn, read.fund_id)
    case = await _open_as_read(conn, read)
    if await load_proposal(conn, case) is not None:
        name = case_name(read.fund_id, read.case_id)
        message = "a proposal for it waits for another person"
        raise precondition(Reason.STATE_FORBIDS, name, message, state="PROPOSED")
    plan = await plan_of(conn, policy, case, ask, actor.today)
    resolution_id = new_id(PREFIX, actor.now)
    await _insert(conn, case, resolution_id, (ask, plan), actor)
    event = Event("PROPOSED", actor.name, actor.now, ask.reason, resolution_id)
    await note(conn, read.fund_id, [read.case_id], event)
    return await load_resolution(conn, read.fund_id, resolution_id)


async def _open_as_read(conn: AsyncConnection, read: Read) -> Row:
    case = await load_case(conn, read.fund_id, read.case_id)
    require_version(case, read.etag, case_name(read.fund_id, read.case_id))
    require_open(case)
    return case


async def _insert(
    conn: AsyncConnection, case: Row, resolution_id: str, said: tuple[Ask, Plan], actor: Actor
) -> None:
    ask, plan = said
    this = {"fund_id": case.fund_id, "resolution_id": resolution_id}
    await conn.execute(
        t.resolutions.insert().values(
            **this,
            case_id=case.case_id,
            account_id=plan.account_id,
            action=ask.action,
            state="PROPOSED",
            reason=ask.reason,
            proposer=actor.name,
            proposer_human=actor.natural_person,
            created_at=actor.now,
            wait_until=ask.wait_until,
            bank_reference=ask.bank_reference,
            supersedes=ask.supersedes,
            **_line_values(plan),
        )
    )
    members = [
        {**this, **each.row.key._asdict(), "allocated_minor": each.allocated_minor}
        for each in plan.taken
    ]
    if members:
        await conn.execute(t.resolution_members.insert(), members)


def _line_values(plan: Plan) -> dict[str, object]:
    line = plan.line
    if line is None:
        return {}
    return {
        "adjust_minor": line.amount_minor,
        "book": line.book,
        "category": line.category,
        "summary": line.summary,
        "effective_date": line.effective_date,
        "vouchers": list(line.vouchers),
    }


async def withdraw(conn: AsyncConnection, fund_id: str, resolution_id: str, actor: Actor) -> Row:
    """Takes one's own proposal back.

    Raises:
        GatewayError: ROLE_NOT_ALLOWED for somebody else's; STATE_FORBIDS unless PROPOSED.
    """
    await lock_fund(conn, fund_id)
    resolution = await load_resolution(conn, fund_id, resolution_id)
    if resolution.proposer != actor.name:
        name = resolution_name(fund_id, resolution_id)
        raise denied(Reason.ROLE_NOT_ALLOWED, f"{name} is somebody else's proposal", name=name)
    require_state(resolution, "PROPOSED")
    await change(conn, resolution, state="WITHDRAWN", decided_at=actor.now)
    event = Event("WITHDRAWN", actor.name, actor.now, "", resolution_id)
    await note(conn, fund_id, [resolution.case_id], event)
    return await load_resolution(conn, fund_id, resolution_id)
