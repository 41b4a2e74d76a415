"""Which of several processes writes a fund: slots of funds, each held by one of them by lease.

A process renews what it holds every second. What was not renewed for `LEASE_S` by the database's
clock, another one takes; and each takes the slots of its own seat back from whoever stands in. The
lease is what calls are led by. What keeps two from writing one slot is the check that every commit
makes in its own transaction: it locks the rows of its slots until it ends, and a slot is taken only
while nobody has it locked. So a process that slept through its lease commits nothing any more.

Locks on funds keep even that from mattering to the books; leases spare processes waiting for each
other's, and let one of them do the work between the calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.beside import beside
from gateway.payments.writers import SLOTS
from gateway.store import GATEWAY, bulk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Store

BACKGROUND: Final = SLOTS
"""The slot of the work between the calls, which one process does."""

LEASE_S: Final = 4.0
RENEWAL_S: Final = 1.0

_LOOK_S: Final = 0.2

# Who stands still in the midst of a transaction loses its connection, and with it its locks.
_IDLE_MS: Final = round(LEASE_S * 1000)
_IMPATIENT: Final = "SELECT set_config('idle_in_transaction_session_timeout', $1, true)"

_RENEW: Final = """
    UPDATE writer_leases SET expires_at = now() + make_interval(secs => $2) WHERE owner = $1
"""
# Whoever sits in the same seat, though of an earlier life, keeps a slot until its time is over.
_TAKE: Final = """
    UPDATE writer_leases SET owner = $1, address = $2, fence = fence + 1,
        expires_at = now() + make_interval(secs => $3)
    WHERE slot IN (
        SELECT slot FROM writer_leases
        WHERE owner <> $1 AND (
            expires_at <= now()
            OR (slot = ANY ($4::smallint[]) AND split_part(owner, '-', 1) <> $5)
        )
        FOR UPDATE SKIP LOCKED
    )
    RETURNING slot
"""
_READ: Final = "SELECT slot, owner, address, fence FROM writer_leases"
_GIVE_BACK: Final = "UPDATE writer_leases SET expires_at = now() WHERE owner = $1"
# A renewal changes no key, so that it passes this lock; a taker waits for its end.
_FENCE: Final = """
    SELECT lease.slot FROM writer_leases lease
    JOIN unnest($1::smallint[], $2::bigint[]) AS mine(slot, fence) USING (slot, fence)
    CROSS JOIN set_config('idle_in_transaction_session_timeout', $4, true)
    WHERE lease.owner = $3
    FOR KEY SHARE OF lease
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of one process among those that serve a port together.

    Attributes:
        number: from zero.
        count: how many they are.
    """

    number: int
    count: int

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots that it writes while all of them live."""
        own = tuple(slot for slot in range(SLOTS) if slot * self.count // SLOTS == self.number)
        return own if self.number else (*own, BACKGROUND)


class Leases:
    """What one process holds, and who holds the rest.

    Args:
        store: the database.
        seat: its place.
        address: where the other processes reach it.
    """

    def __init__(self, store: Store, seat: Seat, address: str) -> None:
        self.owner: Final = f"{seat.number}-{token_hex(8)}"
        self._store = store
        self._seat = seat
        self._address = address
        self._held: Mapping[int, Row] = {}
        self._valid_until_s = 0.0
        self._looked_at_s = 0.0
        self._one_look = asyncio.Lock()

    def holds(self, slot: int) -> bool:
        """Whether the slot is this process's, as far as it can know without asking."""
        return self._is_mine(slot) and monotonic() < self._valid_until_s

    def address_of(self, slot: int) -> str:
        """Where the holder of a slot is reached; empty for this process itself."""
        return "" if self._is_mine(slot) else self._held[slot].address

    def _is_mine(self, slot: int) -> bool:
        lease = self._held.get(slot)
        return lease is not None and lease.owner == self.owner

    async def look(self) -> None:
        """Renews what is held, takes what is free, and reads who holds what.

        Who asks while another look is begun after it shares that one.
        """
        asked_s = monotonic()
        async with self._one_look:
            if self._looked_at_s <= asked_s:
                await self._look()

    async def _look(self) -> None:
        begun_s = monotonic()
        async with self._store.transaction(GATEWAY) as conn:
            await bulk.fetch(conn, _IMPATIENT, str(_IDLE_MS))
            await bulk.fetch(conn, _RENEW, self.owner, LEASE_S)
            taken = await bulk.fetch(
                conn,
                _TAKE,
                self.owner,
                self._address,
                LEASE_S,
                list(self._seat.slots),
                str(self._seat.number),
            )
            rows = await bulk.fetch(conn, _READ)
        self._held = {row.slot: row for row in rows}
        self._looked_at_s, self._valid_until_s = begun_s, begun_s + LEASE_S
        if taken:
            log.info("slots_taken", slots=sorted(row.slot for row in taken))

    async def follow(self) -> None:
        """Looks without end; while the database is away, leases run out."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look tries again
                log.error("leases_not_renewed", cause=type(error).__qualname__)  # noqa: TRY400 - the message may repeat a row

    async def fence(self, conn: AsyncConnection, slots: Collection[int]) -> frozenset[int]:
        """Those of the slots that nobody takes from this process before the transaction ends."""
        mine = {slot: self._held[slot].fence for slot in sorted(slots) if self._is_mine(slot)}
        rows = await bulk.fetch(
            conn, _FENCE, list(mine), list(mine.values()), self.owner, str(_IDLE_MS)
        )
        return frozenset(row.slot for row in rows)

    async def while_holding(self, slot: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Works without end, whenever the slot is this process's; it is cut off once it is not."""
        while True:
            await self._until(slot, held=True)
            async with beside(work()):
                await self._until(slot, held=False)
            log.warning("slot_lost", slot=slot)

    async def _until(self, slot: int, *, held: bool) -> None:
        while self.holds(slot) is not held:  # noqa: ASYNC110 - time alone may change it
            await asyncio.sleep(_LOOK_S)

    async def give_back(self) -> None:
        """Lets the others take everything at once."""
        try:
            async with self._store.transaction(GATEWAY) as conn:
                await bulk.fetch(conn, _GIVE_BACK, self.owner)
        except Exception as error:  # noqa: BLE001 - then they run out by themselves
            log.error("leases_not_given_back", cause=type(error).__qualname__)  # noqa: TRY400 - as above
