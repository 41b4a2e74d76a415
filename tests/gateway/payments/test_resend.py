"""Sending again what a bank never had: not before the bank itself has failed to know it, by two."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from adapters.formats import pain001
from adapters.simulator import Behaviour
from gateway.domain.payload import parse_payload
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement, status
from tests.gateway.payments.desk import ACCOUNT, PAYEE, ask, batch, envelope
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    OPENING_MINOR,
    OPERATOR,
    TODAY,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from tests.gateway.payments.desk import Bank, Desk
    from tests.gateway.support import Who

DAY = timedelta(days=1)


async def _prepare(desk: Desk, name: str, who: Who = MAKER) -> pb.Payment:
    request = pb.PrepareResendRequest(name=name, request_id=request_id())
    return (await (await desk.stub(who)).PrepareResend(request)).payment  # type: ignore[no-any-return]


async def _lost(desk: Desk, bank: Bank, amount_minor: int = 1_000) -> str:
    """A payment whose file vanished on the way to the bank."""
    name = await desk.released(amount_minor)
    await desk.gateway.work()
    _lose_files(bank)
    desk.clock.moment += timedelta(hours=5)
    await desk.gateway.work()
    assert await desk.state(name) == "UNKNOWN"
    return name


def _lose_files(bank: Bank) -> None:
    for path in (bank.folder / "out").iterdir():
        path.unlink()


async def _close_days(desk: Desk, bank: Bank, count: int = 3) -> None:
    """So many days end, each with its statement."""
    for number in range(count):
        bank.close(TODAY + number * DAY)
        await desk.gateway.work()


async def _blockers(desk: Desk, name: str) -> set[str]:
    refused = await refusal(_prepare(desk, name))
    assert refused.reason == "RESEND_TOO_EARLY"
    return set(refused.metadata["blockers"].split(","))


async def _arrive(desk: Desk, bank: Bank) -> None:
    await desk.gateway.work()
    bank.take()
    bank.bring()
    await desk.gateway.work()


async def test_what_the_bank_never_had_is_signed_by_two_and_paid_once(
    desk: Desk, bank: Bank
) -> None:
    name = await _lost(desk, bank)
    lost = await desk.transmission(name)
    await _close_days(desk, bank)

    prepared = await _prepare(desk, name)
    assert (prepared.attempt, list(prepared.signatures)) == (2, [])
    await desk.sign_by_both(name)
    assert await desk.state(name) == "RELEASED"
    await _arrive(desk, bank)

    assert await desk.state(name) == "SETTLED"
    again = await desk.transmission(name)
    assert again.transmission_id != lost.transmission_id
    assert bank.simulated.balance_minor(ACCOUNT) == OPENING_MINOR - 1_000
    (order,) = [
        pain001.parse(path.read_bytes())
        for path in (bank.folder / "audit").glob(f"{again.transmission_id}.xml")
    ]
    assert [payment.end_to_end_id for payment in order.payments] == [name.rpartition("/")[2]]


async def test_the_bytes_say_what_is_paid_again_and_why(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    first = parse_payload((await desk.get(name)).signing_payload)
    lost = await desk.transmission(name)
    await _close_days(desk, bank)

    said = parse_payload((await _prepare(desk, name)).signing_payload)

    assert said.resend is not None
    assert said.resend.attempt == "2"
    assert said.resend.transmission == f"transmissions/{lost.transmission_id}"
    assert said.resend.missed_on == tuple(str(TODAY + number * DAY) for number in range(3))
    assert said.nonce != first.nonce
    same = {"payee_account", "payee_name", "amount_minor", "payment", "purpose", "vouchers"}
    assert first.model_dump(include=same) == said.model_dump(include=same)


async def test_signatures_of_the_first_attempt_are_worth_nothing_for_the_second(
    desk: Desk, bank: Bank
) -> None:
    name = await _lost(desk, bank)
    first = (await desk.get(name)).signing_payload
    await _close_days(desk, bank)
    await _prepare(desk, name)

    refused = await refusal(desk.sign(name, CHAIR, envelope(first, CHAIR)))

    assert refused.reason == "PAYLOAD_MISMATCH"
    await desk.sign(name, CHAIR)
    assert (await refusal(desk.sign(name, CHAIR))).reason == "SAME_PERSON"
    assert await desk.state(name) == "UNKNOWN"


async def test_the_line_and_the_money_stay_as_they_are(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    lines = sa.select(t.disclosed_lines.c.line_number).where(
        t.disclosed_lines.c.fund_id == "wutong"
    )
    before, budget = await desk.rows(lines), await desk.budget()
    await _close_days(desk, bank)
    await _prepare(desk, name)
    await desk.sign_by_both(name)
    await _arrive(desk, bank)

    assert await desk.rows(lines) == before
    assert await desk.budget() == budget


async def test_nothing_is_sent_again_before_the_bank_closed_its_day(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)

    assert await _blockers(desk, name) == {
        "BANK_STILL_OPEN",
        "TOO_FEW_MISSES",
        "STATEMENT_MISSING",
    }


@pytest.mark.parametrize("days", [1, 2])
async def test_too_few_statements_that_lack_it_are_no_proof(
    desk: Desk, bank: Bank, days: int
) -> None:
    name = await _lost(desk, bank)
    await _close_days(desk, bank, days)

    assert await _blockers(desk, name) == {"TOO_FEW_MISSES"}


async def test_a_gap_in_the_statements_forbids_it(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    bank.simulated.omit_day(ACCOUNT, TODAY + DAY)
    bank.simulated.receive(ACCOUNT, 500, TODAY + DAY, "某业主", "6222020000000009")
    await _close_days(desk, bank, 5)

    assert "STATEMENT_UNCLEAN" in await _blockers(desk, name)


async def test_a_gap_that_its_missing_statement_fills_forbids_nothing(
    desk: Desk, bank: Bank
) -> None:
    name = await _lost(desk, bank)
    bank.simulated.receive(ACCOUNT, 500, TODAY + DAY, "某业主", "6222020000000009")
    for number in range(5):
        bank.simulated.close_day(TODAY + number * DAY)
    (late,) = bank.simulated.outbox.glob(f"camt053_{ACCOUNT}_{TODAY + DAY}*")
    kept = late.read_bytes()
    late.unlink()
    bank.bring()
    desk.clock.moment += 5 * DAY
    await desk.gateway.work()
    assert "STATEMENT_UNCLEAN" in await _blockers(desk, name)

    bank.leave("late.xml", kept)
    await desk.gateway.work()

    assert (await _prepare(desk, name)).attempt == 2


async def test_a_statement_that_repeats_known_days_forbids_nothing(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    await _close_days(desk, bank, 2)
    both = [entry(500, TODAY + DAY), entry(700, TODAY + 2 * DAY)]
    bank.leave("first.xml", statement(both[0], on=TODAY + DAY))
    bank.leave("second.xml", statement(*both, on=TODAY + 2 * DAY))
    await desk.gateway.work()

    assert (await _prepare(desk, name)).attempt == 2


async def test_a_debit_that_nothing_explains_forbids_it(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    bank.simulated.receive(ACCOUNT, -1_000, TODAY, "某公司", PAYEE)
    await _close_days(desk, bank)

    assert await _blockers(desk, name) == {"DEBIT_UNEXPLAINED"}


async def test_news_between_the_two_signatures_stops_it(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    await _close_days(desk, bank)
    await _prepare(desk, name)
    await desk.sign(name, CHAIR)
    late = TODAY + 3 * DAY
    bank.leave("late.xml", statement(entry(-1_000, late), on=late))
    await desk.gateway.work()

    refused = await refusal(desk.sign(name, CHECKER))

    assert (refused.reason, refused.metadata["blockers"]) == (
        "RESEND_TOO_EARLY",
        "DEBIT_UNEXPLAINED",
    )
    assert await desk.state(name) == "UNKNOWN"


async def test_an_answer_to_the_lost_file_after_all_ends_it(desk: Desk, bank: Bank) -> None:
    """The file was in a queue all the time; the bank takes it before the second one goes out."""
    name = await _lost(desk, bank)
    lost = await desk.transmission(name)
    await _close_days(desk, bank)
    await _prepare(desk, name)
    await desk.sign_by_both(name)
    bank.leave("late.xml", status(lost.transmission_id, ("ACSC", "", "")))
    await desk.gateway.inbox.take_all()
    assert await desk.state(name) == "SETTLED"

    await desk.gateway.sender.send_all()

    assert list((bank.folder / "out").iterdir()) == []
    assert (await desk.transmission(name)).state == "SUPERSEDED"


async def test_a_bank_that_has_both_files_pays_the_reference_once(desk: Desk, bank: Bank) -> None:
    name = await desk.released()
    await desk.gateway.work()
    (first,) = (bank.folder / "out").iterdir()
    kept = first.read_bytes()
    first.unlink()
    desk.clock.moment += timedelta(hours=5)
    await desk.gateway.work()
    await _close_days(desk, bank)
    await _prepare(desk, name)
    await desk.sign_by_both(name)
    await desk.gateway.work()
    (bank.folder / "out" / first.name).write_bytes(kept)

    await _arrive(desk, bank)

    assert await desk.state(name) == "SETTLED"
    assert bank.simulated.balance_minor(ACCOUNT) == OPENING_MINOR - 1_000


async def test_a_refusal_of_the_lost_file_says_nothing_of_the_second(
    desk: Desk, bank: Bank
) -> None:
    name = await _lost(desk, bank)
    lost = await desk.transmission(name)
    await _close_days(desk, bank)
    await _prepare(desk, name)
    await desk.sign_by_both(name)
    await desk.gateway.work()
    bank.leave("late.xml", status(lost.transmission_id, ("RJCT", "", "FF01")))

    await desk.gateway.inbox.take_all()

    assert await desk.state(name) == "SENT"


async def test_one_of_a_batch_is_sent_again_alone(desk: Desk, bank: Bank) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    for each in names:
        await desk.sign_by_both(each)
    await desk.gateway.work()
    _lose_files(bank)
    sent = await desk.transmission(names[0])
    one = names[0].rpartition("/")[2]
    bank.leave("part.xml", status(sent.transmission_id, ("PART", "", ""), ("ACSC", one, "")))
    desk.clock.moment += timedelta(hours=5)
    await desk.gateway.work()
    assert await desk.states(names) == ["SETTLED", "UNKNOWN"]
    # Settled by the bank's word only; its debit stands on no statement of this test.
    await _close_days(desk, bank)

    await _prepare(desk, names[1])
    await desk.sign_by_both(names[1])
    await desk.gateway.work()

    (path,) = (bank.folder / "out").iterdir()
    order = pain001.parse(path.read_bytes())
    assert [payment.end_to_end_id for payment in order.payments] == [names[1].rpartition("/")[2]]
    assert await desk.state(names[0]) == "SETTLED"


async def test_a_resend_that_is_not_signed_in_time_is_prepared_anew(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    await _close_days(desk, bank)
    await _prepare(desk, name)
    assert (await refusal(_prepare(desk, name))).reason == "STATE_FORBIDS"
    await desk.sign(name, CHAIR)
    desk.clock.moment += timedelta(days=30)
    assert (await refusal(desk.sign(name, CHECKER))).reason == "PAYMENT_EXPIRED"

    assert (await _prepare(desk, name)).attempt == 3
    await desk.sign_by_both(name)
    await _arrive(desk, bank)

    assert await desk.state(name) == "SETTLED"


async def test_lost_twice_it_is_sent_a_third_time(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    await _close_days(desk, bank)
    await _prepare(desk, name)
    await desk.sign_by_both(name)
    await desk.gateway.work()
    _lose_files(bank)
    assert (await refusal(desk.sign(name, CHAIR))).reason == "STATE_FORBIDS"
    for number in range(3, 7):
        bank.close(TODAY + number * DAY)
        await desk.gateway.work()
    assert await desk.state(name) == "UNKNOWN"

    assert (await _prepare(desk, name)).attempt == 3
    await desk.sign_by_both(name)
    await _arrive(desk, bank)

    assert await desk.state(name) == "SETTLED"
    assert bank.simulated.balance_minor(ACCOUNT) == OPENING_MINOR - 1_000


async def test_only_what_is_unknown_is_prepared(desk: Desk, bank: Bank) -> None:
    held = (await desk.submit()).name
    released = await desk.released(200)
    settled = await desk.released(300)
    bank.simulated.behave(settled.rpartition("/")[2], Behaviour())
    await _arrive(desk, bank)

    for name in (held, released, settled):
        assert (await refusal(_prepare(desk, name))).reason == "STATE_FORBIDS"


@pytest.mark.parametrize("who", [FIRM, CHAIR, CHECKER], ids=lambda who: who.name)
async def test_who_may_not_prepare_it_is_told_so(desk: Desk, bank: Bank, who: Who) -> None:
    name = await _lost(desk, bank)

    refused = await refusal(_prepare(desk, name, who))

    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_an_operator_may_prepare_it_too(desk: Desk, bank: Bank) -> None:
    name = await _lost(desk, bank)
    await _close_days(desk, bank)

    assert (await _prepare(desk, name, OPERATOR)).attempt == 2
