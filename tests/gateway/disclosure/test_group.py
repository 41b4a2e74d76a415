"""A group of estates, summed up: every fund that the caller may see, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.domain.errors import GatewayError
from gateway.domain.party import Role
from gateway.rpc.disclosure import DisclosureServicer
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.night.world import TODAY
from tests.gateway.support import CHECKER, OPENING_MINOR, OWNER, refusal

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.gateway.night.world import World
    from tests.gateway.support import Callers

GROUP = "城南片区"
ASKED = pb.GetGroupSummaryRequest(group=GROUP, first_month="2026-11", last_month="2026-12")


async def together(store: Store, *estates: str) -> None:
    """Puts estates under one management, which the application does only as it registers them."""
    async with store.transaction(GATEWAY) as conn:
        await conn.execute(sa.text("RESET ROLE"))
        changed = sa.update(t.estates).values(group_name=GROUP)
        await conn.execute(changed.where(t.estates.c.estate_id.in_(estates)))


def figures(book: pb.BookSummary) -> tuple[int, ...]:
    return tuple(each.amount_minor for each in (book.opening, book.income, book.cost, book.closing))


async def group(world: World) -> pb.GetGroupSummaryResponse:
    world.calls(Role.OWNER)
    service: Any = DisclosureServicer(world.store, world.clock)
    answer: pb.GetGroupSummaryResponse = await service.GetGroupSummary(ASKED, None)
    return answer


async def test_a_total_is_the_sum_of_its_funds_by_kind_and_by_month(world: World) -> None:
    for fund_id, opening_minor in (("f1", 1_000), ("f2", 200), ("f3", 7)):
        await world.fund(fund_id, opening_minor=opening_minor)
    await together(world.store, "f1", "f2")
    await world.line("f1", 500, TODAY)
    await world.line("f2", 30, TODAY)
    await world.line("f2", -9, TODAY, category="清洁")
    await world.line("f3", 4_000, TODAY)

    answer = await group(world)

    assert [fund.fund for fund in answer.funds] == ["funds/f1", "funds/f2"]
    assert [figures(fund.books[0]) for fund in answer.funds] == [
        (1_000, 500, 0, 1_500),
        (200, 30, 9, 221),
    ]
    (total,) = answer.totals
    common = total.books[0]
    assert figures(common) == (1_200, 530, 9, 1_721)
    assert [(kind.category, kind.income.amount_minor) for kind in common.kinds] == [
        ("物业费", 530),
        ("清洁", 0),
    ]
    assert [month.balance.amount_minor for month in common.months] == [1_721, 1_721]


async def test_money_of_two_currencies_is_never_added_up(world: World) -> None:
    for fund_id in ("f1", "f2"):
        await world.fund(fund_id, opening_minor=10)
    await together(world.store, "f1", "f2")
    async with world.store.transaction(GATEWAY) as conn:
        await conn.execute(sa.text("RESET ROLE"))
        other = sa.update(t.funds).values(currency="HKD").where(t.funds.c.fund_id == "f2")
        await conn.execute(other)
    answer = await group(world)
    assert [(each.currency, figures(each.books[0])[0]) for each in answer.totals] == [
        ("CNY", 10),
        ("HKD", 10),
    ]


async def test_estates_that_belong_to_no_group_are_none(world: World) -> None:
    await world.fund()
    with pytest.raises(GatewayError, match="groups/"):
        await group(world)


async def test_whose_estate_is_one_of_a_group_is_not_told_of_the_others(
    callers: Callers, store: Store
) -> None:
    await together(store, "wutong", "jinjiang")
    answers = {
        who: await (await callers.as_(who)).disclosure.GetGroupSummary(ASKED)
        for who in (OWNER, CHECKER)
    }
    assert [fund.fund for fund in answers[OWNER].funds] == ["funds/wutong"]
    assert figures(answers[OWNER].totals[0].books[0])[3] == OPENING_MINOR
    assert len(answers[CHECKER].funds) == 2
    assert figures(answers[CHECKER].totals[0].books[0])[3] == 2 * OPENING_MINOR


async def test_a_group_of_others_is_as_one_that_is_not_there(
    callers: Callers, store: Store
) -> None:
    await together(store, "jinjiang")
    answer = (await callers.as_(OWNER)).disclosure.GetGroupSummary(ASKED)
    assert (await refusal(answer)).reason == "RESOURCE_NOT_FOUND"
