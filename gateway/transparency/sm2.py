"""SM2 signature lines (GB/T 32918.2) beside the Ed25519 ones, for reviewers who ask for 国密.

Key files, DER signatures and the default signer id are those of GM/T 0009 and GM/T 0010, so that
OpenSSL reads and checks them. The signed-note specification has no number for SM2: such a kind is
written 0xff with a name of its own behind it, and who does not know it passes over the line.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final

from gmssl_pyx import (  # type: ignore[import-untyped] # its stubs lack the marker
    GmsslInnerError,
    sm2_key_generate,
    sm2_sign,
    sm2_verify,
)

from gateway.transparency.note import NoteError, Signature, key_id, read_key, write_key

KIND: Final = b"\xffSM2-SM3 GM/T 0009-2012\n"

_POINT_BYTES: Final = 64
_SECRET_BYTES: Final = 32
_LABEL: Final = "EC PRIVATE KEY"

# RFC 5915 with the curve sm2p256v1 (1.2.156.10197.1.301): all but secret and point is fixed.
_BEFORE_SECRET: Final = bytes.fromhex("30770201010420")
_BEFORE_POINT: Final = bytes.fromhex("a00a06082a811ccf5501822da14403420004")


@dataclass(frozen=True, slots=True)
class Sm2Key:
    """An SM2 key that signs notes.

    Attributes:
        name: of the log, as the Ed25519 key has it.
        point: the public key, 64 bytes, without the leading 04.
    """

    name: str
    point: bytes

    @property
    def key_id(self) -> bytes:
        """Its four bytes in a signature line."""
        return key_id(self.name, KIND + self.point)

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the key signed the text."""
        try:
            return bool(sm2_verify(self.point, text.encode(), signature))
        except GmsslInnerError:
            return False

    def __str__(self) -> str:
        """The key as ``name+id+base64``."""
        return write_key(self.name, KIND + self.point)


def parse_sm2_key(written: str) -> Sm2Key:
    """The key that was written down as ``name+id+base64``.

    Raises:
        NoteError: if it is none, or its id is not that of name and key.
    """
    name, typed = read_key(written)
    point = typed.removeprefix(KIND)
    if point == typed or len(point) != _POINT_BYTES:
        raise NoteError(f"the key {name} is not of SM2")
    return Sm2Key(name, point)


@dataclass(frozen=True, slots=True)
class Sm2Signer:
    """Signs notes by SM2.

    Attributes:
        key: the public side.
        secret: the private key, 32 bytes.
    """

    key: Sm2Key
    secret: bytes

    def sign(self, text: str) -> Signature:
        """The signature line for the text."""
        made = sm2_sign(self.secret, self.key.point, text.encode())
        return Signature(self.key.name, self.key.key_id, made)


def new_sm2_key() -> bytes:
    """A fresh private key as a PEM file (RFC 5915)."""
    point, secret = sm2_key_generate()
    encoded = b64encode(_BEFORE_SECRET + secret + _BEFORE_POINT + point).decode()
    lines = "\n".join(encoded[at : at + 64] for at in range(0, len(encoded), 64))
    return f"-----BEGIN {_LABEL}-----\n{lines}\n-----END {_LABEL}-----\n".encode()


def load_sm2_signer(name: str, pem: bytes) -> Sm2Signer:
    """The signer whose private key a PEM file holds.

    Args:
        name: of the log.
        pem: as `new_sm2_key` writes it.

    Raises:
        ValueError: if it is no such file, or its two halves are not of one key.
    """
    _, _, rest = pem.decode("ascii").partition(f"-----BEGIN {_LABEL}-----")
    body, found, _ = rest.partition(f"-----END {_LABEL}-----")
    der = b64decode("".join(body.split()), validate=True) if found else b""
    secret = der[len(_BEFORE_SECRET) :][:_SECRET_BYTES]
    point = der[-_POINT_BYTES:]
    if der != _BEFORE_SECRET + secret + _BEFORE_POINT + point:
        raise ValueError("it holds no private key of SM2 in PEM (EC PRIVATE KEY)")
    signer = Sm2Signer(Sm2Key(name, point), secret)
    if not signer.key.verify("", signer.sign("").signature):
        raise ValueError("its public key is not that of its private key")
    return signer
