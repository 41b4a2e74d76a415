"""Proves a base backup by the manifest that PostgreSQL wrote with it.

What `pg_verifybackup` does. Not called, because that of PostgreSQL 18 in the wheel that comes along
dies at its start. Whether the log suffices is proved by replaying it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from gateway.backup.tools import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MANIFEST: Final = "backup_manifest"
_LAST_LINE: Final = b'"Manifest-Checksum"'
_UNLISTED: Final = ("pg_wal/", "postgresql.auto.conf", _MANIFEST)
"""What the manifest leaves out, or a server may write before it starts."""


def verify(base: Path) -> None:
    """Compares every file with the manifest: there, of its size, of its SHA-256, and no other.

    Raises:
        BackupError: with what is wrong, file by file.
    """
    wrong = list(_faults(base))
    if wrong:
        raise BackupError(f"{base} is not as it was taken", f"{base} 与备份时不一致", *wrong[:10])


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _faults(base: Path) -> Iterator[str]:
    listed = _listed(base / _MANIFEST)
    if listed is None:
        yield f"{_MANIFEST} is missing or changed"
        return
    for name, entry in listed.items():
        path = base / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != entry["Size"] or digest_of(path) != entry["Checksum"]:
            yield f"{name} is changed"
    for path in base.rglob("*"):
        name = path.relative_to(base).as_posix()
        if path.is_file() and name not in listed and not name.startswith(_UNLISTED):
            yield f"{name} was added"


def _listed(path: Path) -> dict[str, dict[str, Any]] | None:
    """The files by name; None where the manifest's own checksum does not hold."""
    try:
        content = path.read_bytes()
        said = json.loads(content)
        covered = content[: content.rindex(_LAST_LINE)]
        if hashlib.sha256(covered).hexdigest() != said["Manifest-Checksum"]:
            return None
        return {_name(entry): entry for entry in said["Files"]}
    except (OSError, ValueError, KeyError):
        return None


def _name(entry: dict[str, Any]) -> str:
    encoded = entry.get("Encoded-Path")
    return bytes.fromhex(encoded).decode(errors="surrogateescape") if encoded else entry["Path"]
