"""Proposing what decides who can pay: tried out, recorded, left for another party to confirm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from google.protobuf.message import Message

from gateway.registry import changes as register
from gateway.registry.changes import Actor, Draft, Outcome, Subject
from gateway.rpc.caller import current_caller
from gateway.rpc.once import once
from gateway.store import GATEWAY, bind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.rpc.caller import Caller
    from gateway.store import Store

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One method by which a change is proposed.

    Attributes:
        request_type: its request message, which is what the change consists of.
        field: of the response, for what is added.
        subject: what the change is about; None if it needs nobody's confirmation.
        apply: does it; the message is what was added, with its resource name.
    """

    request_type: type[Message]
    field: str
    subject: Callable[[AsyncConnection, Any], Awaitable[Subject | None]]
    apply: Callable[[AsyncConnection, Any, datetime], Awaitable[Any]]

    @property
    def kind(self) -> str:
        """Name of the request message."""
        return str(self.request_type.DESCRIPTOR.full_name)


async def propose(
    store: Store,
    clock: Clock,
    proposal: Proposal,
    request: Any,  # noqa: ANN401 - of the proposal's type
    response_type: type[_Response],
) -> _Response:
    """Answers a call that proposes a change, or does at once what nobody could confirm.

    Raises:
        GatewayError: whatever `proposal.apply` refuses; RESOURCE_EXISTS while another change of the
            same resource waits.
    """
    caller = current_caller()

    async def work(conn: AsyncConnection) -> _Response:
        now = clock()
        subject = await proposal.subject(conn, request)
        if subject is None:
            return response_type(**{proposal.field: await proposal.apply(conn, request, now)})
        added = await _tried_out(conn, proposal, request, now)
        draft = Draft(added.name, subject, proposal.kind, _content(request))
        change = await register.propose(conn, draft, actor_of(caller), now)
        waits = await register.could_confirm(conn, change)
        if not waits:
            added = await proposal.apply(conn, request, now)
            await register.decide(conn, change, Outcome.FOUNDED, actor_of(caller), now)
        name = register.change_name(change.change_id)
        return response_type(**{proposal.field: added, "change": name, "waits": waits})

    answer: _Response = await once(store, caller, request, cast("Any", response_type), work)
    return answer


async def record_end(conn: AsyncConnection, resource: str, subject: Subject, now: datetime) -> None:
    """Records in the history that the caller ended a right, which takes one person only."""
    await bind(conn, GATEWAY)
    await register.record_end(conn, Draft(resource, subject), actor_of(current_caller()), now)


def actor_of(caller: Caller) -> Actor:
    """The caller as the register's history names people."""
    return Actor(caller.actor, caller.party_id, caller.person_id, caller.natural_person)


async def _tried_out(
    conn: AsyncConnection, proposal: Proposal, request: Message, now: datetime
) -> Any:  # noqa: ANN401 - a resource of the contract, which all have a name
    """What would be added, so that a change that cannot be is refused before anybody reads it."""
    async with conn.begin_nested() as trial:
        added = await proposal.apply(conn, request, now)
        await trial.rollback()
    return added


def _content(request: Any) -> bytes:  # noqa: ANN401 - any request with a request_id
    """The bytes that are confirmed: everything but the name of the call."""
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    return bytes(content.SerializeToString(deterministic=True))
