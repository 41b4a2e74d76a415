"""What happened in a simulation: for people to read, and to compare two runs by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.clock import BANK_ZONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.clock import Clock


@dataclass(slots=True)
class Trace:
    """Lines in the order of what happened, each with the simulated time.

    Attributes:
        clock: the simulated time, told in the banks' zone.
        also: where else each line goes at once.
        lines: all of them so far.
    """

    clock: Clock
    also: Callable[[str], object] = lambda _: None
    lines: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """One more line."""
        line = f"{self.clock().astimezone(BANK_ZONE):%m-%d %H:%M:%S}  {text}"
        self.lines.append(line)
        self.also(line)
