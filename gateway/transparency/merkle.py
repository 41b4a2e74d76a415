"""Merkle trees of RFC 6962, section 2.1: their hashes, and both kinds of proof.

A tree of `size` leaves is known by the hashes of its whole subtrees: the node at (`level`, `index`)
spans the leaves from ``index << level``, ``1 << level`` of them. Whatever gives such nodes can give
proofs; what verifies them needs nothing but the proof.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_BYTES: Final = 32

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves."""

Node: TypeAlias = tuple[int, int]
"""Level and index of a whole subtree."""


class ProofError(ValueError):
    """The proof does not prove it; the message says where it fails."""


class Nodes(Protocol):
    """Whatever knows the hashes of a tree."""

    def __call__(self, nodes: Sequence[Node], /) -> Sequence[bytes]:
        """The hashes of these whole subtrees, in the same order."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return sha256(b"\x01" + left + right).digest()


# --- making proofs ----------------------------------------------------------------------------


def whole_subtrees(start: int, end: int) -> list[Node]:
    """The fewest whole subtrees that span the leaves from `start` up to `end`, left to right.

    `start` is where a subtree of the span's size may begin: 0, or a multiple of the next power of
    two above ``end - start - 1``.
    """
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def tree_root(size: int, read: Nodes) -> bytes:
    """The root of the first `size` leaves."""
    return _joined(read(whole_subtrees(0, size))) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Nodes) -> list[bytes]:
    """The audit path of RFC 6962, 2.1.1: from the leaf's sibling up to the root's child.

    Raises:
        ValueError: if the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return _read_spans(_inclusion_spans(index, size), read)


def consistency_proof(old_size: int, size: int, read: Nodes) -> list[bytes]:
    """The proof of RFC 6962, 2.1.2, that the first `old_size` leaves are still what they were.

    Empty for equal sizes, and from nothing.

    Raises:
        ValueError: if the old tree is the larger one.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} leaves does not go on from one of {old_size}")
    return _read_spans(_consistency_spans(old_size, size), read) if old_size else []


def inclusion_nodes(index: int, size: int) -> list[Node]:
    """What `inclusion_proof` reads."""
    return _flat(_inclusion_spans(index, size))


def consistency_nodes(old_size: int, size: int) -> list[Node]:
    """What `consistency_proof` reads."""
    return _flat(_consistency_spans(old_size, size)) if old_size else []


def _flat(spans: Sequence[tuple[int, int]]) -> list[Node]:
    return [node for span in spans for node in whole_subtrees(*span)]


def _inclusion_spans(index: int, size: int) -> list[tuple[int, int]]:
    """The siblings on the way from the leaf up to the root."""
    spans, start, end = [], 0, size
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def _consistency_spans(old_size: int, size: int) -> list[tuple[int, int]]:
    """What the old tree's last subtree is joined with on the way up, itself first unless known."""
    spans, start, end = [], 0, size
    while end != old_size:
        middle = _middle(start, end)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    if start > 0:
        spans.append((start, end))
    return spans[::-1]


def _middle(start: int, end: int) -> int:
    """Where a tree over these leaves divides: the left side is the largest power of two below."""
    return start + (1 << ((end - start - 1).bit_length() - 1))


def _read_spans(spans: Sequence[tuple[int, int]], read: Nodes) -> list[bytes]:
    """The hash of each span; everything is read at once."""
    parts = [whole_subtrees(*span) for span in spans]
    hashes = iter(read([node for part in parts for node in part]))
    return [_joined([next(hashes) for _ in part]) for part in parts]


def _joined(hashes: Sequence[bytes]) -> bytes:
    """The hash over whole subtrees of falling size."""
    joined = hashes[-1]
    for left in reversed(hashes[:-1]):
        joined = node_hash(left, joined)
    return joined


# --- checking proofs --------------------------------------------------------------------------


def root_of_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that the tree has if the proof is right (RFC 9162, 2.1.3.2).

    Args:
        index: of the leaf, from 0.
        size: of the tree.
        leaf: its hash.
        proof: as of `inclusion_proof`.

    Raises:
        ProofError: if the proof is not one for this place.
    """
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    _require_hashes([leaf, *proof])
    steps = _inclusion_steps(index, size)
    _require_length(proof, len(steps))
    running = leaf
    for sibling, is_left in zip(proof, steps, strict=True):
        running = node_hash(sibling, running) if is_left else node_hash(running, sibling)
    return running


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Passes only if the leaf is at this place of the tree with this root.

    Raises:
        ProofError: if not.
    """
    if root_of_inclusion(index, size, leaf, proof) != root:
        raise ProofError("the leaf and its proof lead to another root")


def verify_consistency(
    old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Passes only if the larger tree begins with all of the smaller one (RFC 9162, 2.1.4.2).

    Raises:
        ProofError: if not.
    """
    if not 0 <= old_size <= size:
        raise ProofError(f"a tree of {size} leaves does not go on from one of {old_size}")
    _require_hashes([old_root, root, *proof])
    if old_size in {0, size}:
        _require_length(proof, 0)
        if old_root != (root if old_size else EMPTY_ROOT):
            raise ProofError("trees of one size have different roots")
        return
    steps = [end <= old_size for _, end in _consistency_spans(old_size, size)]
    _require_length(proof, len(steps))
    rest, ways = iter(proof), iter(steps)
    # The way up starts with the old tree if that is one whole subtree, else with the proof's first.
    if old_size & (old_size - 1) == 0:
        start = old_root
    else:
        start = next(rest)
        next(ways)
    old_running = running = start
    for sibling, is_left in zip(rest, ways, strict=True):
        if is_left:
            old_running = node_hash(sibling, old_running)
            running = node_hash(sibling, running)
        else:
            running = node_hash(running, sibling)
    if old_running != old_root:
        raise ProofError("the proof leads to another old root")
    if running != root:
        raise ProofError("the proof leads to another new root")


def _inclusion_steps(index: int, size: int) -> list[bool]:
    """Whether each sibling stands on the left, from the leaf up."""
    return [end <= index for _, end in _inclusion_spans(index, size)]


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofError(f"a hash has not {HASH_BYTES} bytes")


def _require_length(proof: Sequence[bytes], wanted: int) -> None:
    if len(proof) != wanted:
        raise ProofError(f"the proof has {len(proof)} hashes instead of {wanted}")
