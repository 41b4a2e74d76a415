"""The banks' directories: every file that lies in ``in`` is taken in and put away."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from adapters.transports.directory import collect, quarantine
from gateway.bank.inbound import BankFile
from gateway.bank.quarantine import import_file
from gateway.domain.errors import GatewayError, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.store import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Inbox:
    """Reads what the banks left.

    Attributes:
        store: the database.
        clock: the present moment.
        banks_dir: a directory a bank profile, with ``in``, ``done`` and ``quarantine``.
    """

    store: Store
    clock: Clock
    banks_dir: Path

    async def take_all(self) -> int:
        """Takes in what lies there; returns how many files. One bad file holds up no other."""
        taken = 0
        for bank in sorted(self.banks_dir.glob("*/in")):
            for path in collect(bank):
                taken += await self._try(path)
        return taken

    async def _try(self, path: Path) -> bool:
        """Whatever goes wrong with a file, it stays for the next round and the others go on."""
        try:
            return await self._take(path)
        except Exception as error:  # noqa: BLE001 - a full disk, a lost connection, a vanished file
            why = type(error).__name__
            log.error("bank_file_failed", file=_name(path), error=why)  # noqa: TRY400 - the message may repeat personal data
            return False

    async def _take(self, path: Path) -> bool:
        file = BankFile(_name(path), await asyncio.to_thread(path.read_bytes))
        try:
            await import_file(self.store, file, self.clock())
        except GatewayError as refusal:
            if refusal.kind is not Kind.PRECONDITION:
                raise
            await asyncio.to_thread(_set_aside, path, refusal)
            return False
        await asyncio.to_thread(_put_away, path, file.digest)
        return True


def _name(path: Path) -> str:
    """The file's name as text, also where the bank wrote it in GBK."""
    return os.fsencode(path.name).decode(errors="replace")


def _set_aside(path: Path, refusal: GatewayError) -> None:
    folder = path.parent.parent / "quarantine"
    quarantine(path, folder, refusal.reason.value, refusal.message)


def _put_away(path: Path, digest: str) -> None:
    done = path.parent.parent / "done"
    done.mkdir(exist_ok=True)
    path.replace(done / f"{digest[:12]}-{path.name}")
