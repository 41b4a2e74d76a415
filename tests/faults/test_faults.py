from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.faults.faults import FAULTS, missing
from tests.faults.rounds import play
from tests.faults.stage import open_stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.faults.stage import Stage

_ROUNDS = {"kill": 2, "database": 2}
"""Of the other faults one; `make soak` plays as many as wanted."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One gateway for all of them: it has to outlive each."""
    async with open_stage() as opened:
        yield opened


@pytest.mark.timeout(1_200)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", FAULTS)
async def test_nothing_acknowledged_is_lost_and_nothing_is_doubled_by_the_fault(
    stage: Stage, name: str
) -> None:
    if why := missing(name, stage):
        pytest.skip(why)
    # Of pytest-randomly's seed, which the head of the report shows as well.
    seed = random.getrandbits(32)
    for number in range(_ROUNDS.get(name, 1)):
        await play(stage, name, seed, number)
