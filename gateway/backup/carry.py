"""Carrying the database's log to the backup directory, so that any moment can be restored."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

from gateway.backup.take import LOG, SLOT, note
from gateway.backup.tools import BackupError, ask, client_tools, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def carry(
    url: str,
    out: Path,
    say: Callable[[str, str], None],
    *,
    once: bool,
    given: Path | None = None,
) -> None:
    """Copies the log as it is written, until stopped; or what there is now, once.

    The server keeps its log for us from the first call on, also while nobody carries it: see
    `end`, and the server's `max_slot_wal_keep_size`.

    Args:
        url: the database; its user needs the right REPLICATION.
        out: the backup directory; made if missing.
        say: told of each step, in Chinese and in English.
        once: end when everything committed before the call is there.
        given: PostgreSQL's programs, if not those that came along.

    Raises:
        BackupError: it could not be done, or the server broke off.
    """
    server = ask(url)
    tools = client_tools(server.major, given)
    log = out / LOG
    log.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = [f"--dbname={url}", f"--directory={log}", f"--slot={SLOT}", "--no-password"]
    tools.run("pg_receivewal", *options, "--create-slot", "--if-not-exists")
    if once:
        # It ends behind the position, so that something has to come after it.
        note(url, "log")
        until = f"--endpos={server.log_position}"
        tools.run("pg_receivewal", *options, "--no-loop", "--synchronous", until)
        say(f"日志已保存至 {server.log_position}", f"the log is kept up to {server.log_position}")
        return
    say(f"正在持续保存日志到 {log}，按 Ctrl-C 停止", f"carrying the log to {log}; Ctrl-C stops it")
    with subprocess.Popen(  # noqa: S603 - PostgreSQL's own, arguments of ours
        [tools.directory / "pg_receivewal", *options, "--synchronous"]
    ) as running:
        for stop in (signal.SIGINT, signal.SIGTERM):
            # It ends when what it has is on disk; then so do we.
            signal.signal(stop, lambda *_: running.send_signal(signal.SIGINT))
        status = running.wait()
    if status:
        raise BackupError("pg_receivewal ended", "pg_receivewal 已退出")


def end(url: str) -> bool:
    """Tells the server to keep its log for us no more; False if it did not.

    Raises:
        BackupError: the log is being carried at this moment, or the server cannot be reached.
    """
    known = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    return bool(rows(url, f"{known} WHERE slot_name = $1", SLOT))
