"""What monitors and orchestrators read, over plain HTTP: nothing personal, nothing to change."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.observe.readiness import is_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

    from gateway.observe.collect import StateCollector
    from gateway.observe.figures import Asked
    from gateway.observe.meters import Meters
    from gateway.observe.readiness import Readiness

_MONITORS: Final = 32
"""Connections of theirs at once."""
_IDLE_S: Final = 5
_BACKLOG: Final = 32
_STOP_S: Final = 2
_NOT_READY: Final = 503


def page(meters: Meters, state: StateCollector, asked: Asked, readiness: Readiness) -> Starlette:
    """``/metrics`` for Prometheus, ``/healthz`` while alive, ``/readyz`` with the reasons."""

    async def metrics(_: Request) -> Response:
        state.figures = await asked.figures()
        # Some milliseconds, for which no call should wait.
        text = await asyncio.to_thread(generate_latest, meters.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        findings = await readiness.look()
        ready = is_ready(findings)
        checks = [
            {"name": each.name, "ok": not each.why, "why": each.why, **_only(each.services)}
            for each in findings
        ]
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else _NOT_READY)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
    )


@asynccontextmanager
async def serving_page(
    address: str, app: Starlette, most_connections: int = _MONITORS
) -> AsyncIterator[int]:
    """Answers at ``host:port`` inside the block, and says at which port.

    Args:
        address: where.
        app: what answers.
        most_connections: at once; whoever comes then is told to come again.

    Raises:
        OSError: if the address is taken or none of this machine.
    """
    with _bound(address) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=most_connections,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.up.wait()
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """One beside another server, which is the one that signals stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_BACKLOG)


def _only(services: frozenset[str]) -> dict[str, Any]:
    return {"services": sorted(services)} if services else {}
