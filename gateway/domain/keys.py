"""Ed25519 keys (RFC 8032): their ids and their files.

The gateway itself only ever holds public ones.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.domain.errors import Reason, invalid

MAX_PEM_BYTES = 16 * 1024

_FIELD_PRIME = 2**255 - 19
_ORDER_EIGHT_Y = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_EIGHT_Y, _FIELD_PRIME - _ORDER_EIGHT_Y})


def key_id(public_key: Ed25519PublicKey) -> str:
    """The SHA-256 of the 32 raw bytes, in hexadecimal; stands as keyid in envelopes."""
    return sha256(public_key.public_bytes_raw()).hexdigest()


def is_weak(public_key: Ed25519PublicKey) -> bool:
    """Whether the key is one of the curve's few points of order 1, 2, 4 or 8.

    Such a key has no secret: signatures that verify under it can be made by anybody for any text,
    and the usual libraries accept them. Compared is y, the sign bit of x aside, reduced as they
    reduce it.
    """
    encoded = int.from_bytes(public_key.public_bytes_raw(), "little")
    return encoded % 2**255 % _FIELD_PRIME in _SMALL_ORDER_Y


def public_key_from_raw(raw: bytes) -> Ed25519PublicKey:
    """The key of these 32 bytes.

    Raises:
        GatewayError: FIELD_INVALID if they are not a key, or a weak one.
    """
    try:
        return _sound(Ed25519PublicKey.from_public_bytes(raw))
    except ValueError:
        raise invalid(Reason.FIELD_INVALID, "public_key", "is not 32 bytes") from None


def load_public_key(pem: bytes) -> Ed25519PublicKey:
    """The key of a PEM file (SubjectPublicKeyInfo).

    Raises:
        GatewayError: FIELD_INVALID if it is not an Ed25519 public key, or a weak one.
    """
    try:
        key = load_pem_public_key(_bounded(pem, "public_key"))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise invalid(Reason.FIELD_INVALID, "public_key", "is not an Ed25519 public key in PEM")
    return _sound(key)


def load_private_key(pem: bytes, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The key of a person's own PEM file (PKCS #8).

    Args:
        pem: the file.
        passphrase: what it is encrypted with; None for a file that is not.

    Raises:
        GatewayError: FIELD_INVALID if it is not an Ed25519 key, or not with this passphrase.
    """
    try:
        key = load_pem_private_key(_bounded(pem, "private_key"), passphrase)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise invalid(
            Reason.FIELD_INVALID, "private_key", "does not open as an Ed25519 private key in PEM"
        )
    return key


def dump_public_key(key: Ed25519PublicKey) -> bytes:
    """The key as PEM (SubjectPublicKeyInfo)."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def dump_private_key(key: Ed25519PrivateKey, passphrase: bytes | None = None) -> bytes:
    """The key as PEM (PKCS #8), encrypted where a passphrase is given."""
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _sound(key: Ed25519PublicKey) -> Ed25519PublicKey:
    if is_weak(key):
        raise invalid(Reason.FIELD_INVALID, "public_key", "is a weak key that anybody can sign for")
    return key


def _bounded(pem: bytes, path: str) -> bytes:
    if len(pem) > MAX_PEM_BYTES:
        raise invalid(Reason.FIELD_INVALID, path, f"is longer than {MAX_PEM_BYTES} bytes")
    return pem
