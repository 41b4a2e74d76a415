"""What the commands around questions and duties send, and what they refuse to send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import duty_service_pb2 as duty
from xinyi.v1 import question_service_pb2 as question
from xinyi.v1.common_pb2 import ROLE_OWNER, ROLE_PROPERTY_FIRM, Money

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

ASKED = question.Question(
    name="funds/f1/questions/q1",
    line="funds/f1/lines/7",
    text="为什么？",
    asker_role=ROLE_OWNER,
    asker_alias="7F3A21",
    answers=[question.Answer(text="清运费", role=ROLE_PROPERTY_FIRM, party_name="安居物业")],
)


def test_a_question_goes_out_with_its_photo_in_pieces(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    photo = bytes(range(256)) * 8192
    (tmp_path / "p.jpg").write_bytes(photo)
    fake.answers["AskQuestion"] = question.AskQuestionResponse(question=ASKED)
    asked = ("question", "ask", "f1/7", "--text", "为什么？", "--photo", "p.jpg")
    result = zhao(*asked, "--request-id", "r1")
    assert result.exit_code == 0
    assert "业主-7F3A21" in result.stdout
    [[head, *parts]] = fake.requests("AskQuestion")
    assert (head.header.parent, head.header.request_id) == ("funds/f1/lines/7", "r1")
    assert b"".join(part.content for part in parts) == photo


def test_a_photo_that_is_too_large_is_not_sent(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "p.jpg").write_bytes(bytes((5 << 20) + 1))
    result = zhao("question", "ask", "f1/7", "--text", "?", "--photo", "p.jpg")
    assert (result.exit_code, fake.requests("AskQuestion")) == (2, [])


def test_answers_and_cases_name_the_question(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["AnswerQuestion"] = question.AnswerQuestionResponse(question=ASKED)
    fake.answers["OpenCase"] = question.OpenCaseResponse(question=ASKED)
    assert zhao("question", "answer", "f1/q1", "--text", "清运费").exit_code == 0
    assert zhao("question", "open-case", "f1/q1").exit_code == 0
    [[answered], [opened]] = [fake.requests(name)[0] for name in ("AnswerQuestion", "OpenCase")]
    assert answered.name == opened.name == ASKED.name


def test_a_photo_is_written_whole(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    parts = [question.GetQuestionPhotoResponse(media_type="image/png")]
    parts += [question.GetQuestionPhotoResponse(content=each) for each in (b"ab", b"c")]
    fake.answers["GetQuestionPhoto"] = parts
    assert zhao("question", "photo", "f1/q1", "--out", "got.png").exit_code == 0
    assert (tmp_path / "got.png").read_bytes() == b"abc"


def test_a_line_is_shown_with_its_items_and_with_what_was_asked_and_answered(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    amount = Money(amount_minor=360_000, currency="CNY")
    line = disclosure.DisclosedLine(
        name=ASKED.line,
        amount=amount,
        questions=[ASKED.name],
        items=[disclosure.LineItem(label="月租车位", count=12, amount=amount)],
    )
    fake.answers["GetDisclosedLine"] = disclosure.GetDisclosedLineResponse(line=line)
    fake.answers["ListQuestions"] = question.ListQuestionsResponse(questions=[ASKED])
    shown = zhao("line", "show", "f1/7").stdout
    for text in ("月租车位", "业主-7F3A21", "为什么？", "清运费", "安居物业 · 物业公司"):
        assert text in shown
    [[asked]] = fake.requests("ListQuestions")
    assert (asked.parent, asked.line) == ("funds/f1", ASKED.line)


def test_items_are_sent_in_the_lines_currency(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    line = disclosure.DisclosedLine(amount=Money(amount_minor=1, currency="CNY"))
    fake.answers["GetDisclosedLine"] = disclosure.GetDisclosedLineResponse(line=line)
    fake.answers["ItemiseLine"] = duty.ItemiseLineResponse()
    items = ("--item", "月租: 东门:12:3,600.00", "--item", "退款:1:-50")
    assert zhao("line", "itemise", "f1/7", *items).exit_code == 0
    [[asked]] = fake.requests("ItemiseLine")
    assert [(i.label, i.count, i.amount.amount_minor) for i in asked.items] == [
        ("月租: 东门", 12, 360_000),
        ("退款", 1, -5_000),
    ]


@pytest.mark.parametrize("text", ["月租", "月租:3,600.00", "月租:x:1.00", ":1:1.00"])
def test_what_is_no_item_is_not_sent(
    text: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    line = disclosure.DisclosedLine(amount=Money(amount_minor=1, currency="CNY"))
    fake.answers["GetDisclosedLine"] = disclosure.GetDisclosedLineResponse(line=line)
    assert zhao("line", "itemise", "f1/7", "--item", text).exit_code == 2
    assert fake.requests("ItemiseLine") == []


def test_rules_are_proposed_on_top_of_the_version_that_was_read(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    read = duty.GetDisclosureRulesResponse(disclosure_rules=duty.DisclosureRules(version=3))
    fake.answers["GetDisclosureRules"] = read
    fake.answers["SetDisclosureRules"] = duty.SetDisclosureRulesResponse(
        change="changes/c1", waits=True
    )
    clocks = ("--clock", "monthly:10", "--clock", "half-yearly:15:30")
    result = zhao("estate", "set-rules", "f1", *clocks, "--itemised", "广告")
    assert "changes/c1" in result.stderr
    [[asked]] = fake.requests("SetDisclosureRules")
    rules = asked.disclosure_rules
    assert (rules.version, rules.answer_working_days) == (3, 5)
    assert [(c.cycle, c.due_day, c.posting_days) for c in rules.clocks] == [
        (duty.DISCLOSURE_CYCLE_MONTHLY, 10, 0),
        (duty.DISCLOSURE_CYCLE_HALF_YEARLY, 15, 30),
    ]
    assert list(rules.itemised_categories) == ["广告"]


@pytest.mark.parametrize("clock", ["monthly", "weekly:10", "monthly:x", "monthly:10:x"])
def test_what_is_no_clock_is_not_proposed(
    clock: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetDisclosureRules"] = duty.GetDisclosureRulesResponse()
    assert zhao("estate", "set-rules", "f1", "--clock", clock).exit_code == 2
    assert fake.requests("SetDisclosureRules") == []


def test_a_period_is_published_by_its_name(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    fake.answers["PublishPeriod"] = duty.PublishPeriodResponse()
    assert zhao("estate", "publish", "f1/monthly-2026-10").exit_code == 0
    [[asked]] = fake.requests("PublishPeriod")
    assert asked.name == "funds/f1/periods/monthly-2026-10"
