"""The public side of a log as plain files: any web server can give them out, any cache keep them.

The layout is that of https://c2sp.org/tlog-tiles. Only ``checkpoint`` is ever replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.disk import put
from gateway.transparency.tiles import WIDTH, bundle, bundle_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.transparency.tiles import Tile

CHECKPOINT: Final = "checkpoint"
PAGE: Final = "verify.html"
"""Checks a proof in a browser; stands beside the logs."""


def write_tiles(directory: Path, tiles: Mapping[Tile, bytes]) -> None:
    """Writes tiles; one that is there already stays as it is."""
    for tile, hashes in tiles.items():
        _write_new(directory / tile.path, hashes)


def write_bundles(directory: Path, first: int, entries: Sequence[bytes]) -> None:
    """Writes the bundles of these entries, the first of which begins a bundle."""
    for at in range(0, len(entries), WIDTH):
        part = entries[at : at + WIDTH]
        path = bundle_path((first + at) // WIDTH, len(part))
        _write_new(directory / path, bundle(part))


def write_checkpoint(directory: Path, note: str) -> None:
    """Replaces the checkpoint, at once and on disk; what it promises must be there before."""
    _replace(directory / CHECKPOINT, note.encode())


def write_page(directory: Path, page: str) -> None:
    """Puts the page beside the logs."""
    _replace(directory / PAGE, page.encode())


def read_checkpoints(directory: Path) -> dict[str, str]:
    """The checkpoint of each log that has one, by the log's id."""
    return {
        path.parent.name: path.read_text(errors="replace")
        for path in directory.glob(f"*/{CHECKPOINT}")
    }


def _replace(path: Path, content: bytes) -> None:
    """Writes nothing where it stands already: a log is looked at far more often than it grows."""
    if not path.exists() or path.read_bytes() != content:
        _put(path, content)


def _write_new(path: Path, content: bytes) -> None:
    if not path.exists():
        _put(path, content)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, content)
