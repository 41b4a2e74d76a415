"""Signed envelopes: DSSE with Ed25519 over a payment's bytes.

The protocol: https://github.com/secure-systems-lab/dsse, version 1.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.domain.errors import Reason, invalid
from gateway.domain.keys import is_weak, key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PAYLOAD_TYPE = "application/vnd.xinyi.payment.v1+json"
BATCH_TYPE = "application/vnd.xinyi.batch.v1+json"
MAX_ENVELOPE_BYTES = 32 * 1024
MAX_BATCH_ENVELOPE_BYTES = 1024 * 1024
MAX_SIGNATURES = 4


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature.

    Attributes:
        keyid: `key_id` of the key that made it; a hint, proven only by `verify`.
        sig: the 64 bytes.
    """

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Signed bytes with their signatures.

    Attributes:
        payload_type: what the bytes are: `PAYLOAD_TYPE`, `BATCH_TYPE`. Signed along with them.
        payload: the bytes, exactly as signed.
        signatures: who signed.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are really signed: DSSE's pre-authentication encoding of type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(
    payload: bytes, private_key: Ed25519PrivateKey, payload_type: str = PAYLOAD_TYPE
) -> Envelope:
    """An envelope of these bytes, signed as a payment, or as a batch of them, with one key."""
    made_by = key_id(private_key.public_key())
    sig = private_key.sign(pae(payload_type, payload))
    return Envelope(payload_type, payload, (Signature(made_by, sig),))


def verify(
    envelope: Envelope, public_key: Ed25519PublicKey, payload_type: str = PAYLOAD_TYPE
) -> None:
    """Passes only if this key signed these bytes as a payment, or as what `payload_type` says.

    Other signatures in the envelope are neither looked at nor vouched for.

    Raises:
        GatewayError: SIGNATURE_INVALID if the type is another, if the envelope has no signature
            or more than one under this key's id, if the key is weak, or if the signature does not
            verify.
    """
    mine = [each.sig for each in envelope.signatures if each.keyid == key_id(public_key)]
    if envelope.payload_type != payload_type:
        _refuse("is over something of another kind")
    if len(mine) != 1:
        _refuse(f"has {len(mine)} signatures of the key instead of one")
    if is_weak(public_key):
        _refuse("is by a key that anybody can sign for")
    verifies = _verifies if payload_type == PAYLOAD_TYPE else _batch_verifies
    signed = pae(envelope.payload_type, envelope.payload)
    if not verifies(public_key.public_bytes_raw(), mine[0], signed):
        _refuse("does not verify")


def _check(raw_key: bytes, sig: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(raw_key).verify(sig, signed)
    except InvalidSignature:
        return False
    return True


# A signature is checked when it is given and again at release: the arithmetic, which depends on
# nothing but its three inputs, need not be done twice within moments.
_verifies = lru_cache(maxsize=4096)(_check)
_batch_verifies = lru_cache(maxsize=16)(_check)


def to_json(envelope: Envelope) -> bytes:
    """The envelope as standard DSSE JSON."""
    signatures = [{"keyid": each.keyid, "sig": _encode(each.sig)} for each in envelope.signatures]
    document = {
        "payload": _encode(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": signatures,
    }
    return json.dumps(document).encode()


def from_json(data: bytes, limit_bytes: int = MAX_ENVELOPE_BYTES) -> Envelope:
    """The envelope that this DSSE JSON is; nothing in it is verified yet.

    Stricter than the protocol asks: standard base64 only, no further fields, no key twice.

    Raises:
        GatewayError: FIELD_INVALID if it is not such an envelope, LIMIT_EXCEEDED if it is too long.
    """
    if len(data) > limit_bytes:
        raise invalid(Reason.LIMIT_EXCEEDED, "envelope", f"is longer than {limit_bytes} bytes")
    try:
        wire = _WireEnvelope.model_validate_json(data)
        json.loads(data, object_pairs_hook=_without_duplicates)
    except ValueError:
        raise invalid(Reason.FIELD_INVALID, "envelope", "is not a DSSE envelope") from None
    signatures = tuple(Signature(each.keyid, _decode(each.sig)) for each in wire.signatures)
    return Envelope(wire.payload_type, _decode(wire.payload), signatures)


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


def _decode(text: str) -> bytes:
    return b64decode(text, validate=True)


def _base64(text: str) -> str:
    """Refuses text that decodes but is not what encoding would have written."""
    if _encode(_decode(text)) != text:
        raise ValueError("is not canonical base64")
    return text


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuses a key given twice: two readers could take different ones."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("has a key twice")
    return fields


def _refuse(why: str) -> NoReturn:
    raise invalid(Reason.SIGNATURE_INVALID, "envelope.signatures", why) from None


_Base64 = Annotated[str, AfterValidator(_base64)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _WireSignature(_Wire):
    keyid: Annotated[str, Field(min_length=1, max_length=128)]
    sig: _Base64


class _WireEnvelope(_Wire):
    payload: _Base64
    payload_type: Annotated[str, Field(alias="payloadType", min_length=1, max_length=128)]
    signatures: Annotated[
        tuple[_WireSignature, ...], Field(min_length=1, max_length=MAX_SIGNATURES)
    ]
