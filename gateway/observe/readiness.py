"""Whether calls can be answered now, and if not, why: a list of named checks.

Alive is less than ready: a process that waits for its database is alive and must not be restarted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gateway.store import Store

PATIENCE_S: Final = 5.0
"""A check that has not answered by then has failed."""

_FRESH_S: Final = 1.0
"""So long an answer is given again, however many ask."""

LEAVING: Final = "leaving"
"""The finding of a gateway that is being stopped."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of answering calls.

    Attributes:
        name: what is looked at, a word.
        probe: says what is wrong, without personal data; empty where nothing is. What it raises is
            told by its class alone.
        services: the services that must not be called otherwise, by their full names; none for all.
    """

    name: str
    probe: Callable[[], Awaitable[str]]
    services: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        name: the check's.
        why: what is wrong; empty where nothing is.
        services: the services concerned; none for all.
    """

    name: str
    why: str
    services: frozenset[str]

    def concerns(self, service: str) -> bool:
        """Whether a service is not ready because of it; empty for the gateway as a whole."""
        return bool(self.why) and (not self.services or service in self.services)


@dataclass(slots=True)
class Readiness:
    """Looks at every check; others may add theirs before the gateway answers.

    Attributes:
        checks: the conditions of answering.
    """

    checks: list[Check] = field(default_factory=list)
    _findings: tuple[Finding, ...] = ()
    _fresh_until: float = 0.0
    _left: bool = False
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self) -> tuple[Finding, ...]:
        """What every check finds, in their order."""
        async with self._looking:
            if not self._left and monotonic() >= self._fresh_until:
                # One after the other, so that looking needs one connection, not several.
                self._findings = tuple([await _look(check) for check in self.checks])
                self._fresh_until = monotonic() + _FRESH_S
            return self._findings

    def leave(self) -> None:
        """From now on nothing is ready any more: the gateway is being stopped."""
        self._left = True
        self._findings = (Finding(LEAVING, "the gateway is being stopped", frozenset()),)


def is_ready(findings: Iterable[Finding], service: str = "") -> bool:
    """Whether a service can be called, or the gateway as a whole."""
    return not any(finding.concerns(service) for finding in findings)


def store_checks(store: Store) -> tuple[Check, Check]:
    """That the database answers, and that its schema is the one of this release."""

    async def answers() -> str:
        async with store.engine.connect() as conn:
            await conn.exec_driver_sql("SELECT 1")
        return ""

    async def fits() -> str:
        async with store.engine.connect() as conn:
            found = await schema.revision(conn)
        wanted = schema.head()
        return "" if found == wanted else f"the schema is {found or 'missing'}, not {wanted}"

    return Check("database", answers), Check("schema", fits)


async def _look(check: Check) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE_S):
            why = await check.probe()
    except Exception as error:  # noqa: BLE001 - whatever it is, the check did not pass
        why = type(error).__name__
    return Finding(check.name, why, check.services)
