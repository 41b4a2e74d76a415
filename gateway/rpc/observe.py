"""What is counted and traced of every call: two interceptors outside of the edge.

The second one is there only where traces are sent, so that they cost nothing where they are not.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from inspect import isasyncgenfunction
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import grpc

from gateway.observe.meters import UNKNOWN_METHOD
from gateway.rpc.edge import OPEN_SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    from gateway.observe.meters import Meters
    from gateway.observe.tracing import Traces

    Handler = grpc.RpcMethodHandler[Any, Any]
    Around = Callable[[Any], AbstractContextManager[None]]
    """Makes, of a call's context, what is around the call."""

_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_UNARY: Final = "unary"


class Metering(grpc.aio.ServerInterceptor):
    """Counts the calls of the contract, and how long each took.

    Health and reflection are not counted: those who ask them do so all the time.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler of a method; an unknown method is counted as such."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            self._meters.call_ended(UNKNOWN_METHOD, grpc.StatusCode.UNIMPLEMENTED.name, 0.0)
        if handler is None or method.startswith(OPEN_SERVICES):
            return handler
        name = method.removeprefix("/")

        @contextmanager
        def metered(context: Any) -> Iterator[None]:  # noqa: ANN401 - cygrpc has no types
            code, begun_s = grpc.StatusCode.OK.name, perf_counter()
            self._meters.in_flight += 1
            try:
                yield
            except BaseException as error:
                code = code_of(error, context)
                raise
            finally:
                self._meters.in_flight -= 1
                self._meters.call_ended(name, code, perf_counter() - begun_s)

        return _wrapped(handler, metered)


class Tracing(grpc.aio.ServerInterceptor):
    """A span around every call of the contract, below the caller's own if they send one."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler of a method; reads only W3C trace context from the metadata."""
        method, metadata = handler_call_details.method, handler_call_details.invocation_metadata
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(OPEN_SERVICES):
            return handler
        parent = {
            key: value
            for key, value in metadata
            if key in ("traceparent", "tracestate") and isinstance(value, str)
        }

        @contextmanager
        def traced(context: Any) -> Iterator[None]:  # noqa: ANN401 - cygrpc has no types
            with self._traces.call(method.removeprefix("/"), parent) as ended:
                try:
                    yield
                except BaseException as error:
                    ended(code_of(error, context))
                    raise
                ended(grpc.StatusCode.OK.name)

        return _wrapped(handler, traced)


def code_of(error: BaseException, context: Any) -> str:  # noqa: ANN401 - cygrpc has no types
    """The name of the status that an exception out of a handler ends its call with."""
    if isinstance(error, grpc.aio.AbortError):
        code = context.code()
        return _NAMES[code if isinstance(code, int) else code.value[0]]
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED.name
    return grpc.StatusCode.UNKNOWN.name


def _wrapped(handler: Handler, around: Around) -> Handler:
    """The handler with something around its behaviour, whatever its arity."""
    sides = (handler.request_streaming, handler.response_streaming)
    shape = "_".join("stream" if streaming else _UNARY for streaming in sides)
    behave = getattr(handler, shape)

    # Streams of the contract are written by the edge, inside of their call; reflection's are not.
    async def call(request: Any, context: Any) -> Any:  # noqa: ANN401 - of any method
        with around(context):
            return await behave(request, context)

    async def generator(request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        with around(context):
            async for answer in behave(request, context):
                yield answer

    build = getattr(grpc, f"{shape}_rpc_method_handler")
    built: Handler = build(
        generator if isasyncgenfunction(behave) else call,
        handler.request_deserializer,
        handler.response_serializer,
    )
    return built
