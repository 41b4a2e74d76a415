"""The printed notice: its figures are the live book's, and it is the document that it claims to be.

Needs Debian's fonts-noto-cjk; CI has them, and sets XINYI_BROWSER=1 so that their lack is a failure
there.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from google.type.date_pb2 import Date  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import common_pb2
from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.disclosure.notice.chart import Bar, bars
from gateway.disclosure.notice.content import Notice, content
from gateway.disclosure.notice.fonts import FONT_DIRS, FontsError
from gateway.disclosure.notice.press import Press
from gateway.domain.party import Role
from gateway.rpc.convert import day
from gateway.rpc.disclosure import DisclosureServicer
from tests.gateway.night.world import TODAY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.night.world import World

needs_fonts = pytest.mark.skipif(
    os.environ.get("XINYI_BROWSER") != "1" and not any(each.is_dir() for each in FONT_DIRS),
    reason="needs Debian's fonts-noto-cjk",
)


def money(minor: int) -> common_pb2.Money:
    return common_pb2.Money(amount_minor=minor, currency="CNY")


def a_notice(
    summary: pb.GetFundSummaryResponse | None = None,
    lines: tuple[pb.DisclosedLine, ...] = (),
    checkpoint: str = "",
) -> Notice:
    return Notice(
        estate="梧桐苑",
        first_month="2026-10",
        last_month="2026-11",
        summary=summary or pb.GetFundSummaryResponse(),
        lines=lines,
        checkpoint=checkpoint,
        url="https://book.example/funds/wutong" if checkpoint else "",
        telephone="",
        printed_at=datetime(2026, 11, 20, 4, 5, 6, 7, UTC),
    )


def a_line(number: int, **more: object) -> pb.DisclosedLine:
    line = pb.DisclosedLine(
        number=number,
        book=common_pb2.BOOK_COMMON,
        amount=money(-1),
        running_balance=money(1),
        effective_date=Date(year=2026, month=10, day=1),
        state=pb.LINE_STATE_SETTLED,
    )
    line.MergeFrom(pb.DisclosedLine(**more))  # type: ignore[arg-type] # fields of any kind
    return line


async def test_its_figures_are_those_of_the_live_book(world: World) -> None:
    await world.fund(opening_minor=10_000)
    await world.line("f1", 123_456, TODAY, category="物业费")
    await world.line("f1", -65_432, TODAY, category="清洁")
    world.calls(Role.OWNER)
    service = DisclosureServicer(world.store, world.clock)
    months = {"first_month": "2026-11", "last_month": "2026-11"}
    summary = await service.GetFundSummary(
        pb.GetFundSummaryRequest(parent="funds/f1", **months), None
    )
    request = pb.ListDisclosedLinesRequest(parent="funds/f1", start_date=day(TODAY))
    lines = (await service.ListDisclosedLines(request, None)).lines

    made = content(a_notice(summary, tuple(lines)))

    book = made["books"][0]
    figures = [book[name] for name in ("opening", "income", "cost", "closing")]
    assert figures == ["100.00", "1,234.56", "654.32", "680.24"]
    assert book["capitals"] == "陆佰捌拾元零贰角肆分"
    assert [(line["income"], line["cost"], line["balance"]) for line in made["lines"]] == [
        ("1,234.56", "", "1,334.56"),
        ("", "654.32", "680.24"),
    ]
    balances = [common.closing.amount_minor for common in summary.books]
    assert sum(balances) == lines[-1].running_balance.amount_minor


def test_what_is_not_settled_is_told_by_number() -> None:
    lines = (
        a_line(1, match_date=Date(year=2026, month=10, day=2), vouchers=["v"]),
        a_line(2, state=pb.LINE_STATE_PENDING, vouchers=["v"]),
        a_line(3, match_date=Date(year=2026, month=10, day=2)),
    )
    assert content(a_notice(lines=lines))["open"] == [
        "银行尚未确认：第2笔",
        "尚未与银行流水核对：第2笔",
        "支出无凭证：第3笔",
    ]


def test_a_correction_names_the_line_and_the_reason() -> None:
    line = a_line(9, corrects="funds/f/lines/4", summary="退回", correction_reason="户名有误")
    (shown,) = content(a_notice(lines=(line,)))["lines"]
    assert (shown["summary"], shown["red"]) == ("退回；红字更正第4笔；户名有误", True)


def test_a_book_that_owes_says_so_in_capitals() -> None:
    zero = money(0)
    book = pb.BookSummary(
        book=common_pb2.BOOK_MAINTENANCE, opening=zero, income=zero, cost=zero, closing=money(-150)
    )
    (shown,) = content(a_notice(pb.GetFundSummaryResponse(books=[book])))["books"]
    assert (shown["closing"], shown["capitals"]) == ("-1.50", "负壹元伍角")


def test_bars_are_as_long_as_their_amounts() -> None:
    drawn = bars([Bar("甲<", 100, "1.00", True), Bar("乙", 50, "0.50", False)], "图")
    widths = [int(width) for width in re.findall(r'<rect x="150" [^>]*?width="(\d+)"', drawn)]
    assert widths[0] == 2 * widths[1] == 380
    assert "甲&lt;" in drawn


def test_no_font_is_an_error_and_no_page_of_empty_boxes(tmp_path: Path) -> None:
    with pytest.raises(FontsError, match="fonts-noto-cjk"):
        Press.with_fonts((tmp_path,))


@needs_fonts
def test_it_is_pdf_a_tagged_and_the_same_every_time() -> None:
    press = Press.with_fonts()
    notice = a_notice(checkpoint="log.example/trust\n3\nabc=\n\n— log.example/trust xyz=\n")
    made = press.pdf(notice)
    assert press.pdf(notice) == made
    assert made.startswith(b"%PDF-")
    for mark in (b"pdfaid:part>2<", b"pdfuaid:part>1<", b"/StructTreeRoot", b"/MarkInfo"):
        assert mark in made


@needs_fonts
def test_text_is_never_a_program_of_the_template() -> None:
    line = a_line(1, summary='#panic("x") $ _a_ `b` "c" \\')
    assert Press.with_fonts().pdf(a_notice(lines=(line,)))
