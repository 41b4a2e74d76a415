"""Rows matched by two persons, in full or in part, and taken apart again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.rpc.convert import day
from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, taking
from tests.gateway.support import (
    CHECKER,
    MAKER,
    OPERATOR,
    SUPERVISOR,
    TODAY,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from tests.gateway.cases.desk import Desk


async def _differing(desk: Desk) -> tuple[str, str, pb.Case]:
    """An entry over 300 and a line over 200 with one reference, and the case of the night."""
    entry = await desk.entry(300, reference="R1")
    line = await desk.line(200, reference="R1")
    await desk.night()
    return entry, line, await desk.only_case()


async def test_a_part_of_an_entry_is_matched_and_the_rest_stays_open(desk: Desk) -> None:
    entry, line, case = await _differing(desk)

    proposed = await desk.propose(case, "MATCH", allocations=taking((entry, 200), (line, None)))

    assert proposed.state == pb.RESOLUTION_STATE_PROPOSED
    assert [each.amount.amount_minor for each in proposed.allocations] == [200, 200]
    waiting = await desk.only_case()
    assert waiting.state == pb.CASE_STATE_PROPOSED
    assert waiting.proposal == proposed
    assert await desk.pending() == 200
    await desk.check()

    approved = await desk.approve(proposed)

    assert approved.state == pb.RESOLUTION_STATE_APPROVED
    left = await desk.only_case()
    assert (left.name, left.state) == (case.name, pb.CASE_STATE_OPEN)
    assert (left.amount.amount_minor, left.weight.amount_minor) == (100, 100)
    assert [row.open_amount.amount_minor for row in left.members] == [100, 0]
    assert await desk.pending() == 0
    await desk.check()


async def test_a_line_matched_in_full_is_settled_and_the_match_says_by_whom(desk: Desk) -> None:
    entry = await desk.entry(500, value_date=TODAY)
    line, _ = await desk.line(500), await desk.line(500)
    await desk.night()
    case = await desk.case_with(entry)

    approved = await desk.decide(case, "MATCH", allocations=taking((entry, None), (line, None)))

    row = await desk.world.one(t.disclosed_lines, fund_id=FUND, line_number=2)
    assert (row["settled"], row["bank_value_date"]) == (True, TODAY)
    match = await _match(desk, approved)
    assert (match.rule, match.decided) == ("pin", True)
    assert match.explanation.proposer == MAKER.name
    assert match.explanation.approver == CHECKER.name
    assert [each.open_amount.amount_minor for each in match.members] == [500, 500]
    assert match.amount.amount_minor == 500


async def _match(desk: Desk, resolution: pb.Resolution) -> pb.Match:
    service = await desk.cases_of(SUPERVISOR)
    match: pb.Match = (await service.GetMatch(pb.GetMatchRequest(name=resolution.match))).match
    return match


async def test_an_undone_match_leaves_everything_as_it_was(desk: Desk) -> None:
    entry, line, case = await _differing(desk)
    before = await _rows(desk)
    approved = await desk.decide(case, "MATCH", allocations=taking((entry, 200), (line, None)))

    undone = await desk.undo(approved)

    assert undone.state == pb.RESOLUTION_STATE_UNDONE
    assert (undone.undone_by, undone.undo_reason) == (CHECKER.name, "it was wrong")
    assert await _rows(desk) == before
    back = await desk.only_case()
    assert (back.name, back.amount.amount_minor) == (case.name, 100)
    assert (await _match(desk, approved)).undone_by == CHECKER.name
    await desk.check()


async def _rows(desk: Desk) -> list[object]:
    """Lines, entries and books, as they are kept."""
    tables = (t.disclosed_lines, t.bank_entries, t.books)
    return [await desk.world.rows(table, fund_id=FUND) for table in tables]


async def test_an_undone_match_reopens_the_cases_that_it_had_closed(desk: Desk) -> None:
    entry = await desk.entry(700)
    first, second = await desk.line(300), await desk.line(401)
    await desk.night()
    cases = {row: (await desk.case_with(row)).name for row in (entry, first, second)}
    assert len(set(cases.values())) == 3
    case = await desk.case_with(entry)
    parts = taking((entry, None), (first, None), (second, 400))

    approved = await desk.decide(case, "MATCH", allocations=parts)

    assert [each.name for each in await desk.listed()] == [cases[second]]
    closed = (await desk.case(cases[first])).case
    assert closed.state == pb.CASE_STATE_CLOSED
    assert closed.closed_by == approved.name
    await desk.undo(approved)

    assert {each.name for each in await desk.listed()} == set(cases.values())
    events = [each.kind for each in (await desk.case(cases[first])).events]
    assert events[-4:] == ["APPROVED", "CLOSED", "REOPENED", "UNDONE"]


async def test_a_wrong_booking_of_the_bank_and_its_reversal_are_a_match(desk: Desk) -> None:
    wrong = await desk.entry(-900, text="误记")
    back = await desk.entry(900, text="冲正")
    await desk.night()
    case = await desk.case_with(wrong)

    approved = await desk.decide(case, "MATCH", allocations=taking((wrong, None), (back, None)))

    assert (await _match(desk, approved)).amount.amount_minor == 0
    assert await desk.listed() == []


async def test_a_decided_match_is_never_changed_by_a_later_night(desk: Desk) -> None:
    entry, other = await desk.entry(500), await desk.entry(500)
    line = await desk.line(500)
    await desk.night()
    case = await desk.case_with(entry)
    approved = await desk.decide(case, "MATCH", allocations=taking((entry, None), (line, None)))
    pinned = await desk.world.rows(t.match_members, made_by=approved.name.split("/")[-1])

    new = await desk.line(500)
    await desk.night()

    later = await desk.world.rows(t.match_members, made_by=approved.name.split("/")[-1])
    assert later == pinned
    assert {row.name for row in (await desk.only_case()).members} == {other, new}


async def test_a_line_corrected_while_a_part_of_it_is_matched_stays_open(desk: Desk) -> None:
    entry = await desk.entry(-60)
    line = await desk.line(-100)
    await desk.night()
    case = await desk.case_with(entry)
    await desk.decide(case, "MATCH", allocations=taking((entry, None), (line, -60)))

    await desk.line(100, corrects=int(line.split("/")[-1]), void=True)

    rows = await desk.world.rows(t.disclosed_lines, fund_id=FUND, match_id="")
    assert [(row["amount_minor"], row["taken_minor"]) for row in rows] == [(-100, -60), (100, 0)]
    await desk.check()


async def test_a_preview_says_what_would_be_stored_and_stores_nothing(desk: Desk) -> None:
    entry, line, case = await _differing(desk)

    answer = await desk.proposing(
        case, "MATCH", allocations=taking((entry, 200), (line, None)), validate_only=True
    )

    assert answer.resolution.name == ""
    assert [each.amount.amount_minor for each in answer.resolution.allocations] == [200, 200]
    assert await desk.world.rows(t.resolutions) == []
    assert (await desk.only_case()).etag == case.etag


async def test_what_is_no_match_is_refused_with_its_reason(desk: Desk) -> None:
    entry, line, case = await _differing(desk)
    foreign = await desk.line(100, fund_id="jinjiang")
    lone = await desk.line(500)
    wrong = {
        "MATCH_UNEVEN": taking((entry, None), (line, None)),
        "ITEM_NOT_OPEN": taking((entry, 301), (line, None)),
        "AMOUNT_OUT_OF_RANGE": taking((entry, -200), (line, None)),
        "RESOURCE_NOT_FOUND": taking((entry, None), (foreign, None)),
        "FIELD_INVALID": taking((lone, None)),
    }

    for reason, allocations in wrong.items():
        call = desk.proposing(case, "MATCH", allocations=allocations)
        assert (await refusal(call)).reason == reason
    twice = taking((entry, 100), (entry, 200), (line, None))
    assert (await refusal(desk.proposing(case, "MATCH", allocations=twice))).reason == (
        "FIELD_INVALID"
    )
    assert (await desk.case(case.name)).case.etag == case.etag


async def test_rows_of_two_accounts_are_never_matched(desk: Desk) -> None:
    await desk.world.account(FUND, "second")
    entry = await desk.entry(200)
    line = await desk.line(200, account_id="second")
    await desk.night()
    case = await desk.case_with(entry)

    call = desk.proposing(case, "MATCH", allocations=taking((entry, None), (line, None)))

    assert (await refusal(call)).reason == "MATCH_UNEVEN"


async def test_an_etag_of_before_a_change_is_refused(desk: Desk) -> None:
    entry, line, case = await _differing(desk)
    service = await desk.cases_of(OPERATOR)
    await service.CommentCase(
        pb.CommentCaseRequest(name=case.name, text="the bank was called", request_id=request_id())
    )

    call = desk.proposing(case, "MATCH", allocations=taking((entry, 200), (line, None)))

    assert (await refusal(call)).reason == "ETAG_MISMATCH"
    assert case.oldest_date == day(TODAY)
