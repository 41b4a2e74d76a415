"""Notes and keys; the vector is the example of Go's golang.org/x/mod/sumdb/note (BSD-3-Clause)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.transparency.note import (
    Cosigner,
    CosigningKey,
    Key,
    NoteError,
    NoteSigner,
    cosigned_at,
    open_note,
    parse_key,
    parse_note,
    sign_note,
)

KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
    "pRZb6KE6RyyBwJnAM=\n"
)
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=50)


def test_a_note_that_another_program_signed_opens() -> None:
    (line,) = open_note(parse_note(NOTE), [parse_key(KEY)])
    assert (line.name, line.key_id.hex()) == ("PeterNeumann", "c74f20a3")


def test_a_key_is_written_as_it_was_read() -> None:
    assert str(parse_key(KEY)) == KEY


@given(st.lists(texts, min_size=1, max_size=4))
def test_what_was_signed_opens_and_reads_the_same(lines: list[str]) -> None:
    signer = NoteSigner("log.example/a", SECRET)
    note = sign_note("\n".join(lines) + "\n", [signer])
    again = parse_note(str(note))
    assert again == note
    assert open_note(again, [signer.key]) == note.signatures


def test_a_changed_letter_is_refused() -> None:
    with pytest.raises(NoteError, match="does not verify"):
        open_note(parse_note(NOTE.replace("think", "thunk")), [parse_key(KEY)])


def test_an_unknown_key_counts_for_nothing() -> None:
    other = NoteSigner("PeterNeumann", SECRET)
    with pytest.raises(NoteError, match="trusted key"):
        open_note(parse_note(NOTE), [other.key])


def test_a_cosignature_binds_its_time_and_the_text() -> None:
    witness = Cosigner("witness.example/w", SECRET)
    line = witness.sign("text\n", 1_700_000_000)
    assert cosigned_at(line) == 1_700_000_000
    assert witness.key.verify("text\n", line.signature)
    assert not witness.key.verify("test\n", line.signature)
    later = (1_700_000_001).to_bytes(8) + line.signature[8:]
    assert not witness.key.verify("text\n", later)
    assert not witness.key.verify("text\n", b"short")


def test_a_log_key_and_a_cosigning_key_of_the_same_bytes_have_different_ids() -> None:
    public = SECRET.public_key()
    assert Key("a", public).key_id != CosigningKey("a", public).key_id
    assert parse_key(str(CosigningKey("a", public))) == CosigningKey("a", public)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "no signatures\n",
        NOTE.rstrip("\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("x08go", "!!!!!"),
        NOTE.replace("you", "y\tou"),
        "text\n\n— name AAAA\n",
        "text\n\n" + "— n AAAAAAA=\n" * 65,
    ],
)
def test_what_is_no_note_is_refused(broken: str) -> None:
    with pytest.raises(NoteError):
        parse_note(broken)


@pytest.mark.parametrize(
    "broken",
    ["", "a+b", KEY.replace("c74f", "c74e"), KEY.replace("+AR", "+CR"), KEY[:-4], "a b" + KEY],
)
def test_what_is_no_key_is_refused(broken: str) -> None:
    with pytest.raises(NoteError):
        parse_key(broken)
