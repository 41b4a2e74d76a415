"""The two signatures, and the ways a payment ends before release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gateway.domain.envelope import PAYLOAD_TYPE, Envelope, from_json, verify
from gateway.domain.errors import GatewayError, Reason, denied, precondition
from gateway.domain.payment import Event, State, advance
from gateway.domain.policy import SIGNATURES, Signer, Slots, admit_signature
from gateway.ledger.holds import free
from gateway.ledger.writer import lock_fund
from gateway.payments.record import Change, load, move, note, payment_name, purse_of
from gateway.payments.release import release_if_complete
from gateway.payments.resend import release_again
from gateway.payments.signatures import Subject, load_signatures, load_signer, load_subject
from gateway.registry.authority import load_key, load_mandates, load_person
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
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


async def sign(
    conn: AsyncConnection, fund_id: str, payment_id: str, signature: Signature, banks: Banks
) -> None:
    """Adds a signature; with the second one the payment is released, once its batch is complete.

    A payment whose bank never had it is signed as often again, before it is sent again.

    Raises:
        GatewayError: STATE_FORBIDS, PAYLOAD_MISMATCH, KEY_UNKNOWN, SIGNER_NOT_CALLER,
            SIGNATURE_INVALID, what `admit_signature` refuses, or what the release does.
    """
    await lock_fund(conn, fund_id)
    payment = await load(conn, fund_id, payment_id)
    subject = await load_subject(conn, payment)
    earlier = await load_signatures(conn, payment, subject.attempt)
    event = _require_awaited(payment, subject, len(earlier))
    candidate = await _admit(conn, payment, subject, earlier, signature)
    await _store(conn, payment, subject, candidate, signature, len(earlier) + 1)
    change = Change(event, signature.actor, signature.now)
    if subject.attempt == 1:
        await move(conn, payment, change)
    else:
        detail = f"signed to be sent again, attempt {subject.attempt}"
        await note(conn, payment, signature.actor, signature.now, detail)
    if event is not Event.SIGN_SECOND:
        return
    if subject.attempt == 1:
        await release_if_complete(conn, payment, banks, signature.now)
    else:
        await release_again(conn, payment, subject, banks, signature.now)


def _require_awaited(payment: Row, subject: Subject, given: int) -> Event:
    """Which signature this is, if the payment waits for one."""
    event = Event.SIGN_SECOND if given else Event.SIGN_FIRST
    again = subject.attempt > 1 and State(payment.state) is State.UNKNOWN
    if again and given < SIGNATURES:
        return event
    advance(State(payment.state), event, payment_name(payment))
    return event


async def _admit(
    conn: AsyncConnection,
    payment: Row,
    subject: Subject,
    earlier: Sequence[Row],
    signature: Signature,
) -> Signer:
    envelope = _require_stored_bytes(payment, subject, signature.envelope)
    candidate = await _verified_signer(conn, envelope, signature)
    already = [await load_signer(conn, payment, subject, each) for each in earlier]
    admit_signature(subject.facts, subject.slots, already, candidate, signature.now)
    return candidate


async def _store(
    conn: AsyncConnection,
    payment: Row,
    subject: Subject,
    signer: Signer,
    signature: Signature,
    position: int,
) -> None:
    row = {
        "fund_id": payment.fund_id,
        "payment_id": payment.payment_id,
        "attempt": subject.attempt,
        "position": position,
        "party_id": signature.party_id,
        "person_id": signature.person_id,
        "natural_person": signer.person.natural_person,
        "key_id": signer.key.key_id,
        "role": _role_of(signer, subject.slots, payment.fund_id, signature.now).value,
        "envelope": signature.envelope,
        "created_at": signature.now,
    }
    await conn.execute(t.payment_signatures.insert(), [row])


async def end(
    conn: AsyncConnection, fund_id: str, payment_id: str, ending: Ending, banks: Banks
) -> None:
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
        await _release_rest(conn, payment, banks, ending.now)


async def _release_rest(conn: AsyncConnection, payment: Row, banks: Banks, now: datetime) -> None:
    try:
        async with conn.begin_nested():
            await release_if_complete(conn, payment, banks, now)
    except GatewayError as refusal:
        log.warning("batch_not_released", batch=payment.batch_id, reason=refusal.reason.value)


def _require_stored_bytes(payment: Row, subject: Subject, envelope_json: bytes) -> Envelope:
    """The envelope, if it carries one signature over exactly the bytes stored for this payment."""
    envelope = from_json(envelope_json)
    if envelope.payload_type != PAYLOAD_TYPE or envelope.payload != subject.payload:
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
