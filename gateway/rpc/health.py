"""The standard health service, which tells of each service whether it can be called now."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gateway.observe.readiness import is_ready
from gateway.rpc.access import METHODS

if TYPE_CHECKING:
    import grpc

    from gateway.observe.readiness import Readiness

_POLL_S: Final = 5.0
_TELL_S: Final = 1.0
"""A watcher that does not read must hold up neither the next look nor the end."""

_SERVICES: Final = ("", *sorted({method.split("/")[1] for method in METHODS}))
_STATUS: Final = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


class Health:
    """Health that follows readiness, service by service."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._servicer = health.aio.HealthServicer()

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def look(self) -> None:
        """Says how it stands now."""
        findings = await self._readiness.look()
        for service in _SERVICES:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TELL_S):
                    await self._servicer.set(service, _STATUS[is_ready(findings, service)])

    async def follow(self) -> None:
        """Looks again and again, without end."""
        while True:
            await asyncio.sleep(_POLL_S)
            await self.look()

    async def leave(self) -> None:
        """Tells everybody that nothing is served any more, for good."""
        self._readiness.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(_TELL_S):
                await self._servicer.enter_graceful_shutdown()
