"""What stands behind a payment's signatures, read from the register at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.domain.envelope import from_json, verify
from gateway.domain.errors import Reason, precondition
from gateway.domain.payload import parse_payload
from gateway.domain.policy import PaymentFacts, Signer, Slots, admit_release, facts_of, slots_for
from gateway.payments.record import payment_name
from gateway.registry.authority import (
    appointed_parties,
    load_key,
    load_mandates,
    load_person,
    load_policy_version,
)
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Subject:
    """What is signed now: a payment, or sending it again.

    Attributes:
        attempt: 1 for the payment itself.
        payload: the exact bytes.
        facts: what the bytes say.
        slots: the two signatures that the fund's policy wants for it.
        released: whether it was sent again on the strength of this attempt.
    """

    attempt: int
    payload: bytes
    facts: PaymentFacts
    slots: Slots
    released: bool


async def load_subject(conn: AsyncConnection, payment: Row) -> Subject:
    """What signatures on a payment are about at this moment: its last attempt."""
    again = await _last_resend(conn, payment)
    stored = payment.payload if again is None else again.payload
    payload = parse_payload(stored)
    parties = await appointed_parties(conn, payload.estate.removeprefix("estates/"))
    policy = await load_policy_version(conn, payment.fund_id, payment.policy_version)
    return Subject(
        attempt=1 if again is None else again.attempt,
        payload=stored,
        facts=facts_of(payload, parties),
        slots=slots_for(policy, payment.amount_minor),
        released=again is not None and again.released_at is not None,
    )


async def _last_resend(conn: AsyncConnection, payment: Row) -> Row | None:
    table = t.resends
    query = (
        sa.select(table)
        .where(table.c.fund_id == payment.fund_id, table.c.payment_id == payment.payment_id)
        .order_by(table.c.attempt.desc())
        .limit(1)
    )
    return (await conn.execute(query)).one_or_none()


async def load_signatures(conn: AsyncConnection, payment: Row, attempt: int = 1) -> Sequence[Row]:
    """The signatures given so far for an attempt, in order."""
    signatures = t.payment_signatures
    query = (
        sa.select(signatures)
        .where(
            signatures.c.fund_id == payment.fund_id,
            signatures.c.payment_id == payment.payment_id,
            signatures.c.attempt == attempt,
        )
        .order_by(signatures.c.position)
    )
    return (await conn.execute(query)).all()


async def load_signer(
    conn: AsyncConnection, payment: Row, subject: Subject, signature: Row
) -> Signer:
    """The signer of a stored signature as the register has it now, the signature checked anew.

    Raises:
        GatewayError: SIGNATURE_INVALID or PAYLOAD_MISMATCH where what is stored does not hold.
    """
    envelope = from_json(signature.envelope)
    if envelope.payload != subject.payload:
        raise precondition(
            Reason.PAYLOAD_MISMATCH,
            payment_name(payment),
            "a stored signature covers other bytes than the payment's",
        )
    _, key = await load_key(conn, signature.key_id)
    verify(envelope, key.verifier)
    return Signer(
        await load_person(conn, signature.party_id, signature.person_id),
        key,
        await load_mandates(conn, signature.party_id, signature.person_id),
    )


async def require_complete(
    conn: AsyncConnection, payment: Row, subject: Subject, now: datetime
) -> Sequence[Row]:
    """Both signatures, checked once more at this moment.

    Raises:
        GatewayError: what `admit_release` refuses.
    """
    signatures = await load_signatures(conn, payment, subject.attempt)
    signers = [await load_signer(conn, payment, subject, each) for each in signatures]
    admit_release(subject.facts, subject.slots, signers, now)
    return signatures
