"""Many at once: proposals of a run accepted and approved by the hundred, each for itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, OTHER_FUND
from tests.gateway.support import CHECKER, MAKER, OPERATOR, refusal, request_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.cases.desk import Desk


async def _accept(desk: Desk, cases: Sequence[pb.Case]) -> list[pb.ItemOutcome]:
    service = await desk.cases_of(MAKER)
    request = pb.AcceptProposalsRequest(
        cases=[pb.ReadCase(name=case.name, etag=case.etag) for case in cases],
        reason="as the run says",
        request_id=request_id(),
    )
    return list((await service.AcceptProposals(request)).outcomes)


async def _approve(desk: Desk, names: Sequence[str]) -> list[pb.ItemOutcome]:
    service = await desk.cases_of(CHECKER)
    request = pb.ApproveResolutionsRequest(names=names, request_id=request_id())
    return list((await service.ApproveResolutions(request)).outcomes)


async def _proposal(desk: Desk, amount_minor: int, fund_id: str = FUND) -> pb.Case:
    """Two entries and two lines of one amount: the run proposes them as one group."""
    entry = await desk.entry(amount_minor, fund_id=fund_id)
    await desk.entry(amount_minor, fund_id=fund_id)
    for _ in range(2):
        await desk.line(amount_minor, fund_id=fund_id)
    await desk.night()
    return await desk.case_with(entry)


async def test_strong_proposals_are_accepted_and_approved_in_one_call_each(desk: Desk) -> None:
    cases = [await _proposal(desk, 300), await _proposal(desk, 500, OTHER_FUND)]
    assert {case.cause for case in cases} == {"proposed_equal_amounts"}
    cases = [(await desk.case(case.name)).case for case in cases]

    accepted = await _accept(desk, cases)

    assert [each.reason for each in accepted] == ["", ""]
    assert [each.name for each in accepted] == [case.name for case in cases]
    approved = await _approve(desk, [each.resolution.name for each in accepted])
    assert [each.resolution.state for each in approved] == [pb.RESOLUTION_STATE_APPROVED] * 2
    assert await desk.listed() == []
    assert len(await desk.world.rows(t.match_members)) == 8


async def test_what_is_not_strong_or_changed_is_left_and_says_why(desk: Desk) -> None:
    strong = await _proposal(desk, 300)
    lone = await desk.entry(40)
    await desk.night()
    weak = await desk.case_with(lone)
    strong = (await desk.case(strong.name)).case
    stale = pb.Case(name=strong.name, etag="999")

    outcomes = await _accept(desk, [weak, stale, strong])

    assert [each.reason for each in outcomes] == ["STATE_FORBIDS", "ETAG_MISMATCH", ""]
    assert "no run proposed" in outcomes[0].message
    names = [outcomes[2].resolution.name, f"funds/{FUND}/resolutions/none"]
    done = await _approve(desk, names)
    assert [each.reason for each in done] == ["", "RESOURCE_NOT_FOUND"]


async def test_a_proposal_whose_member_is_matched_meanwhile_is_not_accepted(desk: Desk) -> None:
    case = await _proposal(desk, 300)
    entry, line = case.members[0].name, case.members[2].name
    parts = [pb.Allocation(name=name) for name in (entry, line)]
    await desk.decide(case, "MATCH", allocations=parts)
    now = await desk.only_case()

    (outcome,) = await _accept(desk, [now])

    assert (outcome.reason, "already" in outcome.message) == ("STATE_FORBIDS", True)


async def _referenced(desk: Desk, reference: str) -> str:
    """An entry and a line of one reference; the entry's name."""
    entry = await desk.entry(300, reference=reference)
    await desk.line(300, reference=reference)
    desk.clock.moment += timedelta(minutes=1)
    await desk.night()
    return entry


async def test_what_a_rule_over_its_limit_finds_is_proposed_and_not_strong(desk: Desk) -> None:
    service = await desk.cases_of(OPERATOR)
    for reference in ("R1", "R2"):
        entry = await _referenced(desk, reference)
        (match,) = (
            await service.ListMatches(pb.ListMatchesRequest(parent="funds/-", member=entry))
        ).matches
        await service.UndoMatch(
            pb.UndoMatchRequest(name=match.name, reason="not these", request_id=request_id())
        )

    case = await desk.case_with(await _referenced(desk, "R3"))
    (outcome,) = await _accept(desk, [case])

    run = (await service.GetRun(pb.GetRunRequest(name="reconciliationRuns/latest"))).run
    assert list(run.demoted_rules) == ["reference"]
    assert case.cause == "proposed_reference"
    assert (outcome.reason, "took back" in outcome.message) == ("STATE_FORBIDS", True)


async def test_a_request_for_many_sent_again_is_answered_the_same(desk: Desk) -> None:
    case = await _proposal(desk, 300)
    service = await desk.cases_of(OPERATOR)
    request = pb.AcceptProposalsRequest(
        cases=[pb.ReadCase(name=case.name, etag=case.etag)], reason="yes", request_id=request_id()
    )

    first = await service.AcceptProposals(request)

    assert await service.AcceptProposals(request) == first
    assert len(await desk.world.rows(t.resolutions)) == 1
    empty = pb.AcceptProposalsRequest(reason="yes", request_id=request_id())
    assert (await refusal(service.AcceptProposals(empty))).reason == "FIELD_INVALID"
