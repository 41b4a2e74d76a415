"""What stands behind payments' signatures, read from the register at one moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gateway.domain.batch import digests_in
from gateway.domain.envelope import (
    BATCH_TYPE,
    MAX_BATCH_ENVELOPE_BYTES,
    from_json,
    verify,
)
from gateway.domain.errors import GatewayError, Reason, not_found, precondition
from gateway.domain.party import person_name
from gateway.domain.payload import parse_payload
from gateway.domain.policy import (
    PaymentFacts,
    Signer,
    Slots,
    admit_release,
    facts_of,
    slots_for,
)
from gateway.payments.record import payment_name
from gateway.registry.authority import (
    load_appointed,
    load_keys,
    load_mandates,
    load_persons,
    load_policies,
    no_key,
    no_policy,
)
from gateway.store import bulk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.envelope import Envelope
    from gateway.domain.party import Mandate, Person, PublicKey
    from gateway.domain.policy import SigningPolicy
    from gateway.registry.authority import Ids
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Subject:
    """What is signed now: a payment, or sending it again.

    Attributes:
        attempt: 1 for the payment itself.
        payload: the exact bytes.
        facts: what the bytes say.
        policy: the version of the fund's policy under which it was submitted.
        released: whether it was sent again on the strength of this attempt.
    """

    attempt: int
    payload: bytes
    facts: PaymentFacts
    policy: SigningPolicy
    released: bool

    def slots(self, counted_minor: int) -> Slots:
        """The two signatures that the fund's policy wants for an amount."""
        return slots_for(self.policy, counted_minor)


@dataclass(frozen=True, slots=True)
class Papers:
    """All that the signatures on some payments stand on.

    Attributes:
        resends: the last attempt to send a payment again, by payment id.
        signatures: those given so far, of all attempts, in order, by payment id.
        envelopes: signed batches, by the SHA-256 of what was sent.
        policies: by fund and version.
        appointed: parties appointed to a fund's estate, by fund.
        keys: with the party of their person, by key id.
        persons: by party and person.
        mandates: by party and person.
        names: display names of the parties that signed or asked, by party.
        verified: which envelopes were found to be signed by which key.
        subjects: what was found to be signed, by payment id.
        signers: of signatures that were checked, by payment, attempt and key.
    """

    resends: Mapping[str, Row] = field(default_factory=dict)
    signatures: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    envelopes: dict[str, Envelope] = field(default_factory=dict)
    policies: Mapping[tuple[str, int], SigningPolicy] = field(default_factory=dict)
    appointed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, PublicKey]] = field(default_factory=dict)
    persons: Mapping[Ids, Person] = field(default_factory=dict)
    mandates: Mapping[Ids, tuple[Mandate, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    verified: set[tuple[str, str]] = field(default_factory=set)
    subjects: dict[str, Subject] = field(default_factory=dict)
    signers: dict[tuple[str, int, str], Signer] = field(default_factory=dict)

    def subject(self, payment: Row) -> Subject:
        """What signatures on a payment are about at this moment: its last attempt.

        Raises:
            GatewayError: FIELD_INVALID if the stored bytes are no payload, POLICY_MISSING.
        """
        found = self.subjects.get(payment.payment_id)
        if found is None:
            found = self.subjects[payment.payment_id] = self._subject(payment)
        return found

    def _subject(self, payment: Row) -> Subject:
        again = self.resends.get(payment.payment_id)
        stored = bytes(payment.payload if again is None else again.payload)
        policy = self.policies.get((payment.fund_id, payment.policy_version))
        if policy is None:
            raise no_policy(payment.fund_id)
        return Subject(
            attempt=1 if again is None else again.attempt,
            payload=stored,
            facts=facts_of(parse_payload(stored), self.appointed[payment.fund_id]),
            policy=policy,
            released=again is not None and again.released_at is not None,
        )

    def given(self, payment: Row, attempt: int) -> list[Row]:
        """The signatures given so far for an attempt, in order."""
        stored = self.signatures.get(payment.payment_id, ())
        return [each for each in stored if each.attempt == attempt]

    def signer(self, payment: Row, subject: Subject, signature: Row) -> Signer:
        """The signer of a given signature as the register has it now, the signature checked anew.

        Raises:
            GatewayError: SIGNATURE_INVALID or PAYLOAD_MISMATCH where what is stored does not hold.
        """
        place = (payment.payment_id, subject.attempt, signature.key_id)
        found = self.signers.get(place)
        if found is None:
            found = self.signers[place] = self._signer(payment, subject, signature)
        return found

    def _signer(self, payment: Row, subject: Subject, signature: Row) -> Signer:
        _, key = self.key(signature.key_id)
        if signature.batch_sha256:
            envelope = self._batch_envelope(signature.batch_sha256, key)
        else:
            envelope = from_json(signature.envelope)
            verify(envelope, key.verifier)
        require_covered(payment, subject, envelope)
        return self.signer_of((signature.party_id, signature.person_id), key)

    def keep(self, digest: str, envelope: Envelope, key_id: str) -> None:
        """Takes in a signed batch that was verified just now."""
        self.envelopes[digest] = envelope
        self.verified.add((digest, key_id))

    def _batch_envelope(self, digest: str, key: PublicKey) -> Envelope:
        """A signed batch, verified once for all its payments."""
        envelope = self.envelopes[digest]
        if (digest, key.key_id) not in self.verified:
            verify(envelope, key.verifier, BATCH_TYPE)
            self.verified.add((digest, key.key_id))
        return envelope

    def key(self, key_id: str) -> tuple[str, PublicKey]:
        """A key and the party whose person has it.

        Raises:
            GatewayError: KEY_UNKNOWN.
        """
        found = self.keys.get(key_id)
        if found is None:
            raise no_key()
        return found

    def signer_of(self, ids: Ids, key: PublicKey) -> Signer:
        """A person with this key, and all mandates of theirs.

        Raises:
            GatewayError: RESOURCE_NOT_FOUND.
        """
        person = self.persons.get(ids)
        if person is None:
            raise not_found(person_name(*ids))
        return Signer(person, key, self.mandates[ids])

    def require_complete(
        self, payment: Row, given: Sequence[Row], counted_minor: int, now: datetime
    ) -> None:
        """Passes if both signatures hold, checked once more at this moment.

        Args:
            payment: which one.
            given: its signatures.
            counted_minor: the amount that the policy's tiers and the mandates are held to.
            now: UTC.

        Raises:
            GatewayError: what `admit_release` refuses.
        """
        subject = self.subject(payment)
        signers = [self.signer(payment, subject, each) for each in given]
        facts = replace(subject.facts, amount_minor=counted_minor)
        admit_release(facts, subject.slots(counted_minor), signers, now)


def require_covered(payment: Row, subject: Subject, envelope: Envelope) -> None:
    """Passes if the signed bytes are those stored for the payment, or a batch that lists them.

    Raises:
        GatewayError: PAYLOAD_MISMATCH.
    """
    if envelope.payload_type == BATCH_TYPE:
        digest = sha256(subject.payload).hexdigest()
        covered = digests_in(envelope.payload).get(payment.payment_id) == digest
    else:
        covered = envelope.payload == subject.payload
    if not covered:
        raise precondition(
            Reason.PAYLOAD_MISMATCH,
            payment_name(payment),
            "the signed bytes are not the bytes stored for this payment",
        )


async def load_papers(
    conn: AsyncConnection,
    payments: Sequence[Row],
    candidates: Collection[Ids] = (),
    key_ids: Collection[str] = (),
    appointed: Mapping[str, frozenset[str]] | None = None,
) -> Papers:
    """The papers of these payments, and of the persons and keys that are about to sign.

    Whoever has read already which parties are appointed to the funds' estates hands it in.
    """
    funds = [payment.fund_id for payment in payments]
    ids = [payment.payment_id for payment in payments]
    signatures = await bulk.fetch(conn, _SIGNATURES, funds, ids)
    resends = await bulk.fetch(conn, _LAST_RESENDS, funds, ids)
    people = {*candidates, *((each.party_id, each.person_id) for each in signatures)}
    parties = {party_id for party_id, _ in people} | {p.submitter_party_id for p in payments}
    by_payment: dict[str, list[Row]] = {each: [] for each in ids}
    for each in signatures:
        by_payment[each.payment_id].append(each)
    return Papers(
        resends={row.payment_id: row for row in resends},
        signatures=by_payment,
        envelopes=await _envelopes(
            conn, {(each.fund_id, each.batch_sha256) for each in signatures if each.batch_sha256}
        ),
        policies=await load_policies(conn, {(p.fund_id, p.policy_version) for p in payments}),
        appointed=appointed or await load_appointed(conn, {p.fund_id for p in payments}),
        keys=await load_keys(conn, {*key_ids, *(each.key_id for each in signatures)}),
        persons=await load_persons(conn, people),
        mandates=await load_mandates(conn, people),
        names={
            row.party_id: row.display_name for row in await bulk.fetch(conn, _NAMES, list(parties))
        },
    )


async def verify_ahead(conn: AsyncConnection, envelopes: Sequence[Envelope]) -> None:
    """Does the arithmetic of signatures before a fund is locked, and lets others work meanwhile.

    Whether one holds is decided later: here it is only made cheap to say.
    """
    wanted = {each.keyid for envelope in envelopes for each in envelope.signatures}
    if not wanted:
        return
    keys = await load_keys(conn, wanted)
    for envelope in envelopes:
        await asyncio.sleep(0)
        found = keys.get(envelope.signatures[0].keyid)
        if found is not None:
            with suppress(GatewayError):
                verify(envelope, found[1].verifier, envelope.payload_type)


async def load_subject(conn: AsyncConnection, payment: Row) -> Subject:
    """What signatures on a payment are about at this moment: its last attempt."""
    return (await load_papers(conn, [payment])).subject(payment)


async def _envelopes(
    conn: AsyncConnection, digests: Collection[tuple[str, str]]
) -> dict[str, Envelope]:
    if not digests:
        return {}
    funds, wanted = zip(*digests, strict=True)
    rows = await bulk.fetch(conn, _ENVELOPES, funds, wanted)
    return {row.sha256: from_json(row.envelope, MAX_BATCH_ENVELOPE_BYTES) for row in rows}


_SIGNATURES: Final = """
    SELECT s.* FROM payment_signatures s
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, payment_id) USING (fund_id, payment_id)
    ORDER BY s.payment_id, s.attempt, s.position
"""
_LAST_RESENDS: Final = """
    SELECT DISTINCT ON (r.payment_id) r.* FROM resends r
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, payment_id) USING (fund_id, payment_id)
    ORDER BY r.payment_id, r.attempt DESC
"""
_ENVELOPES: Final = """
    SELECT e.sha256, e.envelope FROM batch_envelopes e
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, sha256) USING (fund_id, sha256)
"""
_NAMES: Final = "SELECT party_id, display_name FROM parties WHERE party_id = ANY($1::text[])"
