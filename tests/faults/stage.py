"""The whole of it: a database, a gateway, a bank, people, and the wires between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
from cryptography import x509

from gateway.clock import bank_date, system_clock
from gateway.pki import create_ca, issue_person, issue_server
from gateway.store import open_store, schema
from tests.faults.bank import Bank
from tests.faults.books import check
from tests.faults.cluster import Cluster
from tests.faults.disk import Disk
from tests.faults.people import FIRMS, Load, People, Watcher
from tests.faults.process import Process
from tests.faults.proxy import Proxy
from tests.gateway.support import LONG, PEOPLE, Pki, seed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_DATABASE: Final = "postgres"
_CLERKS: Final = 6
_PAYMENTS: Final = 24
"""Of one round."""
_CALLS: Final = _PAYMENTS * 3
"""About as many as a round makes."""
_ROUND_S: Final = 400.0
"""Far more than a round takes; a machine may have other things to do."""
_LOOK_S: Final = 0.05
_LAST_LINES: Final = 40
_COURIER_S: Final = 0.25


Fault: TypeAlias = Callable[["Stage", Random], Awaitable[None]]
"""Does its harm in the midst of a round's load, and makes it good again."""


@dataclass(slots=True)
class Stage:
    """Everything that faults are done to.

    Attributes:
        directory: everything lies in it.
        cluster: the database's server.
        database_disk: where it keeps its data.
        bank_disk: where the gateway puts files for the bank.
        process: the gateway.
        bank: the bank.
        wire: between the gateway and its database.
        line: between the callers and the gateway.
        people: the callers.
        watcher: one of them, who watches everything.
    """

    directory: Path
    cluster: Cluster
    database_disk: Disk
    bank_disk: Disk
    process: Process
    bank: Bank
    wire: Proxy
    line: Proxy
    people: People
    watcher: Watcher
    rounds: int = 0
    _loading: asyncio.Task[None] | None = None

    async def play(self, fault: Fault, rng: Random) -> None:
        """One round: load, the fault in the midst of it, peace, and what must hold then."""
        self.rounds += 1
        load = Load(self.people, rng, _PAYMENTS, f"round-{self.rounds}")
        begun = len(self.people.journal)
        async with asyncio.timeout(_ROUND_S):
            async with asyncio.TaskGroup() as tasks:
                courier = tasks.create_task(self._carry())
                watching = tasks.create_task(self.watcher.run())
                self._loading = tasks.create_task(load.run(_CLERKS))
                await fault(self, rng)
                await self._loading
                courier.cancel()
                await self.settle()
                watching.cancel()
            await check(self, self.people.journal[begun:])

    async def moment(self, rng: Random, longest_s: float = _ROUND_S) -> None:
        """Some moment in the midst of the load, or at its end."""
        assert self._loading is not None
        answered = len(self.people.journal) + rng.randrange(_CALLS // 2)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                while len(self.people.journal) < answered and not self._loading.done():  # noqa: ASYNC110 - either ends it
                    await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(rng.random() * _LOOK_S)

    async def settle(self) -> None:
        """Everything that is on its way arrives, and the bank states the day."""
        await self._until(self._nothing_waits)
        self.bank.close_day()
        await self._until(self._nothing_waits)
        await self._until(self._all_is_seen)

    async def rows(self, query: str) -> list[Any]:
        """What the database's owner sees."""
        conn = await asyncpg.connect(self.cluster.url(_DATABASE))
        try:
            return await conn.fetch(query)
        finally:
            await conn.close()

    def last_words(self) -> str:
        """The ends of the logs of the gateway and the database."""
        logs = (self.process.log, self.cluster.directory / "log")
        return "\n".join(f"--- {log.name}\n{_end_of(log)}" for log in logs)

    @property
    def database_url(self) -> str:
        """The database, by no wire that breaks."""
        return self.cluster.url(_DATABASE)

    async def _until(self, done: Callable[[], Awaitable[bool]]) -> None:
        while not await done():
            self.bank.work()
            await asyncio.sleep(_COURIER_S)

    async def _nothing_waits(self) -> bool:
        # As if the time had passed after which what failed is tried again, and what a process that
        # died had begun, ten minutes before, is gone on with; what has just begun is left alone.
        await self.rows(
            "UPDATE transmissions SET next_attempt_at = now() WHERE next_attempt_at > now()"
            " AND (state = 'QUEUED'"
            " OR state = 'SENDING' AND next_attempt_at < now() + interval '598 seconds')"
        )
        waiting = await self.rows("SELECT FROM transmissions WHERE state IN ('QUEUED', 'SENDING')")
        self.bank.work()
        return not waiting and self.bank.all_is_taken

    async def _all_is_seen(self) -> bool:
        (events,) = await self.rows("SELECT count(*) FROM payment_events")
        return len(self.watcher.seen) >= int(events["count"])

    async def _carry(self) -> None:
        while True:
            self.bank.work()
            await asyncio.sleep(_COURIER_S)


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """A stage with its world, whose gateway answers; everything is gone after the block."""
    async with AsyncExitStack() as stack:
        # A path of its own, because a socket's path may have no more than 107 bytes.
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="xinyi-faults-")))
        database_disk = _disk(stack, directory / "db")
        bank_disk = _disk(stack, directory / "banks" / "demo" / "out")
        cluster = Cluster(database_disk.folder / "data")
        cluster.start()
        stack.callback(cluster.stop)
        pki = _certificates(directory)
        await asyncio.to_thread(schema.upgrade, cluster.url(_DATABASE))
        await _found(cluster.url(_DATABASE), pki)
        process = Process(_settings(directory, cluster), directory / "gateway.log")
        wire = Proxy(partial(asyncio.open_unix_connection, cluster.socket))
        line = Proxy(process.connect)
        await stack.enter_async_context(wire.listening_at(directory / ".s.PGSQL.5432"))
        port = await stack.enter_async_context(line.listening())
        # Beside this loop, which carries what the gateway says to its database meanwhile.
        await asyncio.to_thread(process.start)
        stack.push_async_callback(asyncio.to_thread, process.stop)
        people = await stack.enter_async_context(People(port, pki))
        for fund in FIRMS:
            await people.upload(fund)
        bank = Bank.open(directory / "bank", bank_disk.folder.parent)
        yield Stage(
            directory,
            cluster,
            database_disk,
            bank_disk,
            process,
            bank,
            wire,
            line,
            people,
            Watcher(people),
        )


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])


def _disk(stack: AsyncExitStack, folder: Path) -> Disk:
    disk = Disk.mount(folder)
    stack.callback(disk.unmount)
    return disk


def _certificates(directory: Path) -> Pki:
    ca = create_ca("xinyi-faults", LONG)
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    issue_server(ca, names, LONG).write(directory / "server.pem", directory / "server.key")
    (directory / "ca.pem").write_bytes(ca.certificate_pem)
    return Pki(ca, {who: issue_person(ca, who.party_id, who.person_id, LONG) for who in PEOPLE})


def _settings(directory: Path, cluster: Cluster) -> dict[str, str]:
    return {
        "XINYI_DATA_DIR": str(directory),
        "XINYI_DATABASE_URL": cluster.url(_DATABASE, directory),
        "XINYI_LISTEN": "127.0.0.1:0",
        "XINYI_TLS_CERTIFICATE": str(directory / "server.pem"),
        "XINYI_TLS_KEY": str(directory / "server.key"),
        "XINYI_TLS_CLIENT_CA": str(directory / "ca.pem"),
        "XINYI_POLL_INTERVAL": "PT0.25S",
    }


async def _found(url: str, pki: Pki) -> None:
    store = open_store(url, pool_size=1)
    await seed(store, pki.people, system_clock())
    await store.close()
    conn = await asyncpg.connect(url)
    # Yesterday is reconciled: the night is not what is tested here.
    await conn.execute(
        "INSERT INTO runs (run_id, date, state, rules_version, counts, started_at)"
        " VALUES ('before', $1, 'DONE', '', '{}', now())",
        bank_date(system_clock()) + timedelta(days=1),
    )
    await conn.close()
