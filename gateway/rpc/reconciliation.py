"""ReconciliationService: runs, proofs, and the cases they leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from xinyi.v1 import reconciliation_service_pb2 as pb
from xinyi.v1.reconciliation_service_pb2_grpc import ReconciliationServiceServicer

from gateway import night
from gateway.domain.errors import not_found
from gateway.ids import new_id
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import day, day_of, enum_name, moment, money, split_name
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.rpc.paging import Page
    from gateway.store import Row, Store

_RUN: Final = "reconciliationRuns/{}"
_EVERY_FUND: Final = "-"


@dataclass(frozen=True, slots=True)
class ReconciliationServicer(ReconciliationServiceServicer):
    """Starts the night by hand, and shows what nights found.

    Attributes:
        store: the database.
        clock: the present moment.
        nights: what runs it.
    """

    store: Store
    clock: Clock
    nights: night.Nights

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
            return pb.StartRunResponse(run=_run(done))

        return await once(self.store, current_caller(), request, pb.StartRunResponse, work)

    async def GetRun(  # noqa: N802 - the contract's name
        self,
        request: pb.GetRunRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetRunResponse:
        """One run."""
        (run_id,) = split_name(request.name, _RUN)
        async with self.store.transaction(current_caller().scope) as conn:
            return pb.GetRunResponse(run=_run(await night.load_run(conn, run_id)))

    async def ListBalanceProofs(  # noqa: N802 - the contract's name
        self,
        request: pb.ListBalanceProofsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListBalanceProofsResponse:
        """Balance proofs of a run, by account, of the caller's funds."""
        (run_id,) = split_name(request.parent, _RUN)
        key = f"ListBalanceProofs/{run_id}/{request.only_unproved}"
        page = page_of(request, key, str, str, str, date.fromisoformat)
        async with self.store.transaction(current_caller().scope) as conn:
            # The next page of the latest run is a page of the same run, though a later one began.
            run = await night.load_run(conn, page.after[0] if page.after else run_id)
            rows = await _proofs(conn, run.run_id, page, only_unproved=request.only_unproved)
        return pb.ListBalanceProofsResponse(
            proofs=map(_proof, rows[: page.size]),
            next_page_token=next_token(
                key,
                rows,
                page.size,
                lambda row: (row.run_id, row.fund_id, row.account_id, str(row.date)),
            ),
        )

    async def ListCases(  # noqa: N802 - the contract's name
        self,
        request: pb.ListCasesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListCasesResponse:
        """Open cases, oldest first."""
        (fund_id,) = split_name(request.parent, "funds/{}")
        kinds = sorted(enum_name(pb.CaseKind, kind) for kind in request.kinds)
        key = f"ListCases/{fund_id}/{kinds}"
        page = page_of(request, key, date.fromisoformat, str, str)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await _open_cases(conn, fund_id, kinds, page)
        return pb.ListCasesResponse(
            cases=map(_case, rows[: page.size]),
            next_page_token=next_token(
                key, rows, page.size, lambda row: (str(row.oldest_date), row.case_id, row.fund_id)
            ),
        )

    async def GetCase(  # noqa: N802 - the contract's name
        self,
        request: pb.GetCaseRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetCaseResponse:
        """One case, open or closed, with both its sides."""
        fund_id, case_id = split_name(request.name, "funds/{}/cases/{}")
        chosen = _cases().where(t.cases.c.fund_id == fund_id, t.cases.c.case_id == case_id)
        async with self.store.transaction(current_caller().scope) as conn:
            row = (await conn.execute(chosen)).one_or_none()
            if row is None:
                raise not_found(request.name)
            members = (await conn.execute(_members(fund_id, case_id))).all()
        case = _case(row)
        case.members.extend(_member(each) for each in members)
        return pb.GetCaseResponse(case=case)


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
        _, fund_id, account_id, last = page.after
        after = (fund_id, account_id, date.fromisoformat(last))
        query = query.where(sa.tuple_(p.fund_id, p.account_id, p.date) > after)
    return (await conn.execute(query)).all()


def _cases() -> sa.Select[Any]:
    return sa.select(t.cases, t.funds.c.currency).join_from(
        t.cases, t.funds, t.funds.c.fund_id == t.cases.c.fund_id
    )


async def _open_cases(
    conn: AsyncConnection, fund_id: str, kinds: list[str], page: Page
) -> Sequence[Row]:
    """Open cases of one fund, or of all that row-level security lets the caller see."""
    c = t.cases.c
    query = _cases().where(c.open).order_by(c.oldest_date, c.case_id, c.fund_id)
    if fund_id != _EVERY_FUND:
        await _require_fund(conn, fund_id)
        query = query.where(c.fund_id == fund_id)
    if kinds:
        query = query.where(c.kind.in_([kind.lower() for kind in kinds]))
    if page.after is not None:
        oldest, *names = page.after
        after = (date.fromisoformat(oldest), *names)
        query = query.where(sa.tuple_(c.oldest_date, c.case_id, c.fund_id) > after)
    rows: Sequence[Row] = (await conn.execute(query.limit(page.size + 1))).all()
    return rows


async def _require_fund(conn: AsyncConnection, fund_id: str) -> None:
    query = sa.select(t.funds.c.fund_id).where(t.funds.c.fund_id == fund_id)
    if (await conn.execute(query)).one_or_none() is None:
        raise not_found(f"funds/{fund_id}")


def _members(fund_id: str, case_id: str) -> sa.CompoundSelect[Any]:
    """Both sides of a case in the same columns, the bank's first, the oldest first."""
    m, e, d, f = t.case_members.c, t.bank_entries.c, t.disclosed_lines.c, t.funds.c
    entries = sa.select(
        m.side,
        sa.func.format("funds/%s/bankEntries/%s", m.fund_id, m.member_id).label("name"),
        e.amount_minor,
        e.currency,
        e.booking_date.label("day"),
        sa.func.coalesce(sa.func.nullif(e.end_to_end_id, ""), e.reference).label("reference"),
        e.text.label("text"),
    ).where(m.side == "bank", e.fund_id == m.fund_id, e.bank_entry_id == m.member_id)
    lines = sa.select(
        m.side,
        sa.func.format("funds/%s/lines/%s", m.fund_id, m.member_id).label("name"),
        d.amount_minor,
        f.currency,
        d.effective_date,
        sa.func.coalesce(sa.func.nullif(d.payment_id, ""), d.reference),
        d.summary,
    ).where(
        m.side == "ledger",
        d.fund_id == m.fund_id,
        sa.cast(d.line_number, sa.Text) == m.member_id,
        f.fund_id == m.fund_id,
    )
    this = (m.fund_id == fund_id) & (m.case_id == case_id)
    return sa.union_all(entries.where(this), lines.where(this)).order_by("side", "day", "name")


# --- messages -----------------------------------------------------------------------------------


def _run(run: night.Run) -> pb.Run:
    counts = run.counts
    return pb.Run(
        name=_RUN.format(run.run_id),
        date=day(run.date),
        state=pb.RunState.Value(f"RUN_STATE_{run.state}"),
        rules_version=run.rules_version,
        input_digest=run.input_digest,
        bank_entry_count=counts.bank_entry_count,
        line_count=counts.line_count,
        matched_bank_entry_count=counts.matched_bank_entry_count,
        matched_line_count=counts.matched_line_count,
        case_count=counts.case_count,
        proved_account_count=counts.proved_account_count,
        unproved_account_count=counts.unproved_account_count,
        start_time=moment(run.started_at),
        end_time=moment(run.ended_at),
    )


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
    )


def _case(row: Row) -> pb.Case:
    return pb.Case(
        name=f"funds/{row.fund_id}/cases/{row.case_id}",
        kind=pb.CaseKind.Value(f"CASE_KIND_{row.kind.upper()}"),
        cause=row.cause,
        detail=row.detail,
        bank_account=f"funds/{row.fund_id}/bankAccounts/{row.account_id}",
        amount=money(row.amount_minor, row.currency),
        oldest_date=day(row.oldest_date),
        run=_RUN.format(row.run_id),
    )


def _member(row: Row) -> pb.CaseMember:
    return pb.CaseMember(
        side=pb.CaseSide.Value(f"CASE_SIDE_{row.side.upper()}"),
        name=row.name,
        amount=money(row.amount_minor, row.currency),
        date=day(row.day),
        reference=row.reference,
        text=row.text,
    )
