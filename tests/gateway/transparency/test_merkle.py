"""Trees and proofs, against the definition of RFC 6962 written down as it stands there."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transparency.merkle import (
    EMPTY_ROOT,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.transparency.merkle import Node

sizes = st.integers(1, 70)


def mth(leaves: Sequence[bytes]) -> bytes:
    """Merkle Tree Hash, RFC 6962, 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def entries(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


def nodes_of(leaves: Sequence[bytes]) -> Callable[[Sequence[Node]], list[bytes]]:
    def read(nodes: Sequence[Node]) -> list[bytes]:
        spans = [(index << level, (index + 1) << level) for level, index in nodes]
        assert all(end <= len(leaves) for _, end in spans), "only whole subtrees are asked for"
        return [mth(leaves[start:end]) for start, end in spans]

    return read


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert tree_root(0, nodes_of([])) == EMPTY_ROOT == mth([])


@given(sizes)
def test_a_root_is_the_merkle_tree_hash(size: int) -> None:
    leaves = entries(size)
    assert tree_root(size, nodes_of(leaves)) == mth(leaves)


@given(sizes, st.data())
def test_every_leaf_is_proved_and_nothing_else_is_by_its_proof(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = entries(size)
    proof = inclusion_proof(index, size, nodes_of(leaves))
    root = mth(leaves)
    verify_inclusion(index, size, leaf_hash(leaves[index]), proof, root)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, leaf_hash(b"another"), proof, root)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, leaf_hash(leaves[index]), [*proof, root], root)
    for other in range(size):
        if other != index:
            with pytest.raises(ProofError):
                verify_inclusion(other, size, leaf_hash(leaves[index]), proof, root)


@given(sizes, st.data())
def test_a_longer_tree_is_proved_to_begin_with_the_shorter(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    leaves = entries(size)
    proof = consistency_proof(old, size, nodes_of(leaves))
    verify_consistency(old, size, mth(leaves[:old]), mth(leaves), proof)
    changed = [b"changed", *leaves[1:]]
    with pytest.raises(ProofError):
        verify_consistency(old, size, mth(leaves[:old]), mth(changed), proof)


def test_from_nothing_everything_follows_by_an_empty_proof() -> None:
    root = mth(entries(5))
    verify_consistency(0, 5, EMPTY_ROOT, root, [])
    with pytest.raises(ProofError, match="instead of 0"):
        verify_consistency(0, 5, EMPTY_ROOT, root, [root])


@given(st.integers(2, 70), st.data())
def test_a_proof_with_one_bit_changed_is_refused(size: int, data: st.DataObject) -> None:
    leaves = entries(size)
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, nodes_of(leaves))
    if not proof:
        return
    at = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    broken = int.from_bytes(proof[at]) ^ (1 << bit)
    proof[at] = broken.to_bytes(32)
    with pytest.raises(ProofError):
        verify_consistency(old, size, mth(leaves[:old]), mth(leaves), proof)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3)])
def test_no_leaf_is_proved_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_proof(index, size, nodes_of(entries(size)))
    with pytest.raises(ProofError, match="has no leaf"):
        verify_inclusion(index, size, leaf_hash(b""), [], leaf_hash(b""))


def test_a_hash_that_is_too_short_is_refused() -> None:
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(0, 1, b"", [], b"")
