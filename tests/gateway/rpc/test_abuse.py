"""Callers who flood, stall, overflow and vanish: the server stays up, and others are served.

Every attack goes over real sockets, and while it lasts somebody of another party is answered.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import grpc
import h2.config
import h2.connection
import pytest
import structlog
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # it ships no stubs
from grpc_status import rpc_status
from xinyi.v1 import bank_service_pb2 as bank
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import party_service_pb2 as pb
from xinyi.v1 import payment_service_pb2 as payment

from gateway import app
from gateway.client import call
from gateway.rpc import limits
from gateway.settings import Settings
from gateway.store import application_url
from tests.gateway.support import (
    CHAIR,
    FIRM,
    OPERATOR,
    Callers,
    Pki,
    StillClock,
    failure,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.conftest import TlsSettings

WHO = pb.GetCallerRequest()
WATCH = payment.WatchPaymentsRequest()
MANY = 200
VOUCHER = b"%PDF-1.7 " + b"x" * (9 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class House:
    """A gateway under attack."""

    callers: Callers

    async def serves_others(self) -> None:
        """Somebody of another party, over a connection of their own, gets an answer."""
        channel = await self.callers.channel(self.callers.pki.people[CHAIR])
        asked = channel.unary_unary(
            "/xinyi.v1.PartyService/GetCaller",
            request_serializer=pb.GetCallerRequest.SerializeToString,
            response_deserializer=pb.GetCallerResponse.FromString,
        )
        answer = await asked(WHO, timeout=30)
        assert answer.person.name == CHAIR.name

    def raw_tls(self, pki: Pki, folder: Path) -> ssl.SSLSocket:
        """A connection as the firm's cashier, of which the test writes every byte."""
        pair = pki.people[FIRM]
        pair.write(folder / "firm.pem", folder / "firm.key")
        context = ssl.create_default_context(cadata=pki.ca.certificate_pem.decode())
        context.load_cert_chain(folder / "firm.pem", folder / "firm.key")
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", self.callers.port), timeout=10)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.fixture
async def opens(
    database_url: str, tls_settings: TlsSettings, clock: StillClock, pki: Pki, tmp_path: Path
) -> AsyncIterator[Any]:
    """Opens a gateway with the limits as the test has set them."""
    async with AsyncExitStack() as stack:

        async def open_house(**fields: Any) -> House:
            settings = Settings(listen="127.0.0.1:0", data_dir=tmp_path, **tls_settings, **fields)
            running = app.running(settings, application_url(database_url), clock)
            gateway = await stack.enter_async_context(running)
            people = replace(pki, people=dict(pki.people))
            callers = await stack.enter_async_context(Callers(gateway.port, people))
            return House(callers)

        yield open_house


def _with_option(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    """The server's options with another value for one that they have."""
    options = dict(limits.OPTIONS)
    assert name in options
    changed = tuple({**options, name: value}.items())
    monkeypatch.setattr("gateway.rpc.server.OPTIONS", changed)


# --- too much of it ---


async def test_party_that_calls_too_often_is_told_when_to_come_back(opens: Any) -> None:
    house = await opens(party_calls_per_s=0.5, party_burst=3)
    firm = await house.callers.as_(FIRM)
    for _ in range(3):
        await firm.parties.GetCaller(WHO)
    error = await failure(firm.parties.GetCaller(WHO))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details: Any = rpc_status.from_call(error)  # type: ignore[arg-type] # it has what is asked
    retry, quota = error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure()
    assert any(each.Unpack(retry) for each in details.details)
    assert any(each.Unpack(quota) for each in details.details)
    assert 0 < retry.retry_delay.ToMilliseconds() <= 2000
    assert quota.violations[0].subject == "parties/anju"
    await house.serves_others()


async def test_own_client_is_patient_with_a_limit_that_passes(opens: Any) -> None:
    house = await opens(party_calls_per_s=50, party_burst=1)
    firm = await house.callers.as_(FIRM)
    for _ in range(5):
        answer = await call(firm.parties.GetCaller, WHO)
        assert answer.person.name == FIRM.name


async def test_flood_of_strangers_is_counted_before_the_store_is_asked(opens: Any) -> None:
    """A certificate of our authority that nobody registered is counted all the same."""
    house = await opens(party_calls_per_s=0.01, party_burst=2)
    stranger: Any = await house.callers.channel(house.callers.pki.issue(FIRM))
    asked = stranger.unary_unary("/xinyi.v1.PartyService/GetCaller")
    reasons = [(await refusal(asked(b""))).reason for _ in range(4)]
    assert reasons == ["CERTIFICATE_UNKNOWN"] * 2 + ["RATE_EXCEEDED"] * 2
    await house.serves_others()


async def test_party_has_only_so_many_watches(opens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PARTY_WATCHES", 2)
    house = await opens()
    firm = await house.callers.as_(FIRM)
    watches = [firm.payments.WatchPayments(WATCH) for _ in range(3)]
    reads = [asyncio.ensure_future(watch.read()) for watch in watches]
    (ended, *_), _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
    assert (await refusal(ended)).reason == "RATE_EXCEEDED"
    await house.serves_others()
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*reads, return_exceptions=True)


async def test_message_or_header_beyond_its_size_is_refused(opens: Any) -> None:
    house = await opens()
    operator = await house.callers.as_(OPERATOR)
    huge = bank.ImportStatementRequest(content=b"x" * (limits.MAX_MESSAGE_BYTES + 1))
    refused = await refusal(operator.banks.ImportStatement(iter([huge])))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    header = ("x-huge", "x" * 2 * limits.MAX_HEADER_BYTES)
    error = await failure(operator.parties.GetCaller(WHO, metadata=[header]))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await operator.parties.GetCaller(WHO)
    await house.serves_others()


# --- too slow ---


async def test_slow_reader_is_ended_and_costs_one_message(
    opens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many read the first part of a large voucher and no more."""
    monkeypatch.setattr(limits, "WRITE_S", 0.5)
    monkeypatch.setattr(limits, "TELL_S", 0.5)
    monkeypatch.setattr(limits, "MAX_PARTY_CALLS", 20)
    house = await opens()
    firm = await house.callers.as_(FIRM)
    name = await _upload(firm)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    request = disclosure.GetVoucherRequest(name=name)
    stalled = []
    for _ in range(20):
        calls = firm.disclosure.GetVoucher(request, timeout=120)
        await calls.read()
        stalled.append(calls)
    await house.serves_others()
    await _until_served(firm)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    # Client and server are one process here: all that was sent is in it twice at most.
    assert grown_kb < 400 * 1024
    for calls in stalled:
        calls.cancel()


async def test_slow_reader_that_reads_on_is_told(
    opens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_S", 0.2)
    house = await opens()
    firm = await house.callers.as_(FIRM)
    calls = firm.disclosure.GetVoucher(disclosure.GetVoucherRequest(name=await _upload(firm)))
    await calls.read()
    await asyncio.sleep(1)

    async def read_on() -> None:
        while await calls.read() is not grpc.aio.EOF:
            pass

    assert (await refusal(read_on())).reason == "LIMIT_EXCEEDED"


async def test_reader_that_goes_away_in_the_middle_is_no_defect(opens: Any) -> None:
    house = await opens()
    firm = await house.callers.as_(FIRM)
    request = disclosure.GetVoucherRequest(name=await _upload(firm))
    with structlog.testing.capture_logs() as log:
        for _ in range(3):
            calls = firm.disclosure.GetVoucher(request)
            await calls.read()
            await asyncio.sleep(0.2)
            calls.cancel()
        for _ in range(600):
            ended = [line["code"] for line in log if line["event"] == "call"]
            if len(ended) == 3:
                break
            await asyncio.sleep(0.05)
    assert ended == ["CANCELLED"] * 3
    assert [line for line in log if line["event"] == "call_broken"] == []


async def test_slow_sender_is_ended(opens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READ_S", 0.2)
    house = await opens()
    firm = await house.callers.as_(FIRM)

    async def never() -> AsyncIterator[payment.UploadVoucherRequest]:
        yield payment.UploadVoucherRequest(header=_header(VOUCHER))
        await asyncio.Event().wait()

    refused = await refusal(firm.payments.UploadVoucher(never()))
    assert refused.reason == "LIMIT_EXCEEDED"
    await house.serves_others()


async def test_watch_lasts_its_time_and_is_resumed(
    opens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_DEADLINE_S", 0.3)
    house = await opens()
    firm = await house.callers.as_(FIRM)
    for deadline_s in (None, 3600):
        watch = firm.payments.WatchPayments(WATCH, timeout=deadline_s)
        refused = await refusal(watch.read())
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "DEADLINE_TOO_SHORT",
        )


# --- gone again ---


async def test_flood_of_cancelled_calls_leaves_nothing_behind(
    opens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PARTY_CALLS", 50)
    house = await opens(party_burst=100_000)
    firm = await house.callers.as_(FIRM)
    for _ in range(10):
        flood = [firm.parties.GetCaller(WHO) for _ in range(MANY)]
        await asyncio.sleep(0)
        for each in flood:
            each.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    await house.serves_others()
    await _until_served(firm)


async def test_streams_opened_and_reset_at_once_do_not_hold_up_others(
    opens: Any, pki: Pki, tmp_path: Path
) -> None:
    """Rapid reset, CVE-2023-44487: as many streams as the server will take from one connection."""
    house = await opens(party_burst=100_000)

    def flood() -> int:
        sent = 0
        with house.raw_tls(pki, tmp_path) as raw:
            connection = _http2(raw)
            with suppress(OSError, h2.exceptions.ProtocolError):
                for _ in range(3_000):
                    stream = connection.get_next_available_stream_id()
                    connection.send_headers(stream, _headers("GetCaller"))
                    connection.reset_stream(stream, 8)
                    raw.sendall(connection.data_to_send())
                    sent += 1
        return sent

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    await house.serves_others()
    assert await flooding > 0
    await house.serves_others()


async def test_http2_that_breaks_its_own_rules_ends_its_connection_only(
    opens: Any, pki: Pki, tmp_path: Path
) -> None:
    house = await opens()

    def rubbish() -> None:
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, b"\xff" * 4096):
            with house.raw_tls(pki, tmp_path) as raw, suppress(OSError):
                raw.sendall(junk)
                while raw.recv(4096):
                    pass

    await asyncio.to_thread(rubbish)
    await house.serves_others()


# --- never quite there ---


async def test_handshakes_that_are_never_finished_are_dropped(
    opens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some say nothing, some half of a hello."""
    _with_option(monkeypatch, "grpc.server_handshake_timeout_ms", 1_000)
    house = await opens()
    opened = [await asyncio.open_connection("127.0.0.1", house.callers.port) for _ in range(MANY)]
    for _, writer in opened[::2]:
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    await house.serves_others()
    ended = await asyncio.gather(*(_ends(reader) for reader, _ in opened))
    assert all(ended)
    for _, writer in opened:
        writer.close()
    await house.serves_others()


async def test_connections_beyond_the_bound_are_refused_and_the_others_go_on(
    opens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_option(monkeypatch, "grpc.max_allowed_incoming_connections", 20)
    house = await opens()
    chair = await house.callers.as_(CHAIR)
    await chair.parties.GetCaller(WHO)
    opened = [await asyncio.open_connection("127.0.0.1", house.callers.port) for _ in range(60)]
    refused = [asyncio.ensure_future(_ends(reader)) for reader, _ in opened]
    done, rest = await asyncio.wait(refused, timeout=5)
    assert len(done) >= 40
    await chair.parties.GetCaller(WHO)
    for each in rest:
        each.cancel()
    for _, writer in opened:
        writer.close()


# --- shared ---


def _header(content: bytes) -> payment.UploadVoucherHeader:
    name = f"funds/wutong/vouchers/{sha256(content).hexdigest()}"
    return payment.UploadVoucherHeader(
        parent="funds/wutong",
        voucher=payment.Voucher(
            name=name, file_name="a.pdf", media_type="application/pdf", size_bytes=len(content)
        ),
        request_id=request_id(),
    )


async def _upload(firm: Any) -> str:
    parts = [payment.UploadVoucherRequest(header=_header(VOUCHER))]
    size = 1 << 20
    parts += [
        payment.UploadVoucherRequest(content=VOUCHER[begin : begin + size])
        for begin in range(0, len(VOUCHER), size)
    ]
    return str((await firm.payments.UploadVoucher(iter(parts))).voucher.name)


async def _until_served(calls: Any) -> None:
    """Waits until the party's calls have ended, so that it may call again."""
    while True:
        try:
            await calls.parties.GetCaller(WHO)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)
        else:
            return


async def _ends(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ended the connection."""
    with suppress(ConnectionError):
        while await reader.read(4096):
            pass
    return True


def _http2(raw: ssl.SSLSocket) -> h2.connection.H2Connection:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    raw.sendall(connection.data_to_send())
    return connection


def _headers(method: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", f"/xinyi.v1.PartyService/{method}"),
        (":authority", "127.0.0.1"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
