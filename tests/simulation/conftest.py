"""One stage for the simulations of a test run, and one loop on which all of them happen."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.simulation.stage import Stage, open_stage, start_server

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator


@dataclass(frozen=True, slots=True)
class Theatre:
    """A stage, and how to do something on it."""

    stage: Stage
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Does it to the end."""
        return self.runner.run(work)


@pytest.fixture(scope="session")
def theatre() -> Iterator[Theatre]:
    """The stage, for as long as the tests run."""
    url, folder = start_server()
    stack = AsyncExitStack()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield Theatre(runner.run(stack.enter_async_context(open_stage(url, folder))), runner)
        runner.run(stack.aclose())
