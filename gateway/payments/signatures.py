"""What stands behind a payment's signatures, read from the register at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.domain.envelope import from_json, verify
from gateway.domain.errors import Reason, precondition
from gateway.domain.payload import parse_payload
from gateway.domain.policy import PaymentFacts, Signer, Slots, facts_of, slots_for
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

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row


async def load_signatures(conn: AsyncConnection, payment: Row) -> Sequence[Row]:
    """The signatures given so far, in order."""
    signatures = t.payment_signatures
    query = (
        sa.select(signatures)
        .where(
            signatures.c.fund_id == payment.fund_id,
            signatures.c.payment_id == payment.payment_id,
        )
        .order_by(signatures.c.position)
    )
    return (await conn.execute(query)).all()


async def load_rules(conn: AsyncConnection, payment: Row) -> tuple[PaymentFacts, Slots]:
    """What the signed bytes say, and the two signatures that the fund's policy wants for it."""
    payload = parse_payload(payment.payload)
    parties = await appointed_parties(conn, payload.estate.removeprefix("estates/"))
    policy = await load_policy_version(conn, payment.fund_id, payment.policy_version)
    return facts_of(payload, parties), slots_for(policy, payment.amount_minor)


async def load_signer(conn: AsyncConnection, payment: Row, signature: Row) -> Signer:
    """The signer of a stored signature as the register has it now, the signature checked anew.

    Raises:
        GatewayError: SIGNATURE_INVALID or PAYLOAD_MISMATCH where what is stored does not hold.
    """
    envelope = from_json(signature.envelope)
    if envelope.payload != payment.payload:
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
