"""`xinyi line`: the live account book as owners see it."""

from collections.abc import Iterator
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Book, Money
from xinyi.v1.disclosure_service_pb2 import (
    DisclosedLine,
    GetDisclosedLineRequest,
    LineItem,
    LineState,
    ListDisclosedLinesRequest,
)
from xinyi.v1.duty_service_pb2 import EraseLineRequest, ItemiseLineRequest
from xinyi.v1.question_service_pb2 import ListQuestionsRequest, Question

from gateway.cli.frame import EVERYONE, FIRM, OPERATOR, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import (
    DisclosedBy,
    From,
    Fund,
    Limit,
    RequestId,
    To,
    announced,
    in_fund,
    one_of,
    say_waits,
    signed_minor,
)
from gateway.cli.question import asker, show_answers
from gateway.cli.screen import Column, Row, Screen
from gateway.cli.summary import summarised
from gateway.cli.text import day, last, moment, money, short, to_day
from gateway.client import MAX_ITEMS, call, collect

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
    Column("提问", "Questions", right=True),
    Column("缺明细", "Lump sum"),
)
_ITEMS = (
    Column("项目", "Item", prose=True),
    Column("数量", "Count", right=True),
    Column("金额", "Amount", right=True),
)
_Name = Annotated[
    str,
    typer.Argument(parser=in_fund("lines"), metavar="LINE", help="FUND/NUMBER, as in wutong/12."),
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
            parser=one_of(LineState), metavar="STATE", help="PENDING, SETTLED, REVERSED, RETURNED."
        ),
    ] = None,
    start: From = None,
    end: To = None,
    disclosed_by: DisclosedBy = None,
    missing_detail: Annotated[
        bool,
        typer.Option("--missing-detail", help="Only sums that are to be told by item."),
    ] = False,
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
        missing_detail=missing_detail,
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
            str(len(line.questions)),
            session.screen.pick("缺", "yes") if line.missing_detail else "",
        )
        for line in answer.lines
    )
    session.screen.list(answer, _COLUMNS, rows)


@remote(app, "show", EVERYONE)
async def _show(
    session: Session,
    name: _Name,
) -> None:
    """Show one line with its vouchers, and what was asked about it and answered."""
    request = GetDisclosedLineRequest(name=name)
    answer = await call(session.stubs.disclosure.GetDisclosedLine, request)
    session.screen.one(answer, _facts(answer.line, session.screen))
    if answer.line.items and not session.screen.as_json:
        session.screen.table(_ITEMS, map(_item_row, answer.line.items))
    if answer.line.questions and not session.screen.as_json:
        about = ListQuestionsRequest(parent=name.partition("/lines/")[0], line=name)
        asked = await collect(session.stubs.questions.ListQuestions, about, MAX_ITEMS)
        for question in reversed(asked.questions):
            _show_question(question, session)


def _show_question(question: Question, session: Session) -> None:
    said = f"{short(question.name)} · {asker(question, session.screen.lang)}：{question.text}"
    session.screen.line(said)
    show_answers([question], session)


@remote(app, "itemise", FIRM)
async def _itemise(
    session: Session,
    name: _Name,
    items: Annotated[
        list[str],
        typer.Option(
            "--item",
            metavar="LABEL:COUNT:1,234.56",
            help="A part of the line; repeat it. Together they come to the line's amount.",
        ),
    ],
    request_id: RequestId = None,
) -> None:
    """Say by item what a lump sum consists of; once, for all of the estate to read."""
    read = GetDisclosedLineRequest(name=name)
    line = (await call(session.stubs.disclosure.GetDisclosedLine, read)).line
    parts = [_item(each, line.amount.currency) for each in items]
    named = announced(session.screen, request_id)
    request = ItemiseLineRequest(name=name, items=parts, request_id=named)
    answer = await call(session.stubs.duties.ItemiseLine, request)
    session.screen.list(answer, _ITEMS, map(_item_row, answer.items))


@remote(app, "erase", OPERATOR)
async def _erase(
    session: Session,
    name: _Name,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; all of the estate read it.")
    ],
    request_id: RequestId = None,
) -> None:
    """Propose to erase what a line says of a person, for ever; another party confirms it."""
    named = announced(session.screen, request_id)
    request = EraseLineRequest(line=name, reason=reason, request_id=named)
    answer = await call(session.stubs.duties.EraseLine, request)
    facts = (
        (Column("明细", "Line"), short(name)),
        (Column("原因", "Reason"), answer.erasure.reason),
        (Column("变更", "Change"), answer.change),
    )
    session.screen.one(answer, facts)
    if answer.waits:
        say_waits(session.screen, answer.change)


def _item(text: str, currency: str) -> LineItem:
    named, _, amount = text.rpartition(":")
    label_, _, count = named.rpartition(":")
    if not label_ or not count.isdecimal():
        raise typer.BadParameter("is not as in LABEL:COUNT:AMOUNT / 应如 月租车位:12:3,600.00")
    return LineItem(
        label=label_,
        count=int(count),
        amount=Money(amount_minor=signed_minor(amount), currency=currency),
    )


def _item_row(item: LineItem) -> Row:
    return item.label, f"{item.count:,}", money(item.amount)


remote(app, "summary", EVERYONE)(summarised)


def _facts(line: DisclosedLine, screen: Screen) -> Iterator[tuple[Column, str]]:
    lang = screen.lang
    yield Column("明细", "Line"), short(line.name)
    yield Column("日期", "Day"), day(line.effective_date)
    yield Column("账簿", "Book"), label(Book, line.book, lang)
    yield Column("类别", "Category"), line.category
    yield Column("摘要", "Summary"), _summary(line)
    yield Column("对方", "Counterparty"), line.counterparty
    yield Column("金额", "Amount"), money(line.amount)
    yield Column("余额", "Balance"), money(line.running_balance)
    yield Column("公示时间（北京）", "Disclosed (Beijing)"), moment(line.disclose_time)
    yield Column("状态", "State"), label(LineState, line.state, lang)
    yield Column("已核对", "Matched"), day(line.match_date)
    if line.missing_detail:
        yield Column("缺明细", "Lump sum"), screen.pick("须列明细而未列", "to be told by item")
    for voucher in line.vouchers:
        yield Column("凭证", "Voucher"), voucher


def _summary(line: DisclosedLine) -> str:
    """What it is for; a correction (红字) names its line and its reason too."""
    corrected = f"红字 {last(line.corrects)}" if line.corrects else ""
    return " · ".join(filter(None, (line.summary, corrected, line.correction_reason)))
