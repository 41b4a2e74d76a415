"""The two signatures: what counts, what is refused, and what is checked again at release."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from xinyi.v1 import payment_service_pb2 as pb

from gateway.domain.envelope import Envelope, Signature, pae, sign, to_json
from gateway.domain.keys import key_id
from gateway.domain.party import Mandate, Role
from gateway.domain.policy import Tier
from gateway.registry import funds, parties
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.payments.desk import FUND, ask, batch, envelope, stranger_key
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    LIMIT_MINOR,
    MAKER,
    NOW,
    OTHER_CHAIR,
    SLOTS,
    YEAR,
    Who,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.payments.desk import Desk

SECOND_CHECKER = Who("trust", "deputy", Role.TRUSTEE_CHECKER)
SECOND_CHAIR = Who("wutong-committee", "vice", Role.OWNERS_COMMITTEE)


async def _signatures(desk: Desk) -> int:
    return len(await desk.rows(sa.select(t.payment_signatures.c.position)))


async def test_two_persons_of_two_parties_release_a_payment(desk: Desk) -> None:
    name = (await desk.submit()).name

    first = await desk.sign(name, CHAIR)
    second = await desk.sign(name, CHECKER)

    assert pb.PaymentState.Name(first.state) == "PAYMENT_STATE_PARTLY_SIGNED"
    assert pb.PaymentState.Name(second.state) == "PAYMENT_STATE_RELEASED"
    assert [each.person for each in second.signatures] == [CHAIR.name, CHECKER.name]
    assert await desk.budget() == (0, 1_000)


async def test_the_order_of_the_two_does_not_matter(desk: Desk) -> None:
    name = (await desk.submit()).name

    await desk.sign(name, CHECKER)
    await desk.sign(name, CHAIR)

    assert await desk.state(name) == "RELEASED"


async def test_the_disclosed_line_says_which_parties_asked_and_signed(desk: Desk) -> None:
    await desk.released()

    (line,) = await desk.rows(
        sa.select(t.disclosed_lines).where(t.disclosed_lines.c.payment_id != "")
    )

    assert [(each["party_name"], each["role"]) for each in line.signatures] == [
        ("anju机构", "PROPERTY_FIRM"),
        ("wutong-committee机构", "OWNERS_COMMITTEE"),
        ("trust机构", "TRUSTEE_CHECKER"),
    ]
    assert line.amount_minor == -1_000


# --- envelopes --------------------------------------------------------------------------------


def _two_signatures(payload: bytes) -> bytes:
    made = [sign(payload, who.signing_key).signatures[0] for who in (CHAIR, CHECKER)]
    return to_json(Envelope(sign(payload, CHAIR.signing_key).payload_type, payload, tuple(made)))


def _other_type(payload: bytes) -> bytes:
    kind = "application/vnd.in-toto+json"
    key = CHAIR.signing_key
    made = Signature(key_id(key.public_key()), key.sign(pae(kind, payload)))
    return to_json(Envelope(kind, payload, (made,)))


def _forged(payload: bytes) -> bytes:
    """The chair's key id over a signature that the chair did not make."""
    made = Signature(key_id(CHAIR.signing_key.public_key()), stranger_key().sign(payload))
    return to_json(Envelope(sign(payload, CHAIR.signing_key).payload_type, payload, (made,)))


def _bare(payload: bytes) -> bytes:
    """Signed without the protocol's encoding of type and bytes."""
    made = Signature(key_id(CHAIR.signing_key.public_key()), CHAIR.signing_key.sign(payload))
    return to_json(Envelope(sign(payload, CHAIR.signing_key).payload_type, payload, (made,)))


def _reordered(payload: bytes) -> bytes:
    """The same JSON, not the same bytes."""
    fields = json.loads(payload)
    return envelope(json.dumps(dict(reversed(fields.items()))).encode(), CHAIR)


BROKEN: tuple[tuple[Callable[[bytes], bytes], str], ...] = (
    (lambda p: envelope(p.replace(b'"1000"', b'"1"'), CHAIR), "PAYLOAD_MISMATCH"),
    (_reordered, "PAYLOAD_MISMATCH"),
    (_other_type, "PAYLOAD_MISMATCH"),
    (lambda _: envelope(b"", CHAIR), "PAYLOAD_MISMATCH"),
    (_two_signatures, "SIGNATURE_INVALID"),
    (_forged, "SIGNATURE_INVALID"),
    (_bare, "SIGNATURE_INVALID"),
    (lambda p: to_json(sign(p, stranger_key())), "KEY_UNKNOWN"),
    (lambda p: envelope(p, CHECKER), "SIGNER_NOT_CALLER"),
    (lambda _: b"{}", "FIELD_INVALID"),
    (lambda _: b"not json", "FIELD_INVALID"),
    (lambda p: b"[" * 30_000 + p, "FIELD_INVALID"),
    (lambda p: envelope(p, CHAIR).replace(b"}", b', "x": 1}', 1), "FIELD_INVALID"),
    (lambda p: b64encode(envelope(p, CHAIR)), "FIELD_INVALID"),
)
"""Envelopes made from the payload, and how each is refused."""


async def test_an_envelope_that_is_not_the_callers_over_these_bytes_is_refused(
    desk: Desk,
) -> None:
    payment = await desk.submit()
    for number, (make, reason) in enumerate(BROKEN):
        refused = await refusal(desk.sign(payment.name, CHAIR, make(payment.signing_payload)))

        assert refused.reason == reason, number
    assert await _signatures(desk) == 0
    assert await desk.state(payment.name) == "HELD"


async def test_a_signature_on_one_payment_is_worth_nothing_on_its_twin(desk: Desk) -> None:
    one, twin = await desk.submit(), await desk.submit()

    refused = await refusal(desk.sign(twin.name, CHAIR, envelope(one.signing_payload, CHAIR)))

    assert refused.reason == "PAYLOAD_MISMATCH"


# --- persons, parties, mandates ---------------------------------------------------------------


async def test_nobody_signs_twice(desk: Desk) -> None:
    name = (await desk.submit()).name
    await desk.sign(name, CHAIR)

    refused = await refusal(desk.sign(name, CHAIR))

    assert refused.reason == "SAME_PERSON"
    assert await desk.state(name) == "PARTLY_SIGNED"


async def test_one_human_under_two_names_is_one_person(desk: Desk) -> None:
    await desk.enrol(SECOND_CHECKER, human=CHAIR.name)
    name = (await desk.submit()).name
    await desk.sign(name, CHAIR)

    refused = await refusal(desk.sign(name, SECOND_CHECKER))

    assert refused.reason == "SAME_PERSON"
    assert await _signatures(desk) == 1


async def test_two_persons_of_one_party_are_one_party(desk: Desk) -> None:
    await desk.enrol(SECOND_CHAIR)
    name = (await desk.submit()).name
    await desk.sign(name, CHAIR)

    refused = await refusal(desk.sign(name, SECOND_CHAIR))

    assert refused.reason == "SAME_PARTY"


async def test_a_role_that_the_policy_does_not_ask_for_is_refused(desk: Desk) -> None:
    name = (await desk.submit()).name

    refused = await refusal(desk.sign(name, FIRM))

    assert refused.reason == "ROLE_NOT_REQUIRED"


async def test_a_role_that_never_signs_is_kept_out_at_the_door(desk: Desk) -> None:
    name = (await desk.submit()).name

    refused = await refusal(desk.sign(name, MAKER, b"{}"))

    assert refused.reason == "ROLE_NOT_ALLOWED"


async def test_another_estates_committee_does_not_even_see_it(desk: Desk) -> None:
    payment = await desk.submit()

    refused = await refusal(
        desk.sign(payment.name, OTHER_CHAIR, envelope(payment.signing_payload, OTHER_CHAIR))
    )

    assert refused.reason == "RESOURCE_NOT_FOUND"


async def test_a_mandate_reaches_as_far_as_its_limit(desk: Desk) -> None:
    name = (await desk.submit(ask(5_000))).name
    await desk.revoke(t.mandates, CHAIR)
    await _mandate(desk, CHAIR, limit_minor=4_999)

    refused = await refusal(desk.sign(name, CHAIR))
    await _mandate(desk, CHAIR, limit_minor=5_000)
    await desk.sign(name, CHAIR)

    assert refused.reason == "MANDATE_LIMIT_EXCEEDED"
    assert await desk.state(name) == "PARTLY_SIGNED"


async def _mandate(desk: Desk, who: Who, **options: object) -> None:
    fields: dict[str, object] = {"limit_minor": LIMIT_MINOR, "fund_id": "", "role": who.role}
    fields |= options
    limit_minor, fund_id, role = (fields[name] for name in ("limit_minor", "fund_id", "role"))
    assert isinstance(limit_minor, int)
    mandate = Mandate(
        f"m{limit_minor}",
        who.person_id,
        Role(str(role)),
        str(fund_id),
        limit_minor,
        "CNY",
        NOW - YEAR,
        NOW + YEAR,
    )
    async with desk.store.transaction(GATEWAY) as conn:
        await parties.create_mandate(conn, who.party_id, mandate, now=NOW)


@pytest.mark.parametrize(
    ("table", "reason"), [(t.public_keys, "KEY_REVOKED"), (t.mandates, "MANDATE_MISSING")]
)
async def test_what_is_revoked_signs_nothing(desk: Desk, table: sa.Table, reason: str) -> None:
    name = (await desk.submit()).name
    await desk.revoke(table, CHAIR)

    refused = await refusal(desk.sign(name, CHAIR))

    assert refused.reason == reason
    assert await _signatures(desk) == 0


@pytest.mark.parametrize(
    ("table", "reason"), [(t.public_keys, "KEY_REVOKED"), (t.mandates, "MANDATE_MISSING")]
)
async def test_nobody_signs_on_top_of_a_signature_that_was_revoked_meanwhile(
    desk: Desk, table: sa.Table, reason: str
) -> None:
    name = (await desk.submit()).name
    await desk.sign(name, CHAIR)
    await desk.revoke(table, CHAIR)

    refused = await refusal(desk.sign(name, CHECKER))

    assert refused.reason == reason
    assert await desk.state(name) == "PARTLY_SIGNED"
    assert await desk.budget() == (1_000, 0)


async def test_a_signer_whose_party_was_dismissed_between_the_two_counts_no_more(
    desk: Desk,
) -> None:
    name = (await desk.submit()).name
    await desk.sign(name, CHAIR)
    async with desk.store.transaction(GATEWAY) as conn:
        await funds.end_appointment(conn, "wutong", CHAIR.party_id, now=NOW)

    refused = await refusal(desk.sign(name, CHECKER))

    assert refused.reason == "MANDATE_MISSING"


async def test_a_signature_swapped_in_the_database_releases_nothing(desk: Desk) -> None:
    """Whoever can write to the table still cannot sign."""
    name = (await desk.submit()).name
    payload = (await desk.sign(name, CHAIR)).signing_payload
    other = await desk.submit()
    await desk.sign(other.name, CHAIR)
    await _as_owner(
        desk,
        "UPDATE payment_signatures SET envelope = :envelope",
        envelope=envelope(payload.replace(b'"1000"', b'"9000"'), CHAIR),
    )

    refused = await refusal(desk.sign(name, CHECKER))

    assert refused.reason == "PAYLOAD_MISMATCH"


async def _as_owner(desk: Desk, statement: str, **values: object) -> None:
    """Past the application's rights, as somebody who has the database."""
    owner = create_async_engine(desk.store.engine.url.set(username="postgres"))
    async with owner.begin() as conn:
        await conn.execute(sa.text(statement), values)
    await owner.dispose()


# --- time, state, policy ----------------------------------------------------------------------


async def test_a_payment_takes_signatures_up_to_its_last_second(desk: Desk) -> None:
    early, late = (await desk.submit()).name, (await desk.submit()).name
    desk.clock.moment = NOW + timedelta(days=7)
    await desk.sign(early, CHAIR)
    desk.clock.moment += timedelta(seconds=1)

    refused = await refusal(desk.sign(early, CHECKER))
    refused_first = await refusal(desk.sign(late, CHAIR))

    assert (refused.reason, refused_first.reason) == ("PAYMENT_EXPIRED", "PAYMENT_EXPIRED")
    assert await desk.states([early, late]) == ["PARTLY_SIGNED", "HELD"]


async def test_what_has_ended_or_gone_takes_no_signature(desk: Desk) -> None:
    refused_name = (await desk.submit()).name
    await desk.refuse(refused_name)
    released = await desk.released()

    for name in (refused_name, released):
        refused = await refusal(desk.sign(name, CHAIR))
        assert refused.reason == "STATE_FORBIDS"


async def test_a_change_of_policy_is_for_later_payments_only(desk: Desk) -> None:
    before = (await desk.submit()).name
    new = (frozenset({Role.PROPERTY_FIRM}), SLOTS[1])
    async with desk.store.transaction(GATEWAY) as conn:
        await funds.set_policy(conn, "wutong", (Tier(None, new),), read_version=1, now=NOW)
    after = (await desk.submit()).name

    await desk.sign_by_both(before)
    refused = await refusal(desk.sign(after, CHAIR))
    await desk.sign(after, FIRM)
    await desk.sign(after, CHECKER)

    assert refused.reason == "ROLE_NOT_REQUIRED"
    assert await desk.states([before, after]) == ["RELEASED", "RELEASED"]


async def test_a_tier_asks_for_its_own_roles(desk: Desk) -> None:
    small = (frozenset({Role.PROPERTY_FIRM}), SLOTS[1])
    async with desk.store.transaction(GATEWAY) as conn:
        tiers = (Tier(1_000, small), Tier(None, SLOTS))
        await funds.set_policy(conn, "wutong", tiers, read_version=1, now=NOW)
    at_limit, above = (await desk.submit(ask(1_000))).name, (await desk.submit(ask(1_001))).name

    await desk.sign(at_limit, FIRM)
    refused = await refusal(desk.sign(above, FIRM))

    assert refused.reason == "ROLE_NOT_REQUIRED"
    assert await desk.states([at_limit, above]) == ["PARTLY_SIGNED", "HELD"]


async def test_a_signature_is_recorded_in_a_role_that_its_mandate_gives(desk: Desk) -> None:
    """A lapsed mandate in another role of the policy does not name the signature."""
    await desk.revoke(t.mandates, CHECKER)
    await _mandate(desk, CHECKER)
    await _as_owner(
        desk,
        "UPDATE mandates SET role = 'OWNERS_COMMITTEE'"
        " WHERE person_id = 'checker' AND revoked_at IS NOT NULL",
    )

    name = (await desk.submit()).name
    await desk.sign(name, CHECKER)

    (row,) = await desk.rows(sa.select(t.payment_signatures.c.role))
    assert row.role == "TRUSTEE_CHECKER"


# --- batches ----------------------------------------------------------------------------------


async def test_a_batch_goes_only_when_all_of_it_is_signed_and_as_one_file(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    await desk.sign_by_both(names[0])
    assert await desk.states(names) == ["SIGNED", "HELD"]
    assert await desk.budget() == (300, 0)

    await desk.sign_by_both(names[1])

    assert await desk.states(names) == ["RELEASED", "RELEASED"]
    assert len({(await desk.get(name)).transmission for name in names}) == 1
    assert (await desk.transmission(names[0])).amount_minor == 300


@pytest.mark.parametrize("way", ["refuse", "withdraw"])
async def test_the_rest_of_a_batch_goes_when_its_last_unsigned_payment_ends(
    desk: Desk, way: str
) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    await desk.sign_by_both(names[0])

    await (desk.refuse(names[1]) if way == "refuse" else desk.withdraw(names[1]))

    assert await desk.state(names[0]) == "RELEASED"
    assert (await desk.transmission(names[0])).payment_count == 1
    assert await desk.budget() == (0, 100)


async def test_a_signed_payment_of_a_batch_can_still_be_refused(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    await desk.sign_by_both(names[0])

    await desk.refuse(names[0])
    await desk.sign_by_both(names[1])

    assert await desk.states(names) == ["REFUSED", "RELEASED"]


async def test_the_whole_batch_waits_where_one_signature_no_longer_stands(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    await desk.enrol(SECOND_CHAIR)
    await desk.sign_by_both(names[0])
    await desk.sign(names[1], SECOND_CHAIR)
    await desk.revoke(t.public_keys, CHAIR)

    refused = await refusal(desk.sign(names[1], CHECKER))

    assert (refused.reason, refused.violations[0].field) == ("KEY_REVOKED", names[0])
    assert await desk.states(names) == ["SIGNED", "PARTLY_SIGNED"]


async def test_a_refusal_does_not_depend_on_the_rest_of_the_batch(desk: Desk) -> None:
    """The signed payment can no longer go; the other is refused all the same."""
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    await desk.sign_by_both(names[0])
    await desk.revoke(t.public_keys, CHAIR)

    await desk.refuse(names[1], CHECKER)

    assert await desk.states(names) == ["SIGNED", "REFUSED"]
    assert await desk.budget() == (100, 0)


async def test_a_batch_expires_whole_in_one_round(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200), ask(300)]))).payments
    await desk.sign_by_both(names[1])
    desk.clock.moment = NOW + timedelta(days=8)

    await desk.gateway.work()

    assert await desk.states(names) == ["EXPIRED"] * 3
    assert await desk.budget() == (0, 0)
    assert FUND in names[0]
