"""`xinyi run`: the gateway's nightly reconciliation and its balance proofs."""

import asyncio
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Final

import typer
from xinyi.v1.reconciliation_service_pb2 import (
    CaseFilter,
    CaseKind,
    GetRunRequest,
    GetRunResponse,
    ListBalanceProofsRequest,
    ListCasesRequest,
    ListRunsRequest,
    Run,
    RunState,
    StartRunRequest,
    StartRunResponse,
    UndoRunRequest,
)

from gateway.cli.frame import OPERATOR, Session, group, remote
from gateway.cli.labels import label, rule
from gateway.cli.options import (
    Limit,
    Reason,
    RequestId,
    Yes,
    announced,
    iso_date,
    new_request_id,
    resource,
)
from gateway.cli.screen import Column
from gateway.cli.status import MISMATCH
from gateway.cli.text import day, last, moment, money, person, to_day
from gateway.client import ATTEMPTS, LONG_TIMEOUT_S, CallRefused, call, collect

app = group("The night's reconciliation: start it, read its result and proofs 夜间对账.")

_POLL_S: Final = 1.0
_MAX_POLLS: Final = LONG_TIMEOUT_S * ATTEMPTS
"""By then the start itself has ended, one way or another."""
_NO_MISMATCH: Final = frozenset({CaseKind.CASE_KIND_UNSPECIFIED, CaseKind.CASE_KIND_TIMING})
_LATEST: Final = "reconciliationRuns/latest"

_RUN = Column("对账", "Run")
_UP_TO = Column("截至", "Up to")
_STATE = Column("状态", "State", prose=True)
_BANK = Column("银行流水 已匹配／共", "Bank entries matched / of", right=True)
_LINES = Column("公示明细 已匹配／共", "Lines matched / of", right=True)
_CASES = Column("未决差异", "Cases left", right=True)
_UNPROVED = Column("未平账户", "Accounts not proved", right=True)
_BEGAN = Column("开始（北京）", "Began (Beijing)")
_UNDONE = Column("撤销", "Taken back")
_RUNS = (
    *(_RUN, _UP_TO, _STATE),
    Column("流水 匹配／共", "Entries", right=True),
    Column("明细 匹配／共", "Lines", right=True),
    Column("差异", "Cases", right=True),
    Column("未平", "Not proved", right=True),
    *(_BEGAN, _UNDONE),
)

_Name = Annotated[
    str,
    typer.Argument(
        parser=resource("reconciliationRuns"), metavar="RUN", help="An id, or `latest`."
    ),
]
_PROOFS = (
    Column("账户", "Account"),
    Column("日期", "Day"),
    Column("银行期末", "Bank closing", right=True),
    Column("账面余额", "Ledger", right=True),
    Column("银行未达", "Open bank", right=True),
    Column("账面未达", "Open ledger", right=True),
    Column("差额", "Difference", right=True),
    Column("平", "Proved"),
    Column("说明", "Findings", prose=True),
)


@remote(app, "start", OPERATOR)
async def _start(
    session: Session,
    date: Annotated[
        date, typer.Option(parser=iso_date, metavar="DATE", help="Up to the end of this day.")
    ],
) -> int | None:
    """Reconcile all funds up to the end of a day.

    Exit status: 0 all proved and nothing open but what is in transit, 1 mismatches, 2 failure.
    """
    request = StartRunRequest(date=to_day(date), request_id=new_request_id())
    answer = await _followed(session, request)
    return await _report(session, answer, answer.run)


@remote(app, "list", OPERATOR)
async def _list(session: Session, limit: Limit = 50) -> None:
    """List runs, newest first."""
    answer = await collect(session.stubs.reconciliation.ListRuns, ListRunsRequest(), limit)
    rows = (
        (
            last(run.name),
            day(run.date),
            _state(session, run),
            f"{run.matched_bank_entry_count:,} / {run.bank_entry_count:,}",
            f"{run.matched_line_count:,} / {run.line_count:,}",
            f"{run.case_count:,}",
            f"{run.unproved_account_count:,}",
            moment(run.start_time),
            moment(run.undo_time),
        )
        for run in answer.runs
    )
    session.screen.list(answer, _RUNS, rows)
    if not answer.runs:
        session.screen.say("还没有对过账", "nothing was reconciled yet")


@remote(app, "undo", OPERATOR)
async def _undo(
    session: Session, name: _Name, reason: Reason, yes: Yes = False, request_id: RequestId = None
) -> int | None:
    """Take back every match that a run made; what people decided stays. Shown before it is done."""
    looked = await call(session.stubs.reconciliation.GetRun, GetRunRequest(name=name))
    pick = session.screen.pick
    facts = ((pick(each.zh, each.en), value) for each, value in _facts(session, looked.run))
    session.screen.facts(facts, on_error=True)
    if not (yes or session.screen.agree("撤销这次对账的全部匹配吗？", "Take all of it back?")):
        session.screen.say("未撤销", "nothing was taken back")
        return MISMATCH
    request = UndoRunRequest(
        # Not "latest", which may have become another run since.
        name=looked.run.name,
        reason=reason,
        request_id=announced(session.screen, request_id),
    )
    answer = await call(session.stubs.reconciliation.UndoRun, request, LONG_TIMEOUT_S)
    undone = Column("已撤销匹配", "Matches taken back")
    session.screen.one(answer, (*_facts(session, answer.run), (undone, f"{answer.match_count:,}")))
    return None


@remote(app, "show", OPERATOR)
async def _show(session: Session, name: _Name = "latest") -> int | None:
    """Show one run, the latest by default.

    Exit status: 0 all proved and nothing open but what is in transit, 1 mismatches, 2 failure.
    """
    answer = await call(session.stubs.reconciliation.GetRun, GetRunRequest(name=name))
    return await _report(session, answer, answer.run)


@remote(app, "proofs", OPERATOR)
async def _proofs(
    session: Session,
    name: _Name = "latest",
    only_unproved: Annotated[
        bool, typer.Option("--only-unproved", help="Only accounts whose proof failed.")
    ] = False,
    limit: Limit = 500,
) -> None:
    """List the balance proof of every account in a run."""
    request = ListBalanceProofsRequest(parent=name, only_unproved=only_unproved)
    answer = await collect(session.stubs.reconciliation.ListBalanceProofs, request, limit)
    rows = (
        (
            proof.bank_account,
            day(proof.date),
            money(proof.bank_closing),
            money(proof.ledger_balance),
            money(proof.open_bank),
            money(proof.open_ledger),
            money(proof.difference),
            session.screen.pick("是", "yes") if proof.proved else session.screen.pick("否", "no"),
            "; ".join(proof.findings),
        )
        for proof in answer.proofs
    )
    session.screen.list(answer, _PROOFS, rows)


async def _followed(session: Session, request: StartRunRequest) -> StartRunResponse:
    """The answer to a start; how far it has come is told meanwhile, as far as that is known."""
    start = session.stubs.reconciliation.StartRun
    starting = asyncio.ensure_future(call(start, request, LONG_TIMEOUT_S))
    told = ""
    try:
        for _ in range(_MAX_POLLS):
            done, _ = await asyncio.wait({starting}, timeout=_POLL_S)
            if done:
                break
            told = await _tell(session, request, told)
        return await starting
    finally:
        starting.cancel()


async def _tell(session: Session, request: StartRunRequest, told: str) -> str:
    """Says how far the run of this day has come, if that is news; what was said last."""
    try:
        latest = await call(session.stubs.reconciliation.GetRun, GetRunRequest(name=_LATEST))
    except CallRefused:
        return told  # it goes on all the same
    running = latest.run.state == RunState.RUN_STATE_RUNNING and latest.run.date == request.date
    news = _progress(session, latest.run) if running else ""
    if news and news != told:
        session.screen.say(news, news)
    return news or told


def _progress(session: Session, run: Run) -> str:
    """How far a run has come; empty where it does not say."""
    written, shards = run.written_shard_count, run.shard_count
    if not shards:
        return ""
    return session.screen.pick(
        f"{shards} 份中已写入 {written} 份", f"{written} of {shards} shares written"
    )


async def _report(
    session: Session, answer: GetRunResponse | StartRunResponse, run: Run
) -> int | None:
    """Shows the run. What is only on its way to the bank is no finding; any other case is."""
    session.screen.one(answer, _facts(session, run))
    if run.unproved_account_count:
        return MISMATCH
    return MISMATCH if run.case_count and await _has_mismatches(session) else None


async def _has_mismatches(session: Session) -> bool:
    kinds = [kind for kind in CaseKind.values() if kind not in _NO_MISMATCH]
    request = ListCasesRequest(parent="funds/-", page_size=1, filter=CaseFilter(kinds=kinds))
    return bool((await call(session.stubs.reconciliation.ListCases, request)).cases)


def _state(session: Session, run: Run) -> str:
    state = label(RunState, run.state, session.screen.lang)
    running = run.state == RunState.RUN_STATE_RUNNING
    return " · ".join(filter(None, (state, _progress(session, run) if running else "")))


def _facts(session: Session, run: Run) -> Iterator[tuple[Column, str]]:
    yield _RUN, run.name
    yield _UP_TO, day(run.date)
    yield _STATE, _state(session, run)
    yield Column("规则版本", "Rules"), run.rules_version
    yield _BANK, f"{run.matched_bank_entry_count:,} / {run.bank_entry_count:,}"
    yield _LINES, f"{run.matched_line_count:,} / {run.line_count:,}"
    yield _CASES, f"{run.case_count:,}"
    yield Column("已平账户", "Accounts proved"), f"{run.proved_account_count:,}"
    yield _UNPROVED, f"{run.unproved_account_count:,}"
    yield _BEGAN, moment(run.start_time)
    yield Column("结束（北京）", "Ended (Beijing)"), moment(run.end_time)
    undone = (moment(run.undo_time), person(run.undone_by), run.undo_reason)
    demoted = session.screen.pick("、", ", ").join(
        rule(each, session.screen.lang) for each in run.demoted_rules
    )
    told = (
        (Column("只提议的规则", "Rules that only propose"), demoted),
        (_UNDONE, "  ".join(filter(None, undone))),
    )
    yield from ((column, value) for column, value in told if value)
