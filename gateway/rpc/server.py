"""The gRPC server: mutual TLS, limits, reflection, and the edge around every call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from gateway.rpc.access import METHODS
from gateway.rpc.edge import Edge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.store import Store

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one message either way; what is larger comes as a stream."""

MAX_CALLS: Final = 1024
"""Calls at a time; what comes on top is RESOURCE_EXHAUSTED at once instead of late."""

GRACE_S: Final = 10.0
"""How long calls in flight may take to end once the server stops."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    # A second gateway on the same port is a mistake to hear of, not a share of the calls.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the server.

    Attributes:
        certificate: the server's certificate chain.
        key: its private key.
        client_ca: certificates that sign the clients'.
    """

    certificate: Path
    key: Path
    client_ca: Path


def build_server(
    address: str,
    tls: TlsFiles,
    store: Store,
    clock: Clock,
    registrations: Sequence[Callable[[grpc.aio.Server], None]],
    outside: Sequence[grpc.aio.ServerInterceptor] = (),
) -> tuple[grpc.aio.Server, int]:
    """A server that is bound, not started.

    Args:
        address: host and port; port 0 for a free one.
        tls: the server's files, read now.
        store: where the edge looks up who is calling.
        clock: by which certificates run out.
        registrations: each adds a servicer, such as
            ``partial(add_PartyServiceServicer_to_server, PartyServicer(store, clock))``.
        outside: what is around the edge, the outermost first.

    Returns:
        The server and its port. Stop it with ``stop(GRACE_S)``: new calls are refused, those in
        flight may end.

    Raises:
        OSError: if a file of `tls` cannot be read.
        RuntimeError: if the address is taken, or the files are no certificates.
    """
    server = grpc.aio.server(
        interceptors=[*outside, Edge(store, clock)],
        options=_OPTIONS,
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    for register in registrations:
        register(server)
    reflection.enable_server_reflection(_services(), server)
    return server, server.add_secure_port(address, _credentials(tls))


def _services() -> list[str]:
    """What reflection shows: the contract, and the two services beside it."""
    ours = {method.split("/")[1] for method in METHODS}
    return sorted({*ours, health.SERVICE_NAME, reflection.SERVICE_NAME})


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """TLS that lets in only clients with a certificate of the client CA."""
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    return grpc.ssl_server_credentials(
        [pair], root_certificates=tls.client_ca.read_bytes(), require_client_auth=True
    )
