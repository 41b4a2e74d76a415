"""Every limit of the gRPC server: sizes, connections, time, and what one party may have of it all.

What a limit refuses costs its caller a call and the others nothing. Counters are of one process.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import grpc

from gateway.domain.errors import GatewayError, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

# --- of the connection ------------------------------------------------------------------------

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of one message either way; what is larger comes as a stream."""

MAX_HEADER_BYTES: Final = 16 * 1024
"""Of all headers of a call."""

MAX_CALLS: Final = 1024
"""Calls at a time; what comes on top is RESOURCE_EXHAUSTED at once instead of late."""

_EVERY_SERVER: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_HEADER_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_HEADER_BYTES),
    ("grpc.max_concurrent_streams", 256),
    # Against floods of streams opened and reset (CVE-2023-44487): a ping holds the sender back.
    ("grpc.http2.ping_on_rst_stream_percent", 10),
    ("grpc.max_allowed_incoming_connections", 2_000),
    # Who opens a connection and says nothing is gone after this.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    # Connections come back through TLS, so that new certificates and authorities reach them all.
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 20 * 60_000),
)
"""The age's grace is longer than any call, so that it cuts none off."""

# A second gateway on the same port is a mistake to hear of, not a share of the calls.
OPTIONS: Final = (*_EVERY_SERVER, ("grpc.so_reuseport", 0))
"""Of the server."""

SHARED_OPTIONS: Final = (*_EVERY_SERVER, ("grpc.so_reuseport", 1))
"""Of processes that share a port; their parent has made sure that it is theirs."""

# --- of time ----------------------------------------------------------------------------------

MIN_REMAINING_S: Final = 0.1
"""Below this a call is not begun: its caller would not hear the answer."""

MAX_CALL_S: Final = 60.0
"""For a call that names no deadline of its own."""

MAX_DEADLINE_S: Final = 15 * 60.0
"""The most that any deadline gets, and how long a watch lasts until it must be resumed."""

WRITE_S: Final = 30.0
"""How long a caller may take to read one message of a stream."""

READ_S: Final = 60.0
"""How long a caller may take to send one message of a stream."""

TELL_S: Final = 5.0
"""How long a caller may take to hear that its call is over."""

WATCHES: Final = frozenset({"/xinyi.v1.PaymentService/WatchPayments"})
"""Streams that last until their caller, or `MAX_DEADLINE_S`, ends them."""

# --- of a party -------------------------------------------------------------------------------

MAX_PARTY_CALLS: Final = 256
"""Calls of one party at a time."""

MAX_PARTY_WATCHES: Final = 32
"""Of these, watches, which stay long."""

MAX_PARTIES: Final = 100_000
"""Parties whose recent calls are remembered."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often one party may call.

    Attributes:
        calls_per_s: in the long run.
        burst: at once, after a pause.
    """

    calls_per_s: float = 1_000.0
    burst: int = 4_000


@dataclass(slots=True)
class _Account:
    """What a party has left, and what it has going on."""

    tokens: float
    counted_at_s: float
    calls: int = 0
    watches: int = 0


class PartyLimits:
    """What each party may have of the server, so that none takes it from the others."""

    def __init__(self, rate: Rate, clock_s: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._clock_s = clock_s
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    @contextmanager
    def call(self, method: str, party_id: str) -> Iterator[None]:
        """Counts a call for as long as the block lasts.

        Raises:
            GatewayError: RATE_EXCEEDED, with the time after which the call may be repeated.
        """
        account = self._account(party_id)
        self._spend(account, party_id)
        watch = int(method in WATCHES)
        if account.calls >= MAX_PARTY_CALLS or account.watches + watch > MAX_PARTY_WATCHES:
            raise _too_much(party_id, "has too many calls at a time", 1.0)
        account.calls += 1
        account.watches += watch
        try:
            yield
        finally:
            account.calls -= 1
            account.watches -= watch

    def _account(self, party_id: str) -> _Account:
        account = self._accounts.get(party_id)
        if account is None:
            account = _Account(float(self._rate.burst), self._clock_s())
            self._accounts[party_id] = account
        self._accounts.move_to_end(party_id)
        self._forget()
        return account

    def _forget(self) -> None:
        """Drops who called longest ago; who is calling stays, and those are `MAX_CALLS` at most."""
        while len(self._accounts) > MAX_PARTIES:
            party_id, account = self._accounts.popitem(last=False)
            if account.calls:
                self._accounts[party_id] = account

    def _spend(self, account: _Account, party_id: str) -> None:
        """Takes a token of the party's bucket, which fills as time goes by."""
        now_s, rate = self._clock_s(), self._rate
        filled = account.tokens + (now_s - account.counted_at_s) * rate.calls_per_s
        account.tokens, account.counted_at_s = min(filled, float(rate.burst)), now_s
        if account.tokens < 1:
            wait_s = (1 - account.tokens) / rate.calls_per_s
            raise _too_much(party_id, "calls too often", wait_s)
        account.tokens -= 1


def _too_much(party_id: str, what: str, wait_s: float) -> GatewayError:
    name = f"parties/{party_id}"
    wait_ms = max(1, round(wait_s * 1000))
    return GatewayError(
        Kind.EXHAUSTED,
        Reason.RATE_EXCEEDED,
        f"{name} {what}; repeat after {wait_ms} ms",
        {"party": name, "retry_after_ms": str(wait_ms)},
        subject=name,
    )


# --- a call in its time -----------------------------------------------------------------------


@asynccontextmanager
async def in_time(method: str, context: Any) -> AsyncIterator[None]:  # noqa: ANN401 - gRPC's
    """Ends the block, refused, once its time is over.

    Raises:
        GatewayError: DEADLINE_TOO_SHORT.
    """
    limit = asyncio.timeout(_allowed_s(method, context))
    try:
        async with limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise _too_late(method) from None
        raise


async def written(context: Any, answer: object) -> None:  # noqa: ANN401 - gRPC's
    """Sends one message of a stream, as soon as its reader has room for it.

    Raises:
        GatewayError: LIMIT_EXCEEDED for a reader that is too slow.
        asyncio.CancelledError: for one that has gone, whom nobody can tell anything any more.
    """
    try:
        async with asyncio.timeout(WRITE_S):
            await context.write(answer)
    except TimeoutError:
        raise _too_slow("reads") from None
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


async def read(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The messages of a client's stream.

    Raises:
        GatewayError: LIMIT_EXCEEDED for a sender that is too slow.
    """
    while True:
        try:
            async with asyncio.timeout(READ_S):
                message = await anext(stream, None)
        except TimeoutError:
            raise _too_slow("sends") from None
        if message is None:
            return
        yield message


async def told(ending: Any) -> None:  # noqa: ANN401 - the awaitable of gRPC that ends a call
    """Ends a call with its status; a caller that does not even take that is dropped.

    Raises:
        grpc.aio.AbortError: always, as gRPC wants it.
        asyncio.CancelledError: if the caller was dropped.
    """
    try:
        async with asyncio.timeout(TELL_S):
            await ending
    except TimeoutError:
        raise asyncio.CancelledError from None


def _allowed_s(method: str, context: Any) -> float:  # noqa: ANN401 - gRPC's
    """For how long the call may go on.

    Raises:
        GatewayError: DEADLINE_TOO_SHORT.
    """
    remaining_s: float | None = context.time_remaining()
    if remaining_s is None:
        return MAX_DEADLINE_S if method in WATCHES else MAX_CALL_S
    if remaining_s < MIN_REMAINING_S:
        raise _too_late(method)
    return MAX_DEADLINE_S


def _too_late(method: str) -> GatewayError:
    ahead = (
        "the watch has lasted its time; go on from the last resume token"
        if method in WATCHES
        else "the deadline leaves no time; repeat with the same request id and a later one"
    )
    return GatewayError(Kind.UNAVAILABLE, Reason.DEADLINE_TOO_SHORT, ahead)


def _too_slow(does: str) -> GatewayError:
    return GatewayError(
        Kind.EXHAUSTED, Reason.LIMIT_EXCEEDED, f"the caller {does} its stream too slowly"
    )
