"""`xinyi case`: what reconciliation could not match."""

from typing import Annotated

import typer
from xinyi.v1.reconciliation_service_pb2 import (
    CaseFilter,
    CaseKind,
    CaseSide,
    GetCaseRequest,
    ListCasesRequest,
)

from gateway.cli.frame import OPERATOR, Session, group, remote
from gateway.cli.labels import cause, label
from gateway.cli.options import Limit, OnlyFund, one_of
from gateway.cli.screen import Column
from gateway.cli.text import day, money
from gateway.client import call, collect

app = group("Cases: mismatches for a person to close 差异.")

_KIND = Column("种类", "Kind")
_CAUSE = Column("原因", "Cause")
_AMOUNT = Column("差额", "Amount", right=True)
_DETAIL = Column("说明", "Detail", prose=True)
_CASE = Column("差异", "Case")
_CASES = (Column("最早", "Oldest"), _KIND, _CAUSE, _AMOUNT, _DETAIL, _CASE)
_MEMBERS = (
    Column("一侧", "Side"),
    Column("日期", "Day"),
    Column("金额", "Amount", right=True),
    Column("参考号", "Reference"),
    Column("摘要", "Text", prose=True),
    Column("名称", "Name"),
)


@remote(app, "list", OPERATOR)
async def _list(
    session: Session,
    fund: OnlyFund = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(CaseKind), metavar="KIND", help="Only this kind; may be repeated."
        ),
    ] = None,
    limit: Limit = 500,
) -> None:
    """List open cases of all your funds, oldest first."""
    request = ListCasesRequest(
        parent=fund or "funds/-", filter=CaseFilter(kinds=map(CaseKind.Value, kind or ()))
    )
    answer = await collect(session.stubs.reconciliation.ListCases, request, limit)
    rows = (
        (
            day(case.oldest_date),
            label(CaseKind, case.kind, session.screen.lang),
            cause(case.cause, session.screen.lang),
            money(case.amount),
            case.detail,
            case.name,
        )
        for case in answer.cases
    )
    session.screen.list(answer, _CASES, rows)


@remote(app, "show", OPERATOR)
async def _show(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="CASE", help="funds/FUND/cases/ID, as listed.")],
) -> None:
    """Show one case with both its sides."""
    answer = await call(session.stubs.reconciliation.GetCase, GetCaseRequest(name=name))
    case, lang = answer.case, session.screen.lang
    facts = (
        (_CASE, case.name),
        (_KIND, label(CaseKind, case.kind, lang)),
        (_CAUSE, cause(case.cause, lang)),
        (_DETAIL, case.detail),
        (_AMOUNT, money(case.amount)),
        (Column("账户", "Account"), case.bank_account),
        (Column("对账", "Run"), case.run),
    )
    session.screen.one(answer, facts)
    if session.screen.as_json:
        return
    rows = (
        (
            label(CaseSide, member.side, lang),
            day(member.date),
            money(member.amount),
            member.reference,
            member.text,
            member.name,
        )
        for member in case.members
    )
    session.screen.table(_MEMBERS, rows)
