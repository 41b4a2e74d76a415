"""A night that is killed, anywhere, ends as if nothing had happened; and two never run at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.domain.errors import GatewayError, Reason
from gateway.night import Nights, Run, nightly, record, writing
from gateway.store import tables as t
from reconciliation import engines
from reconciliation.archive import Archive
from reconciliation.replay import replay
from reconciliation.rules import Rules
from reconciliation.shards import work_through
from tests.gateway.night.victim import POINTS
from tests.gateway.night.world import DAY, TODAY, World, copy_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_ROOT = Path(__file__).parents[3]
_WRITTEN = (
    *(t.matches, t.match_members, t.cases, t.case_members, t.case_events, t.balance_proofs),
    *(t.disclosed_lines, t.bank_entries, t.books, t.run_shards),
)
_IDS_AND_TIMES = frozenset(
    {"run_id", "made_by", "created_at", "opened_at", "closed_at", "closed_by", "written_at"}
    | {"digest", "previous_digest", "sequence", "actor", "salt", "transaction_id"}
)


async def _fill(world: World) -> None:
    """Three funds: matches, a tie, a fee, and a payment that one has and another's bank booked."""
    for fund in ("f1", "f2", "f3"):
        await world.fund(fund, opening_minor=1_000)
        await world.line(fund, -300, TODAY, payment_id=f"p-{fund}")
        await world.line(fund, 40, TODAY - 9 * DAY)
        for _ in range(2):
            await world.line(fund, 20, TODAY)
    await world.line("f1", -77, TODAY, payment_id="crossed")
    for fund in ("f1", "f2", "f3"):
        entries: list[dict[str, Any]] = [
            {"amount_minor": -300, "end_to_end_id": f"p-{fund}"},
            {"amount_minor": -5, "text": "手续费"},
            *({"amount_minor": 20} for _ in range(2)),
        ]
        if fund == "f3":
            entries.append({"amount_minor": -77, "end_to_end_id": "crossed"})
        await world.statement(fund, TODAY, entries)


async def _state(world: World) -> dict[str, list[dict[str, Any]]]:
    rows = {}
    for table in _WRITTEN:
        kept = [
            {name: value for name, value in row.items() if name not in _IDS_AND_TIMES}
            for row in await world.rows(table)
        ]
        rows[table.name] = sorted(kept, key=str)
    return rows


async def _killed(world: World, point: str) -> None:
    url = world.store.engine.url.set(drivername="postgresql")
    victim = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.gateway.night.victim"),
        *(url.render_as_string(hide_password=False), str(world.directory), point),
        cwd=_ROOT,
    )
    assert await victim.wait() == -signal.SIGKILL
    await _until_noticed(world)


async def _until_noticed(world: World) -> None:
    """Until the database has seen that the process is gone, and let go of its lock."""
    for _ in range(200):
        try:
            async with record.only_runner(world.store):
                return
        except GatewayError:
            await asyncio.sleep(0.05)
    raise AssertionError("the lock of a dead process stays")


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are worked on in this process, which starts none: `test_shards` is about those."""
    monkeypatch.setattr(engines, "cores", lambda: 1)


@pytest.fixture(scope="module")
def undisturbed(template_url: str) -> dict[str, list[dict[str, Any]]]:
    """What the night leaves behind when nobody disturbs it."""

    async def night() -> dict[str, list[dict[str, Any]]]:
        async with copy_of(template_url) as world:
            await _fill(world)
            await world.nights(rows_a_shard=1).run(TODAY, "whole")
            return await _state(world)

    return asyncio.run(night())


@pytest.mark.parametrize("point", POINTS)
async def test_a_night_that_is_killed_ends_as_one_that_was_not(
    world: World, undisturbed: dict[str, list[dict[str, Any]]], point: str
) -> None:
    await _fill(world)
    await _killed(world, point)

    run = await world.nights(rows_a_shard=1).run(TODAY, "next")

    begun_anew = point in ("while the input is written", "before the manifest")
    assert run.run_id == ("next" if begun_anew else "dead")
    assert (run.state, run.shard_count, run.written_shard_count) == ("DONE", 3, 3)
    assert await _state(world) == undisturbed
    again = await world.nights(rows_a_shard=1).run(TODAY, "again")
    assert again.counts.matched_line_count == 0


async def test_what_was_worked_out_before_the_end_is_not_worked_out_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(world)
    await _killed(world, "between two shards")
    asked: list[Sequence[int]] = []
    real = work_through

    def noted(load: Any, todo: Sequence[int], *rest: Any) -> Any:
        asked.append(todo)
        return real(load, todo, *rest)

    monkeypatch.setattr(nightly, "work_through", noted)
    archive = Archive(world.directory / "dead")
    solved = {number for number in range(3) if archive.result(number) is not None}

    await world.nights(rows_a_shard=1).run(TODAY, "next")

    assert solved
    assert all(set(todo).isdisjoint(solved) for todo in asked)


async def test_an_input_that_was_damaged_is_not_gone_on_with(world: World) -> None:
    await _fill(world)
    await _killed(world, "after the manifest")
    (world.directory / "dead" / "00001-bank.parquet").write_bytes(b"damaged")

    run = await world.nights(rows_a_shard=1).run(TODAY, "next")

    states = {row["run_id"]: row["state"] for row in await world.rows(t.runs)}
    assert (run.run_id, states) == ("next", {"dead": "FAILED", "next": "DONE"})


async def test_an_unfinished_night_of_another_day_is_not_gone_on_with(world: World) -> None:
    await _fill(world)
    await _killed(world, "after the manifest")
    world.now += DAY

    run = await world.nights(rows_a_shard=1).run(TODAY + DAY, "next")

    assert (run.run_id, run.date) == ("next", TODAY + DAY)


async def test_of_two_runners_at_once_one_works_and_the_other_is_refused(world: World) -> None:
    await _fill(world)

    first, second = (
        Nights(world.store, world.clock, world.directory, rows_a_shard=1) for _ in range(2)
    )
    ended = await asyncio.gather(
        first.run(TODAY, "one"), second.run(TODAY, "two"), return_exceptions=True
    )

    (done,) = [each for each in ended if isinstance(each, Run)]
    (refused,) = [each for each in ended if isinstance(each, GatewayError)]
    assert done.state == "DONE"
    assert refused.reason is Reason.RUN_IN_PROGRESS
    assert len(await world.rows(t.runs)) == 1


async def _two_shards(world: World) -> None:
    for fund in ("f1", "f2"):
        await world.fund(fund)
        await world.line(fund, 500, TODAY, reference="R1")
        await world.statement(fund, TODAY, [{"amount_minor": 500, "reference": "R1"}])


async def test_two_shards_are_written_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _two_shards(world)
    both, real = asyncio.Barrier(2), writing.write

    async def met(*given: Any) -> None:
        await both.wait()
        await real(*given)

    monkeypatch.setattr(writing, "write", met)
    async with asyncio.timeout(60):
        run = await world.nights(rows_a_shard=1).run(TODAY, "side-by-side")

    assert (run.state, run.written_shard_count) == ("DONE", 2)
    assert run.counts.matched_line_count == 2


async def test_a_shard_that_cannot_be_written_takes_the_one_beside_it_back_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _two_shards(world)
    both, real = asyncio.Barrier(2), writing.write

    async def half(conn: Any, shard: writing.Shard, now: datetime) -> None:
        await real(conn, shard, now)
        await both.wait()
        if shard.number == 0:
            raise OSError("the disk is full")
        await asyncio.Event().wait()

    monkeypatch.setattr(writing, "write", half)
    async with asyncio.timeout(60):
        with pytest.raises(OSError, match="the disk is full"):
            await world.nights(rows_a_shard=1).run(TODAY, "broken")

    assert [row["state"] for row in await world.rows(t.runs)] == ["FAILED"]
    assert await world.rows(t.matches) == []
    assert all(row["match_id"] == "" for row in await world.rows(t.disclosed_lines))


async def test_a_run_of_the_gateway_is_proved_from_its_archive_alone(world: World) -> None:
    await _fill(world)
    run = await world.nights(rows_a_shard=1).run(TODAY, "whole")

    certificate = await asyncio.to_thread(replay, world.directory / "whole", lambda _: None)

    assert certificate.identical
    assert certificate.input_digest == run.input_digest
    assert certificate.recorded_digest == run.output_digest != ""
    assert certificate.rules_digest == Rules().digest()
