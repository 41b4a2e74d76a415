"""Changes of what decides who can pay: proposed by one party, in force once another confirms.

Only added to: a change is one row, its decision another, and the application can alter neither.
To end a right takes one person and works at once; it leaves the same history. A change that nobody
who was ever registered could confirm takes effect at once too: the founding of a gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import GatewayError, Kind, Reason, denied, not_found, precondition
from gateway.domain.party import Role
from gateway.ids import new_id
from gateway.registry.rows import insert_new
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Select

LIFE: Final = timedelta(days=30)
"""A proposal that nobody decided on so long means nothing any more."""

DECIDERS: Final = (Role.TRUSTEE_CHECKER, Role.OWNERS_COMMITTEE)
"""Roles that confirm: those that sign payments and are not the firm that is paid."""

_C, _D = t.register_changes.c, t.register_decisions.c


class Outcome(StrEnum):
    """What became of a change."""

    CONFIRMED = "CONFIRMED"
    FOUNDED = "FOUNDED"
    ENDED = "ENDED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who proposes or decides.

    Attributes:
        name: the person's resource name.
        party_id: whom the person acts for.
        person_id: id within the party.
        human: equal for the same human in every party.
    """

    name: str
    party_id: str
    person_id: str
    human: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What a change is about, which is what tells who may confirm it.

    Attributes:
        estate_id: the one estate; empty for what concerns a person wherever they act.
        party_id: the party whose person or appointment it is; empty for a policy.
        beneficiary: who gains by it, as `Actor.human`; empty for nobody in particular.
    """

    estate_id: str = ""
    party_id: str = ""
    beneficiary: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A change before it is proposed.

    Attributes:
        resource: resource name of what is added, set or ended.
        subject: what it is about.
        kind: name of the message in `content`; empty for an end.
        content: the exact bytes that are proposed.
    """

    resource: str
    subject: Subject
    kind: str = ""
    content: bytes = b""


# --- proposing --------------------------------------------------------------------------------


async def propose(conn: AsyncConnection, draft: Draft, actor: Actor, now: datetime) -> Row:
    """Records a change that is to wait for another party; needs the GATEWAY scope.

    Raises:
        GatewayError: RESOURCE_EXISTS while another change of the same resource waits. A race of
            two leaves both: the second is refused when it is confirmed.
    """
    await _require_none_waits(conn, draft.resource, now)
    return await _add(conn, draft, actor, now)


async def could_confirm(conn: AsyncConnection, change: Row) -> bool:
    """Whether anybody was ever registered, with a certificate, who could have confirmed it.

    Rights that have ended count: who takes them from everybody else must not be alone then.
    """
    persons = t.persons
    query = (
        sa.select(sa.literal(1))
        .select_from(t.register_changes)
        .join(persons, _decides(_once_fellows(persons.c.party_id), ever=True))
        .join(t.certificates, _same_person(t.certificates, persons))
        .where(_C.change_id == change.change_id)
    )
    return await conn.scalar(query.limit(1)) is not None


async def record_end(conn: AsyncConnection, draft: Draft, actor: Actor, now: datetime) -> None:
    """Records that somebody ended a right."""
    change = await _add(conn, draft, actor, now)
    await decide(conn, change, Outcome.ENDED, actor, now)


async def record_founding(conn: AsyncConnection, draft: Draft, actor: Actor, now: datetime) -> None:
    """Records what the first operator got without anybody's confirmation."""
    change = await _add(conn, draft, actor, now)
    await decide(conn, change, Outcome.FOUNDED, actor, now)


async def _add(conn: AsyncConnection, draft: Draft, actor: Actor, now: datetime) -> Row:
    subject = draft.subject
    values = {
        "change_id": new_id("c", now),
        "resource": draft.resource,
        "kind": draft.kind,
        "content": draft.content,
        "estate_id": subject.estate_id,
        "party_id": subject.party_id,
        "beneficiary_human": subject.beneficiary,
        "open_to_trustees": not await _estate_has_deciders(conn, subject, actor),
        "proposer": actor.name,
        "proposer_party": actor.party_id,
        "proposer_human": actor.human,
        "created_at": now,
        "expires_at": now + LIFE,
    }
    return await insert_new(conn, t.register_changes, draft.resource, values)


async def _require_none_waits(conn: AsyncConnection, resource: str, now: datetime) -> None:
    query = _with_decisions().where(
        _C.resource == resource, _D.change_id.is_(None), _C.expires_at > now
    )
    waiting = (await conn.execute(query.limit(1))).one_or_none()
    if waiting is not None:
        name = change_name(waiting.change_id)
        raise GatewayError(
            Kind.EXISTS,
            Reason.RESOURCE_EXISTS,
            f"{name} proposes {resource} already",
            {"name": resource, "change": name},
            subject=resource,
        )


async def _estate_has_deciders(conn: AsyncConnection, subject: Subject, actor: Actor) -> bool:
    """Whether a party that was ever appointed to the estate has somebody who could confirm."""
    persons, appointments = t.persons, t.appointments
    query = (
        sa.select(sa.literal(1))
        .select_from(appointments)
        .join(persons, persons.c.party_id == appointments.c.party_id)
        .join(t.certificates, _same_person(t.certificates, persons))
        .where(
            appointments.c.estate_id == subject.estate_id,
            persons.c.roles.overlap(list(DECIDERS)),
            persons.c.party_id != actor.party_id,
            persons.c.natural_person.not_in([actor.human, subject.beneficiary]),
        )
    )
    return await conn.scalar(query.limit(1)) is not None


# --- deciding ---------------------------------------------------------------------------------


async def decide(
    conn: AsyncConnection,
    change: Row,
    outcome: Outcome,
    actor: Actor,
    now: datetime,
    reason: str = "",
) -> None:
    """Records what became of a change, once and for ever; needs the GATEWAY scope.

    Raises:
        GatewayError: STATE_FORBIDS if somebody decided it meanwhile.
    """
    values = {
        "change_id": change.change_id,
        "proposer_party": change.proposer_party,
        "proposer_human": change.proposer_human,
        "outcome": outcome,
        "decider": actor.name,
        "decider_party": actor.party_id,
        "decider_human": actor.human,
        "reason": reason,
        "created_at": now,
    }
    query = pg.insert(t.register_decisions).values(**values).on_conflict_do_nothing()
    added = await conn.execute(query.returning(_D.change_id))
    if added.one_or_none() is None:
        raise _settled(change.change_id, "decided")


async def confirmable(
    conn: AsyncConnection, digests: Mapping[str, str], actor: Actor, now: datetime
) -> Sequence[Row]:
    """The changes of these ids, which the actor may confirm, in the order of their proposals.

    Args:
        conn: a transaction of the actor's own scope.
        digests: change id to the SHA-256 of the content that the actor has read.
        actor: who wants to confirm them.
        now: UTC.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, STATE_FORBIDS, PAYLOAD_MISMATCH, SAME_PARTY, SAME_PERSON;
            ROLE_NOT_ALLOWED for one that others must confirm.
    """
    rows = await _waiting(conn, digests, actor, now)
    for row in rows:
        _require_same_content(row, digests[row.change_id])
        _require_another(row, actor)
        if not row.may_confirm:
            name = change_name(row.change_id)
            raise denied(Reason.ROLE_NOT_ALLOWED, f"{name} is for others to confirm", name=name)
    return rows


async def rejectable(
    conn: AsyncConnection, change_ids: Collection[str], actor: Actor, now: datetime
) -> Sequence[Row]:
    """The changes of these ids, which the actor may confirm or whose party proposed them.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, STATE_FORBIDS; ROLE_NOT_ALLOWED for one of others.
    """
    rows = await _waiting(conn, change_ids, actor, now)
    for row in rows:
        if not row.may_confirm and row.proposer_party != actor.party_id:
            name = change_name(row.change_id)
            raise denied(Reason.ROLE_NOT_ALLOWED, f"{name} is for others to decide", name=name)
    return rows


async def _waiting(
    conn: AsyncConnection, change_ids: Collection[str], actor: Actor, now: datetime
) -> Sequence[Row]:
    query = (
        _with_decisions()
        .add_columns(_may_confirm(actor).label("may_confirm"))
        .where(_C.change_id.in_(change_ids))
        .order_by(_C.change_id)
    )
    rows = (await conn.execute(query)).all()
    for missing in sorted(set(change_ids) - {row.change_id for row in rows}):
        raise not_found(change_name(missing))
    for row in rows:
        if row.outcome is not None:
            raise _settled(row.change_id, row.outcome)
        if row.expires_at <= now:
            raise _settled(row.change_id, "LAPSED")
    return rows


def _require_same_content(row: Row, digest: str) -> None:
    if row.digest != digest:
        raise precondition(
            Reason.PAYLOAD_MISMATCH, change_name(row.change_id), "is not the change that was read"
        )


def _require_another(row: Row, actor: Actor) -> None:
    name = change_name(row.change_id)
    if row.proposer_party == actor.party_id:
        raise precondition(Reason.SAME_PARTY, name, "another party than the proposer's confirms it")
    if actor.human in {row.proposer_human, row.beneficiary_human}:
        raise precondition(
            Reason.SAME_PERSON,
            name,
            "somebody else than who proposed it or gains by it confirms it",
        )


# --- reading ----------------------------------------------------------------------------------


async def list_changes(
    conn: AsyncConnection,
    actor: Actor,
    *,
    about: Subject,
    only_confirmable: bool,
    before: str,
    limit: int,
    now: datetime,
) -> Sequence[Row]:
    """Changes that the scope shows, newest first, with their decisions.

    Args:
        conn: a transaction of the actor's own scope.
        actor: who reads.
        about: only changes about this party or estate; empty for all.
        only_confirmable: only those that the actor may confirm.
        before: id of the last change of the page before; empty for the first page.
        limit: at most so many.
        now: UTC.
    """
    query = _with_decisions().order_by(_C.change_id.desc()).limit(limit)
    if about.party_id:
        query = query.where(_C.party_id == about.party_id)
    if about.estate_id:
        query = query.where(_C.estate_id == about.estate_id)
    if before:
        query = query.where(_C.change_id < before)
    if only_confirmable:
        query = query.where(_D.change_id.is_(None), _C.expires_at > now, _may_confirm(actor))
    return (await conn.execute(query)).all()


async def changes_of(conn: AsyncConnection, change_ids: Collection[str]) -> Sequence[Row]:
    """Changes by id with their decisions, in the order of their proposals."""
    query = _with_decisions().where(_C.change_id.in_(change_ids)).order_by(_C.change_id)
    return (await conn.execute(query)).all()


def change_name(change_id: str) -> str:
    """Resource name of a change."""
    return f"changes/{change_id}"


def _with_decisions() -> Select:
    """Changes with what became of them; without a decision its columns are null."""
    return sa.select(
        t.register_changes,
        sa.func.encode(sa.func.sha256(_C.content), "hex").label("digest"),
        _D.outcome,
        _D.decider,
        _D.reason,
        _D.created_at.label("decided_at"),
    ).join_from(
        t.register_changes,
        t.register_decisions,
        _D.change_id == _C.change_id,
        isouter=True,
    )


# --- who decides ------------------------------------------------------------------------------


def _decides(fellows: Select, *, ever: bool) -> sa.ColumnElement[bool]:
    """The person of a row of `persons` is one who decides on the change of the same row.

    Args:
        fellows: parties that share an estate with the person's.
        ever: whether appointments that have ended count.
    """
    person, appointed = t.persons.c, t.appointments.alias()
    of_estate = sa.exists().where(
        appointed.c.party_id == person.party_id,
        appointed.c.estate_id == _C.estate_id,
        sa.true() if ever else appointed.c.ended_at.is_(None),
    )
    of_party = sa.or_(person.party_id == _C.party_id, _C.party_id.in_(fellows))
    return sa.and_(
        person.party_id != _C.proposer_party,
        person.natural_person != _C.proposer_human,
        person.natural_person != _C.beneficiary_human,
        sa.or_(
            sa.and_(_C.open_to_trustees, person.roles.contains([Role.TRUSTEE_CHECKER])),
            sa.and_(
                person.roles.overlap(list(DECIDERS)),
                sa.case((_C.estate_id != "", of_estate), else_=of_party),
            ),
        ),
    )


def _may_confirm(actor: Actor) -> sa.ColumnElement[bool]:
    """The actor decides on the change, as things are now; true in the actor's own scope too."""
    fellows = sa.select(sa.func.fellow_parties(actor.party_id))
    return sa.exists().where(
        t.persons.c.party_id == actor.party_id,
        t.persons.c.person_id == actor.person_id,
        _decides(fellows, ever=False),
    )


def _once_fellows(party_id: sa.ColumnElement[str]) -> Select:
    """Parties that ever shared an estate with this one; needs the GATEWAY scope."""
    mine, theirs = t.appointments.alias(), t.appointments.alias()
    return (
        sa.select(theirs.c.party_id)
        .join_from(mine, theirs, mine.c.estate_id == theirs.c.estate_id)
        .where(mine.c.party_id == party_id)
    )


def _same_person(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(one.c.party_id == other.c.party_id, one.c.person_id == other.c.person_id)


def _settled(change_id: str, state: str) -> GatewayError:
    name = change_name(change_id)
    return precondition(Reason.STATE_FORBIDS, name, f"{name} is {state.lower()}", state=state)
