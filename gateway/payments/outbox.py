"""The sender: hands to the banks what was recorded for them, always under the same reference.

The attempt is recorded before anything goes out. Three things can happen on the way, and they are
never mixed: nothing was handed over (try again, later), the other side refused at the door (a
person looks), or nobody knows (never again: the bank is asked what became of it).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from adapters.connection import NotSentError, OutcomeUnknownError, RefusedError
from adapters.transports.directory import NameTakenError, NotPlacedError
from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.domain.payment import Event, State
from gateway.ledger.writer import lock_fund
from gateway.payments.answers import apply_report
from gateway.payments.outcome import lose_track
from gateway.payments.record import GATEWAY, Change, move, note
from gateway.payments.transmissions import (
    Stage,
    account_of,
    day_for,
    load,
    load_batch,
    mark,
    payments_of,
    replace,
)
from gateway.store import GATEWAY as EVERYTHING
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.connection import BankConnection, Outbound, Submitted
    from adapters.model import Finding
    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.store import Row, Store

_BATCH_OF_TRANSMISSIONS: Final = 100
_FIRST_PAUSE: Final = timedelta(seconds=2)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
_LEASE: Final = timedelta(minutes=10)
"""No other process goes on with an attempt before this; handing a file over takes less."""
_TOO_EARLY: Final = frozenset({"execution_date_too_far"})
_DAY_MISSED: Final = frozenset({"execution_date_past", "cut_off_passed", "day_not_working"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One hand-over: recorded as an attempt, not yet made."""

    transmission: Row
    connection: BankConnection
    outbound: Outbound


@dataclass(frozen=True, slots=True)
class Sender:
    """Hands queued transmissions to the banks.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: how each bank is reached, and what it wants.
        answer_due: how long the bank may take to answer.
        secure: anchors what is on record; nothing is handed over before.
    """

    store: Store
    clock: Clock
    banks: Banks
    answer_due: timedelta
    secure: Callable[[], Awaitable[None]]

    async def send_all(self) -> int:
        """Hands over what is due; returns how many files. One that fails holds up no other."""
        sent = 0
        for transmission_id in await self._due():
            try:
                sent += await self._send(transmission_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                # It stays as it is: the next round goes on with the same bytes.
                await self._later(transmission_id, error)
        return sent

    async def _due(self) -> Sequence[str]:
        """Those that wait longest first, so that what always fails fills no round after round."""
        table = t.transmissions
        due_at = sa.func.coalesce(table.c.next_attempt_at, table.c.created_at)
        query = (
            sa.select(table.c.transmission_id)
            .where(table.c.state.in_((Stage.QUEUED, Stage.SENDING)), due_at <= self.clock())
            .order_by(due_at, table.c.transmission_id)
            .limit(_BATCH_OF_TRANSMISSIONS)
        )
        async with self.store.transaction(EVERYTHING) as conn:
            return (await conn.execute(query)).scalars().all()

    async def _send(self, transmission_id: str) -> bool:
        """Hands one over; False if there is nothing to hand over now, or it did not work."""
        async with self.store.transaction(EVERYTHING) as conn:
            job = await self._begin(conn, transmission_id)
        if job is None:
            return False
        await self.secure()
        try:
            submitted = await job.connection.submit(job.outbound, self.clock())
        except (NotSentError, NotPlacedError) as error:
            await self._later(transmission_id, error, Stage.QUEUED)
        except (RefusedError, NameTakenError) as error:
            await self._later(transmission_id, error, Stage.STUCK)
        except OutcomeUnknownError as error:
            await self._record_doubt(job, error)
        else:
            await self._record_delivery(job, submitted)
            return True
        return False

    async def _begin(self, conn: AsyncConnection, transmission_id: str) -> Job | None:
        """Records the attempt, or what there is to do instead."""
        transmission = await load(conn, transmission_id)
        await lock_fund(conn, transmission.fund_id)
        transmission = await load(conn, transmission_id)  # as it is behind the lock
        if not self._is_due(transmission):
            return None
        account = await account_of(conn, transmission)
        connection = self.banks.connection(account.profile_id)
        batch = await load_batch(conn, transmission)
        if await _is_overtaken(conn, transmission):
            await self._let_be(conn, transmission, connection.render(batch))
            return None
        findings = connection.validate(batch, self.clock())
        if transmission.state == Stage.QUEUED and findings:
            moved = await self._hold_back(conn, transmission, findings)
            return await self._begin(conn, moved) if moved else None
        outbound = connection.render(batch)
        await mark(
            conn,
            transmission,
            state=Stage.SENDING,
            file_name=outbound.name,
            file_sha256=outbound.sha256,
            attempt_count=transmission.attempt_count + 1,
            next_attempt_at=self.clock() + _LEASE,
        )
        await self._audit(conn, Deed.FILE_SENDING, transmission, outbound)
        return Job(transmission, connection, outbound)

    async def _audit(
        self, conn: AsyncConnection, deed: Deed, transmission: Row, outbound: Outbound
    ) -> None:
        name = f"funds/{transmission.fund_id}/transmissions/{transmission.transmission_id}"
        await append(conn, [by_gateway(deed, self.clock(), name, digest=outbound.sha256)])

    def _is_due(self, transmission: Row) -> bool:
        due_at = transmission.next_attempt_at or transmission.created_at
        waiting = transmission.state in {Stage.QUEUED, Stage.SENDING}
        return waiting and due_at <= self.clock()

    async def _let_be(self, conn: AsyncConnection, transmission: Row, outbound: Outbound) -> None:
        """The bank has spoken of its payments meanwhile: nothing more is handed over."""
        if transmission.state == Stage.QUEUED:
            await mark(conn, transmission, state=Stage.SUPERSEDED)
            return
        # The process died while handing it over, and the bank's word proves that it arrived.
        now = self.clock()
        await record_delivery(conn, transmission, outbound.name, outbound.sha256, now)

    async def _hold_back(
        self, conn: AsyncConnection, transmission: Row, findings: Sequence[Finding]
    ) -> str:
        """What the bank would refuse now: it waits, gets another day, or a person looks.

        Returns:
            The id of the transmission that took its place for another day, or empty.
        """
        codes = {finding.code for finding in findings}
        told = ", ".join(sorted(codes))
        log.warning("transmission_held_back", transmission=transmission.transmission_id, why=told)
        if codes <= _DAY_MISSED:
            return await self._move_to_another_day(conn, transmission)
        if codes <= _TOO_EARLY:
            due_at = self.clock() + _LONGEST_PAUSE
            await mark(conn, transmission, last_error=told, next_attempt_at=due_at)
        else:
            await mark(conn, transmission, last_error=told, state=Stage.STUCK)
        return ""

    async def _move_to_another_day(self, conn: AsyncConnection, transmission: Row) -> str:
        """Nothing of it was handed over, so another file with another day may take its place."""
        now = self.clock()
        account = await account_of(conn, transmission)
        payments = await payments_of(conn, transmission)
        day = day_for(payments, self.banks.profile(account.profile_id), now)
        await mark(conn, transmission, state=Stage.SUPERSEDED)
        return await replace(conn, transmission, payments, day, now)

    async def _record_delivery(self, job: Job, submitted: Submitted) -> None:
        now = self.clock()
        async with self.store.transaction(EVERYTHING) as conn:
            await lock_fund(conn, job.transmission.fund_id)
            await record_delivery(conn, job.transmission, submitted.name, submitted.sha256, now)
            await self._audit(conn, Deed.FILE_SENT, job.transmission, job.outbound)
            profile = job.connection.profile
            await mark(
                conn,
                job.transmission,
                answer_due_at=now + self.answer_due,
                next_inquiry_at=next_inquiry(profile.channel is not None, now),
            )
            if submitted.report is not None:
                await apply_report(conn, job.transmission, submitted.report, profile, now)
        log.info("transmission_delivered", transmission=job.transmission.transmission_id)

    async def _record_doubt(self, job: Job, error: Exception) -> None:
        """The bank may have it: from here on it is asked, and nothing goes out again."""
        now, told = self.clock(), "it may have reached the bank or not"
        name, digest = job.outbound.name, job.outbound.sha256
        async with self.store.transaction(EVERYTHING) as conn:
            await lock_fund(conn, job.transmission.fund_id)
            await _name_carrier(conn, job.transmission, name, digest, now)
            await self._audit(conn, Deed.FILE_IN_DOUBT, job.transmission, job.outbound)
            for payment in await payments_of(conn, job.transmission):
                await lose_track(conn, payment, Change(Event.LOSE_TRACK, GATEWAY, now, told))
            await mark(
                conn,
                job.transmission,
                state=Stage.IN_DOUBT,
                last_error=type(error).__name__,
                next_inquiry_at=next_inquiry(job.connection.profile.channel is not None, now),
            )
        log.error("transmission_in_doubt", transmission=job.transmission.transmission_id)

    async def _later(
        self, transmission_id: str, error: Exception, stage: Stage | None = None
    ) -> None:
        """Notes why it did not work; the pause before the next attempt doubles each time."""
        async with self.store.transaction(EVERYTHING) as conn:
            transmission = await load(conn, transmission_id)
            doublings = max(transmission.attempt_count - 1, 0)
            pause = min(_FIRST_PAUSE * 2 ** min(doublings, 10), _LONGEST_PAUSE)
            await mark(
                conn,
                transmission,
                state=stage or transmission.state,
                last_error=type(error).__name__,
                next_attempt_at=self.clock() + pause,
            )
        reason = type(error).__name__
        log.error("transmission_not_delivered", transmission=transmission_id, error=reason)


async def record_delivery(
    conn: AsyncConnection, transmission: Row, file_name: str, sha256: str, now: datetime
) -> None:
    """Says of a transmission, and of each payment in it, that this file carries it to the bank."""
    await _name_carrier(conn, transmission, file_name, sha256, now)
    await mark(
        conn,
        transmission,
        state=Stage.DELIVERED,
        delivered_at=now,
        last_error="",
        next_attempt_at=None,
    )


async def _name_carrier(
    conn: AsyncConnection, transmission: Row, file_name: str, sha256: str, now: datetime
) -> None:
    """The history of each payment names the file, also where the bank's word was here before."""
    carrier = f"{file_name} sha256:{sha256}"
    for payment in await payments_of(conn, transmission):
        if State(payment.state) is State.RELEASED:
            await move(conn, payment, Change(Event.SEND, GATEWAY, now, carrier))
        else:
            await note(conn, payment, GATEWAY, now, carrier)
    await mark(conn, transmission, file_name=file_name, file_sha256=sha256)


def next_inquiry(asked: bool, now: datetime) -> datetime | None:
    """When a bank is asked for the first time: at once, if it can be asked at all."""
    return now if asked else None


async def _is_overtaken(conn: AsyncConnection, transmission: Row) -> bool:
    states = {State(payment.state) for payment in await payments_of(conn, transmission)}
    return states != {State.RELEASED}
