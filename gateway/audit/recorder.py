"""Entries of what changed nothing: refusals, failed authentications, reads of personal data.

They are noted in memory and written in batches behind the answer, so that a flood of refused calls
costs the database little. What is noted and not written when the process is killed is lost; a
change never is, because it is written with its entry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from gateway.audit.entry import Deed, Entry, by_gateway
from gateway.audit.log import append
from gateway.store import GATEWAY

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store import Store

MOST_WAITING: Final = 10_000
"""Entries in memory; what comes on top is counted, and the count is written."""

_AT_ONCE: Final = 1000
_PAUSE_S: Final = 1.0
"""After a write that failed."""

log = structlog.get_logger(__name__)


class Recorder:
    """Writes what is noted; `run` until cancelled, then `flush` once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[Entry] = deque()
        self._dropped = 0
        self._something = asyncio.Event()
        self._one_writer = asyncio.Lock()

    def note(self, entry: Entry) -> None:
        """Takes an entry, to be written soon."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(entry)
        else:
            self._dropped += 1
        self._something.set()

    async def run(self) -> None:
        """Writes without end. While the database is away, entries wait."""
        while True:
            await self._something.wait()
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round tries again
                log.error("audit_not_written", error=type(error).__name__)  # noqa: TRY400 - the message may repeat a row
                await asyncio.sleep(_PAUSE_S)

    async def flush(self) -> None:
        """Writes everything noted so far."""
        async with self._one_writer:
            self._something.clear()
            while self._waiting or self._dropped:
                await self._write()

    async def _write(self) -> None:
        batch = [self._waiting[each] for each in range(min(len(self._waiting), _AT_ONCE))]
        dropped = self._dropped
        told = [by_gateway(Deed.ENTRIES_DROPPED, self._clock(), str(dropped))] if dropped else []
        try:
            async with self._store.transaction(GATEWAY) as conn:
                await append(conn, [*batch, *told])
        except BaseException:
            self._something.set()
            raise
        for _ in batch:
            self._waiting.popleft()
        self._dropped -= dropped
