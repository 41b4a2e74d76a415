"""The process dies at each step of sending and of asking: a bank never gets two orders for one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from adapters import connection
from adapters.formats import channel_xml
from adapters.transports.https import HttpsExchange
from gateway.payments import inquiry, outbox
from tests.gateway.wires.city_bank import PAID, RECEIVED, Door
from tests.gateway.wires.stage import LEASE, id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.gateway.wires.stage import Stage


@pytest.fixture
def profile_id() -> str:
    """The accounts are at the bank with a channel."""
    return "city-channel"


class Crash(BaseException):
    """The process dies here: nothing that catches exceptions may go on."""


def _dies(*_: object, **__: object) -> None:
    raise Crash


def _dies_afterwards(real: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[None]]:
    async def dying(*given: object, **named: object) -> None:
        await real(*given, **named)
        raise Crash

    return dying


async def _crash(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, *, afterwards: bool
) -> None:
    """One round of the gateway, which dies at a step, or as soon as it is done."""
    with monkeypatch.context() as patched:
        dying = _dies_afterwards(getattr(owner, step)) if afterwards else _dies
        patched.setattr(owner, step, dying)
        with pytest.raises(Crash):
            await stage.work()


async def _days_later(stage: Stage) -> None:
    for pause in (LEASE, LEASE, timedelta(days=1)):
        await stage.work(pause)


NOTHING_WENT_OUT: tuple[tuple[Any, str], ...] = (
    (outbox.Sender, "_begin"),
    (outbox, "load_batch"),
    (connection, "render"),
    (connection.ChannelConnection, "submit"),
    (connection, "place"),
    (connection, "_mark"),
)
"""Steps of sending before the mark that says that it may have been sent."""


@pytest.mark.parametrize(
    ("owner", "step"), NOTHING_WENT_OUT, ids=[step for _, step in NOTHING_WENT_OUT]
)
async def test_a_crash_before_anything_was_sent_costs_nothing_but_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    name = await stage.desk.released()
    await _crash(stage, monkeypatch, owner, step, afterwards=False)

    assert stage.city.received == []
    await stage.work(LEASE)
    assert await stage.desk.state(name) == "SETTLED"
    assert len(stage.city.orders(id_of(name))) == 1
    await stage.settled(name)


IT_WENT_OUT: tuple[tuple[Any, str, bool], ...] = (
    (HttpsExchange, "exchange", True),
    (connection, "_keep", False),
    (channel_xml, "parse_reply", False),
    (outbox.Sender, "_record_delivery", False),
    (outbox, "record_delivery", True),
    (outbox, "apply_report", False),
    (outbox, "apply_report", True),
)
"""Steps of sending after the bank has the order: which dies, or at the end of which it dies."""


@pytest.mark.parametrize(
    ("owner", "step", "afterwards"),
    IT_WENT_OUT,
    ids=[f"{'after' if late else 'in'}-{step}" for _, step, late in IT_WENT_OUT],
)
async def test_a_crash_after_the_order_went_out_is_found_by_asking_and_paid_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, *, afterwards: bool
) -> None:
    name = await stage.desk.released()
    await _crash(stage, monkeypatch, owner, step, afterwards=afterwards)

    assert await stage.desk.state(name) == "RELEASED"
    await _days_later(stage)
    assert await stage.desk.state(name) == "SETTLED"
    assert len(stage.city.orders(id_of(name))) == 1
    assert stage.city.debits == {id_of(name): 1}


async def test_a_crash_with_the_mark_made_and_nothing_sent_stays_unknown_until_two_decide(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await stage.desk.released()
    await _crash(stage, monkeypatch, HttpsExchange, "exchange", afterwards=False)
    await _days_later(stage)

    assert await stage.desk.state(name) == "UNKNOWN"
    assert stage.city.orders(id_of(name)) == []
    assert await stage.missed(name)


async def test_a_crash_while_the_doubt_is_recorded_sends_nothing_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.city.doors.append(Door.CUT)
    name = await stage.desk.released()
    await _crash(stage, monkeypatch, outbox, "lose_track", afterwards=True)

    assert await stage.desk.state(name) == "RELEASED"
    await _days_later(stage)
    assert await stage.desk.state(name) == "SETTLED"
    assert len(stage.city.orders(id_of(name))) == 1


ASKING: tuple[tuple[Any, str, bool], ...] = (
    (inquiry.Inquirer, "_begin", False),
    (inquiry, "load_batch", False),
    (connection.ChannelConnection, "query", False),
    (HttpsExchange, "exchange", True),
    (connection, "_keep", False),
    (channel_xml, "parse_reply", False),
    (inquiry.Inquirer, "_record", False),
    (inquiry, "apply_report", False),
    (inquiry, "apply_report", True),
)
"""Steps of asking."""


@pytest.mark.parametrize(
    ("owner", "step", "afterwards"),
    ASKING,
    ids=[f"{'after' if late else 'in'}-{step}" for _, step, late in ASKING],
)
async def test_a_crash_while_asking_loses_one_question_and_its_number_and_no_payment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, *, afterwards: bool
) -> None:
    stage.city.decides = RECEIVED
    name = await stage.desk.released()
    await stage.work()
    stage.city.decide(id_of(name), PAID)
    stage.desk.clock.moment += timedelta(seconds=60)
    await _crash(stage, monkeypatch, owner, step, afterwards=afterwards)

    assert await stage.desk.state(name) == "SENT"
    await stage.work(timedelta(seconds=60))
    assert await stage.desk.state(name) == "SETTLED"
    assert len(stage.city.orders(id_of(name))) == 1
    assert stage.city.debits == {id_of(name): 1}
