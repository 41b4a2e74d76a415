"""A whole night of a gateway: read from PostgreSQL, matched, and written back, with its memory."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import structlog

from benchmarks.estates import load
from benchmarks.truth import LAST_DAY, START, Plan
from gateway.night import Nights
from gateway.store import embedded, open_store, schema

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from gateway.night import Run

log = structlog.get_logger(__name__)

_KB: Final = 1024
_MB: Final = _KB * _KB
_DAY: Final = START + timedelta(days=LAST_DAY)


def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """Loads the books of a plan into the embedded PostgreSQL, and runs two nights over them.

    Args:
        folder: where the database and the archive of the runs go; empty.
        plan: how many funds and lines.

    Returns:
        Seconds from the night's beginning until all input was kept on disk, and until it was done;
        seconds of a second night in which nothing is new; rows; memory of the gateway and its
        workers (not of PostgreSQL) at its highest; what the runs kept; what the database grew by.
    """
    url = embedded.start(folder / "postgres")
    schema.upgrade(url)
    return asyncio.run(_measure(url, folder / "nights", plan))


async def _measure(url: str, archive: Path, plan: Plan) -> dict[str, Any]:
    figures = _Figures()
    started = time.perf_counter()
    entries, lines = await load(url, plan)
    figures.tell(
        funds=plan.accounts,
        bank_entries=entries,
        lines=lines,
        load_seconds=round(time.perf_counter() - started, 1),
        database_mb_before=round(await _database_mb(url)),
    )
    store = open_store(url)
    try:
        nights = Nights(store, lambda: datetime.now(UTC), archive)
        first, first_s = await _night(nights, _DAY, "run-first")
        read_s = (archive / "run-first" / "manifest.json").stat().st_mtime
        counts = first.counts
        figures.tell(
            night_seconds=round(first_s, 1),
            read_seconds=round(read_s - first.started_at.timestamp(), 1),
            rows_per_second=round((entries + lines) / first_s),
            matched_bank_share=round(counts.matched_bank_entry_count / entries, 5),
            matches_on_record=await _count(url, "matches"),
            cases_on_record=await _count(url, "cases"),
            proved_accounts=counts.proved_account_count,
            shards=first.shard_count,
            peak_mb=round(_peak_mb()),
            archive_mb=round(_size_mb(archive / "run-first")),
            database_mb=round(await _database_mb(url)),
        )
        _second, second_s = await _night(nights, _DAY, "run-second")
        figures.tell(second_night_seconds=round(second_s, 1))
    finally:
        await store.close()
    return figures


class _Figures(dict[str, Any]):
    """What was measured so far, told at once: what fails later takes nothing of it along."""

    def tell(self, **measured: float) -> None:
        """Adds figures and logs them."""
        self.update(measured)
        log.info("night_measured", **measured)


async def _night(nights: Nights, day: date, run_id: str) -> tuple[Run, float]:
    started = time.perf_counter()
    run = await nights.run(day, run_id)
    return run, time.perf_counter() - started


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
