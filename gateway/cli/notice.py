"""`xinyi notice`: the printed notice of one estate, or of all that you may see."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from xinyi.v1.disclosure_service_pb2 import (
    GetCheckpointRequest,
    GetFundSummaryRequest,
    ListDisclosedLinesRequest,
)
from xinyi.v1.fund_service_pb2 import Fund, GetFundRequest, ListFundsRequest

from gateway.cli.frame import Complaint, Session
from gateway.cli.options import resource
from gateway.cli.screen import write_data
from gateway.cli.text import last, to_day
from gateway.client import MAX_ITEMS, CallRefused, call, collect
from gateway.disclosure.notice.content import Notice
from gateway.disclosure.period import Period

if TYPE_CHECKING:
    from gateway.disclosure.notice.press import Press

_NOT_LOGGED = "NOT_LOGGED"


@dataclass(frozen=True, slots=True)
class _Order:
    """What is printed of each fund."""

    first: str
    last: str
    url: str
    telephone: str


async def notice(  # noqa: PLR0913 - a notice has this many parts
    session: Session,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE|DIR", help="The PDF; with --all a folder.")
    ],
    period: Annotated[
        str, typer.Option("--period", metavar="MONTH", help="2026-10, or 2026-07..2026-09.")
    ],
    fund: Annotated[
        str | None, typer.Option(parser=resource("funds"), metavar="FUND", help="The fund.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every fund that you may see, one file each.")
    ] = False,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where the live books stand.")
    ] = "",
    telephone: Annotated[
        str, typer.Option("--telephone", metavar="NUMBER", help="Whom owners may call.")
    ] = "",
    fonts: Annotated[
        Path | None, typer.Option("--fonts", metavar="DIR", help="Where Noto Sans CJK is.")
    ] = None,
) -> None:
    """Print a notice: both books, income and cost by kind, the lines, a QR that binds them."""
    if every == (fund is not None):
        raise Complaint("give one of --fund and --all", "--fund 与 --all 须且只须给一个")
    first, _, end = period.partition("..")
    order = _Order(first, end or first, url.rstrip("/"), telephone)
    Period.of_months(order.first, order.last)
    # Only here is the press loaded.
    from gateway.disclosure.notice.fonts import (  # noqa: PLC0415 - as said above
        FONT_DIRS,
        FontsError,
    )
    from gateway.disclosure.notice.press import Press  # noqa: PLC0415 - likewise

    try:
        press = Press.with_fonts((fonts,) if fonts else FONT_DIRS)
    except FontsError as error:
        raise Complaint(str(error), "没有中文字体，可用 --fonts 指定") from None
    written = await (
        _all(session, press, order, out) if fund is None else _one(session, press, order, fund, out)
    )
    if session.screen.as_json:
        write_data({"written": [str(path) for path in written]})


async def _one(session: Session, press: "Press", order: _Order, fund: str, out: Path) -> list[Path]:
    answer = await call(session.stubs.funds.GetFund, GetFundRequest(name=fund))
    _write(out, press.pdf(await _read(session, order, answer.fund)))
    session.screen.say(f"已写入 {out}", f"written to {out}")
    return [out]


async def _all(session: Session, press: "Press", order: _Order, out: Path) -> list[Path]:
    answer = await collect(session.stubs.funds.ListFunds, ListFundsRequest(), MAX_ITEMS)
    paths = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(session.screen.pick("排印", "Printing"), total=len(answer.funds))
        for fund in answer.funds:
            path = out / f"{last(fund.name)}-{order.first}.pdf"
            _write(path, press.pdf(await _read(session, order, fund)))
            paths.append(path)
            progress.advance(task)
    session.screen.say(f"已写入 {len(paths)} 份：{out}", f"{len(paths)} written to {out}")
    return paths


def _write(path: Path, pdf: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pdf)


async def _read(session: Session, order: _Order, fund: Fund) -> Notice:
    stubs = session.stubs.disclosure
    request = GetFundSummaryRequest(
        parent=fund.name, first_month=order.first, last_month=order.last
    )
    summary = await call(stubs.GetFundSummary, request)
    period = Period.of_months(order.first, order.last)
    lines = await collect(
        stubs.ListDisclosedLines,
        ListDisclosedLinesRequest(
            parent=fund.name, start_date=to_day(period.first), end_date=to_day(period.last)
        ),
        MAX_ITEMS,
    )
    return Notice(
        estate=fund.display_name,
        first_month=order.first,
        last_month=order.last,
        summary=summary,
        lines=lines.lines,
        checkpoint=await _checkpoint(session, fund.name),
        url=order.url and f"{order.url}/{fund.name}?months={order.first}..{order.last}",
        telephone=order.telephone,
        printed_at=datetime.now(UTC),
    )


async def _checkpoint(session: Session, fund: str) -> str:
    """The log's signed tree; empty where nothing is logged yet."""
    try:
        request = GetCheckpointRequest(parent=fund)
        return (await call(session.stubs.disclosure.GetCheckpoint, request)).checkpoint
    except CallRefused as refused:
        if refused.reason != _NOT_LOGGED:
            raise
        return ""
