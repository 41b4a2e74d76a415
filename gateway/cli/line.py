"""`xinyi line`: the live account book as owners see it."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Book, Money
from xinyi.v1.disclosure_service_pb2 import (
    BookSummary,
    DisclosedLine,
    GetFundSummaryRequest,
    LineState,
    ListDisclosedLinesRequest,
)

from gateway.cli.frame import EVERYONE, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import From, Fund, Limit, To, iso_date, one_of
from gateway.cli.screen import Column, Row, Screen
from gateway.cli.text import day, last, money, to_day
from gateway.client import call, collect

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
_KINDS = (
    Column("账簿", "Book"),
    Column("类别", "Category", prose=True),
    Column("收入", "Income", right=True),
    Column("支出", "Cost", right=True),
    Column("余额", "Balance", right=True),
)
_MONTHS = (
    Column("账簿", "Book"),
    Column("月份", "Month"),
    Column("收入", "Income", right=True),
    Column("支出", "Cost", right=True),
    Column("余额", "Balance", right=True),
)
DisclosedBy = Annotated[
    date | None,
    typer.Option(
        "--disclosed-by",
        parser=iso_date,
        metavar="DATE",
        help="As it was disclosed at the end of this day.",
    ),
]


@remote(app, "list", EVERYONE)
async def _list(  # noqa: PLR0913 - a list has this many filters
    session: Session,
    *,
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
    disclosed_by: DisclosedBy = None,
    limit: Limit = 500,
) -> None:
    """List a fund's disclosed lines in order, with what the bank has confirmed."""
    request = ListDisclosedLinesRequest(
        parent=fund,
        book=Book.Value(book or "BOOK_UNSPECIFIED"),
        state=LineState.Value(state or "LINE_STATE_UNSPECIFIED"),
        start_date=to_day(start),
        end_date=to_day(end),
        disclosed_by=to_day(disclosed_by),
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


@remote(app, "summary", EVERYONE)
async def _summarised(
    session: Session,
    fund: Fund,
    first: Annotated[str, typer.Option("--from", metavar="MONTH", help="First month, as 2026-10.")],
    last: Annotated[
        str | None, typer.Option("--to", metavar="MONTH", help="Last month; the first without it.")
    ] = None,
    disclosed_by: DisclosedBy = None,
) -> None:
    """Sum up income and cost by kind and by month: opening + income - cost = closing."""
    request = GetFundSummaryRequest(
        parent=fund,
        first_month=first,
        last_month=last or first,
        disclosed_by=to_day(disclosed_by),
    )
    answer = await call(session.stubs.disclosure.GetFundSummary, request)
    if session.screen.as_json:
        session.screen.json(answer)
        return
    for book in answer.books:
        session.screen.table(_KINDS, _kind_rows(book, session.screen))
        session.screen.table(_MONTHS, _month_rows(book, session.screen))


def _kind_rows(book: BookSummary, screen: Screen) -> Iterator[Row]:
    name = label(Book, book.book, screen.lang)
    yield name, screen.pick("期初余额", "Opening"), "", "", money(book.opening)
    for kind in book.kinds:
        income, cost = (_if_any(each) for each in (kind.income, kind.cost))
        yield name, kind.category, income, cost, ""
    total = screen.pick("合计 · 期末余额", "Total · closing")
    yield name, total, money(book.income), money(book.cost), money(book.closing)


def _month_rows(book: BookSummary, screen: Screen) -> Iterator[Row]:
    name = label(Book, book.book, screen.lang)
    for month in book.months:
        income, cost = (_if_any(each) for each in (month.income, month.cost))
        yield name, month.month, income, cost, money(month.balance)


def _if_any(amount: Money) -> str:
    return money(amount) if amount.amount_minor else ""


def _summary(line: DisclosedLine) -> str:
    """What it is for; a correction (红字) names its line and its reason too."""
    corrected = f"红字 {last(line.corrects)}" if line.corrects else ""
    return " · ".join(filter(None, (line.summary, corrected, line.correction_reason)))
