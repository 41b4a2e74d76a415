"""Group commit: what changes a fund waits in a queue, which one writer empties again and again.

A writer takes what waits at that moment, without a timer, commits it at once, and only then answers
everybody. Alone in the queue, an item waits for nobody; under load a commit serves hundreds. Funds
are spread over a few writers by their ids, so that each fund has one. Of several processes, each
writes the funds of the slots it holds: `gateway.payments.leases`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar
from zlib import crc32

import structlog

from gateway.domain.errors import GatewayError, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

SLOTS: Final = 16
"""Into how many parts funds are divided among processes."""

SHARDS: Final = 2
"""Writers of a process: while one waits for the disk, another decides."""

GROUP_MAXIMUM: Final = 1000
"""Payments that one commit serves, unless a single item is larger."""

QUEUE_MAXIMUM: Final = 20_000
"""Payments that wait for one writer; a few seconds' work."""

RETRY_AFTER_MS: Final = 1000


def slot_of(fund_id: str) -> int:
    """The part that a fund belongs to; the same in every process, and for ever."""
    return crc32(fund_id.encode()) % SLOTS


log = structlog.get_logger(__name__)


class Weighed(Protocol):
    """What waits for a writer."""

    @property
    def weight(self) -> int:
        """How many payments it is about."""

    @property
    def key(self) -> object:
        """Two items of one key never are in one group: the second finds the first committed."""


_Item = TypeVar("_Item", bound=Weighed)
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Waiting(Generic[_Item, _Answer]):
    item: _Item
    answer: asyncio.Future[_Answer]


@dataclass(slots=True)
class _Shard(Generic[_Item, _Answer]):
    """The queue of one writer."""

    waiting: deque[_Waiting[_Item, _Answer]] = field(default_factory=deque)
    weight: int = 0
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    dead: bool = False

    def put(self, entry: _Waiting[_Item, _Answer]) -> None:
        self.waiting.append(entry)
        self.weight += entry.item.weight
        self.filled.set()

    def take(self) -> list[_Waiting[_Item, _Answer]]:
        """What waits, in order, as far as one commit serves it; who has given up is left out."""
        group: list[_Waiting[_Item, _Answer]] = []
        keys: set[object] = set()
        weight = 0
        while self.waiting:
            first = self.waiting[0].item
            if group and (weight + first.weight > GROUP_MAXIMUM or first.key in keys):
                break
            entry = self.waiting.popleft()
            self.weight -= first.weight
            if not entry.answer.done():
                group.append(entry)
                keys.add(first.key)
                weight += first.weight
        if not self.waiting:
            self.filled.clear()
        return group


class Writers(Generic[_Item, _Answer]):
    """The writers of this process.

    Args:
        commit: decides items in their order, in one transaction, and answers each with its answer
            or its refusal, once that is on disk. What it raises is told to all of them.
        divisible: whether what `commit` raised may be the doing of one item, so that each is tried
            alone; an item that was committed after all must be known by its key.
        shards: how many writers.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_Item]], Awaitable[Sequence[_Answer | Exception]]],
        divisible: Callable[[Exception], bool],
        shards: int = SHARDS,
    ) -> None:
        self._commit = commit
        self._divisible = divisible
        self._shards: list[_Shard[_Item, _Answer]] = [_Shard() for _ in range(shards)]

    async def submit(self, fund_id: str, item: _Item) -> _Answer:
        """Has an item written by the writer of its fund.

        Cancelled before it is begun, it is not done. Cancelled later, it is done and nobody is
        told: whoever asks again under the same request id is.

        Raises:
            GatewayError: STORE_UNAVAILABLE if too much waits already, or the writer is dead.
            Exception: the item's refusal, or what went wrong with its commit.
        """
        shard = self._shards[slot_of(fund_id) % len(self._shards)]
        if shard.dead:
            raise _died()
        if shard.waiting and shard.weight + item.weight > QUEUE_MAXIMUM:
            raise _busy()
        entry: _Waiting[_Item, _Answer] = _Waiting(item, asyncio.get_running_loop().create_future())
        shard.put(entry)
        return await entry.answer

    @asynccontextmanager
    async def running(self, on_death: Callable[[], None]) -> AsyncIterator[None]:
        """Writes inside the block; `on_death` is called if a writer ends before it does."""
        tasks = [
            asyncio.create_task(self._write(shard, on_death), name=f"writer-{number}")
            for number, shard in enumerate(self._shards)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, shard: _Shard[_Item, _Answer], on_death: Callable[[], None]) -> None:
        group: list[_Waiting[_Item, _Answer]] = []
        try:
            while True:
                await shard.filled.wait()
                group = shard.take()
                await self._serve(group)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.critical("writer_died", cause=type(error).__qualname__)
            on_death()
            raise
        finally:
            shard.dead = True
            for entry in (*group, *shard.waiting):
                if not entry.answer.done():
                    entry.answer.set_exception(_died())
            shard.waiting.clear()

    async def _serve(self, group: Sequence[_Waiting[_Item, _Answer]]) -> None:
        """Commits a group and answers it; alone each, where one may have spoiled it for all."""
        if not group:
            return
        try:
            answers = await self._commit([entry.item for entry in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, its callers are told
            if len(group) > 1 and self._divisible(error):
                for entry in group:
                    await self._serve((entry,))
                return
            answers = [error] * len(group)
        for entry, answer in zip(group, answers, strict=True):
            _tell(entry.answer, answer)


def _tell(future: asyncio.Future[_Answer], answer: _Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _busy() -> GatewayError:
    return GatewayError(
        Kind.EXHAUSTED,
        Reason.STORE_UNAVAILABLE,
        "too much is waiting to be written; repeat with the same request id a little later",
        {"retry_after_ms": str(RETRY_AFTER_MS)},
    )


def _died() -> GatewayError:
    return GatewayError(
        Kind.UNAVAILABLE,
        Reason.STORE_UNAVAILABLE,
        "the writer of this fund has ended; repeat with the same request id",
    )
