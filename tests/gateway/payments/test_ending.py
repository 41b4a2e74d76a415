"""Ways a payment ends before release: refused, withdrawn, expired; the money is free at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import payment_service_pb2 as pb

from gateway.domain.party import Role
from gateway.payments import deadlines
from tests.gateway.payments.desk import ask, batch
from tests.gateway.support import CHAIR, CHECKER, FIRM, MAKER, NOW, Who, refusal, request_id

if TYPE_CHECKING:
    from tests.gateway.payments.desk import Desk

SECOND_FIRM = Who("lvyuan", "cashier", Role.PROPERTY_FIRM)


@pytest.mark.parametrize("signers", [(), (CHAIR,)], ids=["held", "partly signed"])
async def test_a_refused_payment_frees_its_money_for_good(
    desk: Desk, signers: tuple[Who, ...]
) -> None:
    name = (await desk.submit(ask(800_000))).name
    for who in signers:
        await desk.sign(name, who)

    refused = await desk.refuse(name, CHECKER)

    assert pb.PaymentState.Name(refused.state) == "PAYMENT_STATE_REFUSED"
    last = refused.history[-1]
    assert (last.actor, last.detail) == (CHECKER.name, "单价过高")
    assert await desk.budget() == (0, 0)
    assert (await desk.submit(ask(800_000))).name != name


async def test_a_firm_takes_its_own_payment_back(desk: Desk) -> None:
    name = (await desk.submit()).name
    await desk.sign(name, CHECKER)

    withdrawn = await desk.withdraw(name)

    assert pb.PaymentState.Name(withdrawn.state) == "PAYMENT_STATE_WITHDRAWN"
    assert await desk.budget() == (0, 0)


async def test_another_firm_of_the_same_estate_cannot_take_it_back(desk: Desk) -> None:
    await desk.enrol(SECOND_FIRM)
    name = (await desk.submit()).name

    refused = await refusal(desk.withdraw(name, SECOND_FIRM))

    assert refused.reason == "ROLE_NOT_ALLOWED"
    assert await desk.state(name) == "HELD"


async def test_nothing_is_taken_back_after_release_or_twice(desk: Desk) -> None:
    released = await desk.released()
    ended = (await desk.submit()).name
    await desk.refuse(ended)

    for name in (released, ended):
        before = await desk.state(name)
        for attempt in (desk.refuse(name), desk.withdraw(name)):
            refused = await refusal(attempt)
            assert refused.reason == "STATE_FORBIDS"
            assert refused.metadata["state"] == before
        assert await desk.state(name) == before


async def test_who_may_not_refuse_or_withdraw_is_told_so(desk: Desk) -> None:
    name = (await desk.submit()).name

    for attempt in (desk.refuse(name, FIRM), desk.refuse(name, MAKER), desk.withdraw(name, CHAIR)):
        assert (await refusal(attempt)).reason == "ROLE_NOT_ALLOWED"


async def test_a_refusal_sent_again_is_answered_again(desk: Desk) -> None:
    name = (await desk.submit()).name
    stub = await desk.stub(CHAIR)
    request = pb.RefusePaymentRequest(name=name, reason="单价过高", request_id=request_id())

    first, second = await stub.RefusePayment(request), await stub.RefusePayment(request)

    assert first == second
    assert await desk.budget() == (0, 0)


@pytest.mark.parametrize("reason", ["", "长" * 201, "a\x00b"])
async def test_a_reason_that_cannot_be_kept_is_refused(desk: Desk, reason: str) -> None:
    name = (await desk.submit()).name
    stub = await desk.stub(CHAIR)
    request = pb.RefusePaymentRequest(name=name, reason=reason, request_id=request_id())

    refused = await refusal(stub.RefusePayment(request))

    assert refused.reason == "FIELD_INVALID"
    assert await desk.state(name) == "HELD"


async def test_what_is_not_signed_in_time_expires_and_frees_its_money(desk: Desk) -> None:
    held, partly = (await desk.submit()).name, (await desk.submit()).name
    await desk.sign(partly, CHAIR)
    released = await desk.released()
    desk.clock.moment = NOW + timedelta(days=7)
    await deadlines.expire(desk.store, desk.gateway.sender.banks, desk.clock())
    assert await desk.states([held, partly]) == ["HELD", "PARTLY_SIGNED"]

    desk.clock.moment += timedelta(seconds=1)
    ended = await deadlines.expire(desk.store, desk.gateway.sender.banks, desk.clock())

    assert (ended, await desk.states([held, partly])) == (2, ["EXPIRED", "EXPIRED"])
    assert await desk.budget() == (0, 1_000)
    assert await desk.state(released) == "RELEASED"
    assert await deadlines.expire(desk.store, desk.gateway.sender.banks, desk.clock()) == 0


async def test_the_rest_of_an_expired_batch_is_never_released(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    await desk.sign_by_both(names[0])
    desk.clock.moment = NOW + timedelta(days=7, seconds=1)

    await deadlines.expire(desk.store, desk.gateway.sender.banks, desk.clock())

    assert await desk.states(names) == ["EXPIRED", "EXPIRED"]
    assert await desk.budget() == (0, 0)


async def test_more_than_a_round_takes_expire_over_several(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.submit_all(batch([ask(1)] * 5))
    desk.clock.moment = NOW + timedelta(days=8)
    monkeypatch.setattr(deadlines, "_AT_ONCE", 2)

    ended: list[Any] = [
        await deadlines.expire(desk.store, desk.gateway.sender.banks, desk.clock())
        for _ in range(4)
    ]

    assert ended == [2, 2, 1, 0]
