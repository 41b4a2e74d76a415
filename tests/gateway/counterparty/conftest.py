"""A desk at the running gateway, and mock-bank behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.gateway.counterparty.bridge import ACCOUNTS, MockBank, open_mock_bank
from tests.gateway.counterparty.scene import Scene
from tests.gateway.payments.conftest import desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.payments.desk import Desk

__all__ = ["desk"]


@pytest.fixture
async def database_url(database_url: str) -> str:
    """This test's own copy of the world, in which the funds have their accounts at mock-bank.

    An account is never renumbered by the gateway: only the owner of the tables can.
    """
    owner = await asyncpg.connect(database_url)
    try:
        for fund_id, number in ACCOUNTS.items():
            renumber = "UPDATE bank_accounts SET account_number = $1 WHERE fund_id = $2"
            await owner.execute(renumber, number, fund_id)
    finally:
        await owner.close()
    return database_url


@pytest.fixture
def bank(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> Iterator[MockBank]:
    """The bank; parametrize with `allow_duplicates` for one that does not know a file again."""
    options = getattr(request, "param", {})
    folder = tmp_path / "banks" / "demo"
    with open_mock_bank(tmp_path / "mock-bank", folder, desk.clock, **options) as opened:
        yield opened


@pytest.fixture
def scene(desk: Desk, bank: MockBank) -> Scene:
    """Both sides on one stage."""
    return Scene(desk, bank)
