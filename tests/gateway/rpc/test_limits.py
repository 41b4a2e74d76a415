"""What one party may have of the server, by a clock that stands still."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, Reason
from gateway.rpc import limits
from gateway.rpc.limits import PartyLimits, Rate

METHOD = "/xinyi.v1.PartyService/GetCaller"
WATCH = "/xinyi.v1.PaymentService/WatchPayments"


@dataclass(slots=True)
class Stopwatch:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def _calls(parties: PartyLimits, party_id: str, method: str = METHOD) -> GatewayError | None:
    """One call, over at once; how it was refused."""
    try:
        with parties.call(method, party_id):
            return None
    except GatewayError as refused:
        return refused


def test_burst_is_answered_and_what_comes_on_top_is_told_when_to_come_back() -> None:
    clock_s = Stopwatch()
    parties = PartyLimits(Rate(calls_per_s=10, burst=3), clock_s)
    assert [_calls(parties, "anju") for _ in range(3)] == [None] * 3
    refused = _calls(parties, "anju")
    assert refused is not None
    assert refused.reason is Reason.RATE_EXCEEDED
    assert refused.metadata == {"party": "parties/anju", "retry_after_ms": "100"}
    clock_s.now_s += 0.1
    assert _calls(parties, "anju") is None


def test_one_partys_flood_takes_nothing_from_another() -> None:
    parties = PartyLimits(Rate(calls_per_s=1, burst=1), Stopwatch())
    assert [_calls(parties, "anju") is None for _ in range(5)] == [True, *[False] * 4]
    assert _calls(parties, "hexin") is None


@given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 5))
def test_no_pattern_of_calls_gets_more_than_burst_and_rate(
    pauses_s: list[float], burst: int
) -> None:
    clock_s = Stopwatch()
    parties = PartyLimits(Rate(calls_per_s=2, burst=burst), clock_s)
    answered = 0
    for pause_s in pauses_s:
        clock_s.now_s += pause_s
        answered += _calls(parties, "anju") is None
    assert answered <= burst + 2 * clock_s.now_s + 1e-6


def test_calls_at_a_time_are_bounded_and_freed_whatever_ends_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_PARTY_CALLS", 1)
    parties = PartyLimits(Rate(), Stopwatch())

    def broken() -> None:
        with parties.call(METHOD, "anju"):
            assert _calls(parties, "anju") is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert _calls(parties, "anju") is None


def test_watches_are_bounded_apart_from_other_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PARTY_WATCHES", 1)
    parties = PartyLimits(Rate(), Stopwatch())
    with parties.call(WATCH, "anju"):
        assert _calls(parties, "anju", WATCH) is not None
        assert _calls(parties, "anju") is None
        assert _calls(parties, "hexin", WATCH) is None
    assert _calls(parties, "anju", WATCH) is None


def test_only_so_many_parties_are_remembered_but_none_that_is_calling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_PARTIES", 3)
    parties = PartyLimits(Rate(), Stopwatch())
    with parties.call(WATCH, "anju"):
        for number in range(10):
            _calls(parties, f"p{number}")
        assert len(parties._accounts) <= 3
        assert parties._accounts["anju"].watches == 1


async def test_reader_that_has_gone_is_no_defect() -> None:
    class Gone:
        async def write(self, _answer: object) -> None:
            raise grpc.aio.InternalError("the call has ended")

    with pytest.raises(asyncio.CancelledError):
        await limits.written(Gone(), b"")
