"""A desk at the running gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.cases.desk import FUND, OTHER_FUND, Desk
from tests.gateway.night.world import template_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.app import Gateway
    from tests.gateway.support import Callers, StillClock

__all__ = ["template_url"]


@pytest.fixture
async def desk(gateway: Gateway, callers: Callers, clock: StillClock) -> AsyncIterator[Desk]:
    """Bank and books of both funds must agree when the test is over."""
    opened = Desk(gateway, callers, clock)
    yield opened
    for fund_id in (FUND, OTHER_FUND):
        await opened.check(fund_id)
