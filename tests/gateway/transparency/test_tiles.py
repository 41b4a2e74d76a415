"""Tiles: paths as the specification writes them, and proofs made from nothing but tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transparency.merkle import (
    HASH_BYTES,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from gateway.transparency.tiles import (
    WIDTH,
    Tile,
    TileNodes,
    bundle,
    bundle_path,
    grown,
    parse_bundle,
    parse_path,
    tiles_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_the_specification_s_paths() -> None:
    assert Tile(0, 1234067, WIDTH).path == "tile/0/x001/x234/067"
    assert Tile(2, 5, 17).path == "tile/2/005.p/17"
    assert bundle_path(1000) == "tile/entries/x001/000"


def test_the_specification_s_tree_of_70000_leaves() -> None:
    tiles = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == WIDTH for tile in tiles) == 273
    assert [tile for tile in tiles if tile.width != WIDTH] == [
        Tile(0, 273, 112),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]


def test_a_tree_of_256_leaves_is_one_full_tile_and_one_of_width_one() -> None:
    assert list(tiles_of(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]


@given(st.integers(0, 10**9), st.integers(1, WIDTH))
def test_a_path_is_read_as_it_was_written(index: int, width: int) -> None:
    assert parse_path(bundle_path(index, width).removeprefix("tile/entries/")) == (index, width)


@pytest.mark.parametrize(
    "path", ["", "1", "0001", "x1/000", "x000/001", "001.p/256", "001.p/0", "-01"]
)
def test_another_spelling_of_a_path_is_none(path: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several texts
        parse_path(path)


def _naive(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(_naive(leaves[:k]), _naive(leaves[k:]))


def _tiles(leaves: Sequence[bytes]) -> dict[Tile, bytes]:
    made, level = {}, list(leaves)
    number = 0
    while level:
        for start in range(0, len(level), WIDTH):
            part = level[start : start + WIDTH]
            made[Tile(number, start // WIDTH, len(part))] = b"".join(part)
        whole = len(level) // WIDTH
        level = [_naive(level[at * WIDTH : (at + 1) * WIDTH]) for at in range(whole)]
        number += 1
    return made


LEAVES = [leaf_hash(b"%d" % number) for number in range(70_000)]


@given(st.sampled_from([1, 2, 255, 256, 257, 511, 512, 1000, 66_000, 70_000]), st.data())
def test_proofs_come_from_the_tiles_alone(size: int, data: st.DataObject) -> None:
    leaves = LEAVES[:size]
    tiles = _tiles(leaves)
    assert set(tiles) == set(tiles_of(size))
    read = TileNodes(size, tiles)
    root = tree_root(size, read)
    assert root == _naive(leaves)
    index = data.draw(st.integers(0, size - 1))
    verify_inclusion(index, size, leaves[index], inclusion_proof(index, size, read), root)
    old = data.draw(st.integers(1, size))
    old_root = _naive(leaves[:old])
    verify_consistency(old, size, old_root, root, consistency_proof(old, size, read))


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_new_tiles_are_those_that_the_older_tree_had_not(old: int, more: int) -> None:
    before, after = set(tiles_of(old)), set(tiles_of(old + more))
    assert set(tiles_of(old + more, old)) == after - before


@given(st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_a_tree_that_grows_in_steps_has_the_tiles_of_one_that_was_made_at_once(
    steps: list[int],
) -> None:
    size, tiles = 0, dict[Tile, bytes]()
    for step in steps:
        edge = {tile.level: tiles[tile] for tile in set(tiles_of(size)) if tile.width < WIDTH}
        more = grown(size, edge, LEAVES[size : size + step])
        assert set(more) == set(tiles_of(size + step, size))
        tiles |= more
        size += step
    whole = _tiles(LEAVES[:size])
    assert {tile: tiles[tile] for tile in whole} == whole


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    data = bundle(entries)
    assert parse_bundle(data) == entries
    if data:
        with pytest.raises(ValueError, match="ends within"):
            parse_bundle(data[:-1])


def test_a_hash_has_32_bytes() -> None:
    assert len(LEAVES[0]) == HASH_BYTES
