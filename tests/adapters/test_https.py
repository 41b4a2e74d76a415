"""Against a real TLS server on the loopback that asks for our certificate and breaks on purpose."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.connection import NotSentError, OutcomeUnknownError, RefusedError
from adapters.transports import https
from adapters.transports.https import HttpsExchange

CONTENT = "<CMS>成都</CMS>".encode("gbk")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<ok>"


@dataclass
class Authority:
    """Signs certificates into a folder."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed(self.name, self.key, is_authority=True)
        self._write(self.name, self.certificate, self.key)

    def issue(self, name: str, address: str = "127.0.0.1") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, self._signed(name, key, address=address), key)

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = False,
        address: str = "127.0.0.1",
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        encoding = serialization.Encoding.PEM
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(encoding))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(
                encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


class Bank:
    """Answers every request with the same bytes, then closes; None never answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer: bytes | None = ANSWER
        self.pause_s = 0.0
        self.received: list[bytes] = []
        authority = Authority(folder, "authority")
        for name in ("bank", "us"):
            authority.issue(name)
        authority.issue("elsewhere", "127.0.0.2")
        Authority(folder, "stranger").issue("intruder")
        self.certificate = "bank"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[HttpsExchange]:
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "authority.pem")
        )
        context.verify_mode = ssl.CERT_REQUIRED
        name = self.certificate
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        try:
            yield HttpsExchange(
                url=f"https://127.0.0.1:{port}/pay",
                client_certificate=self.folder / "us.pem",
                client_key=self.folder / "us.key",
                authority=self.folder / "authority.pem",
                content_type="application/xml; charset=GBK",
                timeout_s=20.0,
            )
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.received.append(head + await reader.readexactly(length))
            if self.answer is None:
                await reader.read()  # until the client gives up
            for byte in self.answer or b"":
                writer.write(bytes([byte]))
                if self.pause_s:
                    await writer.drain()
                    await asyncio.sleep(self.pause_s)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away, as some tests want
        finally:
            writer.close()


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


async def test_a_message_is_answered_over_certificates_of_both_sides(bank: Bank) -> None:
    async with bank.open() as wire:
        assert await wire.exchange(CONTENT) == b"<ok>"
    head, _, body = bank.received[0].partition(b"\r\n\r\n")
    assert body == CONTENT
    assert head.startswith(b"POST /pay HTTP/1.1")
    assert b"application/xml; charset=GBK" in head


async def test_an_answer_in_chunks_is_joined(bank: Bank) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    bank.answer = head + b"3\r\n<ok\r\n1\r\n>\r\n0\r\n\r\n"
    async with bank.open() as wire:
        assert await wire.exchange(CONTENT) == b"<ok>"


async def test_an_answer_cut_anywhere_leaves_the_outcome_unknown(bank: Bank) -> None:
    async with bank.open() as wire:
        for cut in range(0, len(ANSWER), 3):
            bank.answer = ANSWER[:cut]
            with pytest.raises(OutcomeUnknownError):
                await wire.exchange(CONTENT)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<ok\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n<ok>",
        b"no HTTP at all\r\n\r\n",
        b"\0" * 100,
    ],
)
async def test_an_answer_that_is_none_leaves_the_outcome_unknown(bank: Bank, answer: bytes) -> None:
    bank.answer = answer
    async with bank.open() as wire:
        with pytest.raises(OutcomeUnknownError):
            await wire.exchange(CONTENT)
    assert len(bank.received) == 1  # and nothing was sent again


@pytest.mark.parametrize("code", [401, 403, 404, 405, 413, 415])
async def test_a_door_that_does_not_take_it_is_a_refusal(bank: Bank, code: int) -> None:
    bank.answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % code
    async with bank.open() as wire:
        with pytest.raises(RefusedError, match=str(code)):
            await wire.exchange(CONTENT)


async def test_a_bank_that_never_answers_leaves_the_outcome_unknown(bank: Bank) -> None:
    bank.answer = None
    async with bank.open() as wire:
        with pytest.raises(OutcomeUnknownError):
            await replace(wire, timeout_s=1.0).exchange(CONTENT)
    assert len(bank.received) == 1


async def test_an_answer_that_drips_is_given_up_as_a_whole(bank: Bank) -> None:
    bank.pause_s = 0.2  # each byte in time, all of them far too late
    async with bank.open() as wire:
        with pytest.raises(OutcomeUnknownError):
            await replace(wire, timeout_s=1.0).exchange(CONTENT)


async def test_an_answer_without_end_is_bounded(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "_MOST_BYTES", 1000)
    bank.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
    async with bank.open() as wire:
        with pytest.raises(OutcomeUnknownError, match="larger"):
            await wire.exchange(CONTENT)


async def test_a_closed_port_sent_nothing(bank: Bank) -> None:
    async with bank.open() as wire:
        pass
    with pytest.raises(NotSentError):
        await wire.exchange(CONTENT)


@pytest.mark.parametrize("certificate", ["intruder", "elsewhere"])
async def test_a_bank_with_another_certificate_gets_nothing(bank: Bank, certificate: str) -> None:
    bank.certificate = certificate
    async with bank.open() as wire:
        with pytest.raises(NotSentError):
            await wire.exchange(CONTENT)
    assert bank.received == []


async def test_a_certificate_of_ours_that_the_bank_does_not_know_is_never_a_success(
    bank: Bank,
) -> None:
    async with bank.open() as wire:
        stranger = replace(
            wire,
            client_certificate=bank.folder / "intruder.pem",
            client_key=bank.folder / "intruder.key",
        )
        # In TLS 1.3 the refusal comes after the first bytes went out, so it may be unknown.
        with pytest.raises((NotSentError, OutcomeUnknownError)):
            await stranger.exchange(CONTENT)
    assert bank.received == []


async def test_the_proxies_of_the_machine_are_not_used(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with bank.open() as wire:
        assert await wire.exchange(CONTENT) == b"<ok>"


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1", "ftp://bank"])
async def test_an_address_without_tls_is_refused(bank: Bank, url: str) -> None:
    async with bank.open() as wire:
        with pytest.raises(ValueError, match="HTTPS"):
            await replace(wire, url=url).exchange(CONTENT)


async def test_a_key_that_is_not_of_the_certificate_is_refused(bank: Bank) -> None:
    async with bank.open() as wire:
        with pytest.raises(ValueError, match="certificate or key"):
            await replace(wire, client_key=bank.folder / "bank.key").exchange(CONTENT)
