"""`xinyi line summary`: income and cost by kind and by month, of a fund or of a whole group."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Book, Money
from xinyi.v1.disclosure_service_pb2 import (
    BookSummary,
    FundOfGroup,
    GetFundSummaryRequest,
    GetGroupSummaryRequest,
)

from gateway.cli.frame import Complaint, Session
from gateway.cli.labels import label
from gateway.cli.options import DisclosedBy, OnlyFund
from gateway.cli.screen import Column, Row, Screen
from gateway.cli.text import money, short, to_day
from gateway.client import call

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
_FUNDS = (
    Column("基金", "Fund"),
    Column("小区", "Estate", prose=True),
    Column("账簿", "Book"),
    Column("期初", "Opening", right=True),
    Column("收入", "Income", right=True),
    Column("支出", "Cost", right=True),
    Column("期末", "Closing", right=True),
)


async def summarised(
    session: Session,
    *,
    fund: OnlyFund = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group", metavar="NAME", help="Every fund of this group that you may see, and all."
        ),
    ] = None,
    first: Annotated[str, typer.Option("--from", metavar="MONTH", help="First month, as 2026-10.")],
    last: Annotated[
        str | None, typer.Option("--to", metavar="MONTH", help="Last month; the first without it.")
    ] = None,
    disclosed_by: DisclosedBy = None,
) -> None:
    """Sum up income and cost by kind and by month: opening + income - cost = closing."""
    if bool(fund) == bool(group):
        raise Complaint("give one of --fund and --group", "--fund 与 --group 须且只须给一个")
    months = {"first_month": first, "last_month": last or first}
    day = to_day(disclosed_by)
    if group:
        asked = GetGroupSummaryRequest(group=group, disclosed_by=day, **months)
        await _show_group(session, asked)
        return
    request = GetFundSummaryRequest(parent=fund or "", disclosed_by=day, **months)
    answer = await call(session.stubs.disclosure.GetFundSummary, request)
    if session.screen.as_json:
        session.screen.json(answer)
    else:
        _show_books(answer.books, session.screen)


async def _show_group(session: Session, request: GetGroupSummaryRequest) -> None:
    """Each fund in a row a book, then all of them by kind and by month, a currency at a time."""
    answer = await call(session.stubs.disclosure.GetGroupSummary, request)
    screen = session.screen
    if screen.as_json:
        screen.json(answer)
        return
    screen.table(_FUNDS, (row for fund in answer.funds for row in _fund_rows(fund, screen)))
    screen.say(
        "以下为上列各基金相加，仅供阅读：每只基金的钱在自己的账户里，互不混用。",
        "below, these funds are added up for reading only: each fund's money stays in its own "
        "account",
    )
    for total in answer.totals:
        _show_books(total.books, screen)


def _show_books(books: Iterable[BookSummary], screen: Screen) -> None:
    for book in books:
        screen.table(_KINDS, _kind_rows(book, screen))
        screen.table(_MONTHS, _month_rows(book, screen))


def _fund_rows(fund: FundOfGroup, screen: Screen) -> Iterator[Row]:
    for book in fund.books:
        yield (
            short(fund.fund),
            fund.estate_display_name,
            label(Book, book.book, screen.lang),
            *map(money, (book.opening, book.income, book.cost, book.closing)),
        )


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
