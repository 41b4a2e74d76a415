"""What the bank says of payments: by status report, by statement, by silence."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.simulator import Behaviour
from gateway.bank.inbound import BankFile
from gateway.bank.quarantine import import_file
from gateway.domain.errors import GatewayError, Reason
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement, status
from tests.gateway.payments.desk import PAYEE, ask, batch
from tests.gateway.support import NOW, OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.bank.inbound import Imported
    from tests.gateway.payments.desk import Bank, Desk

DAY = timedelta(days=1)


async def _sent(desk: Desk, amount_minor: int = 1_000) -> str:
    """A payment that was handed to a bank which says nothing of its own."""
    name = await desk.released(amount_minor)
    await desk.gateway.work()
    return name


async def _sent_batch(desk: Desk, *amounts_minor: int) -> Sequence[str]:
    names = (await desk.submit_all(batch([ask(each) for each in amounts_minor]))).payments
    for name in names:
        await desk.sign_by_both(name)
    await desk.gateway.work()
    return list(names)


async def take(desk: Desk, content: bytes) -> Imported:
    desk.clock.moment += timedelta(seconds=1)
    return await import_file(
        desk.store, BankFile("bank.xml", content), desk.gateway.sender.banks, desk.clock()
    )


async def _say(desk: Desk, name: str, code: str, reason: str = "") -> int:
    """A report on one payment; how many it changed."""
    transmission = (await desk.transmission(name)).transmission_id
    said = (code, name.rpartition("/")[2], reason)
    return (await take(desk, status(transmission, said))).payments_changed


async def _lines(desk: Desk, name: str) -> Sequence[sa.Row[*tuple[object, ...]]]:
    lines = t.disclosed_lines
    payment_id = name.rpartition("/")[2]
    query = sa.select(lines).where(lines.c.payment_id == payment_id).order_by(lines.c.line_number)
    return await desk.rows(query)


async def test_a_rejection_gives_the_money_back_by_a_closed_red_line(desk: Desk) -> None:
    name = await _sent(desk)

    changed = await _say(desk, name, "RJCT", "AC04")

    paid, back = await _lines(desk, name)
    assert (changed, await desk.state(name), await desk.budget()) == (1, "REJECTED", (0, 0))
    assert (back.corrects, paid.corrected_by) == (paid.line_number, back.line_number)
    assert (paid.amount_minor, back.amount_minor) == (-1_000, 1_000)
    assert paid.match_id == back.match_id != ""
    assert (paid.settled, back.settled) == (True, True)
    assert "AC04" in back.correction_reason


async def test_a_rejected_payment_can_be_asked_for_again(desk: Desk) -> None:
    name = await _sent(desk, 800_000)
    await _say(desk, name, "RJCT", "AC04")

    again = await desk.submit(ask(800_000))

    assert again.name != name


async def test_accepted_comes_before_settled_and_late_news_changes_nothing(desk: Desk) -> None:
    name = await _sent(desk)
    seen = []
    for code in ("RCVD", "ACSP", "ACSP", "ACSC", "ACSP", "ACSC"):
        await _say(desk, name, code)
        seen.append(await desk.state(name))

    assert seen == ["SENT", "ACCEPTED", "ACCEPTED", "SETTLED", "SETTLED", "SETTLED"]
    assert await desk.budget() == (0, 1_000)


async def test_a_rejection_of_what_was_booked_is_refused_and_logged(desk: Desk) -> None:
    name = await _sent(desk)
    await _say(desk, name, "ACSC")

    with capture_logs() as logs:
        changed = await _say(desk, name, "RJCT", "AC04")

    assert (changed, await desk.state(name)) == (0, "SETTLED")
    assert [each["event"] for each in logs if each["event"] == "bank_contradicts"] != []
    assert len(await _lines(desk, name)) == 1


@pytest.mark.parametrize("code", ["AM05", "DU01", "DU02", "DU03", "DU04", "DU05"])
async def test_a_refusal_as_duplicate_says_nothing_of_the_first(desk: Desk, code: str) -> None:
    """After a crash the same file goes out twice: its twin's refusal must not free the money."""
    name = await _sent(desk)
    transmission = (await desk.transmission(name)).transmission_id
    whole = status(transmission, ("RJCT", "", code))

    changed = (await take(desk, whole)).payments_changed + await _say(desk, name, "RJCT", code)

    assert (changed, await desk.state(name), await desk.budget()) == (0, "SENT", (0, 1_000))
    assert (await desk.transmission(name)).state == "DELIVERED"


async def test_an_unknown_code_waits_for_a_person(desk: Desk) -> None:
    name = await _sent(desk)

    await _say(desk, name, "XXXX")

    assert await desk.state(name) == "SENT"
    assert (await desk.transmission(name)).state == "DELIVERED"


async def test_what_a_partly_accepted_file_does_not_name_stays_as_it_is(desk: Desk) -> None:
    names = await _sent_batch(desk, 100, 200, 300)
    ids = [name.rpartition("/")[2] for name in names]
    transmission = (await desk.transmission(names[0])).transmission_id
    said = [("PART", "", ""), ("ACSC", ids[0], ""), ("RJCT", ids[1], "AC04")]

    changed = (await take(desk, status(transmission, *said))).payments_changed

    assert (changed, await desk.states(names)) == (2, ["SETTLED", "REJECTED", "SENT"])
    assert await desk.budget() == (0, 400)
    assert (await desk.transmission(names[0])).state == "DELIVERED"


async def test_a_word_on_the_whole_file_speaks_for_each_payment(desk: Desk) -> None:
    names = await _sent_batch(desk, 100, 200)
    transmission = (await desk.transmission(names[0])).transmission_id

    await take(desk, status(transmission, ("RJCT", "", "FF01")))

    assert await desk.states(names) == ["REJECTED", "REJECTED"]
    assert (await desk.transmission(names[0])).state == "ANSWERED"
    assert await desk.budget() == (0, 0)


async def test_an_answer_to_what_was_never_sent_is_set_aside(desk: Desk) -> None:
    with pytest.raises(GatewayError) as refused:
        await take(desk, status("m-never", ("ACSC", "", "")))

    assert refused.value.reason is Reason.FILE_UNREADABLE
    (held,) = await desk.rows(sa.select(t.quarantined_files))
    assert held.reason == "FILE_UNREADABLE"


async def test_a_message_id_with_other_content_is_set_aside_and_changes_nothing(
    desk: Desk,
) -> None:
    name = await _sent(desk)
    transmission = (await desk.transmission(name)).transmission_id
    await take(desk, status(transmission, ("ACSP", "", ""), message_id="once"))

    with pytest.raises(GatewayError) as refused:
        await take(desk, status(transmission, ("RJCT", "", "AC04"), message_id="once"))

    assert refused.value.reason is Reason.FILE_DUPLICATE
    assert await desk.state(name) == "ACCEPTED"


async def test_news_of_a_payment_that_the_sender_could_not_record_is_taken(desk: Desk) -> None:
    """Only the bank's answer tells that the file had reached it."""
    name = await desk.released()

    await _say(desk, name, "ACSC")
    await desk.gateway.work()

    history = [each.state for each in (await desk.get(name)).history]
    assert await desk.state(name) == "SETTLED"
    assert len(history) == len(set(history))
    assert list((desk.gateway.sender.banks.root).glob("*/out/*")) == []


# --- silence ----------------------------------------------------------------------------------


async def test_silence_is_unknown_after_the_due_time_and_not_before(desk: Desk, bank: Bank) -> None:
    bank.simulated.behave(PAYEE, Behaviour(silent=True))
    name = await _sent(desk)
    bank.take()
    desk.clock.moment = NOW + timedelta(hours=4)
    await desk.gateway.work()
    assert await desk.state(name) == "SENT"

    desk.clock.moment += timedelta(seconds=1)
    await desk.gateway.work()

    assert await desk.state(name) == "UNKNOWN"
    assert await desk.budget() == (0, 1_000)
    assert bank.take() == 0


async def test_the_statement_resolves_the_unknown_and_it_was_paid_once(
    desk: Desk, bank: Bank
) -> None:
    bank.simulated.behave(PAYEE, Behaviour(silent=True))
    name = await _sent(desk)
    bank.take()
    desk.clock.moment = NOW + timedelta(hours=5)
    await desk.gateway.work()

    bank.close(TODAY)
    await desk.gateway.work()

    assert await desk.state(name) == "SETTLED"
    assert bank.simulated.balance_minor("6222010000000001") == OPENING_MINOR - 1_000


# --- statements on payments -------------------------------------------------------------------


async def test_a_returned_payment_comes_back_by_a_red_line_to_be_matched(desk: Desk) -> None:
    name = await _sent(desk)
    payment_id = name.rpartition("/")[2]
    debit = entry(-1_000, end_to_end_id=payment_id)
    await take(desk, statement(debit))
    credit = entry(1_000, TODAY + DAY, end_to_end_id=payment_id, return_reason="AC04")
    returned = statement(credit, opening_minor=OPENING_MINOR - 1_000, on=TODAY + DAY)

    changed = (await take(desk, returned)).payments_changed

    paid, back = await _lines(desk, name)
    assert (changed, await desk.state(name), await desk.budget()) == (1, "RETURNED", (0, 0))
    assert (back.corrects, back.effective_date) == (paid.line_number, TODAY + DAY)
    assert (back.settled, back.match_id) == (False, "")


async def test_a_second_debit_under_our_id_settles_nothing_twice(desk: Desk) -> None:
    name = await _sent(desk)
    payment_id = name.rpartition("/")[2]
    twice = [entry(-1_000, end_to_end_id=payment_id) for _ in range(2)]

    changed = (await take(desk, statement(*twice))).payments_changed

    assert (changed, await desk.state(name)) == (1, "SETTLED")
    assert len(await _lines(desk, name)) == 1
    (account,) = await desk.rows(
        sa.select(t.bank_accounts.c.bank_minor).where(t.bank_accounts.c.fund_id == "wutong")
    )
    assert account.bank_minor == OPENING_MINOR - 2_000


@pytest.mark.parametrize("amount_minor", [-999, -1_001, 999])
async def test_another_amount_under_our_id_is_left_to_reconciliation(
    desk: Desk, amount_minor: int
) -> None:
    name = await _sent(desk)

    await take(desk, statement(entry(amount_minor, end_to_end_id=name.rpartition("/")[2])))

    assert await desk.state(name) == "SENT"


async def test_a_debit_on_another_funds_account_settles_nothing_here(desk: Desk) -> None:
    name = await _sent(desk)
    foreign = entry(-1_000, end_to_end_id=name.rpartition("/")[2])

    changed = await take(desk, statement(foreign, account="6222010000000002"))

    assert (changed.payments_changed, await desk.state(name)) == (0, "SENT")


async def test_a_debit_for_a_payment_that_was_never_released_changes_nothing(desk: Desk) -> None:
    name = (await desk.submit()).name

    with capture_logs() as logs:
        await take(desk, statement(entry(-1_000, end_to_end_id=name.rpartition("/")[2])))

    assert (await desk.state(name), await desk.budget()) == ("HELD", (1_000, 0))
    assert "bank_contradicts" in {each["event"] for each in logs}


async def test_one_debit_for_a_batch_settles_all_of_it(desk: Desk, bank: Bank) -> None:
    bank.simulated.behave(PAYEE, Behaviour(silent=True))
    names = await _sent_batch(desk, 100, 200)
    bank.take()

    bank.close(TODAY)
    await desk.gateway.work()

    assert await desk.states(names) == ["SETTLED", "SETTLED"]


async def test_one_debit_for_a_batch_settles_none_unless_the_sum_is_exact(desk: Desk) -> None:
    names = await _sent_batch(desk, 100, 200)
    batch_id = (await desk.get(names[0])).batch_id

    first = statement(entry(-299, batch_id=batch_id), entry(-100, batch_id=batch_id))
    changed = (await take(desk, first)).payments_changed

    assert (changed, await desk.states(names)) == (0, ["SENT", "SENT"])


async def test_one_debit_for_a_batch_leaves_out_what_the_bank_rejected(desk: Desk) -> None:
    names = await _sent_batch(desk, 100, 200, 300)
    await _say(desk, names[1], "RJCT", "AC04")
    batch_id = (await desk.get(names[0])).batch_id

    await take(desk, statement(entry(-400, batch_id=batch_id)))

    assert await desk.states(names) == ["SETTLED", "REJECTED", "SETTLED"]
    assert await desk.budget() == (0, 400)


async def test_a_return_before_its_debit_is_stated_comes_back_all_the_same(desk: Desk) -> None:
    """What comes back had gone out; the debit that follows changes nothing more."""
    name = await _sent(desk)
    payment_id = name.rpartition("/")[2]
    credit = entry(1_000, TODAY + DAY, end_to_end_id=payment_id, return_reason="AC04")
    await take(desk, statement(credit, opening_minor=OPENING_MINOR - 1_000, on=TODAY + DAY))
    assert (await desk.state(name), await desk.budget()) == ("RETURNED", (0, 0))

    changed = (
        await take(desk, statement(entry(-1_000, end_to_end_id=payment_id)))
    ).payments_changed

    assert (changed, await desk.state(name)) == (0, "RETURNED")
    assert len(await _lines(desk, name)) == 2
