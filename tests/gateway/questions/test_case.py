"""A question that opens a case, and what becomes of the case in the night."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinyi.v1 import reconciliation_service_pb2 as case_pb

from tests.gateway.questions.people import answer, ask, open_case, shown
from tests.gateway.support import MAKER, OWNER, SUPERVISOR, Callers, refusal

if TYPE_CHECKING:
    from tests.gateway.cases.desk import Desk


async def _matched(desk: Desk) -> str:
    """A line that the bank confirms; its name."""
    line = await desk.line(100, reference="R1")
    await desk.entry(100, reference="R1")
    await desk.night()
    return line


async def test_a_question_about_a_matched_line_opens_a_case_and_both_show_each_other(
    desk: Desk, callers: Callers
) -> None:
    question = await open_case(callers, await ask(callers, await _matched(desk)))
    found = (await desk.case(question.case)).case
    assert found.kind == case_pb.CASE_KIND_QUESTIONED
    assert found.questions == [question.name]
    assert [member.name for member in found.members] == [question.line]
    assert (await shown(callers, question.name, OWNER)).case == question.case
    (event,) = (await desk.case(question.case)).events
    assert (event.kind, event.actor, event.detail) == (
        "QUESTIONED",
        SUPERVISOR.name,
        question.name,
    )


async def test_the_case_outlives_the_nights_until_the_question_is_answered(
    desk: Desk, callers: Callers
) -> None:
    question = await open_case(callers, await ask(callers, await _matched(desk)))
    await desk.night()
    assert (await desk.only_case()).name == question.case
    await answer(callers, question)
    await desk.night()
    assert await desk.listed() == []
    assert (await desk.case(question.case)).case.state == case_pb.CASE_STATE_CLOSED


async def test_a_question_about_an_open_line_joins_the_case_that_it_is_in(
    desk: Desk, callers: Callers
) -> None:
    line = await desk.line(900)
    await desk.night()
    found = await desk.case_with(line)
    question = await open_case(callers, await ask(callers, line), MAKER)
    assert question.case == found.name
    assert (await desk.case_with(line)).kind == found.kind


async def test_the_night_calls_a_case_by_its_own_name_where_the_line_is_open(
    desk: Desk, callers: Callers
) -> None:
    await desk.night()
    line = await desk.line(900)
    question = await open_case(callers, await ask(callers, line))
    assert (await desk.only_case()).amount.amount_minor == -900
    await desk.night()
    found = await desk.case_with(line)
    assert (found.name, found.kind) == (question.case, case_pb.CASE_KIND_TIMING)


async def test_once_the_bank_confirms_the_line_nothing_is_open_in_its_case(
    desk: Desk, callers: Callers
) -> None:
    await desk.night()
    line = await desk.line(900, reference="R2")
    question = await open_case(callers, await ask(callers, line))
    await desk.entry(900, reference="R2")
    await desk.night()
    found = await desk.only_case()
    assert (found.name, found.weight.amount_minor) == (question.case, 0)


async def test_a_closed_case_is_opened_again_by_a_further_question(
    desk: Desk, callers: Callers
) -> None:
    line = await _matched(desk)
    first = await open_case(callers, await ask(callers, line))
    await answer(callers, first)
    await desk.night()
    second = await open_case(callers, await ask(callers, line, "再问"))
    assert second.case == first.case
    # The clock stands still, so the order of the two is chance.
    assert set((await desk.only_case()).questions) == {first.name, second.name}


async def test_a_question_opens_one_case_only(desk: Desk, callers: Callers) -> None:
    question = await open_case(callers, await ask(callers, await _matched(desk)))
    assert (await refusal(open_case(callers, question))).reason == "STATE_FORBIDS"


async def test_before_the_first_night_there_is_no_case_to_open(
    desk: Desk, callers: Callers
) -> None:
    question = await ask(callers, await desk.line(5))
    assert (await refusal(open_case(callers, question))).reason == "STATE_FORBIDS"


async def test_owners_ask_and_others_open_cases(desk: Desk, callers: Callers) -> None:
    question = await ask(callers, await desk.line(5))
    assert (await refusal(open_case(callers, question, OWNER))).reason == "ROLE_NOT_ALLOWED"
