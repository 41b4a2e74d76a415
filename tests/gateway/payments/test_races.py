"""Calls at the same moment: exactly one of them wins, and the money shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.client import decode_error
from gateway.domain.party import Role
from gateway.store import tables as t
from tests.gateway.payments.desk import CONTENT, FUND, ask, batch, envelope, voucher_header
from tests.gateway.support import CHAIR, CHECKER, FIRM, Who, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.gateway.payments.desk import Desk

DEPUTY = Who("trust", "deputy", Role.TRUSTEE_CHECKER)


async def _outcomes(*calls: Awaitable[Any]) -> list[str]:
    """The refusals' reasons, empty for what was answered."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    reasons = []
    for answer in answers:
        if isinstance(answer, grpc.aio.AioRpcError):
            reasons.append(decode_error(answer).reason)
        else:
            assert not isinstance(answer, BaseException), answer
            reasons.append("")
    return sorted(reasons)


async def test_the_last_of_a_budget_is_held_by_one(desk: Desk) -> None:
    found = await _outcomes(*[desk.submit(ask(500_000)) for _ in range(6)])

    assert found == [""] + ["BUDGET_EXCEEDED"] * 5
    assert await desk.budget() == (500_000, 0)


async def test_a_batch_and_a_payment_race_for_the_same_money(desk: Desk) -> None:
    found = await _outcomes(
        desk.submit_all(batch([ask(300_000), ask(300_000)])), desk.submit(ask(500_000))
    )

    assert found == ["", "BUDGET_EXCEEDED"]


async def test_one_of_two_simultaneous_second_signatures_releases(desk: Desk) -> None:
    await desk.enrol(DEPUTY)
    payment = await desk.submit()
    await desk.sign(payment.name, CHAIR)
    signed = [envelope(payment.signing_payload, who) for who in (CHECKER, DEPUTY)]

    found = await _outcomes(
        desk.sign(payment.name, CHECKER, signed[0]), desk.sign(payment.name, DEPUTY, signed[1])
    )

    assert found == ["", "STATE_FORBIDS"]
    assert len(await desk.rows(sa.select(t.transmissions.c.transmission_id))) == 1
    assert len(await desk.rows(sa.select(t.payment_signatures.c.position))) == 2


async def test_both_signatures_at_once_release_once(desk: Desk) -> None:
    payment = await desk.submit()
    signed = [envelope(payment.signing_payload, who) for who in (CHAIR, CHECKER)]

    found = await _outcomes(
        desk.sign(payment.name, CHAIR, signed[0]), desk.sign(payment.name, CHECKER, signed[1])
    )

    assert found == ["", ""]
    assert await desk.state(payment.name) == "RELEASED"
    assert await desk.budget() == (0, 1_000)


async def test_a_refusal_and_the_second_signature_cannot_both_win(desk: Desk) -> None:
    for _ in range(3):
        payment = await desk.submit()
        await desk.sign(payment.name, CHAIR)
        signed = envelope(payment.signing_payload, CHECKER)

        found = await _outcomes(
            desk.sign(payment.name, CHECKER, signed), desk.refuse(payment.name, CHAIR)
        )

        assert found == ["", "STATE_FORBIDS"]
        assert await desk.state(payment.name) in {"RELEASED", "REFUSED"}


async def test_the_last_two_signatures_of_a_batch_release_it_once(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    payloads = [(await desk.get(name)).signing_payload for name in names]
    for name in names:
        await desk.sign(name, CHAIR)

    found = await _outcomes(
        *[
            desk.sign(name, CHECKER, envelope(payload, CHECKER))
            for name, payload in zip(names, payloads, strict=True)
        ]
    )

    assert found == ["", ""]
    assert await desk.states(names) == ["RELEASED", "RELEASED"]
    assert len(await desk.rows(sa.select(t.transmissions.c.transmission_id))) == 1


async def test_one_request_id_has_one_effect_however_often_it_comes_at_once(desk: Desk) -> None:
    answers = await asyncio.gather(*[desk.submit(ask(), request="same") for _ in range(6)])

    assert len({answer.name for answer in answers}) == 1
    assert await desk.budget() == (1_000, 0)


async def test_one_request_id_for_different_payments_at_once_has_one_effect(desk: Desk) -> None:
    found = await _outcomes(*[desk.submit(ask(each), request="same") for each in (1, 2, 3)])

    assert found == ["", "REQUEST_ID_REUSED", "REQUEST_ID_REUSED"]


async def test_the_same_signature_at_once_is_one_signature(desk: Desk) -> None:
    payment = await desk.submit()
    stub = await desk.stub(CHAIR)
    request = pb.SignPaymentRequest(
        name=payment.name,
        envelope=envelope(payment.signing_payload, CHAIR),
        request_id=request_id(),
    )

    answers = await asyncio.gather(*[stub.SignPayment(request) for _ in range(4)])

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len(await desk.rows(sa.select(t.payment_signatures.c.position))) == 1


async def test_a_voucher_uploaded_at_once_under_two_ids_is_one_voucher(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    await _outcomes(
        *[
            stub.UploadVoucher([voucher_header(), pb.UploadVoucherRequest(content=CONTENT)])
            for _ in range(4)
        ]
    )

    rows = await desk.rows(sa.select(t.vouchers.c.fund_id))
    assert [f"funds/{row.fund_id}" for row in rows] == [FUND]
