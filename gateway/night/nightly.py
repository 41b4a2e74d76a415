"""One run, from its beginning on record to its end on record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.clock import bank_date
from gateway.domain.errors import Reason, invalid
from gateway.night import record, snapshot
from gateway.night.outcome import decide
from gateway.store import GATEWAY

if TYPE_CHECKING:
    from datetime import date

    from gateway.clock import Clock
    from gateway.night.record import Run
    from gateway.store import Store
    from reconciliation.rules import Rules


async def run(store: Store, clock: Clock, day: date, rules: Rules, run_id: str) -> Run:
    """Reconciles all funds up to the end of `day`, and answers when it is done.

    A run again adds nothing where nothing is new: matches stay, cases found again are the same. A
    run that breaks off leaves no trace but its own record, FAILED; of one whose process died the
    next run says so.

    Args:
        store: the database; the run works in the gateway's own scope.
        clock: tells when the run began and ended.
        day: entries booked and lines that count later are left alone.
        rules: what the kernel holds to.
        run_id: new, last segment of the run's resource name.

    Raises:
        GatewayError: RUN_IN_PROGRESS; FIELD_INVALID for a day that has not come yet, or before one
            that is reconciled; STORE_UNAVAILABLE if a matched row was closed otherwise meanwhile.
    """
    if day > bank_date(clock()):
        raise invalid(Reason.FIELD_INVALID, "date", "has not come yet")
    try:
        return await _run(store, clock, day, rules, run_id)
    except BaseException:
        # Also when the caller hangs up: its cancellation must not leave the record RUNNING.
        await asyncio.shield(_fail(store, clock, run_id))
        raise


async def _run(store: Store, clock: Clock, day: date, rules: Rules, run_id: str) -> Run:
    """The lock lives in the transaction that writes: gone with it, whatever happens."""
    async with store.transaction(GATEWAY) as conn:
        await record.lock(conn)
        async with store.transaction(GATEWAY) as beginning:
            version = f"{rules.version} sha256:{rules.digest()}"
            await record.begin(beginning, run_id, day, version, clock())
        async with store.snapshot(GATEWAY) as reading:
            seen = await snapshot.read(reading, day)
        # Seconds of arithmetic: in a thread, so that other calls are answered meanwhile.
        outcome = await asyncio.to_thread(decide, seen, day, rules)
        digest = await asyncio.to_thread(seen.digest, day, rules.digest())
        await record.write(conn, run_id, day, outcome, clock())
        await record.finish(conn, run_id, digest, outcome.counts, clock())
        return await record.load_run(conn, run_id)


async def _fail(store: Store, clock: Clock, run_id: str) -> None:
    async with store.transaction(GATEWAY) as conn:
        await record.fail(conn, run_id, clock())
