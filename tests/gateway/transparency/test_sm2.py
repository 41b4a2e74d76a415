"""SM2 lines, against the standard's own example and against OpenSSL."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from gateway.transparency.note import NoteError, NoteSigner, open_note, parse_note, sign_note
from gateway.transparency.sm2 import (
    Sm2Key,
    Sm2Signer,
    load_sm2_signer,
    new_sm2_key,
    parse_sm2_key,
)
from tests.gateway.transparency.test_note import SECRET

if TYPE_CHECKING:
    from pathlib import Path

# GB/T 32918.5-2017, A.2: the message "message digest" under the default id.
POINT = bytes.fromhex(
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
R = bytes.fromhex("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3")
S = bytes.fromhex("b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa")
STANDARD = bytes.fromhex("3046022100") + R + bytes.fromhex("022100") + S

_POINT_INFO = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")

OPENSSL = shutil.which("openssl") or ""
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="OpenSSL is not here")


@pytest.fixture
def signer() -> Sm2Signer:
    return load_sm2_signer("log.example/a", new_sm2_key())


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a program that others wrote, on our own files
        [OPENSSL, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_example_of_the_standard_verifies() -> None:
    key = Sm2Key("log.example/a", POINT)
    assert key.verify("message digest", STANDARD)
    assert not key.verify("message digests", STANDARD)
    assert not key.verify("message digest", STANDARD[:-1] + b"\0")
    assert not key.verify("message digest", b"")


def test_a_note_has_both_lines_and_opens_by_either(signer: Sm2Signer) -> None:
    ed25519 = NoteSigner("log.example/a", SECRET)
    note = parse_note(str(sign_note("text\n", [ed25519, signer])))
    assert len(open_note(note, [ed25519.key])) == 1
    assert len(open_note(note, [signer.key])) == 1
    assert len(open_note(note, [ed25519.key, signer.key])) == 2


def test_a_key_is_read_as_it_was_written(signer: Sm2Signer) -> None:
    assert parse_sm2_key(str(signer.key)) == signer.key
    with pytest.raises(NoteError, match="not of SM2"):
        parse_sm2_key(str(NoteSigner("log.example/a", SECRET).key))
    with pytest.raises(NoteError, match="another id"):
        parse_sm2_key(str(signer.key).replace("log.example/a", "log.example/b"))


@pytest.mark.parametrize("pem", [b"", b"\xff", b"-----BEGIN EC PRIVATE KEY-----\nMHc=\n"])
def test_what_is_no_key_file_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds, all told as one
        load_sm2_signer("log.example/a", pem)


def test_halves_of_two_keys_are_refused(signer: Sm2Signer) -> None:
    whole = bytes.fromhex("30770201010420") + signer.secret
    whole += bytes.fromhex("a00a06082a811ccf5501822da14403420004") + POINT
    pem = b"-----BEGIN EC PRIVATE KEY-----\n" + b64encode(whole) + b"\n-----END EC PRIVATE KEY-----"
    with pytest.raises(ValueError, match="not that of its private key"):
        load_sm2_signer("log.example/a", pem)


@needs_openssl
def test_openssl_verifies_what_was_signed(signer: Sm2Signer, tmp_path: Path) -> None:
    public, text, signature = tmp_path / "public", tmp_path / "text", tmp_path / "signature"
    public.write_bytes(_POINT_INFO + signer.key.point)
    text.write_text("origin\n1\n")
    signature.write_bytes(signer.sign("origin\n1\n").signature)
    command = ["pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pubin", "-keyform", "DER"]
    command += ["-pkeyopt", "distid:1234567812345678", "-inkey", str(public)]
    command += ["-in", str(text), "-sigfile", str(signature)]
    assert openssl(*command).returncode == 0
    text.write_text("origin\n2\n")
    assert openssl(*command).returncode != 0


@needs_openssl
def test_openssl_reads_the_key_file_and_finds_the_same_public_half(tmp_path: Path) -> None:
    pem, public = tmp_path / "key", tmp_path / "public"
    pem.write_bytes(new_sm2_key())
    read = openssl("ec", "-in", pem, "-pubout", "-outform", "DER", "-out", public)
    assert read.returncode == 0, read.stderr
    key = load_sm2_signer("log.example/a", pem.read_bytes()).key
    assert public.read_bytes() == _POINT_INFO + key.point
