"""`xinyi resolution`, `match`, `run` and `rule`: what was decided, and what is taken back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.type.date_pb2 import Date  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import reconciliation_service_pb2 as pb
from xinyi.v1.party_service_pb2 import GetCallerResponse, Person

from gateway.cli import resolution, run
from tests.gateway.cli import case_examples as example
from tests.gateway.cli.case_examples import CHECKER, FUND, MAKER, RESOLUTION, RUN
from tests.gateway.cli.fake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

APPROVE = ("resolution", "approve")
SECOND = f"{FUND}/resolutions/res-2"
MATCH = f"{FUND}/matches/{'ab' * 16}/run-1"
START = ("run", "start", "--date", "2026-11-22")
DAY = Date(year=2026, month=11, day=22)


@pytest.fixture(autouse=True)
def told(fake: FakeGateway) -> None:
    """A gateway in which two resolutions wait, and the caller may approve them."""
    waiting = [example.resolution(), example.resolution(SECOND, action=pb.RESOLUTION_ACTION_MATCH)]
    approved = example.resolution(state=pb.RESOLUTION_STATE_APPROVED)
    fake.answers.update(
        ListResolutions=pb.ListResolutionsResponse(resolutions=waiting),
        ApproveResolution=pb.ApproveResolutionResponse(resolution=approved),
        GetCaller=GetCallerResponse(person=Person(name=CHECKER)),
        ApproveResolutions=outcomes(RESOLUTION, SECOND),
    )


def outcomes(*names: str, reason: str = "") -> pb.ApproveResolutionsResponse:
    approved = example.resolution(state=pb.RESOLUTION_STATE_APPROVED)
    return pb.ApproveResolutionsResponse(
        outcomes=[pb.ItemOutcome(name=each, resolution=approved, reason=reason) for each in names]
    )


def test_one_is_read_agreed_to_and_approved_by_its_short_name(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao(*APPROVE, "wutong/res-1", "--note", "已核", typed="y\n")
    [[asked]] = fake.requests("ApproveResolution")
    assert (asked.name, asked.note) == (RESOLUTION, "已核")
    assert result.stderr.index("转账手续费") < result.stderr.index("批准吗")
    assert (result.exit_code, "已批准" in result.stdout) == (0, True)


@pytest.mark.parametrize("named", [("wutong/res-1",), ("--all-proposed",)])
@pytest.mark.parametrize("typed", ["n\n", ""])
def test_without_a_yes_nothing_is_approved(
    typed: str, named: tuple[str, ...], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao(*APPROVE, *named, typed=typed).exit_code == 1
    assert fake.requests("ApproveResolution") == fake.requests("ApproveResolutions") == []


def test_several_are_shown_and_approved_in_the_order_in_which_they_were_named(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao(*APPROVE, "wutong/res-2", RESOLUTION, "wutong/res-2", "--yes", "--json")
    [[asked]] = fake.requests("ApproveResolutions")
    assert list(asked.names) == [SECOND, RESOLUTION]
    assert len(json.loads(result.stdout)["outcomes"]) == 2
    assert "E:e9k2m -1,285.00" in result.stderr
    assert result.exit_code == 0


def test_of_all_that_waits_ones_own_proposals_are_left_to_others(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    own = example.resolution(f"{FUND}/resolutions/res-3", proposer=CHECKER)
    fake.answers["ListResolutions"].resolutions.append(own)
    result = zhao(*APPROVE, "--all-proposed", "--fund", "wutong", "--yes")
    [[listed]] = fake.requests("ListResolutions")
    [[asked]] = fake.requests("ApproveResolutions")
    assert (listed.parent, list(listed.states)) == (FUND, [pb.RESOLUTION_STATE_PROPOSED])
    assert list(asked.names) == [RESOLUTION, SECOND]
    assert "您自己提议的 1 项须由他人批准" in result.stderr


def test_all_that_waits_can_be_narrowed_to_one_action(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao(*APPROVE, "--all-proposed", "--action", "match", "--yes").exit_code == 0
    [[asked]] = fake.requests("ApproveResolution")
    assert asked.name == SECOND


def test_where_nothing_waits_that_is_said(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    fake.answers["GetCaller"].person.name = MAKER
    result = zhao(*APPROVE, "--all-proposed")
    assert (result.exit_code, "没有待您批准的处理" in result.stderr) == (0, True)


@pytest.mark.parametrize("given", [(), ("wutong/res-1", "--all-proposed"), ("res-1",)])
def test_what_is_meant_is_said_in_one_way(
    given: tuple[str, ...], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao(*APPROVE, *given, "--yes").exit_code == 2
    assert fake.asked == []


def test_what_does_not_wait_is_not_approved_nor_what_was_named_beside_it(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao(*APPROVE, "wutong/res-1", "wutong/res-9", "--yes")
    assert (result.exit_code, f"{FUND}/resolutions/res-9" in result.stderr) == (2, True)
    assert fake.requests("ApproveResolutions") == []


def test_many_are_approved_in_parts_and_a_refusal_ends_with_status_one(
    zhao: Callable[..., Result], fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "PART_SIZE", 1)
    fake.turns["ApproveResolutions"] = [
        outcomes(RESOLUTION),
        outcomes(SECOND, reason="SAME_PERSON"),
    ]
    result = zhao(*APPROVE, "--all-proposed", "--yes")
    assert [list(asked.names) for [asked] in fake.requests("ApproveResolutions")] == [
        [RESOLUTION],
        [SECOND],
    ]
    assert (result.exit_code, "SAME_PERSON" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    ("command", "method", "answer"),
    [
        ("reject", "RejectResolution", pb.RejectResolutionResponse),
        ("withdraw", "WithdrawResolution", pb.WithdrawResolutionResponse),
        ("undo", "UndoResolution", pb.UndoResolutionResponse),
    ],
)
def test_a_proposal_is_rejected_withdrawn_and_undone_by_name(
    command: str, method: str, answer: Any, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers[method] = answer(resolution=example.resolution())
    why = () if command == "withdraw" else ("--reason", "记错账簿")
    result = zhao("resolution", command, "wutong/res-1", *why, "--request-id", "r1")
    [[asked]] = fake.requests(method)
    assert (result.exit_code, asked.name, asked.request_id) == (0, RESOLUTION, "r1")
    assert getattr(asked, "reason", "记错账簿") == "记错账簿"


def test_one_resolution_is_shown_whatever_became_of_it(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao("resolution", "show", "wutong/res-1", "--json")
    [[listed]] = fake.requests("ListResolutions")
    assert (listed.parent, list(listed.states)) == (FUND, [])
    assert json.loads(result.stdout)["name"] == RESOLUTION
    assert zhao("resolution", "show", "wutong/res-9").exit_code == 2


# --- matches and rules ---------------------------------------------------------------------------


def test_conditions_on_matches_reach_the_gateway(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ListMatches"] = pb.ListMatchesResponse(matches=[pb.Match(name=MATCH)])
    conditions = ("--fund", "wutong", "--run", "run-1", "--rule", "own_id", "--undone")
    result = zhao("match", "list", *conditions, "--line", "12")
    [[asked]] = fake.requests("ListMatches")
    assert (asked.parent, asked.run, asked.rule) == (FUND, RUN, "own_id")
    assert (asked.member, asked.include_undone) == (f"{FUND}/lines/12", True)
    assert f"wutong/{'ab' * 16}/run-1" in result.stdout


@pytest.mark.parametrize(
    "given", [("--entry", "e1"), ("--fund", "f1", "--entry", "e1", "--line", "1")]
)
def test_a_member_is_one_row_of_one_fund(
    given: tuple[str, ...], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao("match", "list", *given).exit_code == 2
    assert fake.asked == []


def test_a_match_shows_what_it_took_and_why_and_is_taken_back_with_a_reason(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    match = pb.Match(
        name=MATCH,
        rule="own_id",
        members=[example.entry(), example.line()],
        explanation=example.explanation(),
    )
    fake.answers.update(
        GetMatch=pb.GetMatchResponse(match=match), UndoMatch=pb.UndoMatchResponse(match=match)
    )
    short = f"wutong/{'ab' * 16}/run-1"
    shown = zhao("match", "show", short).stdout
    assert all(said in shown for said in ("付款编号相同", "E:e9k2m", "L:12", "落选最接近者"))
    assert zhao("match", "undo", short).exit_code == 2
    assert zhao("match", "undo", short, "--reason", "张冠李戴").exit_code == 0
    [[looked]], [[undone]] = fake.requests("GetMatch"), fake.requests("UndoMatch")
    assert (looked.name, undone.name, undone.reason) == (MATCH, MATCH, "张冠李戴")


def test_a_rule_over_its_limit_says_that_it_only_proposes(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    record = pb.RuleRecord(rule="subset_sum", match_count=12345, reversed_count=3, demoted=True)
    fake.answers["ListRuleRecords"] = pb.ListRuleRecordsResponse(records=[record])
    row = zhao("rule", "list").stdout.splitlines()[-2]
    assert row.split()[:3] == ["多笔合计相符", "12,345", "3"]
    assert "是" in row


# --- runs ----------------------------------------------------------------------------------------


def running(written: int) -> pb.GetRunResponse:
    state = pb.RUN_STATE_RUNNING
    return pb.GetRunResponse(
        run=pb.Run(name=RUN, date=DAY, state=state, shard_count=8, written_shard_count=written)
    )


def test_a_run_that_goes_on_says_how_far_it_has_come(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetRun"] = running(3)
    assert "8 份中已写入 3 份" in zhao("run", "show").stdout
    assert "3 of 8 shares written" in zhao("run", "show", "--lang", "en").stdout


def test_who_starts_a_run_is_told_of_its_progress_once_for_each_step(
    zhao: Callable[..., Result], fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_POLL_S", 0.01)
    release = fake.hold("StartRun", pb.StartRunResponse(run=pb.Run(name=RUN, date=DAY)))
    other_day = running(5)
    other_day.run.date.day = 21
    fake.turns["GetRun"] = [
        refusal("RESOURCE_NOT_FOUND", "none", "无", code=grpc.StatusCode.NOT_FOUND),
        *(other_day, running(0), running(0), running(8)),
    ]
    fake.after("GetRun", 5, release)
    result = zhao(*START, "--json")
    assert json.loads(result.stdout)["run"]["name"] == RUN
    assert result.stderr.splitlines() == ["8 份中已写入 0 份", "8 份中已写入 8 份"]


def test_a_run_that_is_refused_ends_with_the_refusal(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["StartRun"] = refusal("RUN_IN_PROGRESS", "one goes on", "正在进行")
    result = zhao(*START)
    assert (result.exit_code, "RUN_IN_PROGRESS" in result.stderr) == (2, True)


def test_a_run_is_taken_back_by_its_own_name_after_it_was_read(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    done = pb.Run(name=RUN, date=DAY, state=pb.RUN_STATE_DONE)
    fake.answers["GetRun"] = pb.GetRunResponse(run=done)
    fake.answers["UndoRun"] = pb.UndoRunResponse(run=done, match_count=1234)
    assert zhao("run", "undo", "latest", "--reason", "规则有误", typed="n\n").exit_code == 1
    assert fake.requests("UndoRun") == []
    result = zhao("run", "undo", "latest", "--reason", "规则有误", typed="y\n")
    [[asked]] = fake.requests("UndoRun")
    assert (asked.name, asked.reason) == (RUN, "规则有误")
    assert (result.exit_code, "1,234" in result.stdout) == (0, True)
