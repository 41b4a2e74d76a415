"""Files handed over through directories, so that a crash at any step loses or doubles nothing."""

import asyncio
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.model import MAX_FILE_BYTES, ParseError

_PART: Final = ".part"
_REASON: Final = ".reason.json"


class NameTakenError(FileExistsError):
    """Another content was delivered under this name before."""


class NotPlacedError(OSError):
    """Nothing appeared under the name: the disk is full, the folder may not be written."""


class ShortWriteError(NotPlacedError):
    """The file on disk is not as long as what was written to it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file that lies where the other side takes it."""

    path: Path
    sha256: str
    size_bytes: int


def deliver(content: bytes, name: str, outbox: Path, audit: Path) -> Delivery:
    """Put a file into the outbox for the bank, and before that a copy into the audit folder.

    The file appears under its name only when it is complete. Repeating a delivery after a crash
    is safe: the same bytes under the same name are the same delivery.

    Args:
        content: The bytes to hand over.
        name: A plain file name.
        outbox: The folder from which the bank takes files; made if missing.
        audit: The folder of copies that stay; made if missing.

    Raises:
        NameTakenError: Other bytes were delivered under this name.
        ValueError: The name is not a plain file name.
        ShortWriteError: The disk kept fewer bytes than were written.
    """
    if not is_plain(name):
        raise ValueError("the name of a delivery is a plain file name")
    # The audit copy outlives the file in the outbox, so it also guards the name for ever.
    place(content, audit / name)
    placed = place(content, outbox / name)
    return Delivery(placed, hashlib.sha256(content).hexdigest(), len(content))


def is_plain(name: str) -> bool:
    """Whether a name is a plain one: no path, not hidden, not the name of an unfinished file."""
    hidden = name.startswith(".") or name.endswith(_PART)
    return bool(name) and name == Path(name).name and not hidden


def place(content: bytes, path: Path) -> Path:
    """Write a file that appears whole or not at all, and never over another.

    Raises:
        NameTakenError: Another content is there.
        NotPlacedError: It could not be written.
        ShortWriteError: The disk kept fewer bytes than were written.
        OSError: It lies there, but whether it survives a power cut is not known.
    """
    if not _is_there(content, path):
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(content, part)
        except ShortWriteError:
            raise
        except OSError as wrong:
            raise NotPlacedError(wrong.errno, f"{path.name} cannot be written") from wrong
        try:
            os.link(part, path)  # unlike a rename, this refuses a name that is taken
        except FileExistsError:
            _is_there(content, path)
        finally:
            part.unlink()
    sync(path.parent)
    return path


def _is_there(content: bytes, path: Path) -> bool:
    if not path.exists():
        return False
    if path.read_bytes() != content:
        raise NameTakenError(f"{path.name} exists with other content")
    return True


def _write(content: bytes, part: Path) -> None:
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if part.stat().st_size != len(content):
        part.unlink()
        raise ShortWriteError(f"{part.name} has the wrong size")


def sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def collect(inbox: Path) -> list[Path]:
    """The complete files in a folder, by name; unfinished and hidden ones are left out."""
    if not inbox.is_dir():
        return []
    return sorted(path for path in inbox.iterdir() if path.is_file() and is_plain(path.name))


def quarantine(path: Path, folder: Path, code: str, reason: str) -> Path:
    """Set a file aside with the reason beside it; the first of two equal names keeps its own.

    Returns:
        Where the file lies now; `replay` takes it back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    aside = _free(folder / path.name, path)
    note = json.dumps({"name": path.name, "code": code, "reason": reason}, ensure_ascii=False)
    beside = aside.with_name(aside.name + _REASON)
    beside.unlink(missing_ok=True)  # left by a crash before the file followed its reason
    # The reason first: a file aside without one would be a riddle after a crash.
    place(note.encode(), beside)
    _move(path, aside)
    return aside


def _free(wanted: Path, path: Path) -> Path:
    """The wanted name or a numbered one; the file itself, half moved before a crash, is free."""
    taken = 0
    candidate = wanted
    while candidate.exists() and not candidate.samefile(path):
        taken += 1
        candidate = wanted.with_name(f"{wanted.name}.{taken}")
    return candidate


def replay(path: Path, inbox: Path) -> Path:
    """Take a file out of quarantine, under its first name, to be read again.

    Raises:
        NameTakenError: The inbox holds a file of that name.
        FileNotFoundError: The file has no reason beside it: it was not quarantined here.
    """
    note = path.with_name(path.name + _REASON)
    inbox.mkdir(parents=True, exist_ok=True)
    target = inbox / str(json.loads(note.read_text(encoding="utf-8"))["name"])
    if target.exists() and not target.samefile(path):
        raise NameTakenError(f"{target.name} exists in the inbox")
    _move(path, target)
    note.unlink()
    sync(path.parent)
    return target


def _move(path: Path, target: Path) -> None:
    """Link, then unlink: never over another file, and repeatable after a crash between the two."""
    if not (target.exists() and target.samefile(path)):
        os.link(path, target)
    path.unlink()
    sync(target.parent)
    sync(path.parent)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ParseError("file_too_large", f"more than {MAX_FILE_BYTES} bytes")
    return content


@dataclass(frozen=True, slots=True)
class DirectoryTransport:
    """Two folders that another program empties and fills, for example a bank's own client."""

    outbox: Path
    inbox: Path
    done: Path
    """Where files of the inbox go once they are kept here."""

    async def deliver(self, content: bytes, name: str) -> None:
        """Put a file into the outbox; raises as `place` does."""
        if not is_plain(name):
            raise ValueError("the name of a delivery is a plain file name")
        await asyncio.to_thread(place, content, self.outbox / name)

    async def find(self, content: bytes, name: str) -> bool | None:
        """True if the file lies in the outbox; else None: it may have been taken.

        Raises:
            NameTakenError: Another content is there under this name.
        """
        return await asyncio.to_thread(_is_there, content, self.outbox / name) or None

    async def collect(self) -> list[str]:
        """The names of the complete files in the inbox."""
        return [path.name for path in await asyncio.to_thread(collect, self.inbox)]

    async def fetch(self, name: str) -> bytes:
        """The content of a file in the inbox.

        Raises:
            ParseError: `file_too_large`: no bank sends such a file.
        """
        return await asyncio.to_thread(_read, self.inbox / name)

    async def finish(self, name: str) -> None:
        """Take a file out of the inbox, after it was kept."""
        await asyncio.to_thread(self._finish, self.inbox / name)

    def _finish(self, path: Path) -> None:
        self.done.mkdir(parents=True, exist_ok=True)
        _move(path, _free(self.done / path.name, path))
