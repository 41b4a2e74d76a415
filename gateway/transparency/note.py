"""Signed notes (https://c2sp.org/signed-note) and the cosignatures of witnesses on them.

Ed25519 is what every tool of this kind checks. Another line may stand beside it, see
`gateway.transparency.sm2`; who does not know it passes over it, as the specification asks.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 64

_DASH: Final = "\u2014"
_LINE: Final = re.compile(rf"{_DASH} ([^\s+]+) ([A-Za-z0-9+/]+={{0,2}})")
_NAME: Final = re.compile(r"[^\s+]+")
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIGNED: Final = b"\x01"
_COSIGNED: Final = b"\x04"


class NoteError(ValueError):
    """The text is no such note, or nobody who is trusted has signed it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Attributes:
        name: of the key.
        key_id: first four bytes of the hash of name, type and key.
        signature: what that key made of the text.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and who signed it; nothing is verified yet.

    Attributes:
        text: with its last newline.
        signatures: in the order of the lines.
    """

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


class Verifier(Protocol):
    """A public key that is trusted."""

    @property
    def name(self) -> str:
        """Name of the key."""

    @property
    def key_id(self) -> bytes:
        """Its four bytes."""

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the key made this signature of the text."""


class Signer(Protocol):
    """A private key."""

    def sign(self, text: str) -> Signature:
        """The signature line for the text."""


# --- keys -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """An Ed25519 key that signs notes.

    Attributes:
        name: such as ``log.example/trust``: no space, no plus.
        public_key: the key.
    """

    name: str
    public_key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """Its four bytes in a signature line."""
        return key_id(self.name, _SIGNED + self.public_key.public_bytes_raw())

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the key signed the text."""
        return _holds(self.public_key, signature, text.encode())

    def __str__(self) -> str:
        """The key as ``name+id+base64``, as the specification writes it down."""
        return write_key(self.name, _SIGNED + self.public_key.public_bytes_raw())


@dataclass(frozen=True, slots=True)
class CosigningKey:
    """An Ed25519 key of a witness (https://c2sp.org/tlog-cosignature).

    Attributes:
        name: such as ``witness.example/supervisor``.
        public_key: the key.
    """

    name: str
    public_key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """Its four bytes in a signature line."""
        return key_id(self.name, _COSIGNED + self.public_key.public_bytes_raw())

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the key cosigned the text, at whatever time."""
        if len(signature) < _TIME_BYTES:
            return False
        time_s = int.from_bytes(signature[:_TIME_BYTES])
        return _holds(self.public_key, signature[_TIME_BYTES:], _cosigned(text, time_s))

    def __str__(self) -> str:
        """The key as ``name+id+base64``."""
        return write_key(self.name, _COSIGNED + self.public_key.public_bytes_raw())


def parse_key(written: str) -> Key | CosigningKey:
    """The Ed25519 key that was written down as ``name+id+base64``.

    Raises:
        NoteError: if it is none, or its id is not that of name and key.
    """
    name, typed = read_key(written)
    kind, raw = typed[:1], typed[1:]
    if kind not in {_SIGNED, _COSIGNED}:
        raise NoteError(f"the key {name} is neither of Ed25519 nor of a witness's Ed25519")
    try:
        public_key = Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise NoteError(f"the key {name} has not 32 bytes") from None
    return (Key if kind == _SIGNED else CosigningKey)(name, public_key)


def read_key(written: str) -> tuple[str, bytes]:
    """Name and typed key of what was written down as ``name+id+base64``.

    Raises:
        NoteError: if it is no key, or its id is not that of name and key.
    """
    name, _, rest = written.strip().partition("+")
    given_id, _, encoded = rest.partition("+")
    typed = _decoded(encoded)
    if not _NAME.fullmatch(name) or not typed:
        raise NoteError("a key is written name+id+base64")
    if key_id(name, typed).hex() != given_id.lower():
        raise NoteError(f"the key {name} has another id than {given_id}")
    return name, typed


def write_key(name: str, typed: bytes) -> str:
    """A key as ``name+id+base64``; `typed` is its kind and its bytes."""
    return f"{name}+{key_id(name, typed).hex()}+{b64encode(typed).decode()}"


def key_id(name: str, typed: bytes) -> bytes:
    """The four bytes that stand for a key in its signature lines."""
    return sha256(name.encode() + b"\n" + typed).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """Signs notes.

    Attributes:
        name: of the key.
        private_key: the key.
    """

    name: str
    private_key: Ed25519PrivateKey

    @property
    def key(self) -> Key:
        """The public side."""
        return Key(self.name, self.private_key.public_key())

    def sign(self, text: str) -> Signature:
        """The signature line for the text."""
        return Signature(self.name, self.key.key_id, self.private_key.sign(text.encode()))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Cosigns checkpoints: says that as of a time this is the largest tree it saw, all consistent.

    Attributes:
        name: of the key.
        private_key: the key, used for nothing else.
    """

    name: str
    private_key: Ed25519PrivateKey

    @property
    def key(self) -> CosigningKey:
        """The public side."""
        return CosigningKey(self.name, self.private_key.public_key())

    def sign(self, text: str, time_s: int) -> Signature:
        """The signature line for the text; `time_s` is POSIX time."""
        made = self.private_key.sign(_cosigned(text, time_s))
        return Signature(self.name, self.key.key_id, time_s.to_bytes(_TIME_BYTES) + made)


def cosigned_at(signature: Signature) -> int:
    """POSIX time of a cosignature that was verified."""
    return int.from_bytes(signature.signature[:_TIME_BYTES])


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _holds(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


# --- notes ------------------------------------------------------------------------------------


def sign_note(text: str, signers: Sequence[Signer]) -> Note:
    """A note of this text.

    Raises:
        NoteError: if the text is none that may stand in a note.
    """
    _require_text(text)
    return Note(text, tuple(signer.sign(text) for signer in signers))


def parse_note(note: str) -> Note:
    """Text and signature lines, nothing verified.

    Raises:
        NoteError: if it is no note; it names the line.
    """
    text, gap, block = note.rpartition("\n\n")
    if not gap or not block.endswith("\n"):
        raise NoteError("no blank line stands between a text and signature lines")
    text += "\n"
    _require_text(text)
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"more than {MAX_SIGNATURES} signature lines")
    first = text.count("\n") + 2
    return Note(text, tuple(_signature(line, number) for number, line in enumerate(lines, first)))


def open_note(note: Note, trusted: Sequence[Verifier]) -> tuple[Signature, ...]:
    """The signatures that trusted keys made; what unknown keys signed is passed over.

    Raises:
        NoteError: if a line of a trusted key does not verify, or there is none.
    """
    known = {(key.name, key.key_id): key for key in trusted}
    verified: dict[tuple[str, bytes], Signature] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        if not key.verify(note.text, line.signature):
            raise NoteError(f"the signature of {line.name} does not verify")
        verified.setdefault((line.name, line.key_id), line)
    if not verified:
        raise NoteError("none of the signatures is of a trusted key")
    return tuple(verified.values())


def _signature(line: str, number: int) -> Signature:
    found = _LINE.fullmatch(line)
    raw = _decoded(found[2]) if found else b""
    if found is None or len(raw) <= _KEY_ID_BYTES:
        raise NoteError(f"line {number} is no signature line")
    return Signature(found[1], raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _require_text(text: str) -> None:
    if not text.endswith("\n") or len(text.encode()) > MAX_NOTE_BYTES:
        raise NoteError(f"a text ends in a newline and has at most {MAX_NOTE_BYTES} bytes")
    if any(character < " " and character != "\n" for character in text):
        raise NoteError("the text has a control character")


def _decoded(encoded: str) -> bytes:
    """The bytes of canonical base64; none for anything else."""
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        return b""
    return raw if b64encode(raw).decode() == encoded else b""
