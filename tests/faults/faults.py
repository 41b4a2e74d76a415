"""The faults. Each waits for its moment, does its harm, and makes it good again."""

from __future__ import annotations

import asyncio
import errno
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.faults.proxy import Cuts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from tests.faults.stage import Fault, Stage

_AWAY_S: Final = 0.5
"""How long what is taken away is away at most."""
_STILL_S: Final = 6.0
"""How long what gives no sign gives none at most: longer than callers wait."""
_FAILS: Final = (
    ("posix/io/sync/fdatasync", errno.EIO, 0.02),
    ("posix/io/sync/fsync", errno.EIO, 0.02),
    ("posix/io/rw/pwrite", errno.ENOSPC, 0.002),
)
"""What a disk may refuse, and how often; the database's log goes by the first and the last."""


async def kill(stage: Stage, rng: Random) -> None:
    """The gateway dies without a word, once or twice."""
    for _ in range(rng.choice((1, 2))):
        await stage.moment(rng)
        stage.process.kill()
        await asyncio.to_thread(stage.process.start)


async def pause(stage: Stage, rng: Random) -> None:
    """The gateway stands still for so long that callers give it up, and goes on unaware."""
    await stage.moment(rng)
    stage.process.pause()
    await asyncio.sleep(_STILL_S * rng.random())
    stage.process.go_on()


async def database(stage: Stage, rng: Random) -> None:
    """The database ends: all of it, one process of it, or in order; the gateway lives on."""
    for _ in range(rng.choice((1, 2))):
        await stage.moment(rng)
        how = rng.choice(("kill", "kill", "kill one", "stop"))
        if how == "kill one":
            stage.cluster.kill_one(rng)
            continue
        await asyncio.to_thread(stage.cluster.kill if how == "kill" else stage.cluster.stop)
        await asyncio.sleep(rng.random() * _AWAY_S)
        await asyncio.to_thread(stage.cluster.start)


async def wire(stage: Stage, rng: Random) -> None:
    """Connections to the database break, most of them at a COMMIT, obeyed or not."""
    stage.wire.cuts = Cuts(rng, anywhere=0.003, at_commit=0.1)
    await stage.moment(rng)
    await stage.moment(rng)
    stage.wire.cuts = None


async def silence(stage: Stage, rng: Random) -> None:
    """What goes to the database vanishes without a sign; later the connections are gone."""
    await stage.moment(rng)
    stage.wire.silent = True
    await asyncio.sleep(_STILL_S * rng.random())
    stage.wire.silent = False
    stage.wire.hang_up()


async def line(stage: Stage, rng: Random) -> None:
    """Connections of callers break, before or after the gateway heard them."""
    stage.line.cuts = Cuts(rng, anywhere=0.1)
    await stage.moment(rng)
    await stage.moment(rng)
    stage.line.cuts = None


async def full(stage: Stage, rng: Random) -> None:
    """The database's disk has no room, for its tables, its log or both."""
    await stage.moment(rng)
    stage.database_disk.leave(rng.choice((0, 1 << 14, 1 << 16)))
    if rng.random() < 1 / 2:
        # From here on the database's log needs a new file.
        with suppress(asyncpg.PostgresError, OSError):
            await stage.rows("SELECT pg_switch_wal()")
    await asyncio.sleep(_AWAY_S + rng.random() * _AWAY_S)
    stage.database_disk.free()
    await asyncio.to_thread(stage.cluster.start)


async def failing(stage: Stage, rng: Random) -> None:
    """The database's disk refuses now and then to write, or to say that it has written."""
    await stage.moment(rng)
    point, number, share = rng.choice(_FAILS)
    await asyncio.to_thread(stage.cluster.stop)
    refusing = _refusing(f"enable_random name={point},probability={share},failinfo={number}")
    await asyncio.to_thread(stage.cluster.start_failing, refusing)
    await stage.moment(rng, longest_s=_AWAY_S * 4)
    await asyncio.to_thread(stage.cluster.kill)
    await asyncio.to_thread(stage.cluster.start)


async def folder(stage: Stage, rng: Random) -> None:
    """There is no room for the bank's files."""
    await stage.moment(rng)
    stage.bank_disk.leave(0)
    await stage.moment(rng)
    stage.bank_disk.free()


FAULTS: Final[Mapping[str, Fault]] = {
    each.__name__: each
    for each in (kill, pause, database, wire, silence, line, full, failing, folder)
}


def missing(name: str, stage: Stage) -> str:
    """What the machine lacks for a fault; empty if nothing."""
    if name in {"full", "folder"} and not stage.database_disk.mounted:
        return "a disk that becomes full needs the right to mount one (run as root)"
    if name == "failing" and shutil.which("fiu-run") is None:
        return "a disk that fails needs libfiu: apt-get install fiu-utils"
    return ""


def _refusing(command: str) -> dict[str, str]:
    """The environment in which a process finds that the disk refuses."""
    script = ("fiu-run", "-x", "-c", command, "sh", "-c", 'echo "$LD_PRELOAD"')
    said = subprocess.run(script, check=True, capture_output=True, text=True)  # noqa: S603 - our own arguments
    return {"LD_PRELOAD": said.stdout.strip(), "FIU_ENABLE": command}
