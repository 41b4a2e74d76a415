"""The two signatures, and the ways a payment ends before release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gateway.domain.envelope import PAYLOAD_TYPE, Envelope, from_json, verify
from gateway.domain.errors import GatewayError, Reason, denied, precondition
from gateway.domain.payment import Event, State, advance
from gateway.domain.policy import Signer, Slots, admit_signature
from gateway.ledger.holds import free
from gateway.ledger.writer import lock_fund
from gateway.payments.record import Change, load, move, payment_name, purse_of
from gateway.payments.release import release_if_complete
from gateway.payments.signatures import load_rules, load_signatures, load_signer
from gateway.registry.authority import load_key, load_mandates, load_person
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.party import Role
    from gateway.store import Row

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that arrives.

    Attributes:
        party_id: the caller's party.
        person_id: the caller.
        envelope: DSSE JSON with one signature.
        now: UTC.
    """

    party_id: str
    person_id: str
    envelope: bytes
    now: datetime

    @property
    def actor(self) -> str:
        """The caller's resource name."""
        return f"parties/{self.party_id}/persons/{self.person_id}"


@dataclass(frozen=True, slots=True)
class Ending:
    """A payment that ends before release: refused, withdrawn or expired."""

    event: Event
    actor: str
    reason: str
    now: datetime


async def sign(conn: AsyncConnection, fund_id: str, payment_id: str, signature: Signature) -> None:
    """Adds a signature; with the second one the payment is released, once its batch is complete.

    Raises:
        GatewayError: STATE_FORBIDS, PAYLOAD_MISMATCH, KEY_UNKNOWN, SIGNER_NOT_CALLER,
            SIGNATURE_INVALID, or what `admit_signature` refuses.
    """
    await lock_fund(conn, fund_id)
    payment = await load(conn, fund_id, payment_id)
    earlier = await load_signatures(conn, payment)
    event = Event.SIGN_SECOND if earlier else Event.SIGN_FIRST
    advance(State(payment.state), event, payment_name(payment))

    envelope = _require_stored_bytes(payment, signature.envelope)
    candidate = await _verified_signer(conn, envelope, signature)
    facts, slots = await load_rules(conn, payment)
    already = [await load_signer(conn, payment, each) for each in earlier]
    admit_signature(facts, slots, already, candidate, signature.now)

    row = {
        "fund_id": fund_id,
        "payment_id": payment_id,
        "position": len(earlier) + 1,
        "party_id": signature.party_id,
        "person_id": signature.person_id,
        "natural_person": candidate.person.natural_person,
        "key_id": candidate.key.key_id,
        "role": _role_of(candidate, slots, fund_id, signature.now).value,
        "envelope": signature.envelope,
        "created_at": signature.now,
    }
    await conn.execute(t.payment_signatures.insert(), [row])
    await move(conn, payment, Change(event, signature.actor, signature.now))
    if event is Event.SIGN_SECOND:
        await release_if_complete(conn, payment, signature.now)


async def end(conn: AsyncConnection, fund_id: str, payment_id: str, ending: Ending) -> None:
    """Ends a payment before release and frees what it held.

    The rest of its batch is released if it waited only for this one and its signatures still
    stand. If they do not, it stays signed: taking a payment back never depends on another one.

    Raises:
        GatewayError: STATE_FORBIDS once it is released.
    """
    await lock_fund(conn, fund_id)
    payment = await load(conn, fund_id, payment_id)
    await move(conn, payment, Change(ending.event, ending.actor, ending.now, ending.reason))
    await free(conn, purse_of(payment), payment.amount_minor)
    if payment.batch_id:
        await _release_rest(conn, payment, ending.now)


async def _release_rest(conn: AsyncConnection, payment: Row, now: datetime) -> None:
    try:
        async with conn.begin_nested():
            await release_if_complete(conn, payment, now)
    except GatewayError as refusal:
        log.warning("batch_not_released", batch=payment.batch_id, reason=refusal.reason.value)


def _require_stored_bytes(payment: Row, envelope_json: bytes) -> Envelope:
    """The envelope, if it carries one signature over exactly the bytes stored for this payment."""
    envelope = from_json(envelope_json)
    if envelope.payload_type != PAYLOAD_TYPE or envelope.payload != payment.payload:
        raise precondition(
            Reason.PAYLOAD_MISMATCH,
            payment_name(payment),
            "the signed bytes are not the bytes stored for this payment",
        )
    if len(envelope.signatures) != 1:
        raise precondition(
            Reason.SIGNATURE_INVALID, payment_name(payment), "send exactly one signature"
        )
    return envelope


async def _verified_signer(
    conn: AsyncConnection, envelope: Envelope, signature: Signature
) -> Signer:
    """Who signed: the caller, with a key of their own, and the signature verifies."""
    owner, key = await load_key(conn, envelope.signatures[0].keyid)
    if (owner, key.person_id) != (signature.party_id, signature.person_id):
        raise denied(Reason.SIGNER_NOT_CALLER, "the key belongs to somebody other than the caller")
    verify(envelope, key.verifier)
    return Signer(
        await load_person(conn, signature.party_id, signature.person_id),
        key,
        await load_mandates(conn, signature.party_id, signature.person_id),
    )


def _role_of(signer: Signer, slots: Slots, fund_id: str, now: datetime) -> Role:
    """The role in which an admitted signer signs: the first of theirs that the policy asks for."""
    wanted = (slots[0] | slots[1]) & signer.person.roles
    return min(
        mandate.role
        for mandate in signer.mandates
        if mandate.role in wanted and mandate.fund_id in ("", fund_id) and mandate.in_force(now)
    )
