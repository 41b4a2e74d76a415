"""`xinyi ledger`: the trustee's double-entry ledger."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Book, Money
from xinyi.v1.ledger_service_pb2 import (
    AccountKind,
    EntryDraft,
    LedgerLine,
    ListLinesRequest,
    PostEntryRequest,
)

from gateway.cli.frame import TRUSTEE, Complaint, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import (
    Fund,
    Limit,
    RequestId,
    amount_minor,
    announced,
    iso_date,
    one_of,
    resource,
)
from gateway.cli.screen import Column, Row
from gateway.cli.text import day, last, money, to_day
from gateway.cli.voucher import voucher_names
from gateway.client import call, collect

app = group("The ledger: journal lines; book receipts and corrections 台账.")

_COLUMNS = (
    Column("分录", "Entry", right=True),
    Column("日期", "Day"),
    Column("科目", "Account"),
    Column("银行账户／账簿", "Bank account / book"),
    Column("类别", "Category", prose=True),
    Column("借", "Debit", right=True),
    Column("贷", "Credit", right=True),
    Column("公示序号", "Line"),
    Column("银行流水", "Bank entry"),
)
_Amount = Annotated[
    int | None, typer.Option(parser=amount_minor, metavar="1,234.56", help="In yuan.")
]


@remote(app, "lines", TRUSTEE)
async def _lines(
    session: Session,
    fund: Fund,
    kind: Annotated[
        str | None,
        typer.Option(parser=one_of(AccountKind), metavar="KIND", help="BANK, TRANSIT or BOOK."),
    ] = None,
    limit: Limit = 500,
) -> None:
    """List journal lines of a fund, newest first."""
    wanted = AccountKind.Value(kind or "ACCOUNT_KIND_UNSPECIFIED")
    request = ListLinesRequest(parent=fund, account_kind=wanted)
    answer = await collect(session.stubs.ledger.ListLines, request, limit)
    session.screen.list(answer, _COLUMNS, _rows(answer.lines, session))


@remote(app, "post", TRUSTEE)
async def _post(  # noqa: PLR0913 - an entry has this many parts
    session: Session,
    *,
    fund: Fund,
    account: Annotated[str, typer.Option(metavar="ID", help="Bank account the money moves by.")],
    book: Annotated[
        str, typer.Option(parser=one_of(Book), metavar="BOOK", help="COMMON or MAINTENANCE.")
    ],
    category: Annotated[str, typer.Option(metavar="TEXT", help="As disclosed.")],
    summary: Annotated[str, typer.Option(metavar="TEXT", help="Names no private person.")],
    date: Annotated[
        date, typer.Option(parser=iso_date, metavar="DATE", help="The day it counts for.")
    ],
    received: _Amount = None,
    paid: _Amount = None,
    reference: Annotated[str, typer.Option(metavar="TEXT", help="The bank's, if known.")] = "",
    counterparty_name: Annotated[str, typer.Option(metavar="NAME", help="Who paid.")] = "",
    counterparty_account: Annotated[str, typer.Option(metavar="NUMBER", help="From where.")] = "",
    voucher: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|NAME", help="To upload, or uploaded; may be repeated."),
    ] = None,
    corrects: Annotated[
        str, typer.Option(metavar="NUMBER", help="红字: the disclosed line this one takes back.")
    ] = "",
    request_id: RequestId = None,
) -> None:
    """Book a receipt, a payment made elsewhere, or a correction, with its disclosed line."""
    draft = EntryDraft(
        bank_account=resource(f"{fund}/bankAccounts")(account),
        book=Book.Value(book),
        category=category,
        amount=Money(amount_minor=_signed(received, paid), currency="CNY"),
        summary=summary,
        effective_date=to_day(date),
        reference=reference,
        counterparty_name=counterparty_name,
        counterparty_account=counterparty_account,
        vouchers=await voucher_names(session, fund, voucher or []),
        corrects=corrects and resource(f"{fund}/lines")(corrects),
    )
    request = PostEntryRequest(
        parent=fund, entry=draft, request_id=announced(session.screen, request_id)
    )
    answer = await call(session.stubs.ledger.PostEntry, request)
    session.screen.list(answer, _COLUMNS, _rows(answer.lines, session))


def _signed(received_minor: int | None, paid_minor: int | None) -> int:
    """The one of the two that is given, in minor units; what is paid is negative."""
    if received_minor is not None and paid_minor is None:
        return received_minor
    if paid_minor is not None and received_minor is None:
        return -paid_minor
    raise Complaint("give one of --received and --paid", "--received 与 --paid 须且只须给一个")


def _rows(lines: Iterable[LedgerLine], session: Session) -> Iterable[Row]:
    lang = session.screen.lang
    for line in lines:
        amount_minor = line.amount.amount_minor
        yield (
            str(line.entry_number),
            day(line.effective_date),
            label(AccountKind, line.account_kind, lang),
            last(line.bank_account) or label(Book, line.book, lang),
            line.category,
            money(line.amount) if amount_minor > 0 else "",
            money(line.amount).removeprefix("-") if amount_minor < 0 else "",
            last(line.disclosed_line),
            last(line.bank_entry),
        )
