"""A request id means one thing for ever: the same bytes the same answer, a refusal included."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2  # type: ignore[import-untyped] # it ships no stubs

from gateway.audit.entry import OK
from gateway.audit.log import append
from gateway.domain.errors import GatewayError, Kind, Reason, invalid
from gateway.rpc.errors import CODES, StoredRefusal, to_status
from gateway.rpc.trail import current_trail, resource_in
from gateway.store import bulk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.audit.entry import Entry
    from gateway.rpc.caller import Caller
    from gateway.rpc.trail import Trail
    from gateway.store import Row, Store

_Response = TypeVar("_Response", bound=Message)
_Answer_co = TypeVar("_Answer_co", bound=Message, covariant=True)

LASTING: Final = frozenset(
    {Kind.INVALID, Kind.PRECONDITION, Kind.NOT_FOUND, Kind.EXISTS, Kind.CONFLICT}
)
"""Refusals that are told again; the others lie in the caller's rights or in our moment."""

Key: TypeAlias = tuple[str, str]
"""A party and its request id."""

# In order of the locks, so that two transactions that need the same ones do not wait in a circle.
_LOCK: Final = """
    SELECT pg_advisory_xact_lock(id) FROM (
        SELECT DISTINCT hashtextextended(party_id || '/' || request_id, 0) AS id
        FROM unnest($1::text[], $2::text[]) AS n(party_id, request_id) ORDER BY id
    ) AS ordered
"""
_READ: Final = """
    SELECT r.* FROM requests r
    JOIN unnest($1::text[], $2::text[]) AS n(party_id, request_id) USING (party_id, request_id)
"""
_ADD: Final = """
    INSERT INTO requests (party_id, request_id, method, digest, response, refusal, created_at)
    SELECT n.*, now()
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[]) AS n
"""


class Request(Protocol):
    """Any request message with a `request_id`."""

    @property
    def request_id(self) -> str:
        """The caller's own id of the call."""

    @property
    def DESCRIPTOR(self) -> Any:  # noqa: ANN401, N802 - protobuf's own
        """What the message is."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802 - as above
        """The message's bytes."""


class Parser(Protocol[_Answer_co]):
    """The class of a response message."""

    def FromString(self, s: bytes, /) -> _Answer_co:  # noqa: N802 - protobuf's name
        """The message in these bytes."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a request id: by whom, for which method, with which content."""

    party_id: str
    request_id: str
    method: str
    digest: bytes

    @property
    def key(self) -> Key:
        """What must mean one thing."""
        return (self.party_id, self.request_id)


def use_of(caller: Caller, request: Request) -> Use:
    """The use of a unary request's id; its canonical bytes are what the id stands for."""
    content = request.SerializeToString(deterministic=True)
    method = request.DESCRIPTOR.full_name
    return Use(caller.party_id, request.request_id, method, sha256(content).digest())


async def once(
    store: Store,
    caller: Caller,
    request: Request,
    response_type: Parser[_Response],
    work: Callable[[AsyncConnection], Awaitable[_Response]],
) -> _Response:
    """Does the work of a unary call once, in one transaction of the caller's scope.

    Args:
        store: the database.
        caller: whose request id it is; ids of different parties never meet.
        request: the message.
        response_type: class of the answer.
        work: changes the database and answers; undone as a whole if it refuses.

    Returns:
        The answer of `work`, or the one stored for the same bytes.

    Raises:
        StoredRefusal: the refusal stored for the same bytes.
        GatewayError: REQUEST_ID_REUSED for other bytes; whatever `work` refuses.
    """
    return await _once(store, caller, use_of(caller, request), response_type, work)


async def once_for(
    store: Store,
    caller: Caller,
    *,
    method: str,
    request_id: str,
    content_digest: bytes,
    response_type: Parser[_Response],
    work: Callable[[AsyncConnection], Awaitable[_Response]],
) -> _Response:
    """`once` for streams: the caller of this names the method and digests the whole content."""
    use = Use(caller.party_id, request_id, method, content_digest)
    return await _once(store, caller, use, response_type, work)


async def _once(
    store: Store,
    caller: Caller,
    use: Use,
    response_type: Parser[_Response],
    work: Callable[[AsyncConnection], Awaitable[_Response]],
) -> _Response:
    async with store.transaction(caller.scope) as conn:
        stored = (await find(conn, (use,))).get(use.key)
        if stored is not None:
            return response_type.FromString(told_again(stored, use))
        outcome = await _attempt(conn, work)
        await keep(conn, ((use, outcome),))
        await record(conn, ((current_trail(), outcome),))
    current_trail().is_recorded = True
    # The refusal must be on disk before it is told: so it is raised behind the commit.
    if isinstance(outcome, GatewayError):
        raise outcome
    return outcome


async def find(conn: AsyncConnection, uses: Sequence[Use]) -> Mapping[Key, Row]:
    """What is stored for request ids, which are the transaction's alone until it ends."""
    parties, ids = zip(*(use.key for use in uses), strict=True)
    await bulk.fetch(conn, _LOCK, parties, ids)
    rows = await bulk.fetch(conn, _READ, parties, ids)
    return {(row.party_id, row.request_id): row for row in rows}


def told_again(stored: Row, use: Use) -> bytes:
    """The answer that was stored for this use.

    Raises:
        StoredRefusal: if a refusal is stored.
        GatewayError: REQUEST_ID_REUSED.
    """
    if (stored.method, stored.digest) != (use.method, use.digest):
        raise invalid(Reason.REQUEST_ID_REUSED, "request_id", "was used for other content")
    if stored.refusal is not None:
        raise StoredRefusal(status_pb2.Status.FromString(stored.refusal))
    return bytes(stored.response)


def is_lasting(outcome: Message | GatewayError) -> bool:
    """Whether the outcome is told again to the same request."""
    return not isinstance(outcome, GatewayError) or outcome.kind in LASTING


async def keep(
    conn: AsyncConnection, outcomes: Sequence[tuple[Use, Message | GatewayError]]
) -> None:
    """Stores what became of uses for ever; all of it must be lasting."""
    rows = [
        (use.party_id, use.request_id, use.method, use.digest, *_columns(outcome))
        for use, outcome in outcomes
    ]
    if not rows:
        return
    await bulk.fetch(conn, _ADD, *map(list, zip(*rows, strict=True)))


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


def _columns(outcome: Message | GatewayError) -> tuple[bytes | None, bytes | None]:
    """Answer and refusal, one of which there is."""
    if isinstance(outcome, GatewayError):
        return None, to_status(outcome).SerializeToString(deterministic=True)
    return outcome.SerializeToString(deterministic=True), None


async def record(
    conn: AsyncConnection, outcomes: Sequence[tuple[Trail, Message | GatewayError]]
) -> None:
    """The audit log has calls if, and only if, their outcomes are kept."""
    await append(conn, [_entry(trail, outcome) for trail, outcome in outcomes])


def _entry(trail: Trail, outcome: Message | GatewayError) -> Entry:
    if isinstance(outcome, GatewayError):
        return trail.entry(CODES[outcome.kind].name, outcome.reason)
    return trail.entry(OK, "", resource_in(outcome))
