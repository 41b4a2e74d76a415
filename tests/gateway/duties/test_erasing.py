"""Erasing what a line says of a person, by two parties, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import duty_service_pb2 as pb

from tests.gateway.cases.desk import Desk
from tests.gateway.support import (
    CHECKER,
    FIRM,
    OPERATOR,
    OWNER,
    Callers,
    Who,
    confirm,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.gateway.support import StillClock


@pytest.fixture
async def line(gateway: Gateway, callers: Callers, clock: StillClock) -> str:
    desk = Desk(gateway, callers, clock)
    name = await desk.line(-1234, summary="代缴", counterparty_name="欧阳小明")
    await gateway.publisher.log_all()
    return name


async def propose(callers: Callers, line: str, who: Who = OPERATOR) -> pb.EraseLineResponse:
    request = pb.EraseLineRequest(line=line, reason="当事人申请删除", request_id=request_id())
    answer: pb.EraseLineResponse = await (await callers.as_(who)).duties.EraseLine(request)
    return answer


async def read(callers: Callers, line: str) -> disclosure.DisclosedLine:
    request = disclosure.GetDisclosedLineRequest(name=line)
    answer = await (await callers.as_(OWNER)).disclosure.GetDisclosedLine(request)
    found: disclosure.DisclosedLine = answer.line
    return found


async def test_once_another_party_confirms_it_the_texts_are_gone_and_the_sums_stay(
    gateway: Gateway, callers: Callers, line: str
) -> None:
    before = await read(callers, line)
    proposed = await propose(callers, line)
    assert proposed.waits
    assert await read(callers, line) == before
    await confirm(callers, CHECKER, proposed.change)
    after = await read(callers, line)
    assert (after.erased, after.summary, after.counterparty) == (True, "", "")
    assert (after.amount, after.running_balance, after.effective_date) == (
        *(before.amount, before.running_balance, before.effective_date),
    )
    await gateway.publisher.scrub()
    asked = disclosure.GetLineProofRequest(name=line)
    proof = (await callers.as_(OWNER)).disclosure.GetLineProof(asked)
    assert (await refusal(proof)).reason == "DATA_ERASED"


async def test_what_is_erased_is_not_erased_again(callers: Callers, line: str) -> None:
    await confirm(callers, CHECKER, (await propose(callers, line)).change)
    assert (await refusal(propose(callers, line))).reason == "RESOURCE_EXISTS"


async def test_only_the_operator_proposes_it_and_only_of_a_line_that_there_is(
    callers: Callers, line: str
) -> None:
    assert (await refusal(propose(callers, line, FIRM))).reason == "ROLE_NOT_ALLOWED"
    missing = f"{line}99"
    assert (await refusal(propose(callers, missing))).reason == "RESOURCE_NOT_FOUND"
