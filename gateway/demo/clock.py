"""The demo's time: it stands still until the day's script moves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from gateway.clock import BANK_ZONE


@dataclass(slots=True)
class StageClock:
    """A clock that the script sets."""

    moment: datetime

    def __call__(self) -> datetime:
        """The script's present moment, UTC."""
        return self.moment

    def move_to(self, day: date, hour: int, minute: int = 0) -> None:
        """Sets the clock, in the banks' zone. Time never goes back.

        Raises:
            ValueError: if it would.
        """
        moment = stage_moment(day, hour, minute)
        if moment < self.moment:
            raise ValueError("the demo's time never goes back")
        self.moment = moment


def stage_moment(day: date, hour: int, minute: int = 0) -> datetime:
    """A moment of a bank's day, UTC."""
    return datetime.combine(day, time(hour, minute), BANK_ZONE).astimezone(UTC)
