"""Looks at a set-up as `xinyi doctor` does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.doctor import Finding, examine

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.settings import Settings


def real_clock() -> datetime:
    """The database's own clock cannot be moved, so these tests go by the real one."""
    return datetime.now(UTC)


async def look(settings: Settings, clock: Callable[[], datetime] = real_clock) -> list[Finding]:
    """Everything that the doctor finds."""
    url = settings.database_url
    return [finding async for finding in examine(settings, url, clock)]


async def found(
    settings: Settings, check: str, clock: Callable[[], datetime] = real_clock
) -> Finding:
    """The gravest finding of one check."""
    grave = {"ok": 0, "warn": 1, "fail": 2}
    those = [each for each in await look(settings, clock) if each.check == check]
    return max(those, key=lambda each: grave[each.verdict])
