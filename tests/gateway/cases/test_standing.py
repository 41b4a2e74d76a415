"""Cases that wait, are at the bank, or say that rows do not belong together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.rpc.convert import day
from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, adjustment, taking
from tests.gateway.support import TODAY, refusal

if TYPE_CHECKING:
    from tests.gateway.cases.desk import Desk

_DAY = timedelta(days=1)


async def _receipt(desk: Desk) -> pb.Case:
    await desk.entry(300, text="来款")
    await desk.night()
    return await desk.only_case()


async def test_a_case_waits_until_the_end_of_a_day_and_is_open_again(desk: Desk) -> None:
    case = await _receipt(desk)

    await desk.decide(case, "WAIT", wait_until=day(TODAY + _DAY))

    assert (await desk.only_case()).state == pb.CASE_STATE_WAITING
    assert (await desk.only_case()).wait_until == day(TODAY + _DAY)
    desk.clock.moment += _DAY
    assert (await desk.only_case()).state == pb.CASE_STATE_WAITING
    desk.clock.moment += _DAY
    assert (await desk.only_case()).state == pb.CASE_STATE_OPEN
    assert [each.kind for each in (await desk.case(case.name)).events] == [
        "FOUND",
        "PROPOSED",
        "APPROVED",
    ]


async def test_nobody_waits_into_the_past_or_for_ever(desk: Desk) -> None:
    case = await _receipt(desk)

    for until in (TODAY, TODAY + 93 * _DAY):
        call = desk.proposing(case, "WAIT", wait_until=day(until))
        assert (await refusal(call)).reason == "FIELD_INVALID"
    assert (await refusal(desk.proposing(case, "WAIT"))).reason == "FIELD_INVALID"
    await desk.propose(case, "WAIT", wait_until=day(TODAY + 92 * _DAY))


async def test_a_case_is_at_the_bank_until_something_else_is_decided(desk: Desk) -> None:
    case = await _receipt(desk)

    sent = await desk.decide(case, "SEND_BACK", bank_reference="Q-1")

    at_bank = await desk.only_case()
    assert (at_bank.state, sent.bank_reference) == (pb.CASE_STATE_AT_BANK, "Q-1")
    waiting = await desk.decide(at_bank, "WAIT", wait_until=day(TODAY + _DAY))
    assert (await desk.only_case()).state == pb.CASE_STATE_WAITING
    await desk.undo(waiting)
    assert (await desk.only_case()).state == pb.CASE_STATE_AT_BANK
    await desk.undo(sent)
    assert (await desk.only_case()).state == pb.CASE_STATE_OPEN


async def test_rows_that_do_not_belong_together_are_named_and_stay_open(desk: Desk) -> None:
    entry = await desk.entry(300, reference="R1")
    line = await desk.line(200, reference="R1")
    await desk.night()
    case = await desk.only_case()

    apart = await desk.decide(case, "KEEP_APART")

    assert {each.name for each in apart.allocations} == {entry, line}
    assert (await desk.only_case()).state == pb.CASE_STATE_OPEN
    kept = await desk.world.rows(t.resolution_members, fund_id=FUND)
    assert [(row["side"], row["allocated_minor"]) for row in kept] == [
        ("bank", 300),
        ("ledger", 200),
    ]
    assert (await desk.undo(apart)).state == pb.RESOLUTION_STATE_UNDONE


async def test_one_row_alone_cannot_be_kept_apart(desk: Desk) -> None:
    case = await _receipt(desk)

    assert (await refusal(desk.proposing(case, "KEEP_APART"))).reason == "MATCH_UNEVEN"


async def test_what_has_nothing_to_do_with_an_action_is_refused(desk: Desk) -> None:
    case = await _receipt(desk)
    (row,) = case.members
    nonsense: list[tuple[str, dict[str, Any]]] = [
        ("WAIT", {"wait_until": day(TODAY + _DAY), "allocations": taking((row.name, None))}),
        ("MATCH", {"adjustment": adjustment()}),
        ("SEND_BACK", {"wait_until": day(TODAY + _DAY)}),
        ("MATCH", {"bank_reference": "Q-1"}),
    ]

    for action, fields in nonsense:
        call = desk.proposing(case, action, **fields)
        assert (await refusal(call)).reason == "FIELD_INVALID"


async def test_a_proposal_that_replaces_another_names_what_was_undone(desk: Desk) -> None:
    case = await _receipt(desk)
    sent = await desk.decide(case, "SEND_BACK")
    again = await desk.only_case()

    standing = desk.proposing(again, "SEND_BACK", supersedes=sent.name)
    assert (await refusal(standing)).reason == "FIELD_INVALID"
    unknown = desk.proposing(again, "SEND_BACK", supersedes=f"funds/{FUND}/resolutions/none")
    assert (await refusal(unknown)).reason == "RESOURCE_NOT_FOUND"
    await desk.undo(sent)

    later = await desk.propose(await desk.only_case(), "SEND_BACK", supersedes=sent.name)

    assert later.supersedes == sent.name
