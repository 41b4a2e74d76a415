"""A whole night of a gateway: read from PostgreSQL, matched, and written back, with its memory."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog

from benchmarks.estates import load
from benchmarks.truth import LAST_DAY, START, Plan
from gateway.night import Nights
from gateway.store import embedded, open_store, schema

log = structlog.get_logger(__name__)

_KB: Final = 1024
_MB: Final = _KB * _KB
_OWN_AND_WORKERS: Final = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
_DAY: Final = START + timedelta(days=LAST_DAY)


def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """Loads the books of a plan into the embedded PostgreSQL, and runs two nights over them.

    Args:
        folder: where the database and the archive of the runs go; empty.
        plan: how many funds and lines.

    Returns:
        Seconds from the night's beginning until all input was kept on disk, and until it was done;
        seconds of a second night in which nothing is new; of each the CPU seconds too, of the
        gateway, its workers, and PostgreSQL together, which other programs on the machine change
        little; rows; memory of the gateway and its workers (not of PostgreSQL) at its highest; what
        the runs kept; what the database grew by.
    """
    url = embedded.start(folder / "postgres")
    schema.upgrade(url)
    postmaster = int((folder / "postgres" / "postmaster.pid").read_text().partition("\n")[0])
    return asyncio.run(_measure(url, folder / "nights", plan, _Watch(postmaster)))


async def _measure(url: str, archive: Path, plan: Plan, watch: _Watch) -> dict[str, Any]:
    figures = _Figures()
    watch.start()
    entries, lines = await load(url, plan)
    figures.tell(
        funds=plan.accounts,
        bank_entries=entries,
        lines=lines,
        **watch.read("load"),
        database_mb_before=round(await _database_mb(url)),
    )
    store = open_store(url)
    try:
        nights = Nights(store, lambda: datetime.now(UTC), archive)
        watch.start()
        first = await nights.run(_DAY, "run-first")
        figures.tell(**watch.read("night"))
        read_s = (archive / "run-first" / "manifest.json").stat().st_mtime
        counts = first.counts
        figures.tell(
            read_seconds=round(read_s - first.started_at.timestamp(), 1),
            rows_per_second=round((entries + lines) / figures["night_seconds"]),
            matched_bank_share=round(counts.matched_bank_entry_count / entries, 5),
            matches_on_record=await _count(url, "matches"),
            cases_on_record=await _count(url, "cases"),
            proved_accounts=counts.proved_account_count,
            shards=first.shard_count,
            peak_mb=round(_peak_mb()),
            archive_mb=round(_size_mb(archive / "run-first")),
            database_mb=round(await _database_mb(url)),
        )
        watch.start()
        await nights.run(_DAY, "run-second")
        figures.tell(**watch.read("second_night"))
    finally:
        await store.close()
    return figures


class _Figures(dict[str, Any]):
    """What was measured so far, told at once: what fails later takes nothing of it along."""

    def tell(self, **measured: float) -> None:
        """Adds figures and logs them."""
        self.update(measured)
        log.info("night_measured", **measured)


@dataclass(slots=True)
class _Watch:
    """Takes the time, on the wall and of all processors, of everything that a night sets to work.

    Attributes:
        postmaster: the process of which all of PostgreSQL are children.
        wall_s: when it was started.
        cpu_s: what had been spent by then.
    """

    postmaster: int
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def start(self) -> None:
        """Begins a measurement."""
        self.wall_s, self.cpu_s = time.perf_counter(), self._spent_s()

    def read(self, name: str) -> dict[str, float]:
        """Seconds since the start, named after what was measured."""
        wall_s, cpu_s = time.perf_counter() - self.wall_s, self._spent_s() - self.cpu_s
        return {f"{name}_seconds": round(wall_s, 1), f"{name}_cpu_seconds": round(cpu_s, 1)}

    def _spent_s(self) -> float:
        usages = (resource.getrusage(who) for who in _OWN_AND_WORKERS)
        own_s = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        tasks = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text()
        servers = (self.postmaster, *map(int, tasks.split()))
        return own_s + sum(_ticks(pid) for pid in servers) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    """Processor time of a process and of those children that it has seen end."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:  # it has just ended
        return 0
    return sum(map(int, status.rpartition(")")[2].split()[11:15]))


async def _count(url: str, table: str) -> int:
    return int(await _value(url, f"SELECT count(*) FROM {table}"))  # noqa: S608 - a table of ours


async def _database_mb(url: str) -> float:
    return int(await _value(url, "SELECT pg_database_size(current_database())")) / _MB


async def _value(url: str, query: str) -> Any:  # noqa: ANN401 - of any type
    conn = await asyncpg.connect(url)
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()


def _peak_mb() -> float:
    """This process at its highest, and as many workers as there are cores, each at the highest."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + worker * len(os.sched_getaffinity(0))) / _KB


def _size_mb(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / _MB
