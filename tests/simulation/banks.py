"""Two banks and the ways to them: one of files with a careless courier, one of a bad wire."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from adapters.connection import NotSentError, OutcomeUnknownError, retrying
from adapters.formats import pain001
from adapters.read import parse
from adapters.transports.directory import collect
from tests.gateway.support import ACCOUNT_NUMBERS
from tests.simulation.stage import CHANNEL_FUND, FILE_FUND, PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from adapters.simulator import SimulatedBank
    from tests.gateway.wires.city_bank import CityBank
    from tests.simulation.life import Life
    from tests.simulation.trace import Trace

_STATEMENT: Final = "camt053"


@contextmanager
def without_pauses() -> Iterator[None]:
    """Attempts at a bank follow one another at once: time passes only where a simulation says."""
    before = retrying.__defaults__
    retrying.__defaults__ = (3, 0.0)
    try:
        yield
    finally:
        retrying.__defaults__ = before


@dataclass(slots=True)
class Wire:
    """The way to the bank with a channel: messages and answers get lost on it.

    Attributes:
        bank: at its other end.
        life: of the process at this end, which may die before the message and before the answer.
        chance: draws what happens to a message.
        trouble: how likely something happens to it.
        trace: told of it.
    """

    bank: CityBank
    life: Life
    chance: Random
    trouble: float
    trace: Trace

    async def exchange(self, content: bytes) -> bytes:
        """As `adapters.connection.Exchange`."""
        self.life.step("before a message")
        bad = self.chance.random() < self.trouble
        fate = self.chance.choice(["not sent", "message lost", "answer lost"]) if bad else ""
        if fate:
            self.trace.say(f"  wire: {fate}")
        if fate == "not sent":
            raise NotSentError
        if fate == "message lost":
            raise OutcomeUnknownError
        answer = self.bank.answer(content)
        self.life.step("before an answer")
        if fate == "answer lost":
            raise OutcomeUnknownError
        return answer


@dataclass(slots=True)
class Courier:
    """Carries files between the gateway's folders and the banks', not always well.

    Attributes:
        files: the bank that takes files.
        city: the bank with a channel; only its statements are carried.
        folder: of the gateway, with a folder for each bank.
        chance: draws what happens to a file.
        trouble: how likely something happens to it.
        trace: told of it.
        lost_orders: ids of payments whose order was lost on the way.
        read: the distinct orders that the bank was given, by the payments in them.
        copies: what was brought from a bank, and by which bank's folder, to be brought again.
        mislaid: what was lost on the way from a bank: it can be had again.
        stated: what the banks have stated: account and the bank's id of the entry, to its amount.
    """

    files: SimulatedBank
    city: CityBank
    folder: Path
    chance: Random
    trouble: float
    trace: Trace
    lost_orders: set[str] = field(default_factory=set)
    read: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    copies: list[tuple[str, str, bytes]] = field(default_factory=list)
    mislaid: list[tuple[str, str, bytes]] = field(default_factory=list)
    stated: dict[tuple[str, str], int] = field(default_factory=dict)
    _debited: set[str] = field(default_factory=set)

    def _fate(self) -> str:
        if self.chance.random() >= self.trouble:
            return "carried"
        return self.chance.choice(["lost", "late", "twice"])

    # --- orders -------------------------------------------------------------------------------

    def take_orders(self) -> int:
        """Carries the gateway's orders to the bank of files; returns how many lay there."""
        orders = collect(self.folder / PROFILES[FILE_FUND] / "out")
        for path in orders:
            content, fate = path.read_bytes(), self._fate()
            self.trace.say(f"  order {path.name}: {fate}")
            if fate == "late":
                continue
            references = [each.end_to_end_id for each in pain001.parse(content).payments]
            for reference in references:
                self.read[reference].add(sha256(content).hexdigest())
            if fate == "lost":
                self.lost_orders.update(references)
            else:
                (self.files.inbox / path.name).write_bytes(content)
            if fate == "twice":
                (self.files.inbox / f"again-{path.name}").write_bytes(content)
            path.unlink()
        return len(orders)

    # --- what banks write ---------------------------------------------------------------------

    def bring_files(self) -> int:
        """Carries what the banks wrote to the gateway, in any order; returns how many lay there."""
        waiting = [(PROFILES[FILE_FUND], path) for path in collect(self.files.outbox)]
        waiting += [(PROFILES[CHANNEL_FUND], path) for path in collect(self.city.inbox)]
        self.chance.shuffle(waiting)
        for number, (bank, path) in enumerate(waiting):
            content, fate = path.read_bytes(), self._fate()
            self.trace.say(f"  {bank} {path.name}: {fate}")
            if fate == "late":
                continue
            self.copies.append((bank, path.name, content))
            self._note(path.name, content)
            if fate == "lost":
                self.mislaid.append((bank, path.name, content))
            else:
                self._leave(bank, f"{number:03d}-{path.name}", content)
            if fate == "twice":
                self._leave(bank, f"{number:03d}-again-{path.name}", content)
            path.unlink()
        return len(waiting)

    def _note(self, name: str, content: bytes) -> None:
        said = parse(content) if _STATEMENT in name else None
        for statement in said.statements if said else ():
            for entry in statement.entries:
                self.stated[statement.account, entry.entry_id] = entry.amount_minor
                if entry.amount_minor < 0:
                    self._debited.add(entry.end_to_end_id)

    def bring_again(self) -> None:
        """Some file once more, however old it is."""
        if self.copies:
            bank, name, content = self.chance.choice(self.copies)
            self.trace.say(f"  {bank} {name}: once more")
            self._leave(bank, f"old-{name}", content)

    def bring_mislaid(self) -> None:
        """Somebody has fetched again what was lost."""
        for number, (bank, name, content) in enumerate(self.mislaid):
            self._leave(bank, f"found-{number:03d}-{name}", content)
        self.mislaid.clear()

    def _leave(self, bank: str, name: str, content: bytes) -> None:
        folder = self.folder / bank / "in"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    # --- what is true at the banks ------------------------------------------------------------

    def balance_minor(self, account: str) -> int:
        """What is in an account."""
        own = account == ACCOUNT_NUMBERS[CHANNEL_FUND]
        return self.city.balance_minor if own else self.files.balance_minor(account)

    def paid(self) -> set[str]:
        """The payments that were debited, as far as the banks name them."""
        return self.city.debits.keys() | self._debited
