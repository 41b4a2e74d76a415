"""A call at a process that does not know yet that another one writes the fund."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import app
from gateway.payments import leases
from gateway.payments.leases import Seat
from gateway.settings import Settings
from gateway.store import application_url
from tests.gateway.payments.desk import Desk, ask
from tests.gateway.support import Callers, refusal
from tests.gateway.workers.crew import SLOT, notes_of, take_notes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.support import Pki, StillClock

HOLDER = next(number for number in range(2) if SLOT in Seat(number, 2).slots)
UNAWARE = 1 - HOLDER


@pytest.fixture
async def desk(
    database_url: str,
    tls_settings: TlsSettings,
    clock: StillClock,
    pki: Pki,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Desk]:
    """Calls at a process that held the slot, and has not looked since another one took it."""
    monkeypatch.setattr(leases, "RENEWAL_S", 3600.0)
    monkeypatch.setattr(leases, "LEASE_S", 3600.0)
    await take_notes(database_url)
    url = application_url(database_url)
    # A path of its own, because a socket's path may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="xinyi-") as directory:
        settings = Settings(listen="127.0.0.1:0", data_dir=Path(directory), **tls_settings)
        async with (
            app.running(settings, url, clock, Seat(UNAWARE, 2)) as unaware,
            app.running(settings, url, clock, Seat(HOLDER, 2)),
            Callers(unaware.port, pki) as callers,
        ):
            assert unaware.leases is not None
            assert unaware.leases.holds(SLOT)
            opened = Desk(unaware, callers, clock)
            await opened.upload()
            yield opened


async def test_is_written_by_the_holder_and_not_by_who_held_it(
    desk: Desk, database_url: str
) -> None:
    payment = await desk.submit(request="one")
    again = await desk.submit(request="one")

    assert again == payment
    assert await notes_of(database_url) == [f"xinyi-{HOLDER}"]
    await desk.conserved()


async def test_is_refused_as_the_holder_refuses_it(desk: Desk) -> None:
    refused = [await refusal(desk.submit(ask(90_000_000), request="big")) for _ in range(2)]

    assert [each.reason for each in refused] == ["BUDGET_EXCEEDED"] * 2
    assert refused[0] == refused[1]
