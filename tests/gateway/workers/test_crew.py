"""Several processes on one port: one that dies, stands still or ends costs nobody a payment."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from xinyi.v1 import payment_service_pb2 as pb

from tests.gateway.payments.desk import FUND, ask, batch
from tests.gateway.support import FIRM, refusal, request_id
from tests.gateway.workers.crew import WORKERS, Line, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.gateway.workers.crew import Crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TAKEN_OVER_S: Final = 30.0
"""What is asserted, on a machine that other tests keep busy; a lease lasts four seconds."""
_LOOK_S: Final = 0.1


async def _until(load: Load, told: int) -> None:
    while len(load.told) < told:  # noqa: ASYNC110 - as the load goes on
        await asyncio.sleep(_LOOK_S)


async def _happens(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not there():  # noqa: ASYNC110 - other processes do it
            await asyncio.sleep(_LOOK_S)


def _living(pids: Iterable[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


async def _new_holder(crew: Crew, old: str) -> None:
    """Until another process writes the fund, be it one that was started anew in the same seat."""
    begun_s = time.monotonic()
    while await crew.holder() == old:
        assert time.monotonic() < begun_s + _TAKEN_OVER_S
        await asyncio.sleep(_LOOK_S)


async def test_whichever_process_a_call_comes_to_the_holder_of_its_fund_writes_it(
    crew: Crew,
) -> None:
    load = Load(crew, request_id())
    # On 24 connections: that the kernel gives them all to one process, nobody lives to see.
    await load.run(12, 3)

    await load.check()
    served = {line["worker"] for line in crew.said("call") if "/SubmitPayment" in line["method"]}
    assert served == set(range(WORKERS))


async def test_a_batch_comes_to_the_holder_whole_and_once(crew: Crew) -> None:
    await Load(crew, request_id()).run(0, 0)
    parts = batch([ask(100, budget_line=f"{FUND}/budgetLines/wages") for _ in range(200)])
    answers = []
    for _ in range(12):
        line = Line(crew, FIRM)
        answers.append(await line.tell("SubmitPayments", parts))
        await line.close()

    first, *others = answers
    assert isinstance(first, pb.SubmitPaymentsResponse)
    assert len(first.payments) == 200
    assert others == [first] * len(others)


async def test_funds_of_a_killed_process_are_written_by_another_within_seconds(crew: Crew) -> None:
    load = Load(crew, request_id())
    running = asyncio.create_task(load.run(8, 12))
    await _until(load, 8)
    holder = await crew.holder()
    crew.hand(crew.pid_of(holder), signal.SIGKILL)
    killed_s = time.monotonic()
    await _new_holder(crew, holder)
    told = len(load.told)
    await _until(load, told + 1)

    assert time.monotonic() - killed_s < _TAKEN_OVER_S
    await running
    await load.check()


async def test_a_process_that_slept_through_its_lease_writes_nothing_for_it(crew: Crew) -> None:
    load = Load(crew, request_id())
    running = asyncio.create_task(load.run(8, 12))
    await _until(load, 8)
    holder = await crew.holder()
    pid = crew.pid_of(holder)
    crew.hand(pid, signal.SIGSTOP)
    try:
        await _new_holder(crew, holder)
    finally:
        crew.hand(pid, signal.SIGCONT)

    await running
    await load.check()


async def test_each_process_finds_out_for_itself_that_the_log_is_broken(crew: Crew) -> None:
    parts = batch([ask(100, budget_line=f"{FUND}/budgetLines/wages")])
    await _happens(lambda: any(crew.directory.glob("public/log/*/checkpoint")))
    await crew.rows("UPDATE logs SET size = size - 1")
    await _happens(
        lambda: {line["worker"] for line in crew.said("log_broken")} == set(range(WORKERS))
    )

    for _ in range(4 * WORKERS):
        line = Line(crew, FIRM)
        refused = await refusal(line.payments().SubmitPayments(iter(parts)))
        assert refused.reason == "LOG_BROKEN"
        await line.close()

    await crew.rows("UPDATE logs SET size = size + 1")
    assert await asyncio.to_thread(crew.stop) == 0
    await asyncio.to_thread(crew.start)


async def test_all_processes_end_in_order_with_their_parent(crew: Crew) -> None:
    pids = crew.pids().values()
    load = Load(crew, request_id())
    await load.run(2, 1)

    status = await asyncio.to_thread(crew.stop)

    assert status == 0
    assert not list(crew.said("worker_killed"))
    assert not _living(pids)
    (row,) = await crew.rows("SELECT count(*) FROM writer_leases WHERE expires_at > now()")
    assert row["count"] == 0
    await asyncio.to_thread(crew.start)


async def test_processes_whose_parent_was_killed_end_by_themselves(crew: Crew) -> None:
    pids = crew.pids().values()
    await asyncio.to_thread(crew.lose_parent)
    await _happens(lambda: not _living(pids))
    await asyncio.to_thread(crew.start)
