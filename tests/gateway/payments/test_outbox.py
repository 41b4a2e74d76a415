"""From release to the bank: recorded first, delivered once, whatever fails in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.formats import pain001
from gateway.payments import outbox
from gateway.store import tables as t
from tests.gateway.payments.desk import ACCOUNT, ask, batch
from tests.gateway.support import OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.payments.desk import Bank, Desk


class Crash(BaseException):
    """The process dies here: nothing that catches exceptions may go on."""


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


async def _paid(desk: Desk, bank: Bank, name: str) -> int:
    """What the bank's account was debited for one payment, after all files have gone round."""
    for _ in range(2):
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
    ("_count_attempt", outbox),
    ("load_batch", outbox),
    ("deliver", outbox),
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


async def test_a_bank_that_takes_the_file_before_the_crash_pays_once(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered, taken, booked; then the file comes again under the same name."""
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(outbox.Sender, "_record_delivery", _raising(Crash()))
        with pytest.raises(Crash):
            await desk.gateway.sender.send_all()
    assert bank.take() == 1

    await desk.gateway.sender.send_all()

    assert bank.take() == 1
    assert await _paid(desk, bank, name) == 1_000


async def test_a_full_disk_leaves_it_queued_with_the_reason(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_LONGEST_PAUSE_S", 0)
        patched.setattr(outbox, "deliver", _raising(OSError(28, "No space left on device")))
        assert await desk.gateway.sender.send_all() == 0

    sent = await desk.transmission(name)
    assert (sent.state, sent.last_error, sent.attempt_count) == ("QUEUED", "OSError", 1)
    assert await desk.state(name) == "RELEASED"
    assert await _paid(desk, bank, name) == 1_000
    assert (await desk.transmission(name)).last_error == ""


async def test_a_name_taken_by_other_bytes_stays_queued_for_a_person(
    desk: Desk, bank: Bank
) -> None:
    name = await desk.released()
    taken = (await desk.transmission(name)).transmission_id
    audit = bank.folder / "audit" / f"{taken}.xml"
    audit.parent.mkdir(parents=True)
    audit.write_bytes(b"something else")

    assert await desk.gateway.sender.send_all() == 0

    assert (await desk.transmission(name)).last_error == "NameTakenError"
    assert audit.read_bytes() == b"something else"


async def test_one_that_cannot_be_written_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await desk.released(100), await desk.released(200)
    real = pain001.render

    def failing(order: Any, profile: Any) -> bytes:
        if order.total_minor == 100:
            raise ValueError("张三")
        return real(order, profile)

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(pain001, "render", failing)
        assert await desk.gateway.sender.send_all() == 1

    assert await desk.states([first, second]) == ["RELEASED", "SENT"]
    assert (await desk.transmission(first)).last_error == "ValueError"
    assert "张三" not in str(logs)


async def test_what_always_fails_does_not_fill_every_round(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await desk.released(100)
    real = pain001.render

    def failing(order: Any, profile: Any) -> bytes:
        if order.total_minor == 100:
            raise ValueError
        return real(order, profile)

    with monkeypatch.context() as patched:
        patched.setattr(pain001, "render", failing)
        patched.setattr(outbox, "_BATCH_OF_TRANSMISSIONS", 1)
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
    stale = await desk.gateway.sender._queued()
    await desk.gateway.sender.send_all()
    bank.take()

    for fund_id, transmission_id in stale:
        assert await desk.gateway.sender._send(fund_id, transmission_id) is False

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
