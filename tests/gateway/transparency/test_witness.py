"""The witness: what it cosigns, and every way in which it refuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.transparency.checkpoint import Checkpoint, parse_checkpoint
from gateway.transparency.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
)
from gateway.transparency.note import Cosigner, NoteError, NoteSigner, parse_note, sign_note
from gateway.transparency.proof import Proof, ProofError, parse_proof, verify_proof
from gateway.transparency.witness import RefusalError, Request, Witness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.transparency.merkle import Node

ORIGIN = "log.example/trust"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
SUPERVISOR = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
NOW_S = 1_800_000_000


class Log:
    """A log in memory, of which another version can be told."""

    def __init__(self, *entries: bytes) -> None:
        self.entries = list(entries)

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        return [self._hash(level, index) for level, index in nodes]

    def _hash(self, level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(self.entries[index])
        return node_hash(self._hash(level - 1, 2 * index), self._hash(level - 1, 2 * index + 1))

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(ORIGIN, size, tree_root(size, self.read))

    def request(self, old_size: int) -> Request:
        size = len(self.entries)
        note = sign_note(str(self.checkpoint(size)), [LOG])
        return Request(old_size, tuple(consistency_proof(old_size, size, self.read)), note)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(SUPERVISOR, {ORIGIN: LOG.key}, tmp_path)


def status_of(witness: Witness, request: Request | str) -> HTTPStatus:
    with pytest.raises(RefusalError) as refused:
        witness.cosign(str(request), NOW_S)
    return refused.value.status


def test_a_log_that_grows_is_cosigned_each_time(witness: Witness) -> None:
    log = Log(b"a", b"b", b"c")
    line = witness.cosign(str(log.request(0)), NOW_S)
    assert line.startswith("— witness.example/w ")
    log.entries += [b"d", b"e"]
    witness.cosign(str(log.request(3)), NOW_S + 1)
    seen = parse_note(witness.latest(ORIGIN))
    assert parse_checkpoint(seen.text).size == 5
    assert SUPERVISOR.key.verify(seen.text, seen.signatures[-1].signature)


def test_of_two_forks_only_one_is_cosigned(witness: Witness) -> None:
    ours, theirs = Log(b"a", b"b", b"c"), Log(b"a", b"B", b"c", b"d")
    witness.cosign(str(ours.request(0)), NOW_S)
    assert status_of(witness, theirs.request(3)) is HTTPStatus.UNPROCESSABLE_ENTITY
    same_size = Log(b"a", b"B", b"c")
    assert status_of(witness, same_size.request(3)) is HTTPStatus.CONFLICT
    ours.entries.append(b"d")
    witness.cosign(str(ours.request(3)), NOW_S)


def test_a_log_that_was_cut_back_is_refused_and_told_the_size(witness: Witness) -> None:
    witness.cosign(str(Log(b"a", b"b", b"c").request(0)), NOW_S)
    with pytest.raises(RefusalError) as refused:
        witness.cosign(str(Log(b"a", b"b").request(2)), NOW_S)
    assert (refused.value.status, refused.value.why) == (HTTPStatus.CONFLICT, "3")


def test_it_remembers_after_a_restart(witness: Witness) -> None:
    witness.cosign(str(Log(b"a", b"b").request(0)), NOW_S)
    again = Witness(SUPERVISOR, witness.logs, witness.directory)
    assert status_of(again, Log(b"x", b"y", b"z").request(0)) is HTTPStatus.CONFLICT


def test_a_memory_that_cannot_be_read_stops_it(witness: Witness) -> None:
    witness.cosign(str(Log(b"a").request(0)), NOW_S)
    (kept,) = witness.directory.glob("*.checkpoint")
    kept.write_text("")
    with pytest.raises(NoteError):
        witness.cosign(str(Log(b"x").request(0)), NOW_S)


def test_another_key_s_checkpoint_is_forbidden_and_another_log_unknown(witness: Witness) -> None:
    text = str(Log(b"a").checkpoint(1))
    impostor = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    forged = Request(0, (), sign_note(text, [impostor]))
    assert status_of(witness, forged) is HTTPStatus.FORBIDDEN
    elsewhere = Request(0, (), sign_note(text.replace("trust", "other"), [LOG]))
    assert status_of(witness, elsewhere) is HTTPStatus.NOT_FOUND


def test_an_old_size_above_the_new_one_is_a_bad_request(witness: Witness) -> None:
    request = Log(b"a").request(0)
    larger = Request(2, request.proof, request.checkpoint)
    assert status_of(witness, larger) is HTTPStatus.BAD_REQUEST
    assert status_of(witness, "old 0\n") is HTTPStatus.BAD_REQUEST
    assert status_of(witness, str(request).replace("old 0", "old 00")) is HTTPStatus.BAD_REQUEST


def test_a_first_proof_must_be_empty(witness: Witness) -> None:
    request = Log(b"a").request(0)
    stuffed = Request(0, (b"x" * 32,), request.checkpoint)
    assert status_of(witness, stuffed) is HTTPStatus.UNPROCESSABLE_ENTITY


def proof_of(log: Log, index: int, witness: Witness) -> Proof:
    request = log.request(0)
    line = witness.cosign(str(request), NOW_S)
    path = inclusion_proof(index, len(log.entries), log.read)
    return Proof(index, tuple(path), parse_note(f"{request.checkpoint}{line}"), b"shown")


def test_a_proof_file_verifies_offline(witness: Witness) -> None:
    log = Log(b"a", b"b", b"c", b"d", b"e")
    proof = proof_of(log, 4, witness)
    again = parse_proof(str(proof))
    assert again == proof
    verified = verify_proof(again, b"e", LOG.key, [SUPERVISOR.key], 1)
    assert (verified.checkpoint.size, len(verified.witnesses)) == (5, 1)


def test_a_proof_of_another_entry_log_or_without_its_witness_is_refused(witness: Witness) -> None:
    log = Log(b"a", b"b", b"c")
    proof = proof_of(log, 1, witness)
    with pytest.raises(ProofError):
        verify_proof(proof, b"B", LOG.key, [SUPERVISOR.key], 1)
    other = Cosigner("witness.example/o", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    with pytest.raises(NoteError, match="0 trusted witnesses"):
        verify_proof(proof, b"b", LOG.key, [other.key], 1)
    stranger = NoteSigner("log.example/x", LOG.private_key)
    with pytest.raises(NoteError):
        verify_proof(proof, b"b", stranger.key, [], 0)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 1", "index 01"),
        ("extra ", "extra !"),
        ("\n\n", "\n"),
    ],
)
def test_a_broken_proof_file_names_what_is_wrong(
    witness: Witness, there: str, instead: str
) -> None:
    text = str(proof_of(Log(b"a", b"b"), 1, witness))
    with pytest.raises(NoteError):
        parse_proof(text.replace(there, instead))
