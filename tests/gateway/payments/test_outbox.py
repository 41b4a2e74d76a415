"""From release to the bank: recorded first, delivered once, whatever fails in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters import connection
from adapters.formats import pain001
from adapters.transports import directory
from gateway.payments import outbox
from gateway.store import tables as t
from tests.gateway.payments.desk import ACCOUNT, ask, batch
from tests.gateway.support import OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.payments.desk import Bank, Desk


LEASE = timedelta(minutes=11)
"""After this another process goes on with what one that died has begun."""


class Crash(BaseException):
    """The process dies here: nothing that catches exceptions may go on."""


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


async def _paid(desk: Desk, bank: Bank, name: str) -> int:
    """What the bank's account was debited for one payment, after all files have gone round."""
    for _ in range(2):
        desk.clock.moment += LEASE
        await desk.gateway.work()
        bank.take()
        bank.bring()
    bank.close(TODAY)
    await desk.gateway.work()
    assert await desk.state(name) == "SETTLED"
    entries = t.bank_entries
    ours = entries.c.end_to_end_id == name.rpartition("/")[2]
    assert len(await desk.rows(sa.select(entries.c.bank_entry_id).where(ours))) == 1
    return OPENING_MINOR - bank.simulated.balance_minor(ACCOUNT)


async def test_the_file_says_exactly_what_was_signed(desk: Desk, bank: Bank) -> None:
    name = await desk.released(12_345)

    await desk.gateway.work()

    (path,) = (bank.folder / "out").iterdir()
    order = pain001.parse(path.read_bytes())
    (payment,) = order.payments
    signed = await desk.get(name)
    assert (payment.end_to_end_id, payment.amount_minor) == (name.rpartition("/")[2], 12_345)
    assert (payment.payee_name, payment.payee_account, payment.payee_bank_code) == (
        signed.payee.display_name,
        signed.payee.account_number,
        signed.payee.bank_code,
    )
    assert (order.debtor_account, f"transmissions/{order.message_id}") == (
        ACCOUNT,
        signed.transmission,
    )


async def test_nothing_goes_out_before_the_second_signature(desk: Desk, bank: Bank) -> None:
    await desk.submit()

    await desk.gateway.work()

    assert not (bank.folder / "out").exists()


async def test_what_was_sent_is_not_sent_again(desk: Desk, bank: Bank) -> None:
    name = await desk.released()

    assert await desk.gateway.sender.send_all() == 1
    bank.take()
    assert await desk.gateway.sender.send_all() == 0

    assert await desk.state(name) == "SENT"
    assert (await desk.transmission(name)).attempt_count == 1


STEPS: tuple[tuple[str, Any], ...] = (
    ("_begin", outbox.Sender),
    ("load_batch", outbox),
    ("render", connection),
    ("submit", connection.FileConnection),
    ("_record_delivery", outbox.Sender),
    ("payments_of", outbox),
    ("move", outbox),
)
"""Every step of sending at which the process may die."""


@pytest.mark.parametrize("step", STEPS, ids=[name for name, _ in STEPS])
async def test_a_crash_at_any_step_pays_once(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch, step: tuple[str, Any]
) -> None:
    name = await desk.released()
    attribute, owner = step

    with monkeypatch.context() as patched:
        patched.setattr(owner, attribute, _raising(Crash()))
        with pytest.raises(Crash):
            await desk.gateway.sender.send_all()
    assert await desk.state(name) == "RELEASED"

    assert await _paid(desk, bank, name) == 1_000


async def test_a_file_that_was_handed_over_before_the_crash_is_not_handed_over_again(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(outbox.Sender, "_record_delivery", _raising(Crash()))
        with pytest.raises(Crash):
            await desk.gateway.sender.send_all()
    assert bank.take() == 1

    desk.clock.moment += LEASE
    assert await desk.gateway.sender.send_all() == 1

    assert bank.take() == 0
    assert await desk.state(name) == "SENT"
    assert await _paid(desk, bank, name) == 1_000


async def test_a_crash_at_the_last_step_of_handing_over_is_in_doubt_and_pays_at_most_once(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the bank's program took the file or it never appeared, nobody can tell."""
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(directory.DirectoryTransport, "deliver", _raising(Crash()))
        with pytest.raises(Crash):
            await desk.gateway.sender.send_all()

    for _ in range(3):
        desk.clock.moment += LEASE
        await desk.gateway.work()

    assert await desk.state(name) == "UNKNOWN"
    assert (await desk.transmission(name)).state == "IN_DOUBT"
    assert bank.take() == 0


async def test_while_one_hands_over_another_process_leaves_it_alone(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(outbox.Sender, "_record_delivery", _raising(Crash()))
        with pytest.raises(Crash):
            await desk.gateway.sender.send_all()

    assert await desk.gateway.sender.send_all() == 0

    assert (await desk.transmission(name)).attempt_count == 1
    assert await _paid(desk, bank, name) == 1_000


async def test_an_answer_proves_that_the_file_arrived_although_the_process_died(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(outbox.Sender, "_record_delivery", _raising(Crash()))
        with pytest.raises(Crash):
            await desk.gateway.sender.send_all()
    bank.take()
    bank.bring()
    await desk.gateway.inbox.take_all()
    assert await desk.state(name) == "SETTLED"

    desk.clock.moment += LEASE
    assert await desk.gateway.sender.send_all() == 0

    assert bank.take() == 0
    assert (await desk.transmission(name)).state == "ANSWERED"


async def test_a_full_disk_leaves_it_queued_with_the_reason(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(directory, "_write", _raising(OSError(28, "No space left on device")))
        assert await desk.gateway.sender.send_all() == 0

    sent = await desk.transmission(name)
    assert (sent.state, sent.last_error, sent.attempt_count) == ("QUEUED", "NotPlacedError", 1)
    assert await desk.state(name) == "RELEASED"
    assert await _paid(desk, bank, name) == 1_000
    assert (await desk.transmission(name)).last_error == ""


async def test_the_pause_between_attempts_grows_to_a_quarter_of_an_hour(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    pauses = []
    with monkeypatch.context() as patched:
        patched.setattr(directory, "_write", _raising(OSError(28, "No space left on device")))
        for _ in range(12):
            await desk.gateway.sender.send_all()
            sent = await desk.transmission(name)
            pauses.append((sent.next_attempt_at - desk.clock()).total_seconds())
            assert await desk.gateway.sender.send_all() == 0
            assert (await desk.transmission(name)).attempt_count == len(pauses)
            desk.clock.moment = sent.next_attempt_at

    assert pauses[:3] == [2, 4, 8]
    assert pauses[-1] == 15 * 60


async def test_a_name_taken_by_other_bytes_waits_for_a_person(desk: Desk, bank: Bank) -> None:
    name = await desk.released()
    taken = (await desk.transmission(name)).transmission_id
    audit = bank.folder / "audit" / f"{taken}.xml"
    audit.parent.mkdir(parents=True)
    audit.write_bytes(b"something else")

    assert await desk.gateway.sender.send_all() == 0

    sent = await desk.transmission(name)
    assert (sent.state, sent.last_error) == ("STUCK", "NameTakenError")
    assert audit.read_bytes() == b"something else"
    desk.clock.moment += timedelta(days=1)
    assert await desk.gateway.sender.send_all() == 0
    assert (await desk.transmission(name)).attempt_count == 1


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 1 yuan cannot be written, for a reason that names a person."""
    real = connection.render

    def failing(order: Any, profile: Any) -> Any:
        if order.total_minor == 100:
            raise ValueError("张三")
        return real(order, profile)

    monkeypatch.setattr(connection, "render", failing)


@pytest.mark.usefixtures("unwritable")
async def test_one_that_cannot_be_written_holds_up_no_other(desk: Desk) -> None:
    first, second = await desk.released(100), await desk.released(200)

    with capture_logs() as logs:
        assert await desk.gateway.sender.send_all() == 1

    assert await desk.states([first, second]) == ["RELEASED", "SENT"]
    assert (await desk.transmission(first)).last_error == "ValueError"
    assert "张三" not in str(logs)


@pytest.mark.usefixtures("unwritable")
async def test_what_always_fails_does_not_fill_every_round(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await desk.released(100)
    monkeypatch.setattr(outbox, "_BATCH_OF_TRANSMISSIONS", 1)
    await desk.gateway.sender.send_all()
    good = await desk.released(200)
    await desk.gateway.sender.send_all()

    assert await desk.states([bad, good]) == ["RELEASED", "SENT"]


async def test_two_senders_at_once_hand_over_one_file(desk: Desk, bank: Bank) -> None:
    name = await desk.released()
    sender = desk.gateway.sender

    await asyncio.gather(sender.send_all(), sender.send_all(), sender.send_all())

    assert len(list((bank.folder / "out").iterdir())) == 1
    assert await desk.state(name) == "SENT"
    assert await _paid(desk, bank, name) == 1_000


async def test_a_sender_that_read_the_queue_long_ago_sends_nothing_again(
    desk: Desk, bank: Bank
) -> None:
    """What another process has handed over since is not handed over twice."""
    name = await desk.released()
    stale = await desk.gateway.sender._due()
    await desk.gateway.sender.send_all()
    bank.take()

    for transmission_id in stale:
        assert await desk.gateway.sender._send(transmission_id) is False

    assert list((bank.folder / "out").iterdir()) == []
    assert (await desk.transmission(name)).attempt_count == 1


async def test_a_batch_is_one_file_in_the_order_asked(desk: Desk, bank: Bank) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200), ask(300)]))).payments
    for name in names:
        await desk.sign_by_both(name)

    await desk.gateway.work()

    (path,) = (bank.folder / "out").iterdir()
    order = pain001.parse(path.read_bytes())
    assert [each.amount_minor for each in order.payments] == [100, 200, 300]
    assert order.batch_id == (await desk.get(names[0])).batch_id
