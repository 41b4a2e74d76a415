from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.envelope import (
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    Envelope,
    Signature,
    from_json,
    pae,
    sign,
    to_json,
    verify,
)
from gateway.domain.errors import GatewayError, Reason
from gateway.domain.keys import key_id
from gateway.domain.payload import canonical_bytes
from tests.gateway.domain.examples import payload, private_key

BYTES = canonical_bytes(payload())
WANG, LI = private_key("wang"), private_key("li")
SIGNED = sign(BYTES, WANG)
WIRE = json.loads(to_json(SIGNED))


def refused_by(envelope: Envelope, key: Ed25519PublicKey) -> Reason:
    with pytest.raises(GatewayError) as refused:
        verify(envelope, key)
    return refused.value.reason


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_the_signed_bytes_are_those_of_the_published_example() -> None:
    published = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == published


def test_lengths_count_bytes_so_that_type_and_payload_cannot_trade_places() -> None:
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "
    assert pae("a", b"b 1 c") != pae("a 5 b", b"c")


def test_a_signature_verifies_with_its_own_key_and_no_other() -> None:
    verify(SIGNED, WANG.public_key())
    assert refused_by(SIGNED, LI.public_key()) is Reason.SIGNATURE_INVALID


def test_two_signers_sign_the_same_bytes_in_one_envelope() -> None:
    both = replace(SIGNED, signatures=SIGNED.signatures + sign(BYTES, LI).signatures)
    both = from_json(to_json(both))
    verify(both, WANG.public_key())
    verify(both, LI.public_key())


@given(st.binary(max_size=200))
def test_an_envelope_survives_its_json(data: bytes) -> None:
    envelope = from_json(to_json(sign(data, WANG)))
    verify(envelope, WANG.public_key())
    assert envelope == sign(data, WANG)


@given(st.integers(0, len(BYTES) * 8 - 1))
def test_any_flipped_bit_of_the_payload_is_refused(bit: int) -> None:
    forged = replace(SIGNED, payload=flipped(BYTES, bit))
    assert refused_by(forged, WANG.public_key()) is Reason.SIGNATURE_INVALID


@given(st.integers(0, 511))
def test_any_flipped_bit_of_the_signature_is_refused(bit: int) -> None:
    (signature,) = SIGNED.signatures
    forged = replace(SIGNED, signatures=(replace(signature, sig=flipped(signature.sig, bit)),))
    assert refused_by(forged, WANG.public_key()) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_the_wrong_length_is_refused(length: int) -> None:
    (signature,) = SIGNED.signatures
    sig = (signature.sig + b"\x00")[:length]
    forged = replace(SIGNED, signatures=(replace(signature, sig=sig),))
    assert refused_by(forged, WANG.public_key()) is Reason.SIGNATURE_INVALID


def test_a_signature_under_a_changed_type_is_refused() -> None:
    other_type = "application/vnd.xinyi.policy.v1+json"
    sig = WANG.sign(pae(other_type, BYTES))
    keyid = key_id(WANG.public_key())
    honest_but_other = Envelope(other_type, BYTES, (Signature(keyid, sig),))
    assert refused_by(honest_but_other, WANG.public_key()) is Reason.SIGNATURE_INVALID
    relabelled = replace(honest_but_other, payload_type=PAYLOAD_TYPE)
    assert refused_by(relabelled, WANG.public_key()) is Reason.SIGNATURE_INVALID


def test_a_signature_over_the_bare_bytes_is_refused() -> None:
    bare = Signature(key_id(WANG.public_key()), WANG.sign(BYTES))
    forged = replace(SIGNED, signatures=(bare,))
    assert refused_by(forged, WANG.public_key()) is Reason.SIGNATURE_INVALID


def test_a_signature_under_another_s_key_id_is_refused() -> None:
    claimed = replace(SIGNED.signatures[0], keyid=key_id(LI.public_key()))
    forged = replace(SIGNED, signatures=(claimed,))
    assert refused_by(forged, LI.public_key()) is Reason.SIGNATURE_INVALID
    assert refused_by(forged, WANG.public_key()) is Reason.SIGNATURE_INVALID


def test_one_key_twice_in_an_envelope_is_refused() -> None:
    forged = replace(SIGNED, signatures=SIGNED.signatures * 2)
    assert refused_by(forged, WANG.public_key()) is Reason.SIGNATURE_INVALID


def test_a_forgery_under_a_weak_key_is_refused_though_the_mathematics_accept_it() -> None:
    identity = (1).to_bytes(32, "little")
    weak = Ed25519PublicKey.from_public_bytes(identity)
    forged = replace(SIGNED, signatures=(Signature(key_id(weak), identity + bytes(32)),))
    weak.verify(forged.signatures[0].sig, pae(PAYLOAD_TYPE, BYTES))
    assert refused_by(forged, weak) is Reason.SIGNATURE_INVALID


def test_the_json_is_the_protocol_s() -> None:
    assert {
        "payload": b64encode(BYTES).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {
                "keyid": key_id(WANG.public_key()),
                "sig": b64encode(SIGNED.signatures[0].sig).decode(),
            }
        ],
    } == WIRE


def test_json_written_by_another_tool_in_other_order_and_spacing_is_read() -> None:
    turned = dict(reversed(WIRE.items()))
    assert from_json(json.dumps(turned, indent=2).encode()) == SIGNED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 10_000,
        b"\xff\xfe{\x00}\x00",
        json.dumps({**WIRE, "extra": 1}).encode(),
        json.dumps({**WIRE, "payload_type": PAYLOAD_TYPE}).encode(),
        json.dumps({**WIRE, "payload": WIRE["payload"].rstrip("=") + "\n"}).encode(),
        json.dumps({**WIRE, "payload": "YR=="}).encode(),
        json.dumps({**WIRE, "payload": "YQ"}).encode(),
        json.dumps({**WIRE, "payload": urlsafe_b64encode(b"\xff\xff\xff").decode()}).encode(),
        json.dumps({**WIRE, "payload": "信"}).encode(),
        json.dumps({**WIRE, "payload": None}).encode(),
        json.dumps({**WIRE, "payloadType": ""}).encode(),
        json.dumps({**WIRE, "signatures": []}).encode(),
        json.dumps({**WIRE, "signatures": WIRE["signatures"] * 5}).encode(),
        json.dumps({**WIRE, "signatures": {}}).encode(),
        json.dumps({**WIRE, "signatures": [{"sig": "YQ=="}]}).encode(),
        json.dumps({**WIRE, "signatures": [{"keyid": "k", "sig": "YQ==", "x": 1}]}).encode(),
        b'{"payload":"YQ==",' + json.dumps(WIRE).encode()[1:],
        to_json(SIGNED).replace(b'"keyid"', b'"keyid": "k", "keyid"'),
    ],
    ids=range(22),
)
def test_what_is_not_strictly_an_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        from_json(data)
    assert refused.value.reason is Reason.FIELD_INVALID


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_noise_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(GatewayError):
        from_json(data)


def test_too_long_an_envelope_is_refused_unread() -> None:
    with pytest.raises(GatewayError) as refused:
        from_json(b" " * (MAX_ENVELOPE_BYTES + 1))
    assert refused.value.reason is Reason.LIMIT_EXCEEDED
