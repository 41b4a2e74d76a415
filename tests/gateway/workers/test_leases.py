"""Leases: who takes what when, and what the fence refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from gateway.payments.leases import BACKGROUND, Leases, Seat
from gateway.payments.writers import SLOTS
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from gateway.store import Store

ALL = frozenset(range(SLOTS))


def _process(store: Store, number: int = 0, count: int = 2) -> Leases:
    return Leases(store, Seat(number, count), f"/{number}")


async def _fenced(store: Store, leases: Leases) -> frozenset[int]:
    async with store.transaction(GATEWAY) as conn:
        return await leases.fence(conn, ALL)


async def _let_expire(store: Store, leases: Leases) -> None:
    table = t.writer_leases
    async with store.transaction(GATEWAY) as conn:
        await conn.execute(
            table.update().where(table.c.owner == leases.owner).values(expires_at=sa.func.now())
        )


@pytest.mark.parametrize("count", range(1, 9))
def test_every_slot_is_of_one_seat_and_no_seat_has_more_than_its_share(count: int) -> None:
    shares = [Seat(number, count).slots for number in range(count)]
    assert sorted(slot for share in shares for slot in share) == [*range(SLOTS), BACKGROUND]
    of_funds = [len(set(share) & ALL) for share in shares]
    assert max(of_funds) - min(of_funds) <= 1


async def test_who_is_alone_takes_everything(store: Store) -> None:
    only = _process(store)
    await only.look()
    assert await _fenced(store, only) == ALL
    assert only.holds(BACKGROUND)


async def test_each_takes_its_own_slots_back_from_who_stood_in(store: Store) -> None:
    first, second = _process(store), _process(store, 1)
    await first.look()
    await second.look()
    await first.look()

    assert await _fenced(store, second) == set(Seat(1, 2).slots)
    assert await _fenced(store, first) == ALL - set(Seat(1, 2).slots)
    assert first.address_of(SLOTS - 1) == "/1"
    assert second.address_of(SLOTS - 1) == ""


async def test_what_nobody_renews_is_taken_and_fenced_off(store: Store) -> None:
    sleeper, other = _process(store), _process(store, 1)
    await sleeper.look()
    await _let_expire(store, sleeper)
    await other.look()

    assert sleeper.address_of(0) == ""  # it does not know yet
    assert await _fenced(store, sleeper) == frozenset()
    assert await _fenced(store, other) == ALL


async def test_a_slot_is_not_taken_in_the_midst_of_a_commit(store: Store) -> None:
    writer, other = _process(store), _process(store, 1)
    await writer.look()
    await _let_expire(store, writer)
    async with store.transaction(GATEWAY) as conn:
        assert await writer.fence(conn, {3}) == {3}
        await other.look()
        assert await _fenced(store, other) == ALL - {3}
    await other.look()
    assert await _fenced(store, other) == ALL


async def test_a_fence_is_higher_at_each_change_of_hands_and_at_no_renewal(store: Store) -> None:
    first, second = _process(store), _process(store, 1)
    await first.look()
    before = await _fences(store)
    await first.look()
    assert await _fences(store) == before

    await _let_expire(store, first)
    await second.look()
    assert await _fences(store) == {slot: fence + 1 for slot, fence in before.items()}


async def _fences(store: Store) -> dict[int, int]:
    async with store.transaction(GATEWAY) as conn:
        rows = await conn.execute(sa.select(t.writer_leases.c.slot, t.writer_leases.c.fence))
        return {row.slot: row.fence for row in rows}
