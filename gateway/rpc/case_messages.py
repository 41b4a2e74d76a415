"""Cases, resolutions, matches and runs as the contract writes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.cases.record import case_name
from gateway.cases.resolutions import PREFIX, allocations_of, resolution_name
from gateway.cases.rows import row_name
from gateway.cases.undo import match_name
from gateway.rpc.convert import day, moment, money

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.insight import Ranked
    from gateway.cases.rows import OpenRow
    from gateway.night import Run
    from gateway.store import Row
    from reconciliation.evidence import Evidence

RUN: Final = "reconciliationRuns/{}"
_LINE: Final = "funds/{}/lines/{}"
_VOUCHER: Final = "funds/{}/vouchers/{}"


def run_message(run: Run) -> pb.Run:
    """A run."""
    return pb.Run(
        name=RUN.format(run.run_id),
        date=day(run.date),
        state=pb.RunState.Value(f"RUN_STATE_{run.state}"),
        rules_version=run.rules_version,
        input_digest=run.input_digest,
        **asdict(run.counts),
        start_time=moment(run.started_at),
        end_time=moment(run.ended_at),
        engine=run.engine,
        shard_count=run.shard_count,
        written_shard_count=run.written_shard_count,
        output_digest=run.output_digest,
        demoted_rules=run.demoted_rules,
        undo_time=moment(run.undone_at),
        undone_by=run.undone_by,
        undo_reason=run.undo_reason,
    )


def case_message(row: Row) -> pb.Case:
    """A case without members, from a row of `listing.select_cases`."""
    return pb.Case(
        name=case_name(row.fund_id, row.case_id),
        kind=pb.CaseKind.Value(f"CASE_KIND_{row.kind.upper()}"),
        cause=row.cause,
        detail=row.detail,
        bank_account=_account(row),
        amount=money(row.amount_minor, row.currency),
        oldest_date=day(row.oldest_date),
        run=RUN.format(row.run_id),
        state=pb.CaseState.Value(f"CASE_STATE_{row.state}"),
        assignee=row.assignee,
        due_date=day(row.due_date),
        escalation=row.escalation,
        wait_until=day(row.wait_until),
        weight=money(row.weight_minor, row.currency),
        open_time=moment(row.opened_at),
        close_time=moment(row.closed_at),
        closed_by=_closer(row.fund_id, row.closed_by),
        etag=str(row.version),
        overdue=row.overdue,
    )


def _account(row: Row) -> str:
    return f"funds/{row.fund_id}/bankAccounts/{row.account_id}"


def _closer(fund_id: str, closed_by: str) -> str:
    """The resource name of the run or resolution that closed a case."""
    if closed_by.startswith(PREFIX):
        return resolution_name(fund_id, closed_by)
    return RUN.format(closed_by) if closed_by else ""


def member_message(fund_id: str, row: OpenRow, open_minor: int | None = None) -> pb.CaseMember:
    """A bank entry or a line; `open_minor` for what a match takes of it instead of what is open."""
    shown = row.open_minor if open_minor is None else open_minor
    return pb.CaseMember(
        side=pb.CaseSide.Value(f"CASE_SIDE_{row.key.side.upper()}"),
        name=row_name(fund_id, row.key),
        amount=money(row.amount_minor, row.currency),
        date=day(row.day),
        reference=row.own_id or row.reference,
        text=row.text,
        open_amount=money(shown, row.currency),
        counterparty_name=row.counterparty_name,
        counterparty_account=row.counterparty_account,
        batch=row.batch_id,
    )


def event_message(row: Row) -> pb.CaseEvent:
    """Something that happened to a case."""
    resolution_id = row.resolution_id
    return pb.CaseEvent(
        kind=row.kind,
        actor=row.actor,
        detail=row.detail,
        resolution=resolution_name(row.fund_id, resolution_id) if resolution_id else "",
        create_time=moment(row.created_at),
    )


def evidence_message(evidence: Evidence) -> pb.Evidence:
    """How one field compares."""
    return pb.Evidence(
        field=evidence.field,
        bank_value=evidence.bank_value or "",
        ledger_value=evidence.ledger_value or "",
        comparator=evidence.comparator,
        result=pb.EvidenceResult.Value(f"EVIDENCE_RESULT_{evidence.result.upper()}"),
        detail=evidence.detail,
    )


def candidate_message(fund_id: str, ranked: Ranked, case_id: str) -> pb.Candidate:
    """A row that may belong to a case; `case_id` is another case that has it, or empty."""
    return pb.Candidate(
        member=member_message(fund_id, ranked.row),
        rank=ranked.rank,
        score=ranked.score,
        evidence=map(evidence_message, ranked.evidence),
        case=case_name(fund_id, case_id) if case_id else "",
    )


def explanation_of_case(row: Row, run: Run, evidence: Iterable[Evidence]) -> pb.Explanation:
    """Why a run left a case."""
    return _explanation(
        f"{row.kind} {row.cause}",
        row,
        evidence,
        rules_version=run.rules_version,
        run=RUN.format(run.run_id),
        input_digest=run.input_digest,
        search_limit=row.search_limit,
    )


def explanation_of_match(
    row: Row, run: Run | None, resolution: Row | None, evidence: Iterable[Evidence]
) -> pb.Explanation:
    """Why a match was made: by a run, or by the people of a resolution."""
    return _explanation(
        row.rule,
        row,
        evidence,
        rules_version=row.rules_version,
        run=RUN.format(run.run_id) if run else "",
        input_digest=run.input_digest if run else "",
        proposer=resolution.proposer if resolution else "",
        approver=resolution.decider if resolution else "",
        supersedes=resolution.supersedes if resolution else "",
    )


def _explanation(
    pass_: str,
    row: Row,
    evidence: Iterable[Evidence],
    **more: Any,  # noqa: ANN401 - of any field
) -> pb.Explanation:
    """What match and case have in common: the pass, what its search saw, and the evidence."""
    # `pass` is a word of Python's, so that it cannot be named in a call.
    named: dict[str, Any] = {"pass": pass_}
    return pb.Explanation(
        bank_candidates=row.bank_candidates,
        ledger_candidates=row.ledger_candidates,
        runner_up=row.runner_up,
        expected_accidents=row.expected_accidents,
        states=row.states,
        evidence=map(evidence_message, evidence),
        **named,
        **more,
    )


def match_message(row: Row) -> pb.Match:
    """A match without members, from a row of `listing.select_matches`."""
    return pb.Match(
        name=match_name(row.fund_id, row.match_id, row.made_by),
        bank_account=_account(row),
        rule=row.rule,
        decided=row.status == "decided",
        date=day(row.date),
        create_time=moment(row.created_at),
        undo_time=moment(row.undone_at),
        undone_by=row.undone_by,
        undo_reason=row.undo_reason,
        amount=money(row.amount_minor, row.currency),
    )


async def resolution_messages(conn: AsyncConnection, rows: Sequence[Row]) -> list[pb.Resolution]:
    """Resolutions with their allocations, from rows of `listing.select_resolutions`."""
    keys = [(row.fund_id, row.resolution_id) for row in rows]
    taken = await allocations_of(conn, keys)
    return [_resolution(row, taken.get(key, [])) for row, key in zip(rows, keys, strict=True)]


def _resolution(row: Row, taken: Sequence[Row]) -> pb.Resolution:
    fund, made = row.fund_id, row.match_id
    return pb.Resolution(
        name=resolution_name(fund, row.resolution_id),
        case=case_name(fund, row.case_id),
        action=pb.ResolutionAction.Value(f"RESOLUTION_ACTION_{row.action}"),
        allocations=[_allocation(each, row.currency) for each in taken],
        adjustment=_adjustment(row) if row.book else None,
        wait_until=day(row.wait_until),
        bank_reference=row.bank_reference,
        reason=row.reason,
        supersedes=row.supersedes,
        state=pb.ResolutionState.Value(f"RESOLUTION_STATE_{row.state}"),
        proposer=row.proposer,
        create_time=moment(row.created_at),
        decider=row.decider,
        decide_time=moment(row.decided_at),
        decision_note=row.decision_note,
        match=match_name(fund, made, row.resolution_id) if made else "",
        line=_LINE.format(fund, row.line_number) if row.line_number else "",
        undo_time=moment(row.undone_at),
        undone_by=row.undone_by,
        undo_reason=row.undo_reason,
    )


def _allocation(row: Row, currency: str) -> pb.Allocation:
    collection = "bankEntries" if row.side == "bank" else "lines"
    return pb.Allocation(
        name=f"funds/{row.fund_id}/{collection}/{row.member_id}",
        amount=money(row.allocated_minor, currency),
    )


def _adjustment(row: Row) -> pb.Adjustment:
    return pb.Adjustment(
        book=common_pb2.Book.Value(f"BOOK_{row.book}"),
        category=row.category,
        summary=row.summary,
        amount=money(row.adjust_minor, row.currency),
        effective_date=day(row.effective_date),
        vouchers=[_VOUCHER.format(row.fund_id, each) for each in row.vouchers],
    )
