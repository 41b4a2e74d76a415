"""Restoring into a new data directory, to the end of what was kept or to a moment before it."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from gateway.audit.entry import Deed
from gateway.backup import manifest
from gateway.backup.manifest import digest_of
from gateway.backup.take import DATABASE, FILES, LOG, TAKEN_ALONG, backups, note
from gateway.backup.tools import BackupError, hand_over, is_root, own_tools, rows

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from datetime import datetime

    from gateway.backup.take import Backup
    from gateway.backup.tools import Tools

_POLL_S: Final = 0.2
_SEGMENT: Final = re.compile("[0-9A-F]{24}")
_TIMELINE: Final = 8
"""So many digits of a segment's name tell the timeline; those behind them rise with the log."""
_PARTIAL: Final = ".partial"
_OF_THE_RUN: Final = (".s.PGSQL.*", ".handle_pids.json")
"""What says that an embedded server runs in its directory, and who uses it."""
_LOG_LINES: Final = 200
_TRUST: Final = "local all all trust\n"
_TARGET_NOT_REACHED: Final = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be restored.

    Attributes:
        source: the backup directory.
        target: the new data directory; missing or empty.
        at: everything committed up to this moment, UTC; None for all that was kept.
        files: a data directory whose banks' folders, nights and anchor are taken instead of those
            of the backup: they are newer, and say more of what was paid.
        postgres_bin: PostgreSQL's programs, if not those that came along.
    """

    source: Path
    target: Path
    at: datetime | None = None
    files: Path | None = None
    postgres_bin: Path | None = None


def restore(wanted: Wanted, say: Callable[[str, str], None]) -> Backup:
    """Restores, and proves what was kept before it is used.

    Args:
        wanted: what, and where to.
        say: told of each step, in Chinese and in English.

    Returns:
        The backup it began with.

    Raises:
        BackupError: it could not be done. What was begun in the target is taken away again.
    """
    backup = _backup_for(wanted)
    tools = own_tools(backup.major, wanted.postgres_bin)
    if wanted.target.exists() and any(wanted.target.iterdir()):
        raise BackupError(f"{wanted.target} is not empty", f"{wanted.target} 不是空目录")
    say(f"正在校验备份 {backup.path.name}", f"verifying the backup {backup.path.name}")
    manifest.verify(backup.path / DATABASE)
    _verify_files(backup)
    wanted.target.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        say("正在复制", "copying")
        _copy(backup, wanted)
        say("正在重放日志", "replaying the log")
        _recover(backup, wanted, tools)
    except BaseException:
        for each in wanted.target.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        raise
    return backup


def _backup_for(wanted: Wanted) -> Backup:
    """The newest backup that ended before the moment."""
    found = backups(wanted.source)
    usable = [each for each in found if wanted.at is None or each.ended_at <= wanted.at]
    if not usable:
        when = f"; the oldest is of {found[0].ended_at:%Y-%m-%d %H:%M:%S} UTC" if found else ""
        raise BackupError(
            f"{wanted.source} has no whole backup for this{when}",
            f"{wanted.source} 中没有可用的完整备份",
        )
    return usable[-1]


def _verify_files(backup: Backup) -> None:
    for name, digest in backup.files.items():
        path = backup.path / FILES / name
        if not path.is_file() or digest_of(path) != digest:
            raise BackupError(f"{path} is not what was kept", f"{path} 与备份时不一致")


def _copy(backup: Backup, wanted: Wanted) -> None:
    source = wanted.files or backup.path / FILES
    for name in TAKEN_ALONG:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, wanted.target / name)
        elif path.exists():
            shutil.copy2(path, wanted.target / name)
    shutil.copytree(
        backup.path / DATABASE,
        wanted.target / DATABASE,
        symlinks=True,
        ignore=shutil.ignore_patterns(*_OF_THE_RUN),
    )


def _recover(backup: Backup, wanted: Wanted, tools: Tools) -> None:
    """Runs a server of our own over the copy, reachable by nobody else, until it is done."""
    data = wanted.target / DATABASE
    # A path of its own: a socket's path may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="xinyi-restore-") as name:
        work = Path(name)
        log = work / LOG
        _copy_log(wanted.source / LOG, log, _first_segment(data))
        (work / "pg_hba.conf").write_text(_TRUST)
        (data / "postgresql.conf").touch()  # some systems keep it elsewhere
        (data / "recovery.signal").touch()
        hand_over(data)
        hand_over(work)
        output = wanted.target / "restore.log"
        server = tools.start("postgres", *_settings(wanted, data, work, log), log=output)
        try:
            socket = quote(str(work), safe="")
            url = f"postgresql://{quote(backup.user)}@/{quote(backup.database)}?host={socket}"
            _until_open(server, url, output)
            note(url, f"backups/{backup.path.name}", Deed.RESTORED)
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
            server.wait()


def _copy_log(source: Path, target: Path, first: str) -> None:
    """The log from segment `first` on, where the server can read it.

    The segment that was still being written is whole enough: the rest of it is zeros.
    """
    target.mkdir()
    for path in source.glob("*"):
        name = path.name.removesuffix(_PARTIAL)
        superseded = path.name != name and (source / name).exists()
        wanted = _SEGMENT.fullmatch(name) and name[_TIMELINE:] >= first[_TIMELINE:]
        if not superseded and (wanted or name.endswith(".history")):
            if is_root():
                shutil.copy2(path, target / name)  # the server's user may not read the original
            else:
                (target / name).symlink_to(path.absolute())


def _first_segment(data: Path) -> str:
    """Where the log begins that the copy needs."""
    label = (data / "backup_label").read_text()
    found = re.search(r"START WAL LOCATION: .* \(file ([0-9A-F]{24})\)", label)
    if found is None:
        raise BackupError(f"{data} is no base backup", f"{data} 不是基础备份")
    return found[1]


def _settings(wanted: Wanted, data: Path, work: Path, log: Path) -> list[str]:
    """As arguments, so that nothing of it stays behind."""
    settings = {
        "restore_command": f'cp "{log}/%f" "%p"',
        "recovery_target_action": "promote",
        "recovery_target_timeline": "latest",
        "hot_standby": "off",  # it opens when it is done, not before
        "archive_mode": "off",
        "hba_file": str(work / "pg_hba.conf"),
        "listen_addresses": "",
        "unix_socket_directories": str(work),
        "ssl": "off",
        "shared_preload_libraries": "",
        "logging_collector": "off",
        "log_destination": "stderr",
        "lc_messages": "C",
    }
    if wanted.at is not None:
        settings["recovery_target_time"] = f"{wanted.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00}"
    pairs = [f"{name}={value}" for name, value in settings.items()]
    return ["-D", str(data), *(part for pair in pairs for part in ("-c", pair))]


def _until_open(server: subprocess.Popen[bytes], url: str, output: Path) -> None:
    while server.poll() is None:
        with suppress(BackupError):
            rows(url, "SELECT")
            return
        sleep(_POLL_S)
    said = output.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    fatal = [line for line in said if "FATAL" in line or "PANIC" in line]
    if any(_TARGET_NOT_REACHED in line for line in fatal):
        reached = [line for line in said if "last completed transaction" in line]
        raise BackupError(
            "what was kept of the log ends before that moment: run `xinyi backup log --once` "
            "where the database still runs, or restore to an earlier moment, or without --at",
            "保存的日志未到该时刻：若原数据库仍在运行，先执行 xinyi backup log --once，"
            "或恢复到更早的时刻，或不带 --at",
            *reached,
        )
    raise BackupError("the server did not come up", "数据库未能启动", *fatal)
