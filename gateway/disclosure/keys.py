"""The keys by which logs are signed: one a log, in a file that only the gateway may read.

They are the gateway's own and no party's: they sign that a tree is the log's, and move no money.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.errors import Reason, invalid
from gateway.domain.keys import dump_private_key, load_private_key
from gateway.transparency.note import NoteSigner
from gateway.transparency.sm2 import Sm2Signer, load_sm2_signer, new_sm2_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Finds the key of each log, and makes it where there is none.

    Attributes:
        directory: one PEM file a log.
        origin: how the names of the logs begin, such as ``trust.example/xinyi``.
        sm2: whether an SM2 line stands beside the Ed25519 one.
    """

    directory: Path
    origin: str
    sm2: bool = False

    def signer(self, log_id: str) -> NoteSigner:
        """What signs this log.

        Raises:
            GatewayError: FIELD_INVALID if its file is no key.
            OSError: if it cannot be read or made.
        """
        pem = self._kept(f"{log_id}.pem", _new_key)
        return NoteSigner(f"{self.origin}/{log_id}", load_private_key(pem))

    def sm2_signer(self, log_id: str) -> Sm2Signer | None:
        """What signs this log by SM2 as well; None where that is not asked for.

        Raises:
            GatewayError: FIELD_INVALID if its file is no key.
            OSError: if it cannot be read or made.
        """
        if not self.sm2:
            return None
        pem = self._kept(f"{log_id}.sm2.pem", new_sm2_key)
        try:
            return load_sm2_signer(f"{self.origin}/{log_id}", pem)
        except ValueError as error:
            raise invalid(Reason.FIELD_INVALID, f"{log_id}.sm2.pem", str(error)) from None

    def _kept(self, name: str, new: Callable[[], bytes]) -> bytes:
        path = self.directory / name
        if not path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            _write_once(path, new())
        return path.read_bytes()


def _new_key() -> bytes:
    return dump_private_key(Ed25519PrivateKey.generate())


def _write_once(path: Path, pem: bytes) -> None:
    """Writes the file for its owner alone; one that another process has just made stays."""
    fresh = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
