"""Groups of calls: what one commit serves, and what each caller may rely on all the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.client import decode_error
from gateway.domain.errors import GatewayError, Kind
from gateway.payments import writers as writers_module
from gateway.payments.writers import Writers
from gateway.rpc.group import Committer
from gateway.store import tables as t
from tests.gateway.payments.desk import FUND, OTHER_FUND, ask, envelope
from tests.gateway.support import CHAIR, CHECKER, FIRM, OTHER_FIRM, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from gateway.rpc.group import Item
    from tests.gateway.payments.desk import Desk


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls each commit served."""
    sizes: list[int] = []
    decide = Committer._decide

    async def counted(self: Committer, conn: Any, items: Sequence[Item], recorded: Any) -> Any:
        sizes.append(len(items))
        return await decide(self, conn, items, recorded)

    monkeypatch.setattr(Committer, "_decide", counted)
    return sizes


async def _reasons(*calls: Awaitable[Any]) -> list[str]:
    """The refusals' reasons in the order of the calls, empty for what was answered."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return [
        decode_error(answer).reason if isinstance(answer, grpc.aio.AioRpcError) else ""
        for answer in answers
    ]


# --- over the socket --------------------------------------------------------------------------


async def test_a_hundred_callers_share_commits_and_one_bad_call_harms_nobody(
    desk: Desk, groups: list[int]
) -> None:
    bad = ask(100, vouchers=[f"{FUND}/vouchers/{'0' * 64}"])
    asked = [bad if number == 50 else ask(100) for number in range(100)]

    reasons = await _reasons(*(desk.submit(each) for each in asked))

    assert reasons == ["VOUCHER_MISSING" if number == 50 else "" for number in range(100)]
    assert await desk.budget() == (9_900, 0)
    assert sum(groups) == 100
    assert len(groups) < 100


async def test_funds_of_different_parties_are_written_together_and_stay_apart(
    desk: Desk,
) -> None:
    await desk.upload(OTHER_FUND, OTHER_FIRM)
    theirs = [desk.submit(ask(100, OTHER_FUND), fund=OTHER_FUND, who=OTHER_FIRM) for _ in range(9)]
    stolen = [desk.submit(ask(100, OTHER_FUND), fund=OTHER_FUND, who=FIRM) for _ in range(9)]
    own = [desk.submit(ask(100)) for _ in range(9)]

    reasons = await _reasons(*theirs, *stolen, *own)

    assert reasons == [""] * 9 + ["RESOURCE_NOT_FOUND"] * 9 + [""] * 9


async def test_signatures_and_asks_of_one_fund_go_into_one_group(desk: Desk) -> None:
    payments = [await desk.submit(ask(100)) for _ in range(4)]
    signed = [
        desk.sign(each.name, who, envelope(each.signing_payload, who))
        for each in payments
        for who in (CHAIR, CHECKER)
    ]

    reasons = await _reasons(*signed, *(desk.submit(ask(100)) for _ in range(4)))

    assert reasons == [""] * 12
    assert await desk.states([each.name for each in payments]) == ["RELEASED"] * 4
    assert await desk.budget() == (400, 400)


async def test_the_answer_says_what_is_stored(desk: Desk) -> None:
    submitted = await desk.submit(ask(100))
    first = await desk.sign(submitted.name, CHAIR)
    stored = await desk.get(submitted.name)

    del stored.history[:]
    assert first == stored


async def test_a_call_that_is_given_up_after_it_was_begun_is_answered_under_its_id(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    decide = Committer._decide

    async def slow(self: Committer, conn: Any, items: Sequence[Item], recorded: Any) -> Any:
        begun.set()
        await go.wait()
        return await decide(self, conn, items, recorded)

    monkeypatch.setattr(Committer, "_decide", slow)
    request = request_id()
    call = asyncio.ensure_future(desk.submit(ask(100), request=request))
    await begun.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    go.set()

    again = await desk.submit(ask(100), request=request)

    assert again.name
    assert await desk.budget() == (100, 0)


async def test_a_dead_writer_fails_its_callers_and_trips_health(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead(BaseException):
        """Nothing that a writer could get over."""

    async def die(_self: Committer, _conn: Any, _items: Sequence[Item], _recorded: Any) -> Any:
        raise Dead

    monkeypatch.setattr(Committer, "_decide", die)
    reasons = await _reasons(*(desk.submit(ask(100)) for _ in range(5)))
    later = await _reasons(desk.submit(ask(100)))

    channel: Any = await desk.callers.channel(desk.callers.pki.people[FIRM])
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert {*reasons, *later} == {"STORE_UNAVAILABLE"}
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers_module, "QUEUE_MAXIMUM", 1)
    answers = await asyncio.gather(
        *(desk.submit(ask(100)) for _ in range(20)), return_exceptions=True
    )

    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert refused
    assert {each.code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert decode_error(refused[0]).metadata["retry_after_ms"] == "1000"
    held = await desk.rows(sa.select(t.payments.c.payment_id))
    assert len(held) == 20 - len(refused)


# --- the queue itself -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Thing:
    """Something to write."""

    name: str
    key: str
    weight: int = 1


class _Log:
    """Commits by writing down the groups; what is called bad spoils its group."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, things: Sequence[_Thing]) -> list[str | Exception]:
        await self.open.wait()
        if any(thing.name == "bad" for thing in things):
            raise ValueError("bad")
        self.groups.append([thing.name for thing in things])
        return [thing.name.upper() for thing in things]


def _things(*names: str) -> list[_Thing]:
    return [_Thing(name, name) for name in names]


async def _all(writers: Writers[_Thing, str], things: Sequence[_Thing]) -> list[Any]:
    calls = [writers.submit("fund", thing) for thing in things]
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_what_waits_together_is_committed_together_in_its_order() -> None:
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: True)
    async with writers.running(lambda: None):
        assert await _all(writers, _things("a", "b", "c")) == ["A", "B", "C"]
    assert [name for group in log.groups for name in group] == ["a", "b", "c"]


async def test_one_that_spoils_its_group_is_refused_alone() -> None:
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: True)
    async with writers.running(lambda: None):
        answers = await _all(writers, _things("a", "bad", "c"))
    assert [answers[0], str(answers[1]), answers[2]] == ["A", "bad", "C"]


async def test_what_cannot_be_one_item_s_doing_is_told_to_all() -> None:
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: False)
    async with writers.running(lambda: None):
        answers = await _all(writers, _things("a", "bad", "c"))
    assert all(isinstance(answer, ValueError) for answer in answers)


async def test_two_of_one_key_are_never_in_one_group() -> None:
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: True)
    first, second = _Thing("a", "same"), _Thing("b", "same")
    async with writers.running(lambda: None):
        await _all(writers, [first, second])
    assert log.groups == [["a"], ["b"]]


async def test_a_group_is_bounded_and_a_larger_item_goes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writers_module, "GROUP_MAXIMUM", 3)
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: True)
    large = replace(_things("large")[0], weight=9)
    async with writers.running(lambda: None):
        await _all(writers, [*_things("a", "b", "c", "d"), large, *_things("e")])
    assert log.groups == [["a", "b", "c"], ["d"], ["large"], ["e"]]


async def test_who_gives_up_while_waiting_is_not_written() -> None:
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: True)
    log.open.clear()
    async with writers.running(lambda: None):
        first = asyncio.ensure_future(writers.submit("fund", _things("a")[0]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.ensure_future(writers.submit("fund", _things("b")[0]))
        await asyncio.sleep(0)
        second.cancel()
        log.open.set()
        assert await first == "A"
    assert log.groups == [["a"]]


async def test_who_still_waits_when_the_writers_stop_is_told_so() -> None:
    log = _Log()
    writers: Writers[_Thing, str] = Writers(log.commit, lambda _: True)
    log.open.clear()
    async with writers.running(lambda: None):
        waiting = asyncio.ensure_future(_all(writers, _things("a", "b")))
        await asyncio.sleep(0.01)
    answers = await waiting
    assert all(isinstance(each, GatewayError) for each in answers)
    assert {each.kind for each in answers} == {Kind.UNAVAILABLE}
