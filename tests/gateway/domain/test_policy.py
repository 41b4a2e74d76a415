from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.party import SIGNING_ROLES, Person, Role
from gateway.domain.policy import (
    PaymentFacts,
    Signer,
    SigningPolicy,
    Slots,
    Tier,
    admit_release,
    admit_signature,
    facts_of,
    slots_for,
)
from tests.gateway.domain.examples import (
    DAY,
    FACTS,
    LI,
    NOW,
    SECOND,
    SLOTS,
    WANG,
    mandate,
    payload,
    public_key,
    signer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

OTHER_SLOTS: Slots = (frozenset({Role.OWNERS_COMMITTEE}), frozenset({Role.TRUSTEE_CHECKER}))
DISTINCT = {Reason.SAME_PERSON, Reason.SAME_PARTY}


def refusal_to_sign(
    candidate: Signer,
    *signed: Signer,
    facts: PaymentFacts = FACTS,
    slots: Slots = SLOTS,
    now: datetime = NOW,
) -> Reason:
    with pytest.raises(GatewayError) as refused:
        admit_signature(facts, slots, signed, candidate, now)
    assert refused.value.kind is Kind.PRECONDITION
    assert refused.value.subject == facts.payment
    return refused.value.reason


def refusal_to_release(
    signers: Sequence[Signer],
    facts: PaymentFacts = FACTS,
    slots: Slots = SLOTS,
    now: datetime = NOW,
) -> Reason:
    with pytest.raises(GatewayError) as refused:
        admit_release(facts, slots, signers, now)
    return refused.value.reason


def as_person(original: Signer, **changes: Any) -> Signer:
    return replace(original, person=replace(original.person, **changes))


def as_mandate(original: Signer, **changes: Any) -> Signer:
    return replace(original, mandates=(replace(original.mandates[0], **changes),))


def with_roles(person_id: str, party_id: str, *roles: Role) -> Signer:
    mandates = tuple(mandate(person_id, role) for role in roles)
    person = Person(person_id, party_id, f"human-{person_id}", frozenset(roles))
    return Signer(person, public_key(person_id, person_id), mandates)


# What is admitted


def test_the_facts_are_those_of_the_signed_bytes() -> None:
    facts = facts_of(payload(), ["firm"])
    assert (facts.payment, facts.fund_id) == ("funds/f1/payments/p1", "f1")
    assert (facts.amount_minor, facts.currency) == (140950, "CNY")
    assert (facts.not_before, facts.expires) == (NOW, NOW + 7 * DAY)
    assert facts.slots == SLOTS
    assert facts.party_ids == {"firm"}


@pytest.mark.parametrize(("first", "second"), list(permutations([WANG, LI])))
def test_two_people_of_two_parties_release_a_payment_in_either_order(
    first: Signer, second: Signer
) -> None:
    admit_signature(FACTS, SLOTS, (), first, NOW)
    admit_signature(FACTS, SLOTS, (first,), second, NOW)
    admit_release(FACTS, SLOTS, (first, second), NOW)


def test_a_signer_who_fits_both_slots_leaves_the_other_the_one_it_needs() -> None:
    """The first fitting slot would be the wrong one here: both orders have to be tried."""
    slots: Slots = (
        frozenset({Role.OWNERS_COMMITTEE, Role.TRUSTEE_CHECKER}),
        frozenset({Role.OWNERS_COMMITTEE}),
    )
    facts = replace(FACTS, slots=slots)
    both = with_roles("both", "committee", Role.OWNERS_COMMITTEE)
    checker = with_roles("checker", "trustee", Role.TRUSTEE_CHECKER)
    for first, second in permutations([both, checker]):
        admit_signature(facts, slots, (first,), second, NOW)


def test_a_mandate_for_every_fund_reaches_the_estates_of_its_party_only() -> None:
    general = as_mandate(WANG, fund_id="")
    admit_signature(FACTS, SLOTS, (), general, NOW)
    stranger = as_person(general, party_id="strangers")
    assert refusal_to_sign(stranger) is Reason.MANDATE_MISSING


def test_the_limit_and_the_last_moment_are_still_within() -> None:
    exact = as_mandate(WANG, limit_minor=FACTS.amount_minor, valid_until=FACTS.expires)
    admit_signature(FACTS, SLOTS, (), exact, FACTS.expires)


def test_one_of_several_mandates_that_permits_is_enough() -> None:
    small = replace(WANG.mandates[0], mandate_id="m2", limit_minor=1)
    revoked = replace(WANG.mandates[0], mandate_id="m3", revoked_at=NOW - DAY)
    admit_signature(FACTS, SLOTS, (), replace(WANG, mandates=(small, revoked, *WANG.mandates)), NOW)


# Attacks on time


@pytest.mark.parametrize("now", [FACTS.not_before - SECOND, FACTS.expires + SECOND])
def test_outside_its_time_a_payment_is_neither_signed_nor_released(now: datetime) -> None:
    assert refusal_to_sign(WANG, now=now) is Reason.PAYMENT_EXPIRED
    assert refusal_to_release((WANG, LI), now=now) is Reason.PAYMENT_EXPIRED


# Attacks on keys


@pytest.mark.parametrize(
    "changes",
    [
        {"revoked_at": NOW},
        {"revoked_at": NOW - DAY},
        {"valid_from": NOW + SECOND},
        {"valid_until": NOW - SECOND},
    ],
)
def test_a_key_out_of_force_signs_nothing(changes: dict[str, Any]) -> None:
    lost = replace(WANG, key=replace(WANG.key, **changes))
    assert refusal_to_sign(lost) is Reason.KEY_REVOKED


def test_a_key_revoked_between_signature_and_release_releases_nothing() -> None:
    revoked = replace(WANG, key=replace(WANG.key, revoked_at=NOW + SECOND))
    admit_signature(FACTS, SLOTS, (), revoked, NOW)
    later = NOW + timedelta(minutes=1)
    assert refusal_to_release((revoked, LI), now=later) is Reason.KEY_REVOKED
    assert refusal_to_release((LI, revoked), now=later) is Reason.KEY_REVOKED


def test_nobody_signs_on_top_of_a_signature_that_no_longer_stands() -> None:
    revoked = replace(WANG, key=replace(WANG.key, revoked_at=NOW))
    assert refusal_to_sign(LI, revoked) is Reason.KEY_REVOKED


def test_the_key_of_another_person_is_refused() -> None:
    assert refusal_to_sign(replace(WANG, key=LI.key)) is Reason.KEY_UNKNOWN


# Attacks on distinctness


def test_one_person_signing_twice_is_refused() -> None:
    assert refusal_to_sign(WANG, WANG) is Reason.SAME_PERSON
    assert refusal_to_release((WANG, WANG)) is Reason.SAME_PERSON


def test_one_human_with_another_id_party_role_and_key_is_still_one_person() -> None:
    again = as_person(LI, natural_person=WANG.person.natural_person)
    assert refusal_to_sign(again, WANG) is Reason.SAME_PERSON
    assert refusal_to_release((WANG, again)) is Reason.SAME_PERSON


def test_one_key_under_two_persons_counts_once() -> None:
    borrowed = replace(LI, key=public_key("li", "wang"))
    assert refusal_to_sign(borrowed, WANG) is Reason.SAME_PERSON


def test_two_people_of_one_party_are_refused_whatever_their_roles() -> None:
    colleague = as_person(LI, party_id=WANG.person.party_id)
    assert refusal_to_sign(colleague, WANG) is Reason.SAME_PARTY
    assert refusal_to_release((colleague, WANG)) is Reason.SAME_PARTY


# Attacks on mandates


@pytest.mark.parametrize(
    "changes",
    [
        {"fund_id": "f2"},
        {"fund_id": "f"},
        {"person_id": "li"},
        {"currency": "USD"},
        {"role": Role.PROPERTY_FIRM},
        {"revoked_at": NOW},
        {"valid_from": NOW + SECOND},
        {"valid_until": NOW - SECOND},
    ],
)
def test_a_mandate_for_something_else_permits_nothing(changes: dict[str, Any]) -> None:
    """The changed role is one that the policy would take, but that the person does not hold."""
    assert refusal_to_sign(as_mandate(WANG, **changes)) is Reason.MANDATE_MISSING
    assert refusal_to_release((as_mandate(WANG, **changes), LI)) is Reason.MANDATE_MISSING


def test_a_role_without_a_mandate_permits_nothing() -> None:
    assert refusal_to_sign(replace(WANG, mandates=())) is Reason.MANDATE_MISSING


def test_an_amount_above_the_mandate_is_refused() -> None:
    poor = as_mandate(WANG, limit_minor=FACTS.amount_minor - 1)
    assert refusal_to_sign(poor) is Reason.MANDATE_LIMIT_EXCEEDED
    assert refusal_to_sign(poor, LI) is Reason.MANDATE_LIMIT_EXCEEDED
    assert refusal_to_release((LI, poor)) is Reason.MANDATE_LIMIT_EXCEEDED


def test_a_large_mandate_in_a_role_nobody_asked_for_does_not_lift_a_small_one() -> None:
    both = with_roles("both", "committee", Role.OWNERS_COMMITTEE, Role.PROPERTY_FIRM)
    small, large = both.mandates
    small = replace(small, limit_minor=1)
    facts = replace(FACTS, slots=OTHER_SLOTS)
    candidate = replace(both, mandates=(small, large))
    assert refusal_to_sign(candidate, facts=facts, slots=OTHER_SLOTS) is (
        Reason.MANDATE_LIMIT_EXCEEDED
    )


# Attacks on the policy


def test_a_role_that_the_policy_does_not_ask_for_is_refused() -> None:
    firm = signer("zhao", "firm", Role.PROPERTY_FIRM)
    facts = replace(FACTS, slots=OTHER_SLOTS)
    assert refusal_to_sign(firm, facts=facts, slots=OTHER_SLOTS) is Reason.ROLE_NOT_REQUIRED


def test_a_second_signature_for_the_slot_already_filled_is_refused() -> None:
    firm = signer("zhao", "firm", Role.PROPERTY_FIRM)
    assert refusal_to_sign(firm, WANG) is Reason.ROLE_NOT_REQUIRED
    assert refusal_to_release((firm, WANG)) is Reason.ROLE_NOT_REQUIRED


def test_there_is_no_third_signature() -> None:
    firm = signer("zhao", "firm", Role.PROPERTY_FIRM)
    assert refusal_to_sign(firm, WANG, LI) is Reason.ROLE_NOT_REQUIRED
    assert refusal_to_release((WANG, LI, firm)) is Reason.STATE_FORBIDS


@pytest.mark.parametrize("signers", [(), (WANG,), (LI,)])
def test_fewer_than_two_signatures_release_nothing(signers: tuple[Signer, ...]) -> None:
    assert refusal_to_release(signers) is Reason.STATE_FORBIDS


def test_signed_roles_that_are_not_the_policy_s_are_refused() -> None:
    assert refusal_to_sign(WANG, slots=OTHER_SLOTS) is Reason.PAYLOAD_MISMATCH
    assert refusal_to_release((WANG, LI), slots=OTHER_SLOTS) is Reason.PAYLOAD_MISMATCH


def test_the_tier_is_chosen_by_the_amount_its_end_included() -> None:
    policy = SigningPolicy(1, (Tier(100, SLOTS), Tier(1000, OTHER_SLOTS), Tier(None, SLOTS)))
    assert [slots_for(policy, amount) for amount in (1, 100, 101, 1000, 1001)] == [
        SLOTS,
        SLOTS,
        OTHER_SLOTS,
        OTHER_SLOTS,
        SLOTS,
    ]


@pytest.mark.parametrize(
    "ends",
    [[], [100], [None, None], [None, 100], [100, 100, None], [200, 100, None], [100, None, 200]],
)
def test_tiers_that_do_not_rise_to_one_open_end_are_refused(ends: list[int | None]) -> None:
    with pytest.raises(GatewayError) as refused:
        SigningPolicy(1, tuple(Tier(end, SLOTS) for end in ends))
    assert refused.value.reason is Reason.FIELD_INVALID


def test_versions_count_from_one() -> None:
    with pytest.raises(GatewayError):
        SigningPolicy(0, (Tier(None, SLOTS),))


@pytest.mark.parametrize(
    "slots",
    [
        (),
        SLOTS[:1],
        (*SLOTS, SLOTS[0]),
        (SLOTS[0], frozenset()),
        (SLOTS[0], frozenset({Role.OPERATOR})),
        (SLOTS[0], frozenset({Role.TRUSTEE_CHECKER, Role.TRUSTEE_MAKER})),
    ],
)
def test_the_number_of_signatures_never_changes_nor_who_may_never_sign(slots: Any) -> None:
    with pytest.raises(GatewayError) as refused:
        Tier(None, slots)
    assert refused.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize("up_to_minor", [0, -1])
def test_a_tier_reaches_some_amount(up_to_minor: int) -> None:
    with pytest.raises(GatewayError):
        Tier(up_to_minor, SLOTS)


def test_a_tier_may_end_at_the_smallest_amount() -> None:
    assert SigningPolicy(1, (Tier(1, SLOTS), Tier(None, SLOTS))).tiers[0].up_to_minor == 1


def test_a_malformed_policy_is_refused_at_its_field() -> None:
    with pytest.raises(GatewayError) as refused:
        Tier(0, SLOTS)
    assert [each.field for each in refused.value.violations] == ["signing_policy.tiers"]


# Random people


ROLE_SETS = st.frozensets(st.sampled_from(sorted(SIGNING_ROLES)), min_size=1)


@st.composite
def people(draw: st.DrawFn) -> Signer:
    """Persons of a small world, so that ids, humans, parties, keys and funds often coincide."""
    name = draw(st.sampled_from(["a", "b", "c"]))
    key = public_key(name, draw(st.sampled_from(["k1", "k2", "k3"])))
    roles = draw(ROLE_SETS)
    person = Person(name, draw(st.sampled_from("pqr")), draw(st.sampled_from("xyz")), roles)
    held = [
        mandate(name, role, draw(st.sampled_from(["f1", "f1", "f2", ""])), limit)
        for role in sorted(draw(ROLE_SETS))
        for limit in [draw(st.sampled_from([FACTS.amount_minor - 1, 10**6, 10**6]))]
    ]
    return Signer(person, key, tuple(held))


def permits(who: Signer, slot: frozenset[Role]) -> bool:
    """The rule in its plainest words, to hold the code against."""
    return any(
        held.role in slot & who.person.roles
        and held.limit_minor >= FACTS.amount_minor
        and (held.fund_id == "f1" or (held.fund_id == "" and who.person.party_id in "pq"))
        for held in who.mandates
    )


@given(people(), people(), ROLE_SETS, ROLE_SETS)
def test_a_pair_is_admitted_exactly_if_distinct_and_mandated_for_a_slot_each(
    first: Signer, second: Signer, slot: frozenset[Role], other: frozenset[Role]
) -> None:
    slots = (slot, other)
    facts = replace(FACTS, slots=slots, party_ids=frozenset("pq"))
    distinct = (
        first.person.natural_person != second.person.natural_person
        and first.person.party_id != second.person.party_id
        and first.key.key_id != second.key.key_id
    )
    fills = any(permits(first, a) and permits(second, b) for a, b in permutations(slots))
    try:
        admit_release(facts, slots, (first, second), NOW)
    except GatewayError as refused:
        assert not (distinct and fills)
        assert (refused.reason in DISTINCT) is not distinct  # noqa: PT017 - either outcome is right
    else:
        assert distinct
        assert fills
        admit_signature(facts, slots, (), first, NOW)
        admit_signature(facts, slots, (first,), second, NOW)
