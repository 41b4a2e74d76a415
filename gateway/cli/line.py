"""`xinyi line`: the live account book as owners see it."""

from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Book
from xinyi.v1.disclosure_service_pb2 import DisclosedLine, LineState, ListDisclosedLinesRequest

from gateway.cli.frame import EVERYONE, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import From, Fund, Limit, To, one_of
from gateway.cli.screen import Column
from gateway.cli.text import day, last, money, to_day
from gateway.client import collect

app = group("Disclosed lines: the live account book 公示明细.")

_COLUMNS = (
    Column("序号", "No.", right=True),
    Column("日期", "Day"),
    Column("账簿", "Book"),
    Column("类别", "Category", prose=True),
    Column("摘要", "Summary", prose=True),
    Column("对方", "Counterparty", prose=True),
    Column("收入", "Received", right=True),
    Column("支出", "Paid", right=True),
    Column("余额", "Balance", right=True),
    Column("状态", "State"),
    Column("已核对", "Matched"),
    Column("凭证", "Vouchers", right=True),
)


@remote(app, "list", EVERYONE)
async def _list(
    session: Session,
    fund: Fund,
    book: Annotated[
        str | None,
        typer.Option(parser=one_of(Book), metavar="BOOK", help="COMMON or MAINTENANCE."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            parser=one_of(LineState), metavar="STATE", help="PENDING, SETTLED or REVERSED."
        ),
    ] = None,
    start: From = None,
    end: To = None,
    limit: Limit = 500,
) -> None:
    """List a fund's disclosed lines in order, with what the bank has confirmed."""
    request = ListDisclosedLinesRequest(
        parent=fund,
        book=Book.Value(book or "BOOK_UNSPECIFIED"),
        state=LineState.Value(state or "LINE_STATE_UNSPECIFIED"),
        start_date=to_day(start),
        end_date=to_day(end),
    )
    answer = await collect(session.stubs.disclosure.ListDisclosedLines, request, limit)
    lang = session.screen.lang
    rows = (
        (
            str(line.number),
            day(line.effective_date),
            label(Book, line.book, lang),
            line.category,
            _summary(line),
            line.counterparty,
            money(line.amount) if line.amount.amount_minor > 0 else "",
            money(line.amount).removeprefix("-") if line.amount.amount_minor < 0 else "",
            money(line.running_balance),
            label(LineState, line.state, lang),
            day(line.match_date),
            str(len(line.vouchers)),
        )
        for line in answer.lines
    )
    session.screen.list(answer, _COLUMNS, rows)


def _summary(line: DisclosedLine) -> str:
    """What it is for; a correction (红字) names its line and its reason too."""
    corrected = f"红字 {last(line.corrects)}" if line.corrects else ""
    return " · ".join(filter(None, (line.summary, corrected, line.correction_reason)))
