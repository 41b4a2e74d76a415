"""Whole months, by which the book is summed up and printed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from gateway.domain.errors import Reason, invalid

MAX_MONTHS: Final = 120


@dataclass(frozen=True, slots=True)
class Period:
    """Whole months, both ends included.

    Attributes:
        first: first day of the first month.
        last: last day of the last month.
    """

    first: date
    last: date

    @classmethod
    def of_months(cls, first: str, last: str) -> Period:
        """The period from one month to another, written ``2026-10``.

        Raises:
            GatewayError: FIELD_INVALID.
        """
        try:
            start, end = date.fromisoformat(f"{first}-01"), date.fromisoformat(f"{last}-01")
            period = cls(start, _next_month(end) - timedelta(days=1))
        except (ValueError, OverflowError):  # the calendar has no month behind its last one
            raise invalid(Reason.FIELD_INVALID, "months", "is no month as in 2026-10") from None
        if not 0 < len(period.months()) <= MAX_MONTHS:
            message = f"must be 1 to {MAX_MONTHS} months, the first one first"
            raise invalid(Reason.FIELD_INVALID, "months", message)
        return period

    def months(self) -> tuple[date, ...]:
        """The first day of each month."""
        months, month = list[date](), self.first
        while month <= self.last and len(months) <= MAX_MONTHS:
            months.append(month)
            month = _next_month(month)
        return tuple(months)


def _next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=31)).replace(day=1)
