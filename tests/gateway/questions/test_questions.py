"""Questions about lines over the wire: who is seen to ask, what is answered, what is late."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import common_pb2
from xinyi.v1 import disclosure_service_pb2 as disclosure_pb
from xinyi.v1 import question_service_pb2 as pb

from gateway.domain.party import Role
from gateway.duties.lapses import LapseWatch
from gateway.questions.asking import MOST_UNANSWERED
from gateway.questions.photo import MAX_BYTES
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.duties.people import TRANSIT_DAYS
from tests.gateway.questions.people import answer, ask, asking, listed, shown
from tests.gateway.questions.pictures import SECRET, jpeg, segment
from tests.gateway.support import (
    CHAIR,
    FIRM,
    MAKER,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    TODAY,
    Callers,
    StillClock,
    Who,
    refusal,
)

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.gateway.cases.desk import Desk

LINE = "funds/wutong/lines/1"
DUE = date(2026, 11, 27)
"""Five working days after a Friday."""
ANOTHER_OWNER = Who(OWNER.party_id, "another", Role.OWNER)


async def _lines(callers: Callers, **fields: Any) -> list[disclosure_pb.DisclosedLine]:
    service = (await callers.as_(OWNER)).disclosure
    request = disclosure_pb.ListDisclosedLinesRequest(parent="funds/wutong", **fields)
    return list((await service.ListDisclosedLines(request)).lines)


# --- asking -------------------------------------------------------------------------------------


async def test_a_question_stands_under_a_role_and_a_pseudonym_never_a_name(
    callers: Callers,
) -> None:
    question = await ask(callers, LINE, "为什么这么多？")
    assert (question.line, question.text) == (LINE, "为什么这么多？")
    assert question.asker_role == common_pb2.ROLE_OWNER
    assert len(question.asker_alias) == 6
    assert (question.state, question.due_date) == (pb.QUESTION_STATE_OPEN, day(DUE))
    seen = str(await shown(callers, question.name, FIRM))
    assert not any(name in seen for name in (OWNER.person_id + "某", OWNER.party_id))


async def test_one_person_has_one_pseudonym_in_a_fund_and_two_persons_have_two(
    desk: Desk, callers: Callers
) -> None:
    await desk.enrol(ANOTHER_OWNER)
    first, again = await ask(callers, LINE), await ask(callers, LINE, "还有呢？")
    other = await ask(callers, LINE, who=ANOTHER_OWNER)
    assert first.asker_alias == again.asker_alias != other.asker_alias


async def test_one_human_has_different_pseudonyms_in_two_funds(
    desk: Desk, callers: Callers
) -> None:
    other_owner = Who("jinjiang-committee", "owner", Role.OWNER)
    async with desk.store.transaction(GATEWAY) as conn:
        human = await conn.scalar(
            sa.select(t.persons.c.natural_person).where(t.persons.c.party_id == OWNER.party_id)
        )
    await desk.enrol(other_owner, human=str(human))
    here = await ask(callers, LINE)
    there = await ask(callers, "funds/jinjiang/lines/1", who=other_owner)
    assert here.asker_alias != there.asker_alias


async def test_numbers_of_persons_are_masked_before_anything_is_stored(
    gateway: Gateway, callers: Callers
) -> None:
    question = await ask(callers, LINE, "请回电13800138000")
    answered = await answer(callers, question, "已致电13800138000")
    assert question.text == "请回电[手机号已隐去]"
    assert answered.answers[0].text == "已致电[手机号已隐去]"
    async with gateway.store.transaction(GATEWAY) as conn:
        for table in (t.questions, t.answers, t.requests, t.audit_entries):
            assert "13800138000" not in str((await conn.execute(sa.select(table))).all())


async def test_the_same_request_is_the_same_question_and_another_text_is_refused(
    callers: Callers,
) -> None:
    first, again = [await ask(callers, LINE, "甲", call_id="once") for _ in range(2)]
    assert first == again
    assert len(await listed(callers)) == 1
    service = (await callers.as_(OWNER)).questions
    other = service.AskQuestion(iter(asking(LINE, "乙", call_id="once")))
    assert (await refusal(other)).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("line", "who", "reason"),
    [
        ("funds/wutong/lines/99", OWNER, "RESOURCE_NOT_FOUND"),
        ("funds/jinjiang/lines/1", OWNER, "RESOURCE_NOT_FOUND"),
        (LINE, FIRM, "ROLE_NOT_ALLOWED"),
    ],
)
async def test_a_question_is_about_a_line_of_ones_own_estate(
    line: str, who: Who, reason: str, callers: Callers
) -> None:
    service = (await callers.as_(who)).questions
    assert (await refusal(service.AskQuestion(iter(asking(line, "?"))))).reason == reason


async def test_an_empty_question_is_refused(callers: Callers) -> None:
    service = (await callers.as_(OWNER)).questions
    refused = await refusal(service.AskQuestion(iter(asking(LINE, " \n\u3000"))))
    assert (refused.reason, refused.violations[0].field) == ("FIELD_INVALID", "text")


async def test_who_has_too_many_questions_waiting_asks_no_more_until_one_is_answered(
    callers: Callers,
) -> None:
    questions = [await ask(callers, LINE) for _ in range(MOST_UNANSWERED)]
    service = (await callers.as_(OWNER)).questions
    assert (await refusal(service.AskQuestion(iter(asking(LINE, "?"))))).reason == "LIMIT_EXCEEDED"
    await ask(callers, LINE, who=CHAIR)
    await answer(callers, questions[0])
    await ask(callers, LINE)


# --- photos -------------------------------------------------------------------------------------


async def _photo(callers: Callers, name: str) -> tuple[str, bytes]:
    service = (await callers.as_(FIRM)).questions
    request = pb.GetQuestionPhotoRequest(name=name)
    head, *parts = [part async for part in service.GetQuestionPhoto(request)]
    return head.media_type, b"".join(part.content for part in parts)


async def test_a_photo_is_shown_without_where_it_was_taken(callers: Callers) -> None:
    taken = jpeg(segment(0xE1, b"Exif\0\0" + SECRET))
    question = await ask(callers, LINE, photo=taken)
    assert question.photo_media_type == "image/jpeg"
    assert await _photo(callers, question.name) == ("image/jpeg", jpeg())


async def test_a_large_photo_comes_back_whole_and_a_larger_one_is_refused(
    callers: Callers,
) -> None:
    rest = MAX_BYTES - len(jpeg())
    tables = [segment(0xC4, bytes(60_000))] * (rest // 60_004)
    question = await ask(callers, LINE, photo=jpeg(*tables))
    assert (await _photo(callers, question.name))[1] == jpeg(*tables)
    service = (await callers.as_(OWNER)).questions
    larger = service.AskQuestion(iter(asking(LINE, "?", photo=bytes(MAX_BYTES + 1))))
    assert (await refusal(larger)).reason == "LIMIT_EXCEEDED"


async def test_what_is_no_photo_leaves_no_question(callers: Callers) -> None:
    service = (await callers.as_(OWNER)).questions
    refused = await refusal(service.AskQuestion(iter(asking(LINE, "?", photo=b"%PDF-1.7"))))
    assert (refused.reason, refused.violations[0].field) == ("FIELD_INVALID", "content")
    assert await listed(callers) == []


async def test_a_question_without_a_photo_has_none_to_fetch(callers: Callers) -> None:
    question = await ask(callers, LINE)
    service = (await callers.as_(OWNER)).questions
    stream = service.GetQuestionPhoto(pb.GetQuestionPhotoRequest(name=question.name))
    assert (await refusal(stream.read())).reason == "RESOURCE_NOT_FOUND"


# --- answering ----------------------------------------------------------------------------------


async def test_the_answer_stands_on_the_line_with_the_party_that_gave_it(
    callers: Callers,
) -> None:
    question = await ask(callers, LINE)
    await answer(callers, question, "十一月的清运费")
    (line,) = await _lines(callers)
    assert line.questions == [question.name]
    (found,) = await listed(callers, line=LINE)
    assert found.state == pb.QUESTION_STATE_ANSWERED
    (given,) = found.answers
    assert (given.text, given.role) == ("十一月的清运费", common_pb2.ROLE_PROPERTY_FIRM)
    assert given.party_name == f"{FIRM.party_id}机构"


async def test_a_further_answer_is_added_and_the_first_one_stays(callers: Callers) -> None:
    question = await ask(callers, LINE)
    first = await answer(callers, question, "甲")
    second = await answer(callers, question, "更正：乙", MAKER)
    assert [each.text for each in second.answers] == ["甲", "更正：乙"]
    assert second.answer_time == first.answer_time


async def test_two_answers_at_one_moment_are_both_kept(callers: Callers) -> None:
    question = await ask(callers, LINE)
    await asyncio.gather(answer(callers, question, "甲"), answer(callers, question, "乙", MAKER))
    assert {a.text for a in (await shown(callers, question.name)).answers} == {"甲", "乙"}


@pytest.mark.parametrize(
    ("who", "reason"), [(OTHER_FIRM, "RESOURCE_NOT_FOUND"), (SUPERVISOR, "ROLE_NOT_ALLOWED")]
)
async def test_only_the_estates_own_firm_and_trustee_answer(
    who: Who, reason: str, callers: Callers
) -> None:
    question = await ask(callers, LINE)
    assert (await refusal(answer(callers, question, who=who))).reason == reason


async def test_one_line_is_shown_with_its_questions(callers: Callers) -> None:
    question = await ask(callers, LINE)
    service = (await callers.as_(OWNER)).disclosure
    request = disclosure_pb.GetDisclosedLineRequest(name=LINE)
    line = (await service.GetDisclosedLine(request)).line
    assert line.number == 1
    assert line.questions == [question.name]
    missing = disclosure_pb.GetDisclosedLineRequest(name="funds/wutong/lines/99")
    assert (await refusal(service.GetDisclosedLine(missing))).reason == "RESOURCE_NOT_FOUND"


async def test_a_past_day_is_shown_without_what_was_asked_later(
    callers: Callers, clock: StillClock
) -> None:
    clock.moment += timedelta(days=1)
    await ask(callers, LINE)
    (line,) = await _lines(callers, disclosed_by=day(TODAY))
    assert line.questions == []


# --- listing ------------------------------------------------------------------------------------


async def test_questions_are_listed_newest_first_page_by_page(
    callers: Callers, clock: StillClock
) -> None:
    names = []
    for _ in range(3):
        names.append((await ask(callers, LINE)).name)
        clock.moment += timedelta(seconds=1)
    service = (await callers.as_(FIRM)).questions
    request = pb.ListQuestionsRequest(parent="funds/-", page_size=2)
    first = await service.ListQuestions(request)
    request.page_token = first.next_page_token
    second = await service.ListQuestions(request)
    pages = [*first.questions, *second.questions]
    assert [each.name for each in pages] == names[::-1]
    assert second.next_page_token == ""


async def test_questions_are_chosen_by_state_and_line(callers: Callers, clock: StillClock) -> None:
    waiting, done = await ask(callers, LINE), await ask(callers, LINE, who=SUPERVISOR)
    await answer(callers, done)
    assert await listed(callers, state=pb.QUESTION_STATE_OVERDUE) == []
    (still_open,) = await listed(callers, state=pb.QUESTION_STATE_OPEN)
    assert still_open.name == waiting.name
    clock.moment += timedelta(days=8)
    (late,) = await listed(callers, state=pb.QUESTION_STATE_OVERDUE)
    assert late.name == waiting.name
    assert await listed(callers, line="funds/wutong/lines/2") == []


# --- lateness -----------------------------------------------------------------------------------


async def test_lateness_is_recorded_once_and_an_answer_does_not_take_it_back(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    question = await ask(callers, LINE)
    watch = LapseWatch(gateway.store, clock, TRANSIT_DAYS)
    clock.moment += timedelta(days=7)
    assert await watch.look() == 0, "the due day is not over"
    clock.moment += timedelta(days=1)
    assert await watch.look() == 1
    recorded = (await shown(callers, question.name)).overdue_time
    clock.moment += timedelta(days=1)
    await answer(callers, question)
    assert await watch.look() == 0
    found = await shown(callers, question.name)
    assert (found.state, found.overdue_time) == (pb.QUESTION_STATE_ANSWERED, recorded)
    assert recorded.seconds


async def test_a_late_answer_is_recorded_though_nobody_looked_before_it_came(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    late, timely = await ask(callers, LINE), await ask(callers, LINE, who=CHAIR)
    await answer(callers, timely)
    clock.moment += timedelta(days=8)
    await answer(callers, late)
    assert await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look() == 1
    assert (await shown(callers, late.name)).HasField("overdue_time")
    assert not (await shown(callers, timely.name)).HasField("overdue_time")


async def test_a_lapse_names_the_firm_of_that_day(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await ask(callers, LINE)
    clock.moment += timedelta(days=8)
    await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look()
    async with gateway.store.transaction(GATEWAY) as conn:
        (lapse,) = (await conn.execute(sa.select(t.lapses))).all()
    assert (lapse.firms, lapse.due_date) == ([FIRM.party_id], DUE)
