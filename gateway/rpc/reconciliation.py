"""ReconciliationService: runs, proofs, and what runs matched; cases have pages of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from xinyi.v1 import reconciliation_service_pb2 as pb
from xinyi.v1.reconciliation_service_pb2_grpc import ReconciliationServiceServicer

from gateway import night
from gateway.cases import listing
from gateway.cases.ageing import age_cases
from gateway.cases.insight import compare
from gateway.cases.policy import CasePolicy
from gateway.cases.resolutions import load_resolution
from gateway.cases.rows import Key, key_of, load_rows
from gateway.cases.undo import undo_match, undo_run
from gateway.domain.errors import not_found
from gateway.ids import new_id
from gateway.rpc import case_messages as messages
from gateway.rpc.caller import current_caller
from gateway.rpc.case_sheets import SheetMethods
from gateway.rpc.cases import CaseMethods, actor_of
from gateway.rpc.convert import day, day_of, money, split_name
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.resolutions import ResolutionMethods, after_moment
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.rows import OpenRow
    from gateway.clock import Clock
    from gateway.rpc.paging import Page
    from gateway.store import Row, Store
    from reconciliation.rules import Rules

_MATCH: Final = "funds/{}/matches/{}/{}"


@dataclass(frozen=True)
class ReconciliationServicer(
    CaseMethods, ResolutionMethods, SheetMethods, ReconciliationServiceServicer
):
    """Starts the night by hand, shows what nights found, and takes it back.

    Attributes:
        store: the database.
        clock: the present moment.
        nights: what runs it.
        policy: what people who work on cases hold to.
    """

    store: Store
    clock: Clock
    nights: night.Nights
    policy: CasePolicy = field(default_factory=CasePolicy)

    async def StartRun(  # noqa: N802 - the contract's name
        self,
        request: pb.StartRunRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.StartRunResponse:
        """Reconciles all funds up to the end of a day."""
        last_day = day_of(request.date, "date")

        async def work(_: AsyncConnection) -> pb.StartRunResponse:
            # In transactions of its own: a run again after a lost answer adds nothing.
            run_id = new_id("run-", self.clock())
            done = await self.nights.run(last_day, run_id)
            async with self.store.transaction(GATEWAY) as later:
                await age_cases(later, self.policy, self.nights.rules, self.clock())
            return pb.StartRunResponse(run=messages.run_message(done))

        return await once(self.store, current_caller(), request, pb.StartRunResponse, work)

    async def GetRun(  # noqa: N802 - the contract's name
        self,
        request: pb.GetRunRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetRunResponse:
        """One run."""
        (run_id,) = split_name(request.name, messages.RUN)
        async with self.store.transaction(current_caller().scope) as conn:
            run = await night.load_run(conn, run_id)
        return pb.GetRunResponse(run=messages.run_message(run))

    async def ListBalanceProofs(  # noqa: N802 - the contract's name
        self,
        request: pb.ListBalanceProofsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListBalanceProofsResponse:
        """Balance proofs of a run, by account, of the caller's funds."""
        (run_id,) = split_name(request.parent, messages.RUN)
        key = f"ListBalanceProofs/{run_id}/{request.only_unproved}"
        page = page_of(request, key, str, str, str, date.fromisoformat)
        async with self.store.transaction(current_caller().scope) as conn:
            # The next page of the latest run is a page of the same run, though a later one began.
            run = await night.load_run(conn, page.after[0] if page.after else run_id)
            rows = await _proofs(conn, run.run_id, page, only_unproved=request.only_unproved)
        return pb.ListBalanceProofsResponse(
            proofs=map(_proof, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, _proof_key),
        )

    async def ListRuns(  # noqa: N802 - the contract's name
        self,
        request: pb.ListRunsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListRunsResponse:
        """Runs, newest first."""
        key = "ListRuns"
        page = page_of(request, key, datetime.fromisoformat, str)
        after = after_moment(page)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await night.list_runs(conn, after, page.fetch)
        return pb.ListRunsResponse(
            runs=map(messages.run_message, rows[: page.size]),
            next_page_token=next_token(
                key, rows, page.size, lambda row: (row.started_at.isoformat(), row.run_id)
            ),
        )

    async def UndoRun(  # noqa: N802 - the contract's name
        self,
        request: pb.UndoRunRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.UndoRunResponse:
        """Takes back what a run matched."""
        (run_id,) = split_name(request.name, messages.RUN)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.UndoRunResponse:
            # In transactions of its own: a call again after a lost answer goes on where it was.
            count = await undo_run(self.store, run_id, request.reason, actor)
            run = messages.run_message(await night.load_run(conn, run_id))
            return pb.UndoRunResponse(run=run, match_count=count)

        return await once(self.store, current_caller(), request, pb.UndoRunResponse, work)

    async def ListMatches(  # noqa: N802 - the contract's name
        self,
        request: pb.ListMatchesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListMatchesResponse:
        """Matches, newest first."""
        (fund_id,) = split_name(request.parent, "funds/{}", "parent")
        which = _matches_asked(request, fund_id)
        key = f"ListMatches/{fund_id}/{which}"
        page = page_of(request, key, datetime.fromisoformat, str, str, str)
        after = after_moment(page)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.list_matches(conn, fund_id, which, after, page.fetch)
        return pb.ListMatchesResponse(
            matches=map(messages.match_message, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, _match_key),
        )

    async def GetMatch(  # noqa: N802 - the contract's name
        self,
        request: pb.GetMatchRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetMatchResponse:
        """One match with its members and why it was made."""
        fund_id, match_id, made_by = split_name(request.name, _MATCH)
        async with self.store.transaction(current_caller().scope) as conn:
            return pb.GetMatchResponse(
                match=await _whole_match(conn, (fund_id, match_id, made_by), self.nights.rules)
            )

    async def UndoMatch(  # noqa: N802 - the contract's name
        self,
        request: pb.UndoMatchRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.UndoMatchResponse:
        """Takes one automatic match apart for good."""
        fund_id, match_id, made_by = split_name(request.name, _MATCH)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.UndoMatchResponse:
            await undo_match(conn, fund_id, match_id, made_by, request.reason, actor)
            match = await _whole_match(conn, (fund_id, match_id, made_by), self.nights.rules)
            return pb.UndoMatchResponse(match=match)

        return await once(self.store, current_caller(), request, pb.UndoMatchResponse, work)

    async def ListRuleRecords(  # noqa: N802 - the contract's name
        self,
        request: pb.ListRuleRecordsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListRuleRecordsResponse:
        """How often each rule was wrong, counted over all funds."""
        key = "ListRuleRecords"
        page = page_of(request, key, str, str)
        async with self.store.transaction(GATEWAY) as conn:
            records = await night.rule_records(conn)
        keys = [(each.rules_version, each.rule) for each in records]
        start = keys.index(page.after) + 1 if page.after in keys else 0
        rest = records[start : start + page.fetch]
        return pb.ListRuleRecordsResponse(
            records=[_rule_record(each, self.nights.rules) for each in rest[: page.size]],
            next_page_token=next_token(
                key, rest, page.size, lambda each: (each.rules_version, each.rule)
            ),
        )


# --- queries ------------------------------------------------------------------------------------


async def _proofs(
    conn: AsyncConnection, run_id: str, page: Page, *, only_unproved: bool
) -> Sequence[Row]:
    p, f = t.balance_proofs.c, t.funds.c
    query = (
        sa.select(t.balance_proofs, f.currency)
        .join_from(t.balance_proofs, t.funds, f.fund_id == p.fund_id)
        .where(p.run_id == run_id)
        .order_by(p.fund_id, p.account_id, p.date)
        .limit(page.size + 1)
    )
    if only_unproved:
        query = query.where(p.proved.is_(False))
    if page.after is not None:
        *names, day = page.after[1:]
        after = (*names, date.fromisoformat(day))
        query = query.where(sa.tuple_(p.fund_id, p.account_id, p.date) > after)
    return (await conn.execute(query)).all()


def _proof_key(row: Row) -> tuple[str, ...]:
    return (row.run_id, row.fund_id, row.account_id, str(row.date))


async def _whole_match(conn: AsyncConnection, ids: tuple[str, str, str], rules: Rules) -> pb.Match:
    m, (fund_id, match_id, made_by) = t.matches.c, ids
    this = (m.fund_id == fund_id) & (m.match_id == match_id) & (m.made_by == made_by)
    row = (await conn.execute(listing.select_matches().where(this))).one_or_none()
    if row is None:
        raise not_found(_MATCH.format(fund_id, match_id, made_by))
    taken = await listing.taken_by(conn, fund_id, match_id, made_by)
    rows = list((await load_rows(conn, fund_id, list(taken))).values())
    match = messages.match_message(row)
    match.members.extend(messages.member_message(fund_id, each, taken[each.key]) for each in rows)
    match.explanation.CopyFrom(await _explanation(conn, row, rows, taken, rules))
    return match


async def _explanation(
    conn: AsyncConnection,
    match: Row,
    rows: Sequence[OpenRow],
    taken: Mapping[Key, int],
    rules: Rules,
) -> pb.Explanation:
    """As of the match: each row is compared by what the match took of it."""
    then = [replace(r, match_id="", taken_minor=r.amount_minor - taken[r.key]) for r in rows]
    decided = match.status == "decided"
    return messages.explanation_of_match(
        match,
        None if decided else await night.load_run(conn, match.made_by),
        await load_resolution(conn, match.fund_id, match.made_by) if decided else None,
        compare(then, rules),
    )


def _matches_asked(request: pb.ListMatchesRequest, fund_id: str) -> listing.MatchFilter:
    member: tuple[str, str] | None = None
    if request.member:
        owner, member = key_of(request.member)
        if fund_id not in (owner, listing.EVERY_FUND):
            raise not_found(request.member)
    run_id = split_name(request.run, messages.RUN, "run")[0] if request.run else ""
    return listing.MatchFilter(run_id, request.rule, member, request.include_undone)


def _match_key(row: Row) -> tuple[str, ...]:
    return (row.created_at.isoformat(), row.fund_id, row.match_id, row.made_by)


# --- messages -----------------------------------------------------------------------------------


def _proof(row: Row) -> pb.BalanceProof:
    return pb.BalanceProof(
        bank_account=f"funds/{row.fund_id}/bankAccounts/{row.account_id}",
        date=day(row.date),
        bank_closing=money(row.bank_closing_minor, row.currency),
        ledger_balance=money(row.ledger_minor, row.currency),
        open_bank=money(row.open_bank_minor, row.currency),
        open_ledger=money(row.open_ledger_minor, row.currency),
        difference=money(row.difference_minor, row.currency),
        proved=row.proved,
        findings=row.findings,
        run=messages.RUN.format(row.run_id),
        digest=row.digest,
        previous_digest=row.previous_digest,
    )


def _rule_record(record: night.RuleRecord, rules: Rules) -> pb.RuleRecord:
    return pb.RuleRecord(
        rule=record.rule,
        rules_version=record.rules_version,
        match_count=record.made,
        reversed_count=record.reversed,
        reversed_per_million=record.reversed_per_million,
        limit_per_million=rules.reversal_limit_per_million,
        demoted=rules.is_over(record),
    )
