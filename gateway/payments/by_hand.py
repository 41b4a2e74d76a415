"""Transmissions in the hands of people: delivered by hand and confirmed, or queued again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from adapters import connection
from gateway.domain.errors import Reason, precondition
from gateway.domain.party import person_name
from gateway.ledger.writer import lock_fund
from gateway.payments.outbox import record_delivery
from gateway.payments.record import note
from gateway.payments.transmissions import (
    Stage,
    account_of,
    load,
    load_batch,
    mark,
    payments_of,
)
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.connection import Outbound
    from adapters.reach import Banks
    from gateway.store import Row

_NOT_HANDED_OVER: Final = frozenset({Stage.QUEUED, Stage.STUCK})


@dataclass(frozen=True, slots=True)
class Hand:
    """Whoever acts: ``parties/{party}/persons/{person}``, and the human behind it, at a moment."""

    party_id: str
    person_id: str
    natural_person: str
    now: datetime

    @property
    def actor(self) -> str:
        """The person's resource name."""
        return person_name(self.party_id, self.person_id)


async def render(conn: AsyncConnection, transmission_id: str, banks: Banks) -> Outbound:
    """The file of a transmission, byte for byte as the sender writes it.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    transmission = await load(conn, transmission_id)
    account = await account_of(conn, transmission)
    batch = await load_batch(conn, transmission)
    return connection.render(batch, banks.profile(account.profile_id))


async def propose(conn: AsyncConnection, transmission_id: str, reason: str, hand: Hand) -> None:
    """Says that a person handed the file over; the sender leaves it alone from here on.

    Raises:
        GatewayError: STATE_FORBIDS unless certainly nothing was handed over by the gateway.
    """
    transmission = await _locked(conn, transmission_id)
    _require_stage(transmission, _NOT_HANDED_OVER, "deliver by hand")
    await mark(
        conn,
        transmission,
        state=Stage.BY_HAND,
        delivered_by=hand.actor,
        delivery_reason=reason,
    )
    await _note(conn, transmission, hand, f"handed over by hand: {reason}")


async def confirm(
    conn: AsyncConnection, transmission_id: str, hand: Hand, banks: Banks, answer_due: timedelta
) -> None:
    """A second person confirms: the transmission counts as delivered, its payments as sent.

    Raises:
        GatewayError: STATE_FORBIDS unless somebody said so; SAME_PERSON if it was the same human.
    """
    transmission = await _locked(conn, transmission_id)
    _require_stage(transmission, {Stage.BY_HAND}, "confirm")
    if await _human_of(conn, transmission.delivered_by) == hand.natural_person:
        name = f"transmissions/{transmission_id}"
        raise precondition(Reason.SAME_PERSON, name, "another person than who handed it over")
    await _note(conn, transmission, hand, "hand-over confirmed")
    outbound = await render(conn, transmission_id, banks)
    await record_delivery(conn, transmission, outbound.name, outbound.sha256, hand.now)
    due = hand.now + answer_due
    await mark(conn, transmission, confirmed_by=hand.actor, answer_due_at=due)


async def retry(conn: AsyncConnection, transmission_id: str, hand: Hand) -> None:
    """Puts a transmission back in the queue: its cause was mended, or nobody handed it over.

    The sender writes the same bytes under the same name, so a file that was handed over after all
    is known to the bank.

    Raises:
        GatewayError: STATE_FORBIDS unless it is stuck, or waits for a second person.
    """
    transmission = await _locked(conn, transmission_id)
    _require_stage(transmission, {Stage.STUCK, Stage.BY_HAND}, "retry")
    await mark(
        conn,
        transmission,
        state=Stage.QUEUED,
        delivered_by="",
        delivery_reason="",
        next_attempt_at=None,
    )
    await _note(conn, transmission, hand, "put back in the queue")


async def _locked(conn: AsyncConnection, transmission_id: str) -> Row:
    transmission = await load(conn, transmission_id)
    await lock_fund(conn, transmission.fund_id)
    return await load(conn, transmission_id)  # as it is behind the lock


def _require_stage(transmission: Row, stages: frozenset[Stage] | set[Stage], what: str) -> None:
    if transmission.state not in stages:
        raise precondition(
            Reason.STATE_FORBIDS,
            f"transmissions/{transmission.transmission_id}",
            f"a transmission that is {transmission.state} is nothing to {what}",
            state=transmission.state,
        )


async def _human_of(conn: AsyncConnection, actor: str) -> str:
    _, party_id, _, person_id = actor.split("/")
    query = sa.select(t.persons.c.natural_person).where(
        t.persons.c.party_id == party_id, t.persons.c.person_id == person_id
    )
    return str((await conn.execute(query)).scalar_one())


async def _note(conn: AsyncConnection, transmission: Row, hand: Hand, detail: str) -> None:
    for payment in await payments_of(conn, transmission):
        await note(conn, payment, hand.actor, hand.now, detail)
