"""Checkpoints: a log's size and root, signed (https://c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

from gateway.transparency.merkle import HASH_BYTES
from gateway.transparency.note import NoteError

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself.

    Attributes:
        origin: which log.
        size: how many leaves.
        root: hash over all of them.
    """

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that the text of a note is; extension lines are signed, and passed over.

    Raises:
        NoteError: if it is none; it names the line.
    """
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < _LINES or not all(lines):
        raise NoteError("a checkpoint has an origin, a size and a root, and no empty line")
    origin, size, encoded = lines[:_LINES]
    if not _SIZE.fullmatch(size):
        raise NoteError("line 2 is no tree size")
    return Checkpoint(origin, int(size), decode_hash(encoded, 3))


def decode_hash(encoded: str, line: int) -> bytes:
    """The hash of a line.

    Raises:
        NoteError: if it is none.
    """
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != HASH_BYTES or b64encode(raw).decode() != encoded:
        raise NoteError(f"line {line} is no SHA-256 in base64")
    return raw
