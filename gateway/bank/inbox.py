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

    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.store import Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Inbox:
    """Reads what the banks left.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: how each bank is reached; its folder has ``in``, ``done`` and ``quarantine``.
    """

    store: Store
    clock: Clock
    banks: Banks

    async def take_all(self) -> int:
        """Takes in what lies there; returns how many files. One bad file holds up no other."""
        await self._fetch_all()
        taken = 0
        for bank in sorted(self.banks.root.glob("*/in")):
            for path in collect(bank):
                taken += await self._try(path)
        return taken

    async def _fetch_all(self) -> None:
        """Takes what lies at the banks; one that cannot be reached holds up no other."""
        for profile_id in self.banks.reached():
            try:
                connection = self.banks.connection(profile_id)
                fetched = await connection.fetch(self.banks.folder(profile_id) / "in")
            except Exception as error:  # noqa: BLE001 - a server that is down, a key that expired
                why = type(error).__name__
                log.error("bank_not_reached", bank=profile_id, error=why)  # noqa: TRY400 - no addresses in logs
            else:
                for finding in fetched.left:
                    log.warning("bank_file_left", bank=profile_id, why=finding.code)

    async def _try(self, path: Path) -> bool:
        """Whatever goes wrong with a file, it stays for the next round and the others go on."""
        try:
            return await self._take(path)
        except Exception as error:  # noqa: BLE001 - a full disk, a lost connection, a vanished file
            why = type(error).__name__
            log.error("bank_file_failed", file=_name(path), error=why)  # noqa: TRY400 - the message may repeat personal data
            return False

    async def _take(self, path: Path) -> bool:
        content = await asyncio.to_thread(path.read_bytes)
        file = BankFile(_name(path), content, profile_id=path.parent.parent.name)
        try:
            await import_file(self.store, file, self.banks, self.clock())
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
