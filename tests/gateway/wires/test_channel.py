"""An order over a bank's TLS door: answered, cut, late, refused; asked about until decided."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from adapters.reach import ReachError
from gateway.payments import inquiry, outbox, transmissions
from gateway.store import tables as t
from tests.gateway.payments.desk import PAYEE, ask, batch
from tests.gateway.support import BANK_CODE, NOW
from tests.gateway.wires.city_bank import ACCEPTED, PAID, RECEIVED, REFUSED, Door
from tests.gateway.wires.stage import LEASE, id_of

if TYPE_CHECKING:
    from tests.gateway.wires.stage import Stage

DAY = timedelta(days=1)
TAKEN = (Door.CUT, Door.LATE)
"""The bank has the order, and its answer is lost."""


@pytest.fixture
def profile_id() -> str:
    """The accounts are at the bank with a channel."""
    return "city-channel"


async def test_a_payment_is_ordered_once_and_paid_to_the_payee_that_was_signed(
    stage: Stage,
) -> None:
    payee = pb.Payee(display_name="立堃电梯有限公司", account_number=PAYEE, bank_code=BANK_CODE)
    name = await stage.desk.released(12_345, payee=payee)
    await stage.work()

    assert await stage.desk.state(name) == "SETTLED"
    paid = stage.city.instructions[id_of(name)]
    told = (paid.payee_name, paid.payee_account, paid.amount_minor, paid.purpose)
    assert told == ("立堃电梯有限公司", PAYEE, 12_345, "电梯维修")
    await stage.work(LEASE)
    assert len(stage.city.received) == 1
    await stage.settled(name, 12_345)


async def test_the_history_names_the_file_with_the_hash_of_the_bytes_kept(stage: Stage) -> None:
    name = await stage.desk.released()
    await stage.work()

    audit = stage.desk.gateway.sender.banks.root / "city-channel" / "audit"
    (order,) = audit.glob("m*.xml")
    carried = f"{order.name} sha256:{sha256(order.read_bytes()).hexdigest()}"
    history = (await stage.desk.get(name)).history
    assert [each.detail for each in history if "sha256:" in each.detail] == [carried]


async def test_a_batch_is_one_order_and_each_payment_has_its_own_end(stage: Stage) -> None:
    names = list((await stage.desk.submit_all(batch([ask(100), ask(200)]))).payments)
    for name in names:
        await stage.desk.sign_by_both(name)
    stage.city.decides = ACCEPTED
    await stage.work()
    assert await stage.desk.states(names) == ["ACCEPTED"] * 2

    stage.city.decide(id_of(names[0]), PAID)
    stage.city.decide(id_of(names[1]), REFUSED)
    await stage.work(timedelta(seconds=60))

    assert await stage.desk.states(names) == ["SETTLED", "REJECTED"]
    assert stage.city.orders(id_of(names[0])) == stage.city.orders(id_of(names[1]))
    assert [amount for amount, _ in await stage.lines(names[1])] == [-200, 200]


async def test_a_refused_payment_gives_the_money_back_and_is_asked_about_no_more(
    stage: Stage,
) -> None:
    stage.city.decides = REFUSED
    name = await stage.desk.released()
    await stage.work()

    assert await stage.desk.state(name) == "REJECTED"
    assert await stage.desk.budget() == (0, 0)
    for _ in range(3):
        await stage.work(DAY)
    assert stage.city.asked_at() == []


async def test_the_bank_is_asked_as_often_as_its_profile_says_then_once_a_day(
    stage: Stage,
) -> None:
    stage.city.decides = RECEIVED
    name = await stage.desk.released()
    for seconds in (0, 59, 1, 60, 60, 60, 3_600, 86_400):
        await stage.work(timedelta(seconds=seconds))

    asked = [(at - NOW).total_seconds() for at in stage.city.asked_at()]
    assert asked == [0, 60, 120, 180, 180 + 60 + 3_600 + 86_400]
    assert await stage.desk.state(name) == "UNKNOWN"  # four hours without a decision
    stage.city.decide(id_of(name), PAID)
    await stage.work(DAY)
    assert await stage.desk.state(name) == "SETTLED"
    await stage.work(DAY)
    assert len(stage.city.asked_at()) == len(asked) + 1


@pytest.mark.parametrize("door", TAKEN)
async def test_an_order_whose_answer_is_lost_is_unknown_never_sent_again_and_found(
    stage: Stage, door: Door
) -> None:
    stage.city.doors += [door, Door.BUSY]
    name = await stage.desk.released()
    await stage.work()

    assert await stage.desk.state(name) == "UNKNOWN"
    assert (await stage.desk.transmission(name)).state == "IN_DOUBT"
    await stage.work(timedelta(seconds=60))
    assert await stage.desk.state(name) == "SETTLED"
    assert (await stage.desk.transmission(name)).state == "ANSWERED"
    await stage.work(LEASE)
    assert len(stage.city.orders(id_of(name))) == 1
    await stage.settled(name)


@pytest.mark.parametrize("door", [Door.CLOSED, Door.BUSY])
async def test_an_order_that_never_arrived_is_unknown_and_no_number_of_misses_sends_it(
    stage: Stage, door: Door
) -> None:
    stage.city.doors += [door]
    name = await stage.desk.released()
    await stage.work()
    await stage.mornings(6)

    assert await stage.desk.state(name) == "UNKNOWN"
    assert len(await stage.missed(name)) >= 6
    assert stage.city.orders(id_of(name)) == []
    assert await stage.lines(name) == [(-1_000, "")]


async def test_a_question_whose_answer_is_lost_decides_nothing_and_the_next_one_is_new(
    stage: Stage,
) -> None:
    stage.city.decides = RECEIVED
    name = await stage.desk.released()
    stage.city.doors += [Door.PLAIN, Door.CUT, Door.CLOSED]
    await stage.work()
    stage.city.decide(id_of(name), PAID)
    await stage.work(timedelta(seconds=60))

    assert await stage.desk.state(name) == "SENT"
    await stage.work(timedelta(seconds=60))
    assert await stage.desk.state(name) == "SETTLED"
    asked = await stage.desk.rows(sa.select(t.inquiries).order_by(t.inquiries.c.inquiry_id))
    assert [row.error for row in asked] == ["OutcomeUnknownError", "OutcomeUnknownError", ""]
    assert stage.city.questions(id_of(name)) == [asked[0].inquiry_id, asked[2].inquiry_id]
    assert await stage.missed(name) == []


async def test_a_door_that_forbids_us_leaves_the_order_to_a_person(stage: Stage) -> None:
    stage.city.doors += [Door.FORBIDDEN]
    name = await stage.desk.released()
    await stage.work()
    await stage.work(DAY)

    assert await stage.desk.state(name) == "RELEASED"
    assert (await stage.desk.transmission(name)).state == "STUCK"
    assert stage.city.received == []


async def test_a_bank_that_is_not_there_is_tried_again_until_it_is(stage: Stage) -> None:
    reach = stage.desk.gateway.sender.banks.root / "city-channel" / "reach.toml"
    there = reach.read_text()
    head, _, tail = there.partition("127.0.0.1:")
    reach.write_text(f"{head}127.0.0.1:9/{tail.partition('/')[2]}")  # a port where nothing listens
    name = await stage.desk.released()
    await stage.work()
    queued = await stage.desk.transmission(name)
    assert (queued.state, queued.last_error) == ("QUEUED", "NotSentError")

    reach.write_text(there)
    await stage.work(timedelta(seconds=2))
    assert await stage.desk.state(name) == "SETTLED"
    await stage.settled(name)


async def test_what_cannot_be_asked_about_does_not_fill_every_round(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.city.decides = RECEIVED
    bad = await stage.desk.released()
    await stage.desk.gateway.sender.send_all()
    stage.desk.clock.moment += timedelta(seconds=1)
    good = await stage.desk.released()
    await stage.desk.gateway.sender.send_all()
    cannot = (await stage.desk.transmission(bad)).transmission_id
    load_batch = transmissions.load_batch

    async def failing(conn: Any, transmission: Any) -> Any:
        if transmission.transmission_id == cannot:
            raise ReachError
        return await load_batch(conn, transmission)

    monkeypatch.setattr(inquiry, "load_batch", failing)
    monkeypatch.setattr(inquiry, "_AT_ONCE", 1)
    for _ in range(2):
        await stage.work()
    assert len(stage.city.questions(id_of(good))) == 1

    monkeypatch.setattr(inquiry, "load_batch", load_batch)
    await stage.work(timedelta(seconds=60))
    assert len(stage.city.questions(id_of(bad))) == 1


async def test_what_cannot_be_sent_does_not_fill_every_round(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await stage.desk.released()
    stage.desk.clock.moment += timedelta(seconds=1)
    good = await stage.desk.released()
    cannot = (await stage.desk.transmission(bad)).transmission_id
    load_batch = transmissions.load_batch

    async def failing(conn: Any, transmission: Any) -> Any:
        if transmission.transmission_id == cannot:
            raise ReachError
        return await load_batch(conn, transmission)

    monkeypatch.setattr(outbox, "load_batch", failing)
    monkeypatch.setattr(outbox, "_BATCH_OF_TRANSMISSIONS", 1)
    await stage.work()
    await stage.work(timedelta(seconds=2))

    assert await stage.desk.states([bad, good]) == ["RELEASED", "SETTLED"]


async def test_two_gateways_over_one_database_order_and_ask_once(stage: Stage) -> None:
    stage.city.decides = RECEIVED
    name = await stage.desk.released()
    gateway = stage.desk.gateway
    await asyncio.gather(*(gateway.sender.send_all() for _ in range(3)))
    await asyncio.gather(*(gateway.inquirer.ask_all() for _ in range(3)))

    assert len(stage.city.orders(id_of(name))) == 1
    assert len(stage.city.questions(id_of(name))) == 1
