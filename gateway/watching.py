"""What watches a running gateway, put together: metrics, readiness and health, traces."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from gateway.beside import beside
from gateway.observe.collect import StateCollector
from gateway.observe.figures import Asked
from gateway.observe.meters import Meters
from gateway.observe.page import page, serving_page
from gateway.observe.readiness import Readiness, store_checks
from gateway.rpc.health import Health
from gateway.rpc.observe import Metering, Tracing
from gateway.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from types import ModuleType

    import grpc
    from structlog.typing import Processor

    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.observe.tracing import Traces
    from gateway.settings import Settings

_CONNECTIONS: Final = 2
"""Of its own, so that who watches and who calls never wait for each other."""

_COLLECTOR: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class WatchError(ValueError):
    """Something to watch with is wanted and not there; the message says what."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watches one gateway.

    Attributes:
        store: the database, over connections of its own.
        meters: what is counted.
        readiness: whether calls can be answered, and why not; further checks are added to it.
        health: the same, as the standard service.
        traces: where spans go; None where nothing is traced.
    """

    store: Store
    meters: Meters
    readiness: Readiness
    health: Health
    traces: Traces | None

    def traced(self, store: Store, banks: Banks) -> tuple[Store, Banks]:
        """The same, traced if anything is."""
        if self.traces is None:
            return store, banks
        return self.traces.store(store), self.traces.banks(banks)

    def interceptors(self) -> Sequence[grpc.aio.ServerInterceptor]:
        """What is around every call, the outermost first."""
        metering = Metering(self.meters)
        return (metering,) if self.traces is None else (Tracing(self.traces), metering)

    @contextmanager
    def round(self, name: str) -> Iterator[None]:
        """Around one round of work between the calls; an exception passes through."""
        try:
            with nullcontext() if self.traces is None else self.traces.work(name):
                yield
        except Exception:
            self.meters.work_failed(name)
            raise
        self.meters.work_done(name)

    @asynccontextmanager
    async def published(
        self, settings: Settings, clock: Clock, store: Store, banks: Banks
    ) -> AsyncIterator[int | None]:
        """Keeps health up to date inside the block, and answers monitors; says at which port.

        Args:
            settings: where, and which certificates are watched.
            clock: the gateway's present moment.
            store: the database of the calls, whose connections are counted.
            banks: those whose outboxes are told apart.

        Raises:
            OSError: if the address for monitors is taken.
        """
        async with AsyncExitStack() as stack:
            await self.health.look()
            await stack.enter_async_context(beside(self.health.follow()))
            port = None
            if settings.metrics_listen:
                files = {"server": settings.tls_certificate, "client_ca": settings.tls_client_ca}
                state = StateCollector(store, files)
                self.meters.registry.register(state)
                asked = Asked(self.store, clock, frozenset(banks.ids()), settings.night_at)
                app = page(self.meters, state, asked, self.readiness)
                port = await stack.enter_async_context(serving_page(settings.metrics_listen, app))
            yield port


@asynccontextmanager
async def watching(settings: Settings, database_url: str) -> AsyncIterator[Watch]:
    """Something that watches inside the block.

    Raises:
        WatchError: traces are wanted and cannot be made.
    """
    traces = _traces(settings)
    store = open_store(database_url, pool_size=_CONNECTIONS)
    readiness = Readiness(list(store_checks(store)))
    try:
        yield Watch(store, Meters(), readiness, Health(readiness), traces)
    finally:
        await store.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)


def enrichment(settings: Settings) -> Sequence[Processor]:
    """Processors of the log that add the trace, where anything is traced.

    Raises:
        WatchError: as `watching`.
    """
    return (_tracing().add_trace_id,) if _wants_traces(settings) else ()


def _traces(settings: Settings) -> Traces | None:
    if not _wants_traces(settings):
        return None
    traces: Traces = _tracing().Traces.to_collector(settings.otlp_endpoint)
    return traces


def _wants_traces(settings: Settings) -> bool:
    return bool(settings.otlp_endpoint or any(os.environ.get(name) for name in _COLLECTOR))


def _tracing() -> ModuleType:
    """The module that needs the extra."""
    try:
        return import_module("gateway.observe.tracing")
    except ImportError as missing:
        raise WatchError(
            f"traces are wanted, and the package's extra `otel` is not installed: {missing.name}"
        ) from None
