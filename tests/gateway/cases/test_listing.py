"""Cases as they are asked for: by fund, kind, age, weight, cause, state; in order, page by page."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, OTHER_FUND, taking
from tests.gateway.support import NOW, OPERATOR, SUPERVISOR, TODAY, refusal

if TYPE_CHECKING:
    from tests.gateway.cases.desk import Desk

_DAY = timedelta(days=1)


@pytest.fixture
async def cases(desk: Desk) -> dict[str, pb.Case]:
    """An old one over 300, a young one over 900, and one of the other fund over 20."""
    desk.clock.moment = NOW
    rows = {
        "old": await desk.line(300, day=TODAY - 9 * _DAY),
        "heavy": await desk.entry(900, text="来款"),
        "other": await desk.entry(-20, OTHER_FUND, text="手续费"),
    }
    await desk.night()
    found = {}
    for name, row in rows.items():
        case = await desk.case_with(row)
        found[name] = case
        await _set(desk, case, weight_minor=abs(case.amount.amount_minor))
    await _set(desk, found["heavy"], due_date=TODAY - _DAY)
    return found


async def _set(desk: Desk, case: pb.Case, **values: object) -> None:
    async with desk.store.transaction(GATEWAY) as conn:
        this = t.cases.c.case_id == case.name.split("/")[-1]
        await conn.execute(t.cases.update().where(this).values(**values))


async def test_cases_come_by_age_by_due_day_and_by_weight(
    desk: Desk, cases: dict[str, pb.Case]
) -> None:
    async def order(by: pb.CaseOrder.ValueType) -> list[str]:
        names = {case.name: name for name, case in cases.items()}
        return [names[case.name] for case in await desk.listed(order=by)]

    assert (await order(pb.CASE_ORDER_OLDEST))[0] == "old"
    assert (await order(pb.CASE_ORDER_DUE))[0] == "heavy"
    assert await order(pb.CASE_ORDER_WEIGHT) == ["heavy", "old", "other"]


@pytest.mark.parametrize("by", [pb.CASE_ORDER_OLDEST, pb.CASE_ORDER_DUE, pb.CASE_ORDER_WEIGHT])
async def test_every_order_is_the_same_page_by_page(
    desk: Desk, cases: dict[str, pb.Case], by: pb.CaseOrder.ValueType
) -> None:
    service = await desk.cases_of(SUPERVISOR)
    operator = await desk.cases_of(OPERATOR)
    request, found = pb.ListCasesRequest(parent="funds/-", page_size=1, order=by), []

    while True:
        answer = await operator.ListCases(request)
        found += [case.name for case in answer.cases]
        request.page_token = answer.next_page_token
        if not request.page_token:
            break

    assert found == [case.name for case in await desk.listed(order=by)]
    assert len(found) == len(cases)
    first = await operator.ListCases(pb.ListCasesRequest(parent="funds/-", page_size=1, order=by))
    other = pb.ListCasesRequest(parent=f"funds/{FUND}", page_token=first.next_page_token, order=by)
    assert (await refusal(service.ListCases(other))).reason == "PAGE_TOKEN_INVALID"


async def test_cases_are_chosen_by_every_condition(desk: Desk, cases: dict[str, pb.Case]) -> None:
    old, heavy, other = (cases[name].name for name in ("old", "heavy", "other"))
    asked: list[tuple[dict[str, Any], set[str]]] = [
        ({"min_age_days": 9}, {old}),
        ({"min_age_days": 10}, set()),
        ({"min_weight_minor": 300}, {old, heavy}),
        ({"max_weight_minor": 300}, {old, other}),
        ({"only_overdue": True}, {heavy}),
        ({"cause": "bank_fee"}, {other}),
        ({"kinds": [pb.CASE_KIND_MISSING_IN_BANK]}, {old}),
        ({"parent": f"funds/{FUND}"}, {old, heavy}),
        ({"parent": f"funds/{FUND}", "max_weight_minor": 300}, {old}),
        ({"states": [pb.CASE_STATE_WAITING]}, set()),
    ]

    for fields, expected in asked:
        assert {case.name for case in await desk.listed(**fields)} == expected, fields


async def test_cases_are_chosen_by_where_they_stand(desk: Desk, cases: dict[str, pb.Case]) -> None:
    await desk.decide(cases["heavy"], "WAIT", wait_until=day(TODAY + _DAY))
    await desk.propose(cases["other"], "SEND_BACK")
    line = await desk.entry(300)
    parts = taking((line, None), (cases["old"].members[0].name, None))
    await desk.decide(cases["old"], "MATCH", allocations=parts)
    stands = {
        pb.CASE_STATE_WAITING: "heavy",
        pb.CASE_STATE_PROPOSED: "other",
        pb.CASE_STATE_CLOSED: "old",
    }

    for state, name in stands.items():
        assert [case.name for case in await desk.listed(states=[state])] == [cases[name].name]
    every = await desk.listed(states=list(stands))
    assert {case.name for case in every} == {case.name for case in cases.values()}
    assert not any(case.overdue for case in every)


async def test_a_case_is_shown_with_the_rows_that_may_belong_to_it(desk: Desk) -> None:
    entry = await desk.entry(500, reference="R1")
    near = await desk.line(499, reference="R2")
    await desk.line(77)
    await desk.night()
    case = await desk.case_with(entry)

    read = await desk.case(case.name)

    best = read.candidates[0]
    assert (best.member.name, best.rank) == (near, 1)
    assert best.case == (await desk.case_with(near)).name
    assert {each.field for each in best.evidence} >= {"amount", "date"}
    assert read.explanation.run == read.case.run
    assert list(read.evidence) == []


async def test_the_two_sides_of_a_case_are_compared_field_by_field(desk: Desk) -> None:
    await desk.entry(500, reference="R1")
    await desk.line(450, reference="R1")
    await desk.night()

    read = await desk.case((await desk.only_case()).name)

    found = {each.field: each for each in read.evidence}
    assert found["amount"].result == pb.EVIDENCE_RESULT_DIFFERS
    assert (found["amount"].bank_value, found["amount"].ledger_value) == ("500", "450")
    assert found["reference"].result == pb.EVIDENCE_RESULT_AGREES
