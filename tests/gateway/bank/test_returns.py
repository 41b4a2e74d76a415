"""Money that came back: whose payment it was, whether in time, and what the night makes of it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.calendar import Calendar
from gateway.bank.returns import is_return, within
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement
from tests.gateway.bank.test_status import take
from tests.gateway.payments.desk import PAYEE, ask, batch
from tests.gateway.support import NOW, OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.model import Entry
    from tests.gateway.payments.desk import Desk

DAY = timedelta(days=1)
NAME = "锐达电梯工程有限公司"
OTHER = "6222020000000009"
CHINA = Calendar(working_days="china")


async def _paid(desk: Desk, *amounts_minor: int, **debit: Any) -> list[str]:
    """Payments that went out and whose debits the first day's statement holds."""
    names = [await desk.released(each) for each in amounts_minor]
    await desk.gateway.work()
    debits = [
        entry(
            -amount, **{"end_to_end_id": name.rpartition("/")[2], "entry_id": f"D{number}"} | debit
        )
        for number, (name, amount) in enumerate(zip(names, amounts_minor, strict=True))
    ]
    await take(desk, statement(*debits))
    return names


async def _back(desk: Desk, credit: Entry, *, gone_minor: int) -> tuple[int, list[dict[str, Any]]]:
    """Takes in a later day with this credit: how many payments changed, and what was logged."""
    on = credit.booking_date
    with capture_logs() as logs:
        content = statement(credit, opening_minor=OPENING_MINOR - gone_minor, on=on)
        changed = (await take(desk, content)).payments_changed
    return changed, [dict(each) for each in logs if each["event"] == "return_left_open"]


def _credit(amount_minor: int = 1_000, days: int = 1, **fields: Any) -> Entry:
    """A credit in a bank's words, without a reference of ours."""
    fine = {"text": "退票", "counterparty_account": PAYEE, "counterparty_name": NAME}
    return entry(amount_minor, TODAY + days * DAY, **fine | fields)


async def _night(desk: Desk, days: int) -> Sequence[tuple[str, str]]:
    """The open cases after the night of a later day, kind and cause."""
    desk.clock.moment = NOW + (days + 1) * DAY
    await desk.gateway.nights.run(TODAY + days * DAY, f"run-{days}")
    cases = t.cases.c
    rows = await desk.rows(
        sa.select(cases.kind, cases.cause).where(cases.open, cases.fund_id == "wutong")
    )
    return [tuple(row) for row in rows]


async def _unmatched(desk: Desk) -> tuple[int, int]:
    """Open bank entries and open lines of the fund."""
    counts = []
    for table in (t.bank_entries, t.disclosed_lines):
        query = sa.select(sa.func.count()).where(
            table.c.fund_id == "wutong", table.c.match_id == ""
        )
        ((count,),) = await desk.rows(query)
        counts.append(count)
    return counts[0], counts[1]


@pytest.mark.parametrize(
    "said",
    [
        {"text": "退票"},
        {"text": "户名不符 退汇"},
        {"text": "已退回"},
        {"text": "payment Returned"},
        {"text": "", "reference": "冲正20261120"},
        {"text": "", "return_reason": "AC04"},
        {"text": "", "reversal": True},
        {"end_to_end_id": "NOTPROVIDED"},
        {"counterparty_account": ""},
    ],
    ids=str,
)
async def test_a_return_without_our_reference_is_found_by_amount_and_payee(
    desk: Desk, said: dict[str, Any]
) -> None:
    (name,) = await _paid(desk, 1_000)

    changed, left = await _back(desk, _credit(**said), gone_minor=1_000)

    assert (changed, left, await desk.state(name)) == (1, [], "RETURNED")
    assert await desk.budget() == (0, 0)
    assert await _night(desk, 1) == []
    assert await _unmatched(desk) == (0, 0)


@pytest.mark.parametrize(
    "said",
    [
        {"text": "物业费"},
        {"text": "returnees"},
        {"counterparty_account": OTHER},
        {"counterparty_account": "", "counterparty_name": "别的公司"},
        {"counterparty_account": "", "counterparty_name": ""},
        {"amount_minor": 999},
        {"end_to_end_id": "their-own"},
    ],
    ids=str,
)
async def test_a_credit_that_is_not_surely_the_payments_return_leaves_it_paid(
    desk: Desk, said: dict[str, Any]
) -> None:
    (name,) = await _paid(desk, 1_000)

    changed, _ = await _back(desk, _credit(**said), gone_minor=1_000)

    assert (changed, await desk.state(name)) == (0, "SETTLED")
    ((kind, _),) = await _night(desk, 1)
    assert kind in {"returned", "missing_in_ledger"}


async def test_of_two_payments_that_fit_neither_is_returned_and_the_log_names_both(
    desk: Desk,
) -> None:
    names = await _paid(desk, 1_000, 1_000)

    changed, (left,) = await _back(desk, _credit(), gone_minor=2_000)

    assert (changed, await desk.states(names)) == (0, ["SETTLED", "SETTLED"])
    assert left["payments"] == sorted(name.rpartition("/")[2] for name in names)
    assert left["entry"].startswith("funds/wutong/bankEntries/")
    assert await _night(desk, 1) == [("returned", "no_correction_line")]


@pytest.mark.parametrize("field", ["entry_id", "reference"])
async def test_a_return_that_names_the_debit_is_told_from_its_twin(desk: Desk, field: str) -> None:
    first, second = await _paid(desk, 1_000, 1_000, reference="R")
    serial = {"entry_id": "D1", "reference": "R1"}[field]
    if field == "reference":
        third = await desk.released(1_000)
        await desk.gateway.work()
        debit = entry(-1_000, end_to_end_id=third.rpartition("/")[2], reference=serial)
        await take(desk, statement(debit, opening_minor=OPENING_MINOR - 2_000))
        second = third

    credit = _credit(reference=serial, counterparty_account=OTHER)
    changed, _ = await _back(desk, credit, gone_minor=3_000 if field == "reference" else 2_000)

    assert (changed, await desk.state(first), await desk.state(second)) == (
        1,
        "SETTLED",
        "RETURNED",
    )
    assert await _night(desk, 1) == []


async def test_a_return_that_names_our_payment_as_its_reference_is_that_payments(
    desk: Desk,
) -> None:
    first, second = await _paid(desk, 1_000, 1_000)

    changed, _ = await _back(desk, _credit(reference=second.rpartition("/")[2]), gone_minor=2_000)

    assert (changed, await desk.states([first, second])) == (1, ["SETTLED", "RETURNED"])
    assert await _night(desk, 1) == []


async def test_a_return_that_names_a_lump_is_the_payment_in_it_of_its_amount(desk: Desk) -> None:
    names = (await desk.submit_all(batch([ask(100), ask(200)]))).payments
    for name in names:
        await desk.sign_by_both(name)
    await desk.gateway.work()
    batch_id = (await desk.get(names[0])).batch_id
    await take(desk, statement(entry(-300, entry_id="LUMP", batch_id=batch_id)))

    credit = _credit(200, reference="LUMP", counterparty_account="")
    changed, _ = await _back(desk, credit, gone_minor=300)

    assert (changed, await desk.states(names)) == (1, ["SETTLED", "RETURNED"])


async def test_a_return_whose_payment_was_of_another_amount_is_not_guessed_at(desk: Desk) -> None:
    names = await _paid(desk, 1_000, 900)

    changed, (left,) = await _back(desk, _credit(900, reference="D0"), gone_minor=1_900)

    assert (changed, await desk.states(names)) == (0, ["SETTLED", "SETTLED"])
    assert left["why"] == "no payment fits"


@pytest.mark.parametrize("named", [True, False], ids=["with our reference", "without"])
@pytest.mark.parametrize(("days", "state"), [(7, "RETURNED"), (8, "SETTLED")])
async def test_only_within_the_banks_window_does_a_credit_turn_a_payment(
    desk: Desk, named: bool, days: int, state: str
) -> None:
    (name,) = await _paid(desk, 1_000)
    ours = {"end_to_end_id": name.rpartition("/")[2], "return_reason": "AC04"}
    fields: dict[str, Any] = ours if named else {}

    changed, left = await _back(desk, _credit(days=days, **fields), gone_minor=1_000)

    assert (changed, await desk.state(name)) == (int(state == "RETURNED"), state)
    assert len(left) == int(state == "SETTLED")
    cases = await _night(desk, days)
    assert cases == ([("returned", "no_correction_line")] if state == "SETTLED" else [])


async def test_a_payment_of_another_fund_is_never_returned_here(desk: Desk) -> None:
    (name,) = await _paid(desk, 1_000)
    foreign = statement(_credit(), account="6222010000000002", on=TODAY + DAY)

    assert (await take(desk, foreign)).payments_changed == 0
    assert await desk.state(name) == "SETTLED"


async def test_a_return_before_its_debit_is_stated_is_found_too(desk: Desk) -> None:
    name = await desk.released()
    await desk.gateway.work()

    changed, _ = await _back(desk, _credit(), gone_minor=1_000)

    assert (changed, await desk.state(name)) == (1, "RETURNED")


@pytest.mark.parametrize(
    ("debited", "credited", "fits"),
    [
        # The National Day of 2026: closed from 1 to 7 October, Saturday 10 is worked.
        (date(2026, 9, 30), date(2026, 10, 8), True),
        (date(2026, 9, 30), date(2026, 10, 15), True),
        (date(2026, 9, 30), date(2026, 10, 16), False),
        (date(2026, 11, 20), date(2026, 11, 20), True),
        (date(2026, 11, 20), date(2026, 11, 19), False),
        # Nobody has published these years.
        (date(2090, 3, 1), date(2090, 3, 2), False),
        (date(2090, 3, 1), date(2090, 3, 1), True),
    ],
)
def test_the_window_counts_the_banks_working_days(
    debited: date, credited: date, fits: bool
) -> None:
    assert within(debited, credited, 7, CHINA) is fits


def test_a_debit_is_no_return_whatever_it_says() -> None:
    assert not is_return(_credit(-5, return_reason="AC04"))
