"""Asking a bank what became of a file: by our own references, across days, until it has decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from adapters.connection import NotSentError, OutcomeUnknownError, RefusedError
from gateway.domain.payment import State, in_flight
from gateway.ids import new_id
from gateway.ledger.writer import lock_fund
from gateway.payments.answers import apply_report, missing_in
from gateway.payments.transmissions import account_of, load, load_batch, mark, payments_of
from gateway.store import GATEWAY as EVERYTHING
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.connection import BankConnection
    from adapters.model import Batch, StatusReport
    from adapters.profile import Channel
    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.store import Row, Store

_AT_ONCE: Final = 100
_DAILY: Final = timedelta(days=1)
_AFTER_FAILURE: Final = timedelta(minutes=1)
"""So long one that cannot be asked waits, so that those behind it have their turn."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a bank: recorded, not yet asked."""

    inquiry_id: str
    transmission: Row
    connection: BankConnection
    batch: Batch


@dataclass(frozen=True, slots=True)
class Inquirer:
    """Asks the banks that can be asked.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: how each bank is reached, and how often it may be asked.
    """

    store: Store
    clock: Clock
    banks: Banks

    async def ask_all(self) -> int:
        """Asks what is due; returns how many payments changed. One that fails holds up no other."""
        changed = 0
        for transmission_id in await self._due():
            try:
                changed += await self._ask(transmission_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                why = type(error).__name__
                log.error("inquiry_failed", transmission=transmission_id, error=why)  # noqa: TRY400 - the message may repeat personal data
                await self._postpone(transmission_id)
        return changed

    async def _postpone(self, transmission_id: str) -> None:
        """Else what always fails, a key that expired, would fill every round."""
        now, table = self.clock(), t.transmissions
        due = table.c.transmission_id == transmission_id, table.c.next_inquiry_at <= now
        later = table.update().where(*due).values(next_inquiry_at=now + _AFTER_FAILURE)
        async with self.store.transaction(EVERYTHING) as conn:
            await conn.execute(later)

    async def _due(self) -> Sequence[str]:
        table = t.transmissions
        query = (
            sa.select(table.c.transmission_id)
            .where(table.c.next_inquiry_at <= self.clock())
            .order_by(table.c.next_inquiry_at)
            .limit(_AT_ONCE)
        )
        async with self.store.transaction(EVERYTHING) as conn:
            return (await conn.execute(query)).scalars().all()

    async def _ask(self, transmission_id: str) -> int:
        async with self.store.transaction(EVERYTHING) as conn:
            question = await self._begin(conn, transmission_id)
        if question is None:
            return 0
        asked = question.connection.query(question.batch, question.inquiry_id, self.clock())
        try:
            report = await asked
        except (NotSentError, RefusedError, OutcomeUnknownError) as lost:
            # A question that was lost decides nothing, and its number is never used again.
            await self._record(question, None, type(lost).__name__)
            return 0
        return await self._record(question, report, "")

    async def _begin(self, conn: AsyncConnection, transmission_id: str) -> Question | None:
        """Records the question and when the next one is due; None once all is decided."""
        transmission = await load(conn, transmission_id)
        await lock_fund(conn, transmission.fund_id)
        transmission = await load(conn, transmission_id)  # as it is behind the lock
        now = self.clock()
        if transmission.next_inquiry_at is None or transmission.next_inquiry_at > now:
            return None
        account = await account_of(conn, transmission)
        channel = self.banks.profile(account.profile_id).channel
        if channel is None or not await _is_open(conn, transmission):
            await mark(conn, transmission, next_inquiry_at=None)
            return None
        asked_count = await _count(conn, transmission)
        await mark(conn, transmission, next_inquiry_at=now + _pause(asked_count, channel))
        inquiry_id = new_id("q", now)
        row = {
            "fund_id": transmission.fund_id,
            "inquiry_id": inquiry_id,
            "transmission_id": transmission_id,
            "asked_at": now,
        }
        await conn.execute(t.inquiries.insert(), [row])
        connection = self.banks.connection(account.profile_id)
        return Question(inquiry_id, transmission, connection, await load_batch(conn, transmission))

    async def _record(self, question: Question, report: StatusReport | None, error: str) -> int:
        """The answer with what it changes; a question of which nothing came back stays open."""
        now, changed, missing = self.clock(), 0, list[str]()
        transmission = question.transmission
        async with self.store.transaction(EVERYTHING) as conn:
            await lock_fund(conn, transmission.fund_id)
            if report is not None:
                carried = [payment.payment_id for payment in await payments_of(conn, transmission)]
                missing = missing_in(report, carried)
                profile = question.connection.profile
                changed = await apply_report(conn, transmission, report, profile, now)
            table = t.inquiries
            await conn.execute(
                table.update()
                .where(
                    table.c.fund_id == transmission.fund_id,
                    table.c.inquiry_id == question.inquiry_id,
                )
                .values(
                    answered_at=now if report is not None else None, missing=missing, error=error
                )
            )
        return changed


def _pause(asked_count: int, channel: Channel) -> timedelta:
    """Often while an answer is near, as the bank's profile allows, then once a day."""
    if asked_count < channel.poll_maximum_count:
        return timedelta(seconds=channel.poll_interval_s)
    return _DAILY


async def _is_open(conn: AsyncConnection, transmission: Row) -> bool:
    """Whether the bank has still to say how a payment of it ended."""
    payments = await payments_of(conn, transmission)
    return any(
        in_flight(State(payment.state)) and payment.transmission_id == transmission.transmission_id
        for payment in payments
    )


async def _count(conn: AsyncConnection, transmission: Row) -> int:
    table = t.inquiries
    query = sa.select(sa.func.count()).where(
        table.c.fund_id == transmission.fund_id,
        table.c.transmission_id == transmission.transmission_id,
    )
    return int(await conn.scalar(query) or 0)
