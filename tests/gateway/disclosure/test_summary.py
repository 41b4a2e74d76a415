"""Both standard summaries, against sums made by hand and against the book itself."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.clock import end_of
from gateway.disclosure.period import Period
from gateway.disclosure.summary import Sum, fund_summary, summarise
from gateway.domain.errors import GatewayError
from gateway.domain.party import Role
from gateway.rpc.convert import day
from gateway.rpc.disclosure import DisclosureServicer
from gateway.store import GATEWAY
from tests.gateway.night.world import DAY, NOW, TODAY

if TYPE_CHECKING:
    from gateway.disclosure.summary import BookSummary
    from tests.gateway.night.world import World

OCTOBER, NOVEMBER = date(2026, 10, 5), date(2026, 11, 5)
QUARTER = Period.of_months("2026-10", "2026-12")
MONTHS = QUARTER.months()
sums = st.lists(
    st.builds(
        Sum,
        st.sampled_from(["COMMON", "MAINTENANCE"]),
        st.sampled_from(MONTHS),
        st.sampled_from(["物业费", "清洁", "广告"]),
        st.integers(-(10**6), 10**6),
        st.integers(-(10**6), 10**6),
    )
)


@given(sums, st.integers())
def test_opening_and_income_less_cost_is_closing_however_it_is_divided(
    given_sums: list[Sum], opening_minor: int
) -> None:
    book = summarise("COMMON", opening_minor, given_sums, QUARTER)
    assert book.opening_minor + book.income_minor - book.cost_minor == book.closing_minor
    assert book.months[-1].balance_minor == book.closing_minor
    for part in (book.kinds, book.months):
        assert sum(each.income_minor for each in part) == book.income_minor
        assert sum(each.cost_minor for each in part) == book.cost_minor


async def common(world: World, period: Period, disclosed_by: date | None = None) -> BookSummary:
    async with world.store.snapshot(GATEWAY) as conn:
        return (await fund_summary(conn, "f1", period, disclosed_by)).books[0]


async def test_a_corrected_payment_is_less_cost_and_no_income(world: World) -> None:
    await world.fund(opening_minor=10_000)
    await world.line("f1", 5_000, NOVEMBER)
    paid = await world.line("f1", -700, NOVEMBER, category="清洁")
    await world.line("f1", -300, NOVEMBER, category="清洁")
    await world.line(
        "f1", 700, NOVEMBER, category="清洁", corrects=paid.line_number, correction_reason="退回"
    )

    book = await common(world, Period.of_months("2026-11", "2026-11"))

    assert (book.opening_minor, book.income_minor, book.cost_minor) == (10_000, 5_000, 300)
    assert [(kind.category, kind.cost_minor) for kind in book.kinds] == [
        ("物业费", 0),
        ("清洁", 300),
    ]
    assert book.closing_minor == 14_700


async def test_months_follow_on_each_other_and_begin_with_what_was_there(world: World) -> None:
    await world.fund()
    await world.line("f1", 100, date(2026, 9, 30))
    await world.line("f1", 20, OCTOBER)
    await world.line("f1", -5, NOVEMBER)
    await world.line("f1", 7, NOVEMBER, book="MAINTENANCE")

    book = await common(world, QUARTER)

    assert book.opening_minor == 100
    assert [month.balance_minor for month in book.months] == [120, 115, 115]


async def test_the_last_summary_closes_with_what_the_book_has(world: World) -> None:
    await world.fund(opening_minor=333)
    for number, minor in enumerate((500, -20, 75, -301)):
        await world.line("f1", minor, TODAY - number * DAY)
    book = await common(world, Period.of_months("2026-01", "2026-12"))
    assert book.closing_minor == 333 + 500 - 20 + 75 - 301


async def test_as_disclosed_on_a_day_knows_nothing_of_what_came_later(world: World) -> None:
    await world.fund()
    paid = await world.line("f1", -700, NOVEMBER)
    world.now = NOW + 3 * timedelta(days=1)
    await world.line("f1", 700, NOVEMBER, corrects=paid.line_number, correction_reason="退回")
    period = Period.of_months("2026-11", "2026-11")
    assert (await common(world, period, TODAY)).cost_minor == 700
    assert (await common(world, period)).cost_minor == 0

    world.calls(Role.OWNER)
    service = DisclosureServicer(world.store, world.clock)

    async def states(disclosed_by: date) -> list[tuple[str, int]]:
        request = pb.ListDisclosedLinesRequest(parent="funds/f1", disclosed_by=day(disclosed_by))
        answer = await service.ListDisclosedLines(request, None)
        return [(line.corrected_by, line.state) for line in answer.lines]

    assert await states(TODAY) == [("", pb.LINE_STATE_PENDING)]
    assert await states(TODAY - DAY) == []
    assert await states(TODAY + 3 * DAY) == [
        ("funds/f1/lines/2", pb.LINE_STATE_REVERSED),
        ("", pb.LINE_STATE_PENDING),
    ]


async def test_a_state_cannot_be_asked_of_a_past_day(world: World) -> None:
    await world.fund()
    world.calls(Role.OWNER)
    request = pb.ListDisclosedLinesRequest(
        parent="funds/f1", disclosed_by=day(TODAY), state=pb.LINE_STATE_SETTLED
    )
    with pytest.raises(GatewayError, match="past day"):
        await DisclosureServicer(world.store, world.clock).ListDisclosedLines(request, None)


async def test_the_service_tells_both_books(world: World) -> None:
    await world.fund(opening_minor=10)
    await world.line("f1", 90, NOVEMBER, book="MAINTENANCE")
    world.calls(Role.OWNER)
    request = pb.GetFundSummaryRequest(
        parent="funds/f1", first_month="2026-11", last_month="2026-12"
    )
    answer = await DisclosureServicer(world.store, world.clock).GetFundSummary(request, None)
    common_book, maintenance = answer.books
    assert (common_book.opening.amount_minor, common_book.closing.amount_minor) == (10, 10)
    assert (maintenance.income.amount_minor, maintenance.closing.currency) == (90, "CNY")
    assert [month.month for month in maintenance.months] == ["2026-11", "2026-12"]


@pytest.mark.parametrize(
    "months", [("2026-12", "2026-10"), ("2026-13", "2026-13"), ("1900-01", "2026-01")]
)
def test_what_is_no_period_is_refused(months: tuple[str, str]) -> None:
    with pytest.raises(GatewayError):
        Period.of_months(*months)


def test_a_day_ends_with_its_last_moment_in_china() -> None:
    assert end_of(date(2026, 12, 31)) == datetime.fromisoformat("2027-01-01T00:00:00+08:00")
