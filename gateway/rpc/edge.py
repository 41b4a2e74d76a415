"""The edge: what happens around every call, whatever its arity.

Deadline, identity, access, validation, then the servicer; whatever goes wrong becomes a status here
and nowhere else. Each call leaves one line in the log, with ids and no content.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import protovalidate
import sqlalchemy as sa
import structlog
from google.protobuf.message import DecodeError
from google.rpc import code_pb2  # type: ignore[import-untyped] # it ships no stubs
from grpc_status import rpc_status

from gateway.domain.errors import FieldViolation, GatewayError, Kind, Reason
from gateway.domain.party import Identity, Role, parse_identity_uri
from gateway.rpc.access import admit, is_held
from gateway.rpc.caller import Caller, set_caller
from gateway.rpc.errors import reason_in, status_of
from gateway.rpc.trail import Trail, begin, current_trail
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from google.protobuf.message import Message
    from protovalidate import Violation

    from gateway.audit.keeper import Keeper
    from gateway.audit.recorder import Recorder
    from gateway.clock import Clock
    from gateway.store import Store

MIN_REMAINING_S: Final = 0.1
"""Below this a call is not begun: its caller would not hear the answer."""

MAX_CALL_S: Final = 60.0
"""For a call that names no deadline of its own."""

ENDLESS: Final = frozenset({"/xinyi.v1.PaymentService/WatchPayments"})
"""Streams without end: no deadline of ours."""

OPEN_SERVICES: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Answered to any client that TLS lets in: they tell nothing of any estate."""

MAX_VIOLATIONS: Final = 50
"""Fields at fault that one refusal names."""

_BUILDERS: Final[Mapping[str, Callable[..., grpc.RpcMethodHandler[Any, Any]]]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of the contract with the servicer's function behind it."""

    name: str
    parse: Callable[[bytes], Message]
    behave: Callable[..., Any]


class Edge(grpc.aio.ServerInterceptor):
    """The one interceptor of the server."""

    def __init__(self, store: Store, clock: Clock, recorder: Recorder, keeper: Keeper) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._keeper = keeper

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler of the method; an unknown one stays UNIMPLEMENTED."""
        name = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or name.startswith(OPEN_SERVICES):
            return handler
        shape = _shape(handler)
        parse = cast("Callable[[bytes], Message]", handler.request_deserializer)
        method = _Method(name, parse, getattr(handler, shape))
        call = self._streaming(method) if handler.response_streaming else self._single(method)
        # No deserializer: bytes that are no message get a status with details from us.
        return _BUILDERS[shape](call, None, handler.response_serializer)

    def _single(self, method: _Method) -> Callable[..., Awaitable[Message]]:
        async def call(request: Any, context: Any) -> Message:  # noqa: ANN401 - of any method
            async with self._around(method.name, context):
                answer: Message = await method.behave(_checked(request, method.parse), context)
                return answer

        return call

    def _streaming(self, method: _Method) -> Callable[..., AsyncIterator[Message]]:
        async def call(request: Any, context: Any) -> AsyncIterator[Message]:  # noqa: ANN401 - as above
            async with self._around(method.name, context):
                async for answer in method.behave(_checked(request, method.parse), context):
                    yield answer

        return call

    @asynccontextmanager
    async def _around(self, method: str, context: Any) -> AsyncIterator[None]:  # noqa: ANN401 - as above
        """Everything before and after the servicer's own work."""
        begun_ns = monotonic_ns()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(call_id=token_hex(8), method=method)
        outcome = {"code": "CANCELLED", "reason": ""}
        trail = Trail(method, context.peer(), self._clock())
        begin(trail)
        try:
            async with _in_time(method, context):
                await self._enter(method, context)
                yield
            outcome["code"] = "OK"
        except grpc.aio.AbortError:
            outcome["code"] = context.code().name
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            status = status_of(error)
            outcome = {"code": code_pb2.Code.Name(status.code), "reason": reason_in(status)}
            await context.abort_with_status(rpc_status.to_status(status))
        finally:
            duration_ms = (monotonic_ns() - begun_ns) // 1_000_000
            _log.info("call", duration_ms=duration_ms, **outcome)
            if entry := trail.entry_after(**outcome):
                self._recorder.note(entry)

    async def _enter(self, method: str, context: Any) -> None:  # noqa: ANN401 - as above
        """Passes only a registered person, of whose roles one may call the method."""
        identity, fingerprint = _certificate(context.auth_context())
        structlog.contextvars.bind_contextvars(party=identity.party_id, person=identity.person_id)
        current_trail().identify(identity, fingerprint)
        caller = await _registered(self._store, identity, fingerprint, self._clock())
        admit(method, caller.roles)
        if is_held(method):
            self._keeper.require_whole()
        set_caller(caller)


# --- deadline ---------------------------------------------------------------------------------


@asynccontextmanager
async def _in_time(method: str, context: Any) -> AsyncIterator[None]:  # noqa: ANN401 - as above
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
            raise _too_late() from None
        raise


def _allowed_s(method: str, context: Any) -> float | None:  # noqa: ANN401 - as above
    """For how long the call may go on; None where gRPC itself ends it, or nothing does.

    Raises:
        GatewayError: DEADLINE_TOO_SHORT.
    """
    remaining_s: float | None = context.time_remaining()
    if remaining_s is None:
        return None if method in ENDLESS else MAX_CALL_S
    if remaining_s < MIN_REMAINING_S:
        raise _too_late()
    return None


def _too_late() -> GatewayError:
    return GatewayError(
        Kind.UNAVAILABLE,
        Reason.DEADLINE_TOO_SHORT,
        "the deadline leaves no time; repeat with the same request id and a later one",
    )


# --- identity ---------------------------------------------------------------------------------


def _certificate(proved: Mapping[str, Sequence[bytes]]) -> tuple[Identity, str]:
    """Whom the peer's certificate names, and its SHA-256 in hexadecimal.

    Raises:
        GatewayError: CERTIFICATE_UNKNOWN unless it names exactly one person.
    """
    uris, pems = proved.get("peer_uri", ()), proved.get("x509_pem_cert", ())
    if len(uris) != 1 or len(pems) != 1:
        raise _unknown()
    der = ssl.PEM_cert_to_DER_cert(pems[0].decode("ascii"))
    return parse_identity_uri(uris[0].decode("utf-8", "replace")), sha256(der).hexdigest()


async def _registered(store: Store, identity: Identity, fingerprint: str, now: datetime) -> Caller:
    """The caller as the register has it at this moment, so that a revocation works at once.

    Raises:
        GatewayError: CERTIFICATE_UNKNOWN, CERTIFICATE_REVOKED.
    """
    certificates, persons = t.certificates.c, t.persons.c
    query = (
        sa.select(certificates.expires_at, certificates.revoked_at, t.persons)
        .join_from(t.certificates, t.persons)
        .where(
            certificates.fingerprint == fingerprint,
            persons.party_id == identity.party_id,
            persons.person_id == identity.person_id,
        )
    )
    async with store.transaction(GATEWAY) as conn:
        row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise _unknown()
    if row.revoked_at is not None or row.expires_at < now:
        raise _refused(Reason.CERTIFICATE_REVOKED, "the certificate is revoked or out of its time")
    return Caller(row.party_id, row.person_id, row.natural_person, frozenset(map(Role, row.roles)))


def _unknown() -> GatewayError:
    return _refused(Reason.CERTIFICATE_UNKNOWN, "the certificate is not registered")


def _refused(reason: Reason, message: str) -> GatewayError:
    return GatewayError(Kind.UNAUTHENTICATED, reason, message)


# --- the request ------------------------------------------------------------------------------


def _checked(request: Any, parse: Callable[[bytes], Message]) -> Any:  # noqa: ANN401 - bytes or a stream of them
    """The message in these bytes, or the messages of a stream one by one, held to the contract."""
    if isinstance(request, bytes):
        return _message(request, parse)
    return _messages(request, parse)


async def _messages(
    stream: AsyncIterator[bytes], parse: Callable[[bytes], Message]
) -> AsyncIterator[Message]:
    async for raw in stream:
        yield _message(raw, parse)


def _message(raw: bytes, parse: Callable[[bytes], Message]) -> Message:
    """The message in these bytes.

    Raises:
        GatewayError: FIELD_INVALID, with the paths of the fields at fault.
    """
    try:
        message = parse(raw)
    except DecodeError:
        raise _malformed((FieldViolation("", "the bytes are no such message"),)) from None
    current_trail().read(raw, message)
    violations = protovalidate.collect_violations(message)[:MAX_VIOLATIONS]
    if violations:
        raise _malformed(tuple(map(_violation, violations)))
    return message


def _malformed(violations: tuple[FieldViolation, ...]) -> GatewayError:
    fields = ", ".join(violation.field for violation in violations)
    return GatewayError(
        Kind.INVALID,
        Reason.FIELD_INVALID,
        f"the request breaks rules of the contract: {fields}",
        {"fields": fields},
        violations,
    )


def _violation(violation: Violation) -> FieldViolation:
    return FieldViolation(_path(violation), violation.proto.message)


def _path(violation: Violation) -> str:
    """The field's path as a caller writes it: ``person.roles[0]``."""
    elements = violation.proto.field.elements if violation.proto.field else ()
    return ".".join(
        element.field_name
        + (f"[{element.subscript.value}]" if element.subscript is not None else "")
        for element in elements
    )


def _shape(handler: grpc.RpcMethodHandler[Any, Any]) -> str:
    """``unary_unary`` and so on: also the attribute that has the servicer's function."""
    sides = (handler.request_streaming, handler.response_streaming)
    return "_".join("stream" if streaming else "unary" for streaming in sides)
