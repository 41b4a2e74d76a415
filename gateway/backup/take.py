"""Taking a backup: the database by pg_basebackup, then the gateway's own files."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.audit.anchor import FILE_NAME as ANCHOR
from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.backup import manifest
from gateway.backup.manifest import digest_of
from gateway.backup.tools import BackupError, ask, client_tools
from gateway.store import GATEWAY, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

from gateway.backup.tools import Tools

TAKEN_ALONG: Final = ("banks", "nights", ANCHOR)
"""Of the data directory. Keys of persons and of the server are not: they belong elsewhere."""

DATABASE: Final = "postgres"
FILES: Final = "files"
LOG: Final = "wal"
MANIFEST: Final = "backup.json"
SLOT: Final = "xinyi_backup"
"""The server keeps its log from where this slot's reader is: nothing is missing in the copy."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole backup.

    Attributes:
        path: its directory.
        begun_at: UTC.
        ended_at: UTC; a moment from here on can be restored from it.
        major: the server's release.
        user: who took it.
        database: whose.
        files: path beneath `files` to SHA-256, hexadecimal.
    """

    path: Path
    begun_at: datetime
    ended_at: datetime
    major: int
    user: str
    database: str
    files: dict[str, str]


def take(
    url: str, data_dir: Path, out: Path, say: Callable[[str, str], None], given: Path | None = None
) -> Backup:
    """Takes a whole backup; the gateway goes on meanwhile.

    Args:
        url: the database; its user needs the right REPLICATION.
        data_dir: the gateway's data directory.
        out: the backup directory; made if missing.
        say: told of each step, in Chinese and in English.
        given: PostgreSQL's programs, if not those that came along.

    Raises:
        BackupError: it could not be taken; nothing that looks whole is left.
    """
    server = ask(url)
    tools = client_tools(server.major, given)
    begun_at = datetime.now(UTC)
    name = f"{begun_at:%Y%m%dT%H%M%SZ}"
    part, whole = out / f".{name}.part", out / name
    if part.exists() or whole.exists():
        raise BackupError(f"{whole} is there already", f"{whole} 已存在")
    part.mkdir(parents=True, mode=0o700)
    try:
        say("正在复制数据库 (pg_basebackup)", "copying the database (pg_basebackup)")
        _copy_database(tools, url, part / DATABASE)
        say(
            "正在复制银行目录、对账存档和锚点", "copying the banks' folders, the nights, the anchor"
        )
        files = _copy_files(data_dir, part / FILES)
        say("正在校验", "verifying")
        manifest.verify(part / DATABASE)
        ended_at = datetime.now(UTC)
        backup = Backup(
            whole, begun_at, ended_at, server.major, server.user, server.database, files
        )
        (part / MANIFEST).write_text(_manifest(backup))
        part.rename(whole)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    note(url, f"backups/{name}")
    return backup


def note(url: str, name: str, deed: Deed = Deed.BACKED_UP) -> None:
    """Leaves an entry in the audit log; it also moves the database's log on by a little."""

    async def noted() -> None:
        store = open_store(url, pool_size=1)
        try:
            async with store.transaction(GATEWAY) as conn:
                await append(conn, [by_gateway(deed, datetime.now(UTC), name)])
        finally:
            await store.close()

    asyncio.run(noted())


def backups(out: Path) -> list[Backup]:
    """The whole backups in a directory, oldest first.

    Raises:
        BackupError: one cannot be read.
    """
    return sorted(map(_read, out.glob(f"*/{MANIFEST}")), key=lambda each: each.ended_at)


def _copy_database(tools: Tools, url: str, target: Path) -> None:
    tools.run(
        "pg_basebackup",
        f"--dbname={url}",
        f"--pgdata={target}",
        "--format=plain",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--manifest-checksums=SHA256",
        "--no-password",
    )


def _copy_files(data_dir: Path, target: Path) -> dict[str, str]:
    """Copies what is there; a file that is moved meanwhile may be there twice."""
    target.mkdir()
    for name in TAKEN_ALONG:
        source = data_dir / name
        if source.is_dir():
            _copy_tree(source, target / name)
        elif source.exists():
            shutil.copy2(source, target / name)
    return {
        path.relative_to(target).as_posix(): digest_of(path)
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }


def _copy_tree(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.key"))
    except shutil.Error as error:
        gone = [why for _, _, why in error.args[0] if "No such file" not in why]
        if gone:  # anything but what was moved away meanwhile
            raise BackupError(f"{source} cannot be copied", f"{source} 无法复制", *gone) from None


def _manifest(backup: Backup) -> str:
    told = {**asdict(backup), "format": _FORMAT, "path": backup.path.name}
    return json.dumps(told, ensure_ascii=False, indent=2, default=datetime.isoformat) + "\n"


def _read(path: Path) -> Backup:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        known = said.pop("format") == _FORMAT
        moments = {name: datetime.fromisoformat(said[name]) for name in ("begun_at", "ended_at")}
        backup = Backup(**{**said, **moments, "path": path.parent})
    except (ValueError, KeyError, TypeError) as wrong:
        raise BackupError(f"{path} cannot be read: {wrong}", f"{path} 无法读取") from None
    if not known:
        raise BackupError(f"{path} is of another release", f"{path} 属于其他版本")
    return backup
