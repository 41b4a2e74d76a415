"""What an independent bank answers, in its own words, is what becomes of payments and money."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.store import tables as t
from tests.gateway.counterparty.bridge import CLOSED, UNREACHABLE
from tests.gateway.counterparty.scene import id_of, to_account
from tests.gateway.payments.desk import ask
from tests.gateway.support import OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from tests.gateway.counterparty.scene import Scene

MONDAY = TODAY + timedelta(days=3)
"""Today is a Friday: the bank neither books nor states anything on a weekend."""


async def test_a_plain_day_is_paid_stated_and_matched_to_the_last_entry(scene: Scene) -> None:
    desk, bank = scene.desk, scene.bank
    single = [await desk.released(12_345), await desk.released(67_890)]
    together = await scene.pay_together([ask(100), ask(200), ask(200)])

    assert await scene.go_round() == ["ACCP"] * 3
    assert await desk.states(single + together) == ["ACCEPTED"] * 5
    await scene.next_day()

    assert await desk.states(single + together) == ["SETTLED"] * 5
    assert bank.debits() == dict.fromkeys(map(id_of, single + together), 1)
    assert bank.balance_minor() == OPENING_MINOR - 12_345 - 67_890 - 500
    await scene.agrees()
    await scene.all_matched(TODAY)
    assert await desk.budget() == (0, 12_345 + 67_890 + 500)


async def test_its_notifications_are_set_aside_and_book_nothing_twice(scene: Scene) -> None:
    """A camt.054 tells of a debit at once, without balances; the statement tells of it again."""
    name = await scene.desk.released(1_000)
    await scene.go_round()

    assert set(await scene.set_aside()) == {"camt.054 wutong"}
    assert await scene.entries(name) == []
    await scene.next_day()
    assert await scene.entries(name) == [-1_000]
    await scene.agrees()


async def test_a_rejected_file_gives_everything_back_with_red_lines(scene: Scene) -> None:
    desk = scene.desk
    scene.bank.behave("reject-file")
    single = await desk.released(5_000)
    together = await scene.pay_together([ask(100), ask(200)])

    assert await scene.go_round() == ["RJCT FF01"] * 2

    assert await desk.states([single, *together]) == ["REJECTED"] * 3
    for name, amount_minor in zip([single, *together], (5_000, 100, 200), strict=True):
        taken_back = (amount_minor, "银行拒绝 RJCT FF01")
        assert await scene.lines(name) == [(-amount_minor, ""), taken_back]
    assert await desk.budget() == (0, 0)
    await scene.next_day()
    assert scene.bank.debits() == {}
    await scene.agrees()
    await scene.all_matched(TODAY)


async def test_of_a_partly_accepted_file_only_the_named_payments_are_rejected(
    scene: Scene,
) -> None:
    desk = scene.desk
    scene.bank.open_account("unreachable", UNREACHABLE, behaviour="bad-bank-id")
    orders = [ask(100), to_account(CLOSED, 200), to_account(UNREACHABLE, 300), ask(400)]
    names = await scene.pay_together(orders)

    assert await scene.go_round() == ["PART"]
    assert await desk.states(names) == ["ACCEPTED", "REJECTED", "REJECTED", "ACCEPTED"]
    await scene.next_day()

    assert await desk.states(names) == ["SETTLED", "REJECTED", "REJECTED", "SETTLED"]
    assert [await scene.lines(name) for name in names] == [
        [(-100, "")],
        [(-200, ""), (200, "银行拒绝 RJCT AC04")],
        [(-300, ""), (300, "银行拒绝 RJCT RC01")],
        [(-400, "")],
    ]
    assert await desk.budget() == (0, 500)
    assert scene.bank.debits() == {id_of(names[0]): 1, id_of(names[3]): 1}
    await scene.agrees()
    await scene.all_matched(TODAY)


async def test_more_than_is_in_the_account_is_rejected_and_what_is_left_is_paid(
    scene: Scene,
) -> None:
    """The bank knows of less money than the books do: its word decides, payment by payment."""
    desk = scene.desk
    scene.bank.ask("PATCH", "/_mock/accounts/wutong", {"balance": 250})
    scene.bank.behave("insufficient-funds")
    names = await scene.pay_together([ask(200), ask(100), ask(50)])

    assert await scene.go_round() == ["PART"]

    assert await desk.states(names) == ["ACCEPTED", "REJECTED", "ACCEPTED"]
    assert (await scene.lines(names[1]))[1] == (100, "银行拒绝 RJCT AM04")


async def test_a_payment_of_a_weekend_is_settled_when_the_bank_books_it_days_later(
    scene: Scene,
) -> None:
    desk = scene.desk
    scene.bank.ask("PUT", "/_mock/holidays", [str(MONDAY)])
    early = await desk.released(1_000)
    await scene.go_round()
    scene.bank.days_pass()
    late = await desk.released(2_000)
    await scene.go_round()

    assert await desk.states([early, late]) == ["SETTLED", "ACCEPTED"]
    await scene.next_day(3)
    assert await desk.state(late) == "ACCEPTED"
    await scene.next_day()

    assert await desk.state(late) == "SETTLED"
    (entry,) = await scene.rows(t.bank_entries, end_to_end_id=id_of(late))
    assert entry.booking_date == MONDAY + timedelta(days=1)
    await scene.agrees()
    await scene.all_matched(MONDAY + timedelta(days=1))


async def test_an_accepted_payment_that_the_bank_rejects_on_its_day_comes_back(
    scene: Scene,
) -> None:
    """The account is closed in between: a second report, on one payment, without a group status."""
    desk, bank = scene.desk, scene.bank
    await scene.next_day()
    names = await scene.pay_together([ask(100), ask(200)])
    assert await scene.go_round() == ["ACCP"]
    assert await desk.states(names) == ["ACCEPTED"] * 2

    bank.ask("PATCH", "/_mock/accounts/wutong", {"closed": True})
    await scene.next_day(2)

    assert await desk.states(names) == ["REJECTED"] * 2
    assert await scene.lines(names[0]) == [(-100, ""), (100, "银行拒绝 RJCT AC04")]
    assert bank.debits() == {}
    assert await desk.budget() == (0, 0)
    await scene.agrees()


async def test_a_return_days_after_the_debit_is_a_red_line_and_money_back(scene: Scene) -> None:
    desk, bank = scene.desk, scene.bank
    kept, returned = await desk.released(1_000), await desk.released(2_000)
    bank.behave("return-later", days=3, reason="AC04", end_to_end_id=id_of(returned))
    await scene.go_round()
    await scene.next_day()
    assert await desk.states([kept, returned]) == ["SETTLED", "SETTLED"]
    await scene.all_matched(TODAY)

    await scene.next_day(5)

    assert await desk.states([kept, returned]) == ["SETTLED", "RETURNED"]
    assert await scene.lines(returned) == [(-2_000, ""), (2_000, "退票 AC04")]
    assert await scene.entries(returned) == [-2_000, 2_000]
    assert bank.balance_minor() == OPENING_MINOR - 1_000
    assert await desk.budget() == (0, 1_000)
    await scene.agrees()
    await scene.all_matched(MONDAY + timedelta(days=2))


async def test_a_message_between_banks_is_set_aside_and_returns_nothing_twice(
    scene: Scene,
) -> None:
    """The bank passes on the pacs.004 of a return; the statement's credit is what counts."""
    name = await scene.desk.released(2_000)
    scene.bank.behave("return-later", days=1)
    await scene.go_round()

    await scene.next_day(4)

    assert "pacs.004 wutong" in await scene.set_aside()
    assert await scene.desk.state(name) == "RETURNED"
    assert len(await scene.lines(name)) == 2
    await scene.agrees()
