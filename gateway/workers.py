"""Several processes on one port: a parent starts them, starts again one that dies, and ends all.

The kernel gives each connection to one of them (SO_REUSEPORT). They are of one machine: a call
whose fund another one writes goes there over a socket in the data directory, `gateway.rpc.relay`.
The parent answers no calls and holds no connection to the database.
"""

from __future__ import annotations

import multiprocessing
import signal
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.payments.leases import Seat
from gateway.rpc.relay import PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from multiprocessing.context import SpawnProcess

    from gateway.settings import Settings

GRACE_S: Final = 25.0
"""How long the processes may take to end: their calls in flight, and the files they are at."""

_STEADY_S: Final = 60.0
"""A process that lived so long starts again at once; one that did not, after a pause that grows."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_LOOK_S: Final = 0.2

log = structlog.get_logger(__name__)


class WorkersError(ValueError):
    """Several processes cannot serve here; the message says why."""


def settings_of(settings: Settings, seat: Seat, port: int) -> Settings:
    """What one of the processes is told: the port of all, and a port of its own for monitors."""
    host = settings.listen.rpartition(":")[0]
    told: dict[str, Any] = {"listen": f"{host}:{port}"}
    if settings.metrics_listen:
        at, _, first = settings.metrics_listen.rpartition(":")
        # Port 0 stays what it is, a free one.
        told["metrics_listen"] = f"{at}:{int(first) and int(first) + seat.number}"
    return settings.model_copy(update=told)


def in_log(seat: Seat) -> Callable[..., MutableMapping[str, Any]]:
    """A processor of the log that says which process speaks."""

    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401 - structlog's
        event["worker"] = seat.number
        return event

    return add


@contextmanager
def port_for(settings: Settings) -> Iterator[int]:
    """Keeps the port of all for this gateway inside the block, and says which it is.

    Raises:
        WorkersError: this system has no shared ports, or the data directory's path is too long.
        OSError: the address is taken, or none of this machine.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise WorkersError("this system does not let several processes share a port")
    longest = settings.workers_dir.resolve() / f"{settings.workers - 1}.sock"
    if len(bytes(longest)) > PATH_BYTES:
        raise WorkersError(f"{longest} is longer than {PATH_BYTES} bytes, the most of a socket")
    host, _, port = settings.listen.rpartition(":")
    family, _, _, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # Without the option this fails while anybody else, another gateway too, is there.
    with socket.socket(family) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        chosen = int(alone.getsockname()[1])
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((address[0], chosen, *address[2:]))
        yield chosen


@dataclass(slots=True)
class _Worker:
    """A seat, and who sits in it."""

    seat: Seat
    process: SpawnProcess | None = None
    started_at_s: float = 0.0
    pause_s: float = 0.0
    starts: int = 0

    def start(self, work: Callable[[Seat], None]) -> None:
        self.process = multiprocessing.get_context("spawn").Process(
            target=work, args=(self.seat,), name=f"xinyi-{self.seat.number}"
        )
        self.process.start()
        self.started_at_s = monotonic()
        self.starts += 1
        log.info("worker_started", worker=self.seat.number, pid=self.process.pid)

    @property
    def is_due(self) -> bool:
        return self.process is None and monotonic() >= self.started_at_s + self.pause_s

    def ended(self) -> int | None:
        """Its status once it has ended; then it is to be started after a pause."""
        if self.process is None or self.process.exitcode is None:
            return None
        status = self.process.exitcode
        steady = monotonic() - self.started_at_s >= _STEADY_S
        longer_s = min(2 * self.pause_s, _LONGEST_PAUSE_S) or _FIRST_PAUSE_S
        self.pause_s = 0.0 if steady else longer_s
        self.process.close()
        self.process = None
        return status


def supervise(work: Callable[[Seat], None], count: int) -> int:
    """Keeps `count` processes at work until SIGTERM or SIGINT, which ends them all.

    Args:
        work: what each does, in a process that was started anew; it ends at SIGTERM.
        count: how many.

    Returns:
        Zero; the status of a process that ended by itself the first time, as for a setting that
        cannot be used: then all are ended.
    """
    workers = [_Worker(Seat(number, count)) for number in range(count)]
    with _told_to_stop() as stop:
        status = 0
        while not stop.is_told and not status:
            for worker in workers:
                if worker.is_due:
                    worker.start(work)
            wait([worker.process.sentinel for worker in workers if worker.process], _LOOK_S)
            for worker in workers:
                ended = worker.ended()
                if ended is not None:
                    log.error("worker_ended", worker=worker.seat.number, status=ended)
                    status = ended if worker.starts == 1 and ended > 0 else status
        _end(workers)
    return status


@dataclass(slots=True)
class _Stop:
    is_told: bool = False


@contextmanager
def _told_to_stop() -> Iterator[_Stop]:
    stop = _Stop()

    def tell(*_: object) -> None:
        stop.is_told = True

    before = {which: signal.signal(which, tell) for which in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for which, how in before.items():
            signal.signal(which, how)


def _end(workers: list[_Worker]) -> None:
    """Ends all in order, and after `GRACE_S` without a word."""
    living = [worker.process for worker in workers if worker.process]
    for process in living:
        process.terminate()
    deadline_s = monotonic() + GRACE_S
    for process in living:
        process.join(max(0.0, deadline_s - monotonic()))
        if process.exitcode is None:
            log.error("worker_killed", worker=process.name)
            process.kill()
            process.join()
