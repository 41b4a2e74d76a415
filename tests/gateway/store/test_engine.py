from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
import sqlalchemy as sa

from gateway.rpc.errors import reason_in, status_of
from gateway.store import GATEWAY, engine, open_store
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store import Store


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """The database behind a wire, and its URL there."""
    url = sa.make_url(database_url)
    socket = Path(str(url.query["host"])) / ".s.PGSQL.5432"
    proxy = Proxy(partial(asyncio.open_unix_connection, socket))
    # A path of its own, because a socket's path may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="xinyi-wire-") as folder:
        behind = url.set(query={"host": folder}).render_as_string(hide_password=False)
        async with proxy.listening_at(Path(folder) / socket.name):
            yield behind, proxy


async def _works(store: Store) -> bool:
    async with store.transaction(GATEWAY) as conn:
        return await conn.scalar(sa.text("SELECT true")) is True


async def test_a_server_that_falls_silent_keeps_nobody_waiting_for_ever(
    wire: tuple[str, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_STATEMENT_S", 0.2)
    url, proxy = wire
    store = open_store(url, pool_size=1)
    assert await _works(store)
    proxy.silent = True
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is the library's affair
        await _works(store)
    assert reason_in(status_of(raised.value)) == "STORE_UNAVAILABLE"
    proxy.silent = False
    assert await _works(store)
    await store.close()


async def test_a_call_that_ends_while_the_server_is_silent_takes_no_connection_with_it(
    wire: tuple[str, Proxy],
) -> None:
    url, proxy = wire
    store = open_store(url, pool_size=1)
    assert await _works(store)
    proxy.silent = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await _works(store)
    proxy.silent = False
    assert await _works(store)
    await store.close()


async def test_after_a_restart_of_the_server_one_failure_replaces_every_connection(
    wire: tuple[str, Proxy],
) -> None:
    url, proxy = wire
    store = open_store(url, pool_size=3)
    await asyncio.gather(*(_works(store) for _ in range(3)))
    proxy.hang_up()
    with pytest.raises(Exception) as raised:  # noqa: PT011 - as above
        await _works(store)
    assert reason_in(status_of(raised.value)) == "STORE_UNAVAILABLE"
    assert all(await asyncio.gather(*(_works(store) for _ in range(3))))
    await store.close()


async def test_a_commit_waits_for_the_disk_even_if_the_database_is_set_not_to(
    database_url: str,
) -> None:
    owner = await asyncpg.connect(database_url)
    name = sa.make_url(database_url).database
    await owner.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await owner.close()
    store = open_store(database_url, pool_size=1)
    async with store.transaction(GATEWAY) as conn:
        assert await conn.scalar(sa.text("SHOW synchronous_commit")) == "on"
    await store.close()
