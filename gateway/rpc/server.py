"""The gRPC server: mutual TLS, limits, reflection, and the edge around every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from gateway.rpc.access import METHODS
from gateway.rpc.limits import MAX_CALLS, OPTIONS, SHARED_OPTIONS
from gateway.rpc.tls import server_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.rpc.tls import TlsFiles

GRACE_S: Final = 10.0
"""How long calls in flight may take to end once the server stops."""


def build_server(
    address: str,
    tls: TlsFiles,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    registrations: Sequence[Callable[[grpc.aio.Server], None]],
    *,
    shared: bool = False,
) -> tuple[grpc.aio.Server, int]:
    """A server that is bound, not started.

    Args:
        address: host and port; port 0 for a free one.
        tls: the server's files, read now and whenever they change.
        interceptors: what is around every call, the outermost first and the edge last.
        registrations: each adds a servicer, such as
            ``partial(add_PartyServiceServicer_to_server, PartyServicer(store, clock))``.
        shared: whether other processes of this gateway serve the same port.

    Returns:
        The server and its port. Stop it with ``stop(GRACE_S)``: new calls are refused, those in
        flight may end.

    Raises:
        OSError: if a file of `tls` cannot be read.
        ValueError: if the files are no certificates, or the key is not the certificate's.
        RuntimeError: if the address is taken.
    """
    server = grpc.aio.server(
        interceptors=interceptors,
        options=SHARED_OPTIONS if shared else OPTIONS,
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    for register in registrations:
        register(server)
    reflection.enable_server_reflection(_services(), server)
    return server, server.add_secure_port(address, server_credentials(tls))


def _services() -> list[str]:
    """What reflection shows: the contract, and the two services beside it."""
    ours = {method.split("/")[1] for method in METHODS}
    return sorted({*ours, health.SERVICE_NAME, reflection.SERVICE_NAME})
