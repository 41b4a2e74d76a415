"""`xinyi run`: the gateway's nightly reconciliation and its balance proofs."""

from datetime import date
from typing import Annotated

import typer
from xinyi.v1.reconciliation_service_pb2 import (
    GetRunRequest,
    GetRunResponse,
    ListBalanceProofsRequest,
    Run,
    RunState,
    StartRunRequest,
    StartRunResponse,
)

from gateway.cli.frame import OPERATOR, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import Limit, iso_date, new_request_id, resource
from gateway.cli.screen import Column
from gateway.cli.status import MISMATCH
from gateway.cli.text import day, moment, money, to_day
from gateway.client import LONG_TIMEOUT_S, call, collect

app = group("The night's reconciliation: start it, read its result and proofs 夜间对账.")

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
    """Reconcile all funds up to the end of a day; exit status 1 where cases are left."""
    request = StartRunRequest(date=to_day(date), request_id=new_request_id())
    answer = await call(session.stubs.reconciliation.StartRun, request, LONG_TIMEOUT_S)
    return _report(session, answer, answer.run)


@remote(app, "show", OPERATOR)
async def _show(session: Session, name: _Name = "latest") -> int | None:
    """Show one run, the latest by default; exit status 1 where cases are left."""
    answer = await call(session.stubs.reconciliation.GetRun, GetRunRequest(name=name))
    return _report(session, answer, answer.run)


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


def _report(session: Session, answer: GetRunResponse | StartRunResponse, run: Run) -> int | None:
    facts = (
        (Column("对账", "Run"), run.name),
        (Column("截至", "Up to"), day(run.date)),
        (Column("状态", "State"), label(RunState, run.state, session.screen.lang)),
        (Column("规则版本", "Rules"), run.rules_version),
        (
            Column("银行流水 已匹配／共", "Bank entries matched / of"),
            f"{run.matched_bank_entry_count:,} / {run.bank_entry_count:,}",
        ),
        (
            Column("公示明细 已匹配／共", "Lines matched / of"),
            f"{run.matched_line_count:,} / {run.line_count:,}",
        ),
        (Column("未决差异", "Cases left"), f"{run.case_count:,}"),
        (Column("已平账户", "Accounts proved"), f"{run.proved_account_count:,}"),
        (Column("未平账户", "Accounts not proved"), f"{run.unproved_account_count:,}"),
        (Column("开始（北京）", "Began (Beijing)"), moment(run.start_time)),
        (Column("结束（北京）", "Ended (Beijing)"), moment(run.end_time)),
    )
    session.screen.one(answer, facts)
    return MISMATCH if run.case_count or run.unproved_account_count else None
