"""When the nightly run is due: by the banks' clock, every day once, slept through or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from gateway.clock import BANK_ZONE
from gateway.domain.errors import GatewayError, Reason
from gateway.ids import new_id
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import date, datetime, time

    from gateway.night.nightly import Nights

_DAY: Final = timedelta(days=1)
_MOST_DAYS: Final = 31
"""Days that are made up for after a gateway slept; older ones are proved by the first of them."""
_PAUSE: Final = timedelta(minutes=10)
"""After a run that broke off."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Runs the night by itself; a person may run it too, at any time.

    Attributes:
        nights: what runs it.
        at: from this hour on, on the banks' wall clock, the day before is reconciled.
    """

    nights: Nights
    at: time

    async def run_due(self) -> int:
        """Reconciles each day that is due and not reconciled, the oldest first.

        Returns:
            How many runs were done. One that breaks off is tried again after a pause; while another
            process runs the night, nothing is done here.
        """
        done = 0
        for day in due_days(self.nights.clock(), self.at, await self._last_done()):
            if await self._broke_off_lately() or not await self._run(day):
                break
            done += 1
        return done

    async def _run(self, day: date) -> bool:
        try:
            await self.nights.run(day, new_id("run-", self.nights.clock()))
        except GatewayError as refusal:
            if refusal.reason is not Reason.RUN_IN_PROGRESS:
                raise
            return False
        log.info("night_done", date=day.isoformat())
        return True

    async def _last_done(self) -> date | None:
        query = sa.select(sa.func.max(t.runs.c.date)).where(t.runs.c.state == "DONE")
        async with self.nights.store.transaction(GATEWAY) as conn:
            last: date | None = await conn.scalar(query)
        return last

    async def _broke_off_lately(self) -> bool:
        since = self.nights.clock() - _PAUSE
        query = sa.select(t.runs.c.run_id).where(
            t.runs.c.state == "FAILED", t.runs.c.ended_at > since
        )
        async with self.nights.store.transaction(GATEWAY) as conn:
            return await conn.scalar(query.limit(1)) is not None


def due_days(now: datetime, at: time, last_done: date | None) -> tuple[date, ...]:
    """The days that should be reconciled by now and are not, the oldest first.

    Args:
        now: UTC.
        at: the hour of the night's run, on the banks' wall clock.
        last_done: the last day reconciled; without one only the last due day is.
    """
    local = now.astimezone(BANK_ZONE)
    last_due = local.date() - _DAY * (1 if local.time() >= at else 2)
    missing = 1 if last_done is None else (last_due - last_done).days
    count = max(0, min(missing, _MOST_DAYS))
    return tuple(last_due - _DAY * back for back in reversed(range(count)))
