"""Two persons of two parties acknowledge what is lost; then nothing of it is paid a second time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.audit.keeper import ASSENTS
from gateway.domain.errors import GatewayError, Kind, Reason, denied, precondition
from gateway.domain.payment import Event, State, reserves_money
from gateway.ledger.writer import lock_fund
from gateway.payments import outcome
from gateway.payments.approve import Ending, end
from gateway.payments.record import GATEWAY, Change, load
from gateway.payments.transmissions import Stage, mark
from gateway.payments.transmissions import load as load_transmission
from gateway.recovery.loss import NOT_SENT
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.recovery.loss import Loss
    from gateway.store import Row

_SUBJECT: Final = "rollback"
_WHY: Final = "in a file that went to the bank and was lost from the database"
_LOCK: Final = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('xinyi rollback', 0))")


@dataclass(frozen=True, slots=True)
class Assent:
    """One person's acknowledgement.

    Attributes:
        party_id: the person's party.
        person_id: the person.
        natural_person: equal for the same human in every party.
        operator: the person runs the gateway.
        report_digest: `Loss.digest` of what the person read.
        now: UTC.
    """

    party_id: str
    person_id: str
    natural_person: str
    operator: bool
    report_digest: str
    now: datetime


async def acknowledge(conn: AsyncConnection, loss: Loss, assent: Assent, banks: Banks) -> bool:
    """Keeps an acknowledgement; the transaction must be the gateway's own.

    Returns:
        Whether it was the second one: what lies in the lost files is settled then, and the anchors
        count no more.

    Raises:
        GatewayError: ETAG_MISMATCH if something else is lost than the person read; SAME_PERSON,
            SAME_PARTY; ROLE_NOT_REQUIRED if no operator is among the two.
    """
    await conn.execute(_LOCK)
    if assent.report_digest != loss.digest:
        raise GatewayError(
            Kind.CONFLICT, Reason.ETAG_MISMATCH, "something else is lost than you read: read again"
        )
    earlier = await assents_to(conn, loss)
    _admit(earlier, assent)
    position = len(earlier) + 1
    await conn.execute(
        t.rollback_assents.insert(),
        [
            {
                "anchor_hash": anchor.head.hash,
                "anchor_sequence": anchor.head.sequence,
                "report_digest": loss.digest,
                "position": position,
                "party_id": assent.party_id,
                "person_id": assent.person_id,
                "natural_person": assent.natural_person,
                "operator": assent.operator,
                "created_at": assent.now,
            }
            for anchor in loss.anchors
        ],
    )
    if position < ASSENTS:
        return False
    await _settle(conn, loss, banks, assent.now)
    return True


async def assents_to(conn: AsyncConnection, loss: Loss) -> Sequence[Row]:
    """Who acknowledged this loss so far, in order."""
    table = t.rollback_assents
    query = (
        sa.select(table)
        .where(
            table.c.anchor_hash == loss.anchors[0].head.hash,
            table.c.report_digest == loss.digest,
        )
        .order_by(table.c.position)
    )
    return (await conn.execute(query)).all()


def _admit(earlier: Sequence[Row], assent: Assent) -> None:
    for other in earlier:
        if other.natural_person == assent.natural_person:
            raise precondition(Reason.SAME_PERSON, _SUBJECT, "you acknowledged it already")
        if other.party_id == assent.party_id:
            raise precondition(Reason.SAME_PARTY, _SUBJECT, "your party acknowledged it already")
        if not (other.operator or assent.operator):
            raise denied(Reason.ROLE_NOT_REQUIRED, "one of the two must be an operator")


async def _settle(conn: AsyncConnection, loss: Loss, banks: Banks, now: datetime) -> None:
    for file in loss.files:
        if file.transmission_id:
            await _go_on_sending(conn, file.transmission_id)
            continue
        for payment in file.payments:
            if payment.name:
                await _never_again(conn, payment.name, banks, now)


async def _go_on_sending(conn: AsyncConnection, transmission_id: str) -> None:
    """It was handed over, or may have been: the sender finds out which by the marks on disk."""
    transmission = await load_transmission(conn, transmission_id)
    await lock_fund(conn, transmission.fund_id)
    transmission = await load_transmission(conn, transmission_id)  # as it is behind the lock
    if transmission.state in NOT_SENT:
        await mark(conn, transmission, state=Stage.SENDING, last_error="", next_attempt_at=None)


async def _never_again(conn: AsyncConnection, name: str, banks: Banks, now: datetime) -> None:
    """A bank has it, under a file that is lost: here it must never be handed over again."""
    _, fund_id, _, payment_id = name.split("/")
    await lock_fund(conn, fund_id)
    payment = await load(conn, fund_id, payment_id)
    if reserves_money(State(payment.state)):
        await end(conn, fund_id, payment_id, Ending(Event.EXPIRE, GATEWAY, _WHY, now), banks)
    elif payment.state == State.RELEASED:
        await outcome.lose_track(conn, payment, Change(Event.LOSE_TRACK, GATEWAY, now, _WHY))
