"""The two signatures, and the ways a payment ends before release."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import structlog

from gateway.domain.batch import parse_batch
from gateway.domain.envelope import (
    BATCH_TYPE,
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    from_json,
    verify,
)
from gateway.domain.errors import GatewayError, Reason, denied, precondition
from gateway.domain.payment import Event, State, advance
from gateway.domain.policy import SIGNATURES, admit_signature
from gateway.ids import new_id
from gateway.ledger.holds import free
from gateway.ledger.writer import lock_fund
from gateway.payments.docket import UNSIGNED, load_for_release, store
from gateway.payments.record import (
    GATEWAY,
    Change,
    event_row,
    load,
    move,
    payment_name,
    purse_of,
)
from gateway.payments.release import Release
from gateway.payments.resend import Again, require_evidence
from gateway.payments.signatures import require_covered
from gateway.payments.transmissions import Queued, day_for
from gateway.store.bulk import row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.domain.batch import BatchPayload
    from gateway.domain.envelope import Envelope
    from gateway.domain.party import Role
    from gateway.domain.policy import Signer, Slots
    from gateway.payments.docket import BatchSigning, By, Docket, Signing
    from gateway.payments.signatures import Subject
    from gateway.store import Row

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """A payment that ends before release: refused, withdrawn or expired."""

    event: Event
    actor: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class _Given:
    """A signature that is about to stand on a payment.

    Attributes:
        payment: which one.
        subject: what is signed of it.
        event: whether it is the first or the second.
        row: the signature's row.
        all: the rows of the attempt's signatures, this one behind the earlier.
    """

    payment: Row
    subject: Subject
    event: Event
    row: dict[str, Any]
    all: Sequence[Row]


def read_envelope(sent: bytes, limit_bytes: int = MAX_ENVELOPE_BYTES) -> Envelope | GatewayError:
    """The envelope that was sent, or why it is none: told only once the request id is looked up."""
    try:
        return from_json(sent, limit_bytes)
    except GatewayError as refusal:
        return refusal


# --- signing ----------------------------------------------------------------------------------


def decide_signature(docket: Docket, order: Signing, now: datetime) -> Row:
    """Adds a signature; with the second one the payment is released, once its batch is complete.

    A payment whose bank never had it is signed as often again, before it is sent again.

    Returns:
        The payment.

    Raises:
        GatewayError: STATE_FORBIDS, PAYLOAD_MISMATCH, KEY_UNKNOWN, SIGNER_NOT_CALLER,
            SIGNATURE_INVALID, what `admit_signature` refuses, or what the release does; then
            nothing was decided.
    """
    docket.fund_of(order)
    payment = docket.payment(order.fund_id, order.payment_id)
    subject = docket.papers.subject(payment)
    event = _require_awaited(docket, payment, subject)
    envelope = _require_kind(order.envelope, PAYLOAD_TYPE, payment_name(payment))
    require_covered(payment, subject, envelope)
    signer = _verified_signer(docket, envelope, order.by, payment_name(payment))
    row = _row(payment, subject, signer, now) | {"envelope": order.sent}
    _conclude(docket, [_admit(docket, payment, subject, event, signer, row)], order.by, now)
    return payment


def decide_batch_signature(docket: Docket, order: BatchSigning, now: datetime) -> list[Row]:
    """Adds one signature to every payment that a signed batch lists, or to none.

    Each is held to the rules as if it were signed alone. Payments to one payee count together for
    the policy's tiers and the mandates' limits: a large payment is not made small by being split.

    Returns:
        The payments.

    Raises:
        GatewayError: as `decide_signature`, of the first payment in the list that is refused;
            PAYLOAD_MISMATCH if the list is not of this batch, or does not add up.
    """
    docket.fund_of(order)
    name = f"funds/{order.fund_id}/batches/{order.batch_id}"
    envelope = _require_kind(order.envelope, BATCH_TYPE, name)
    signer = _verified_signer(docket, envelope, order.by, name)
    listed = parse_batch(envelope.payload)
    payments = [docket.payment(order.fund_id, each.payment) for each in listed.payments]
    _require_sums(listed, payments, order.batch_id, name)
    digest = sha256(order.sent).hexdigest()
    docket.papers.keep(digest, envelope, signer.key.key_id)
    given = []
    for payment in payments:
        subject = docket.papers.subject(payment)
        event = _require_awaited(docket, payment, subject)
        require_covered(payment, subject, envelope)
        row = _row(payment, subject, signer, now) | {"batch_sha256": digest}
        given.append(_admit(docket, payment, subject, event, signer, row))
    _conclude(docket, given, order.by, now)
    docket.effects.envelopes[order.fund_id, digest] = {
        "fund_id": order.fund_id,
        "sha256": digest,
        "envelope": order.sent,
        "created_at": now,
    }
    return payments


def _require_awaited(docket: Docket, payment: Row, subject: Subject) -> Event:
    """Which signature the next one is, if the payment waits for one."""
    given = len(docket.given(payment, subject.attempt))
    event = Event.SIGN_SECOND if given else Event.SIGN_FIRST
    state = State(docket.view(payment).state)
    again = subject.attempt > 1 and state is State.UNKNOWN
    if again and given < SIGNATURES:
        return event
    advance(state, event, payment_name(payment))
    return event


def _require_kind(sent: Envelope | GatewayError, payload_type: str, subject: str) -> Envelope:
    if isinstance(sent, GatewayError):
        raise sent
    if sent.payload_type != payload_type:
        message = f"what is signed is not {payload_type}"
        raise precondition(Reason.PAYLOAD_MISMATCH, subject, message)
    return sent


def _require_sums(
    listed: BatchPayload, payments: Sequence[Row], batch_id: str, subject: str
) -> None:
    """Passes if the list is of this batch, and its sum that of the payments."""
    total = sum(payment.amount_minor for payment in payments)
    strangers = [each for each in payments if each.batch_id != batch_id]
    if listed.batch != subject or strangers or listed.total_minor != str(total):
        message = "what is signed is not a list of this batch's payments that adds up"
        raise precondition(Reason.PAYLOAD_MISMATCH, subject, message)


def _verified_signer(docket: Docket, envelope: Envelope, by: By, subject: str) -> Signer:
    """Who signed: the caller, with a key of their own, and the signature verifies."""
    if len(envelope.signatures) != 1:
        raise precondition(Reason.SIGNATURE_INVALID, subject, "send exactly one signature")
    owner, key = docket.papers.key(envelope.signatures[0].keyid)
    if (owner, key.person_id) != (by.party_id, by.person_id):
        raise denied(Reason.SIGNER_NOT_CALLER, "the key belongs to somebody other than the caller")
    verify(envelope, key.verifier, envelope.payload_type)
    return docket.papers.signer_of((by.party_id, by.person_id), key)


def _row(payment: Row, subject: Subject, signer: Signer, now: datetime) -> dict[str, Any]:
    """The signature's row, but for its place, its role and what was sent."""
    return {
        "fund_id": payment.fund_id,
        "payment_id": payment.payment_id,
        "attempt": subject.attempt,
        "party_id": signer.person.party_id,
        "person_id": signer.person.person_id,
        "natural_person": signer.person.natural_person,
        "key_id": signer.key.key_id,
        "envelope": b"",
        "batch_sha256": "",
        "created_at": now,
    }


def _admit(
    docket: Docket,
    payment: Row,
    subject: Subject,
    event: Event,
    signer: Signer,
    row: dict[str, Any],
) -> _Given:
    """The signature beside the earlier ones, if it may stand there."""
    earlier = docket.given(payment, subject.attempt)
    counted_minor = _counted_minor(docket, payment, (*earlier, row_of(row)))
    facts = replace(subject.facts, amount_minor=counted_minor)
    slots = subject.slots(counted_minor)
    _require_same_tier(payment, subject, slots)
    already = [docket.papers.signer(payment, subject, each) for each in earlier]
    admit_signature(facts, slots, already, signer, row["created_at"])
    role = _role_of(signer, slots, payment.fund_id, row["created_at"])
    row |= {"position": len(earlier) + 1, "role": role.value}
    # Checked just now: the release asks again, at the same moment.
    docket.papers.signers[payment.payment_id, subject.attempt, signer.key.key_id] = signer
    return _Given(payment, subject, event, row, (*earlier, row_of(row)))


def _role_of(signer: Signer, slots: Slots, fund_id: str, now: datetime) -> Role:
    """The role in which an admitted signer signs: the first of theirs that the policy asks for."""
    wanted = (slots[0] | slots[1]) & signer.person.roles
    return min(
        mandate.role
        for mandate in signer.mandates
        if mandate.role in wanted and mandate.fund_id in ("", fund_id) and mandate.in_force(now)
    )


def _counted_minor(docket: Docket, payment: Row, given: Sequence[Row]) -> int:
    """The amount that tiers and limits are held to.

    Where a signature covers a batch, it is all that the batch gives the payment's payee.
    """
    if any(each.batch_sha256 for each in given):
        return docket.payee_total_minor(payment)
    return int(payment.amount_minor)


def _require_same_tier(payment: Row, subject: Subject, slots: Slots) -> None:
    if slots != subject.slots(payment.amount_minor):
        raise precondition(
            Reason.ROLE_NOT_REQUIRED,
            payment_name(payment),
            "the batch's payments to this payee add up to what others must sign: sign it by itself",
        )


def _conclude(docket: Docket, given: Sequence[_Given], by: By, now: datetime) -> None:
    """Notes signatures and what follows from them; refused before anything is noted."""
    fresh = {each.payment.payment_id: each for each in given}
    seconds = [each for each in given if each.event is Event.SIGN_SECOND]
    units = {each.payment.batch_id or each.payment.payment_id: each for each in seconds}
    releases = [
        release
        for each in units.values()
        if each.subject.attempt == 1
        and (release := decide_release(docket, each.payment, fresh, now)) is not None
    ]
    again = [_decide_again(docket, each, now) for each in seconds if each.subject.attempt > 1]
    for each in given:
        _note(docket, each, Change(each.event, by.actor, now))
    for release in releases:
        _note_release(docket, release, now)
    for one in again:
        _note_again(docket, one, now)


def _note(docket: Docket, given: _Given, change: Change) -> None:
    payment, attempt = given.payment, given.subject.attempt
    docket.effects.signatures[payment.payment_id].append(given.row)
    state = State(docket.view(payment).state)
    if attempt == 1:
        docket.move(payment, advance(state, given.event), change)
    else:
        told = replace(change, detail=f"signed to be sent again, attempt {attempt}")
        row = event_row(payment.fund_id, payment.payment_id, state, told)
        docket.effects.events.append(row)


# --- release ----------------------------------------------------------------------------------


def decide_release(
    docket: Docket, payment: Row, fresh: Mapping[str, _Given], now: datetime
) -> Release | None:
    """Releases a signed payment, or its batch once nothing of it waits for signatures.

    Args:
        docket: what is known, and was decided so far.
        payment: the payment, or one of the batch.
        fresh: signatures that are given at this moment, by payment id.
        now: UTC.

    Returns:
        None while something waits.

    Raises:
        GatewayError: what `admit_release` refuses, for any payment of the batch: then none goes;
            BANK_CLOSED if no day is known on which the bank will take them.
    """
    states = {
        each.payment_id: _state_with(docket, each, fresh.get(each.payment_id))
        for each in docket.unit(payment)
    }
    ids = [payment_id for payment_id, state in states.items() if state is State.SIGNED]
    if not ids or not UNSIGNED.isdisjoint(states.values()):
        return None
    ready = [docket.payment(payment.fund_id, payment_id) for payment_id in ids]
    signatures = [
        fresh[each.payment_id].all if each.payment_id in fresh else docket.given(each, 1)
        for each in ready
    ]
    for each, given in zip(ready, signatures, strict=True):
        docket.papers.require_complete(each, given, _counted_minor(docket, each, given), now)
    file = Queued(new_id("m", now), ready, _day_for(docket, ready, now))
    return Release(file, signatures)


def _state_with(docket: Docket, payment: Row, given: _Given | None) -> State:
    state = State(docket.view(payment).state)
    return advance(state, given.event) if given else state


def _day_for(docket: Docket, payments: Sequence[Row], now: datetime) -> date:
    account = docket.account(payments[0])
    return day_for(payments, docket.banks.profile(account.profile_id), now)


def _note_release(docket: Docket, release: Release, now: datetime) -> None:
    docket.effects.releases.append(release)
    change = Change(Event.RELEASE, GATEWAY, now)
    for payment in release.file.payments:
        state = advance(State(docket.view(payment).state), Event.RELEASE, payment_name(payment))
        docket.move(payment, state, change, transmission_id=release.file.transmission_id)


def _decide_again(docket: Docket, given: _Given, now: datetime) -> Again:
    """That a payment goes once more.

    Raises:
        GatewayError: what `admit_release` refuses; RESEND_TOO_EARLY if the bank's word or a
            statement has come between the signatures; BANK_CLOSED.
    """
    payment = given.payment
    counted_minor = _counted_minor(docket, payment, given.all)
    docket.papers.require_complete(payment, given.all, counted_minor, now)
    require_evidence(payment, docket.evidence[payment.payment_id], now)
    day = _day_for(docket, [payment], now)
    return Again(Queued(new_id("m", now), [payment], day), given.subject.attempt)


def _note_again(docket: Docket, again: Again, now: datetime) -> None:
    docket.effects.again.append(again)
    payment = again.file.payments[0]
    change = Change(Event.RELEASE_AGAIN, GATEWAY, now, f"attempt {again.attempt}")
    state = advance(State(docket.view(payment).state), change.event, payment_name(payment))
    docket.move(payment, state, change, transmission_id=again.file.transmission_id)


# --- ending -----------------------------------------------------------------------------------


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
    docket = await load_for_release(conn, payment, banks)
    try:
        release = decide_release(docket, payment, {}, now)
    except GatewayError as refusal:
        log.warning("batch_not_released", batch=payment.batch_id, reason=refusal.reason.value)
        return
    if release is not None:
        _note_release(docket, release, now)
        await store(conn, docket, now)
