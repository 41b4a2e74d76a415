"""Who may do what with a case, and that of two at one moment only one wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.domain.party import Role
from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, outcomes, taking
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    OPERATOR,
    OWNER,
    SUPERVISOR,
    Who,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from tests.gateway.cases.desk import Desk

DEPUTY = Who("trust", "deputy", Role.TRUSTEE_CHECKER)
TWIN = Who("gateway", "twin", Role.OPERATOR)
STRANGER = Who("elsewhere", "checker", Role.TRUSTEE_CHECKER)


async def _pair(desk: Desk) -> tuple[pb.Case, list[pb.Allocation]]:
    entry, line = await desk.entry(300, reference="R1"), await desk.line(200, reference="R1")
    await desk.night()
    return await desk.only_case(), taking((entry, 200), (line, None))


async def test_of_two_proposals_at_one_moment_one_wins(desk: Desk) -> None:
    case, parts = await _pair(desk)

    found = await outcomes(
        desk.proposing(case, "MATCH", MAKER, allocations=parts),
        desk.proposing(case, "MATCH", OPERATOR, allocations=parts),
        desk.proposing(case, "SEND_BACK", CHECKER),
    )

    assert found == ["", "ETAG_MISMATCH", "ETAG_MISMATCH"]
    assert len(await desk.world.rows(t.resolutions)) == 1


async def test_of_two_approvals_at_one_moment_one_wins(desk: Desk) -> None:
    case, parts = await _pair(desk)
    proposed = await desk.propose(case, "MATCH", allocations=parts)

    found = await outcomes(desk.approve(proposed, CHECKER), desk.approve(proposed, OPERATOR))

    assert found == ["", "STATE_FORBIDS"]
    assert len(await desk.world.rows(t.matches, status="decided")) == 1


async def test_two_approvals_at_one_moment_never_share_a_row(desk: Desk) -> None:
    entry = await desk.entry(300)
    lines = [await desk.line(100), await desk.line(201)]
    await desk.night()
    cases = [await desk.case_with(row) for row in lines]
    proposals = [
        await desk.propose(case, "MATCH", allocations=taking((entry, minor), (line, minor)))
        for case, line, minor in zip(cases, lines, (100, 201), strict=True)
    ]

    found = await outcomes(*(desk.approve(each) for each in proposals))

    assert found == ["", "ITEM_NOT_OPEN"]
    await desk.check()


async def test_a_case_with_a_proposal_takes_no_second_one(desk: Desk) -> None:
    case, parts = await _pair(desk)
    await desk.propose(case, "MATCH", allocations=parts)
    now = await desk.only_case()

    call = desk.proposing(now, "SEND_BACK", CHECKER)

    assert (await refusal(call)).reason == "STATE_FORBIDS"


async def test_who_proposed_does_not_decide_not_even_for_another_party(desk: Desk) -> None:
    case, parts = await _pair(desk)
    maker = await desk.world.one(t.persons, party_id="trust", person_id="maker")
    await desk.enrol(TWIN, human=maker["natural_person"])
    proposed = await desk.propose(case, "MATCH", MAKER, allocations=parts)

    assert (await refusal(desk.approve(proposed, TWIN))).reason == "SAME_PERSON"
    service = await desk.cases_of(TWIN)
    rejecting = service.RejectResolution(
        pb.RejectResolutionRequest(name=proposed.name, reason="no", request_id=request_id())
    )
    assert (await refusal(rejecting)).reason == "SAME_PERSON"
    assert (await refusal(desk.approve(proposed, MAKER))).reason == "ROLE_NOT_ALLOWED"


async def test_a_rejected_proposal_makes_room_for_another(desk: Desk) -> None:
    case, parts = await _pair(desk)
    proposed = await desk.propose(case, "MATCH", allocations=parts)
    service = await desk.cases_of(CHECKER)
    request = pb.RejectResolutionRequest(
        name=proposed.name, reason="ask the bank", request_id=request_id()
    )

    rejected = (await service.RejectResolution(request)).resolution

    assert rejected.state == pb.RESOLUTION_STATE_REJECTED
    assert (rejected.decider, rejected.decision_note) == (CHECKER.name, "ask the bank")
    assert (await refusal(desk.approve(proposed))).reason == "STATE_FORBIDS"
    assert (await refusal(desk.undo(proposed))).reason == "STATE_FORBIDS"
    await desk.decide(await desk.only_case(), "SEND_BACK")


async def test_only_who_proposed_withdraws(desk: Desk) -> None:
    case, parts = await _pair(desk)
    proposed = await desk.propose(case, "MATCH", allocations=parts)
    request = pb.WithdrawResolutionRequest(name=proposed.name, request_id=request_id())

    other = (await desk.cases_of(CHECKER)).WithdrawResolution(request)
    assert (await refusal(other)).reason == "ROLE_NOT_ALLOWED"
    own = await (await desk.cases_of(MAKER)).WithdrawResolution(request)

    assert own.resolution.state == pb.RESOLUTION_STATE_WITHDRAWN
    assert [each.kind for each in (await desk.case(case.name)).events] == [
        "FOUND",
        "PROPOSED",
        "WITHDRAWN",
    ]


async def test_what_was_proposed_is_looked_at_again_before_it_is_done(desk: Desk) -> None:
    entry, line = await desk.entry(300, reference="R1"), await desk.line(200, reference="R1")
    other = await desk.line(100)
    await desk.night()
    case, third = await desk.case_with(entry), await desk.case_with(other)
    parts = taking((entry, 200), (line, None))
    proposed = await desk.propose(case, "MATCH", allocations=parts)
    # Somebody else takes 150 of the entry meanwhile, through the case of another line.
    extra = await desk.line(50)
    await desk.decide(
        third, "MATCH", allocations=taking((entry, 150), (other, None), (extra, None))
    )

    assert (await refusal(desk.approve(proposed))).reason == "ITEM_NOT_OPEN"
    await desk.check()


async def test_a_request_sent_again_is_answered_the_same_and_done_once(desk: Desk) -> None:
    case, parts = await _pair(desk)
    proposed = await desk.propose(case, "MATCH", allocations=parts)
    service = await desk.cases_of(CHECKER)
    request = pb.ApproveResolutionRequest(name=proposed.name, request_id=request_id())

    first = await service.ApproveResolution(request)

    assert await service.ApproveResolution(request) == first
    assert len(await desk.world.rows(t.matches, status="decided")) == 1


async def test_a_trustee_of_other_estates_finds_nothing(desk: Desk) -> None:
    case, parts = await _pair(desk)
    proposed = await desk.propose(case, "MATCH", allocations=parts)
    await desk.enrol(STRANGER, new_party=True)
    service = await desk.cases_of(STRANGER)

    calls = [
        desk.case(case.name, STRANGER),
        desk.approve(proposed, STRANGER),
        desk.proposing(case, "SEND_BACK", STRANGER),
        service.AssignCase(
            pb.AssignCaseRequest(name=case.name, etag=case.etag, request_id=request_id())
        ),
        service.CommentCase(
            pb.CommentCaseRequest(name=case.name, text="?", request_id=request_id())
        ),
        service.ListMatches(pb.ListMatchesRequest(parent=f"funds/{FUND}")),
        service.ListResolutions(pb.ListResolutionsRequest(parent=f"funds/{FUND}")),
    ]
    for call in calls:
        assert (await refusal(call)).reason == "RESOURCE_NOT_FOUND"
    assert await desk.listed(STRANGER) == []


async def test_a_supervisor_reads_and_remarks_and_decides_nothing(desk: Desk) -> None:
    case, parts = await _pair(desk)
    proposed = await desk.propose(case, "MATCH", allocations=parts)
    service = await desk.cases_of(SUPERVISOR)

    read = await desk.case(case.name, SUPERVISOR)
    remark = await service.CommentCase(
        pb.CommentCaseRequest(name=case.name, text="why so late?", request_id=request_id())
    )

    assert read.case.proposal == proposed
    assert (remark.event.kind, remark.event.actor) == ("COMMENTED", SUPERVISOR.name)
    calls = [
        desk.proposing(case, "SEND_BACK", SUPERVISOR),
        desk.approve(proposed, SUPERVISOR),
        desk.undo(proposed, SUPERVISOR),
        desk.approve(proposed, FIRM),
        desk.case(case.name, OWNER),
    ]
    for call in calls:
        assert (await refusal(call)).reason == "ROLE_NOT_ALLOWED"


async def _assign(desk: Desk, case: pb.Case, assignee: str) -> pb.Case:
    service = await desk.cases_of(OPERATOR)
    request = pb.AssignCaseRequest(
        name=case.name, assignee=assignee, etag=case.etag, request_id=request_id()
    )
    assigned: pb.Case = (await service.AssignCase(request)).case
    return assigned


async def test_a_case_is_given_to_somebody_and_found_by_them(desk: Desk) -> None:
    case, _ = await _pair(desk)

    mine = await _assign(desk, case, MAKER.name)

    assert (mine.assignee, mine.etag != case.etag) == (MAKER.name, True)
    assert [each.name for each in await desk.listed(assignee=MAKER.name)] == [case.name]
    assert await desk.listed(assignee="-") == []
    nobodys = await _assign(desk, mine, "")
    assert [each.name for each in await desk.listed(assignee="-")] == [nobodys.name]


async def test_a_case_is_given_only_to_who_works_on_its_fund(desk: Desk) -> None:
    case, _ = await _pair(desk)
    await desk.enrol(STRANGER, new_party=True)
    refused = {
        "parties/trust/persons/nobody": "RESOURCE_NOT_FOUND",
        CHAIR.name: "ROLE_NOT_ALLOWED",
        STRANGER.name: "ROLE_NOT_ALLOWED",
    }

    for name, reason in refused.items():
        assert (await refusal(_assign(desk, case, name))).reason == reason
    assert (await _assign(desk, case, OPERATOR.name)).assignee == OPERATOR.name


async def test_resolutions_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    case, parts = await _pair(desk)
    sent = await desk.decide(case, "SEND_BACK")
    proposed = await desk.propose(await desk.only_case(), "MATCH", allocations=parts)
    service = await desk.cases_of(SUPERVISOR)
    request = pb.ListResolutionsRequest(parent="funds/-", page_size=1)

    first = await service.ListResolutions(request)
    request.page_token = first.next_page_token
    second = await service.ListResolutions(request)

    names = {each.name for each in [*first.resolutions, *second.resolutions]}
    assert names == {sent.name, proposed.name}
    assert second.next_page_token == ""
    done = pb.ListResolutionsRequest(parent="funds/-", states=[pb.RESOLUTION_STATE_APPROVED])
    assert [each.name for each in (await service.ListResolutions(done)).resolutions] == [sent.name]
