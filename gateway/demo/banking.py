"""The demo's bank, and the courier who carries files between it and the gateway's directories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.simulator import SimulatedBank
from adapters.transports.directory import collect
from gateway.demo.world import BANK

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Banking:
    """A simulated bank behind the directories of one bank profile.

    Attributes:
        bank: the bank.
        gateway_dir: the gateway's directory of this bank, with ``out`` and ``in``.
    """

    bank: SimulatedBank
    gateway_dir: Path

    @classmethod
    def open(cls, data_dir: Path, seed: int = 0) -> Banking:
        """The bank of a data directory, founded there if it is new."""
        gateway_dir = data_dir / "banks" / BANK
        for folder in ("in", "out"):
            (gateway_dir / folder).mkdir(parents=True, exist_ok=True)
        return cls(SimulatedBank.open(data_dir / "simulated-bank", seed), gateway_dir)

    def work(self, now: datetime) -> int:
        """Carries orders to the bank, lets it pay, carries its answers back; returns how many."""
        _carry(self.gateway_dir / "out", self.bank.inbox)
        self.bank.process(now)
        return _carry(self.bank.outbox, self.gateway_dir / "in")

    def close_day(self, day: date) -> int:
        """Lets the bank write the day's statements and carries them over; returns how many."""
        self.bank.close_day(day)
        return _carry(self.bank.outbox, self.gateway_dir / "in")


def _carry(source: Path, target: Path) -> int:
    files = collect(source)
    for file in files:
        file.rename(target / file.name)
    return len(files)
