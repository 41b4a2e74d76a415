"""Lump sums that the rules want by item: flagged, told by item, put on record."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import common_pb2
from xinyi.v1 import disclosure_service_pb2 as disclosure_pb
from xinyi.v1 import duty_service_pb2 as pb

from gateway.duties.lapses import LapseWatch
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.duties.people import FUND, TRANSIT_DAYS, set_rules
from tests.gateway.support import (
    FIRM,
    MAKER,
    OTHER_FIRM,
    OWNER,
    TODAY,
    Callers,
    StillClock,
    Who,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app import Gateway
    from tests.gateway.cases.desk import Desk

PARKING = "地面停车"


def item(label: str, count: int, amount_minor: int, currency: str = "CNY") -> Any:
    amount = common_pb2.Money(amount_minor=amount_minor, currency=currency)
    return disclosure_pb.LineItem(label=label, count=count, amount=amount)


WHOLE = (item("月租车位", 12, 360_000), item("临停", 845, 700_000))


async def itemise(
    callers: Callers, line: str, items: Sequence[Any] = WHOLE, who: Who = FIRM
) -> pb.ItemiseLineResponse:
    request = pb.ItemiseLineRequest(name=line, items=items, request_id=request_id())
    answer: pb.ItemiseLineResponse = await (await callers.as_(who)).duties.ItemiseLine(request)
    return answer


async def _lines(callers: Callers, **fields: Any) -> list[disclosure_pb.DisclosedLine]:
    request = disclosure_pb.ListDisclosedLinesRequest(parent=FUND, **fields)
    return list((await (await callers.as_(OWNER)).disclosure.ListDisclosedLines(request)).lines)


async def _flagged(callers: Callers) -> list[str]:
    """The lines that are marked, which must be those that the filter finds."""
    marked = [line.name for line in await _lines(callers) if line.missing_detail]
    assert marked == [line.name for line in await _lines(callers, missing_detail=True)]
    return marked


@pytest.fixture
async def parking(desk: Desk, callers: Callers) -> str:
    """A month's parking in one sum, which the rules want by item; the line's name."""
    await set_rules(callers, itemised_categories=[PARKING])
    return await desk.line(1_060_000, category=PARKING)


async def test_income_in_one_sum_is_flagged_until_it_is_told_by_item(
    callers: Callers, parking: str
) -> None:
    assert await _flagged(callers) == [parking]
    told = await itemise(callers, parking)
    assert list(told.items) == list(WHOLE)
    assert await _flagged(callers) == []
    (line,) = [line for line in await _lines(callers) if line.name == parking]
    assert list(line.items) == list(WHOLE)


async def test_only_income_that_stands_and_that_the_rules_name_is_flagged(
    desk: Desk, callers: Callers, clock: StillClock
) -> None:
    before = await desk.line(5, category=PARKING)
    clock.moment = desk.world.now = clock.moment + timedelta(hours=1)
    await set_rules(callers, itemised_categories=[PARKING])
    await desk.line(6, category="物业费")
    await desk.line(-7, category=PARKING)
    flagged = await desk.line(8, category=PARKING)
    number = int(flagged.rpartition("/")[2])
    assert await _flagged(callers) == [flagged], f"not {before}: no rule was there yet"
    await desk.line(-8, category=PARKING, corrects=number, correction_reason="记错")
    assert await _flagged(callers) == []


async def test_rules_that_no_longer_name_a_category_leave_what_was_disclosed_before(
    desk: Desk, callers: Callers, clock: StillClock, parking: str
) -> None:
    clock.moment += timedelta(hours=1)
    await set_rules(callers, version=1)
    async with desk.store.transaction(GATEWAY) as conn:
        rules = (await conn.execute(sa.select(t.disclosure_rules.c.created_at))).scalars().all()
    assert len(set(rules)) == 2
    assert await _flagged(callers) == [parking]


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([item("月租", 12, 1_059_999)], "AMOUNT_OUT_OF_RANGE"),
        ([item("月租", 12, 1_060_000, "USD")], "CURRENCY_MISMATCH"),
        ([], "FIELD_INVALID"),
        ([item("月租", 0, 1_060_000)], "FIELD_INVALID"),
    ],
)
async def test_items_that_do_not_come_to_the_line_are_refused(
    items: list[Any], reason: str, callers: Callers, parking: str
) -> None:
    assert (await refusal(itemise(callers, parking, items))).reason == reason
    assert await _flagged(callers) == [parking]


async def test_a_line_is_told_by_item_once(callers: Callers, parking: str) -> None:
    await itemise(callers, parking, who=MAKER)
    assert (await refusal(itemise(callers, parking))).reason == "RESOURCE_EXISTS"


@pytest.mark.parametrize(
    ("who", "reason"), [(OTHER_FIRM, "RESOURCE_NOT_FOUND"), (OWNER, "ROLE_NOT_ALLOWED")]
)
async def test_only_the_estates_own_firm_and_trustee_tell(
    who: Who, reason: str, callers: Callers, parking: str
) -> None:
    assert (await refusal(itemise(callers, parking, who=who))).reason == reason


async def test_numbers_of_persons_are_masked_in_items(callers: Callers, parking: str) -> None:
    told = await itemise(callers, parking, [item("王某13800138000", 1, 1_060_000)])
    assert told.items[0].label == "王某[手机号已隐去]"


async def test_a_past_day_is_shown_without_what_was_told_later(
    callers: Callers, clock: StillClock, parking: str
) -> None:
    clock.moment += timedelta(days=1)
    await itemise(callers, parking)
    past = [x for x in await _lines(callers, disclosed_by=day(TODAY)) if x.name == parking]
    assert [(len(line.items), line.missing_detail) for line in past] == [(0, True)]
    asked = _lines(callers, disclosed_by=day(TODAY), missing_detail=True)
    assert (await refusal(asked)).reason == "FIELD_INVALID"


async def _lapses(gateway: Gateway) -> list[tuple[str, str, list[str]]]:
    async with gateway.store.transaction(GATEWAY) as conn:
        rows = await conn.execute(sa.select(t.lapses))
    return [(row.kind, row.subject, row.firms) for row in rows]


async def test_what_was_not_told_on_its_day_is_recorded_once(
    gateway: Gateway, callers: Callers, clock: StillClock, parking: str
) -> None:
    watch = LapseWatch(gateway.store, clock, TRANSIT_DAYS)
    assert await watch.look() == 0
    for _ in range(2):
        clock.moment += timedelta(days=1)
        await watch.look()
    await itemise(callers, parking)
    clock.moment += timedelta(days=1)
    await watch.look()
    number = parking.rpartition("/")[2]
    assert await _lapses(gateway) == [("MISSING_DETAIL", number, [FIRM.party_id])]


async def test_what_was_told_on_its_day_is_no_lapse(
    gateway: Gateway, callers: Callers, clock: StillClock, parking: str
) -> None:
    await itemise(callers, parking)
    clock.moment += timedelta(days=1)
    assert await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look() == 0
