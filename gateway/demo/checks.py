"""What the demo must show: each expectation is written down with what was seen."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that had to happen.

    Attributes:
        what: in words.
        held: whether it did.
        seen: what was seen.
    """

    what: str
    held: bool
    seen: str


@dataclass(slots=True)
class Expectations:
    """All of them, in order."""

    items: list[Expectation] = field(default_factory=list)

    def equal(self, what: str, seen: object, wanted: object) -> None:
        """Holds if what was seen is what was wanted."""
        text = str(seen) if seen == wanted else f"{seen}, wanted {wanted}"
        self.items.append(Expectation(what, seen == wanted, text))

    def at_least(self, what: str, seen: int, wanted: int) -> None:
        """Holds if there were at least so many."""
        self.items.append(Expectation(what, seen >= wanted, f"{seen} (at least {wanted})"))

    @property
    def all_held(self) -> bool:
        """Whether every one of them held, and there were some."""
        return bool(self.items) and all(item.held for item in self.items)
