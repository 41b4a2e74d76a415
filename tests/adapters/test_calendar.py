from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.calendar import (
    Calendar,
    CalendarUnknownError,
    ClearingWindow,
    add_working_days,
    closed_at,
    first_day,
    is_working_day,
    local,
    next_working_day,
    timing_violations,
)
from adapters.model import Batch
from tests.adapters.samples import batch, payment

CHINA = Calendar(working_days="china")
SMALL = ClearingWindow(name="small", up_to_minor=5_000_000, working_days_only=False)
LARGE = ClearingWindow(name="large", cut_off=time(17, 15))
MONDAY = date(2026, 3, 2)
MORNING = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)  # 10:00 in China


def codes(
    one: Batch, at: datetime = MORNING, windows: tuple[ClearingWindow, ...] = (SMALL, LARGE)
) -> list[str]:
    return [finding.code for finding in timing_violations(one, CHINA, windows, 30, at)]


def large(day: date) -> Batch:
    return replace(batch(payment(amount_minor=5_000_001)), execution_date=day)


# Published notices of the State Council: Spring Festival and National Day 2024, 2025, Labour 2026.
@pytest.mark.parametrize(
    ("day", "works"),
    [
        (date(2024, 2, 4), True),  # a Sunday made up for
        (date(2024, 2, 12), False),
        (date(2024, 9, 29), True),
        (date(2025, 1, 26), True),
        (date(2025, 1, 28), False),
        (date(2025, 9, 28), True),
        (date(2025, 10, 8), False),
        (date(2025, 6, 14), False),
        (date(2025, 6, 16), True),
    ],
)
def test_published_holidays_and_make_up_days_are_known(day: date, works: bool) -> None:
    assert is_working_day(day, CHINA) is works


def test_a_year_that_is_not_published_is_refused_and_never_guessed() -> None:
    with pytest.raises(CalendarUnknownError) as refused:
        is_working_day(date(2099, 1, 5), CHINA)
    assert refused.value.day == date(2099, 1, 5)
    with pytest.raises(CalendarUnknownError):
        add_working_days(date(2098, 12, 1), 3, CHINA)


def test_a_banks_own_days_win_over_the_rule_in_unknown_years_too() -> None:
    own = Calendar(
        working_days="china",
        extra_holidays=(MONDAY,),
        extra_workdays=(date(2026, 3, 1), date(2099, 1, 5)),
    )
    assert not is_working_day(MONDAY, own)
    assert is_working_day(date(2026, 3, 1), own)
    assert is_working_day(date(2099, 1, 5), own)


@pytest.mark.parametrize(
    "settings",
    [
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../etc/passwd"},
        {"extra_holidays": (MONDAY,), "extra_workdays": (MONDAY,)},
        {"holidays": ()},
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calendar.model_validate(settings)


def test_seven_working_days_over_the_spring_festival() -> None:
    # 28 January to 4 February 2025 are holidays, 26 January and 8 February are worked.
    assert add_working_days(date(2025, 1, 24), 7, CHINA) == date(2025, 2, 10)


@given(st.dates(date(2005, 1, 1), date(2025, 6, 1)), st.integers(0, 20))
def test_adding_days_counts_exactly_the_working_days_between(day: date, count: int) -> None:
    after = add_working_days(day, count, CHINA)
    between = [day + timedelta(days=n) for n in range(1, (after - day).days + 1)]
    assert sum(is_working_day(one, CHINA) for one in between) == count


@given(st.dates(date(2005, 1, 1), date(2025, 11, 1)))
def test_the_next_working_day_is_worked_and_none_was_passed_over(day: date) -> None:
    found = next_working_day(day, CHINA)
    assert is_working_day(found, CHINA)
    passed = [day + timedelta(days=n) for n in range((found - day).days)]
    assert not any(is_working_day(one, CHINA) for one in passed)


def test_a_bank_that_never_works_is_an_error_not_an_endless_search() -> None:
    closed = Calendar(extra_holidays=tuple(MONDAY + timedelta(days=n) for n in range(100)))
    with pytest.raises(ValueError, match="no working day"):
        next_working_day(MONDAY, closed)


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        local(datetime(2026, 3, 2), CHINA)  # noqa: DTZ001 - the point of the test


def test_the_day_is_that_of_the_banks_wall_clock() -> None:
    late_utc = datetime(2026, 3, 2, 16, 30, tzinfo=UTC)  # 3 March 00:30 in China
    assert codes(replace(batch(), execution_date=MONDAY), late_utc) == ["execution_date_past"]


@pytest.mark.parametrize(
    ("one", "at", "expected"),
    [
        (large(MONDAY), MORNING, []),
        (large(MONDAY), datetime(2026, 3, 2, 9, 14, 59, tzinfo=UTC), []),
        (large(MONDAY), datetime(2026, 3, 2, 9, 15, tzinfo=UTC), ["cut_off_passed"]),
        (large(date(2026, 3, 3)), datetime(2026, 3, 2, 9, 15, tzinfo=UTC), []),
        (large(date(2026, 3, 7)), MORNING, ["day_not_working"]),
        (large(date(2026, 2, 27)), MORNING, ["execution_date_past"]),
        (large(date(2026, 4, 2)), MORNING, ["execution_date_too_far"]),
        (replace(batch(), execution_date=date(2026, 3, 7)), MORNING, []),
    ],
)
def test_cut_off_and_day_depend_on_the_window_of_the_amount(
    one: Batch, at: datetime, expected: list[str]
) -> None:
    assert codes(one, at) == expected


def test_an_unknown_year_stops_what_needs_a_working_day_and_only_that() -> None:
    at = datetime(2099, 1, 5, 2, 0, tzinfo=UTC)
    assert codes(large(date(2099, 1, 5)), at) == ["calendar_unknown"]
    assert codes(replace(batch(), execution_date=date(2099, 1, 5)), at) == []


def test_an_amount_above_every_window_is_named() -> None:
    assert codes(large(MONDAY), windows=(SMALL,)) == ["amount_above_windows"]


def test_a_bank_without_windows_takes_payments_at_any_time() -> None:
    assert codes(large(date(2026, 3, 7)), windows=()) == []


@pytest.mark.parametrize(
    ("amount_minor", "at", "expected"),
    [
        (5_000_001, MORNING, MONDAY),
        (5_000_001, datetime(2026, 3, 2, 9, 15, tzinfo=UTC), date(2026, 3, 3)),
        (5_000_001, datetime(2026, 3, 6, 9, 15, tzinfo=UTC), date(2026, 3, 9)),
        (5_000_001, datetime(2026, 3, 7, 2, 0, tzinfo=UTC), date(2026, 3, 9)),
        (5_000_001, datetime(2026, 9, 30, 10, 0, tzinfo=UTC), date(2026, 10, 8)),
        (5_000_000, datetime(2026, 3, 7, 2, 0, tzinfo=UTC), date(2026, 3, 7)),
    ],
)
def test_the_first_day_is_the_one_on_which_the_bank_still_takes_it(
    amount_minor: int, at: datetime, expected: date
) -> None:
    one = payment(amount_minor=amount_minor)
    assert first_day((one,), CHINA, (SMALL, LARGE), at) == expected


@given(
    amounts=st.lists(st.integers(1, 10_000_000), min_size=1, max_size=3),
    at=st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 20), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is beside
)
def test_on_the_first_day_the_bank_would_refuse_nothing(amounts: list[int], at: datetime) -> None:
    orders = tuple(payment(f"P{n}", amount_minor=each) for n, each in enumerate(amounts))
    day = first_day(orders, CHINA, (SMALL, LARGE), at)
    assert codes(replace(batch(*orders), execution_date=day), at) == []


def test_no_day_is_guessed_in_a_year_that_is_not_published() -> None:
    with pytest.raises(CalendarUnknownError):
        first_day(
            (payment(amount_minor=5_000_001),),
            CHINA,
            (SMALL, LARGE),
            datetime(2099, 1, 5, tzinfo=UTC),
        )


def test_no_day_takes_an_amount_above_every_window() -> None:
    with pytest.raises(ValueError, match="above every"):
        first_day((payment(amount_minor=5_000_001),), CHINA, (SMALL,), MORNING)


def test_a_day_is_closed_at_its_cut_off_or_at_midnight_of_the_bank() -> None:
    windows = (SMALL, LARGE)
    assert closed_at(5_000_001, MONDAY, CHINA, windows) == datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
    assert closed_at(1, MONDAY, CHINA, windows) == datetime(2026, 3, 2, 16, tzinfo=UTC)
    assert closed_at(1, MONDAY, CHINA, ()) == datetime(2026, 3, 2, 16, tzinfo=UTC)
