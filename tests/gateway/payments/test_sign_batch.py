"""A batch signed by one envelope: as good as signing each payment, and no way around any rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.domain.batch import batch_bytes
from gateway.domain.canonical import canonical_json
from gateway.domain.envelope import BATCH_TYPE, PAYLOAD_TYPE, sign, to_json
from gateway.domain.party import Role
from gateway.domain.policy import Tier
from gateway.registry import funds
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.payments.desk import FUND, ask, batch
from tests.gateway.support import (
    BANK_CODE,
    CHAIR,
    CHECKER,
    LIMIT_MINOR,
    NOW,
    SLOTS,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.payments.desk import Desk


def _to(number: int, amount_minor: int) -> pb.Payment:
    """A payment to the account of this number."""
    account = f"62220200000000{number:02}"
    payee = pb.Payee(display_name="某某", account_number=account, bank_code=BANK_CODE)
    return ask(amount_minor, payee=payee, budget_line=f"{FUND}/budgetLines/wages")


async def _wages(desk: Desk, *payments: pb.Payment) -> tuple[str, Sequence[str]]:
    """A batch of these payments, or of three wages."""
    asked = payments or tuple(_to(number, 100_000) for number in range(3))
    held = await desk.submit_all(batch(list(asked)))
    return held.batch_id, held.payments


async def _signatures(desk: Desk) -> int:
    return len(await desk.rows(sa.select(t.payment_signatures.c.position)))


async def test_two_envelopes_release_a_whole_batch(desk: Desk) -> None:
    batch_id, names = await _wages(desk)

    first = await desk.sign_batch(batch_id, names, CHAIR)
    assert (first.signed_count, first.transmission) == (3, "")
    assert await desk.states(names) == ["PARTLY_SIGNED"] * 3
    second = await desk.sign_batch(batch_id, names, CHECKER)

    assert await desk.states(names) == ["RELEASED"] * 3
    assert {(await desk.get(name)).transmission for name in names} == {second.transmission}
    stored = await desk.rows(sa.select(t.batch_envelopes.c.envelope))
    assert len(stored) == 2
    signers = [each.person for each in (await desk.get(names[0])).signatures]
    assert signers == [CHAIR.name, CHECKER.name]


async def test_signatures_on_the_batch_and_on_single_payments_go_together(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    await desk.sign_batch(batch_id, names, CHAIR)

    for name in names:
        await desk.sign(name, CHECKER)

    assert await desk.states(names) == ["RELEASED"] * 3


async def test_a_part_of_a_batch_is_signed_alone(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    await desk.sign_batch(batch_id, names[:2], CHAIR)

    assert await desk.states(names) == ["PARTLY_SIGNED", "PARTLY_SIGNED", "HELD"]


async def test_one_payment_that_may_not_be_signed_leaves_all_unsigned(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    await desk.sign(names[1], CHAIR)

    refused = await refusal(desk.sign_batch(batch_id, names, CHAIR))

    assert refused.reason == "SAME_PERSON"
    assert await desk.states(names) == ["HELD", "PARTLY_SIGNED", "HELD"]


async def test_a_digest_of_other_bytes_is_refused(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    name = f"{FUND}/batches/{batch_id}"
    document = json.loads(batch_bytes(name, [(await desk.get(n)).signing_payload for n in names]))
    document["payments"][1]["sha256"] = "0" * 64
    sent = to_json(sign(canonical_json(document), CHAIR.signing_key, BATCH_TYPE))

    refused = await refusal(desk.sign_batch(batch_id, names, CHAIR, sent))

    assert refused.reason == "PAYLOAD_MISMATCH"
    assert await _signatures(desk) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("total_minor", "1"), ("batch", f"{FUND}/batches/other"), ("count", "2")],
)
async def test_a_list_that_does_not_add_up_is_refused(desk: Desk, field: str, value: str) -> None:
    batch_id, names = await _wages(desk)
    name = f"{FUND}/batches/{batch_id}"
    document = json.loads(batch_bytes(name, [(await desk.get(n)).signing_payload for n in names]))
    sent = to_json(sign(canonical_json(document | {field: value}), CHAIR.signing_key, BATCH_TYPE))

    refused = await refusal(desk.sign_batch(batch_id, names, CHAIR, sent))

    assert refused.reason in {"PAYLOAD_MISMATCH", "FIELD_INVALID"}
    assert await _signatures(desk) == 0


async def test_payments_of_another_batch_are_not_signed_with_this_one(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    _, others = await _wages(desk)

    refused = await refusal(desk.sign_batch(batch_id, [names[0], others[0]], CHAIR))

    assert refused.reason in {"PAYLOAD_MISMATCH", "RESOURCE_NOT_FOUND"}
    assert await _signatures(desk) == 0


async def test_what_is_signed_as_a_payment_is_no_batch_and_the_other_way_round(
    desk: Desk,
) -> None:
    batch_id, names = await _wages(desk)
    payload = (await desk.get(names[0])).signing_payload
    listed = batch_bytes(f"{FUND}/batches/{batch_id}", [payload])
    as_payment = to_json(sign(listed, CHAIR.signing_key, PAYLOAD_TYPE))
    as_batch = to_json(sign(payload, CHAIR.signing_key, BATCH_TYPE))

    assert (await refusal(desk.sign_batch(batch_id, names, CHAIR, as_payment))).reason
    assert (await refusal(desk.sign(names[0], CHAIR, as_batch))).reason == "PAYLOAD_MISMATCH"
    assert await _signatures(desk) == 0


async def test_a_key_revoked_between_the_envelopes_releases_nothing(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    await desk.sign_batch(batch_id, names, CHAIR)
    await desk.revoke(t.public_keys, CHAIR)

    refused = await refusal(desk.sign_batch(batch_id, names, CHECKER))

    assert refused.reason == "KEY_REVOKED"
    assert await desk.states(names) == ["PARTLY_SIGNED"] * 3


async def test_a_payment_split_within_a_batch_is_held_to_the_limit_of_its_sum(desk: Desk) -> None:
    await desk.execute(t.budget_lines.update().values(limit_minor=4 * LIMIT_MINOR))
    half = LIMIT_MINOR // 2 + 1
    batch_id, names = await _wages(desk, _to(1, half), _to(1, half), _to(2, 100))

    refused = await refusal(desk.sign_batch(batch_id, names, CHAIR))
    alone = await desk.sign_batch(batch_id, [names[2]], CHAIR)

    assert refused.reason == "MANDATE_LIMIT_EXCEEDED"
    assert alone.signed_count == 1


async def test_a_payment_split_within_a_batch_is_held_to_the_tier_of_its_sum(desk: Desk) -> None:
    high = (frozenset({Role.PROPERTY_FIRM}), frozenset({Role.TRUSTEE_CHECKER}))
    async with desk.store.transaction(GATEWAY) as conn:
        tiers = (Tier(150_000, SLOTS), Tier(None, high))
        await funds.set_policy(conn, "wutong", tiers, read_version=1, now=NOW)
    batch_id, names = await _wages(desk, _to(1, 100_000), _to(1, 100_000), _to(2, 100_000))

    refused = await refusal(desk.sign_batch(batch_id, names, CHAIR))

    assert refused.reason == "ROLE_NOT_REQUIRED"
    assert await _signatures(desk) == 0


async def test_the_same_envelope_again_is_answered_as_the_first_time(desk: Desk) -> None:
    batch_id, names = await _wages(desk)
    name = f"{FUND}/batches/{batch_id}"
    payloads = [(await desk.get(each)).signing_payload for each in names]
    sent = to_json(sign(batch_bytes(name, payloads), CHAIR.signing_key, BATCH_TYPE))
    request = pb.SignBatchRequest(name=name, envelope=sent, request_id=request_id())
    stub = await desk.stub(CHAIR)

    assert await stub.SignBatch(request) == await stub.SignBatch(request)
    assert await _signatures(desk) == 3


async def test_blocks_and_single_messages_are_the_same_batch(desk: Desk) -> None:
    payments, request = [ask(100, purpose=f"第{n}笔") for n in range(5)], request_id()
    single = batch(payments, request=request)
    blocks = [
        single[0],
        pb.SubmitPaymentsRequest(block=pb.PaymentBlock(payments=payments[:3])),
        pb.SubmitPaymentsRequest(payment=payments[3]),
        pb.SubmitPaymentsRequest(block=pb.PaymentBlock(payments=payments[4:])),
    ]

    assert await desk.submit_all(single) == await desk.submit_all(blocks)
