"""What is read of one fund with very many lines: how long it takes, and what memory it needs.

One caller asks after another, so that a latency is the server's own work with TLS and no waiting
for others; then eight at a time, and one beside payments that are asked for all the while. Measured
at the caller on the same machine, which is never less than in the server. The log takes the lines
first, as it does in earnest: what is read meanwhile is a figure of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import ledger_service_pb2 as ledger

from benchmarks import world
from benchmarks.disclosure import proving
from benchmarks.rig import resident_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from benchmarks.rig import Rig
    from benchmarks.world import Server

FUND: Final = "f2"
CALLERS: Final = 8
"""Of the figure with several callers at a time."""
PAGE: Final = 100
READER: Final = "trust"
"""Who has the most estates: all of them."""
_PARENT: Final = f"funds/{FUND}"
_LINES: Final = "/xinyi.v1.DisclosureService/ListDisclosedLines"
_BALANCE: Final = "/xinyi.v1.LedgerService/GetBalance"
_LARGEST_PAGE: Final = 1000
_CATCH_UP_S: Final = 3600
_WARM: Final = 20
"""What the first pages need once for all is no growth."""


def _page(day: date) -> Message:
    """The first page of the lines from a day on: anywhere in the fund."""
    return disclosure.ListDisclosedLinesRequest(
        parent=_PARENT, page_size=PAGE, start_date=_date(day)
    )


def _date(day: date) -> date_pb2.Date:
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)


KINDS: Final[dict[str, tuple[str, Callable[[date], Message]]]] = {
    "balance": (_BALANCE, lambda _: ledger.GetBalanceRequest(parent=_PARENT)),
    "balance_as_of": (
        _BALANCE,
        lambda day: ledger.GetBalanceRequest(parent=_PARENT, as_of_date=_date(day)),
    ),
    "lines_page": (_LINES, _page),
    "lines_page_of_a_day": (
        _LINES,
        lambda day: disclosure.ListDisclosedLinesRequest(
            parent=_PARENT, page_size=PAGE, start_date=_date(day), end_date=_date(day)
        ),
    ),
    "pending_page": (
        _LINES,
        lambda _: disclosure.ListDisclosedLinesRequest(
            parent=_PARENT, page_size=PAGE, state=disclosure.LINE_STATE_PENDING
        ),
    ),
    "journal_page": (
        "/xinyi.v1.LedgerService/ListLines",
        lambda _: ledger.ListLinesRequest(parent=_PARENT, page_size=PAGE),
    ),
    "summary": (
        "/xinyi.v1.DisclosureService/GetFundSummary",
        lambda _: disclosure.GetFundSummaryRequest(
            parent=_PARENT, first_month="2024-07", last_month="2026-06"
        ),
    ),
}
"""What is asked, by the name of its figures; the day is any that the fund has lines of."""


def measure(rig: Rig, lines: int, count: int, pages: int) -> dict[str, float]:
    """Every kind of read `count` times, of a fund that is given so many lines first.

    Then so many of its pages one after the other, with the server's memory before and after.
    """
    asyncio.run(world.fill_lines(rig.world.url, FUND, lines))
    figures: dict[str, float] = {}
    with world.serving(rig.world, *world.GATEWAY_COMMAND) as server:
        figures |= _catching_up(rig, server, count)
        rig.rested(server)
        for name in KINDS:
            figures |= _latency(rig, server, name, name, count)
        figures |= _latency(
            rig, server, "lines_page", f"lines_page_{CALLERS}_callers", count, CALLERS
        )
        # More than there is time for: the load ends with the block.
        asks = [world.ask(f"f{n % rig.world.funds + 1}", 10**9 + n) for n in range(20 * count)]
        with rig.beside(server, world.SUBMIT, asks, "firm", CALLERS):
            for name in ("balance", "lines_page"):
                figures |= _latency(rig, server, name, f"{name}_beside_writes", count)
        figures |= proving(rig, server, FUND, lines, count)
        figures |= asyncio.run(_through(rig, server, pages))
    return figures


def _catching_up(rig: Rig, server: Server, count: int) -> dict[str, float]:
    """Reads while the log takes the lines, and how fast it does."""
    behind = "SELECT coalesce(sum(last_line_number), 0) - (SELECT sum(size) FROM logs) FROM funds"
    before, began = int(rig.one(behind) or 0), time.perf_counter()
    figures = _latency(rig, server, "lines_page", "lines_page_beside_log", count)
    left = int(rig.one(behind) or 0)
    if not 0 < left < before:
        raise SystemExit(f"the log was to take {before} lines meanwhile, and {left} are left")
    while int(rig.one(behind) or 0) > 0:
        if time.perf_counter() - began > _CATCH_UP_S:
            raise SystemExit("the log does not catch up")
        time.sleep(0.5)
    rate = round(before / (time.perf_counter() - began))
    print(f"the log took {rate:,} lines/s", flush=True)
    return figures | {"leaves_per_s": rate}


def _latency(
    rig: Rig, server: Server, kind: str, name: str, count: int, callers: int = 1
) -> dict[str, float]:
    path, request = KINDS[kind]
    days = _days(count)
    bodies = [request(day).SerializeToString() for day in days]
    rig.load(server, path, bodies[:20], READER, callers)
    found = rig.load(server, path, bodies, READER, callers)
    if found["refused"]:
        raise SystemExit(f"{name}: {found}")
    print(f"{name}: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms", flush=True)
    return {
        f"{name}_p50_ms": round(found["p50_ms"], 2),
        f"{name}_p99_ms": round(found["p99_ms"], 2),
        f"{name}_server_us": round(found["server_us"]),
        f"{name}_database_us": round(found["database_us"]),
    }


def _days(count: int) -> Sequence[date]:
    dice = random.Random(2026)  # noqa: S311 - no secret
    return [world.FIRST_DAY + timedelta(dice.randrange(world.DAYS)) for _ in range(count)]


async def _through(rig: Rig, server: Server, pages: int) -> dict[str, float]:
    """The fund from its beginning, page after page; what the server holds before and after."""
    async with rig.channel(server.port, READER) as channel:
        call: Any = channel.unary_unary(
            _LINES,
            request_serializer=disclosure.ListDisclosedLinesRequest.SerializeToString,
            response_deserializer=disclosure.ListDisclosedLinesResponse.FromString,
        )
        token, before = "", 0.0
        for number in range(pages):
            asked = disclosure.ListDisclosedLinesRequest(
                parent=_PARENT, page_size=_LARGEST_PAGE, page_token=token
            )
            answer = await call(asked, timeout=60)
            token = answer.next_page_token
            if number == _WARM:
                before = resident_mb(server.process.pid)
            if not token:
                break
    after = resident_mb(server.process.pid)
    print(f"{pages} pages: {before:.0f} MB before, {after:.0f} MB after", flush=True)
    return {
        "pages_streamed": pages,
        "server_memory_before_pages_mb": round(before, 1),
        "server_memory_after_pages_mb": round(after, 1),
    }
