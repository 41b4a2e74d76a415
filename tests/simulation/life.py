"""A process that can die between any two steps: statements, commits, and files that appear or go.

Death is an exception that nothing of the gateway catches. Whatever still runs on the way out, to
give back a lock or to note a failure, dies as well: a dead process does nothing. What the database
has not committed by then it rolls back, as it does when a connection breaks.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from gateway.store import Scope

_FILE_STEPS: Final = frozenset({"open", "os.link", "os.rename", "os.remove"})
"""Audit events of the interpreter (PEP 578) that change a folder, or read from it."""


class Crash(BaseException):
    """The process dies."""


@dataclass(slots=True)
class Life:
    """How long the process has to live.

    Attributes:
        folder: whose files are the process's own.
        steps_left: until it dies; None for as long as it is let be.
        dead: whether it has died; nothing can be done until it is begun anew.
        at: the step before which it died, for the trace.
    """

    folder: str = ""
    steps_left: int | None = None
    dead: bool = False
    at: str = ""

    def begin(self, steps_left: int | None = None) -> None:
        """A new process, or a new lease of life for this one."""
        self.dead, self.steps_left, self.at = False, steps_left, ""

    def step(self, what: str) -> None:
        """Takes one step further, unless it is the one that it does not live to see."""
        if self.steps_left is None and not self.dead:
            return
        if self.steps_left == 0:
            self.dead, self.at = True, what
        if self.dead:
            self.steps_left = None
            raise Crash
        if self.steps_left is not None:
            self.steps_left -= 1


@dataclass(frozen=True, slots=True)
class MortalStore(Store):
    """A database whose user may die after a commit, before anybody is told of it."""

    life: Life

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """As in `Store`."""
        async with Store.transaction(self, scope) as conn:
            yield conn
        self.life.step("after a commit")


def watch_statements(engine: AsyncEngine, life: Life) -> None:
    """Makes every statement and every commit of an engine a step."""

    def statement(*given: Any) -> None:
        life.step(" ".join(given[2].split()[:3]))

    sa.event.listen(engine.sync_engine, "before_cursor_execute", statement)
    sa.event.listen(engine.sync_engine, "commit", lambda _: life.step("before a commit"))


def watch_files(life: Life) -> None:
    """Makes every file step in the process's folder a step; for the rest of the interpreter."""

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in _FILE_STEPS and life.folder and str(given[0]).startswith(life.folder):
            life.step(f"{event} of a file")

    sys.addaudithook(hook)
