"""A request id means one thing for ever: the same bytes the same answer, a refusal included."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message
from google.rpc import status_pb2  # type: ignore[import-untyped] # it ships no stubs

from gateway.audit.entry import OK
from gateway.audit.log import append
from gateway.domain.errors import GatewayError, Kind, Reason, invalid
from gateway.rpc.errors import CODES, StoredRefusal, to_status
from gateway.rpc.trail import current_trail, resource_in
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.rpc.caller import Caller
    from gateway.store import Store

_Response = TypeVar("_Response", bound=Message)
_Answer_co = TypeVar("_Answer_co", bound=Message, covariant=True)

LASTING: Final = frozenset(
    {Kind.INVALID, Kind.PRECONDITION, Kind.NOT_FOUND, Kind.EXISTS, Kind.CONFLICT}
)
"""Refusals that are told again; the others lie in the caller's rights or in our moment."""

_LOCK: Final = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended(:party || '/' || :request, 0))"
)


class _Request(Protocol):
    """Any request message with a `request_id`."""

    @property
    def request_id(self) -> str: ...
    @property
    def DESCRIPTOR(self) -> Any: ...  # noqa: ANN401, N802 - protobuf's own
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...  # noqa: N802 - as above


class _Parser(Protocol[_Answer_co]):
    """The class of a response message."""

    def FromString(self, s: bytes, /) -> _Answer_co: ...  # noqa: N802 - protobuf's name


@dataclass(frozen=True, slots=True)
class _Use:
    """One use of a request id: by whom, for which method, with which content."""

    party_id: str
    request_id: str
    method: str
    digest: bytes


async def once(
    store: Store,
    caller: Caller,
    request: _Request,
    response_type: _Parser[_Response],
    work: Callable[[AsyncConnection], Awaitable[_Response]],
) -> _Response:
    """Does the work of a unary call once, in one transaction of the caller's scope.

    Args:
        store: the database.
        caller: whose request id it is; ids of different parties never meet.
        request: the message; its canonical bytes are what the id stands for.
        response_type: class of the answer.
        work: changes the database and answers; undone as a whole if it refuses.

    Returns:
        The answer of `work`, or the one stored for the same bytes.

    Raises:
        StoredRefusal: the refusal stored for the same bytes.
        GatewayError: REQUEST_ID_REUSED for other bytes; whatever `work` refuses.
    """
    return await once_for(
        store,
        caller,
        method=request.DESCRIPTOR.full_name,
        request_id=request.request_id,
        content_digest=sha256(request.SerializeToString(deterministic=True)).digest(),
        response_type=response_type,
        work=work,
    )


async def once_for(
    store: Store,
    caller: Caller,
    *,
    method: str,
    request_id: str,
    content_digest: bytes,
    response_type: _Parser[_Response],
    work: Callable[[AsyncConnection], Awaitable[_Response]],
) -> _Response:
    """`once` for streams: the caller of this names the method and digests the whole content."""
    use = _Use(caller.party_id, request_id, method, content_digest)
    async with store.transaction(caller.scope) as conn:
        await conn.execute(_LOCK, {"party": use.party_id, "request": use.request_id})
        stored = await _stored(conn, use)
        if stored is not None:
            return response_type.FromString(stored)
        outcome = await _attempt(conn, work)
        await _store(conn, use, outcome)
        await _record(conn, outcome)
    current_trail().is_recorded = True
    # The refusal must be on disk before it is told: so it is raised behind the commit.
    if isinstance(outcome, GatewayError):
        raise outcome
    return outcome


async def _attempt(
    conn: AsyncConnection, work: Callable[[AsyncConnection], Awaitable[_Response]]
) -> _Response | GatewayError:
    """The answer, or the lasting refusal, with everything the work did before it undone."""
    try:
        async with conn.begin_nested():
            return await work(conn)
    except GatewayError as refusal:
        if refusal.kind not in LASTING:
            raise
        return refusal


async def _stored(conn: AsyncConnection, use: _Use) -> bytes | None:
    """The answer stored for this use; None if the id is new.

    Raises:
        StoredRefusal: if a refusal is stored.
        GatewayError: REQUEST_ID_REUSED.
    """
    query = sa.select(t.requests).where(
        t.requests.c.party_id == use.party_id, t.requests.c.request_id == use.request_id
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    if (row.method, row.digest) != (use.method, use.digest):
        raise invalid(Reason.REQUEST_ID_REUSED, "request_id", "was used for other content")
    if row.refusal is not None:
        raise StoredRefusal(status_pb2.Status.FromString(row.refusal))
    return bytes(row.response)


async def _store(conn: AsyncConnection, use: _Use, outcome: Message | GatewayError) -> None:
    column, message = (
        ("refusal", to_status(outcome))
        if isinstance(outcome, GatewayError)
        else ("response", outcome)
    )
    await conn.execute(
        t.requests.insert().values(
            party_id=use.party_id,
            request_id=use.request_id,
            method=use.method,
            digest=use.digest,
            created_at=sa.func.now(),
            **{column: message.SerializeToString(deterministic=True)},
        )
    )


async def _record(conn: AsyncConnection, outcome: Message | GatewayError) -> None:
    """The audit log has the call if, and only if, its outcome is kept."""
    trail = current_trail()
    if isinstance(outcome, GatewayError):
        entry = trail.entry(CODES[outcome.kind].name, outcome.reason)
    else:
        entry = trail.entry(OK, "", resource_in(outcome))
    await append(conn, [entry])
