"""One run, from its beginning on record to its end on record, through any end of a process.

It reads everything as of one moment into an archive, works on it shard by shard, and writes each
shard in one transaction. Wherever it is killed, the next runner goes on from what is on disk and in
the database; what the dead one might still write is refused.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.clock import bank_date
from gateway.domain.errors import Reason, invalid
from gateway.ids import new_nonce
from gateway.night import record, snapshot, writing
from gateway.night.outcome import decide
from gateway.night.proofs import Account
from gateway.night.record import Lease, load_run
from gateway.store import GATEWAY
from reconciliation.archive import Archive, ArchiveError, libraries, result_digest
from reconciliation.engines import engine_named
from reconciliation.rules import Rules
from reconciliation.shards import ROWS_A_SHARD, crossings, unpacked, work_through

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
    from datetime import date
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.night.record import Run
    from gateway.store import Row, Store
    from reconciliation.archive import Manifest
    from reconciliation.engines import EngineName
    from reconciliation.shards import Files, Job

_WRITERS: Final = 2
"""Shards that are written at a time: the database works on one while another is made ready."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A run in hand: its lease, its archive, and its manifest once the input is read."""

    lease: Lease
    archive: Archive
    demoted: tuple[str, ...]
    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class Nights:
    """Runs the night.

    Attributes:
        store: the database; runs work in the gateway's own scope.
        clock: tells when a run began and ended.
        directory: one folder a run, what it was given and what came of it.
        rules: what the kernel holds to.
        engine: where shards are worked on.
        ray_address: of the Ray cluster, if that is the engine.
        rows_a_shard: open rows that a shard may have.
    """

    store: Store
    clock: Clock
    directory: Path
    rules: Rules = field(default_factory=Rules)
    engine: EngineName = "local"
    ray_address: str = ""
    rows_a_shard: int = ROWS_A_SHARD

    async def run(self, day: date, run_id: str) -> Run:
        """Reconciles all funds up to the end of `day`, and answers when it is done.

        A run again adds nothing where nothing is new: matches stay, cases found again are the same.
        One that a dead process left unfinished is finished first if it is of this day, and is then
        the answer. A run that breaks off is FAILED; shards that it had written stay.

        Args:
            day: entries booked and lines that count later are left alone.
            run_id: new, last segment of the run's resource name.

        Raises:
            GatewayError: RUN_IN_PROGRESS; FIELD_INVALID for a day that has not come yet, or before
                one that is reconciled.
            EngineError: the engine cannot be used, or its workers died again and again.
        """
        if day > bank_date(self.clock()):
            raise invalid(Reason.FIELD_INVALID, "date", "has not come yet")
        async with record.only_runner(self.store):
            begun = await self._begin(day, run_id)
            try:
                await self._work(begun, day)
            except BaseException:
                # Also when the caller hangs up: its cancellation must not leave the run RUNNING.
                await asyncio.shield(self._fail(begun.lease))
                raise
            async with self.store.transaction(GATEWAY) as conn:
                return await load_run(conn, begun.lease.run_id)

    async def demoted(self, conn: AsyncConnection) -> tuple[str, ...]:
        """Rules that are not automatic now, because persons took back too many of their matches."""
        return await record.demoted(conn, self.rules)

    # --- beginning ------------------------------------------------------------------------------

    async def _begin(self, day: date, run_id: str) -> _Begun:
        owner = new_nonce()
        async with self.store.transaction(GATEWAY) as conn:
            dead = await record.unfinished(conn)
            manifest = None if dead is None else await self._kept(dead, day)
            if dead is not None and manifest is not None:
                lease = Lease(dead.run_id, owner)
                await record.take_over(conn, lease)
                await self._audit(conn, Deed.NIGHT_BEGUN, lease)
                log.info("night_resumed", run=lease.run_id)
                return _Begun(lease, self._archive(lease), manifest.demoted, manifest)
            lease = Lease(run_id, owner)
            demoted = await self.demoted(conn)
            now = self.clock()
            await record.begin(
                conn,
                lease,
                day=day,
                rules_version=self.rules.label(),
                engine=self.engine,
                demoted=demoted,
                now=now,
            )
            await self._audit(conn, Deed.NIGHT_BEGUN, lease)
        if demoted:
            log.warning("rules_demoted", run=run_id, rules=demoted)
        return _Begun(lease, self._archive(lease), demoted, None)

    def _archive(self, lease: Lease) -> Archive:
        return Archive(self.directory / lease.run_id)

    async def _kept(self, dead: Row, day: date) -> Manifest | None:
        """The input of a run that was left behind, if one can go on with it."""
        archive = Archive(self.directory / dead.run_id)

        def checked() -> Manifest:
            manifest = archive.manifest()
            archive.check(manifest)
            return manifest

        try:
            manifest = await asyncio.to_thread(checked)
        except ArchiveError as error:
            log.info("night_not_resumed", run=dead.run_id, why=str(error))
            return None
        same = dead.date == day == manifest.as_of and manifest.libraries == libraries()
        return manifest if same else None

    # --- work -----------------------------------------------------------------------------------

    async def _work(self, begun: _Begun, day: date) -> None:
        manifest = begun.manifest
        if manifest is None:
            manifest = await asyncio.to_thread(self._keep, begun, day)
        async with self.store.transaction(GATEWAY) as conn:
            await record.plan(conn, begun.lease, manifest)
            written = await record.written_shards(conn, begun.lease)
        todo = [number for number in range(len(manifest.shards)) if number not in written]
        async with aclosing(self._solved(begun, manifest, todo)) as solved:
            await self._write_all(begun, manifest, solved)
        async with self.store.transaction(GATEWAY) as conn:
            await record.finish(conn, begun.lease, self.clock())
            await self._audit(conn, Deed.NIGHT_ENDED, begun.lease)

    async def _audit(self, conn: AsyncConnection, deed: Deed, lease: Lease) -> None:
        await append(conn, [by_gateway(deed, self.clock(), f"reconciliationRuns/{lease.run_id}")])

    def _keep(self, begun: _Begun, day: date) -> Manifest:
        return snapshot.keep(
            self.store,
            begun.archive,
            day=day,
            rules=self.rules,
            demoted=begun.demoted,
            moment=self.clock(),
            rows_a_shard=self.rows_a_shard,
        )

    async def _solved(
        self, begun: _Begun, manifest: Manifest, todo: Sequence[int]
    ) -> AsyncGenerator[tuple[int, Files], None]:
        """What the kernel makes of each shard; what is on disk already is not worked on again."""
        left = []
        for number in todo:
            made = await asyncio.to_thread(_result, begun.archive, number)
            if made is None:
                left.append(number)
            else:
                yield number, made
        solving = self._solve(begun, manifest, left)
        try:
            # Seconds of arithmetic: in a thread, so that other calls are answered meanwhile.
            while (solved := await asyncio.to_thread(next, solving, None)) is not None:
                yield solved
        finally:
            with suppress(ValueError):  # it is still at work, and ends with it
                await asyncio.to_thread(solving.close)

    def _solve(
        self, begun: _Begun, manifest: Manifest, todo: Sequence[int]
    ) -> Generator[tuple[int, Files], None, None]:
        if not todo:
            return
        engine = engine_named(self.engine, self.ray_address)

        def load(number: int) -> Job:
            return begun.archive.job(manifest, number)

        _, crossed = crossings(load, len(manifest.shards), engine)
        for number, made in work_through(load, todo, crossed, engine):
            begun.archive.write_result(number, made)
            yield number, made

    async def _write_all(
        self, begun: _Begun, manifest: Manifest, solved: AsyncIterator[tuple[int, Files]]
    ) -> None:
        """Writes shards side by side: no fund is in two of them, so neither waits for the other."""
        turn = asyncio.Lock()

        async def writer() -> None:
            while True:
                async with turn:
                    each = await anext(solved, None)
                if each is None:
                    return
                await self._write(begun, manifest, *each)

        try:
            async with asyncio.TaskGroup() as writers:
                for _ in range(_WRITERS):
                    writers.create_task(writer())
        except ExceptionGroup as failed:
            # Whoever asked for the run is told why it broke off, not that writers did.
            raise failed.exceptions[0] from None

    async def _write(self, begun: _Begun, manifest: Manifest, number: int, made: Files) -> None:
        def prepared() -> writing.Shard:
            given = {
                name: unpacked(begun.archive.read(manifest, number, name))
                for name in ("bank", "ledger", "accounts")
            }
            accounts = [Account(**row) for row in given["accounts"].iter_rows(named=True)]
            outcome = decide(given, made)
            return writing.Shard(
                begun.lease, number, manifest, accounts, outcome, result_digest(made)
            )

        shard = await asyncio.to_thread(prepared)
        async with self.store.transaction(GATEWAY) as conn:
            await writing.write(conn, shard, self.clock())
        done = f"{number + 1}/{len(manifest.shards)}"
        log.info("night_shard_written", run=begun.lease.run_id, shard=done)

    async def _fail(self, lease: Lease) -> None:
        async with self.store.transaction(GATEWAY) as conn:
            await record.fail(conn, lease, self.clock())
            await self._audit(conn, Deed.NIGHT_BROKEN, lease)


def _result(archive: Archive, number: int) -> Files | None:
    """What a shard gave before this process; as good as nothing if it is not whole."""
    try:
        return archive.result(number)
    except ArchiveError:
        return None
