"""Statements: whose, whether they follow one another, and never the same day twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from gateway.bank.inbound import BankFile
from gateway.bank.quarantine import import_file
from gateway.domain.errors import GatewayError, Reason
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement, status
from tests.gateway.bank.test_status import take
from tests.gateway.night.world import accounts_on
from tests.gateway.payments.desk import ACCOUNT
from tests.gateway.support import OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from gateway.store import Row
    from tests.gateway.payments.desk import Desk

DAY = timedelta(days=1)

_TABLE = (
    "交易日期,交易流水号,借贷标志,交易金额,余额,摘要,对方户名,对方账号\n"
    f"{TODAY},S1,贷,5.00,{(OPENING_MINOR + 500) // 100}.00,,,\n"
).encode()


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


async def _statements(desk: Desk) -> Sequence[Row]:
    order = (t.statements.c.end_date, t.statements.c.created_at, t.statements.c.statement_key)
    return await desk.rows(sa.select(t.statements).order_by(*order))


async def _bank_minor(desk: Desk) -> int:
    accounts = t.bank_accounts.c
    ((found,),) = await desk.rows(
        sa.select(accounts.bank_minor).where(accounts.fund_id == "wutong")
    )
    return int(found)


async def _broken(desk: Desk) -> list[date | None]:
    """Of each account with statements, since when the night finds its chain broken."""
    async with desk.store.snapshot(GATEWAY) as conn:
        accounts = await accounts_on(conn, TODAY + 365 * DAY)
    seen = [each for each in accounts if each.covered_until]
    assert not any(each.inconsistent for each in seen)
    return [each.broken_on for each in seen]


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


async def test_the_same_day_in_other_bytes_is_told_as_repeated(desk: Desk) -> None:
    same = entry(5)
    await take(desk, statement(same))
    before = await _booked(desk)

    again = await take(desk, statement(same))

    assert (again.already, again.statements) == (True, ())
    assert (await _booked(desk))[:3] == before[:3]
    assert await desk.rows(sa.select(t.quarantined_files.c.sha256)) == []


async def test_a_day_that_adds_up_to_zero_is_told_as_repeated_too(desk: Desk) -> None:
    """It would seem to continue itself: its opening is its own closing."""
    both = entry(5), entry(-5)
    await take(desk, statement(*both))

    assert (await take(desk, statement(*both))).already


async def test_a_day_before_the_last_is_told_as_repeated(desk: Desk) -> None:
    first = entry(5)
    await take(desk, statement(first))
    second = entry(-5, TODAY + DAY)
    await take(desk, statement(second, opening_minor=OPENING_MINOR + 5, on=TODAY + DAY))

    assert (await take(desk, statement(first))).already


async def test_rows_without_serials_that_may_repeat_or_continue_are_left_to_a_person(
    desk: Desk,
) -> None:
    both = entry(5, entry_id=""), entry(-5, entry_id="")
    await take(desk, statement(*both))

    assert await _refused(desk, statement(*both)) is Reason.FILE_DUPLICATE

    (held,) = await desk.rows(sa.select(t.quarantined_files.c.detail))
    assert held.detail.startswith("overlap_ambiguous")


async def test_yesterday_and_today_books_today(desk: Desk) -> None:
    first, second = entry(5), entry(7, TODAY + DAY)
    await take(desk, statement(first))

    both = await take(desk, statement(first, second, on=TODAY + DAY))

    assert len(both.statements) == 1
    _, kept = await _statements(desk)
    assert (kept.opening_minor, kept.closing_minor) == (OPENING_MINOR + 5, OPENING_MINOR + 12)
    assert (kept.entry_count, kept.start_date, kept.end_date) == (1, TODAY + DAY, TODAY + DAY)
    assert kept.findings == ["statement_overlap: 1 of 2 entries are known already"]


async def test_a_day_that_grew_since_it_was_taken_in_books_what_it_grew_by(desk: Desk) -> None:
    morning, noon = entry(5), entry(7)
    await take(desk, statement(morning))

    await take(desk, statement(noon, morning))

    assert [row.entry_count for row in await _statements(desk)] == [1, 1]
    assert await _bank_minor(desk) == OPENING_MINOR + 12


async def test_quiet_days_are_covered_though_nothing_new_moved(desk: Desk) -> None:
    first = entry(5)
    await take(desk, statement(first))

    await take(desk, statement(first, on=TODAY + 3 * DAY))

    _, quiet = await _statements(desk)
    assert (quiet.end_date, quiet.entry_count) == (TODAY + 3 * DAY, 0)


@pytest.mark.parametrize(
    "changed",
    [{"amount_minor": 6}, {"entry_id": "other"}],
    ids=["another amount", "another name"],
)
async def test_a_known_day_that_reads_otherwise_is_set_aside(
    desk: Desk, changed: dict[str, Any]
) -> None:
    first = entry(5)
    await take(desk, statement(first))

    assert (
        await _refused(desk, statement(replace(first, **changed))) is Reason.STATEMENT_INCONSISTENT
    )


async def test_a_month_fills_the_gaps_and_books_nothing_twice(desk: Desk) -> None:
    days = [entry(10**number, TODAY + number * DAY) for number in range(5)]
    for number in (1, 3):
        before_minor = OPENING_MINOR + sum(10**each for each in range(number))
        await take(
            desk, statement(days[number], opening_minor=before_minor, on=TODAY + number * DAY)
        )

    await take(desk, statement(*days, on=TODAY + 4 * DAY))

    assert [row.entry_count for row in await _statements(desk)] == [1] * 5
    assert await _bank_minor(desk) == OPENING_MINOR + 11_111
    assert await _broken(desk) == [None]


async def test_what_was_booked_before_the_account_was_taken_over_is_left_out(desk: Desk) -> None:
    old, new = entry(100, TODAY - 5 * DAY), entry(5)

    await take(desk, statement(old, new, opening_minor=OPENING_MINOR - 100))

    (kept,) = await _statements(desk)
    assert (kept.opening_minor, kept.entry_count, kept.findings) == (OPENING_MINOR, 1, [])
    past = statement(old, opening_minor=OPENING_MINOR - 100, on=TODAY - 5 * DAY)
    assert (await take(desk, past)).already


async def test_statements_of_a_file_are_taken_by_day_whatever_their_order(desk: Desk) -> None:
    days = [_message(TODAY + number * DAY, OPENING_MINOR + 1_000 * number) for number in range(3)]

    imported = await take(desk, "".join(reversed(days)).encode())

    assert len(imported.statements) == 3
    assert await _findings(desk) == [[]] * 3


async def test_a_table_without_its_account_is_taken_under_the_one_that_is_given(
    desk: Desk,
) -> None:
    with pytest.raises(GatewayError) as refused:
        await take(desk, _TABLE)
    assert refused.value.reason is Reason.FILE_UNREADABLE

    named = BankFile("bank.csv", _TABLE, ACCOUNT)
    await import_file(desk.store, named, desk.gateway.inbox.banks, desk.clock())

    assert await _bank_minor(desk) == OPENING_MINOR + 500


async def test_further_statements_of_a_day_continue_the_last(desk: Desk) -> None:
    for number in range(4):
        await take(desk, statement(entry(5), opening_minor=OPENING_MINOR + 5 * number))

    assert await _findings(desk) == [[]] * 4
    assert (await _booked(desk))[1] == 4


async def test_a_day_on_several_pages_of_one_file_is_taken_in_order(desk: Desk) -> None:
    imported = await take(desk, _pages(3))

    assert len(set(imported.statements)) == 3
    assert await _findings(desk) == [[]] * 3
    assert (await take(desk, _pages(3) + b"\n")).already


async def test_a_day_continues_after_the_pages_of_another_file(desk: Desk) -> None:
    await take(desk, _pages(3))

    await take(desk, statement(entry(5), opening_minor=OPENING_MINOR + 3_000))

    assert await _findings(desk) == [[]] * 4


def _message(on: date, opening_minor: int) -> str:
    """MT940: a day with one receipt of 10.00."""
    day = f"{on:%y%m%d}"
    return (
        f":20:DAY\n:25:{ACCOUNT}\n:28C:{on:%j}/1\n:60F:C{day}CNY{_comma(opening_minor)}\n"
        f":61:{day}{day[2:]}C10,00NTRFNONREF//{day}\n:86:x\n"
        f":62F:C{day}CNY{_comma(opening_minor + 1_000)}\n-\n"
    )


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
    assert finding == f"statement_gap: {off} minor units are not explained since {TODAY - DAY}"


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
    assert third[0].startswith("statement_gap: 5 minor units")
    assert await _broken(desk) == [None]


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
