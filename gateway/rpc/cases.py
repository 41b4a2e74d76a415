"""ReconciliationService: cases, from the list to what happened to one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway import night
from gateway.cases import listing
from gateway.cases.actor import Actor
from gateway.cases.insight import look_into
from gateway.cases.propose import Read, assign, comment
from gateway.cases.record import open_cases_of
from gateway.cases.rows import members_of_case
from gateway.clock import bank_date
from gateway.domain.errors import not_found
from gateway.questions.listing import questions_of_case
from gateway.rpc import case_messages as messages
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import enum_name, split_name
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.policy import CasePolicy
    from gateway.cases.rows import OpenRow
    from gateway.clock import Clock
    from gateway.rpc.caller import Caller
    from gateway.store import Row, Store
    from reconciliation.rules import Rules

CASE: Final = "funds/{}/cases/{}"
FUND: Final = "funds/{}"


def actor_of(caller: Caller, clock: Clock) -> Actor:
    """The caller as somebody who works on cases."""
    return Actor(caller.party_id, caller.person_id, caller.natural_person, caller.roles, clock())


def read_of(name: str, etag: str, path: str = "name") -> Read:
    """A case as it was read.

    Raises:
        GatewayError: FIELD_INVALID if the name, at this path, is no case's.
    """
    fund_id, case_id = split_name(name, CASE, path)
    return Read(fund_id, case_id, etag)


def filter_of(asked: pb.CaseFilter) -> listing.Filter:
    """Which cases a message means."""
    return listing.Filter(
        kinds=tuple(sorted(enum_name(pb.CaseKind, kind).lower() for kind in asked.kinds)),
        states=tuple(sorted(enum_name(pb.CaseState, state) for state in asked.states)),
        min_age_days=asked.min_age_days,
        min_weight_minor=asked.min_weight_minor,
        max_weight_minor=asked.max_weight_minor,
        assignee=asked.assignee,
        only_overdue=asked.only_overdue,
        min_escalation=asked.min_escalation,
        cause=asked.cause,
    )


class CaseMethods:
    """Lists, shows, assigns and remarks on cases.

    Attributes:
        store: the database.
        clock: the present moment.
        nights: what made them, and its rules.
        policy: what people who work on cases hold to.
    """

    store: Store
    clock: Clock
    nights: night.Nights
    policy: CasePolicy

    async def ListCases(  # noqa: N802 - the contract's name
        self,
        request: pb.ListCasesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListCasesResponse:
        """Cases in the order asked for, the open ones unless told otherwise."""
        (fund_id,) = split_name(request.parent, FUND)
        which, today = filter_of(request.filter), bank_date(self.clock())
        by = enum_name(pb.CaseOrder, request.order).replace("UNSPECIFIED", "OLDEST")
        order = listing.ORDERS[by]
        key = f"ListCases/{fund_id}/{which}/{by}"
        page = page_of(request, key, order.parse, str, str)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.list_cases(
                conn, fund_id, which, order, page.after, page.fetch, today
            )
            cases = await with_proposals(conn, rows[: page.size])
        return pb.ListCasesResponse(
            cases=cases,
            next_page_token=next_token(
                key, rows, page.size, lambda row: (str(row.sort_key), row.fund_id, row.case_id)
            ),
        )

    async def GetCase(  # noqa: N802 - the contract's name
        self,
        request: pb.GetCaseRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetCaseResponse:
        """One case, open or closed, with all there is to know of it."""
        fund_id, case_id = split_name(request.name, CASE)
        async with self.store.transaction(current_caller().scope) as conn:
            row = await case_row(conn, fund_id, case_id, bank_date(self.clock()))
            return await _whole_case(conn, row, self.nights.rules)

    async def AssignCase(  # noqa: N802 - the contract's name
        self,
        request: pb.AssignCaseRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.AssignCaseResponse:
        """Gives a case to somebody, or to nobody."""
        read = read_of(request.name, request.etag)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.AssignCaseResponse:
            await assign(conn, read, request.assignee, actor)
            row = await case_row(conn, read.fund_id, read.case_id, actor.today)
            return pb.AssignCaseResponse(case=(await with_proposals(conn, [row]))[0])

        return await once(self.store, current_caller(), request, pb.AssignCaseResponse, work)

    async def CommentCase(  # noqa: N802 - the contract's name
        self,
        request: pb.CommentCaseRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.CommentCaseResponse:
        """Adds a remark to a case."""
        fund_id, case_id = split_name(request.name, CASE)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.CommentCaseResponse:
            await comment(conn, fund_id, case_id, request.text, actor)
            last = (await listing.events_of(conn, fund_id, case_id))[-1]
            return pb.CommentCaseResponse(event=messages.event_message(last))

        return await once(self.store, current_caller(), request, pb.CommentCaseResponse, work)


async def case_row(conn: AsyncConnection, fund_id: str, case_id: str, today: date) -> Row:
    """A case as `listing.select_cases` has it.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    this = (t.cases.c.fund_id == fund_id) & (t.cases.c.case_id == case_id)
    row: Row | None = (await conn.execute(listing.select_cases(today).where(this))).one_or_none()
    if row is None:
        raise not_found(CASE.format(fund_id, case_id))
    return row


async def with_proposals(conn: AsyncConnection, rows: Sequence[Row]) -> list[pb.Case]:
    """Cases with the proposals that wait for another person."""
    keys = [(row.fund_id, row.case_id) for row in rows]
    proposals = await listing.resolutions_of(conn, keys, only_proposed=True)
    shown = {each.case: each for each in await messages.resolution_messages(conn, proposals)}
    cases = [messages.case_message(row) for row in rows]
    for case in cases:
        if case.name in shown:
            case.proposal.CopyFrom(shown[case.name])
    return cases


async def _whole_case(conn: AsyncConnection, row: Row, rules: Rules) -> pb.GetCaseResponse:
    fund_id, case_id = row.fund_id, row.case_id
    members = await members_of_case(conn, fund_id, case_id)
    insight = await look_into(conn, rules, fund_id, row.account_id, members)
    resolutions = await listing.resolutions_of(conn, [(fund_id, case_id)])
    run = await night.load_run(conn, row.run_id)
    elsewhere = await _elsewhere(conn, row, [each.row for each in insight.candidates])
    (case,) = await with_proposals(conn, [row])
    case.members.extend(messages.member_message(fund_id, each) for each in members)
    case.questions.extend(await questions_of_case(conn, fund_id, case_id))
    return pb.GetCaseResponse(
        case=case,
        evidence=map(messages.evidence_message, insight.evidence),
        candidates=[
            messages.candidate_message(fund_id, each, elsewhere.get(each.row, ""))
            for each in insight.candidates
        ],
        events=map(messages.event_message, await listing.events_of(conn, fund_id, case_id)),
        explanation=messages.explanation_of_case(row, run, insight.evidence),
        resolutions=await messages.resolution_messages(conn, resolutions),
    )


async def _elsewhere(
    conn: AsyncConnection, case: Row, candidates: Sequence[OpenRow]
) -> dict[OpenRow, str]:
    """Another open case of each candidate, where there is one."""
    cases = await open_cases_of(conn, case.fund_id, [row.key for row in candidates])
    others = {row: cases.get(row.key, frozenset()) - {case.case_id} for row in candidates}
    return {row: min(found) for row, found in others.items() if found}
