"""Statements: whose, whether they follow one another, and never the same day twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from gateway.domain.errors import GatewayError, Reason
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement, status
from tests.gateway.bank.test_status import take
from tests.gateway.support import OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.payments.desk import Desk

DAY = timedelta(days=1)


async def _refused(desk: Desk, content: bytes) -> Reason:
    """Why it was refused, after a look that nothing was booked."""
    before = await _booked(desk)
    with pytest.raises(GatewayError) as refused:
        await take(desk, content)
    assert await _booked(desk) == before
    return refused.value.reason


async def _booked(desk: Desk) -> tuple[int, ...]:
    tables = (t.statements, t.bank_entries, t.entries, t.bank_files)
    counts = [await desk.rows(sa.select(sa.func.count()).select_from(each)) for each in tables]
    return tuple(rows[0][0] for rows in counts)


async def _findings(desk: Desk) -> Sequence[list[str]]:
    order = (t.statements.c.end_date, t.statements.c.created_at, t.statements.c.statement_key)
    return [row.findings for row in await desk.rows(sa.select(t.statements).order_by(*order))]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (statement(entry(5), account="6222019999999999"), Reason.ACCOUNT_UNKNOWN),
        (statement(entry(5, currency="USD"), currency="USD"), Reason.CURRENCY_MISMATCH),
        (statement(entry(5), closing_minor=1), Reason.STATEMENT_INCONSISTENT),
        (statement(entry(5))[:-200], Reason.FILE_UNREADABLE),
        (b"<Document/>", Reason.FILE_UNREADABLE),
        (b"", Reason.FILE_UNREADABLE),
        (b"\xff\xfe\x00garbage", Reason.FILE_UNREADABLE),
        (b":20:X\n:25:A\x00B\n", Reason.FILE_UNREADABLE),
        (statement(entry(10**18), entry(-(10**18))), Reason.FILE_UNREADABLE),
        (statement(entry(10**19), opening_minor=10**19), Reason.FILE_UNREADABLE),
    ],
    ids=[
        "account",
        "currency",
        "sum",
        "cut",
        "no message",
        "empty",
        "garbage",
        "NUL",
        "amount too large",
        "beyond 64 bits",
    ],
)
async def test_a_statement_that_cannot_be_booked_is_set_aside_whole(
    desk: Desk, content: bytes, reason: Reason
) -> None:
    assert await _refused(desk, content) is reason

    (held,) = await desk.rows(sa.select(t.quarantined_files))
    assert (held.reason, bytes(held.content)) == (reason.value, content)


async def test_the_same_bytes_again_change_nothing(desk: Desk) -> None:
    content = statement(entry(5))
    first = await take(desk, content)
    before = await _booked(desk)

    second = await take(desk, content)

    assert (first.already, second.already) == (False, True)
    assert await _booked(desk) == before


async def test_the_same_bytes_at_the_same_time_are_one_import(desk: Desk) -> None:
    content = statement(entry(5))

    imported = await asyncio.gather(*[take(desk, content) for _ in range(4)])

    assert sorted(each.already for each in imported) == [False, True, True, True]
    assert await desk.rows(sa.select(t.quarantined_files.c.sha256)) == []


async def test_the_same_day_in_other_bytes_is_refused(desk: Desk) -> None:
    same = entry(5)
    await take(desk, statement(same))

    assert await _refused(desk, statement(same)) is Reason.FILE_DUPLICATE


async def test_a_day_that_adds_up_to_zero_is_refused_the_second_time_too(desk: Desk) -> None:
    """It would seem to continue itself: its opening is its own closing."""
    both = entry(5), entry(-5)
    await take(desk, statement(*both))

    assert await _refused(desk, statement(*both)) is Reason.FILE_DUPLICATE


async def test_a_day_before_the_last_is_refused_the_second_time(desk: Desk) -> None:
    first = entry(5)
    await take(desk, statement(first))
    second = entry(-5, TODAY + DAY)
    await take(desk, statement(second, opening_minor=OPENING_MINOR + 5, on=TODAY + DAY))

    assert await _refused(desk, statement(first)) is Reason.FILE_DUPLICATE


async def test_further_statements_of_a_day_continue_the_last(desk: Desk) -> None:
    for number in range(4):
        await take(desk, statement(entry(5), opening_minor=OPENING_MINOR + 5 * number))

    assert await _findings(desk) == [[]] * 4
    assert (await _booked(desk))[1] == 4


async def test_a_day_on_several_pages_of_one_file_is_taken_in_order(desk: Desk) -> None:
    imported = await take(desk, _pages(3))

    assert len(set(imported.statements)) == 3
    assert await _findings(desk) == [[]] * 3
    assert await _refused(desk, _pages(3) + b"\n") is Reason.FILE_DUPLICATE


async def test_a_day_continues_after_the_pages_of_another_file(desk: Desk) -> None:
    await take(desk, _pages(3))

    await take(desk, statement(entry(5), opening_minor=OPENING_MINOR + 3_000))

    assert await _findings(desk) == [[]] * 4


def _pages(count: int) -> bytes:
    """MT940: every page a message of its own, each opening where the one before closed."""
    pages = []
    for number in range(count):
        opening, closing = OPENING_MINOR + 1_000 * number, OPENING_MINOR + 1_000 * (number + 1)
        pages.append(
            f":20:DAY\n:25:6222010000000001\n:28C:1/{number + 1}\n"
            f":60{'F' if number == 0 else 'M'}:C261120CNY{_comma(opening)}\n"
            f":61:2611201120C10,00NTRFNONREF//{number}\n:86:x\n"
            f":62{'F' if number == count - 1 else 'M'}:C261120CNY{_comma(closing)}\n-\n"
        )
    return "".join(pages).encode()


def _comma(amount_minor: int) -> str:
    return f"{amount_minor // 100},{amount_minor % 100:02d}"


@pytest.mark.parametrize("off", [7, -7])
async def test_a_statement_that_does_not_open_where_the_last_closed_says_so(
    desk: Desk, off: int
) -> None:
    await take(desk, statement(entry(5), opening_minor=OPENING_MINOR + off))

    ((finding,),) = await _findings(desk)
    assert finding.startswith("discontinuous")
    assert f" {off} minor units" in finding


async def test_a_missing_day_that_arrives_late_fits_between(desk: Desk) -> None:
    days: list[dict[str, Any]] = [
        {"opening_minor": OPENING_MINOR + 5 * number, "on": TODAY + number * DAY}
        for number in range(3)
    ]
    files = [statement(entry(5, day["on"]), **day) for day in days]

    for number in (0, 2, 1):
        await take(desk, files[number])

    first, late, third = await _findings(desk)
    assert (first, late) == ([], [])
    assert third[0].startswith("discontinuous")


async def test_news_of_one_account_does_not_touch_another_fund(desk: Desk) -> None:
    await take(desk, statement(entry(5)))

    rows = await desk.rows(sa.select(t.bank_entries.c.fund_id).distinct())
    assert [row.fund_id for row in rows] == ["wutong"]


async def test_two_banks_answers_may_carry_the_same_statement_id(desk: Desk) -> None:
    await take(desk, statement(entry(5), message_id="20261120"))

    other = statement(entry(5), account="6222010000000002", message_id="20261120")
    assert len((await take(desk, other)).statements) == 1


async def test_a_status_report_is_no_statement(desk: Desk) -> None:
    assert await _refused(desk, status("nothing", ("ACSC", "", ""))) is Reason.FILE_UNREADABLE
