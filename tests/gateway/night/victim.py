"""A process that runs a night and kills itself on the way: `python -m … URL DIRECTORY POINT`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.night import Nights, nightly, record, snapshot, writing
from gateway.store import open_store
from reconciliation import engines
from reconciliation.archive import Archive
from tests.gateway.night.world import NOW, TODAY

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS: dict[str, tuple[Any, str, int, bool]] = {
    "while the input is written": (Archive, "write_shard", 2, True),
    "before the manifest": (Archive, "write_manifest", 1, False),
    "after the manifest": (Archive, "write_manifest", 1, True),
    "before the first shard is written": (writing, "write", 1, False),
    "between two shards": (writing, "write", 2, False),
    "in the middle of a shard": (record, "mark_written", 2, False),
    "before the commit of a shard": (writing, "write", 2, True),
    "after the last shard": (record, "finish", 1, False),
    "before the commit of the end": (record, "finish", 1, True),
}
"""Where to die: what is called, the how manieth call, and whether behind it."""


def _deadly(real: Callable[..., Any], calls: int, *, behind: bool) -> Callable[..., Any]:
    """The same function, at one of whose calls the process ends as if the plug were pulled."""
    count = 0

    def is_due() -> bool:
        nonlocal count
        count += 1
        return count == calls

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if asyncio.iscoroutinefunction(real):

        async def later(*given: Any, **named: Any) -> Any:
            due = is_due()
            if due and not behind:
                die()
            answer = await real(*given, **named)
            if due:
                die()
            return answer

        return later

    def now(*given: Any, **named: Any) -> Any:
        due = is_due()
        if due and not behind:
            die()
        answer = real(*given, **named)
        if due:
            die()
        return answer

    return now


async def _night(url: str, directory: str, run_id: str) -> None:
    store = open_store(url, pool_size=5)
    nights = Nights(store, lambda: NOW, Path(directory), rows_a_shard=1)
    await nights.run(TODAY, run_id)


if __name__ == "__main__":
    url, directory, point = sys.argv[1:]
    place, name, calls, behind = POINTS[point]
    assert {nightly, snapshot}  # loaded before anything is replaced
    engines.cores = lambda: 1
    setattr(place, name, _deadly(getattr(place, name), calls, behind=behind))
    asyncio.run(_night(url, directory, "dead"))
