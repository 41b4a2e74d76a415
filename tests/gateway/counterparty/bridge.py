"""mock-bank as the bank: an implementation of ISO 20022 that shares no line with ours.

A courier carries files between its directories and the gateway's, by renaming them: not a byte of
what either side wrote is changed. Behaviours and time are set over its control plane.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from mockbank.server import Config, make_server  # type: ignore[import-untyped] # it ships no types

from adapters.transports.directory import collect
from gateway.clock import BANK_ZONE
from tests.gateway.support import OPENING_MINOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.support import StillClock

ACCOUNTS: Final = {"wutong": "NL62MOCK0000000011", "jinjiang": "NL35MOCK0000000012"}
"""Of the funds. mock-bank knows accounts by IBAN only; MOCK is the code of no real bank."""
CLOSED: Final = "NL08MOCK0000000013"
"""A payee's account that is closed: AC04."""
UNREACHABLE: Final = "NL78MOCK0000000014"
"""A payee's account, once it is opened, whose bank cannot be found: RC01."""

_SEEDED: Final = ("ACME", "GLOBEX", "EURODIS")
"""Accounts that the bank starts with: closed, so that it writes no statements of them."""
_NEVER_MS: Final = 86_400_000
_OK: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class MockBank:
    """The bank, and the courier between its directories and the gateway's.

    Attributes:
        port: of its control plane.
        inbox: where it looks for orders.
        outbox: where it leaves its messages.
        folder: the gateway's directory for this bank, with ``out`` and ``in``.
        clock: the gateway's clock; the bank's runs beside it.
    """

    port: int
    inbox: Path
    outbox: Path
    folder: Path
    clock: StillClock

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """A call of the control plane; an answer that is no success fails the test."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        assert answer.status in _OK, text
        return json.loads(text)

    def take(self) -> list[str]:
        """Carries the orders to the bank, which reads them; returns what it made of each file."""
        for file in collect(self.folder / "out"):
            file.rename(self.inbox / file.name)
        scanned = self.ask("POST", "/_mock/drop/scan")["files"]
        return [" ".join(filter(None, (each["status"], each["reason"]))) for each in scanned]

    def bring(self) -> list[str]:
        """Carries what the bank wrote to the gateway; returns the names, for example
        ``camt.053.001.08-wutong-3.xml``.
        """
        (self.folder / "in").mkdir(parents=True, exist_ok=True)
        files = collect(self.outbox)
        for file in files:
            file.rename(self.folder / "in" / file.name)
        return [file.name for file in files]

    def repeat(self, name: str) -> None:
        """The bank is given a file once more that it has read before, byte for byte."""
        shutil.copy(self.inbox / "processed" / name, self.inbox / name)

    def open_account(self, account_id: str, iban: str, **fields: object) -> None:
        """A further account at the bank."""
        account = {"id": account_id, "iban": iban, "currency": "CNY", **fields}
        self.ask("POST", "/_mock/accounts", account)

    def behave(self, behaviour: str, **parameters: object) -> None:
        """From here on the account of the first fund behaves so."""
        change = {"behaviour": behaviour, "parameters": parameters}
        self.ask("PATCH", "/_mock/accounts/wutong", change)

    def days_pass(self, days: int = 1) -> None:
        """Calendar days, for both sides; it is the same time of day."""
        self.ask("POST", f"/_mock/advance?days={days}")
        self.clock.moment += timedelta(days=days)

    def debits(self) -> Counter[str]:
        """How often the bank took money for a payment, by end-to-end id."""
        every = self.ask("GET", "/_mock/payments")
        return Counter(payment["end_to_end_id"] for payment in every if payment["booked_at"])

    def balance_minor(self) -> int:
        """What is in the account of the first fund."""
        return int(self.ask("GET", "/_mock/accounts/wutong")["balance"])


@contextmanager
def open_mock_bank(
    directory: Path, folder: Path, clock: StillClock, *, allow_duplicates: bool = False
) -> Iterator[MockBank]:
    """The bank, with the accounts of both funds, open for the time of the block."""
    inbox, outbox = directory / "inbox", directory / "outbox"
    config = Config(
        port=0,
        quiet=True,
        timezone=str(BANK_ZONE),
        clock=f"{clock.moment.astimezone(BANK_ZONE):%Y-%m-%dT%H:%M}",
        allow_duplicates=allow_duplicates,
        drop_dir=str(inbox),
        pickup_dir=str(outbox),
        drop_settle_ms=0,
        # It looks when it is told to, so that no test depends on its pace.
        drop_interval_ms=_NEVER_MS,
    )
    with make_server(config) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        bank = MockBank(server.server_address[1], inbox, outbox, folder, clock)
        try:
            _open_accounts(bank)
            yield bank
        finally:
            server.shutdown()
            thread.join()


def _open_accounts(bank: MockBank) -> None:
    for account_id in _SEEDED:
        bank.ask("PATCH", f"/_mock/accounts/{account_id}", {"closed": True})
    for fund_id, iban in ACCOUNTS.items():
        bank.open_account(fund_id, iban, balance=OPENING_MINOR)
    bank.open_account("closed", CLOSED, closed=True)
