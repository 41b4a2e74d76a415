"""Keeps the logs: takes what was disclosed, signs the trees, and puts their files in public.

It reads lines in the order of their transactions, below the oldest one still open, so that none is
missed and none is taken twice; entries, tree, checkpoint and position commit together. Files are
made from the database afterwards, whatever was there when a process ended. What is public is also
what is believed: a database that does not go on from the checkpoint in public is not signed for.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx
import sqlalchemy as sa
import structlog

from gateway.disclosure import log, public
from gateway.disclosure.certificates import log_entry, note_logged, unlogged
from gateway.disclosure.entry import line_entry
from gateway.disclosure.lines import shown
from gateway.disclosure.scrub import scrub
from gateway.disclosure.verify_page import verify_page
from gateway.disclosure.witnesses import ForkedError, WitnessAt, ask, keep, last_cosigned
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.store import GATEWAY, finished
from gateway.store import tables as t
from gateway.transparency.checkpoint import Checkpoint, parse_checkpoint
from gateway.transparency.note import NoteError, open_note, parse_key, parse_note
from gateway.transparency.tiles import WIDTH, tiles_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.disclosure.keys import LogKeys
    from gateway.store import Row, Store
    from gateway.transparency.sm2 import Sm2Signer

LINES_AT_ONCE: Final = 1024
"""Of one transaction: what the driver reads and writes of them at a stretch, calls wait for."""

_LINES_AT_A_STRETCH: Final = 16
"""Between two looks whether a call waits: less than a millisecond's work."""

_ENTRIES_AT_ONCE: Final = 8 * WIDTH

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Standing:
    """What is known of the logs while the process runs.

    Attributes:
        trouble: why nothing may be served or paid; None while nothing is wrong. It stays until the
            process begins anew: what was tampered with is not believed because it was put back.
        scrubbed: how far each log was looked through.
        publishing: held while files are written, so that no older checkpoint follows a newer one.
    """

    trouble: GatewayError | None = None
    scrubbed: dict[str, int] = field(default_factory=dict)
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Keeps every log of the gateway.

    Attributes:
        store: the database.
        clock: the present moment.
        keys: by which logs are signed.
        directory: what is public, one folder a log.
        witnesses: who is asked to cosign.
        standing: whether what it publishes may be believed.
    """

    store: Store
    clock: Clock
    keys: LogKeys
    directory: Path
    witnesses: tuple[WitnessAt, ...] = ()
    standing: Standing = field(default_factory=Standing)

    @property
    def witness_keys(self) -> Mapping[str, str]:
        """The key of each witness as it is written, by name."""
        return {witness.key.name: str(witness.key) for witness in self.witnesses}

    async def log_all(self) -> int:
        """Logs what has been disclosed since, and publishes it; returns how many entries came.

        Raises:
            GatewayError: LOG_BROKEN if the database does not go on from what is public.
        """
        taken = 0
        while True:
            with self._noting():
                seen = public.read_checkpoints(self.directory)
                async with self.store.transaction(GATEWAY) as conn:
                    await _require_published(conn, seen)
                    lines, certificates = await self._take(conn)
            taken += lines + certificates
            if max(lines, certificates) < LINES_AT_ONCE:
                break
        with self._noting():
            await self.publish_all()
        return taken

    async def look(self) -> None:
        """Compares the logs with what is public, as at the start; trouble is noted, not raised."""
        with suppress(GatewayError), self._noting():
            # Before the database is: another process may publish meanwhile.
            seen = public.read_checkpoints(self.directory)
            async with self.store.snapshot(GATEWAY) as conn:
                await _require_published(conn, seen)

    async def scrub(self) -> int:
        """Looks through a few lines of each log, going on from where it was; returns 0.

        Raises:
            GatewayError: LOG_BROKEN if the book is not the one in the log.
        """
        with self._noting():
            async with self.store.snapshot(GATEWAY) as conn:
                for row in await log.all_logs(conn):
                    start = self.standing.scrubbed.get(row.log_id, 0)
                    self.standing.scrubbed[row.log_id], why = await scrub(conn, row, start)
                    if why:
                        raise broken(row.log_id, why)
        return 0

    def require_whole(self) -> None:
        """Passes unless something published has been contradicted.

        Raises:
            GatewayError: LOG_BROKEN.
        """
        if self.standing.trouble is not None:
            raise self.standing.trouble

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Remembers that a log is broken, whoever finds it out."""
        self.require_whole()
        try:
            yield
        except GatewayError as error:
            if error.reason is Reason.LOG_BROKEN:
                self.standing.trouble = error
                logger.critical("log_broken", why=error.message)
            raise

    async def publish_all(self) -> None:
        """Brings the public files of every log up to its last checkpoint."""
        async with self.standing.publishing:
            await asyncio.to_thread(public.write_page, self.directory, verify_page())
            seen = public.read_checkpoints(self.directory)
            async with self.store.snapshot(GATEWAY) as conn:
                for row in await log.all_logs(conn):
                    await self._publish(conn, row, published(seen, row))

    # --- taking ---------------------------------------------------------------------------------

    async def _take(self, conn: AsyncConnection) -> tuple[int, int]:
        """How many lines came, and how many certificates."""
        position = (await conn.execute(sa.select(t.log_position).with_for_update())).one()
        certificates = await unlogged(conn, LINES_AT_ONCE)
        lines = (await conn.execute(_lines_behind(position))).all()
        entries = [*await _entries(lines), *map(log_entry, certificates)]
        by_trustee: dict[str, list[log.Entry]] = defaultdict(list)
        for row, entry in zip((*lines, *certificates), entries, strict=True):
            by_trustee[row.trustee_id].append(entry)
        for trustee_id in sorted(by_trustee):
            await self._append(conn, trustee_id, by_trustee[trustee_id])
        if lines:
            await self._move_on(conn, lines[-1])
        await note_logged(conn, certificates)
        return len(lines), len(certificates)

    async def _move_on(self, conn: AsyncConnection, last: Row) -> None:
        await conn.execute(
            t.log_position.update().values(
                transaction_id=last.transaction_id,
                fund_id=last.fund_id,
                line_number=last.line_number,
            )
        )

    async def _append(
        self, conn: AsyncConnection, log_id: str, entries: Sequence[log.Entry]
    ) -> None:
        signer = self.keys.signer(log_id)
        row = await log.begin(conn, log_id, signer.name, str(signer.key), self.clock())
        if (row.origin, row.key) != (signer.name, str(signer.key)):
            raise broken(log_id, "it was begun with another key than the one at hand")
        sm2 = await self._sm2_signers(conn, row)
        await log.append(conn, row, entries, (signer, *sm2), self.clock())

    async def _sm2_signers(self, conn: AsyncConnection, row: Row) -> tuple[Sm2Signer, ...]:
        """The signer of the line beside; none where it is not asked for."""
        signer = self.keys.sm2_signer(row.log_id)
        if signer is None:
            return ()
        key = str(signer.key)
        if row.sm2_key not in {"", key}:
            raise broken(row.log_id, "it was signed with another SM2 key than the one at hand")
        if not row.sm2_key:
            await log.begin_sm2(conn, row, key)
        return (signer,)

    # --- publishing -----------------------------------------------------------------------------

    async def _publish(self, conn: AsyncConnection, row: Row, there: Checkpoint | None) -> None:
        directory = self.directory / row.log_id
        size = 0 if there is None else there.size
        note = await log.signed(conn, row.log_id)
        if row.size != size:
            await self._write_new(conn, row, directory, size)
        await asyncio.to_thread(public.write_checkpoint, directory, note)

    async def _write_new(
        self, conn: AsyncConnection, row: Row, directory: Path, old_size: int
    ) -> None:
        tiles = await log.tiles(conn, row.log_id, tiles_of(row.size, old_size))
        await asyncio.to_thread(public.write_tiles, directory, tiles)
        first = old_size // WIDTH * WIDTH
        for start in range(first, row.size, _ENTRIES_AT_ONCE):
            end = min(start + _ENTRIES_AT_ONCE, row.size)
            entries = await log.entries(conn, row.log_id, start, end)
            await asyncio.to_thread(public.write_bundles, directory, start, entries)

    # --- witnesses ------------------------------------------------------------------------------

    async def ask_witnesses(self) -> int:
        """Shows each log to each witness that has not cosigned its last tree; returns how often.

        A witness that cannot be reached is asked again the next time, and holds up nobody.

        Raises:
            GatewayError: LOG_BROKEN if a witness has seen what the database has not.
        """
        if not self.witnesses:
            return 0
        asked = 0
        with self._noting():
            async with httpx.AsyncClient() as client, self.store.snapshot(GATEWAY) as conn:
                for row in await log.all_logs(conn):
                    for witness in self.witnesses:
                        asked += await self._ask(conn, client, row, witness)
        if asked:
            await self.publish_all()
        return asked

    async def _ask(
        self, conn: AsyncConnection, client: httpx.AsyncClient, row: Row, witness: WitnessAt
    ) -> int:
        if await last_cosigned(conn, row.log_id, witness) >= row.size:
            return 0
        try:
            line = await ask(conn, client, row, witness)
        except ForkedError as error:
            raise broken(row.log_id, str(error)) from None
        except (httpx.HTTPError, NoteError) as error:
            logger.warning("witness_silent", witness=witness.key.name, cause=type(error).__name__)
            return 0
        async with self.store.transaction(GATEWAY) as writing:
            await keep(writing, row, witness, line)
        return 1


# --- believing ----------------------------------------------------------------------------------


async def _require_published(conn: AsyncConnection, seen: Mapping[str, str]) -> None:
    for row in await log.all_logs(conn):
        there = published(seen, row)
        if there is not None:
            await require_goes_on(conn, row, there)


async def require_goes_on(conn: AsyncConnection, row: Row, seen: Checkpoint) -> None:
    """Passes only if the log in the database begins with the tree that somebody has seen.

    Raises:
        GatewayError: LOG_BROKEN.
    """
    if seen.size > row.size:
        raise broken(row.log_id, f"{seen.size} entries were published, the database has {row.size}")
    if seen.size and await log.root_of(conn, row.log_id, seen.size) != seen.root:
        raise broken(row.log_id, f"its first {seen.size} entries are not those published")


def published(seen: Mapping[str, str], row: Row) -> Checkpoint | None:
    """A log's checkpoint among those in public, None before its first.

    Raises:
        GatewayError: LOG_BROKEN if it is not by the log's own key.
    """
    if row.log_id not in seen:
        return None
    try:
        note = parse_note(seen[row.log_id])
        open_note(note, [parse_key(row.key)])
        return parse_checkpoint(note.text)
    except NoteError as error:
        raise broken(row.log_id, f"its public checkpoint is not its own: {error}") from None


def broken(log_id: str, why: str) -> GatewayError:
    """The error of a log that must not be gone on with."""
    return GatewayError(
        Kind.UNAVAILABLE,
        Reason.LOG_BROKEN,
        f"the log of {log_id} is broken: {why}",
        {"log": log_id},
    )


def _lines_behind(position: Row) -> sa.Select[*tuple[object, ...]]:
    lines = t.disclosed_lines
    order = (lines.c.transaction_id, lines.c.fund_id, lines.c.line_number)
    last = (position.transaction_id, position.fund_id, position.line_number)
    return (
        sa.select(lines, t.funds.c.trustee_id, t.funds.c.currency)
        .join_from(lines, t.funds, lines.c.fund_id == t.funds.c.fund_id)
        .where(sa.tuple_(*order) > sa.tuple_(*map(sa.literal, last)), finished(lines))
        .order_by(*order)
        .limit(LINES_AT_ONCE)
    )


async def _entries(rows: Sequence[Row]) -> list[log.Entry]:
    """Entries of many lines; calls are answered in between, whatever there is to catch up with."""
    entries = list[log.Entry]()
    for start in range(0, len(rows), _LINES_AT_A_STRETCH):
        entries += map(_entry, rows[start : start + _LINES_AT_A_STRETCH])
        await asyncio.sleep(0)
    return entries


def _entry(row: Row) -> log.Entry:
    return log.Entry(log.LINE, line_entry(shown(row), row.salt.bytes), row.fund_id, row.line_number)
