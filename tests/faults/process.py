"""The gateway as a process of its own, started as an operator starts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SERVE: Final = (sys.executable, "-c", "from gateway.cli import main; main()", "serve")
"""What is killed: `xinyi serve`, with whatever options the tests are to hold for."""

_START_S: Final = 60.0
_LOOK_S: Final = 0.02


@dataclass(slots=True)
class Process:
    """The gateway's processes.

    Attributes:
        settings: its environment variables.
        log: what it writes to its standard error, over all its lives.
    """

    settings: Mapping[str, str]
    log: Path
    port: int = 0
    _running: subprocess.Popen[bytes] | None = None
    _begins: int = field(default=0)

    def start(self) -> None:
        """Starts it and waits until it answers calls."""
        with self.log.open("ab") as log:
            self._begins = log.tell()
            self._running = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                SERVE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.settings},
                cwd=self.log.parent,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._running.poll() is None:
            for event in self.said():
                if event["event"] == "serving":
                    self.port = event["port"]
                    return
            time.sleep(_LOOK_S)
        raise AssertionError(f"the gateway did not start, see {self.log}")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to where it answers."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    def kill(self) -> None:
        """Ends every process of it without a word."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Every process of it stands still, and does not know."""
        self._tell(signal.SIGSTOP)

    def go_on(self) -> None:
        """It goes on where it stood."""
        self._tell(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it in order."""
        self._end(signal.SIGTERM)

    @property
    def runs(self) -> bool:
        """Whether it lives."""
        return self._running is not None and self._running.poll() is None

    def said(self) -> Iterator[dict[str, Any]]:
        """The lines of its log, of its present life."""
        with self.log.open("rb") as log:
            log.seek(self._begins)
            for line in log:
                if line.startswith(b"{") and line.endswith(b"}\n"):
                    yield json.loads(line)

    def _end(self, how: signal.Signals) -> None:
        self._tell(how)
        if self._running is not None:
            self._running.wait(timeout=_START_S)

    def _tell(self, what: signal.Signals) -> None:
        if self._running is not None and self.runs:
            # The process leads a group of its own, so that its workers share its fate.
            os.killpg(self._running.pid, what)
