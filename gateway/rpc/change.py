"""ChangeService: what decides who can pay, confirmed by another party than proposed it."""

# ruff: noqa: N802, ARG002, D102 - names and words are the contract's; the edge uses the context

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.any_pb2 import Any as AnyMessage
from xinyi.v1 import change_service_pb2 as pb
from xinyi.v1 import change_service_pb2_grpc

from gateway.domain.errors import GatewayError
from gateway.registry import changes as register
from gateway.registry.changes import Outcome, Subject
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import enum_number, moment, split_name
from gateway.rpc.duty import DISCLOSURE_RULES, ERASURE
from gateway.rpc.fund import APPOINTMENT, SIGNING_POLICY
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.party import CERTIFICATE, MANDATE, PUBLIC_KEY
from gateway.rpc.proposal import actor_of
from gateway.store import GATEWAY, bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.rpc.proposal import Proposal
    from gateway.store import Row, Store

PROPOSALS: Final[Mapping[str, Proposal]] = {
    each.kind: each
    for each in (
        CERTIFICATE,
        PUBLIC_KEY,
        MANDATE,
        APPOINTMENT,
        SIGNING_POLICY,
        DISCLOSURE_RULES,
        ERASURE,
    )
}
"""Name of the request message to what it proposes."""

_TYPE_URL: Final = "type.googleapis.com/"


class ChangeServicer(change_service_pb2_grpc.ChangeServiceServicer):
    """The second party's side of every change, and the history of all of them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ListChanges(
        self, request: pb.ListChangesRequest, context: object
    ) -> pb.ListChangesResponse:
        caller, now = current_caller(), self._clock()
        key = f"ListChanges/{request.parent}/{request.confirmable}"
        page = page_of(request, key)
        async with self._store.transaction(caller.scope) as conn:
            rows = await register.list_changes(
                conn,
                actor_of(caller),
                about=_about(request.parent),
                only_confirmable=request.confirmable,
                before=page.after_id,
                limit=page.fetch,
                now=now,
            )
        return pb.ListChangesResponse(
            changes=[_change(row, now) for row in rows[: page.size]],
            next_page_token=next_token(key, rows, page.size, lambda row: (row.change_id,)),
        )

    async def ConfirmChanges(
        self, request: pb.ConfirmChangesRequest, context: object
    ) -> pb.ConfirmChangesResponse:
        caller = current_caller()
        actor = actor_of(caller)

        async def work(conn: AsyncConnection) -> pb.ConfirmChangesResponse:
            now = self._clock()
            digests = {_change_id(ref.name): ref.digest for ref in request.changes}
            rows = await register.confirmable(conn, digests, actor, now)
            # What the caller's own scope let through is done in the gateway's.
            await bind(conn, GATEWAY)
            for row in rows:
                await register.decide(conn, row, Outcome.CONFIRMED, actor, now)
                await _apply(conn, row, now)
            return pb.ConfirmChangesResponse(changes=await _stored(conn, rows, now))

        return await once(self._store, caller, request, pb.ConfirmChangesResponse, work)

    async def RejectChanges(
        self, request: pb.RejectChangesRequest, context: object
    ) -> pb.RejectChangesResponse:
        caller = current_caller()
        actor = actor_of(caller)

        async def work(conn: AsyncConnection) -> pb.RejectChangesResponse:
            now = self._clock()
            change_ids = [_change_id(name) for name in request.names]
            rows = await register.rejectable(conn, change_ids, actor, now)
            await bind(conn, GATEWAY)
            for row in rows:
                await register.decide(conn, row, Outcome.REJECTED, actor, now, request.reason)
            return pb.RejectChangesResponse(changes=await _stored(conn, rows, now))

        return await once(self._store, caller, request, pb.RejectChangesResponse, work)


def _about(parent: str) -> Subject:
    """The party or the estate of this name, or all."""
    collection, _, about = parent.partition("/")
    return Subject(party_id=about) if collection == "parties" else Subject(estate_id=about)


async def _apply(conn: AsyncConnection, row: Row, now: datetime) -> None:
    """Does what was proposed, by the code that would have done it at once.

    Raises:
        GatewayError: what it refuses now, with the change named.
    """
    proposal = PROPOSALS[row.kind]
    request = proposal.request_type.FromString(row.content)
    try:
        await proposal.apply(conn, request, now)
    except GatewayError as refusal:
        name = register.change_name(row.change_id)
        raise GatewayError(
            refusal.kind,
            refusal.reason,
            f"{name}: {refusal.message}",
            {**refusal.metadata, "change": name},
            refusal.violations,
            name,
        ) from refusal


async def _stored(conn: AsyncConnection, rows: Iterable[Row], now: datetime) -> list[pb.Change]:
    stored = await register.changes_of(conn, [row.change_id for row in rows])
    return [_change(row, now) for row in stored]


def _change_id(name: str) -> str:
    (change_id,) = split_name(name, "changes/{}")
    return change_id


def _change(row: Row, now: datetime) -> pb.Change:
    return pb.Change(
        name=register.change_name(row.change_id),
        resource=row.resource,
        content=AnyMessage(type_url=_TYPE_URL + row.kind, value=row.content) if row.kind else None,
        digest=row.digest if row.kind else "",
        state=_state(row, now),
        proposer=row.proposer,
        create_time=moment(row.created_at),
        expire_time=moment(row.expires_at),
        decider=row.decider or "",
        decide_time=moment(row.decided_at),
        reason=row.reason or "",
    )


def _state(row: Row, now: datetime) -> pb.ChangeState.ValueType:
    undecided = "PROPOSED" if now < row.expires_at else "LAPSED"
    return pb.ChangeState.ValueType(enum_number(pb.ChangeState, row.outcome or undecided))
