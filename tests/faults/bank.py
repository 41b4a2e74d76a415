"""The simulated bank behind the gateway's folders, and the courier between the two."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from adapters.formats import pain001
from adapters.model import Parsed
from adapters.read import parse
from adapters.simulator import Behaviour, SimulatedBank
from adapters.transports.directory import collect, place
from gateway.clock import bank_date, system_clock
from tests.faults.people import REFUSED, SILENT
from tests.gateway.support import ACCOUNT_NUMBERS, OPENING_MINOR

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


@dataclass(slots=True)
class Bank:
    """The bank, and what passed between it and the gateway.

    Attributes:
        simulated: the bank itself.
        folder: the gateway's folder of this bank, with ``out`` and ``in``.
        ordered: how often each payment stood in an order, by end-to-end id.
        debited: how often it stood on a statement.
    """

    simulated: SimulatedBank
    folder: Path
    day: date
    ordered: Counter[str] = field(default_factory=Counter)
    debited: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, directory: Path, folder: Path) -> Self:
        """A bank that has both funds' accounts with what the ledger believes is in them."""
        simulated = SimulatedBank.open(directory)
        today = bank_date(system_clock())
        for fund_id, account in ACCOUNT_NUMBERS.items():
            simulated.open_account(
                account, fund_id, OPENING_MINOR, "CNY", today - timedelta(days=1)
            )
        simulated.behave(REFUSED, Behaviour(reject_code="AC04"))
        simulated.behave(SILENT, Behaviour(silent=True))
        (folder / "in").mkdir()
        return cls(simulated, folder, today)

    def work(self) -> None:
        """Reads the orders, pays, answers; every file is carried to where it belongs."""
        for file in collect(self.folder / "out"):
            content = file.read_bytes()
            self.ordered.update(each.end_to_end_id for each in pain001.parse(content).payments)
            place(content, self.simulated.inbox / file.name)
            file.unlink()
        self.simulated.process(system_clock())
        self._bring()

    def close_day(self) -> None:
        """States the day; what is booked from here on is of the next one."""
        self.simulated.close_day(self.day)
        self.day += timedelta(days=1)
        self._bring()

    @property
    def all_is_taken(self) -> bool:
        """Whether the gateway has taken in every file of the bank."""
        return not collect(self.folder / "in")

    def _bring(self) -> None:
        for file in collect(self.simulated.outbox):
            content = file.read_bytes()
            if file.name.startswith("camt053"):
                said = parse(content)
                assert isinstance(said, Parsed)
                self.debited.update(
                    entry.end_to_end_id
                    for statement in said.statements
                    for entry in statement.entries
                )
            place(content, self.folder / "in" / file.name)
            file.unlink()
