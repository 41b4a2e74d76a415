"""Certificates for the demo, trials and tests: one authority, a server's pair, a pair a person.

Production brings certificates of its own; all it needs is `identity_uri` as the URI SAN.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.domain.party import identity_uri

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

_OWNER_ONLY: Final = 0o600


@dataclass(frozen=True, slots=True)
class Validity:
    """First and last moment of a certificate, UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, P-256, which every TLS library takes."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM (PKCS #8), not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, certificate: Path, key: Path) -> None:
        """Writes both files; the key for its owner only, from the first byte on."""
        for path in (certificate, key):
            path.parent.mkdir(parents=True, exist_ok=True)
        certificate.write_bytes(self.certificate_pem)
        key.unlink(missing_ok=True)
        handle = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(handle, "wb") as file:
            file.write(self.key_pem)


def create_ca(common_name: str, validity: Validity) -> Pair:
    """A new authority that signs certificates of servers and persons, and no further authority."""
    key = _new_key()
    builder = _builder(common_name, common_name, key, validity)
    usage = _key_usage(signs_certificates=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Pair(builder.add_extension(usage, critical=True).sign(key, SHA256()), key)


def issue_server(ca: Pair, names: Sequence[x509.GeneralName], validity: Validity) -> Pair:
    """A server's pair, valid under these DNS names and addresses."""
    return _issue(ca, "xinyi-gateway", names, ExtendedKeyUsageOID.SERVER_AUTH, validity)


def issue_person(ca: Pair, party_id: str, person_id: str, validity: Validity) -> Pair:
    """A person's pair; the URI SAN names the party and the person, and nothing else does.

    Raises:
        GatewayError: FIELD_INVALID if an id is none.
    """
    uri = x509.UniformResourceIdentifier(identity_uri(party_id, person_id))
    return _issue(ca, person_id, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, validity)


def _issue(
    ca: Pair,
    common_name: str,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    validity: Validity,
) -> Pair:
    key = _new_key()
    issuer = ca.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    certificate = (
        _builder(common_name, str(issuer), key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca.key, SHA256())
    )
    return Pair(certificate, key)


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.start)
        .not_valid_after(validity.end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
