"""Where shards are worked on: processes of this machine, or a Ray cluster.

Whatever dies, its shard is done again by another: each is worked on at least once, and gives the
same bytes each time.
"""

from __future__ import annotations

import gc
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Future

    from reconciliation.shards import Files, Job

    Work: TypeAlias = Callable[[Job], Files]
    Load: TypeAlias = Callable[[int], Job]

EngineName: TypeAlias = Literal["local", "ray"]

_LIVES: Final = 3
"""How often a shard may take its workers down with it before it is given up."""
_IN_HAND: Final = 2
"""Shards a worker: one that it works on, one that waits for it."""


MEMORY_KEPT: Final = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}
"""Has Polars' allocator (jemalloc) keep what a shard has freed for the next one.

Otherwise it hands freed pages back to the system and asks for them again many times a shard: about
a tenth of the time of both a join and the kernel goes there. A worker's peak becomes what it holds
until it ends.
"""


class EngineError(RuntimeError):
    """The engine cannot be used, or its workers died again and again."""


class Engine(Protocol):
    """Something that works on shards."""

    def map(self, work: Work, shards: Sequence[int], load: Load) -> Iterator[tuple[int, Files]]:
        """Does the work on every shard and yields what came of it, as it comes.

        Args:
            work: a function of a module, the same on every machine.
            shards: their numbers.
            load: reads one shard; called when a worker is about to be free for it.

        Raises:
            EngineError: workers died again and again.
        """


def engine_named(name: EngineName, ray_address: str = "") -> Engine:
    """The engine of this name.

    Raises:
        EngineError: Ray is asked for and not installed.
    """
    return LocalEngine() if name == "local" else RayEngine(ray_address)


# --- processes ----------------------------------------------------------------------------------


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Processes of this machine, one a core; a single shard is worked on right here.

    Attributes:
        processes: how many; zero for as many as there are cores.
    """

    processes: int = 0

    def map(self, work: Work, shards: Sequence[int], load: Load) -> Iterator[tuple[int, Files]]:
        """As `Engine.map`."""
        workers = min(self.processes or cores(), len(shards))
        if workers > 1:
            return _spread(work, shards, load, workers)
        return ((shard, work(load(shard))) for shard in shards)


def _spread(
    work: Work, shards: Sequence[int], load: Load, workers: int
) -> Iterator[tuple[int, Files]]:
    waiting, falls = deque(shards), dict.fromkeys(shards, 0)
    while waiting:
        lost = yield from _in_pool(work, waiting, load, workers)
        for shard in lost:
            falls[shard] += 1
            if falls[shard] == _LIVES:
                raise EngineError(f"worker processes died {_LIVES} times over shard {shard}")
        waiting.extendleft(reversed(lost))


def _in_pool(
    work: Work, waiting: deque[int], load: Load, workers: int
) -> Generator[tuple[int, Files], None, list[int]]:
    """Works until all is done or a worker dies; returns what was lost with it.

    Processes are spawned, never forked: Polars has threads that a fork would tear.
    """
    under_way: dict[Future[Files], int] = {}
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker)
    try:
        while waiting or under_way:
            while waiting and len(under_way) < _IN_HAND * workers:
                under_way[pool.submit(work, load(waiting[0]))] = waiting[0]
                waiting.popleft()
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                yield under_way.pop(future), result
    except BrokenProcessPool:
        return sorted(under_way.values())
    finally:
        pool.shutdown(cancel_futures=True)
    return []


def _begin_worker() -> None:
    """One thread of arithmetic a process, and no process that outlives whom it works for."""
    os.environ |= {"POLARS_MAX_THREADS": "1"} | MEMORY_KEPT
    import_module("reconciliation.shards")  # and Polars with it, behind its setting
    gc.freeze()  # what is loaded stays: the collector need not look at it again and again
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# --- Ray ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Tasks of a Ray cluster; its nodes need this package, and no file of ours.

    Attributes:
        address: of the cluster, as `ray.init` takes it; empty for Ray on this machine alone.
    """

    address: str = ""

    def __post_init__(self) -> None:
        _ray()

    def map(self, work: Work, shards: Sequence[int], load: Load) -> Iterator[tuple[int, Files]]:
        """As `Engine.map`."""
        ray = _ray()
        joined = not ray.is_initialized()
        if joined:
            ray.init(self.address or None, log_to_driver=False, include_dashboard=False)
        try:
            yield from _on_ray(ray, work, deque(shards), load)
        finally:
            if joined:
                ray.shutdown()


def _on_ray(ray: Any, work: Work, waiting: deque[int], load: Load) -> Iterator[tuple[int, Files]]:  # noqa: ANN401 - Ray is not installed where types are checked
    task = ray.remote(num_cpus=1, max_retries=_LIVES)(work)
    under_way: dict[Any, int] = {}
    while waiting or under_way:
        # counted anew: nodes come and go
        room = _IN_HAND * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(under_way) < room:
            shard = waiting.popleft()
            under_way[task.remote(load(shard))] = shard
        done, _ = ray.wait(list(under_way), num_returns=1)
        for each in done:
            yield under_way.pop(each), _answer(ray, each)


def _answer(ray: Any, reference: Any) -> Files:  # noqa: ANN401 - as above
    try:
        files: Files = ray.get(reference)
    except ray.exceptions.WorkerCrashedError as error:
        raise EngineError(f"workers of Ray died {_LIVES + 1} times over one shard") from error
    return files


def _ray() -> Any:  # noqa: ANN401 - as above
    """Ray, if it is there.

    Raises:
        EngineError: it is not.
    """
    try:
        import ray  # type: ignore[import-not-found] # noqa: PLC0415 - optional, and slow to load
    except ModuleNotFoundError as error:
        raise EngineError(
            "the engine ray needs Ray, which is not installed: pip install 'xinyi-gateway[ray]'"
        ) from error
    return ray
