"""A firm's record: each kind of fact with its dates, and nothing else."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import duty_service_pb2 as pb
from xinyi.v1 import fund_service_pb2 as fund_pb

from gateway.duties.lapses import LapseWatch
from gateway.rpc.convert import day
from tests.gateway.duties.people import FUND, MONTHLY, TRANSIT_DAYS, publish, set_rules
from tests.gateway.duties.test_detail import PARKING, WHOLE, itemise
from tests.gateway.questions.people import answer, ask
from tests.gateway.support import (
    FIRM,
    OPERATOR,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    TODAY,
    Callers,
    StillClock,
    Who,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app import Gateway
    from tests.gateway.cases.desk import Desk

QUESTION_DUE = date(2026, 11, 27)
PERIOD_DUE = date(2026, 12, 10)


async def record(
    callers: Callers, who: Who = SUPERVISOR, party_id: str = FIRM.party_id, **fields: Any
) -> Sequence[pb.Fact]:
    request = pb.GetFirmRecordRequest(name=f"parties/{party_id}", **fields)
    return list((await (await callers.as_(who)).duties.GetFirmRecord(request)).facts)


async def _by_kind(callers: Callers) -> dict[int, pb.Fact]:
    facts = await record(callers)
    assert len({fact.kind for fact in facts}) == len(facts)
    return {fact.kind: fact for fact in facts}


async def _pass_days(watch: LapseWatch, clock: StillClock, until: date) -> None:
    """Looks once on each day, as the gateway does."""
    while clock.moment.date() <= until:
        await watch.look()
        clock.moment += timedelta(days=1)


async def test_each_kind_of_fact_stands_with_the_day_it_was_due_and_the_day_it_was_done(
    gateway: Gateway, desk: Desk, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY], itemised_categories=[PARKING])
    line = await desk.line(sum(item.amount.amount_minor for item in WHOLE), category=PARKING)
    question = await ask(callers, line)
    await gateway.publisher.log_all()
    watch = LapseWatch(gateway.store, clock, TRANSIT_DAYS)
    await _pass_days(watch, clock, PERIOD_DUE + timedelta(days=1))

    open_facts = await _by_kind(callers)
    assert {kind: (fact.resource, fact.due_date) for kind, fact in open_facts.items()} == {
        pb.FACT_KIND_MISSING_DETAIL: (line, day(TODAY)),
        pb.FACT_KIND_UNRECONCILED_LINE: (line, day(TODAY + timedelta(days=TRANSIT_DAYS))),
        pb.FACT_KIND_UNANSWERED_QUESTION: (question.name, day(QUESTION_DUE)),
        pb.FACT_KIND_LATE_DISCLOSURE: (f"{FUND}/periods/monthly-2026-11", day(PERIOD_DUE)),
    }
    assert not any(fact.HasField("done_date") for fact in open_facts.values())

    today = clock.moment.date()
    await itemise(callers, line)
    await answer(callers, question)
    await publish(callers, "monthly-2026-11")
    await desk.entry(sum(item.amount.amount_minor for item in WHOLE))
    done_facts = await _by_kind(callers)
    reconciled = done_facts.pop(pb.FACT_KIND_UNRECONCILED_LINE)
    assert not reconciled.HasField("done_date"), "no night has matched it"
    assert [fact.done_date for fact in done_facts.values()] == [day(today)] * 3
    for kind, fact in done_facts.items():
        assert fact.record_time == open_facts[kind].record_time


async def test_a_line_that_a_night_matches_is_done_on_the_nights_day(
    gateway: Gateway, desk: Desk, callers: Callers, clock: StillClock
) -> None:
    await desk.line(100, reference="R1")
    clock.moment += timedelta(days=TRANSIT_DAYS)
    watch = LapseWatch(gateway.store, clock, TRANSIT_DAYS)
    assert await watch.look() == 0, "it may be in transit"
    clock.moment += timedelta(days=1)
    assert await watch.look() == 1
    await desk.entry(100, reference="R1")
    await desk.night()
    (fact,) = await record(callers)
    assert (fact.kind, fact.done_date) == (pb.FACT_KIND_UNRECONCILED_LINE, day(TODAY))


async def test_a_lump_sum_that_is_taken_back_is_done_with(
    gateway: Gateway, desk: Desk, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, itemised_categories=[PARKING])
    line = await desk.line(100, category=PARKING)
    clock.moment = desk.world.now = clock.moment + timedelta(days=1)
    await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look()
    number = int(line.rpartition("/")[2])
    await desk.line(-100, category=PARKING, corrects=number, correction_reason="另列明细")
    (fact,) = await record(callers)
    assert fact.done_date == day(TODAY + timedelta(days=1))


async def test_a_record_has_only_what_lapsed_while_the_firm_was_appointed(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    watch = LapseWatch(gateway.store, clock, TRANSIT_DAYS)
    await ask(callers, f"{FUND}/lines/1")
    clock.moment += timedelta(days=8)
    await watch.look()
    await ask(callers, f"{FUND}/lines/1")
    request = fund_pb.EndAppointmentRequest(
        name=f"estates/wutong/appointments/{FIRM.party_id}", request_id=request_id()
    )
    await (await callers.as_(OPERATOR)).funds.EndAppointment(request)
    clock.moment += timedelta(days=8)
    assert await watch.look() == 1
    (fact,) = await record(callers)
    assert fact.due_date == day(QUESTION_DUE)


@pytest.mark.parametrize(
    ("who", "party_id", "count"),
    [
        (OWNER, FIRM.party_id, 1),
        (FIRM, FIRM.party_id, 1),
        (OPERATOR, FIRM.party_id, 1),
        (OTHER_FIRM, FIRM.party_id, 0),
        (OPERATOR, OTHER_FIRM.party_id, 0),
        (OPERATOR, "nobody", 0),
    ],
)
async def test_who_may_see_the_estate_sees_the_record(
    who: Who, party_id: str, count: int, gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await ask(callers, f"{FUND}/lines/1")
    clock.moment += timedelta(days=8)
    await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look()
    assert len(await record(callers, who, party_id)) == count


async def test_pages_of_a_record_follow_each_other_and_kinds_are_chosen(
    gateway: Gateway, desk: Desk, callers: Callers, clock: StillClock
) -> None:
    line = await desk.line(5)
    for _ in range(3):
        await ask(callers, line)
    clock.moment += timedelta(days=8)
    await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look()
    service = (await callers.as_(FIRM)).duties
    request = pb.GetFirmRecordRequest(name=f"parties/{FIRM.party_id}", page_size=3)
    first = await service.GetFirmRecord(request)
    request.page_token = first.next_page_token
    second = await service.GetFirmRecord(request)
    found = [fact.resource for page in (first, second) for fact in page.facts]
    assert len(found) == len(set(found)) == 4
    assert second.next_page_token == ""
    (unmatched,) = await record(callers, kinds=[pb.FACT_KIND_UNRECONCILED_LINE])
    assert unmatched.resource == line
