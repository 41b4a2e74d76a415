"""A bank that takes and gives files, behind a real SSH server that breaks where a test says so."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from adapters.simulator import SimulatedBank
from gateway.clock import BANK_ZONE, bank_date
from gateway.store import tables as t
from tests.gateway.support import ACCOUNT_NUMBERS, OPENING_MINOR, TODAY
from tests.gateway.wires.stage import id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.adapters.test_sftp import Bank as SftpServer
    from tests.gateway.payments.desk import Desk

_MORNING: Final = time(9)
_REACHED_BY_SSH: Final = """\
kind = "sftp"
host = "127.0.0.1"
port = {port}
user = "xinyi"
private_key = "{keys}/client"
known_hosts = "{keys}/known_hosts"
remote_out = "/in"
remote_in = "/out"
remote_done = "/fetched"
timeout_s = 20
"""
_DEBITED: Final = re.compile(rb"<EndToEndId>(p[0-9a-z]+)</EndToEndId>")
_ORDERED: Final = re.compile(rb"<EndToEndId>([^<]+)</EndToEndId>")


@dataclass(slots=True)
class FileBank:
    """The bank, its server, and the gateway before it.

    Attributes:
        desk: firms, signers and the gateway.
        server: the SSH server and its faults.
        folder: the gateway's folder for this bank.
        simulated: the bank that works behind the server, in the same directories.
        orders: the content of every file that it took, by name, in order.
    """

    desk: Desk
    server: SftpServer
    folder: Path
    simulated: SimulatedBank
    orders: list[tuple[str, bytes]] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The server listens, at a port of its own each time; `reach.toml` says at which."""
        async with self.server.open() as served:
            self._reached_at(served.port)
            yield

    def close(self) -> None:
        """Where the bank should be, nobody listens."""
        (self.server.keys / "known_hosts").touch()
        self._reached_at(9)

    def _reached_at(self, port: int) -> None:
        reach = _REACHED_BY_SSH.format(port=port, keys=self.server.keys)
        (self.folder / "reach.toml").write_text(reach, encoding="utf-8")

    async def work(self, pause: timedelta = timedelta()) -> None:
        """Time passes, then one round of what the gateway does between calls."""
        self.desk.clock.moment += pause
        await self.desk.gateway.work()

    def take(self) -> int:
        """The bank takes the orders that lie there, and answers; returns how many."""
        names = self.server.there()
        self.orders += [(name, (self.simulated.inbox / name).read_bytes()) for name in names]
        self.simulated.process(self.desk.clock())
        return len(names)

    async def next_morning(self) -> None:
        """The bank closes the day; the next morning the gateway finds the statements."""
        today = bank_date(self.desk.clock())
        self.simulated.close_day(today)
        self.desk.clock.moment = datetime.combine(today + timedelta(days=1), _MORNING, BANK_ZONE)
        await self.desk.gateway.work()

    def at_bank(self, folder: str) -> list[str]:
        """The names in a folder of the server, unfinished files too."""
        return sorted(path.name for path in (self.server.folder / folder).iterdir())

    def debits(self) -> Counter[str]:
        """How often the bank's statements take money for a payment."""
        written = [
            path
            for folder in ("out", "fetched")
            for path in (self.server.folder / folder).glob("camt053_*")
        ]
        found = (_DEBITED.findall(path.read_bytes()) for path in written)
        return Counter(reference.decode() for each in found for reference in each)

    async def holds(self) -> None:
        """One file for each hand-over, one debit for each payment, each file named and kept."""
        names = [name for name, _ in self.orders]
        assert len(names) == len(set(names))
        assert max(self.debits().values(), default=0) <= 1
        for name, content in self.orders:
            assert (self.folder / "audit" / name).read_bytes() == content
            for reference in _ORDERED.findall(content):
                assert any(name in each for each in await self._carriers(reference.decode()))
        await self.desk.conserved()

    async def _carriers(self, payment_id: str) -> list[str]:
        events = t.payment_events
        query = sa.select(events.c.detail).where(
            events.c.payment_id == payment_id, events.c.detail.contains(" sha256:")
        )
        return [row.detail for row in await self.desk.rows(query)]

    async def settled(self, name: str, amount_minor: int = 1_000) -> None:
        """Paid exactly once, and after the day's statement both sides say so."""
        await self.next_morning()
        assert await self.desk.state(name) == "SETTLED"
        assert self.debits() == {id_of(name): 1}
        accounts = t.bank_accounts
        (account,) = await self.desk.rows(sa.select(accounts).where(accounts.c.fund_id == "wutong"))
        balance_minor = self.simulated.balance_minor(ACCOUNT_NUMBERS["wutong"])
        assert account.bank_minor == balance_minor == OPENING_MINOR - amount_minor


def open_file_bank(desk: Desk, server: SftpServer, folder: Path) -> FileBank:
    """The bank with both funds' accounts; its server does not listen yet."""
    simulated = SimulatedBank.open(server.folder, seed=0)
    for fund_id, account in ACCOUNT_NUMBERS.items():
        simulated.open_account(account, fund_id, OPENING_MINOR, "CNY", TODAY - timedelta(days=1))
    (server.folder / "fetched").mkdir()
    opened = FileBank(desk, server, folder, simulated)
    opened.close()
    return opened
