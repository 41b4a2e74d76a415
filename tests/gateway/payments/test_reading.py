"""Reading payments: one, pages of them, and every change in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.payments import listing
from gateway.store import GATEWAY, Scope
from gateway.store import tables as t
from tests.gateway.payments.desk import FUND, OTHER_FUND, ask, batch, cny
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    NOW,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.payments.desk import Desk

_S = timedelta(seconds=1)


async def _list(desk: Desk, **fields: Any) -> pb.ListPaymentsResponse:
    stub = await desk.stub(CHECKER)
    answer: pb.ListPaymentsResponse = await stub.ListPayments(
        pb.ListPaymentsRequest(**{"parent": FUND, **fields})
    )
    return answer


async def test_pages_give_every_payment_once_newest_first(desk: Desk) -> None:
    """Also where several were submitted in the same moment."""
    names = []
    for number in range(7):
        desk.clock.moment = NOW + (number // 3) * _S
        names.append((await desk.submit(ask(number + 1))).name)
    seen: list[str] = []
    token = ""
    for _ in range(7):
        page = await _list(desk, page_size=2, page_token=token)
        seen += [payment.name for payment in page.payments]
        token = page.next_page_token
        if not token:
            break

    assert sorted(seen) == sorted(names)
    assert {seen[0]} == {names[6]}
    assert not page.payments[0].signing_payload


async def test_what_is_submitted_while_paging_disturbs_no_page(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(1), ask(2), ask(3)]))).payments
    first = await _list(desk, page_size=2)
    desk.clock.moment += _S
    await desk.submit()

    second = await _list(desk, page_size=2, page_token=first.next_page_token)

    assert sorted(each.name for each in (*first.payments, *second.payments)) == sorted(names)


async def test_filters_choose_by_state_and_batch(desk: Desk) -> None:
    single = (await desk.submit()).name
    held = await desk.submit_all(batch([ask(1), ask(2)]))
    await desk.sign(held.payments[0], CHAIR)

    by_batch = await _list(desk, batch_id=held.batch_id)
    by_state = await _list(desk, states=["PAYMENT_STATE_PARTLY_SIGNED"])
    both = await _list(desk, states=["PAYMENT_STATE_HELD"], batch_id=held.batch_id)

    assert {each.name for each in by_batch.payments} == set(held.payments)
    assert [each.name for each in by_state.payments] == [held.payments[0]]
    assert [each.name for each in both.payments] == [held.payments[1]]
    assert single in {each.name for each in (await _list(desk)).payments}


async def test_a_token_belongs_to_its_query(desk: Desk) -> None:
    await desk.submit_all(batch([ask(1), ask(2)]))
    token = (await _list(desk, page_size=1)).next_page_token

    for fields in ({"states": ["PAYMENT_STATE_HELD"]}, {"parent": OTHER_FUND}, {"batch_id": "b"}):
        refused = await refusal(_list(desk, page_token=token, **fields))
        assert refused.reason == "PAGE_TOKEN_INVALID"
    for broken in (token[:-4], "x" * 40, "{}"):
        refused = await refusal(_list(desk, page_token=broken))
        assert refused.reason == "PAGE_TOKEN_INVALID"


async def test_whose_estate_it_is_not_sees_nothing(desk: Desk) -> None:
    name = (await desk.submit()).name
    other = await desk.stub(OTHER_FIRM)

    refused = await refusal(other.GetPayment(pb.GetPaymentRequest(name=name)))
    listed = await other.ListPayments(pb.ListPaymentsRequest(parent=FUND))

    assert refused.reason == "RESOURCE_NOT_FOUND"
    assert list(listed.payments) == []


async def test_the_supervisor_reads_and_the_owner_does_not(desk: Desk) -> None:
    name = (await desk.submit()).name

    assert (await desk.get(name, SUPERVISOR)).amount == cny(1_000)
    assert (await refusal(desk.get(name, OWNER))).reason == "ROLE_NOT_ALLOWED"


# --- watching ---------------------------------------------------------------------------------


async def _watched(
    desk: Desk, count: int, token: str = "", parent: str = ""
) -> Sequence[pb.WatchPaymentsResponse]:
    """So many changes from the position on."""
    stub = await desk.stub(CHECKER)
    call = stub.WatchPayments(pb.WatchPaymentsRequest(parent=parent, resume_token=token))
    seen = [await asyncio.wait_for(call.read(), 20) for _ in range(count)]
    call.cancel()
    return seen


def _states(changes: Sequence[pb.WatchPaymentsResponse]) -> list[str]:
    names = (pb.PaymentState.Name(each.transition.state) for each in changes)
    return [name.removeprefix("PAYMENT_STATE_") for name in names]


async def test_a_watcher_sees_every_change_in_order(desk: Desk) -> None:
    name = await desk.released()

    seen = await _watched(desk, 5)

    assert _states(seen) == ["SUBMITTED", "HELD", "PARTLY_SIGNED", "SIGNED", "RELEASED"]
    assert {each.payment for each in seen} == {name}


async def test_a_watcher_goes_on_where_it_stopped(desk: Desk) -> None:
    await desk.released()
    whole = await _watched(desk, 5)
    for number, change in enumerate(whole[:-1], start=1):
        rest = await _watched(desk, 5 - number, change.resume_token)
        assert rest == whole[number:]


async def test_a_watcher_hears_what_happens_while_it_listens(desk: Desk) -> None:
    listening = asyncio.create_task(_watched(desk, 4))
    await desk.submit()
    await desk.submit()

    assert _states(await listening) == ["SUBMITTED", "HELD"] * 2


async def test_a_watcher_sees_only_its_own_estates(desk: Desk) -> None:
    await desk.upload(OTHER_FUND, OTHER_FIRM)
    await desk.submit()
    await desk.submit(ask(fund=OTHER_FUND), fund=OTHER_FUND, who=OTHER_FIRM)
    stub = await desk.stub(FIRM)
    call = stub.WatchPayments(pb.WatchPaymentsRequest())
    seen = [await asyncio.wait_for(call.read(), 20) for _ in range(2)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call.read(), 1)

    assert {each.payment.partition("/payments")[0] for each in seen} == {FUND}
    assert len(await _watched(desk, 2, parent=OTHER_FUND)) == 2


async def test_a_position_that_no_watcher_was_given_is_refused(desk: Desk) -> None:
    stub = await desk.stub(CHECKER)
    for token in ("99999999999999999999-1", "1", "a-b", "1-9999999999999999999"):
        call = stub.WatchPayments(pb.WatchPaymentsRequest(resume_token=token))
        refused = await refusal(call.read())
        assert refused.reason == "FIELD_INVALID", token


async def test_changes_that_commit_out_of_order_are_neither_lost_nor_doubled(desk: Desk) -> None:
    """A transaction that began first and wrote first commits last."""
    await desk.submit()
    (row,) = await desk.rows(sa.select(t.payments.c.payment_id))

    def event(detail: str) -> sa.Insert:
        return t.payment_events.insert().values(
            fund_id="wutong",
            payment_id=row.payment_id,
            state="HELD",
            actor="gateway",
            detail=detail,
            created_at=NOW,
        )

    seen: list[str] = []
    position = listing.Position()

    async def look() -> None:
        nonlocal position
        async with desk.store.transaction(GATEWAY) as conn:
            rows = (await conn.execute(listing._changes("wutong", position))).all()
        seen.extend(each.detail for each in rows)
        if rows:
            position = listing.Position(rows[-1].transaction_id, rows[-1].sequence)

    async with desk.store.transaction(Scope("*")) as early:
        await early.execute(event("early, first"))
        async with desk.store.transaction(Scope("*")) as late:
            await late.execute(event("late"))
        await look()
        assert "late" not in seen
        await early.execute(event("early, second"))
    await look()
    await look()

    assert seen[2:] == ["early, first", "early, second", "late"]
