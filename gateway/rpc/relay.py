"""From process to process of one machine: what belongs to a fund that another one writes.

The process that a call came to has authenticated, admitted, limited and validated it; what is left
of it, an order and whose it is, goes to the process that holds the fund's slot, over a socket in a
directory that only their user can enter. So there is no TLS inside, and whoever can write to that
socket could as well read the keys of the server. Processes of several machines share no socket: one
machine serves one database by several workers.

The holder does not pass on again. Whether it may write is decided in its transaction: what it is
sent by mistake it sends back, and nothing was done.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.rpc import status_pb2  # type: ignore[import-untyped] # it ships no stubs
from pydantic import BaseModel, ConfigDict

from gateway.beside import beside
from gateway.domain.envelope import MAX_BATCH_ENVELOPE_BYTES, MAX_ENVELOPE_BYTES
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.payments.approve import read_envelope
from gateway.payments.docket import Asking, BatchSigning, By, Signing
from gateway.rpc.errors import RelayedRefusal, status_of
from gateway.rpc.group import Item, Moved
from gateway.rpc.once import Use  # noqa: TC001 - pydantic reads it at run time
from gateway.rpc.payment import item_of
from gateway.rpc.trail import Trail, begin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from google.protobuf.message import Message

    from gateway.payments.docket import Order
    from gateway.payments.leases import Leases
    from gateway.rpc.group import PaymentWriters

PATH_BYTES: Final = 107
"""The longest path of a socket."""

GRACE_S: Final = 5.0

_SERVICE: Final = "xinyi.workers.Writers"
_METHOD: Final = "Submit"
_HOPS: Final = 3
"""So often a call follows a fund that moves; it moves when a process begins or ends."""
_PATIENCE_S: Final = 10.0
"""A holder that has not answered by then has died, or stands still."""
_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""More than the largest batch."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    # A process that was started anew is there as soon as its socket is.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
)


# --- what is sent -----------------------------------------------------------------------------


class _Sent(BaseModel):
    """Between processes of one release: what is not understood is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


class _Signature(_Sent):
    """A signature as it was sent: on a payment, or on a batch."""

    fund_id: str
    by: By
    subject_id: str
    sent: bytes
    is_batch: bool


class _Seen(_Sent):
    """A call's `Trail`."""

    method: str
    peer: str
    at: datetime
    party_id: str
    person_id: str
    fingerprint: str
    resource: str
    request_id: str
    request_digest: str


class _Call(_Sent):
    """An `Item`, but for what its method says of it."""

    use: Use
    order: Asking | _Signature
    seen: _Seen


class _Told(_Sent):
    """What became of it: an answer, the status of a refusal, or neither if it has moved."""

    answer: bytes | None = None
    refusal: bytes | None = None
    is_recorded: bool = False


def _call(item: Item) -> _Call:
    seen = _Seen(**{name: getattr(item.trail, name) for name in _Seen.model_fields})
    return _Call(use=item.use, order=_sendable(item.order), seen=seen)


def _sendable(order: Order) -> Asking | _Signature:
    """The order but for the envelope as it was read: the holder reads it again."""
    if isinstance(order, Asking):
        return order
    is_batch = isinstance(order, BatchSigning)
    subject_id = order.batch_id if isinstance(order, BatchSigning) else order.payment_id
    return _Signature(
        fund_id=order.fund_id,
        by=order.by,
        subject_id=subject_id,
        sent=order.sent,
        is_batch=is_batch,
    )


def _item(call: _Call) -> Item:
    seen = call.seen.model_dump(exclude={"request_digest"})
    begin(Trail(**seen, read_digest=call.seen.request_digest))
    return item_of(call.use, _order(call.order))


def _order(order: Asking | _Signature) -> Order:
    if isinstance(order, Asking):
        return order
    limit_bytes = MAX_BATCH_ENVELOPE_BYTES if order.is_batch else MAX_ENVELOPE_BYTES
    kind = BatchSigning if order.is_batch else Signing
    envelope = read_envelope(order.sent, limit_bytes)
    return kind(order.fund_id, order.by, order.subject_id, order.sent, envelope)


# --- the process that holds the fund ----------------------------------------------------------


@asynccontextmanager
async def _listening(socket: Path, writers: PaymentWriters) -> AsyncIterator[None]:
    """Has what other processes send written inside the block."""
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket.parent.chmod(0o700)

    async def submit(raw: bytes, context: Any) -> bytes:  # noqa: ANN401, ARG001 - gRPC's
        told = await _tell(writers, _item(_Call.model_validate_json(raw)))
        return told.model_dump_json(exclude_none=True).encode()

    server = grpc.aio.server(options=_OPTIONS)
    handler: Any = grpc.unary_unary_rpc_method_handler(submit)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler}),)
    )
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(GRACE_S)


async def _tell(writers: PaymentWriters, item: Item) -> _Told:
    try:
        answer = await writers.submit(item.order.fund_id, item)
    except Moved:
        return _Told()
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
        refusal = status_of(error).SerializeToString(deterministic=True)
        return _Told(refusal=refusal, is_recorded=item.trail.is_recorded)
    told = answer.SerializeToString(deterministic=True)
    return _Told(answer=told, is_recorded=item.trail.is_recorded)


# --- the process that the call came to --------------------------------------------------------


@dataclass(slots=True)
class Relay:
    """Has an item written by the process that holds its fund, be it this one or another.

    Attributes:
        leases: who holds what.
        writers: of this process.
        socket: where the others reach it.
    """

    leases: Leases
    writers: PaymentWriters
    socket: Path
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    @asynccontextmanager
    async def taking_part(self) -> AsyncIterator[None]:
        """Holds slots inside the block, and answers the other processes.

        Raises:
            OSError: the socket's directory cannot be made.
            RuntimeError: the socket cannot be.
        """
        try:
            async with _listening(self.socket, self.writers):
                await self.leases.look()
                async with beside(self.leases.follow()):
                    yield
        finally:
            await self.leases.give_back()
            for channel in self._channels.values():
                await channel.close()

    async def submit(self, fund_id: str, item: Item) -> Message:
        """As `Writers.submit`.

        Raises:
            GatewayError: STORE_UNAVAILABLE also if the holder has ended, or changes all the time.
            RelayedRefusal: what the holder refused.
        """
        for _ in range(_HOPS):
            try:
                address = self.leases.address_of(item.slot)
                if not address:
                    return await self.writers.submit(fund_id, item)
                return await self._pass_on(address, item)
            except Moved:
                await self.leases.look()
        raise _gone()

    async def _pass_on(self, address: str, item: Item) -> Message:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(f"unix:{address}", options=_OPTIONS)
        holder: Any = self._channels[address].unary_unary(f"/{_SERVICE}/{_METHOD}")
        try:
            raw = await holder(_call(item).model_dump_json().encode(), timeout=_PATIENCE_S)
        except grpc.aio.AioRpcError:
            raise _gone() from None
        told = _Told.model_validate_json(raw)
        item.trail.is_recorded = told.is_recorded
        if told.refusal is not None:
            raise RelayedRefusal(status_pb2.Status.FromString(told.refusal))
        if told.answer is None:
            raise Moved
        return item.response_type.FromString(told.answer)


def _gone() -> GatewayError:
    return GatewayError(
        Kind.UNAVAILABLE,
        Reason.STORE_UNAVAILABLE,
        "the process that writes this fund has ended; repeat with the same request id",
    )
