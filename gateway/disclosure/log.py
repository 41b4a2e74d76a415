"""The log of one trust company in the database: its entries, its tree, its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import not_found
from gateway.store import tables as t
from gateway.store.bulk import fetch, insertion, update, write
from gateway.transparency.checkpoint import Checkpoint
from gateway.transparency.merkle import HASH_BYTES, leaf_hash, tree_root, whole_subtrees
from gateway.transparency.note import sign_note
from gateway.transparency.tiles import (
    HEIGHT,
    MAX_ENTRY_BYTES,
    WIDTH,
    Tile,
    TileNodes,
    grown,
    tile_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row
    from gateway.store.bulk import Change
    from gateway.transparency.merkle import Node
    from gateway.transparency.note import Note, Signer

LINE: Final = "LINE"
CERTIFICATE: Final = "CERTIFICATE"

_TILE: Final = ("log_id", "level", "tile_index")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is about to be logged.

    Attributes:
        kind: ``LINE`` or ``CERTIFICATE``.
        entry: its bytes, at most `MAX_ENTRY_BYTES`.
        fund_id: whose line or certificate it is.
        number: of the line, or of the certificate, within the fund.
    """

    kind: str
    entry: bytes
    fund_id: str = ""
    number: int = 0


async def begin(conn: AsyncConnection, log_id: str, origin: str, key: str, now: datetime) -> Row:
    """The log of this trust company, begun with this name and key if there was none.

    A log keeps both for ever: to change them is to begin another log.
    """
    await conn.execute(
        pg.insert(t.logs)
        .values(log_id=log_id, origin=origin, key=key, created_at=now)
        .on_conflict_do_nothing()
    )
    return await locked(conn, log_id)


async def locked(conn: AsyncConnection, log_id: str) -> Row:
    """The log, locked until the transaction ends: whoever adds to it does this first.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.logs).where(t.logs.c.log_id == log_id).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"logs/{log_id}")
    return row


async def begin_sm2(conn: AsyncConnection, log: Row, key: str) -> None:
    """Puts on record by which key a locked log is signed by SM2 from now on."""
    await conn.execute(t.logs.update().where(t.logs.c.log_id == log.log_id).values(sm2_key=key))


async def append(
    conn: AsyncConnection,
    log: Row,
    entries: Sequence[Entry],
    signers: Sequence[Signer],
    now: datetime,
) -> Note:
    """Adds entries to a locked log, and signs its new tree.

    Returns:
        The signed checkpoint, on record with the entries or not at all.
    """
    tiles = grown(log.size, await _edge(conn, log), [leaf_hash(each.entry) for each in entries])
    size = log.size + len(entries)
    await write(conn, _inserted(log, entries), *_put(log, tiles))
    await conn.execute(t.logs.update().where(t.logs.c.log_id == log.log_id).values(size=size))
    checkpoint = Checkpoint(log.origin, size, await root_of(conn, log.log_id, size))
    note = sign_note(str(checkpoint), signers)
    await conn.execute(
        t.checkpoints.insert().values(log_id=log.log_id, size=size, note=str(note), created_at=now)
    )
    return note


def _partial(size: int) -> list[tuple[int, int]]:
    """Level and index of the last tile of each level, where it is partial."""
    partial, level = list[tuple[int, int]](), 0
    while count := size >> (level * HEIGHT):
        if count % WIDTH:
            partial.append((level, count // WIDTH))
        level += 1
    return partial


async def _edge(conn: AsyncConnection, log: Row) -> dict[int, bytes]:
    rows = await _hashes(conn, log.log_id, _partial(log.size))
    return {level: hashes for (level, _), hashes in rows.items()}


def _inserted(log: Row, entries: Sequence[Entry]) -> Change:
    if any(len(each.entry) > MAX_ENTRY_BYTES for each in entries):
        raise ValueError(f"an entry of the log has at most {MAX_ENTRY_BYTES} bytes")
    rows = [
        {
            "log_id": log.log_id,
            "entry_index": index,
            "kind": each.kind,
            "fund_id": each.fund_id,
            "number": each.number,
            "entry": each.entry,
        }
        for index, each in enumerate(entries, log.size)
    ]
    return insertion(t.log_entries, rows)


def _put(log: Row, tiles: Mapping[Tile, bytes]) -> tuple[Change, Change]:
    """Those that were partial become wider, the others are new."""
    partial = _partial(log.size)
    wider, new = list[dict[str, object]](), list[dict[str, object]]()
    for tile, hashes in tiles.items():
        place = {"log_id": log.log_id, "level": tile.level, "tile_index": tile.index}
        there = (tile.level, tile.index) in partial
        (wider if there else new).append({**place, "hashes": hashes})
    return update(t.log_tiles, _TILE, wider), insertion(t.log_tiles, new)


# --- reading ----------------------------------------------------------------------------------


async def root_of(conn: AsyncConnection, log_id: str, size: int) -> bytes:
    """The root of the first `size` entries, from the tree as it is stored."""
    return tree_root(size, await tree(conn, log_id, size, whole_subtrees(0, size)))


async def tree(conn: AsyncConnection, log_id: str, size: int, nodes: Sequence[Node]) -> TileNodes:
    """What gives the hashes of these nodes in a tree of `size` entries."""
    wanted = {tile_of(node, size) for node in nodes}
    return TileNodes(size, await tiles(conn, log_id, wanted))


async def _hashes(
    conn: AsyncConnection, log_id: str, tiles: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    levels, indexes = [level for level, _ in tiles], [index for _, index in tiles]
    rows = await fetch(conn, _HASHES, log_id, levels, indexes)
    return {(row.level, row.tile_index): row.hashes for row in rows}


# Tile by tile: a plan for all at once would read the whole log while its table is young.
_HASHES: Final = """
    SELECT n.level, n.tile_index, s.hashes
    FROM unnest($2::integer[], $3::bigint[]) AS n(level, tile_index)
    CROSS JOIN LATERAL (
        SELECT hashes FROM log_tiles s
        WHERE s.log_id = $1 AND s.level = n.level AND s.tile_index = n.tile_index
        LIMIT 1
    ) s
"""


async def all_logs(conn: AsyncConnection) -> Sequence[Row]:
    """Every log."""
    return (await conn.execute(sa.select(t.logs).order_by(t.logs.c.log_id))).all()


async def signed(conn: AsyncConnection, log_id: str) -> str:
    """The last checkpoint with every cosignature that has come for it."""
    return str((await conn.execute(_SIGNED, {"log": log_id})).scalar_one())


async def signed_over(conn: AsyncConnection, log_id: str, index: int) -> str:
    """The last checkpoint over an entry that a witness has cosigned, or else the last of all."""
    return str((await conn.execute(_SIGNED_OVER, {"log": log_id, "index": index})).scalar_one())


def _note_of(size: sa.ColumnElement[int]) -> sa.Select[tuple[str]]:
    """A checkpoint and its cosignatures as one text; written once, for proofs are waited for."""
    points, lines = t.checkpoints.c, t.cosignatures.alias("given").c
    given = sa.func.string_agg(lines.line, pg.aggregate_order_by(sa.literal(""), lines.witness))
    cosigned = (
        sa.select(sa.func.coalesce(given, ""))
        .where(lines.log_id == points.log_id, lines.size == points.size)
        .scalar_subquery()
    )
    note = sa.select(points.note + cosigned)
    return note.where(points.log_id == sa.bindparam("log"), points.size == size)


def _greatest(sizes: sa.FromClause, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    query = sa.select(sa.func.max(sizes.c.size))
    return query.where(sizes.c.log_id == sa.bindparam("log"), *conditions).scalar_subquery()


_LAST: Final = _greatest(t.checkpoints.alias("last"))
_SIGNED: Final = _note_of(_LAST)
_SIGNED_OVER: Final = _note_of(
    sa.func.coalesce(
        _greatest(t.cosignatures, t.cosignatures.c.size > sa.bindparam("index")), _LAST
    )
)


async def tiles(conn: AsyncConnection, log_id: str, wanted: Iterable[Tile]) -> dict[Tile, bytes]:
    """These tiles, each as wide as it says."""
    asked = list(wanted)
    rows = await _hashes(conn, log_id, [(tile.level, tile.index) for tile in asked])
    # A tile that is wider by now begins with the narrower one.
    return {tile: rows[tile.level, tile.index][: tile.width * HASH_BYTES] for tile in asked}


async def entries(conn: AsyncConnection, log_id: str, start: int, end: int) -> list[bytes]:
    """The entries from `start` up to `end`, in order."""
    entry = t.log_entries.c
    query = (
        sa.select(entry.entry)
        .where(entry.log_id == log_id, entry.entry_index >= start, entry.entry_index < end)
        .order_by(entry.entry_index)
    )
    return list((await conn.execute(query)).scalars())
