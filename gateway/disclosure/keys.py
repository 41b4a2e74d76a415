"""The keys by which logs are signed: one a log, in a file that only the gateway may read.

They are the gateway's own and no party's: they sign that a tree is the log's, and move no money.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.keys import dump_private_key, load_private_key
from gateway.transparency.note import NoteSigner

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Finds the key of each log, and makes it where there is none.

    Attributes:
        directory: one PEM file a log.
        origin: how the names of the logs begin, such as ``trust.example/xinyi``.
    """

    directory: Path
    origin: str

    def signer(self, log_id: str) -> NoteSigner:
        """What signs this log.

        Raises:
            GatewayError: FIELD_INVALID if its file is no key.
            OSError: if it cannot be read or made.
        """
        path = self.directory / f"{log_id}.pem"
        name = f"{self.origin}/{log_id}"
        if not path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            _write_once(path, dump_private_key(Ed25519PrivateKey.generate()))
        return NoteSigner(name, load_private_key(path.read_bytes()))


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
