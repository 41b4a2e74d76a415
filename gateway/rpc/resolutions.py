"""ReconciliationService: what people propose about cases, decide, and take back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.cases import listing
from gateway.cases.accept import accept_all, approve_all
from gateway.cases.approve import approve, reject
from gateway.cases.even import Part
from gateway.cases.plan import Ask, Posting
from gateway.cases.propose import propose, withdraw
from gateway.cases.rows import key_of
from gateway.cases.undo import undo_resolution
from gateway.domain.errors import Reason, invalid, not_found
from gateway.rpc import case_messages as messages
from gateway.rpc.caller import current_caller
from gateway.rpc.cases import FUND, actor_of, read_of
from gateway.rpc.convert import day_of, enum_name, split_name
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.accept import Outcome
    from gateway.cases.policy import CasePolicy
    from gateway.clock import Clock
    from gateway.night import Nights
    from gateway.rpc.paging import Page
    from gateway.store import Row, Store

RESOLUTION: Final = "funds/{}/resolutions/{}"
_VOUCHER: Final = "funds/{}/vouchers/{}"


class ResolutionMethods:
    """Two persons for every decision, one of whom may be enough to take it back.

    Attributes:
        store: the database.
        clock: the present moment.
        nights: what made the cases, and its rules.
        policy: what people who work on cases hold to.
    """

    store: Store
    clock: Clock
    nights: Nights
    policy: CasePolicy

    async def ProposeResolution(  # noqa: N802 - the contract's name
        self,
        request: pb.ProposeResolutionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ProposeResolutionResponse:
        """Proposes what to do about a case, or only says whether it could be proposed."""
        read = read_of(request.parent, request.etag, "parent")
        ask = ask_of(request.resolution, read.fund_id)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.ProposeResolutionResponse:
            row = await propose(conn, self.policy, read, ask, actor)
            return pb.ProposeResolutionResponse(resolution=await shown(conn, row))

        if request.validate_only:
            return await self._rehearse(work)
        answer = pb.ProposeResolutionResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def _rehearse(self, work: Any) -> pb.ProposeResolutionResponse:  # noqa: ANN401 - as in `once`
        """The answer without its effect: nothing was named, because nothing is stored."""
        scope = current_caller().scope
        async with self.store.transaction(scope) as conn, conn.begin_nested() as rehearsal:
            answer: pb.ProposeResolutionResponse = await work(conn)
            await rehearsal.rollback()
        answer.resolution.ClearField("name")
        return answer

    async def ListResolutions(  # noqa: N802 - the contract's name
        self,
        request: pb.ListResolutionsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListResolutionsResponse:
        """Resolutions, newest first."""
        (fund_id,) = split_name(request.parent, FUND, "parent")
        states = sorted(enum_name(pb.ResolutionState, state) for state in request.states)
        key = f"ListResolutions/{fund_id}/{states}"
        page = page_of(request, key, datetime.fromisoformat, str, str)
        after = after_moment(page)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.list_resolutions(conn, fund_id, states, after, page.fetch)
            found = await messages.resolution_messages(conn, rows[: page.size])
        return pb.ListResolutionsResponse(
            resolutions=found, next_page_token=next_token(key, rows, page.size, _key)
        )

    async def ApproveResolution(  # noqa: N802 - the contract's name
        self,
        request: pb.ApproveResolutionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ApproveResolutionResponse:
        """Does what another person proposed."""
        name = split_name(request.name, RESOLUTION)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.ApproveResolutionResponse:
            row = await approve(conn, self.policy, *_pair(name), request.note, actor)
            return pb.ApproveResolutionResponse(resolution=await shown(conn, row))

        answer = pb.ApproveResolutionResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def RejectResolution(  # noqa: N802 - the contract's name
        self,
        request: pb.RejectResolutionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.RejectResolutionResponse:
        """Turns another person's proposal down."""
        name = split_name(request.name, RESOLUTION)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.RejectResolutionResponse:
            row = await reject(conn, *_pair(name), request.reason, actor)
            return pb.RejectResolutionResponse(resolution=await shown(conn, row))

        answer = pb.RejectResolutionResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def WithdrawResolution(  # noqa: N802 - the contract's name
        self,
        request: pb.WithdrawResolutionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.WithdrawResolutionResponse:
        """Takes one's own proposal back."""
        name = split_name(request.name, RESOLUTION)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.WithdrawResolutionResponse:
            row = await withdraw(conn, *_pair(name), actor)
            return pb.WithdrawResolutionResponse(resolution=await shown(conn, row))

        answer = pb.WithdrawResolutionResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def UndoResolution(  # noqa: N802 - the contract's name
        self,
        request: pb.UndoResolutionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.UndoResolutionResponse:
        """Undoes what was decided."""
        name = split_name(request.name, RESOLUTION)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.UndoResolutionResponse:
            row = await undo_resolution(conn, *_pair(name), request.reason, actor)
            return pb.UndoResolutionResponse(resolution=await shown(conn, row))

        answer = pb.UndoResolutionResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def AcceptProposals(  # noqa: N802 - the contract's name
        self,
        request: pb.AcceptProposalsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.AcceptProposalsResponse:
        """Proposes to accept what a run proposed, case by case."""
        reads = [read_of(each.name, each.etag, "cases") for each in request.cases]
        actor = actor_of(current_caller(), self.clock)
        async with self.store.transaction(GATEWAY) as conn:
            demoted = await self.nights.demoted(conn)

        async def work(conn: AsyncConnection) -> pb.AcceptProposalsResponse:
            outcomes = await accept_all(conn, self.policy, reads, request.reason, demoted, actor)
            names = [each.name for each in request.cases]
            return pb.AcceptProposalsResponse(outcomes=await _items(conn, names, outcomes))

        answer = pb.AcceptProposalsResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def ApproveResolutions(  # noqa: N802 - the contract's name
        self,
        request: pb.ApproveResolutionsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ApproveResolutionsResponse:
        """Does what another person proposed, one resolution by one."""
        pairs = [_pair(split_name(name, RESOLUTION)) for name in request.names]
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.ApproveResolutionsResponse:
            outcomes = await approve_all(conn, self.policy, pairs, request.note, actor)
            items = await _items(conn, request.names, outcomes)
            return pb.ApproveResolutionsResponse(outcomes=items)

        answer = pb.ApproveResolutionsResponse
        return await once(self.store, current_caller(), request, answer, work)


def after_moment(page: Page) -> tuple[Any, ...] | None:
    """The key of the last row of the page before, of which the first part is a moment."""
    if page.after is None:
        return None
    return (datetime.fromisoformat(page.after[0]), *page.after[1:])


def _pair(ids: tuple[str, ...]) -> tuple[str, str]:
    return ids[0], ids[1]


def _key(row: Row) -> tuple[str, ...]:
    return (row.created_at.isoformat(), row.fund_id, row.resolution_id)


# --- what is asked for --------------------------------------------------------------------------


def ask_of(asked: pb.Resolution, fund_id: str) -> Ask:
    """What a message proposes, all of it of one fund.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND for a row of another fund; FIELD_INVALID.
    """
    return Ask(
        action=enum_name(pb.ResolutionAction, asked.action),
        reason=asked.reason,
        parts=tuple(_part(each, fund_id) for each in asked.allocations),
        posting=_posting(asked.adjustment, fund_id) if asked.HasField("adjustment") else None,
        wait_until=(
            day_of(asked.wait_until, "resolution.wait_until")
            if asked.HasField("wait_until")
            else None
        ),
        bank_reference=asked.bank_reference,
        supersedes=asked.supersedes,
    )


def _part(asked: pb.Allocation, fund_id: str) -> Part:
    owner, key = key_of(asked.name)
    if owner != fund_id:
        raise not_found(asked.name)
    if not asked.HasField("amount"):
        return Part(key)
    return Part(key, asked.amount.amount_minor, asked.amount.currency)


def _posting(asked: pb.Adjustment, fund_id: str) -> Posting:
    dated, priced = asked.HasField("effective_date"), asked.HasField("amount")
    where = "resolution.adjustment.effective_date"
    return Posting(
        book=enum_name(common_pb2.Book, asked.book) if asked.book else "",
        category=asked.category,
        summary=asked.summary,
        amount_minor=asked.amount.amount_minor if priced else None,
        currency=asked.amount.currency,
        effective_date=day_of(asked.effective_date, where) if dated else None,
        vouchers=tuple(_voucher(name, fund_id, place) for place, name in enumerate(asked.vouchers)),
    )


def _voucher(name: str, fund_id: str, place: int) -> str:
    path = f"resolution.adjustment.vouchers[{place}]"
    owner, digest = split_name(name, _VOUCHER, path)
    if owner != fund_id:
        raise invalid(Reason.ENTRY_CROSSES_FUNDS, path, "belongs to another fund")
    return digest


# --- what is answered ---------------------------------------------------------------------------


async def shown(conn: AsyncConnection, row: Row) -> pb.Resolution:
    """A resolution as the contract writes it, from its row."""
    return (await shown_all(conn, [row]))[0]


async def shown_all(conn: AsyncConnection, rows: Sequence[Row]) -> list[pb.Resolution]:
    """Resolutions as the contract writes them, from their rows, in the same order."""
    r = t.resolutions.c
    ids = {row.resolution_id: place for place, row in enumerate(rows)}
    query = listing.select_resolutions().where(
        r.resolution_id.in_(ids), r.fund_id.in_({row.fund_id for row in rows})
    )
    found = sorted(await conn.execute(query), key=lambda row: ids[row.resolution_id])
    return await messages.resolution_messages(conn, found)


async def _items(
    conn: AsyncConnection, names: Sequence[str], outcomes: Sequence[Outcome]
) -> list[pb.ItemOutcome]:
    done = await shown_all(conn, [each.resolution for each in outcomes if each.resolution])
    rest = iter(done)
    return [
        _item(name, outcome, next(rest) if outcome.resolution else None)
        for name, outcome in zip(names, outcomes, strict=True)
    ]


def _item(name: str, outcome: Outcome, resolution: pb.Resolution | None) -> pb.ItemOutcome:
    refusal = outcome.refusal
    return pb.ItemOutcome(
        name=name,
        resolution=resolution,
        reason=refusal.reason if refusal else "",
        message=refusal.message if refusal else "",
    )
