"""When a bank works: Chinese working days with 调休, a bank's own exceptions, cut-offs.

The days come from `chinesecalendar`, which carries the State Council's yearly notices. A year it
does not know is refused, never guessed: the make-up workdays are decided only in autumn.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import chinese_calendar  # type: ignore[import-untyped] # it carries no types
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.model import Batch, Finding, Payment, error

_SATURDAY: Final = 5
_LONGEST_CLOSURE_DAYS: Final = 60
"""No bank closes for longer; a search beyond it means that the settings are wrong."""
_MOST_EXCEPTIONS: Final = 400


class CalendarUnknownError(LookupError):
    """Nobody has published whether the bank works on this day.

    Attributes:
        day: The first day that is not known.
    """

    def __init__(self, day: date) -> None:
        super().__init__(f"the working days of {day.year} are not known")
        self.day = day


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Days = Annotated[tuple[date, ...], Field(max_length=_MOST_EXCEPTIONS)]


class Calendar(_Frozen):
    """On which days a bank works, in its own time zone."""

    working_days: Literal["every_day", "weekdays", "china"] = "every_day"
    """`china` is Monday to Friday with the published holidays and make-up workdays."""
    time_zone: str = "Asia/Shanghai"
    extra_holidays: _Days = ()
    """Days on which this bank does not work, whatever the rule says."""
    extra_workdays: _Days = ()
    """Days on which this bank works, whatever the rule says, years not yet published included."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError) as wrong:
            raise ValueError("no time zone of the IANA database") from wrong
        return name

    @model_validator(mode="after")
    def _no_day_twice(self) -> "Calendar":
        if both := set(self.extra_holidays) & set(self.extra_workdays):
            raise ValueError(f"{min(both)} is both an extra holiday and an extra workday")
        return self


class ClearingWindow(_Frozen):
    """Until when a bank takes payments up to an amount, for example 大额 until 17:15."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    up_to_minor: Annotated[int, Field(strict=True, gt=0)] | None = None
    """The largest amount, included; None is any amount."""
    working_days_only: bool = True
    cut_off: time | None = None
    """The bank's own wall clock, without a zone; None is the whole day."""

    @field_validator("cut_off")
    @classmethod
    def _without_zone(cls, at: time | None) -> time | None:
        if at is not None and at.tzinfo is not None:
            raise ValueError("a cut-off is local time of the bank, without an offset")
        return at


def is_working_day(day: date, calendar: Calendar) -> bool:
    """Whether the bank works on a day.

    Raises:
        CalendarUnknownError: The year is not published and no exception names the day.
    """
    if day in calendar.extra_holidays:
        return False
    if day in calendar.extra_workdays:
        return True
    if calendar.working_days == "china":
        return _is_chinese_workday(day)
    return calendar.working_days == "every_day" or day.weekday() < _SATURDAY


def _is_chinese_workday(day: date) -> bool:
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError as unknown:
        raise CalendarUnknownError(day) from unknown


def add_working_days(day: date, count: int, calendar: Calendar) -> date:
    """The day that lies `count` working days after a day; the day itself is not counted.

    Args:
        day: Any day, working or not.
        count: Zero or more; zero gives the day itself.
        calendar: The bank's.

    Raises:
        CalendarUnknownError: The way leads through a day that nobody has published.
        ValueError: `count` is negative, or the bank would be closed for two months.
    """
    if count < 0:
        raise ValueError("count is negative")
    for _ in range(count):
        day = next_working_day(day + timedelta(days=1), calendar)
    return day


def next_working_day(day: date, calendar: Calendar) -> date:
    """The day itself if the bank works on it, else the first one after it on which it does.

    Raises:
        CalendarUnknownError: The search meets a day that nobody has published.
        ValueError: The bank would be closed for two months.
    """
    for offset in range(_LONGEST_CLOSURE_DAYS):
        candidate = day + timedelta(days=offset)
        if is_working_day(candidate, calendar):
            return candidate
    raise ValueError(f"no working day within {_LONGEST_CLOSURE_DAYS} days")


def local(at: datetime, calendar: Calendar) -> datetime:
    """A moment on the bank's wall clock.

    Raises:
        ValueError: The moment has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("a moment needs its zone")
    return at.astimezone(UTC).astimezone(ZoneInfo(calendar.time_zone))


def timing_violations(
    batch: Batch,
    calendar: Calendar,
    windows: tuple[ClearingWindow, ...],
    advance_maximum_days: int,
    at: datetime,
) -> tuple[Finding, ...]:
    """What the bank would refuse in a batch because of when it is sent and to be executed.

    Args:
        batch: The batch.
        calendar: The bank's working days.
        windows: By amount, smallest first; none means that the bank takes payments at any time.
        advance_maximum_days: How many days ahead an order may lie.
        at: When it would be sent, aware.
    """
    now = local(at, calendar)
    ahead_days = (batch.execution_date - now.date()).days
    if ahead_days < 0:
        message = f"execution_date {batch.execution_date} is past at the bank"
        return (error("execution_date_past", message, "batch"),)
    if ahead_days > advance_maximum_days:
        message = f"execution_date is {ahead_days} days ahead, {advance_maximum_days} allowed"
        return (error("execution_date_too_far", message, "batch"),)
    if not windows:
        return ()
    working = _known(batch.execution_date, calendar)
    clock = now.time() if ahead_days == 0 else None
    return tuple(
        finding
        for number, payment in enumerate(batch.payments, 1)
        for finding in _window_violations(payment, windows, working, clock, f"payment {number}")
    )


def first_day(
    payments: tuple[Payment, ...],
    calendar: Calendar,
    windows: tuple[ClearingWindow, ...],
    at: datetime,
) -> date:
    """The first day, from this moment on, on which the bank takes all these payments.

    Raises:
        CalendarUnknownError: The search meets a day that nobody has published.
        ValueError: No day takes them: an amount above every window, or a bank closed for months.
    """
    now = local(at, calendar)
    needed = [window_of(payment.amount_minor, windows) for payment in payments if windows]
    if None in needed:
        raise ValueError("an amount is above every clearing window")
    known = [window for window in needed if window is not None]
    missed = any(one.cut_off is not None and now.time() >= one.cut_off for one in known)
    day = now.date() + timedelta(days=int(missed))
    working = any(one.working_days_only for one in known)
    return next_working_day(day, calendar) if working else day


def closed_at(
    amount_minor: int, day: date, calendar: Calendar, windows: tuple[ClearingWindow, ...]
) -> datetime:
    """When the bank stops taking payments of an amount for a day: its cut-off, or midnight."""
    window = window_of(amount_minor, windows)
    zone = ZoneInfo(calendar.time_zone)
    if window is None or window.cut_off is None:
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
    return datetime.combine(day, window.cut_off, tzinfo=zone)


def _known(day: date, calendar: Calendar) -> bool | None:
    try:
        return is_working_day(day, calendar)
    except CalendarUnknownError:
        return None


def window_of(amount_minor: int, windows: tuple[ClearingWindow, ...]) -> ClearingWindow | None:
    """The first window that takes an amount."""
    fitting = (one for one in windows if one.up_to_minor is None or amount_minor <= one.up_to_minor)
    return next(fitting, None)


def _window_violations(
    payment: Payment,
    windows: tuple[ClearingWindow, ...],
    working: bool | None,
    clock: time | None,
    here: str,
) -> Iterator[Finding]:
    window = window_of(payment.amount_minor, windows)
    if window is None:
        yield error("amount_above_windows", "amount_minor is above every clearing window", here)
        return
    if window.working_days_only and working is None:
        message = f"execution_date is of a year whose working days are not known to {window.name}"
        yield error("calendar_unknown", message, here)
    elif window.working_days_only and not working:
        message = f"execution_date is no working day, {window.name} needs one"
        yield error("day_not_working", message, here)
    if clock is not None and window.cut_off is not None and clock >= window.cut_off:
        message = f"execution_date is today and {window.name} closed at {window.cut_off:%H:%M}"
        yield error("cut_off_passed", message, here)
