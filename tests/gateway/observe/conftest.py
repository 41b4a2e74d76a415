"""A gateway that monitors may ask, a desk at it, and a bank behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import app
from gateway.settings import Settings
from tests.gateway.payments.desk import Bank, Desk, open_bank

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.support import Callers, StillClock


class Monitor:
    """Asks over plain HTTP, as Prometheus and an orchestrator do."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def text(self) -> str:
        answer = await self.client.get("/metrics")
        assert answer.status_code == 200
        return answer.text

    async def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every series by its name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(await self.text())
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float:
        return (await self.series())[name, tuple(sorted(labels.items()))]

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """The status of ``/readyz``, and what is wrong by check."""
        answer = await self.client.get("/readyz")
        return answer.status_code, {each["name"]: each["why"] for each in answer.json()["checks"]}


@pytest.fixture
async def gateway(
    database_url: str, tls_settings: TlsSettings, clock: StillClock, tmp_path: Path
) -> AsyncIterator[app.Gateway]:
    """A whole gateway with a page for monitors."""
    settings = Settings(listen="127.0.0.1:0", metrics_listen="0", data_dir=tmp_path, **tls_settings)
    async with app.running(settings, database_url, clock) as running:
        yield running


@pytest.fixture
async def monitor(gateway: app.Gateway) -> AsyncIterator[Monitor]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.monitor_port}") as client:
        yield Monitor(client)


@pytest.fixture
async def desk(gateway: app.Gateway, callers: Callers, clock: StillClock) -> Desk:
    opened = Desk(gateway, callers, clock)
    await opened.upload()
    return opened


@pytest.fixture
def bank(gateway: app.Gateway, clock: StillClock, tmp_path: Path) -> Bank:
    return open_bank(tmp_path / "bank", gateway.sender.banks.root / "demo", clock)
