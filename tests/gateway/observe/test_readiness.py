"""Alive, ready, leaving: what an orchestrator and a load balancer are told, and when."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway import app
from gateway.observe import readiness
from gateway.observe.readiness import Check
from gateway.settings import Settings
from tests.gateway.support import CHAIR, Callers

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.gateway.conftest import TlsSettings
    from tests.gateway.observe.conftest import Monitor
    from tests.gateway.support import Pki, StillClock

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PAYMENTS = "xinyi.v1.PaymentService"
LEDGER = "xinyi.v1.LedgerService"
WELL = {"database": "", "schema": "", "history": "", "log": ""}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is a new one, so that no test waits."""
    monkeypatch.setattr(readiness, "_FRESH_S", 0.0)


async def _status(callers: Callers, service: str) -> int:
    channel: Any = await callers.channel(callers.pki.people[CHAIR])
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_a_gateway_that_has_what_it_needs_is_alive_and_ready(
    callers: Callers, monitor: Monitor
) -> None:
    assert (await monitor.client.get("/healthz")).status_code == 200
    assert await monitor.ready() == (200, WELL)
    for service in ("", PAYMENTS, LEDGER):
        assert await _status(callers, service) == SERVING


async def test_a_schema_of_another_release_is_not_ready_and_says_so(
    gateway: Gateway, database_url: str, callers: Callers, monitor: Monitor
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE alembic_version SET version_num = '9999'")
    await owner.close()

    status, why = await monitor.ready()
    assert (status, why["database"]) == (503, "")
    assert "9999" in why["schema"]
    await gateway.watch.health.look()
    assert await _status(callers, "") == NOT_SERVING
    assert await _status(callers, PAYMENTS) == NOT_SERVING


async def test_without_its_database_a_gateway_is_alive_but_not_ready_and_recovers(
    postgres_url: str, database_url: str, monitor: Monitor
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    server = await asyncpg.connect(postgres_url)
    try:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        # The first look may still find the cut connection, the next one that none is let in.
        await monitor.ready()
        status, why = await monitor.ready()
        assert (status, bool(why["database"])) == (503, True)
        assert (await monitor.client.get("/healthz")).status_code == 200
    finally:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await server.close()
    assert await monitor.ready() == (200, WELL)


async def test_a_check_of_one_service_takes_out_only_that_one(
    gateway: Gateway, callers: Callers, monitor: Monitor
) -> None:
    async def rolled_back() -> str:
        return "the database lacks what was anchored"

    gateway.watch.readiness.checks.append(Check("anchor", rolled_back, frozenset({PAYMENTS})))
    await gateway.watch.health.look()
    assert await _status(callers, PAYMENTS) == NOT_SERVING
    assert await _status(callers, LEDGER) == SERVING
    status, why = await monitor.ready()
    assert (status, why["anchor"]) == (200, "the database lacks what was anchored")


async def test_what_a_check_raises_is_told_without_its_values(
    gateway: Gateway, monitor: Monitor
) -> None:
    async def broken() -> str:
        raise LookupError("no account 6222020000000001")

    gateway.watch.readiness.checks.append(Check("writers", broken))
    assert (await monitor.ready())[1]["writers"] == "LookupError"
    assert "6222020000000001" not in (await monitor.client.get("/readyz")).text


async def test_a_check_that_does_not_answer_has_failed(
    gateway: Gateway, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless() -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(readiness, "PATIENCE_S", 0.0)
    gateway.watch.readiness.checks.append(Check("writers", endless))
    assert (await monitor.ready())[1]["writers"] == "TimeoutError"


async def test_who_watches_health_hears_of_the_end_before_calls_are_cut(
    database_url: str, tls_settings: TlsSettings, pki: Pki, clock: StillClock, tmp_path: Path
) -> None:
    settings = Settings(listen="127.0.0.1:0", data_dir=tmp_path, **tls_settings)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(app.running(settings, database_url, clock))
        assert gateway.monitor_port is None
        async with Callers(gateway.port, pki) as callers:
            channel: Any = await callers.channel(pki.people[CHAIR])
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watching = stub.Watch(health_pb2.HealthCheckRequest(service=PAYMENTS))
            assert (await watching.read()).status == SERVING
            ending = asyncio.create_task(stack.aclose())
            assert (await watching.read()).status == NOT_SERVING
            watching.cancel()
            await ending


async def test_a_gateway_that_leaves_stays_not_ready(
    gateway: Gateway, callers: Callers, monitor: Monitor
) -> None:
    await gateway.watch.health.leave()
    await gateway.watch.health.look()
    assert await _status(callers, LEDGER) == NOT_SERVING
    assert (await monitor.ready())[0] == 503


async def test_a_watcher_that_does_not_read_holds_up_no_end(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blocked(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("gateway.rpc.health._TELL_S", 0.0)
    monkeypatch.setattr(gateway.watch.health._servicer, "set", blocked)
    monkeypatch.setattr(gateway.watch.health._servicer, "enter_graceful_shutdown", blocked)
    await gateway.watch.health.look()
    await gateway.watch.health.leave()
