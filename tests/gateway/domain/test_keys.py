from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.domain.errors import GatewayError, Reason
from gateway.domain.keys import (
    MAX_PEM_BYTES,
    dump_private_key,
    dump_public_key,
    is_weak,
    key_id,
    load_private_key,
    load_public_key,
    public_key_from_raw,
)
from tests.gateway.domain.examples import private_key

# RFC 8032, section 7.1, TEST 1: secret, public, signature of the empty message.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    "d25bf5f0595bbe24655141438e7a100b"
)
PRIME = 2**255 - 19
WEAK_Y = [
    0,
    1,
    PRIME - 1,
    PRIME,
    PRIME + 1,
    int("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16),
    int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16),
]


def test_a_key_file_keeps_the_key_of_the_standard_s_first_vector() -> None:
    pem = dump_private_key(Ed25519PrivateKey.from_private_bytes(SECRET))
    key = load_private_key(pem)
    assert key.public_key().public_bytes_raw() == PUBLIC
    assert key.sign(b"") == SIGNATURE


def test_a_public_key_file_keeps_its_key() -> None:
    key = public_key_from_raw(PUBLIC)
    assert load_public_key(dump_public_key(key)).public_bytes_raw() == PUBLIC


def test_a_key_id_is_the_digest_of_the_raw_key() -> None:
    assert key_id(public_key_from_raw(PUBLIC)) == f"{sha256(PUBLIC).hexdigest()}"


def test_an_encrypted_key_file_opens_with_its_passphrase_only() -> None:
    pem = dump_private_key(private_key("wang"), b"correct")
    assert b"ENCRYPTED" in pem
    assert load_private_key(pem, b"correct").private_bytes_raw() == (
        private_key("wang").private_bytes_raw()
    )
    for passphrase in (b"wrong", b"", None):
        with pytest.raises(GatewayError) as refused:
            load_private_key(pem, passphrase)
        assert refused.value.reason is Reason.FIELD_INVALID


def test_a_passphrase_for_a_file_that_has_none_is_refused() -> None:
    with pytest.raises(GatewayError):
        load_private_key(dump_private_key(private_key("wang")), b"any")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"A" * (16 * 1024 + 1),
    ],
)
def test_what_is_no_key_file_is_refused(pem: bytes) -> None:
    with pytest.raises(GatewayError) as private:
        load_private_key(pem)
    with pytest.raises(GatewayError) as public:
        load_public_key(pem)
    assert {private.value.reason, public.value.reason} == {Reason.FIELD_INVALID}
    assert [each.field for each in private.value.violations] == ["private_key"]
    assert [each.field for each in public.value.violations] == ["public_key"]


def test_a_key_file_may_be_as_long_as_the_bound() -> None:
    key = private_key("wang")
    padded = dump_public_key(key.public_key()).ljust(MAX_PEM_BYTES, b"\n")
    assert load_public_key(padded).public_bytes_raw() == key.public_key().public_bytes_raw()


def test_a_key_of_another_kind_is_refused() -> None:
    other = generate_private_key(SECP256R1())
    with pytest.raises(GatewayError):
        load_private_key(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(GatewayError):
        load_public_key(
            other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )


def test_the_files_of_the_two_halves_are_not_taken_for_each_other() -> None:
    key = private_key("wang")
    with pytest.raises(GatewayError):
        load_public_key(dump_private_key(key))
    with pytest.raises(GatewayError):
        load_private_key(dump_public_key(key.public_key()))


@pytest.mark.parametrize("raw", [b"", PUBLIC[:-1], PUBLIC + b"\x00"])
def test_a_raw_key_of_the_wrong_length_is_refused(raw: bytes) -> None:
    with pytest.raises(GatewayError):
        public_key_from_raw(raw)


def times_eight(y: int) -> int:
    """The y of eight times a point of y, by the curve's doubling law, which needs no sign of x."""
    d = -121665 * pow(121666, -1, PRIME)
    for _ in range(3):
        x2 = (y * y - 1) * pow(d * y * y + 1, -1, PRIME)
        y = (y * y + x2) * pow(1 - d * x2 * y * y, -1, PRIME) % PRIME
    return y


@pytest.mark.parametrize("y", WEAK_Y)
def test_the_points_taken_for_weak_vanish_when_multiplied_by_eight(y: int) -> None:
    assert times_eight(y) == 1


@pytest.mark.parametrize("sign_bit", [0, 1])
@pytest.mark.parametrize("y", WEAK_Y)
def test_a_key_that_anybody_can_sign_for_is_refused_however_it_is_written(
    y: int, sign_bit: int
) -> None:
    raw = (y + (sign_bit << 255)).to_bytes(32, "little")
    with pytest.raises(GatewayError, match="weak"):
        public_key_from_raw(raw)
    with pytest.raises(GatewayError, match="weak"):
        load_public_key(dump_public_key(Ed25519PublicKey.from_public_bytes(raw)))


def test_the_library_alone_would_accept_a_forgery_under_a_weak_key() -> None:
    """Why weak keys are refused: nobody holds a secret, yet this signature of any text verifies."""
    identity = (1).to_bytes(32, "little")
    weak = Ed25519PublicKey.from_public_bytes(identity)
    weak.verify(identity + bytes(32), b"pay me")
    assert is_weak(weak)


def test_ordinary_keys_are_not_weak() -> None:
    assert not any(is_weak(private_key(str(seed)).public_key()) for seed in range(50))
