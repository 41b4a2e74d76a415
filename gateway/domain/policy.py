"""Who must sign, and whether a signature counts: when it is given, and again at release.

Two signatures, always: by distinct natural persons of distinct parties, each under a mandate. An
emergency may change who approves, never how many.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, NoReturn

from gateway.domain.errors import Reason, invalid, precondition
from gateway.domain.party import SIGNING_ROLES, Mandate, Person, PublicKey, Role
from gateway.domain.payload import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gateway.domain.payload import PaymentPayload

SIGNATURES = 2
"""How many signatures release a payment. Not configuration."""

Slots = tuple[frozenset[Role], frozenset[Role]]
"""For each of the two signatures, the roles that may give it."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Who signs payments up to an amount.

    Attributes:
        up_to_minor: the largest amount of this tier, minor units; None for no upper end.
        slots: the two signatures.
    """

    up_to_minor: int | None
    slots: Slots

    def __post_init__(self) -> None:
        if len(self.slots) != SIGNATURES or not all(self.slots):
            _malformed("must ask for exactly two signatures, each of some role")
        if not SIGNING_ROLES.issuperset(frozenset().union(*self.slots)):
            _malformed("asks for a role that never signs")
        if self.up_to_minor is not None and self.up_to_minor <= 0:
            _malformed("must end above zero")


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """One version of a fund's rules on who signs.

    Attributes:
        version: counts up from 1; a payment keeps the version it was submitted under.
        tiers: by rising amount; the last, and only the last, has no upper end.

    Raises:
        GatewayError: FIELD_INVALID if it is not so.
    """

    version: int
    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        ends = [tier.up_to_minor for tier in self.tiers]
        bounded = [end for end in ends if end is not None]
        if self.version < 1:
            _malformed("must count versions from 1")
        if not ends or ends[-1] is not None or len(bounded) != len(ends) - 1:
            _malformed("must end with the one tier that has no upper end")
        if any(low >= high for low, high in pairwise(bounded)):
            _malformed("must rise from tier to tier")


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """What the rules need to know of a payment, taken from the signed bytes.

    Attributes:
        payment: resource name.
        fund_id: last segment of the fund's resource name.
        amount_minor: minor units, fen for CNY.
        currency: ISO 4217 code.
        not_before: first moment to sign and to release, UTC.
        expires: last moment, UTC.
        slots: the roles the signers were told.
        party_ids: parties appointed to the fund's estate, which a mandate for every fund reaches.
            Not in the bytes: from the register.
    """

    payment: str
    fund_id: str
    amount_minor: int
    currency: str
    not_before: datetime
    expires: datetime
    slots: Slots
    party_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, or signed.

    Attributes:
        person: the signer.
        key: the key of the signature.
        mandates: all of the person's mandates; those out of force count for nothing.
    """

    person: Person
    key: PublicKey
    mandates: tuple[Mandate, ...]


def facts_of(payload: PaymentPayload, party_ids: Iterable[str]) -> PaymentFacts:
    """The facts in a parsed payload, with the parties appointed to the fund's estate."""
    first, second = payload.required_roles
    return PaymentFacts(
        payment=payload.payment,
        fund_id=payload.fund.rpartition("/")[2],
        amount_minor=int(payload.amount_minor),
        currency=payload.currency,
        not_before=instant(payload.not_before),
        expires=instant(payload.expires),
        slots=(frozenset(first), frozenset(second)),
        party_ids=frozenset(party_ids),
    )


def slots_for(policy: SigningPolicy, amount_minor: int) -> Slots:
    """The two signatures for this amount: those of the first tier that reaches it."""
    return next(
        tier.slots
        for tier in policy.tiers
        if tier.up_to_minor is None or amount_minor <= tier.up_to_minor
    )


def admit_signature(
    facts: PaymentFacts,
    slots: Slots,
    already_signed: Sequence[Signer],
    candidate: Signer,
    now: datetime,
) -> None:
    """Passes only if the candidate's signature may stand beside those already given.

    An earlier signature that no longer stands is refused here too: nobody signs on top of it.

    Args:
        facts: the payment.
        slots: what the fund's policy asks for this amount, from `slots_for`.
        already_signed: who signed before, at most one for the candidate to be admitted.
        candidate: who signs now; the signature itself is verified elsewhere.
        now: UTC.

    Raises:
        GatewayError: the first rule that refuses, in this order: PAYLOAD_MISMATCH, PAYMENT_EXPIRED,
            KEY_UNKNOWN, KEY_REVOKED, SAME_PERSON, SAME_PARTY, MANDATE_MISSING,
            MANDATE_LIMIT_EXCEEDED, ROLE_NOT_REQUIRED.
    """
    _admit(facts, slots, (*already_signed, candidate), now)


def admit_release(
    facts: PaymentFacts, slots: Slots, signers: Sequence[Signer], now: datetime
) -> None:
    """Passes only if, at this moment, both signatures still stand and fill the two slots.

    Raises:
        GatewayError: STATE_FORBIDS unless there are exactly two signers, else as `admit_signature`.
    """
    if len(signers) != SIGNATURES:
        _refuse(facts, Reason.STATE_FORBIDS, f"{len(signers)} of {SIGNATURES} signatures are there")
    _admit(facts, slots, signers, now)


def _admit(facts: PaymentFacts, slots: Slots, signers: Sequence[Signer], now: datetime) -> None:
    """Every rule over one or two signers; the same at signing and at release."""
    _require_terms(facts, slots, now)
    for signer in signers:
        _require_key(facts, signer, now)
    _require_distinct(facts, signers)
    mandates = [_mandates(facts, signer, now) for signer in signers]
    if not all(mandates):
        _refuse(facts, Reason.MANDATE_MISSING, "a signer has no mandate in force for this fund")
    if not _fill(slots, mandates):
        _refuse(facts, Reason.ROLE_NOT_REQUIRED, "the policy needs no such signature (any more)")
    if not _fill(slots, [_within_limit(facts, held) for held in mandates]):
        _refuse(facts, Reason.MANDATE_LIMIT_EXCEEDED, "the amount is above a signer's mandate")


def _require_terms(facts: PaymentFacts, slots: Slots, now: datetime) -> None:
    """The signed roles are those of the policy, and the payment is within its time."""
    if facts.slots != slots:
        _refuse(facts, Reason.PAYLOAD_MISMATCH, "the signed roles are not those of the policy")
    if not facts.not_before <= now <= facts.expires:
        _refuse(facts, Reason.PAYMENT_EXPIRED, "the payment is not, or no longer, valid")


def _require_key(facts: PaymentFacts, signer: Signer, now: datetime) -> None:
    key = signer.key
    if key.person_id != signer.person.person_id:
        _refuse(facts, Reason.KEY_UNKNOWN, "the key is not the signer's", key_id=key.key_id)
    if not key.in_force(now):
        _refuse(facts, Reason.KEY_REVOKED, "the key is not in force", key_id=key.key_id)


def _require_distinct(facts: PaymentFacts, signers: Sequence[Signer]) -> None:
    """Distinct humans, whatever ids and keys they use, of distinct parties."""
    humans = {signer.person.natural_person for signer in signers}
    keys = {signer.key.key_id for signer in signers}
    if min(len(humans), len(keys)) < len(signers):
        _refuse(facts, Reason.SAME_PERSON, "the same natural person, or the same key, signed twice")
    if len({signer.person.party_id for signer in signers}) < len(signers):
        _refuse(facts, Reason.SAME_PARTY, "the same party signed twice")


def _mandates(facts: PaymentFacts, signer: Signer, now: datetime) -> tuple[Mandate, ...]:
    """Mandates in force that reach the fund, in roles the person still holds; any limit."""
    person = signer.person
    return tuple(
        mandate
        for mandate in signer.mandates
        if mandate.person_id == person.person_id
        and mandate.role in person.roles
        and mandate.currency == facts.currency
        and _reaches(mandate, person, facts)
        and mandate.in_force(now)
    )


def _reaches(mandate: Mandate, person: Person, facts: PaymentFacts) -> bool:
    if mandate.fund_id:
        return mandate.fund_id == facts.fund_id
    return person.party_id in facts.party_ids


def _within_limit(facts: PaymentFacts, mandates: Iterable[Mandate]) -> tuple[Mandate, ...]:
    return tuple(each for each in mandates if facts.amount_minor <= each.limit_minor)


def _fill(slots: Slots, mandates: Sequence[Sequence[Mandate]]) -> bool:
    """Whether the signers can be put to slots of their own, in one order or the other."""
    roles = [{mandate.role for mandate in held} for held in mandates]
    return any(
        all(held & slot for held, slot in zip(roles, order, strict=True))
        for order in permutations(slots, len(roles))
    )


def _refuse(facts: PaymentFacts, reason: Reason, message: str, **metadata: str) -> NoReturn:
    raise precondition(reason, facts.payment, message, **metadata)


def _malformed(rule: str) -> NoReturn:
    raise invalid(Reason.FIELD_INVALID, "signing_policy.tiers", rule)
