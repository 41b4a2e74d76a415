"""What an estate's contract owes its owners: by when periods are disclosed, questions answered.

Seen in practice: last month's lines by the 10th; quarterly for public income; half-yearly for the
maintenance fund; a notice posted for 15 days at least. Each estate has its own, so these are rules
that two parties set. What they say of a period is what was in force on the period's last day.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gateway.domain.errors import GatewayError, Reason, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.domain.split import Share


class Cycle(StrEnum):
    """How often the book is disclosed as a whole."""

    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    HALF_YEARLY = "HALF_YEARLY"


_MONTHS: Final[Mapping[Cycle, int]] = {Cycle.MONTHLY: 1, Cycle.QUARTERLY: 3, Cycle.HALF_YEARLY: 6}
_PERIOD_ID: Final = re.compile(r"(monthly|quarterly|half-yearly)-([0-9]{4})-([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Span:
    """One period of a cycle, both ends included."""

    cycle: Cycle
    first: date
    last: date

    @property
    def period_id(self) -> str:
        """Such as ``half-yearly-2026-07``: cycle and first month."""
        return f"{self.cycle.lower().replace('_', '-')}-{self.first:%Y-%m}"


def span_from(cycle: Cycle, day: date) -> Span:
    """The period of this cycle that has the day in it."""
    months = _MONTHS[cycle]
    first = date(day.year, (day.month - 1) // months * months + 1, 1)
    end = first.month + months - 1
    return Span(cycle, first, date(first.year, end, monthrange(first.year, end)[1]))


def span_of(period_id: str) -> Span:
    """The period of an id.

    Raises:
        GatewayError: FIELD_INVALID if there is none that begins so.
    """
    match = _PERIOD_ID.fullmatch(period_id)
    if match is not None:
        cycle = Cycle(match[1].upper().replace("-", "_"))
        try:
            span = span_from(cycle, date(int(match[2]), int(match[3]), 1))
        except ValueError:
            raise _no_period() from None
        if span.period_id == period_id:
            return span
    raise _no_period()


@dataclass(frozen=True, slots=True)
class Clock:
    """When the periods of a cycle are to be disclosed.

    Attributes:
        cycle: how often.
        due_day: last day, of the month after the period, 1 to 28.
        posting_days: for how many days the notice then stands, 0 for no such rule.

    Raises:
        GatewayError: FIELD_INVALID if it is not so.
    """

    cycle: Cycle
    due_day: int
    posting_days: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.due_day <= 28:  # noqa: PLR2004 - the day that every month has
            raise invalid(Reason.FIELD_INVALID, "disclosure_rules.clocks", "due on days 1 to 28")
        if not 0 <= self.posting_days <= 366:  # noqa: PLR2004 - a year
            raise invalid(Reason.FIELD_INVALID, "disclosure_rules.clocks", "post up to 366 days")

    def due(self, span: Span) -> date:
        """The last day on which a period of this cycle is disclosed in time."""
        return (span.last + timedelta(days=1)).replace(day=self.due_day)


@dataclass(frozen=True, slots=True)
class DisclosureRules:
    """One version of what an estate owes its owners.

    Attributes:
        version: counts up from 1; 0 for what holds before any was set.
        answer_working_days: how long an answer to a question may take, 1 to 60.
        clocks: at most one for each cycle.
        itemised: categories of income that are to be told by item, not as one sum.
        share: in bills that the estate has with others; None where it has none.

    Raises:
        GatewayError: FIELD_INVALID if it is not so.
    """

    version: int = 0
    answer_working_days: int = 5
    clocks: tuple[Clock, ...] = ()
    itemised: tuple[str, ...] = ()
    share: Share | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.answer_working_days <= 60:  # noqa: PLR2004 - as said
            path = "disclosure_rules.answer_working_days"
            raise invalid(Reason.FIELD_INVALID, path, "must be 1 to 60")
        if len({clock.cycle for clock in self.clocks}) < len(self.clocks):
            path = "disclosure_rules.clocks"
            raise invalid(Reason.FIELD_INVALID, path, "must have each cycle once")


BEFORE_ANY: Final = DisclosureRules()
"""What holds for an estate that set none: questions are answered, no period is owed."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A period that is to be disclosed.

    Attributes:
        span: which.
        due: the last day to do so in time.
        posting_days: for how long the notice then stands.
    """

    span: Span
    due: date
    posting_days: int


def owed(versions: Sequence[tuple[date, DisclosureRules]], today: date) -> tuple[Owed, ...]:
    """Every period that is owed, the one that runs today included; the first due comes first.

    Args:
        versions: the rules that were in force, each with its first day, in order.
        today: the banks' day.
    """
    following = (*versions[1:], (date.max, BEFORE_ANY))
    found = (
        each
        for (start, rules), (end, _) in zip(versions, following, strict=False)
        for clock in rules.clocks
        for each in _of_clock(clock, start, end, today)
    )
    return tuple(sorted(found, key=lambda each: (each.due, each.span.period_id)))


def _of_clock(clock: Clock, start: date, end: date, today: date) -> Iterator[Owed]:
    """Periods that began by today and whose last day is in the time of one version."""
    span = span_from(clock.cycle, start)
    while span.first <= today and span.last < end:
        yield Owed(span, clock.due(span), clock.posting_days)
        span = span_from(clock.cycle, span.last + timedelta(days=1))


def _no_period() -> GatewayError:
    return invalid(Reason.FIELD_INVALID, "name", "is no period as in monthly-2026-10")
