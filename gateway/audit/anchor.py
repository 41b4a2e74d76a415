"""The anchor: the audit chain's head, kept outside of the database, so that its loss shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.audit.chain import Head
from gateway.disk import put

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "anchor.json"
_FORMAT: Final = 1
_FILE_BYTES: Final = 64 * 1024


class AnchorError(Exception):
    """An anchor that is there and cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a database must contain.

    Attributes:
        head: of the audit chain.
        at: when it was written, UTC.
    """

    head: Head
    at: datetime

    def to_json(self) -> bytes:
        """As it lies on disk: one head a log, of which the audit log is the first."""
        audit = {"sequence": self.head.sequence, "hash": self.head.hash.hex()}
        at = self.at.astimezone(UTC).isoformat()
        return json.dumps({"format": _FORMAT, "at": at, "audit": audit}, indent=2).encode() + b"\n"


def write(anchor: Anchor, directory: Path) -> None:
    """Puts the anchor there: after this it survives a power cut, before it the old one stands.

    Raises:
        OSError: it could not be written; the one before it is still there.
    """
    put(directory / FILE_NAME, anchor.to_json())


def set_aside(directory: Path) -> None:
    """Keeps the anchor that lies there under a name of its own, as evidence of what was lost."""
    found = read(directory)
    if found is not None:
        named = f"anchor-{found.head.sequence}-{found.head.hash.hex()[:16]}.json"
        (directory / FILE_NAME).replace(directory / named)


def read(directory: Path) -> Anchor | None:
    """The anchor that lies there; None if none does.

    Raises:
        AnchorError: it is no anchor.
        OSError: the directory cannot be read.
    """
    path = directory / FILE_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES)
    except FileNotFoundError:
        return None
    try:
        return _anchor(json.loads(content))
    except (ValueError, KeyError, TypeError) as wrong:
        raise AnchorError(f"{path} is no anchor: {wrong}") from None


def _anchor(said: dict[str, Any]) -> Anchor:
    if said["format"] != _FORMAT:
        raise ValueError(f"format {said['format']} is not known here")
    head = Head(int(said["audit"]["sequence"]), bytes.fromhex(said["audit"]["hash"]))
    return Anchor(head, datetime.fromisoformat(said["at"]))
