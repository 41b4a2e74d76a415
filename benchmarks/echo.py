"""The yardstick of a call: an echo on the gateway's own server, and one without anything around."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

import grpc
import uvloop
from xinyi.v1 import payment_service_pb2 as pb

from gateway.audit.recorder import Recorder
from gateway.clock import system_clock
from gateway.domain.party import Role
from gateway.logs import log_to
from gateway.observe.meters import Meters
from gateway.rpc import access
from gateway.rpc.edge import Edge
from gateway.rpc.limits import PartyLimits, Rate
from gateway.rpc.observe import Metering
from gateway.rpc.server import build_server
from gateway.rpc.tls import TlsFiles, server_credentials
from gateway.settings import Settings
from gateway.store import open_store

PATH: Final = "/xinyi.benchmark.Echo/Echo"


async def _echo(request: Any, _context: Any) -> Any:  # noqa: ANN401 - any message
    return request


def _register(server: grpc.aio.Server) -> None:
    """A method that takes what SubmitPayment takes, and gives it back."""
    handler = grpc.unary_unary_rpc_method_handler(
        _echo,
        request_deserializer=pb.SubmitPaymentRequest.FromString,
        response_serializer=pb.SubmitPaymentRequest.SerializeToString,
    )
    service, _, method = PATH[1:].partition("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )


async def _serve(*, bare: bool) -> None:
    settings = Settings()
    tls = TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    store = open_store(settings.database_url)
    if bare:
        server = grpc.aio.server()
        _register(server)
        server.add_secure_port(settings.listen, server_credentials(tls))
    else:
        access.METHODS[PATH] = frozenset(Role)  # type: ignore[index] # the contract has no echo
        recorder = Recorder(store, system_clock)
        limits = PartyLimits(Rate(settings.party_calls_per_s, settings.party_burst))
        edge = Edge(store, system_clock, limits, recorder, lambda _: None)
        server, _ = build_server(settings.listen, tls, [Metering(Meters()), edge], [_register])
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(1)
    await store.close()


if __name__ == "__main__":
    log_to()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(bare=sys.argv[1] == "bare"))
