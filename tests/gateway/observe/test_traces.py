"""Traces, as a collector receives them: call, transaction, bank file; and nothing where none is."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from xinyi.v1 import party_service_pb2 as party
from xinyi.v1 import payment_service_pb2 as pb

from gateway import app
from gateway.logs import log_to
from gateway.settings import Settings
from gateway.watching import WatchError, enrichment
from tests.gateway.payments.desk import ACCOUNT, PAYEE, Desk, ask
from tests.gateway.support import FIRM, Callers, request_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.support import Pki, StillClock

    Opened = Callable[[], AbstractAsyncContextManager[Desk]]

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SUBMIT = "xinyi.v1.PaymentService/SubmitPayment"


class Collector:
    """What an OpenTelemetry collector was sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.endpoint = ""

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    @contextmanager
    def open(self) -> Iterator[None]:
        kept = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip  # noqa: PLC0415 - only then

                    body = gzip.decompress(body)
                kept.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            self.endpoint = f"http://127.0.0.1:{server.server_port}"
            yield
            server.shutdown()


@pytest.fixture
def collector() -> Iterator[Collector]:
    opened = Collector()
    with opened.open():
        yield opened


@pytest.fixture
def settings(tls_settings: TlsSettings, tmp_path: Path, collector: Collector) -> Settings:
    return Settings(
        listen="127.0.0.1:0",
        data_dir=tmp_path,
        otlp_endpoint=collector.endpoint,
        **tls_settings,
    )


@pytest.fixture
def opened(settings: Settings, database_url: str, clock: StillClock, pki: Pki) -> Opened:
    """Opens a gateway that sends its traces when it is closed."""

    @asynccontextmanager
    async def open_gateway() -> AsyncIterator[Desk]:
        async with (
            app.running(settings, database_url, clock) as gateway,
            Callers(gateway.port, pki) as callers,
        ):
            yield Desk(gateway, callers, clock)

    return open_gateway


@pytest.fixture
def log(settings: Settings) -> Iterator[StringIO]:
    """The log as the gateway's process writes it."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    stream = StringIO()
    log_to(stream, enrich=enrichment(settings))
    yield stream
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


async def test_a_call_goes_on_with_its_callers_trace_down_to_the_database(
    opened: Opened,
    collector: Collector,
    log: StringIO,
) -> None:
    async with opened() as desk:
        await desk.upload()
        request = pb.SubmitPaymentRequest(
            parent="funds/wutong", payment=ask(), request_id=request_id()
        )
        parent = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("baggage", f"payee={PAYEE}"))
        await (await desk.stub(FIRM)).SubmitPayment(request, metadata=parent)

    (call,) = collector.named(SUBMIT)
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    inside = [span for span in collector.spans if span.parent_span_id == call.span_id]
    assert {span.name for span in inside} == {"transaction"}
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (line,) = [each for each in lines if each.get("method", "").endswith("/SubmitPayment")]
    assert line["trace_id"] == TRACE
    sent = "".join(map(MessageToJson, collector.requests)) + log.getvalue()
    for private in (PAYEE, ACCOUNT, "锐达电梯", "电梯维修", "funds/wutong"):
        assert private not in sent, private


async def test_a_bank_file_is_traced_with_the_round_that_sends_it(
    opened: Opened,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    async with opened() as desk:
        await desk.upload()
        await desk.released()
        with desk.gateway.watch.round("round"):
            await desk.gateway.work()
        with pytest.raises(LookupError), desk.gateway.watch.round("night"):
            raise LookupError(f"no account {ACCOUNT}")

    (work,), (submit,) = collector.named("work round"), collector.named("bank submit")
    assert (submit.trace_id, submit.parent_span_id) == (work.trace_id, work.span_id)
    assert {each.key: each.value.string_value for each in submit.attributes} == {
        "xinyi.bank": "demo"
    }
    (failed,) = collector.named("work night")
    assert {each.key: each.value.string_value for each in failed.attributes} == {
        "error.type": "LookupError"
    }
    sent = "".join(map(MessageToJson, collector.requests))
    for private in (PAYEE, ACCOUNT, "锐达电梯", "funds/wutong"):
        assert private not in sent, private


@pytest.mark.parametrize(("share", "flags", "traced"), [(0, "", 0), (1, "", 1), (1, "00", 0)])
async def test_a_share_of_calls_is_traced_unless_their_caller_decides(
    share: int,
    flags: str,
    traced: int,
    opened: Opened,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.observe.tracing.SHARE", float(share))
    parent = (("traceparent", f"00-{TRACE}-{PARENT}-{flags}"),) if flags else ()
    async with opened() as desk:
        firm = await desk.callers.as_(FIRM)
        await firm.parties.GetCaller(party.GetCallerRequest(), metadata=parent)
    assert len(collector.named("xinyi.v1.PartyService/GetCaller")) == traced


def test_the_standard_variable_names_a_collector_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert enrichment(Settings()) == ()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert enrichment(Settings())


def test_traces_that_are_wanted_without_their_extra_are_complained_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gateway.observe.tracing", None)
    with pytest.raises(WatchError, match="otel"):
        enrichment(Settings(otlp_endpoint="http://127.0.0.1:4318"))


def test_where_no_collector_is_named_nothing_of_traces_is_even_loaded() -> None:
    code = (
        "import sys, gateway.app\n"
        "from gateway.settings import Settings\n"
        "from gateway.watching import enrichment\n"
        "assert enrichment(Settings()) == ()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={})  # noqa: S603 - our own code
