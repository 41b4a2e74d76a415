"""The same log and proofs before Go's golang.org/x/mod/sumdb, which signs for every Go module.

Needs Debian's golang-go and golang-golang-x-mod-dev; CI has them, and sets XINYI_GO=1 so that their
lack is a failure there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.transparency.checkpoint import Checkpoint
from gateway.transparency.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
)
from gateway.transparency.note import NoteSigner, sign_note
from gateway.transparency.tiles import Tile, TileNodes, grown

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCE = Path(__file__).parent / "go" / "check.go"
PACKAGES = Path("/usr/share/gocode")
GO = shutil.which("go")
LEAVES = [leaf_hash(b"%d" % number) for number in range(70_000)]
LOG = NoteSigner("log.example/trust", Ed25519PrivateKey.from_private_bytes(b"l" * 32))

pytestmark = pytest.mark.skipif(
    os.environ.get("XINYI_GO") != "1"
    and not (GO and (PACKAGES / "src/golang.org/x/mod/sumdb").is_dir()),
    reason="needs Debian's golang-go and golang-golang-x-mod-dev",
)


def tree(size: int) -> TileNodes:
    return TileNodes(size, grown(0, {}, LEAVES[:size]))


def root(size: int) -> bytes:
    return tree_root(size, tree(size))


def encoded(hashes: Sequence[bytes]) -> list[str]:
    return [b64encode(each).decode() for each in hashes]


def case(kind: str, size: int, index: int, of: bytes, proof: Sequence[bytes]) -> dict[str, object]:
    return {
        "Kind": kind,
        "Size": size,
        "Root": b64encode(root(size)).decode(),
        "Index": index,
        "Hash": b64encode(of).decode(),
        "Hashes": encoded(proof),
    }


def inclusion(index: int, size: int) -> dict[str, object]:
    proof = inclusion_proof(index, size, tree(size))
    return case("inclusion", size, index, LEAVES[index], proof)


def consistency(old_size: int, size: int) -> dict[str, object]:
    proof = consistency_proof(old_size, size, tree(size))
    return case("consistency", size, old_size, root(old_size), proof)


def write(folder: Path, tiles: dict[Tile, bytes], cases: Sequence[dict[str, object]]) -> None:
    size = len(LEAVES)
    for tile, hashes in tiles.items():
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashes)
    note = sign_note(str(Checkpoint(LOG.name, size, root(size))), [LOG])
    (folder / "checkpoint").write_text(str(note))
    (folder / "key").write_text(str(LOG.key))
    (folder / "proofs.json").write_text(json.dumps(cases))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled."""
    assert GO
    folder = tmp_path_factory.mktemp("go")
    subprocess.run(  # noqa: S603 - a program of this folder
        [GO, "build", "-o", str(folder / "check"), str(SOURCE)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GO111MODULE": "off",
            "GOPATH": str(PACKAGES),
            "GOCACHE": str(folder / "cache"),
            "GOFLAGS": "",
        },
        timeout=280,
        check=True,
    )
    return folder / "check"


def judged(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - as above
        [program, folder], capture_output=True, text=True, timeout=60, check=False
    )


def test_go_opens_the_log_and_agrees_on_every_proof(program: Path, tmp_path: Path) -> None:
    good = [
        *(inclusion(index, size) for index, size in [(0, 1), (0, 2), (6, 7), (255, 256)]),
        *(inclusion(index, 70_000) for index in (0, 65_535, 65_536, 69_999)),
        *(consistency(old, size) for old, size in [(1, 2), (6, 7), (256, 257), (4, 8), (5, 5)]),
        *(consistency(old, 70_000) for old in (1, 65_536, 69_999)),
    ]
    wrong_leaf = inclusion(3, 7) | {"Hash": b64encode(LEAVES[4]).decode()}
    wrong_root = consistency(3, 7) | {"Hash": b64encode(root(4)).decode()}
    write(tmp_path, grown(0, {}, LEAVES), [*good, wrong_leaf, wrong_root])

    done = judged(program, tmp_path)

    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert answers[: len(good)] == ["ok"] * len(good)
    assert all("invalid" in answer for answer in answers[len(good) :])
    assert len(answers) == len(good) + 2


def test_go_refuses_a_tile_that_was_changed(program: Path, tmp_path: Path) -> None:
    tiles = grown(0, {}, LEAVES)
    last = Tile(0, 273, 112)
    tiles[last] = bytes(32) + tiles[last][32:]
    write(tmp_path, tiles, [])
    assert judged(program, tmp_path).returncode == 1
