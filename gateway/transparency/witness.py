"""A witness: sees to it that a log only ever grows, and says so by its own key.

The supervisor runs it on a machine of its own (https://c2sp.org/tlog-witness). It asserts that what
a log shows it goes on from what the log showed before, nothing about what stands in the log.
"""

from __future__ import annotations

import fcntl
import re
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from gateway.disk import put
from gateway.transparency.checkpoint import Checkpoint, decode_hash, parse_checkpoint
from gateway.transparency.merkle import EMPTY_ROOT, ProofError, verify_consistency
from gateway.transparency.note import NoteError, open_note, parse_note
from gateway.transparency.proof import MAX_HASHES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gateway.transparency.note import Cosigner, Key, Note

MAX_REQUEST_BYTES: Final = 128 * 1024

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Request:
    """What a log asks a witness to cosign.

    Attributes:
        old_size: of the tree that the log believes the witness saw last.
        proof: that the new tree begins with it.
        checkpoint: the new tree, signed by the log.
    """

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: Note

    def __str__(self) -> str:
        hashes = "".join(f"{b64encode(each).decode()}\n" for each in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.checkpoint}"


class RefusalError(Exception):
    """Why a witness does not cosign.

    Attributes:
        status: of the HTTP answer, as the specification sets it.
        why: for a person; for a wrong old size, the right one.
    """

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def parse_request(text: str) -> Request:
    """The request in the body of a POST.

    Raises:
        NoteError: if it is none; it names the line.
    """
    head, gap, note = text.partition("\n\n")
    old, *lines = head.split("\n")
    found = _OLD.fullmatch(old)
    if not gap or found is None or len(lines) > MAX_HASHES:
        raise NoteError("a request is an old size, at most 63 hashes, a blank line, a checkpoint")
    proof = (decode_hash(line, number) for number, line in enumerate(lines, 2))
    return Request(int(found[1]), tuple(proof), parse_note(note))


def judge(seen: Checkpoint, request: Request, new: Checkpoint) -> None:
    """Passes only if the new tree goes on from what was seen last.

    Raises:
        RefusalError: as the specification orders its checks.
    """
    if request.old_size > new.size:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "the old tree is larger than the new one")
    if request.old_size != seen.size:
        raise RefusalError(HTTPStatus.CONFLICT, str(seen.size))
    if seen.size == new.size and seen.root != new.root:
        raise RefusalError(HTTPStatus.CONFLICT, str(seen.size))
    try:
        verify_consistency(seen.size, new.size, seen.root, new.root, request.proof)
    except ProofError as error:
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness with its key and its memory.

    Attributes:
        cosigner: its own key.
        logs: the keys of the logs it watches, by origin.
        directory: its memory: the last checkpoint of each log, one file each.
    """

    cosigner: Cosigner
    logs: Mapping[str, Key]
    directory: Path

    def cosign(self, text: str, time_s: int) -> str:
        """The signature line for the checkpoint in this request.

        Args:
            text: body of the request.
            time_s: POSIX time of the cosignature.

        Raises:
            RefusalError: with the status that the specification gives.
        """
        try:
            request = parse_request(text)
            new = parse_checkpoint(request.checkpoint.text)
        except NoteError as error:
            raise RefusalError(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._require_signed(request.checkpoint, new.origin)
        with self._memory(new.origin) as memory:
            judge(memory.seen(), request, new)
            line = self.cosigner.sign(request.checkpoint.text, time_s)
            # On disk before anybody hears of it: what was cosigned is never forgotten.
            memory.keep(f"{request.checkpoint}{line}")
        return str(line)

    def latest(self, origin: str) -> str:
        """The last checkpoint of a log that was cosigned, with the cosignature; empty if none."""
        path = self._path(origin)
        return path.read_text() if path.exists() else ""

    def _require_signed(self, note: Note, origin: str) -> None:
        log = self.logs.get(origin)
        if log is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, f"the log {origin} is not watched here")
        try:
            open_note(note, [log])
        except NoteError as error:
            raise RefusalError(HTTPStatus.FORBIDDEN, str(error)) from None

    @contextmanager
    def _memory(self, origin: str) -> Iterator[_Memory]:
        """What was seen of the log, with nobody else at it, in this process or another."""
        path = self._path(origin)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield _Memory(origin, path)

    def _path(self, origin: str) -> Path:
        return self.directory / f"{sha256(origin.encode()).hexdigest()}.checkpoint"


@dataclass(frozen=True, slots=True)
class _Memory:
    origin: str
    path: Path

    def seen(self) -> Checkpoint:
        """The last tree; an unreadable file stops the witness rather than starts it anew."""
        if not self.path.exists():
            return Checkpoint(self.origin, 0, EMPTY_ROOT)
        return parse_checkpoint(parse_note(self.path.read_text()).text)

    def keep(self, text: str) -> None:
        """Replaces the file as a whole, and waits for the disk."""
        put(self.path, text.encode())
