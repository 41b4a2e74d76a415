"""One stage for the simulations of a test run, and one loop on which all of them happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.simulation.day import simulate
from tests.simulation.stage import Stage, open_stage, start_server

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

Live = Callable[[int], list[str]]


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


@pytest.fixture
def live(theatre: Theatre) -> Live:
    """Lives through the day of a seed; answers with its trace."""
    return lambda seed: theatre.run(simulate(theatre.stage, seed, lambda _: None)).lines
