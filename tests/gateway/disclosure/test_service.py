"""DisclosureService over a real database: what owners see, and what they do not."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import common_pb2
from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Role
from gateway.payments.vouchers import Voucher, store_voucher
from gateway.rpc.convert import day
from gateway.rpc.disclosure import CHUNK_BYTES, DisclosureServicer
from gateway.store import GATEWAY
from tests.gateway.night.world import DAY, NOW, TODAY

if TYPE_CHECKING:
    from tests.gateway.night.world import World


@pytest.fixture
async def service(world: World) -> DisclosureServicer:
    await world.fund()
    world.calls(Role.OWNER)
    return DisclosureServicer(world.store, world.clock)


async def _list(service: DisclosureServicer, **fields: Any) -> pb.ListDisclosedLinesResponse:
    fields.setdefault("parent", "funds/f1")
    return await service.ListDisclosedLines(pb.ListDisclosedLinesRequest(**fields), None)


async def test_a_line_shows_all_but_the_other_sides_name_and_account(
    world: World, service: DisclosureServicer
) -> None:
    mark = {
        "party_name": "示例信托",
        "role": "TRUSTEE_CHECKER",
        "created_at": "2026-11-20T08:00:00+00:00",
    }
    await world.line(
        "f1",
        -1234,
        TODAY,
        counterparty_name="欧阳小明",
        counterparty_account="6222000012345678",
        vouchers=("a" * 64,),
        signatures=(mark,),
    )

    (line,) = (await _list(service)).lines

    assert (line.name, line.number) == ("funds/f1/lines/1", 1)
    assert (line.amount.amount_minor, line.amount.currency) == (-1234, "CNY")
    assert line.running_balance.amount_minor == -1234
    assert (line.counterparty, line.counterparty_account) == ("欧阳*", "5678")
    assert line.vouchers == [f"funds/f1/vouchers/{'a' * 64}"]
    assert line.signatures[0].role == common_pb2.ROLE_TRUSTEE_CHECKER
    assert line.signatures[0].create_time.ToDatetime(UTC) == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert line.state == pb.LINE_STATE_PENDING
    assert not line.HasField("match_date")
    assert "小明" not in str(line)


async def test_pages_follow_each_other_without_gap_or_repeat(
    world: World, service: DisclosureServicer
) -> None:
    for number in range(5):
        await world.line("f1", number + 1, TODAY)

    first = await _list(service, page_size=2)
    second = await _list(service, page_size=2, page_token=first.next_page_token)
    third = await _list(service, page_size=2, page_token=second.next_page_token)

    numbers = [line.number for page in (first, second, third) for line in page.lines]
    assert numbers == [1, 2, 3, 4, 5]
    assert third.next_page_token == ""


async def test_a_token_of_another_filter_is_refused(
    world: World, service: DisclosureServicer
) -> None:
    for _ in range(2):
        await world.line("f1", 1, TODAY)
    token = (await _list(service, page_size=1)).next_page_token

    with pytest.raises(GatewayError) as refused:
        await _list(service, page_size=1, page_token=token, book=common_pb2.BOOK_COMMON)

    assert refused.value.reason is Reason.PAGE_TOKEN_INVALID


async def test_filters_choose_by_book_day_and_state(
    world: World, service: DisclosureServicer
) -> None:
    await world.line("f1", 1, TODAY - 2 * DAY)
    await world.line("f1", 2, TODAY - DAY, book="MAINTENANCE")
    wrong = await world.line("f1", 3, TODAY)
    await world.line("f1", -3, TODAY, corrects=wrong.line_number, void=True)

    async def numbers(**fields: Any) -> list[int]:
        return [line.number for line in (await _list(service, **fields)).lines]

    assert await numbers(book=common_pb2.BOOK_MAINTENANCE) == [2]
    assert await numbers(start_date=day(TODAY - DAY), end_date=day(TODAY - DAY)) == [2]
    assert await numbers(start_date=day(TODAY)) == [3, 4]
    assert await numbers(state=pb.LINE_STATE_PENDING) == [1, 2]
    assert await numbers(state=pb.LINE_STATE_REVERSED) == [3]
    assert await numbers(state=pb.LINE_STATE_SETTLED) == [4]


async def test_a_payment_that_came_back_is_told_from_a_line_that_was_wrong(
    world: World, service: DisclosureServicer
) -> None:
    for amount_minor, own in ((-5, {"payment_id": "p1"}), (-6, {"payment_id": "p2"})):
        paid = await world.line("f1", amount_minor, TODAY, **own)
        # By hand a line is taken back in nobody's name.
        back = own if own["payment_id"] == "p1" else {}
        await world.line("f1", -amount_minor, TODAY, corrects=paid.line_number, **back)

    async def numbers(state: pb.LineState.ValueType) -> list[int]:
        return [line.number for line in (await _list(service, state=state)).lines]

    assert [line.state for line in (await _list(service)).lines][::2] == [
        pb.LINE_STATE_RETURNED,
        pb.LINE_STATE_REVERSED,
    ]
    assert await numbers(pb.LINE_STATE_RETURNED) == [1]
    assert await numbers(pb.LINE_STATE_REVERSED) == [3]


async def test_a_line_and_its_correction_name_each_other(
    world: World, service: DisclosureServicer
) -> None:
    wrong = await world.line("f1", 3, TODAY)
    more: dict[str, Any] = {"corrects": wrong.line_number, "correction_reason": "重复入账"}
    await world.line("f1", -3, TODAY, void=True, **more)

    first, second = (await _list(service)).lines

    assert (first.corrected_by, first.state) == ("funds/f1/lines/2", pb.LINE_STATE_REVERSED)
    assert (second.corrects, second.correction_reason) == ("funds/f1/lines/1", "重复入账")


async def test_a_matched_line_says_by_which_day(world: World, service: DisclosureServicer) -> None:
    await world.line("f1", 500, TODAY, reference="R1")
    await world.statement("f1", TODAY, [{"amount_minor": 500, "reference": "R1"}])
    await world.reconcile()

    (line,) = (await _list(service)).lines

    assert line.state == pb.LINE_STATE_SETTLED
    assert line.match_date == line.bank_value_date == day(TODAY)


async def test_a_day_that_is_none_is_refused_with_its_field(service: DisclosureServicer) -> None:
    with pytest.raises(GatewayError) as refused:
        await _list(service, start_date={"year": 2026, "month": 2, "day": 31})

    assert refused.value.violations[0].field == "start_date"


async def test_another_partys_fund_is_not_found(world: World, service: DisclosureServicer) -> None:
    await world.fund("f2", party_id="other")
    await world.line("f2", 1, TODAY)

    with pytest.raises(GatewayError) as refused:
        await _list(service, parent="funds/f2")

    assert refused.value.reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 1])
async def test_a_voucher_comes_whole_in_chunks(
    world: World, service: DisclosureServicer, size: int
) -> None:
    content = bytes(number % 251 for number in range(size))
    digest = sha256(content).hexdigest()
    async with world.store.transaction(GATEWAY) as conn:
        voucher = Voucher(digest, "发票.pdf", "application/pdf", size, content)
        await store_voucher(conn, "f1", voucher, NOW)

    request = pb.GetVoucherRequest(name=f"funds/f1/vouchers/{digest}")
    head, *parts = [part async for part in service.GetVoucher(request, None)]

    assert (head.voucher.name, head.voucher.size_bytes) == (request.name, size)
    assert b"".join(part.content for part in parts) == content
    assert all(len(part.content) <= CHUNK_BYTES for part in parts)


async def test_a_voucher_of_another_fund_is_not_found(
    world: World, service: DisclosureServicer
) -> None:
    await world.fund("f2")
    digest = sha256(b"x").hexdigest()
    async with world.store.transaction(GATEWAY) as conn:
        await store_voucher(conn, "f1", Voucher(digest, "a", "text/plain", 1, b"x"), NOW)

    request = pb.GetVoucherRequest(name=f"funds/f2/vouchers/{digest}")
    with pytest.raises(GatewayError) as refused:
        await anext(service.GetVoucher(request, None))

    assert refused.value.reason is Reason.RESOURCE_NOT_FOUND
