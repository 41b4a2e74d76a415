"""The log over a real database: everything disclosed is in it, and nothing is signed over a lie."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from gateway.beside import beside
from gateway.disclosure import log
from gateway.disclosure.entry import line_entry
from gateway.disclosure.keys import LogKeys
from gateway.disclosure.lines import shown
from gateway.disclosure.publisher import Publisher
from gateway.disclosure.verify_page import verify_page
from gateway.domain.errors import GatewayError, Reason
from gateway.ledger.writer import LineDraft, post_lines
from gateway.store import GATEWAY
from gateway.store import tables as t
from gateway.transparency.checkpoint import parse_checkpoint
from gateway.transparency.merkle import leaf_hash, tree_root
from gateway.transparency.note import open_note, parse_key, parse_note
from gateway.transparency.tiles import Tile, TileNodes, bundle_path, parse_bundle, tiles_of
from tests.gateway.night.world import TODAY

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.disclosure.entry import Line
    from gateway.store import Row
    from gateway.transparency.checkpoint import Checkpoint
    from tests.gateway.night.world import World


@pytest.fixture
def publisher(world: World, tmp_path: Path) -> Publisher:
    return publisher_of(world, tmp_path)


def publisher_of(world: World, folder: Path) -> Publisher:
    keys = LogKeys(folder / "keys", "log.example")
    return Publisher(world.store, world.clock, keys, folder / "public")


def read(folder: Path) -> tuple[Checkpoint, list[bytes]]:
    """What a stranger makes of the public files alone, all of it checked."""
    note = parse_note((folder / "checkpoint").read_text())
    checkpoint = parse_checkpoint(note.text)
    entries: list[bytes] = []
    for tile in tiles_of(checkpoint.size):
        if tile.level == 0:
            bundle = (folder / bundle_path(tile.index, tile.width)).read_bytes()
            entries += parse_bundle(bundle)
    assert len(entries) == checkpoint.size
    tiles = {tile: (folder / tile.path).read_bytes() for tile in tiles_of(checkpoint.size)}
    assert tree_root(checkpoint.size, TileNodes(checkpoint.size, tiles)) == checkpoint.root
    lowest = sorted((tile.index, hashes) for tile, hashes in tiles.items() if tile.level == 0)
    assert b"".join(hashes for _, hashes in lowest) == b"".join(map(leaf_hash, entries))
    return checkpoint, entries


async def test_calls_are_answered_while_the_log_catches_up(
    world: World, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to log, others have their turn every few lines."""
    await world.fund()
    draft = LineDraft("main", "COMMON", "物业费", "十一月物业费", 100, TODAY)
    async with world.store.transaction(GATEWAY) as conn:
        await post_lines(conn, [("f1", draft)] * 300, world.now)
    turns = 0
    seen = Counter[int]()

    def noting(row: Row) -> Line:
        seen[turns] += 1
        return shown(row)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr("gateway.disclosure.publisher.shown", noting)
    async with beside(others()):
        assert await publisher.log_all() == 300
    assert seen.total() == 300
    assert max(seen.values()) <= 16


async def key_of(world: World) -> str:
    async with world.store.transaction(GATEWAY) as conn:
        return str((await conn.execute(sa.select(t.logs.c.key))).scalar_one())


async def change(world: World, statement: str) -> None:
    """As somebody who owns the database does it, past every right of the gateway."""
    async with world.store.engine.begin() as conn:
        await conn.execute(sa.text(statement))


async def test_each_line_is_logged_as_owners_are_shown_it(
    world: World, publisher: Publisher
) -> None:
    await world.fund(opening_minor=5000)
    await world.line("f1", -1234, TODAY, counterparty_name="欧阳小明")
    assert await publisher.log_all() == 2

    checkpoint, entries = read(publisher.directory / "trustee")

    assert (checkpoint.origin, checkpoint.size) == ("log.example/trustee", 2)
    async with world.store.transaction(GATEWAY) as conn:
        rows = await conn.execute(
            sa.select(t.disclosed_lines, sa.literal("CNY").label("currency")).order_by(
                t.disclosed_lines.c.line_number
            )
        )
        assert entries == [line_entry(shown(row), row.salt.bytes) for row in rows]
    note = parse_note((publisher.directory / "trustee" / "checkpoint").read_text())
    assert open_note(note, [parse_key(await key_of(world))])


async def test_the_page_that_checks_proofs_stands_beside_the_logs(
    world: World, publisher: Publisher
) -> None:
    await world.fund()
    await publisher.log_all()
    assert (publisher.directory / "verify.html").read_text() == verify_page()


async def test_nothing_new_leaves_everything_as_it_was(world: World, publisher: Publisher) -> None:
    await world.fund(opening_minor=5000)
    await publisher.log_all()
    before = (publisher.directory / "trustee" / "checkpoint").read_bytes()
    assert await publisher.log_all() == 0
    assert (publisher.directory / "trustee" / "checkpoint").read_bytes() == before


async def test_each_trust_company_has_a_log_of_its_own(world: World, publisher: Publisher) -> None:
    await world.fund("f1", 100, "trustee")
    await world.fund("f2", 200, "other")
    await world.fund("f3", 300, "other")
    await publisher.log_all()
    assert read(publisher.directory / "trustee")[0].size == 1
    assert read(publisher.directory / "other")[0].size == 2


async def test_a_line_whose_transaction_ends_late_is_not_missed(
    world: World, publisher: Publisher
) -> None:
    await world.fund("f1", 100)
    await world.fund("f2", 100)
    await publisher.log_all()
    async with world.store.transaction(GATEWAY) as slow:
        # It has its number in the order of transactions, and nobody sees what it will do.
        await slow.execute(sa.text("SELECT pg_current_xact_id()"))
        await world.line("f1", 1, TODAY)
        assert await publisher.log_all() == 0
    assert await publisher.log_all() == 1


async def test_publishers_at_the_same_time_log_each_line_once(world: World, tmp_path: Path) -> None:
    await world.fund()
    for number in range(20):
        await world.line("f1", number + 1, TODAY)
    publishers = [publisher_of(world, tmp_path) for _ in range(3)]
    assert sum(await asyncio.gather(*(publisher.log_all() for publisher in publishers))) == 20
    assert read(tmp_path / "public" / "trustee")[0].size == 20


async def test_files_that_are_gone_are_made_again_from_the_database(
    world: World, publisher: Publisher
) -> None:
    await world.fund()
    for number in range(300):
        await world.line("f1", number + 1, TODAY)
        if number in {3, 255, 270}:
            await publisher.log_all()
    await publisher.log_all()
    folder = publisher.directory / "trustee"
    before = read(folder)
    (folder / "checkpoint").unlink()
    (folder / Tile(0, 0, 256).path).unlink()
    await publisher.publish_all()
    assert read(folder) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE log_tiles SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)",
        (
            "DELETE FROM log_tiles; DELETE FROM checkpoints; DELETE FROM log_entries;"
            "UPDATE logs SET size = 0; UPDATE log_position SET transaction_id = 0"
        ),
        "UPDATE logs SET size = size - 1",
    ],
)
async def test_a_tree_that_is_not_the_published_one_is_never_signed_for(
    world: World, publisher: Publisher, damage: str
) -> None:
    await world.fund()
    for number in range(3):
        await world.line("f1", number + 1, TODAY)
    await publisher.log_all()
    for statement in damage.split(";"):
        await change(world, statement)
    await world.line("f1", 99, TODAY)
    before = (publisher.directory / "trustee" / "checkpoint").read_bytes()

    with pytest.raises(GatewayError) as refused:
        await publisher.log_all()

    assert refused.value.reason is Reason.LOG_BROKEN
    assert (publisher.directory / "trustee" / "checkpoint").read_bytes() == before


async def test_another_key_does_not_go_on_with_a_log(
    world: World, publisher: Publisher, tmp_path: Path
) -> None:
    await world.fund(opening_minor=1)
    await publisher.log_all()
    (tmp_path / "keys" / "trustee.pem").unlink()
    await world.line("f1", 1, TODAY)
    with pytest.raises(GatewayError, match="another key"):
        await publisher.log_all()


async def test_the_key_s_file_is_for_its_owner_alone(world: World, publisher: Publisher) -> None:
    await world.fund(opening_minor=1)
    await publisher.log_all()
    (key,) = publisher.keys.directory.iterdir()
    assert key.stat().st_mode & 0o777 == 0o600


async def test_roots_of_all_sizes_are_those_of_the_tree(world: World, publisher: Publisher) -> None:
    await world.fund()
    for number in range(40):
        await world.line("f1", number + 1, TODAY)
    await publisher.log_all()
    _, entries = read(publisher.directory / "trustee")
    leaves = [leaf_hash(entry) for entry in entries]
    async with world.store.transaction(GATEWAY) as conn:
        for size in (1, 2, 7, 32, 39, 40):
            tile = Tile(0, 0, size)
            expected = tree_root(size, TileNodes(size, {tile: b"".join(leaves[:size])}))
            assert await log.root_of(conn, "trustee", size) == expected
