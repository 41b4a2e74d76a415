"""`xinyi case`: what reconciliation could not match, and what people do about it."""

from typing import Annotated, Final, Literal

import typer
from xinyi.v1.reconciliation_service_pb2 import CaseOrder, GetCaseRequest, ListCasesRequest

from gateway.cli import accept, case_sheet, case_view, propose
from gateway.cli.case_filter import CaseArgument, Wanted, filtered, whole_name
from gateway.cli.frame import Session, group, remote
from gateway.cli.options import Limit
from gateway.client import call, collect

app = group("Cases: what the night could not match, and what people do about it 差异.")

_READ = "Read 查看"
_ONE = "One case: propose, another person approves 逐项处理"
_MANY = "Many cases 批量处理"

_ORDERS: Final = {
    "oldest": CaseOrder.CASE_ORDER_OLDEST,
    "due": CaseOrder.CASE_ORDER_DUE,
    "amount": CaseOrder.CASE_ORDER_WEIGHT,
}


@filtered
async def _list(
    session: Session,
    wanted: Wanted,
    order: Annotated[
        Literal["oldest", "due", "amount"],
        typer.Option(help="The oldest, the first due or the largest first."),
    ] = "oldest",
    limit: Limit = 500,
) -> None:
    """List the cases of all your funds that are not closed, oldest first."""
    request = ListCasesRequest(parent=wanted.parent, filter=wanted.filter, order=_ORDERS[order])
    answer = await collect(session.stubs.reconciliation.ListCases, request, limit)
    session.screen.list(answer, case_view.CASES, case_view.rows(answer.cases, session))
    case_view.summarise(answer.cases, session)


async def _show(session: Session, name: CaseArgument) -> None:
    """Show a case: both sides, how they compare, what may belong to it, and what happened."""
    request = GetCaseRequest(name=await whole_name(session, name))
    case_view.show(await call(session.stubs.reconciliation.GetCase, request), session)


remote(app, "list", _READ)(_list)
remote(app, "show", _READ)(_show)
remote(app, "assign", _ONE)(propose.assign)
remote(app, "comment", _ONE)(propose.comment)
remote(app, "match", _ONE)(propose.match)
remote(app, "adjust", _ONE)(propose.adjust)
remote(app, "write-off", _ONE)(propose.write_off)
remote(app, "wait", _ONE)(propose.wait)
remote(app, "send-back", _ONE)(propose.send_back)
remote(app, "keep-apart", _ONE)(propose.keep_apart)
remote(app, "accept", _MANY)(accept.accept)
remote(app, "export", _MANY)(case_sheet.export)
remote(app, "import", _MANY)(case_sheet.import_)
