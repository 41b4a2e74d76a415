"""Sealing: every entry gets its link, once, whatever commits when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.audit.chain import GENESIS, links
from gateway.audit.log import SEALED_AT_ONCE, append, has, head_of, seal
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.audit.scene import an_entry, write

if TYPE_CHECKING:
    from gateway.store import Row, Store


async def sealed(store: Store) -> int:
    async with store.transaction(GATEWAY) as conn:
        return await seal(conn)


async def chain(store: Store) -> list[Row]:
    query = (
        sa.select(t.audit_links, t.audit_entries.c.request_id, t.audit_entries.c.digest)
        .join(t.audit_entries)
        .order_by(t.audit_links.c.sequence)
    )
    async with store.transaction(GATEWAY) as conn:
        return list((await conn.execute(query)).all())


async def whole(store: Store, count: int) -> None:
    """Every entry is linked once, without gaps, and the hashes are the chain's."""
    rows = await chain(store)
    assert [row.sequence for row in rows] == list(range(1, count + 1))
    assert len({row.entry_id for row in rows}) == count
    made = links(GENESIS, [row.digest for row in rows])
    assert [row.hash for row in rows] == [link.hash for link in made]


async def test_each_entry_is_linked_once(store: Store) -> None:
    await write(store, 5)
    assert await sealed(store) == 5
    assert await sealed(store) == 0
    await write(store, 2)
    assert await sealed(store) == 2
    await whole(store, 7)


async def test_an_entry_that_commits_late_is_linked_behind_what_was_linked_before(
    store: Store,
) -> None:
    async with store.transaction(GATEWAY) as late:
        await append(late, [an_entry(request_id="late")])
        await write(store, 3)
        assert await sealed(store) == 3
        await write(store, 1)
        assert await sealed(store) == 1
    assert await sealed(store) == 1
    await whole(store, 5)
    assert [row.request_id for row in await chain(store)][-1] == "late"


async def test_an_entry_of_a_transaction_that_is_undone_leaves_no_gap(store: Store) -> None:
    async with store.transaction(GATEWAY) as conn, conn.begin_nested() as undone:
        await append(conn, [an_entry()])
        await undone.rollback()
    await write(store, 2)
    assert await sealed(store) == 2
    await whole(store, 2)


async def test_more_than_a_batch_is_linked_in_several(store: Store) -> None:
    many = [an_entry(request_id=str(number)) for number in range(SEALED_AT_ONCE + 1)]
    async with store.transaction(GATEWAY) as conn:
        await append(conn, many)  # one transaction: the batch ends in the middle of it
    await write(store, 3)
    assert await sealed(store) == SEALED_AT_ONCE
    assert await sealed(store) == 4
    assert await sealed(store) == 0
    await whole(store, SEALED_AT_ONCE + 4)


async def test_sealers_at_one_time_make_one_chain(store: Store) -> None:
    async def writes_and_seals() -> None:
        for _ in range(5):
            await write(store, 2)
            await sealed(store)

    await asyncio.gather(*(writes_and_seals() for _ in range(4)))
    await sealed(store)
    await whole(store, 40)


async def test_a_log_from_another_server_goes_on(store: Store) -> None:
    """pg_dump keeps our transaction numbers, and the new server counts from 3 again."""
    await write(store, 2)
    await sealed(store)
    async with store.engine.begin() as conn:
        await conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await conn.execute(sa.text("UPDATE audit_links SET floor = floor + 1000000"))
        await conn.execute(sa.text("UPDATE audit_entries SET xact = xact + 1000000"))
    await write(store, 2)
    assert await sealed(store) == 2
    await whole(store, 4)


async def test_the_chain_goes_through_its_links_and_no_others(store: Store) -> None:
    await write(store, 2)
    await sealed(store)
    async with store.transaction(GATEWAY) as conn:
        head = await head_of(conn)
        assert await has(conn, head)
        assert await has(conn, GENESIS)
        for other in links(head, [bytes(32)]), links(GENESIS, [bytes(32)] * 2):
            assert not await has(conn, other[-1])
