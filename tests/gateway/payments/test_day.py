"""On which day a bank is asked to pay: one on which it works, before its cut-off, never a guess."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from adapters.formats import pain001
from adapters.reach import Banks
from adapters.transports import directory
from gateway.payments.transmissions import day_for
from tests.gateway.payments.desk import ACCOUNT, FUND, ask
from tests.gateway.support import CHAIR, CHECKER, OPENING_MINOR, TODAY, refusal

if TYPE_CHECKING:
    from tests.gateway.payments.desk import Bank, Desk

DAY = timedelta(days=1)
WAGES = f"{FUND}/budgetLines/wages"
# 16:30 on the Wednesday before National Day 2026: the bank works on until 17:00, then on 8 October.
BEFORE_THE_HOLIDAY = datetime(2026, 9, 30, 8, 30, tzinfo=UTC)


async def _full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def _no_write(*_: Any) -> None:
    raise OSError(28, "No space left on device")


async def test_what_missed_its_day_goes_out_for_another_day_under_its_own_reference(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await desk.released()
    first = await desk.transmission(name)
    with monkeypatch.context() as patched:
        patched.setattr(directory, "_write", _no_write)
        await desk.gateway.work()

    desk.clock.moment += DAY
    await desk.gateway.work()

    second = await desk.transmission(name)
    assert second.transmission_id != first.transmission_id
    assert (first.execution_date, second.execution_date) == (TODAY, TODAY + DAY)
    (path,) = (bank.folder / "out").iterdir()
    (payment,) = pain001.parse(path.read_bytes()).payments
    assert payment.end_to_end_id == name.rpartition("/")[2]
    bank.take()
    bank.bring()
    await desk.gateway.work()
    assert await desk.state(name) == "SETTLED"
    assert bank.simulated.balance_minor(ACCOUNT) == OPENING_MINOR - 1_000


async def test_what_a_process_died_with_keeps_its_day_and_its_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether the bank has it, so nothing else may take its place."""
    name = await desk.released()
    first = await desk.transmission(name)
    with monkeypatch.context() as patched:
        patched.setattr(desk.gateway.sender.__class__, "_record_delivery", _full_disk)
        await desk.gateway.work()

    desk.clock.moment += DAY
    await desk.gateway.work()

    assert (await desk.transmission(name)).transmission_id == first.transmission_id
    assert await desk.state(name) == "SENT"


class TestAtABankThatKeepsChineseWorkingDays:
    """Its account writes CIB's file, with a window for large amounts until 17:00."""

    @pytest.fixture
    async def database_url(self, database_url: str) -> str:
        owner = await asyncpg.connect(database_url)
        await owner.execute("UPDATE bank_accounts SET profile_id = 'cib-batch'")
        await owner.close()
        return database_url

    async def test_a_large_payment_released_at_night_is_for_the_next_working_day(
        self, desk: Desk
    ) -> None:
        desk.clock.moment = datetime(TODAY.year, TODAY.month, TODAY.day, 13, tzinfo=UTC)
        name = await desk.released(6_000_000, budget_line=WAGES)

        row = await desk.transmission(name)

        assert row.execution_date.isoweekday() <= 5
        assert row.execution_date > TODAY

    async def test_when_no_holidays_of_the_next_year_are_published_nothing_large_is_released(
        self, desk: Desk
    ) -> None:
        desk.clock.moment = datetime(2026, 12, 31, 13, tzinfo=UTC)
        name = (await desk.submit(ask(6_000_000, budget_line=WAGES))).name
        await desk.sign(name, CHAIR)

        assert (await refusal(desk.sign(name, CHECKER))).reason == "BANK_CLOSED"
        assert await desk.state(name) == "PARTLY_SIGNED"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (BEFORE_THE_HOLIDAY, date(2026, 9, 30)),
        (BEFORE_THE_HOLIDAY + timedelta(hours=1), date(2026, 10, 8)),
    ],
)
async def test_a_holiday_is_no_day_for_a_large_payment(
    desk: Desk, moment: datetime, expected: date
) -> None:
    name = await desk.released(6_000_000, budget_line=WAGES)
    payments = await desk.rows(desk.payment_row(name))

    assert (
        day_for(payments, Banks(desk.gateway.sender.banks.root).profile("cib-batch"), moment)
        == expected
    )
