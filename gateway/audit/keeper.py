"""Keeps the audit log whole: links it, anchors its head outside, notices when a part is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from gateway.audit import anchor as anchors
from gateway.audit.anchor import Anchor
from gateway.audit.chain import GENESIS
from gateway.audit.log import SEALED_AT_ONCE, has, head_of, seal
from gateway.domain.errors import GatewayError, Kind, Reason, precondition
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.audit.chain import Head
    from gateway.clock import Clock
    from gateway.store import Store

_BATCHES_A_ROUND: Final = 100
"""So that a round ends, however much is written meanwhile."""

# So that of several processes none puts an older head over a newer one.
_ONE_WRITER: Final = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended('xinyi audit anchor', 0))"
)

ASSENTS: Final = 2
"""Persons of distinct parties who acknowledge a loss."""

log = structlog.get_logger(__name__)


class Keeper:
    """Seals and anchors the audit log of one gateway.

    While `lost` names an anchor that the database lacks, nothing is anchored and nothing is paid:
    the database was restored from before that anchor, or its log was tampered with.

    Args:
        store: the database.
        places: directories that hold an anchor each; the first is the data directory.
        clock: the present moment.
    """

    def __init__(self, store: Store, places: Sequence[Path], clock: Clock) -> None:
        self._store = store
        self._places = tuple(places)
        self._clock = clock
        self._last: Anchor | None = None
        self._kept = True
        self._one_at_a_time = asyncio.Lock()
        self.lost: tuple[Anchor, ...] = ()

    def require_whole(self) -> None:
        """Passes unless the database lacks what an anchor proves.

        Raises:
            GatewayError: HISTORY_LOST.
        """
        if self.lost:
            sequence = str(max(anchor.head.sequence for anchor in self.lost))
            raise precondition(
                Reason.HISTORY_LOST,
                "rollback",
                f"the database lacks audit entry {sequence}, which was anchored outside of it: "
                "nothing is paid until two parties acknowledge what is lost",
                sequence=sequence,
            )

    async def look(self) -> None:
        """Compares every anchor with the database, as at the start.

        One that this process wrote or missed before counts also where its file is gone since.

        Raises:
            AnchorError: an anchor cannot be read.
        """
        remembered = [self._last] if self._last else []
        found = {*await asyncio.to_thread(self._read), *remembered, *self.lost}
        async with self._store.transaction(GATEWAY) as conn:
            lost = await missing(conn, sorted(found, key=lambda each: each.head.sequence))
            if not found and await head_of(conn) != GENESIS:
                log.warning("anchor_missing", places=len(self._places))
        if lost:
            log.error("history_lost", anchored=[anchor.head.sequence for anchor in lost])
        elif self.lost:
            await asyncio.to_thread(self._set_aside)
        self.lost = lost

    async def keep(self) -> int:
        """Links what is new and anchors it; returns how many entries were linked."""
        async with self._one_at_a_time:
            sealed = await self._seal()
            async with self._store.transaction(GATEWAY) as conn:
                whole = not self.lost and await has(conn, self._anchored)
            if not whole:
                await self.look()
            if not self.lost:
                await self._anchor()
        return sealed

    async def secure(self) -> None:
        """Anchors everything committed so far: what is done after this cannot be forgotten.

        Raises:
            GatewayError: HISTORY_LOST; STORE_UNAVAILABLE if no place could keep the anchor.
        """
        await self.keep()
        self.require_whole()
        if not self._kept:
            raise GatewayError(
                Kind.UNAVAILABLE, Reason.STORE_UNAVAILABLE, "no place could keep the anchor"
            )

    async def _seal(self) -> int:
        sealed = 0
        for _ in range(_BATCHES_A_ROUND):
            async with self._store.transaction(GATEWAY) as conn:
                count = await seal(conn)
            sealed += count
            if count < SEALED_AT_ONCE:
                break
        return sealed

    async def _anchor(self) -> None:
        async with self._store.transaction(GATEWAY) as conn:
            await conn.execute(_ONE_WRITER)
            head = await head_of(conn)
            if head != self._anchored or not self._kept:
                self._last = Anchor(head, self._clock())
                self._kept = await asyncio.to_thread(self._write, self._last)

    @property
    def _anchored(self) -> Head:
        return self._last.head if self._last else GENESIS

    def _read(self) -> set[Anchor]:
        found = set()
        for place in self._places:
            try:
                anchor = anchors.read(place)
            except OSError as error:
                log.error("anchor_not_read", place=str(place), error=type(error).__name__)  # noqa: TRY400 - a place that is away is no defect
                continue
            if anchor is not None:
                found.add(anchor)
        return found

    def _write(self, anchor: Anchor) -> bool:
        """Whether at least one place has it now; one that is away is told and holds up nothing."""
        kept = False
        for place in self._places:
            try:
                anchors.write(anchor, place)
                kept = True
            except OSError as error:
                log.error("anchor_not_written", place=str(place), error=type(error).__name__)  # noqa: TRY400 - as above
        return kept

    def _set_aside(self) -> None:
        for place in self._places:
            try:
                anchors.set_aside(place)
            except OSError as error:
                log.error("anchor_not_set_aside", place=str(place), error=type(error).__name__)  # noqa: TRY400 - as above


async def missing(conn: AsyncConnection, found: Sequence[Anchor]) -> tuple[Anchor, ...]:
    """Those anchors that the database lacks, and whose loss no two parties acknowledged."""
    return tuple(
        [
            anchor
            for anchor in found
            if not await has(conn, anchor.head) and not await _is_acknowledged(conn, anchor)
        ]
    )


async def _is_acknowledged(conn: AsyncConnection, anchor: Anchor) -> bool:
    assents = t.rollback_assents
    query = sa.select(assents.c.position).where(
        assents.c.anchor_hash == anchor.head.hash, assents.c.position == ASSENTS
    )
    return await conn.scalar(query.limit(1)) is not None
