"""`xinyi backup`: copies of the whole gateway, and of every step of its database after them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.database import existing_database
from gateway.cli.frame import OPERATOR, Complaint, group, offline
from gateway.cli.screen import Screen, write_data
from gateway.settings import Settings

app = group("Backups: the database, the banks' folders, the nights 备份.")

PostgresBin = Annotated[
    Path | None,
    typer.Option(
        "--postgres-bin",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="PostgreSQL's programs, where the server's release needs others than came along.",
    ),
]
_Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The backup directory; required.")
]


@offline(app, None, OPERATOR)
def _backup(
    screen: Screen, context: typer.Context, out: _Out = None, postgres_bin: PostgresBin = None
) -> None:
    """Take a whole backup while the gateway goes on: DIR/<time>, every file proved.

    For restoring to any later moment the database's log is needed too: `xinyi backup log`.
    """
    if context.invoked_subcommand is not None:
        return
    from gateway.backup.take import take  # noqa: PLC0415 - only here the database is loaded

    settings, target = Settings(), required(out, "out")
    with complaints():
        url = existing_database(settings)
        backup = take(url, settings.data_dir, target, screen.say, postgres_bin)
    if screen.as_json:
        told = {"path": str(backup.path), "ended_at": backup.ended_at.isoformat()}
        write_data({**told, "files": len(backup.files)})
    else:
        screen.line(str(backup.path))


@offline(app, "log", OPERATOR)
def _log(
    screen: Screen,
    out: _Out = None,
    once: Annotated[bool, typer.Option("--once", help="Carry what there is now, and end.")] = False,
    postgres_bin: PostgresBin = None,
) -> None:
    """Carry the database's log to DIR/wal without end, so that any moment can be restored.

    From the first call on the server keeps its log until it is carried: start this before the first
    backup and let it run; `xinyi backup end` where it is wanted no more.
    """
    from gateway.backup.carry import carry  # noqa: PLC0415 - as above

    target = required(out, "out")
    with complaints():
        url = existing_database(Settings())
        carry(url, target, screen.say, once=once, given=postgres_bin)


@offline(app, "end", OPERATOR)
def _end(screen: Screen) -> None:
    """Let the server forget its log again: nobody carries it to a backup any more."""
    from gateway.backup.carry import end  # noqa: PLC0415 - as above

    with complaints():
        ended = end(existing_database(Settings()))
    if ended:
        screen.say("服务器不再为备份保留日志", "the server keeps its log for no backup any more")
    else:
        screen.say("服务器本来就未为备份保留日志", "the server kept no log for a backup")


def required(path: Path | None, name: str) -> Path:
    """An option that the command cannot do without.

    Raises:
        typer.BadParameter: it is missing.
    """
    if path is None:
        raise typer.BadParameter(f"--{name} is required / 缺少 --{name}")
    return path


@contextmanager
def complaints() -> Iterator[None]:
    """What could not be done, as a person reads it."""
    from gateway.backup.tools import BackupError  # noqa: PLC0415 - as above

    try:
        yield
    except BackupError as error:
        raise Complaint(str(error), error.zh, *error.details) from None
