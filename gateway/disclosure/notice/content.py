"""What stands on a notice, made from the answers that any owner gets from the live book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2
from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.clock import BANK_ZONE
from gateway.disclosure.notice.chart import MAX_BARS, Bar, bars
from gateway.domain.capitals import in_capitals
from gateway.domain.money import format_minor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

BOOK_NAMES: Final[Mapping[int, str]] = {
    common_pb2.BOOK_COMMON: "共有资金账",
    common_pb2.BOOK_MAINTENANCE: "物业维护基金账",
}
_SHORT_NAMES: Final[Mapping[int, str]] = {
    common_pb2.BOOK_COMMON: "共有",
    common_pb2.BOOK_MAINTENANCE: "维护",
}
_STATES: Final[Mapping[int, str]] = {
    pb.LINE_STATE_PENDING: "待银行确认",
    pb.LINE_STATE_SETTLED: "已入账",
    pb.LINE_STATE_REVERSED: "已红冲",
    pb.LINE_STATE_RETURNED: "银行退回",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One estate's notice for one period.

    Attributes:
        estate: display name of the estate or fund.
        first_month: as ``2026-10``.
        last_month: the same month, or a later one.
        summary: of these months.
        lines: of these months, in order.
        checkpoint: the log's signed tree that has the lines; empty where there is no log.
        url: where the live book stands; empty for none.
        telephone: whom to call; empty leaves room to write it.
        printed_at: when the figures were read.
    """

    estate: str
    first_month: str
    last_month: str
    summary: pb.GetFundSummaryResponse
    lines: Sequence[pb.DisclosedLine]
    checkpoint: str
    url: str
    telephone: str
    printed_at: datetime


def content(notice: Notice) -> dict[str, Any]:
    """The notice as the template takes it: nothing but texts."""
    return {
        "estate": notice.estate,
        "period": _period(notice.first_month, notice.last_month),
        "books": [_book(book) for book in notice.summary.books],
        "lines": [_line(line) for line in notice.lines],
        "open": _open(notice.lines),
        "checkpoint": notice.checkpoint,
        "url": notice.url,
        "telephone": notice.telephone,
        "printed_at": f"{notice.printed_at.astimezone(BANK_ZONE):%Y-%m-%d %H:%M}",
    }


def _period(first: str, last: str) -> str:
    months = [f"{month[:4]}年{int(month[5:])}月" for month in dict.fromkeys((first, last))]
    return "至".join(months)


def _book(book: pb.BookSummary) -> dict[str, Any]:
    name = BOOK_NAMES[book.book]
    return {
        "name": name,
        "opening": _figure(book.opening),
        "income": _figure(book.income),
        "cost": _figure(book.cost),
        "closing": _figure(book.closing),
        "capitals": _capitals(book.closing),
        "kinds": [
            {"category": kind.category, "income": _if_any(kind.income), "cost": _if_any(kind.cost)}
            for kind in book.kinds
        ],
        "months": [
            {
                "month": month.month,
                "income": _if_any(month.income),
                "cost": _if_any(month.cost),
                "balance": _figure(month.balance),
            }
            for month in book.months
        ],
        "chart": _chart(book, name),
    }


def _chart(book: pb.BookSummary, name: str) -> str:
    """The largest kinds; empty where nothing moved."""
    sides = [
        Bar(f"{kind.category}（{'收' if income else '支'}）", it.amount_minor, _figure(it), income)
        for kind in book.kinds
        for it, income in ((kind.income, True), (kind.cost, False))
        if it.amount_minor > 0
    ]
    largest = sorted(sides, key=lambda bar: -bar.amount_minor)[:MAX_BARS]
    shown = sorted(largest, key=lambda bar: (not bar.income, -bar.amount_minor))
    return bars(shown, f"{name}收支") if shown else ""


def _line(line: pb.DisclosedLine) -> dict[str, Any]:
    received = line.amount.amount_minor > 0
    figure = format_minor(abs(line.amount.amount_minor), line.amount.currency)
    return {
        "number": str(line.number),
        "day": f"{line.effective_date.month:02}-{line.effective_date.day:02}",
        "book": _SHORT_NAMES[line.book],
        "category": line.category,
        "summary": _summary(line),
        "counterparty": line.counterparty,
        "income": figure if received else "",
        "cost": "" if received else figure,
        "balance": _figure(line.running_balance),
        "state": _STATES[line.state],
        "matched": "已核对" if line.HasField("match_date") else "未核对",
        "vouchers": str(len(line.vouchers)),
        "red": bool(line.corrects),
    }


def _summary(line: pb.DisclosedLine) -> str:
    corrected = f"红字更正第{line.corrects.rpartition('/')[2]}笔" if line.corrects else ""
    return "；".join(filter(None, (line.summary, corrected, line.correction_reason)))


def _open(lines: Iterable[pb.DisclosedLine]) -> list[str]:
    """What an owner should know is not settled yet."""
    pending = [line for line in lines if line.state == pb.LINE_STATE_PENDING]
    unmatched = [line for line in lines if not line.HasField("match_date")]
    bare = [line for line in lines if not line.vouchers and line.amount.amount_minor < 0]
    return [
        f"{what}：第{'、'.join(str(line.number) for line in found)}笔"
        for what, found in (
            ("银行尚未确认", pending),
            ("尚未与银行流水核对", unmatched),
            ("支出无凭证", bare),
        )
        if found
    ]


def _figure(amount: common_pb2.Money) -> str:
    return format_minor(amount.amount_minor, amount.currency)


def _if_any(amount: common_pb2.Money) -> str:
    return _figure(amount) if amount.amount_minor else ""


def _capitals(amount: common_pb2.Money) -> str:
    """The amount in 大写; a debt says that it is one."""
    if amount.currency != "CNY":
        return ""
    words = in_capitals(abs(amount.amount_minor))
    return words if amount.amount_minor >= 0 else f"负{words}"
