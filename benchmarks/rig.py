"""What the loads of several benchmarks share: the generator's process, counts, processor time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import grpc

from benchmarks.load import write_bodies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.world import Server, World

OPEN: Final = 64
"""Calls open at a time."""
_REST_S: Final = 300
_AT_REST: Final = 0.1
"""Processor seconds a second, of a server that nobody calls and of its database."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Rig:
    """A world, and ways to load its servers and to look into its database."""

    world: World

    # --- loads --------------------------------------------------------------------------------

    def load(
        self, server: Server, path: str, bodies: Sequence[bytes], party: str, opened: int = OPEN
    ) -> dict[str, float]:
        """Runs the load generator; what it found, and processor time a call in µs."""
        server_before, database_before = cpu_s(server.process.pid), self.database_cpu_s()
        command = self._command(server, path, bodies, party, opened, "bodies")
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own
        found: dict[str, float] = json.loads(said.stdout)
        calls = found["calls"] / 1e6
        found["server_us"] = (cpu_s(server.process.pid) - server_before) / calls
        found["database_us"] = (self.database_cpu_s() - database_before) / calls
        return found

    @contextmanager
    def beside(
        self, server: Server, path: str, bodies: Sequence[bytes], party: str, opened: int
    ) -> Iterator[None]:
        """The same load while the block runs; it fails if there was not enough of it."""
        command = self._command(server, path, bodies, party, opened, "bodies-beside")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - as above
        try:
            yield
            if process.poll() is not None:
                raise SystemExit(f"the load beside ended before: {process.returncode}")
        finally:
            process.terminate()
            process.wait()

    def rested(self, server: Server) -> None:
        """Waits until a server has made up for what it missed, such as the night of the day before.

        Raises:
            SystemExit: if it does not come to rest.
        """
        for _ in range(_REST_S):
            before = cpu_s(server.process.pid) + self.database_cpu_s()
            time.sleep(1)
            if cpu_s(server.process.pid) + self.database_cpu_s() - before < _AT_REST:
                return
        raise SystemExit("the server does not come to rest")

    def _command(
        self,
        server: Server,
        path: str,
        bodies: Sequence[bytes],
        party: str,
        opened: int,
        name: str,
    ) -> list[str]:
        folder = self.world.folder
        write_bodies(folder / name, bodies)
        return [
            *(sys.executable, "-m", "benchmarks.load"),
            *("--port", str(server.port), "--path", path, "--bodies", str(folder / name)),
            *("--ca", str(folder / "ca.pem"), "--open", str(opened)),
            *("--connections", str(min(4, opened))),
            *("--certificate", str(folder / f"{party}.pem"), "--key", str(folder / f"{party}.key")),
        ]

    def channel(self, port: int, party: str) -> grpc.aio.Channel:
        """A connection as this party's person."""
        folder = self.world.folder
        credentials = grpc.ssl_channel_credentials(
            (folder / "ca.pem").read_bytes(),
            (folder / f"{party}.key").read_bytes(),
            (folder / f"{party}.pem").read_bytes(),
        )
        # A connection of its own, also where another one leads to the same place.
        own = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.aio.secure_channel(f"localhost:{port}", credentials, options=own)

    # --- looks inside -------------------------------------------------------------------------

    async def fetch(self, query: str, *arguments: object) -> Sequence[asyncpg.Record]:
        """Rows of the database, whoever's they are."""
        conn = await asyncpg.connect(self.world.url)
        try:
            return await conn.fetch(query, *arguments)
        finally:
            await conn.close()

    def one(self, query: str, *arguments: object) -> Any:  # noqa: ANN401 - the database's
        """The first column of the first row."""
        return asyncio.run(self.fetch(query, *arguments))[0][0]

    def database_cpu_s(self) -> float:
        """Of the postmaster and all it has started, those that have ended too."""
        master = int((self.world.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        total = cpu_s(master, ended=True)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == master:
                total += cpu_s(int(entry.name))
        return total


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def cpu_s(pid: int, *, ended: bool = False) -> float:
    """Processor time of a process, and of its children that have ended if asked for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / _TICKS


def resident_mb(pid: int) -> float:
    """Memory that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
