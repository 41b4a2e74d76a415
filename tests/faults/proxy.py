"""A wire that breaks: between the gateway and its database, or between a caller and the gateway."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from random import Random

    Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHUNK: Final = 1 << 16
_COMMIT: Final = b"COMMIT"


class Fate(Enum):
    """What becomes of bytes that were sent."""

    PASSED = auto()
    LOST = auto()
    """They never arrive, and the connection is gone."""
    UNANSWERED = auto()
    """They arrive and are obeyed; the connection is gone before the answer is back."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """How often a wire breaks.

    Attributes:
        rng: decides.
        anywhere: share of all pieces sent that meet no good fate.
        at_commit: the same of those with a COMMIT in them.
    """

    rng: Random
    anywhere: float
    at_commit: float = 0.0

    def fate(self, chunk: bytes) -> Fate:
        """What becomes of a piece that one side sends."""
        share = self.at_commit if _COMMIT in chunk else self.anywhere
        if self.rng.random() >= share:
            return Fate.PASSED
        return self.rng.choice((Fate.LOST, Fate.UNANSWERED))


@dataclass(slots=True)
class Proxy:
    """Carries bytes both ways, faithfully unless `cuts` are set.

    Attributes:
        dial: opens the way to the other side.
        cuts: how it breaks now.
        silent: whether what is sent vanishes, with no sign of it, as behind a dead router.
        cut_count: how often it broke.
    """

    dial: Callable[[], Awaitable[Ends]]
    cuts: Cuts | None = None
    silent: bool = False
    cut_count: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def listening_at(self, socket: Path) -> AsyncIterator[None]:
        """Takes connections at a Unix socket inside the block."""
        async with self._taking(await asyncio.start_unix_server(self._serve, socket)):
            yield

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Takes connections at the port that it yields, inside the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with self._taking(server):
            yield server.sockets[0].getsockname()[1]

    def hang_up(self) -> None:
        """Ends every connection that there is."""
        for task in self._open:
            task.cancel()

    @asynccontextmanager
    async def _taking(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            self.hang_up()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side or fate ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                far_reader, far_writer = await self.dial()
                try:
                    await self._carry((reader, writer), (far_reader, far_writer))
                finally:
                    far_writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _carry(self, near: Ends, far: Ends) -> None:
        deaf = asyncio.Event()
        ways = {
            asyncio.create_task(self._there(near[0], far[1], deaf)),
            asyncio.create_task(self._back(far[0], near[1], deaf)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if self.silent:
                continue
            fate = Fate.PASSED if self.cuts is None else self.cuts.fate(chunk)
            if fate is not Fate.PASSED:
                self.cut_count += 1
            if fate is Fate.LOST:
                return
            if fate is Fate.UNANSWERED:
                deaf.set()
            writer.write(chunk)
            await writer.drain()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            if deaf.is_set():
                return
            writer.write(chunk)
            await writer.drain()
