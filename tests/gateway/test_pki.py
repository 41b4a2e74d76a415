"""Certificates for trials: they name one person, do one thing, and keep their key to the owner."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.domain.errors import GatewayError
from gateway.pki import create_ca, issue_person, issue_server
from tests.gateway.support import LONG

if TYPE_CHECKING:
    from pathlib import Path

CA = create_ca("one", LONG)
CHAIR = issue_person(CA, "committee", "chair", LONG)


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value


def test_persons_certificate_names_party_and_person_once_and_nothing_else() -> None:
    uri = x509.UniformResourceIdentifier("xinyi://party/committee/person/chair")
    assert list(_names(CHAIR.certificate)) == [uri]


def test_certificate_is_the_authoritys_and_of_no_other() -> None:
    CHAIR.certificate.verify_directly_issued_by(CA.certificate)
    with pytest.raises(InvalidSignature):
        CHAIR.certificate.verify_directly_issued_by(create_ca("one", LONG).certificate)


def test_person_is_no_server_and_server_no_person() -> None:
    server = issue_server(CA, [x509.DNSName("localhost")], LONG)
    for pair, purpose in (
        (CHAIR, ExtendedKeyUsageOID.CLIENT_AUTH),
        (server, ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        usage = pair.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert list(usage.value) == [purpose]


@pytest.mark.parametrize(("party_id", "person_id"), [("A", "b"), ("a", ""), ("a/b", "c")])
def test_id_that_is_none_gets_no_certificate(party_id: str, person_id: str) -> None:
    with pytest.raises(GatewayError):
        issue_person(CA, party_id, person_id, LONG)


def test_written_key_is_its_owners_alone_and_opens_again(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    key.write_text("an older one, open to all")
    key.chmod(0o644)
    CHAIR.write(certificate, key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    read = load_pem_private_key(key.read_bytes(), None)
    assert read.public_key() == CHAIR.certificate.public_key()
    assert x509.load_pem_x509_certificate(certificate.read_bytes()) == CHAIR.certificate
