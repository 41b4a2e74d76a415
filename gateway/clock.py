"""Time, as a value: the demo and the tests move it, production reads the system's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]
"""Answers the present moment, in UTC."""

BANK_ZONE = ZoneInfo("Asia/Shanghai")
"""Where the banks' calendar days begin and end."""


def system_clock() -> datetime:
    """The system's present moment, UTC."""
    return datetime.now(UTC)


def bank_date(moment: datetime) -> date:
    """The banks' calendar day of a moment."""
    return moment.astimezone(BANK_ZONE).date()


def end_of(day: date) -> datetime:
    """The moment at which a day of the banks' calendar is over; behind the last day is none."""
    if day == date.max:
        return datetime.max.replace(tzinfo=BANK_ZONE)
    return datetime.combine(day + timedelta(days=1), time(), BANK_ZONE)
