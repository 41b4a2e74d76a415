"""What the bank never had goes out once more: under its reference, signed anew, paid once.

The bank stops taking payments at 17:00, and has to miss a payment on three days.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.domain.payload import parse_payload
from tests.gateway.payments.desk import ask, batch
from tests.gateway.support import CHAIR, CHECKER, NOW, refusal
from tests.gateway.wires.city_bank import PAID, RECEIVED, Door
from tests.gateway.wires.stage import id_of

if TYPE_CHECKING:
    from tests.gateway.wires.stage import Stage


@pytest.fixture
def profile_id() -> str:
    """The accounts are at the bank with a channel."""
    return "city-channel"


# --- it is sent again, and paid once ----------------------------------------------------------


async def test_what_the_bank_never_had_is_signed_again_and_paid_once_under_its_reference(
    stage: Stage,
) -> None:
    name = await stage.lost()
    first = await stage.desk.transmission(name)
    await stage.mornings(2)

    prepared = await stage.prepare(name)
    told = parse_payload(prepared.signing_payload).resend
    assert told is not None
    assert told.missed_on == ("2026-11-20", "2026-11-21", "2026-11-22")
    assert (prepared.attempt, told.transmission) == (2, f"transmissions/{first.transmission_id}")
    await stage.desk.sign_by_both(name)
    assert await stage.desk.state(name) == "RELEASED"
    await stage.work()

    second = await stage.desk.transmission(name)
    assert stage.city.orders(id_of(name)) == [second.transmission_id]
    assert second.transmission_id != first.transmission_id
    await stage.settled(name)


async def test_nothing_goes_out_with_one_signature_and_nobody_signs_twice(stage: Stage) -> None:
    name = await stage.lost()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.desk.sign(name, CHAIR)

    assert (await refusal(stage.desk.sign(name, CHAIR))).reason == "SAME_PERSON"
    assert (await refusal(stage.prepare(name))).reason == "STATE_FORBIDS"
    await stage.work()
    assert await stage.desk.state(name) == "UNKNOWN"
    assert stage.city.orders(id_of(name)) == []


async def test_a_bank_that_had_it_after_all_refuses_the_second_order_and_pays_once(
    stage: Stage,
) -> None:
    stage.city.decides, stage.city.hides = RECEIVED, True
    stage.city.doors.append(Door.CUT)
    name = await stage.desk.released()
    await stage.work()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.desk.sign_by_both(name)
    await stage.work()
    assert len(stage.city.orders(id_of(name))) == 2

    assert await stage.desk.state(name) == "SENT"  # what the refusal means is not known
    stage.city.decide(id_of(name), PAID)
    await stage.settled(name)


async def test_a_second_order_refused_by_its_own_row_says_nothing_of_the_first(
    stage: Stage,
) -> None:
    stage.city.decides, stage.city.hides, stage.city.names_refusals = RECEIVED, True, True
    stage.city.doors.append(Door.CUT)
    name = await stage.desk.released()
    await stage.work()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.desk.sign_by_both(name)
    await stage.work()

    stage.city.decide(id_of(name), PAID)
    await stage.settled(name)


async def test_lost_once_more_it_needs_its_misses_and_signatures_once_more(stage: Stage) -> None:
    name = await stage.lost()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.desk.sign_by_both(name)
    stage.city.doors.append(Door.CLOSED)
    await stage.work()
    assert await stage.desk.state(name) == "UNKNOWN"

    blockers, missed_count = await stage.against(name)
    assert blockers == {"BANK_STILL_OPEN", "TOO_FEW_MISSES", "STATEMENT_MISSING"}
    assert missed_count == "0"
    await stage.mornings(2)
    assert (await stage.prepare(name)).attempt == 3
    await stage.desk.sign_by_both(name)
    await stage.work()
    assert len(stage.city.orders(id_of(name))) == 1
    await stage.settled(name)


async def test_of_a_lost_batch_each_payment_is_sent_again_by_itself(stage: Stage) -> None:
    names = list((await stage.desk.submit_all(batch([ask(100), ask(200)]))).payments)
    for name in names:
        await stage.desk.sign_by_both(name)
    stage.city.doors.append(Door.CLOSED)
    await stage.work()
    await stage.mornings(2)

    await stage.prepare(names[1])
    await stage.desk.sign_by_both(names[1])
    await stage.work()
    assert await stage.desk.states(names) == ["UNKNOWN", "SETTLED"]
    assert stage.city.debits == {id_of(names[1]): 1}
    await stage.next_morning()
    await stage.prepare(names[0])
    await stage.desk.sign_by_both(names[0])
    await stage.work()
    assert await stage.desk.states(names) == ["SETTLED", "SETTLED"]


async def test_signed_after_the_cut_off_it_goes_out_for_the_next_day(stage: Stage) -> None:
    name = await stage.lost()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.until(18)
    await stage.desk.sign_by_both(name)
    await stage.work()

    sent = await stage.desk.transmission(name)
    assert str(sent.execution_date) == "2026-11-23"
    assert await stage.desk.state(name) == "SETTLED"


# --- what speaks against it -------------------------------------------------------------------


async def test_on_the_day_itself_everything_speaks_against_it(stage: Stage) -> None:
    name = await stage.lost()

    for hour, minute, blockers in (
        (12, 0, {"BANK_STILL_OPEN", "TOO_FEW_MISSES", "STATEMENT_MISSING"}),
        (17, 0, {"BANK_STILL_OPEN", "TOO_FEW_MISSES", "STATEMENT_MISSING"}),
        (17, 1, {"TOO_FEW_MISSES", "STATEMENT_MISSING"}),
    ):
        await stage.until(hour, minute)
        assert (await stage.against(name))[0] == blockers


async def test_with_misses_on_two_of_three_days_it_is_too_early(stage: Stage) -> None:
    name = await stage.lost()
    await stage.next_morning()

    assert await stage.against(name) == ({"TOO_FEW_MISSES"}, "2")


async def test_a_miss_counts_after_the_cut_off_and_once_a_day(stage: Stage) -> None:
    name = await stage.lost()
    counted = []
    for hour in (10, 12, 18, 19, 20):
        await stage.until(hour)
        counted.append((await stage.against(name))[1])
    # On its own the gateway asks once a day by now; the bank was asked at 9, 10 and 12 o'clock.
    await stage.next_morning(stated=False)
    await stage.work(timedelta(hours=10))
    await stage.work(timedelta(minutes=1))

    assert counted == ["0", "0", "1", "1", "1"]
    assert (await stage.against(name))[1] == "2"
    assert len(await stage.missed(name)) > int(counted[-1]) + 1


async def test_without_any_statement_misses_are_not_enough(stage: Stage) -> None:
    name = await stage.lost()
    for _ in range(4):
        await stage.next_morning(stated=False)

    assert await stage.against(name) == ({"STATEMENT_MISSING"}, "4")


async def test_a_statement_that_does_not_continue_the_last_one_speaks_against_it(
    stage: Stage,
) -> None:
    name = await stage.lost()
    await stage.mornings(3)
    stage.city.state(NOW.date() + timedelta(days=3), stage.city.balance_minor - 1_000)
    await stage.work()

    assert await stage.against(name) == ({"STATEMENT_UNCLEAN"}, "4")


@pytest.mark.parametrize(("amount_minor", "is_against"), [(200, True), (300, True), (201, False)])
async def test_a_debit_without_a_name_of_the_same_amount_or_of_its_files_speaks_against_it(
    stage: Stage, amount_minor: int, is_against: bool
) -> None:
    names = list((await stage.desk.submit_all(batch([ask(100), ask(200)]))).payments)
    for name in names:
        await stage.desk.sign_by_both(name)
    stage.city.doors.append(Door.CLOSED)
    await stage.work()
    await stage.next_morning()
    stage.city.debit(amount_minor)
    await stage.mornings(2)

    if is_against:
        assert await stage.against(names[1]) == ({"DEBIT_UNEXPLAINED"}, "4")
    else:
        assert (await stage.prepare(names[1])).attempt == 2


async def test_a_debit_that_the_night_took_for_the_payment_itself_speaks_against_it(
    stage: Stage,
) -> None:
    """Without a name on it, amount and days alone make it the payment's."""
    name = await stage.lost()
    stage.city.debit(1_000)
    await stage.mornings(3)
    await stage.reconcile()

    await stage.against(name)


async def test_a_debit_of_another_payment_speaks_against_it_until_the_night_has_matched_it(
    stage: Stage,
) -> None:
    name = await stage.lost()
    await stage.desk.released()
    await stage.work()
    await stage.mornings(2)

    assert (await stage.against(name))[0] == {"DEBIT_UNEXPLAINED"}
    await stage.reconcile()
    assert (await stage.prepare(name)).attempt == 2


@pytest.mark.parametrize("names_batch", [True, False])
async def test_a_debit_of_another_amount_that_names_the_payment_speaks_against_it(
    stage: Stage, *, names_batch: bool
) -> None:
    """Less a fee, or less one of its batch: the bank had the order."""
    names = list((await stage.desk.submit_all(batch([ask(100), ask(200), ask(300)]))).payments)
    for name in names:
        await stage.desk.sign_by_both(name)
    stage.city.doors.append(Door.CLOSED)
    await stage.work()
    if names_batch:
        stage.city.debit(500, batch_id=(await stage.desk.get(names[0])).batch_id)
    else:
        stage.city.debit(301, end_to_end_id=id_of(names[2]))
    await stage.mornings(3)

    await stage.against(names[2])


async def test_an_answer_without_a_decision_is_no_miss(stage: Stage) -> None:
    stage.city.decides = RECEIVED
    stage.city.doors.append(Door.CUT)
    name = await stage.desk.released()
    await stage.work()
    for _ in range(4):
        await stage.next_morning(stated=False)

    assert await stage.against(name) == ({"TOO_FEW_MISSES", "STATEMENT_MISSING"}, "0")


# --- between the signatures -------------------------------------------------------------------


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_debit_that_comes_between_the_signatures_stops_the_release(
    stage: Stage, is_named: bool
) -> None:
    stage.city.decides, stage.city.hides = RECEIVED, True
    stage.city.doors.append(Door.CUT)
    name = await stage.desk.released()
    await stage.work()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.desk.sign(name, CHAIR)

    if is_named:
        stage.city.decide(id_of(name), PAID)
    else:
        stage.city.debit(1_000)
    await stage.next_morning()
    refused = await refusal(stage.desk.sign(name, CHECKER))

    wanted = ("STATE_FORBIDS", "SETTLED") if is_named else ("RESEND_TOO_EARLY", "UNKNOWN")
    assert (refused.reason, await stage.desk.state(name)) == wanted
    await stage.work()
    assert len(stage.city.orders(id_of(name))) == 1


async def test_a_payment_that_the_bank_found_between_the_signatures_is_not_sent_again(
    stage: Stage,
) -> None:
    stage.city.decides, stage.city.hides = RECEIVED, True
    stage.city.doors.append(Door.CUT)
    name = await stage.desk.released()
    await stage.work()
    await stage.mornings(2)
    await stage.prepare(name)
    await stage.desk.sign(name, CHAIR)

    stage.city.hides = False
    stage.city.decide(id_of(name), PAID)
    await stage.work(timedelta(days=1))

    assert (await refusal(stage.desk.sign(name, CHECKER))).reason == "STATE_FORBIDS"
    assert await stage.desk.state(name) == "SETTLED"
    assert stage.city.debits == {id_of(name): 1}


async def test_the_code_that_counts_as_a_miss_is_the_banks_own(stage: Stage) -> None:
    """Any other refusal of a question is of the question, and says nothing of the payment."""
    name = await stage.lost()
    before = await stage.missed(name)
    stage.city.unknown_code = "B0099"
    for _ in range(4):
        await stage.next_morning(stated=False)

    assert await stage.missed(name) == before
    assert await stage.desk.state(name) == "UNKNOWN"
