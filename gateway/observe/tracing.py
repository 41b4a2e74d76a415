"""OpenTelemetry traces: call, database transaction, bank file.

Off unless a collector is named; needs the extra ``otel`` of the package.

A span has names, counts and codes; no value of a request, a row or a file, and no message of an
exception, because those quote them.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from adapters.reach import Banks
from gateway.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
    from datetime import datetime
    from pathlib import Path

    from opentelemetry.sdk.trace.export import SpanExporter
    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.connection import BankConnection, Fetched, Outbound, Submitted
    from adapters.model import Batch, Finding, Parsed, StatusReport
    from adapters.profile import BankProfile
    from gateway.store import Scope

SHARE: Final = 0.01
"""Of the calls whose caller does not decide it, unless ``OTEL_TRACES_SAMPLER`` says another."""

_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_W3C: Final = TraceContextTextMapPropagator()


class Traces:
    """The traces of one gateway.

    Args:
        exporter: where spans go.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        # The provider reads the environment only where no sampler is given.
        sampler = None if _SAMPLER in os.environ else ParentBased(TraceIdRatioBased(SHARE))
        resource = Resource.create({"service.name": "xinyi-gateway"})
        self._provider = TracerProvider(sampler=sampler, resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("xinyi.gateway")

    @classmethod
    def to_collector(cls, endpoint: str) -> Traces:
        """To a collector at ``http://host:4318``, or where the standard variables say if empty."""
        at = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
        return cls(OTLPSpanExporter(endpoint=at))

    @contextmanager
    def call(self, method: str, metadata: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
        """A span around a call; gives what to tell the name of its status to."""
        service, _, name = method.rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        with self._tracer.start_as_current_span(
            method,
            context=_W3C.extract(metadata),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            def ended(code: str) -> None:
                span.set_attribute("rpc.response.status_code", code)
                if code in _OUR_FAULT:
                    span.set_status(StatusCode.ERROR)

            yield ended

    @contextmanager
    def work(self, name: str) -> Iterator[None]:
        """A span around one round of work between the calls."""
        with _span(self._tracer, f"work {name}"):
            yield

    def store(self, store: Store) -> Store:
        """The same database, with a span around each transaction of a traced call or round."""
        return _TracedStore(store.engine, self._tracer)

    def banks(self, banks: Banks) -> Banks:
        """The same banks, with a span around whatever is exchanged with one."""
        return _TracedBanks(banks.root, banks.profiles, tracer=self._tracer)

    def close(self) -> None:
        """Sends what is left, and ends."""
        self._provider.shutdown()


_OUR_FAULT: Final = frozenset({"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


def add_trace_id(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Any:  # noqa: ANN401 - structlog's
    """A processor of the log: the trace that a line belongs to."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event


@contextmanager
def _span(tracer: Tracer, name: str, **attributes: str) -> Iterator[None]:
    """A span that says of an exception only of which class it is."""
    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise


@dataclass(frozen=True, slots=True)
class _TracedStore(Store):
    tracer: Tracer

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        with self._span("transaction"):
            async with Store.transaction(self, scope) as conn:
                yield conn

    @asynccontextmanager
    async def snapshot(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        with self._span("snapshot"):
            async with Store.snapshot(self, scope) as conn:
                yield conn

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        with _span(self.tracer, name, **{"db.system.name": "postgresql"}):
            yield


@dataclass(frozen=True, slots=True)
class _TracedBanks(Banks):
    tracer: Tracer = field(kw_only=True)

    def connection(self, profile_id: str) -> BankConnection:
        return _TracedConnection(Banks.connection(self, profile_id), self.tracer)


@dataclass(frozen=True, slots=True)
class _TracedConnection:
    """A bank whose exchanges are traced by its profile's id."""

    inner: BankConnection
    tracer: Tracer

    @property
    def profile(self) -> BankProfile:
        return self.inner.profile

    def validate(self, batch: Batch, at: datetime) -> tuple[Finding, ...]:
        return self.inner.validate(batch, at)

    def render(self, batch: Batch) -> Outbound:
        with self._span("render"):
            return self.inner.render(batch)

    async def submit(self, outbound: Outbound, at: datetime) -> Submitted:
        with self._span("submit"):
            return await self.inner.submit(outbound, at)

    async def query(self, batch: Batch, query_id: str, at: datetime) -> StatusReport | None:
        with self._span("query"):
            return await self.inner.query(batch, query_id, at)

    async def fetch(self, inbox: Path) -> Fetched:
        with self._span("fetch"):
            return await self.inner.fetch(inbox)

    def parse(self, content: bytes) -> Parsed | StatusReport:
        with self._span("parse"):
            return self.inner.parse(content)

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        with _span(self.tracer, f"bank {name}", **{"xinyi.bank": self.profile.id}):
            yield
