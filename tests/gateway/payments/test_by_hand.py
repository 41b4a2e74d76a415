"""Files in the hands of people: one hands over, another one confirms, and the gateway keeps off."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import bank_service_pb2 as pb

from adapters.connection import RefusedError
from adapters.transports import directory
from gateway.domain.party import Role
from tests.gateway.payments.desk import ACCOUNT
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    MAKER,
    OPENING_MINOR,
    OPERATOR,
    Who,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from tests.gateway.payments.desk import Bank, Desk

SECOND = Who("gateway", "night-operator", Role.OPERATOR)


async def _banks(desk: Desk, who: Who = OPERATOR) -> Any:
    return (await desk.callers.as_(who)).banks


async def _propose(desk: Desk, name: str, who: Who = OPERATOR) -> pb.Transmission:
    request = pb.DeliverByHandRequest(name=name, reason="网银上传", request_id=request_id())
    return (await (await _banks(desk, who)).DeliverByHand(request)).transmission  # type: ignore[no-any-return]


async def _confirm(desk: Desk, name: str, who: Who = SECOND) -> pb.Transmission:
    request = pb.ConfirmDeliveryRequest(name=name, request_id=request_id())
    return (await (await _banks(desk, who)).ConfirmDelivery(request)).transmission  # type: ignore[no-any-return]


async def _retry(desk: Desk, name: str, who: Who = OPERATOR) -> pb.Transmission:
    request = pb.RetryTransmissionRequest(name=name, request_id=request_id())
    return (await (await _banks(desk, who)).RetryTransmission(request)).transmission  # type: ignore[no-any-return]


async def _download(desk: Desk, name: str) -> tuple[pb.TransmissionFile, bytes]:
    request = pb.GetTransmissionFileRequest(name=name)
    parts = [part async for part in (await _banks(desk)).GetTransmissionFile(request)]
    return parts[0].header, b"".join(part.content for part in parts[1:])


async def _carrier(desk: Desk, payment: str) -> str:
    return (await desk.get(payment)).transmission


async def test_what_one_person_hands_over_and_another_confirms_is_sent(
    desk: Desk, bank: Bank
) -> None:
    await desk.enrol(SECOND)
    payment = await desk.released()
    name = await _carrier(desk, payment)
    header, content = await _download(desk, name)

    claimed = await _propose(desk, name)
    assert claimed.state == pb.TRANSMISSION_STATE_BY_HAND
    assert (claimed.delivered_by, claimed.delivery_reason) == (OPERATOR.name, "网银上传")
    await desk.gateway.work()
    assert not (bank.folder / "out").exists()
    confirmed = await _confirm(desk, name)

    assert confirmed.state == pb.TRANSMISSION_STATE_DELIVERED
    assert confirmed.confirmed_by == SECOND.name
    assert confirmed.file_sha256 == header.sha256 == sha256(content).hexdigest()
    assert await desk.state(payment) == "SENT"
    (bank.simulated.inbox / header.file_name).write_bytes(content)
    bank.simulated.process(desk.clock())
    bank.bring()
    await desk.gateway.work()
    assert await desk.state(payment) == "SETTLED"
    assert bank.simulated.balance_minor(ACCOUNT) == OPENING_MINOR - 1_000


async def test_the_file_for_the_hand_is_the_one_that_the_sender_writes(
    desk: Desk, bank: Bank
) -> None:
    name = await _carrier(desk, await desk.released())

    header, content = await _download(desk, name)
    await desk.gateway.work()

    assert (bank.folder / "out" / header.file_name).read_bytes() == content


async def test_nobody_confirms_what_they_handed_over_themselves(desk: Desk) -> None:
    payment = await desk.released()
    name = await _carrier(desk, payment)
    await _propose(desk, name)

    assert (await refusal(_confirm(desk, name, OPERATOR))).reason == "SAME_PERSON"
    assert await desk.state(payment) == "RELEASED"


async def test_the_same_human_under_another_party_is_no_second_person(desk: Desk) -> None:
    twin = Who("othertrust", "twin", Role.TRUSTEE_CHECKER)
    await desk.enrol(twin, human=OPERATOR.name)
    name = await _carrier(desk, await desk.released())
    await _propose(desk, name)

    assert (await refusal(_confirm(desk, name, twin))).reason == "SAME_PERSON"


async def test_a_checker_of_the_trustee_may_be_the_second_person(desk: Desk) -> None:
    name = await _carrier(desk, await desk.released())
    await _propose(desk, name)

    assert (await _confirm(desk, name, CHECKER)).state == pb.TRANSMISSION_STATE_DELIVERED


async def test_what_nobody_handed_over_after_all_goes_back_and_is_sent(
    desk: Desk, bank: Bank
) -> None:
    payment = await desk.released()
    name = await _carrier(desk, payment)
    await _propose(desk, name)

    queued = await _retry(desk, name)
    await desk.gateway.work()

    assert (queued.state, queued.delivered_by) == (pb.TRANSMISSION_STATE_QUEUED, "")
    assert await desk.state(payment) == "SENT"
    assert len(list((bank.folder / "out").iterdir())) == 1


async def test_what_was_refused_at_the_door_waits_until_somebody_retries_it(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await desk.released()
    name = await _carrier(desk, payment)

    async def refuse(*_: object) -> None:
        raise RefusedError("no such user")

    with monkeypatch.context() as patched:
        patched.setattr(directory.DirectoryTransport, "deliver", refuse)
        await desk.gateway.work()
    row = await desk.transmission(payment)
    assert (row.state, row.last_error) == ("STUCK", "RefusedError")
    assert await desk.state(payment) == "RELEASED"

    await _retry(desk, name)
    await desk.gateway.work()

    assert await desk.state(payment) == "SENT"
    assert len(list((bank.folder / "out").iterdir())) == 1


async def test_what_the_gateway_handed_over_is_nobodys_to_hand_over_or_retry(desk: Desk) -> None:
    name = await _carrier(desk, await desk.released())
    await desk.gateway.work()

    for call in (_propose, _retry):
        assert (await refusal(call(desk, name))).reason == "STATE_FORBIDS"
    assert (await refusal(_confirm(desk, name, CHECKER))).reason == "STATE_FORBIDS"


async def test_each_payment_knows_the_file_and_the_hands_that_carried_it(desk: Desk) -> None:
    payment = await desk.released()
    name = await _carrier(desk, payment)
    await _propose(desk, name)
    await _confirm(desk, name, CHECKER)

    history = (await desk.get(payment)).history[-3:]

    header, _ = await _download(desk, name)
    assert [(each.actor, each.detail) for each in history] == [
        (OPERATOR.name, "handed over by hand: 网银上传"),
        (CHECKER.name, "hand-over confirmed"),
        ("gateway", f"{header.file_name} sha256:{header.sha256}"),
    ]


@pytest.mark.parametrize("who", [MAKER, CHAIR], ids=lambda who: who.name)
async def test_who_may_not_hand_over_is_told_so(desk: Desk, who: Who) -> None:
    name = await _carrier(desk, await desk.released())

    assert (await refusal(_propose(desk, name, who))).reason == "ROLE_NOT_ALLOWED"
    assert (await refusal(_confirm(desk, name, who))).reason == "ROLE_NOT_ALLOWED"


async def test_a_transmission_of_another_estate_does_not_exist(desk: Desk) -> None:
    stranger = Who("strangertrust", "checker", Role.TRUSTEE_CHECKER)
    await desk.enrol(stranger, appointed="jinjiang")
    name = await _carrier(desk, await desk.released())
    await _propose(desk, name)

    assert (await refusal(_confirm(desk, name, stranger))).reason == "RESOURCE_NOT_FOUND"
