"""By when a period is disclosed: the first and the last day, under whichever rules held."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.duties import Clock, Cycle, DisclosureRules, owed, span_from, span_of
from gateway.domain.errors import GatewayError, Reason

MONTHLY = Clock(Cycle.MONTHLY, 10)
DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))


def _rules(*clocks: Clock) -> DisclosureRules:
    return DisclosureRules(1, clocks=clocks)


@pytest.mark.parametrize(
    ("cycle", "day", "period_id", "last"),
    [
        (Cycle.MONTHLY, date(2028, 2, 29), "monthly-2028-02", date(2028, 2, 29)),
        (Cycle.QUARTERLY, date(2026, 12, 31), "quarterly-2026-10", date(2026, 12, 31)),
        (Cycle.HALF_YEARLY, date(2026, 6, 30), "half-yearly-2026-01", date(2026, 6, 30)),
        (Cycle.HALF_YEARLY, date(2026, 7, 1), "half-yearly-2026-07", date(2026, 12, 31)),
    ],
)
def test_a_day_is_in_one_period_of_each_cycle(
    cycle: Cycle, day: date, period_id: str, last: date
) -> None:
    span = span_from(cycle, day)
    assert (span.period_id, span.last) == (period_id, last)
    assert span_of(period_id) == span


@given(st.sampled_from(Cycle), DAYS)
def test_periods_of_a_cycle_follow_each_other_without_gap(cycle: Cycle, day: date) -> None:
    span = span_from(cycle, day)
    assert span.first <= day <= span.last
    assert span_from(cycle, span.last + timedelta(days=1)).first == span.last + timedelta(days=1)


@pytest.mark.parametrize(
    "period_id",
    [
        "",
        "monthly-2026-13",
        "quarterly-2026-11",
        "half-yearly-2026-04",
        "weekly-2026-01",
        "monthly-0000-01",
    ],
)
def test_what_begins_no_period_is_none(period_id: str) -> None:
    with pytest.raises(GatewayError) as refused:
        span_of(period_id)
    assert refused.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize(
    ("clock", "period_id", "due"),
    [
        (Clock(Cycle.MONTHLY, 10), "monthly-2026-12", date(2027, 1, 10)),
        (Clock(Cycle.QUARTERLY, 28), "quarterly-2026-10", date(2027, 1, 28)),
        (Clock(Cycle.HALF_YEARLY, 1), "half-yearly-2026-01", date(2026, 7, 1)),
    ],
)
def test_a_period_is_due_in_the_month_behind_it(clock: Clock, period_id: str, due: date) -> None:
    assert clock.due(span_of(period_id)) == due


def test_a_period_is_owed_from_the_day_the_rules_came_and_shown_while_it_runs() -> None:
    rules = [(date(2026, 10, 20), _rules(MONTHLY))]
    ids = [each.span.period_id for each in owed(rules, date(2026, 12, 1))]
    assert ids == ["monthly-2026-10", "monthly-2026-11", "monthly-2026-12"]
    assert owed(rules, date(2026, 10, 20))[0].due == date(2026, 11, 10)


def test_without_rules_nothing_is_owed() -> None:
    assert owed((), date(2026, 12, 1)) == ()


def test_a_period_is_owed_under_the_rules_of_its_last_day() -> None:
    later = Clock(Cycle.MONTHLY, 15, posting_days=15)
    rules = [(date(2026, 9, 1), _rules(MONTHLY)), (date(2026, 10, 31), _rules(later))]
    found = {each.span.period_id: each for each in owed(rules, date(2026, 11, 2))}
    assert found["monthly-2026-09"].due == date(2026, 10, 10)
    assert (found["monthly-2026-10"].due, found["monthly-2026-10"].posting_days) == (
        date(2026, 11, 15),
        15,
    )


def test_rules_that_want_no_clock_any_more_end_what_is_owed() -> None:
    rules = [(date(2026, 9, 1), _rules(MONTHLY)), (date(2026, 10, 5), _rules())]
    assert [each.span.period_id for each in owed(rules, date(2026, 12, 1))] == ["monthly-2026-09"]


@given(st.lists(DAYS, min_size=1, max_size=4, unique=True), DAYS)
def test_however_often_rules_change_no_period_is_owed_twice(days: list[date], today: date) -> None:
    versions = [(day, _rules(MONTHLY, Clock(Cycle.QUARTERLY, 15))) for day in sorted(days)]
    ids = [each.span.period_id for each in owed(versions, today)]
    assert len(ids) == len(set(ids))
    since_first = owed(versions[:1], today)
    assert ids == [each.span.period_id for each in since_first]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Clock(Cycle.MONTHLY, 0),
        lambda: Clock(Cycle.MONTHLY, 29),
        lambda: Clock(Cycle.MONTHLY, 10, 367),
        lambda: _rules(MONTHLY, Clock(Cycle.MONTHLY, 12)),
        lambda: DisclosureRules(answer_working_days=0),
        lambda: DisclosureRules(answer_working_days=61),
    ],
)
def test_rules_that_cannot_be_held_to_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(GatewayError) as refused:
        make()
    assert refused.value.reason is Reason.FIELD_INVALID
