"""Proofs in one file that verify offline (https://c2sp.org/tlog-proof)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.transparency.checkpoint import Checkpoint, decode_hash, parse_checkpoint
from gateway.transparency.merkle import ProofError, leaf_hash, verify_inclusion
from gateway.transparency.note import Note, NoteError, open_note, parse_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transparency.note import Key, Signature, Verifier

MAX_HASHES: Final = 63
MAX_PROOF_BYTES: Final = 16 * 1024 * 1024
"""A night of ten thousand entries is told in less."""

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry stands in a log, to be checked by whoever has the log's key.

    Attributes:
        index: of the entry, from 0.
        hashes: the audit path, from the leaf up.
        checkpoint: the log's note, with the cosignatures that were there.
        extra: what the reader needs to make the entry again; not to be believed of itself.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note
    extra: bytes = b""

    def __str__(self) -> str:
        extra = f"extra {b64encode(self.extra).decode()}\n" if self.extra else ""
        path = "".join(f"{b64encode(each).decode()}\n" for each in self.hashes)
        return f"{_HEADER}\n{extra}index {self.index}\n{path}\n{self.checkpoint}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a proof has proved.

    Attributes:
        checkpoint: the tree that has the entry.
        witnesses: cosignatures by trusted witnesses, one a key.
    """

    checkpoint: Checkpoint
    witnesses: tuple[Signature, ...]


def parse_proof(text: str) -> Proof:
    """The proof that a file holds, nothing verified.

    Raises:
        NoteError: if it is none; it names the line.
    """
    if len(text) > MAX_PROOF_BYTES:
        raise NoteError(f"a proof has at most {MAX_PROOF_BYTES} bytes")
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or lines.pop(0) != _HEADER:
        raise NoteError(f"line 1 is not {_HEADER}, or no checkpoint follows")
    extra = _extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else b""
    line = 3 if extra else 2
    found = _INDEX.fullmatch(lines[0]) if lines else None
    if found is None:
        raise NoteError(f"line {line} is no index")
    if len(lines) - 1 > MAX_HASHES:
        raise NoteError(f"a proof has at most {MAX_HASHES} hashes")
    hashes = (decode_hash(each, number) for number, each in enumerate(lines[1:], line + 1))
    return Proof(int(found[1]), tuple(hashes), parse_note(note), extra)


def verify_proof(
    proof: Proof, entry: bytes, log: Key, witnesses: Sequence[Verifier], needed: int
) -> Verified:
    """Passes only if the entry stands in the log, and enough witnesses have seen that log.

    Args:
        proof: from its file.
        entry: the bytes that are said to be logged.
        log: the log's key; its name is the log's origin.
        witnesses: keys that are trusted.
        needed: how many of them must have cosigned.

    Raises:
        NoteError: if a signature is missing or wrong.
        ProofError: if the entry is not where the proof says.
    """
    open_note(proof.checkpoint, [log])
    checkpoint = parse_checkpoint(proof.checkpoint.text)
    if checkpoint.origin != log.name:
        raise NoteError(f"the checkpoint is of {checkpoint.origin}, not of {log.name}")
    seen = _cosigned(proof.checkpoint, witnesses)
    if len(seen) < needed:
        raise NoteError(f"{len(seen)} trusted witnesses have cosigned, {needed} are needed")
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(entry), proof.hashes, checkpoint.root)
    return Verified(checkpoint, seen)


def _cosigned(note: Note, witnesses: Sequence[Verifier]) -> tuple[Signature, ...]:
    known = {(key.name, key.key_id) for key in witnesses}
    if not any((line.name, line.key_id) in known for line in note.signatures):
        return ()
    return open_note(note, witnesses)


def _extra(line: str) -> bytes:
    try:
        return b64decode(line.removeprefix("extra "), validate=True)
    except ValueError:
        raise NoteError("line 2 is no base64") from None


__all__ = ["Proof", "ProofError", "Verified", "parse_proof", "verify_proof"]
