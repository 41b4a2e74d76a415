"""An embedded PostgreSQL for the run, a fresh copy of the world for each test, and its gateway."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import asyncpg
import pytest
import sqlalchemy as sa
from cryptography import x509

from gateway import app
from gateway.pki import create_ca, issue_person, issue_server
from gateway.settings import Settings
from gateway.store import application_url, embedded, open_store, schema
from tests.gateway.support import LONG, PEOPLE, Callers, Pki, StillClock, seed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from gateway.store import Store

_COPIES = count(1)


class TlsSettings(TypedDict):
    """The fields of `Settings` that name the server's TLS files."""

    tls_certificate: Path
    tls_key: Path
    tls_client_ca: Path


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of the run's PostgreSQL; it ends with the process, and its files after it."""
    # A path of its own, because a socket's path may have no more than 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="xinyi-pg-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    url = embedded.start(directory / "data")
    # What the tests write may be lost with the machine.
    _in_thread(_execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
    return url


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Certificates of everybody in the world."""
    ca = create_ca("xinyi-test", LONG)
    return Pki(ca, {who: issue_person(ca, who.party_id, who.person_id, LONG) for who in PEOPLE})


@pytest.fixture(scope="session")
def tls_settings(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> TlsSettings:
    """The server's TLS files, as settings."""
    directory = tmp_path_factory.mktemp("pki")
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    issue_server(pki.ca, names, LONG).write(directory / "server.pem", directory / "server.key")
    (directory / "ca.pem").write_bytes(pki.ca.certificate_pem)
    return {
        "tls_certificate": directory / "server.pem",
        "tls_key": directory / "server.key",
        "tls_client_ca": directory / "ca.pem",
    }


@pytest.fixture(scope="session")
def world_template(postgres_url: str, pki: Pki) -> str:
    """Name of a database with the schema and the world, which tests copy."""
    name = "world_template"
    _in_thread(_execute(postgres_url, f"CREATE DATABASE {name}"))
    url = database(postgres_url, name)
    schema.upgrade(url)
    _in_thread(_seed(url, pki))
    return name


@pytest.fixture
async def database_url(postgres_url: str, world_template: str) -> AsyncIterator[str]:
    """URL of this test's own copy of the world."""
    name = f"copy_{next(_COPIES)}"
    await _execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {world_template}")
    yield database(postgres_url, name)
    await _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """This test's copy of the world."""
    opened = open_store(database_url, pool_size=5)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> StillClock:
    """The gateway's clock; it stands until a test moves it."""
    return StillClock()


@pytest.fixture
async def gateway(
    database_url: str, tls_settings: TlsSettings, clock: StillClock, tmp_path: Path
) -> AsyncIterator[app.Gateway]:
    """A whole gateway on a free port, as the composition root builds it."""
    settings = Settings(listen="127.0.0.1:0", data_dir=tmp_path, **tls_settings)
    async with app.running(settings, application_url(database_url), clock) as running:
        yield running


@pytest.fixture
async def callers(gateway: app.Gateway, pki: Pki) -> AsyncIterator[Callers]:
    """The world's people, calling the gateway."""
    # A copy of its own: a test that registers somebody more must not reach into another's world.
    async with Callers(gateway.port, replace(pki, people=dict(pki.people))) as opened:
        yield opened


def database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


async def _execute(url: str, *statements: str) -> None:
    """Runs statements outside of any transaction."""
    conn = await asyncpg.connect(url)
    try:
        for statement in statements:
            await conn.execute(statement)
    finally:
        await conn.close()


async def _seed(url: str, pki: Pki) -> None:
    store = open_store(url, pool_size=1)
    await seed(store, pki.people)
    await store.close()


def _in_thread(work: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end on a loop of its own, whatever loop the tests are on."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result()
