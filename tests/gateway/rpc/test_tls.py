"""The server's certificate and its client authorities change while it runs."""

from __future__ import annotations

import asyncio
import ssl
from hashlib import sha256
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from xinyi.v1 import party_service_pb2 as pb

from gateway import app
from gateway.client import stubs
from gateway.pki import Pair, create_ca, issue_person, issue_server
from gateway.registry import parties
from gateway.rpc.tls import TlsFiles, server_credentials
from gateway.settings import Settings
from gateway.store import GATEWAY, Store, application_url
from tests.gateway.support import CHAIR, FIRM, LONG, NOW, Callers, Pki, StillClock, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WHO = pb.GetCallerRequest()
NAMES = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]


@pytest.fixture
def files(pki: Pki, tmp_path: Path) -> TlsFiles:
    made = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    issue_server(pki.ca, NAMES, LONG).write(made.certificate, made.key)
    made.client_ca.write_bytes(pki.ca.certificate_pem)
    return made


@pytest.fixture
async def rotating(
    files: TlsFiles, database_url: str, clock: StillClock, pki: Pki, tmp_path: Path
) -> AsyncIterator[Callers]:
    settings = Settings(
        listen="127.0.0.1:0",
        data_dir=tmp_path,
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=files.client_ca,
    )
    async with (
        app.running(settings, application_url(database_url), clock) as running,
        Callers(running.port, pki) as callers,
    ):
        yield callers


async def _served(port: int) -> str:
    """SHA-256 of the certificate that a new connection is met with."""

    def look() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)

    pem = await asyncio.to_thread(look)
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def _fingerprint(pair: Pair) -> str:
    return sha256(pair.certificate.public_bytes(Encoding.DER)).hexdigest()


async def test_new_connections_meet_the_new_certificate_and_old_ones_go_on(
    rotating: Callers, files: TlsFiles
) -> None:
    chair = await rotating.as_(CHAIR)
    await chair.parties.GetCaller(WHO)
    before = await _served(rotating.port)
    renewed = issue_server(rotating.pki.ca, NAMES, LONG)
    renewed.write(files.certificate, files.key)
    assert await _served(rotating.port) == _fingerprint(renewed) != before
    await chair.parties.GetCaller(WHO)
    firm = await rotating.as_(FIRM)
    await firm.parties.GetCaller(WHO)


async def test_files_that_cannot_be_used_leave_the_old_ones_in_force(
    rotating: Callers, files: TlsFiles
) -> None:
    """A certificate whose key is not there yet, one that is none, and one that is gone."""
    before = await _served(rotating.port)
    renewed = issue_server(rotating.pki.ca, NAMES, LONG)
    old_key = files.key.read_bytes()
    renewed.write(files.certificate, files.key)
    new_key = files.key.read_bytes()
    files.key.write_bytes(old_key)
    assert await _served(rotating.port) == before
    files.certificate.write_text("no certificate")
    assert await _served(rotating.port) == before
    files.certificate.unlink()
    assert await _served(rotating.port) == before
    files.certificate.write_bytes(renewed.certificate_pem)
    files.key.write_bytes(new_key)
    assert await _served(rotating.port) == _fingerprint(renewed)


async def test_authority_of_the_clients_changes_too(
    rotating: Callers, files: TlsFiles, store: Store
) -> None:
    """Two authorities while both are in use, then only the new one."""
    successor = create_ca("successor", LONG)
    pair = issue_person(successor, CHAIR.party_id, CHAIR.person_id, LONG)
    async with store.transaction(GATEWAY) as conn:
        ids = (CHAIR.party_id, CHAIR.person_id)
        pem = pair.certificate_pem.decode()
        await parties.create_certificate(conn, *ids, pem=pem, now=NOW)

    async def chair_with(pair: Pair) -> str:
        calls = stubs(await rotating.channel(pair))
        try:
            await calls.parties.GetCaller(WHO, timeout=10)
        except Exception:  # noqa: BLE001 - TLS refuses in many words
            return "refused"
        return "served"

    assert await chair_with(pair) == "refused"
    files.client_ca.write_bytes(rotating.pki.ca.certificate_pem + successor.certificate_pem)
    assert await chair_with(pair) == "served"
    assert await chair_with(rotating.pki.people[CHAIR]) == "served"
    files.client_ca.write_bytes(successor.certificate_pem)
    assert await chair_with(rotating.pki.people[CHAIR]) == "refused"
    assert await chair_with(pair) == "served"


async def test_server_does_not_start_with_a_key_of_another_certificate(
    files: TlsFiles, pki: Pki, tmp_path: Path
) -> None:
    issue_server(pki.ca, NAMES, LONG).write(tmp_path / "other.pem", files.key)
    with pytest.raises(ValueError, match="is not that of the certificate"):
        server_credentials(files)


async def test_revoked_certificate_is_refused_at_the_next_call_of_an_open_connection(
    rotating: Callers, store: Store
) -> None:
    chair = await rotating.as_(CHAIR)
    await chair.parties.GetCaller(WHO)
    fingerprint = _fingerprint(rotating.pki.people[CHAIR])
    async with store.transaction(GATEWAY) as conn:
        await parties.revoke_certificate(
            conn, CHAIR.party_id, CHAIR.person_id, fingerprint, now=NOW
        )
    assert (await refusal(chair.parties.GetCaller(WHO))).reason == "CERTIFICATE_REVOKED"
