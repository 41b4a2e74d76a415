"""A desk at the running gateway, and a bank behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.payments.desk import Bank, Desk, open_bank

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.gateway.support import Callers, StillClock


@pytest.fixture
async def desk(gateway: Gateway, callers: Callers, clock: StillClock) -> AsyncIterator[Desk]:
    """Calls with a voucher uploaded; money must be conserved when the test is over."""
    known = dict(callers.pki.people)
    opened = Desk(gateway, callers, clock)
    await opened.upload()
    yield opened
    await opened.conserved()
    callers.pki.people.clear()
    callers.pki.people.update(known)


@pytest.fixture
def bank(gateway: Gateway, clock: StillClock, tmp_path: Path) -> Bank:
    """The bank of both funds' accounts."""
    return open_bank(tmp_path / "bank", gateway.sender.banks.root / "demo", clock)
