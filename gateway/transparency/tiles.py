"""Tiles: a log's tree as plain files that never change (https://c2sp.org/tlog-tiles)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.transparency.merkle import HASH_BYTES, node_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.transparency.merkle import Node

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
"""Hashes in a full tile, and entries in a full bundle."""

_FULL_BYTES: Final = WIDTH * HASH_BYTES

MAX_ENTRY_BYTES: Final = 0xFFFF
"""The length of an entry stands in two bytes of its bundle."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A run of hashes of one level.

    Attributes:
        level: 0 for the leaves; a level above, each hash is that of a whole tile below.
        index: of the tile within the level.
        width: how many hashes, 1 to 256.
    """

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it is served, behind the log's prefix."""
        return f"tile/{self.level}/{_path(self.index, self.width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Where a bundle of entries is served, behind the log's prefix."""
    return f"tile/entries/{_path(index, width)}"


def _path(index: int, width: int) -> str:
    parts = [f"{index % 1000:03}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return "/".join(reversed(parts)) + partial


def parse_path(path: str) -> tuple[int, int]:
    """Index and width of ``x001/x234/067.p/5``.

    Raises:
        ValueError: if it is not such a path, or not as it is written.
    """
    index_path, _, width = path.partition(".p/")
    index = int("".join(part.removeprefix("x") for part in index_path.split("/")))
    tile = index, int(width) if width else WIDTH
    if index < 0 or _path(*tile) != path or not 0 < tile[1] <= WIDTH:
        raise ValueError("no path of a tile")
    return tile


def tiles_of(size: int, old_size: int = 0) -> Iterator[Tile]:
    """The tiles that a tree of `size` leaves has and one of `old_size` had not, or narrower."""
    level = 0
    while size >> (level * HEIGHT):
        whole, old = size >> (level * HEIGHT), old_size >> (level * HEIGHT)
        if whole != old:
            for index in range(old // WIDTH, (whole + WIDTH - 1) // WIDTH):
                yield Tile(level, index, min(WIDTH, whole - index * WIDTH))
        level += 1


def tile_of(node: Node, size: int) -> Tile:
    """The tile from which the hash of a node is made, in a tree of `size` leaves."""
    level = node[0] // HEIGHT
    index = (node[1] << (node[0] % HEIGHT)) // WIDTH
    return Tile(level, index, min(WIDTH, (size >> (level * HEIGHT)) - index * WIDTH))


def node_in(node: Node, hashes: bytes) -> bytes:
    """The hash of a node, made from the hashes of its tile."""
    depth = node[0] % HEIGHT
    first = (node[1] << depth) % WIDTH
    return _folded(hashes[first * HASH_BYTES : (first + (1 << depth)) * HASH_BYTES])


def _folded(hashes: bytes) -> bytes:
    """The hash over a power of two of hashes."""
    level = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [node_hash(left, right) for left, right in pairs]
    return level[0]


@dataclass(frozen=True, slots=True)
class TileNodes:
    """The hashes of a tree whose tiles are at hand.

    Attributes:
        size: of the tree.
        tiles: hashes of each tile; must hold every tile that is asked for.
    """

    size: int
    tiles: Mapping[Tile, bytes]

    def __call__(self, nodes: Sequence[Node], /) -> Sequence[bytes]:
        """The hashes of these whole subtrees."""
        return [node_in(node, self.tiles[tile_of(node, self.size)]) for node in nodes]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as they are served, each behind its length."""
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def parse_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle.

    Raises:
        ValueError: if it ends within one.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2])
        if end > len(data) or at + 2 > len(data):
            raise ValueError(f"the bundle ends within entry {len(entries)}")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def grown(size: int, edge: Mapping[int, bytes], leaves: Sequence[bytes]) -> dict[Tile, bytes]:
    """The tiles that are new or wider once leaves are added to a tree.

    Args:
        size: of the tree before.
        edge: the hashes of its last tile of each level, where that is partial.
        leaves: hashes of the new leaves.
    """
    tiles: dict[Tile, bytes] = {}
    level, fresh = 0, list(leaves)
    while fresh:
        first = (size >> (level * HEIGHT)) // WIDTH
        hashes = edge.get(level, b"") + b"".join(fresh)
        parts = [hashes[at : at + _FULL_BYTES] for at in range(0, len(hashes), _FULL_BYTES)]
        for index, part in enumerate(parts, first):
            tiles[Tile(level, index, len(part) // HASH_BYTES)] = part
        fresh = [_folded(part) for part in parts if len(part) == _FULL_BYTES]
        level += 1
    return tiles
