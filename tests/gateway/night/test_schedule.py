"""The night runs by itself: every day once, by the banks' clock, slept through or not."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gateway import app
from gateway.clock import BANK_ZONE
from gateway.night import record
from gateway.night.schedule import Schedule, due_days
from gateway.settings import Settings
from gateway.store import GATEWAY, open_store
from gateway.store import tables as t
from reconciliation.rules import RulesError
from tests.gateway.support import TODAY

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.gateway.support import StillClock

AT = time(5, 30)
MONDAY = date(2026, 11, 23)
DAY = timedelta(days=1)


def _at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), BANK_ZONE).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "last_done", "days"),
    [
        (_at(MONDAY, 5, 29), MONDAY - 2 * DAY, ()),
        (_at(MONDAY, 5, 30), MONDAY - 2 * DAY, (MONDAY - DAY,)),
        (_at(MONDAY, 23, 59), MONDAY - DAY, ()),
        (_at(MONDAY, 6), MONDAY - 4 * DAY, (MONDAY - 3 * DAY, MONDAY - 2 * DAY, MONDAY - DAY)),
        (_at(MONDAY, 6), None, (MONDAY - DAY,)),
        (_at(MONDAY, 6), MONDAY, ()),
    ],
)
def test_a_day_is_due_the_next_morning_and_once(
    now: datetime, last_done: date | None, days: tuple[date, ...]
) -> None:
    assert due_days(now, AT, last_done) == days


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is beside
    slept=st.integers(-3, 400),
)
def test_due_days_follow_one_another_and_end_before_today(now: datetime, slept: int) -> None:
    today = now.astimezone(BANK_ZONE).date()
    days = due_days(now, AT, today - slept * DAY)
    assert len(days) <= 31
    assert all(later - earlier == DAY for earlier, later in pairwise(days))
    assert all(today - slept * DAY < day < today for day in days)


@pytest.fixture
def nights(gateway: Gateway) -> Schedule:
    """The schedule of a running gateway."""
    return Schedule(gateway.nights, AT)


async def _runs(gateway: Gateway) -> list[tuple[Any, ...]]:
    query = sa.select(t.runs.c.date, t.runs.c.state).order_by(t.runs.c.started_at, t.runs.c.date)
    async with gateway.store.transaction(GATEWAY) as conn:
        return [tuple(row) for row in await conn.execute(query)]


async def test_days_that_the_gateway_slept_through_are_made_up_for_in_order(
    gateway: Gateway, clock: StillClock, nights: Schedule
) -> None:
    clock.moment = _at(TODAY, 6)
    assert await nights.run_due() == 1
    clock.moment = _at(TODAY + 3 * DAY, 6)

    assert await nights.run_due() == 3
    assert await nights.run_due() == 0

    days = [TODAY - DAY, TODAY, TODAY + DAY, TODAY + 2 * DAY]
    assert await _runs(gateway) == [(day, "DONE") for day in days]


async def test_a_run_that_breaks_off_is_tried_again_after_a_pause(
    gateway: Gateway, clock: StillClock, nights: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.moment = _at(TODAY, 6)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.night.nightly.decide", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await nights.run_due()
    assert await nights.run_due() == 0

    clock.moment += timedelta(minutes=11)
    assert await nights.run_due() == 1

    assert await _runs(gateway) == [(TODAY - DAY, "FAILED"), (TODAY - DAY, "DONE")]


async def test_while_another_process_runs_the_night_this_one_leaves_it_alone(
    gateway: Gateway, clock: StillClock, nights: Schedule
) -> None:
    clock.moment = _at(TODAY, 6)
    async with record.only_runner(gateway.store):
        assert await nights.run_due() == 0

    assert await nights.run_due() == 1
    assert await _runs(gateway) == [(TODAY - DAY, "DONE")]


def test_a_gateway_holds_to_the_rules_of_its_settings(tmp_path: Path, clock: StillClock) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "own"\ntransit_days = 1\n')
    store = open_store("postgresql://nowhere/none")

    nights = app._nights(Settings(data_dir=tmp_path, rules=rules), store, clock)

    assert (nights.rules.version, nights.rules.transit_days) == ("own", 1)
    assert nights.directory == tmp_path / "nights"


def test_rules_that_cannot_be_used_keep_a_gateway_from_starting(
    tmp_path: Path, clock: StillClock
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("window = 3\n")
    store = open_store("postgresql://nowhere/none")

    with pytest.raises(RulesError, match=r"rules\.toml: window"):
        app._nights(Settings(data_dir=tmp_path, rules=rules), store, clock)
