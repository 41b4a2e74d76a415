"""A database with the world in it, to which every simulation returns; shared by many of them."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from gateway.payments.vouchers import Voucher, store_voucher
from gateway.pki import create_ca, issue_person
from gateway.store import GATEWAY, embedded, open_store, schema
from tests.gateway.conftest import database
from tests.gateway.payments.desk import CONTENT, DIGEST
from tests.gateway.support import ACCOUNT_NUMBERS, LONG, NOW, PEOPLE, seed
from tests.simulation.life import Life, MortalStore, watch_files, watch_statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FILE_FUND: Final = "jinjiang"
"""Its bank takes files and gives files."""
CHANNEL_FUND: Final = "wutong"
"""Its bank answers at once, over a wire."""
PROFILES: Final = {FILE_FUND: "demo", CHANNEL_FUND: "city-channel"}

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_ROOM_BYTES: Final = 1 << 30
_POOL_SIZE: Final = 5
# What is written may be lost with the machine, and no vacuum, at a moment of its own choosing, may
# change the order in which rows lie.
_QUICK: Final = ("fsync", "synchronous_commit", "autovacuum", "jit")
_GROWING: Final = ("audit_entries", "audit_links", "rollback_assents")
_TABLES: Final = """
    SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The place of simulations, one after the other.

    Attributes:
        store: the gateway's way into the database, which the process dies on.
        owner: a way past the gateway, for those who look on.
        life: of the process.
        folder: for files.
        again: the statement that brings the world back.
    """

    store: MortalStore
    owner: Any
    life: Life
    folder: Path
    again: str

    async def clear(self) -> Path:
        """Makes the world what it was at first; returns an empty folder, the same each time."""
        self.life.begin()
        await self.owner.execute(self.again)
        folder = self.folder / "day"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.life.folder = str(folder)
        return folder


def start_server() -> tuple[str, Path]:
    """URL of an empty database that lasts as long as the interpreter, and a folder like it.

    Must not be called from a running event loop.
    """
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    # A short path, because a socket's may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="xinyi-sim-", dir=_MEMORY if is_roomy else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = embedded.start(folder / "data")
    settings = [f"ALTER SYSTEM SET {setting} = off" for setting in _QUICK]
    asyncio.run(_execute(url, *settings, "SELECT pg_reload_conf()", "CREATE DATABASE world"))
    world = database(url, "world")
    schema.upgrade(world)
    return world, folder


async def _execute(url: str, *statements: str) -> None:
    conn = await asyncpg.connect(url)
    for statement in statements:
        await conn.execute(statement)
    await conn.close()


@asynccontextmanager
async def open_stage(url: str, folder: Path) -> AsyncIterator[Stage]:
    """A stage over a database of `start_server`, with the world put into it."""
    life = Life()
    opened = open_store(url, pool_size=_POOL_SIZE)
    store, owner = MortalStore(opened.engine, life), await asyncpg.connect(url)
    # What only grows refuses even its owner to empty it; a world that begins again has to.
    for table in _GROWING:
        await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await _found(store, owner)
    watch_statements(store.engine, life)
    watch_files(life)
    yield Stage(store, owner, life, folder, await _keep(owner))
    await store.close()
    await owner.close()


async def _found(store: MortalStore, owner: Any) -> None:
    """The world: two funds, each at a bank of another kind, and a voucher in either."""
    ca = create_ca("xinyi-simulation", LONG)
    await seed(store, {who: issue_person(ca, who.party_id, who.person_id, LONG) for who in PEOPLE})
    voucher = Voucher(DIGEST, "f.pdf", "application/pdf", len(CONTENT), CONTENT)
    async with store.transaction(GATEWAY) as conn:
        for fund_id in ACCOUNT_NUMBERS:
            await store_voucher(conn, fund_id, voucher, NOW)
    move = "UPDATE bank_accounts SET profile_id = $2 WHERE fund_id = $1"
    # An account never moves to another bank in the gateway: only the owner of the tables can do so.
    await owner.executemany(move, list(PROFILES.items()))


async def _keep(owner: Any) -> str:
    """Keeps what is in the tables; returns the statement that puts it back, and nothing else."""
    tables = [row[0] for row in await owner.fetch(_TABLES)]
    await owner.execute("CREATE SCHEMA kept")
    filled = []
    for table in tables:
        if await owner.fetchval(f"SELECT count(*) FROM {table}"):  # noqa: S608 - a table's name
            await owner.execute(f"CREATE TABLE kept.{table} AS SELECT * FROM {table}")  # noqa: S608 - as above
            filled.append(table)
    back = "; ".join(f"INSERT INTO {table} SELECT * FROM kept.{table}" for table in filled)  # noqa: S608 - as above
    return f"""
        TRUNCATE {", ".join(tables)} RESTART IDENTITY;
        SET session_replication_role = replica; {back}; SET session_replication_role = origin"""
