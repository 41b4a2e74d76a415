"""The edge: what happens around every call, whatever its arity.

Deadline, identity, access, validation, then the servicer; whatever goes wrong becomes a status here
and nowhere else. Each call leaves one line in the log, with ids and no content.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import grpc
import protovalidate
import structlog
from google.protobuf.message import DecodeError
from google.rpc import code_pb2  # type: ignore[import-untyped] # it ships no stubs
from grpc_status import rpc_status

from gateway.domain.errors import FieldViolation, GatewayError, Kind, Reason
from gateway.rpc import limits
from gateway.rpc.access import admit
from gateway.rpc.caller import set_caller
from gateway.rpc.errors import reason_in, status_of
from gateway.rpc.identity import Proof, Register, proved
from gateway.rpc.trail import Trail, begin, current_trail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from google.protobuf.message import Message
    from protovalidate import Violation

    from gateway.audit.recorder import Recorder
    from gateway.clock import Clock
    from gateway.rpc.limits import PartyLimits
    from gateway.store import Store

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


Guard: TypeAlias = "Callable[[str], None]"
"""Raises for a method that must not be called while the gateway stands as it does."""


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of the contract with the servicer's function behind it."""

    name: str
    parse: Callable[[bytes], Message]
    behave: Callable[..., Any]


class Edge(grpc.aio.ServerInterceptor):
    """The one interceptor of the server."""

    def __init__(
        self, store: Store, clock: Clock, parties: PartyLimits, recorder: Recorder, standing: Guard
    ) -> None:
        self._register = Register(store, clock)
        self._clock = clock
        self._parties = parties
        self._recorder = recorder
        self._require_standing = standing

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

    def _streaming(self, method: _Method) -> Callable[..., Awaitable[None]]:
        # No generator: gRPC would wait outside of it, where a slow reader cannot be ended.
        async def call(request: Any, context: Any) -> None:  # noqa: ANN401 - as above
            async with self._around(method.name, context):
                answers = method.behave(_checked(request, method.parse), context)
                async with aclosing(answers):
                    async for answer in answers:
                        await limits.written(context, answer)

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
            async with limits.in_time(method, context):
                proof = proved(context.auth_context())
                # Before the store is asked for anything: a flood must not reach it.
                with self._parties.call(method, proof.identity.party_id):
                    await self._enter(method, proof)
                    yield
            outcome["code"] = "OK"
        except grpc.aio.AbortError:
            outcome["code"] = context.code().name
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            status = status_of(error)
            outcome = {"code": code_pb2.Code.Name(status.code), "reason": reason_in(status)}
            # Nobody is told no before it is on its way into the audit log.
            self._note(trail, outcome)
            await limits.told(context.abort_with_status(rpc_status.to_status(status)))
        finally:
            duration_ms = (monotonic_ns() - begun_ns) // 1_000_000
            _log.info("call", duration_ms=duration_ms, **outcome)
            self._note(trail, outcome)

    def _note(self, trail: Trail, outcome: Mapping[str, str]) -> None:
        """Notes how a call ended, once."""
        if entry := trail.entry_after(**outcome):
            trail.is_recorded = True
            self._recorder.note(entry)

    async def _enter(self, method: str, proof: Proof) -> None:
        """Passes only a registered person, of whose roles one may call the method."""
        identity = proof.identity
        structlog.contextvars.bind_contextvars(party=identity.party_id, person=identity.person_id)
        current_trail().identify(identity, proof.fingerprint)
        caller = await self._register.caller(proof)
        admit(method, caller.roles)
        self._require_standing(method)
        set_caller(caller)


# --- the request ------------------------------------------------------------------------------


def _checked(request: Any, parse: Callable[[bytes], Message]) -> Any:  # noqa: ANN401 - bytes or a stream of them
    """The message in these bytes, or the messages of a stream one by one, held to the contract."""
    if isinstance(request, bytes):
        return _message(request, parse)
    return _messages(request, parse)


async def _messages(
    stream: AsyncIterator[bytes], parse: Callable[[bytes], Message]
) -> AsyncIterator[Message]:
    async for raw in limits.read(stream):
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
