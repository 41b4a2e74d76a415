"""The pages over a real database, asked as a browser asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.console.pages import public_pages
from gateway.disclosure.keys import LogKeys
from gateway.disclosure.publisher import Publisher
from tests.gateway.night.world import TODAY, template_url, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.applications import Starlette

    from tests.gateway.night.world import World

__all__ = ["template_url", "world"]

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
async def publisher(world: World, tmp_path: Path) -> Publisher:
    """A book with a receipt, a payment with a correction, and hostile texts; all of it logged."""
    await world.fund(opening_minor=100_000)
    await world.line(
        "f1", 250_000, TODAY, category="地面车位", counterparty_name="示例物业有限公司"
    )
    paid = await world.line(
        *("f1", -123_456, TODAY),
        category="清洁",
        summary=HOSTILE,
        counterparty_name="欧阳小明",
        counterparty_account="6222000011112222",
    )
    await world.line(
        *("f1", 123_456, TODAY),
        category="清洁",
        corrects=paid.line_number,
        correction_reason="银行退回",
    )
    kept = Publisher(
        world.store,
        world.clock,
        LogKeys(tmp_path / "keys", "log.example", sm2=True),
        tmp_path / "public",
    )
    await kept.log_all()
    return kept


@pytest.fixture
def pages(world: World, publisher: Publisher) -> Starlette:
    return public_pages(world.store, world.clock, publisher)


@pytest.fixture
async def browser(pages: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(pages)
    async with httpx.AsyncClient(transport=transport, base_url="http://book.example") as client:
        yield client
