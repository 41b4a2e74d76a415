"""What runs matched, looked into and taken back: one match for good, or a whole run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.cases.record import case_id_of
from gateway.cases.rows import members_of_case
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, OTHER_FUND, taking
from tests.gateway.support import MAKER, OPERATOR, SUPERVISOR, refusal, request_id

if TYPE_CHECKING:
    from typing import Any

    from tests.gateway.cases.desk import Desk


async def _matched(desk: Desk, reference: str = "R1", fund_id: str = FUND) -> pb.Match:
    """A match that the night made by reference."""
    entry = await desk.entry(300, fund_id=fund_id, reference=reference)
    await desk.line(300, fund_id=fund_id, reference=reference)
    await desk.night()
    (match,) = await _matches(desk, member=entry)
    return match


async def _matches(desk: Desk, parent: str = "funds/-", **fields: Any) -> list[pb.Match]:
    service = await desk.cases_of(SUPERVISOR if parent == f"funds/{FUND}" else OPERATOR)
    return list((await service.ListMatches(pb.ListMatchesRequest(parent=parent, **fields))).matches)


async def _undo(desk: Desk, match: pb.Match) -> pb.Match:
    service = await desk.cases_of(MAKER)
    request = pb.UndoMatchRequest(name=match.name, reason="not these", request_id=request_id())
    undone: pb.Match = (await service.UndoMatch(request)).match
    return undone


async def _undo_run(desk: Desk, run: str) -> pb.UndoRunResponse:
    service = await desk.cases_of(OPERATOR)
    request = pb.UndoRunRequest(name=run, reason="wrong rules", request_id=request_id())
    answer: pb.UndoRunResponse = await service.UndoRun(request)
    return answer


async def test_a_match_is_read_with_its_members_and_why(desk: Desk) -> None:
    match = await _matched(desk)
    service = await desk.cases_of(SUPERVISOR)

    whole = (await service.GetMatch(pb.GetMatchRequest(name=match.name))).match

    assert [row.open_amount.amount_minor for row in whole.members] == [300, 300]
    assert (whole.rule, whole.decided, whole.amount.amount_minor) == ("reference", False, 300)
    run = (await service.GetRun(pb.GetRunRequest(name="reconciliationRuns/latest"))).run
    assert whole.explanation.run == run.name
    assert whole.explanation.input_digest == run.input_digest
    assert getattr(whole.explanation, "pass") == "reference"
    results = {each.field: each.result for each in whole.explanation.evidence}
    assert results["reference"] == results["amount"] == pb.EVIDENCE_RESULT_AGREES


async def test_a_match_taken_apart_is_open_at_once_and_counts_against_its_rule(desk: Desk) -> None:
    match = await _matched(desk)
    assert await desk.pending() == 0

    undone = await _undo(desk, match)

    assert await desk.pending() == 300

    assert (undone.undone_by, undone.undo_reason) == (MAKER.name, "not these")
    case = await desk.only_case()
    assert (case.cause, case.kind) == ("taken_apart", pb.CASE_KIND_AMBIGUOUS)
    assert (case.amount.amount_minor, case.weight.amount_minor) == (0, 600)
    assert {row.open_amount.amount_minor for row in case.members} == {300}
    (kept,) = await desk.world.rows(t.matches, kept_apart=True)
    assert kept["match_id"] == match.name.split("/")[3]
    await desk.check()
    assert (await refusal(_undo(desk, match))).reason == "STATE_FORBIDS"
    (record,) = await _records(desk)
    assert (record.rule, record.match_count, record.reversed_count) == ("reference", 1, 1)
    assert (record.reversed_per_million, record.demoted) == (1_000_000, False)


async def test_a_case_that_people_cause_has_the_id_that_a_night_would_give_it(desk: Desk) -> None:
    await desk.entry(500, reference="R1")
    await desk.line(450, reference="R1")
    await desk.night()
    case_id = (await desk.only_case()).name.split("/")[-1]

    async with desk.store.transaction(GATEWAY) as conn:
        members = await members_of_case(conn, FUND, case_id)

    assert case_id_of(FUND, members) == case_id


async def test_no_night_matches_again_what_a_person_took_apart(desk: Desk) -> None:
    match = await _matched(desk)
    await _undo(desk, match)
    desk.clock.moment += timedelta(minutes=1)

    await desk.night()

    assert await _matches(desk) == []
    cases = await desk.listed()
    assert sum(case.weight.amount_minor for case in cases) == 600
    assert "taken_apart" not in {case.cause for case in cases}


async def _records(desk: Desk, **fields: Any) -> list[pb.RuleRecord]:
    service = await desk.cases_of(SUPERVISOR)
    return list((await service.ListRuleRecords(pb.ListRuleRecordsRequest(**fields))).records)


async def test_a_rule_over_its_limit_says_so(desk: Desk) -> None:
    for reference in ("R1", "R2"):
        await _undo(desk, await _matched(desk, reference))

    (record,) = await _records(desk)

    assert record.demoted
    assert record.limit_per_million == 100


async def test_what_people_decided_is_not_taken_back_as_a_match(desk: Desk) -> None:
    entry = await desk.entry(300, reference="R1", counterparty_name="甲")
    await desk.line(200, reference="R1")
    await desk.night()
    case = await desk.case_with(entry)
    parts = taking((entry, 200), (case.members[1].name, None))
    decided = await desk.decide(case, "MATCH", allocations=parts)
    (match,) = await _matches(desk, member=entry)

    assert (await refusal(_undo(desk, match))).reason == "STATE_FORBIDS"
    assert match.name == decided.match


async def test_a_whole_run_is_taken_back_and_the_next_finds_all_of_it_again(desk: Desk) -> None:
    await _matched(desk)
    await desk.entry(77, fund_id=OTHER_FUND, reference="R7")
    await desk.line(77, fund_id=OTHER_FUND, reference="R7")
    desk.clock.moment += timedelta(minutes=1)
    run = await desk.night()
    (other,) = await _matches(desk, run=run.name)
    first = [each for each in await _matches(desk) if each.name != other.name]

    answer = await _undo_run(desk, run.name)

    assert (answer.match_count, answer.run.undone_by) == (1, OPERATOR.name)
    assert await _matches(desk) == first
    assert (await _matches(desk, include_undone=True))[0].name == other.name
    await desk.check(OTHER_FUND)
    assert (await refusal(_undo_run(desk, run.name))).reason == "STATE_FORBIDS"
    desk.clock.moment += timedelta(minutes=1)
    again = await desk.night()
    (found,) = await _matches(desk, run=again.name)
    assert found.name.split("/")[3] == other.name.split("/")[3]
    assert await desk.world.rows(t.matches, kept_apart=True) == []


async def test_what_people_decided_outlives_the_undoing_of_a_run(desk: Desk) -> None:
    entry = await desk.entry(500, reference="R1")
    line = await desk.line(200, reference="R1")
    await desk.night()
    case = await desk.case_with(entry)
    decided = await desk.decide(case, "MATCH", allocations=taking((entry, 200), (line, None)))
    service = await desk.cases_of(OPERATOR)
    run = (await service.GetRun(pb.GetRunRequest(name="reconciliationRuns/latest"))).run

    assert (await _undo_run(desk, run.name)).match_count == 0

    assert [each.name for each in await _matches(desk)] == [decided.match]
    await desk.check()


async def test_no_run_is_taken_back_while_another_goes_on(desk: Desk) -> None:
    await _matched(desk)
    service = await desk.cases_of(OPERATOR)
    done = (await service.GetRun(pb.GetRunRequest(name="reconciliationRuns/latest"))).run
    async with desk.store.transaction(GATEWAY) as conn:
        row = await desk.world.one(t.runs)
        await conn.execute(t.runs.insert().values({**row, "run_id": "run-2", "state": "RUNNING"}))

    assert (await refusal(_undo_run(desk, done.name))).reason == "RUN_IN_PROGRESS"
    running = await refusal(_undo_run(desk, "reconciliationRuns/none"))
    assert running.reason == "RESOURCE_NOT_FOUND"
    listed = await service.ListRuns(pb.ListRunsRequest())
    assert {each.state for each in listed.runs} == {pb.RUN_STATE_RUNNING, pb.RUN_STATE_DONE}


async def test_matches_are_listed_by_fund_rule_and_page(desk: Desk) -> None:
    await _matched(desk, "R1")
    await _matched(desk, "R2")
    await _matched(desk, "R3", OTHER_FUND)
    service = await desk.cases_of(SUPERVISOR)

    assert len(await _matches(desk, f"funds/{FUND}")) == 2
    assert len(await _matches(desk)) == 3
    assert await _matches(desk, rule="own_id") == []
    request = pb.ListMatchesRequest(parent="funds/-", page_size=1)
    first = await service.ListMatches(request)
    request.page_token = first.next_page_token
    second = await service.ListMatches(request)
    assert len({each.name for each in [*first.matches, *second.matches]}) == 2
    assert second.next_page_token == ""
    refused = service.GetMatch(
        pb.GetMatchRequest(name=(await _matches(desk, f"funds/{OTHER_FUND}"))[0].name)
    )
    assert (await refusal(refused)).reason == "RESOURCE_NOT_FOUND"


async def test_runs_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    runs = []
    for _ in range(3):
        runs.append((await desk.night()).name)
        desk.clock.moment += timedelta(minutes=1)
    service = await desk.cases_of(SUPERVISOR)
    request, found = pb.ListRunsRequest(page_size=2), []

    while True:
        answer = await service.ListRuns(request)
        found += [each.name for each in answer.runs]
        request.page_token = answer.next_page_token
        if not request.page_token:
            break

    assert found == runs[::-1]
