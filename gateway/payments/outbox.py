"""The sender: hands to the banks what was recorded for them, always under the same reference.

The attempt is recorded before the file is written. A crash in between writes the same bytes under
the same name again; the bank knows the message id and pays once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog
import tenacity

from adapters.formats import pain001
from adapters.model import Batch
from adapters.profile import load_profile
from adapters.transports.directory import deliver
from gateway.domain.payment import Event, State
from gateway.ledger.writer import lock_fund
from gateway.payments.record import GATEWAY, Change, bank_order, move
from gateway.payments.release import QUEUED
from gateway.store import GATEWAY as EVERYTHING
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.store import Row, Store

DELIVERED: Final = "DELIVERED"

_BATCH_OF_TRANSMISSIONS: Final = 100
_ATTEMPTS: Final = 4
_LONGEST_PAUSE_S: Final = 2

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sender:
    """Hands queued transmissions to the banks' directories.

    Attributes:
        store: the database.
        clock: the present moment.
        banks_dir: a directory a bank profile, with ``out`` and ``audit``.
        answer_due: how long the bank may take to answer.
    """

    store: Store
    clock: Clock
    banks_dir: Path
    answer_due: timedelta

    async def send_all(self) -> int:
        """Hands over what is queued; returns how many files. One that fails stays queued."""
        sent = 0
        for fund_id, transmission_id in await self._queued():
            try:
                sent += await self._send(fund_id, transmission_id)
            except Exception as error:  # noqa: BLE001 - one that fails holds up no other
                await self._note_failure(fund_id, transmission_id, error)
        return sent

    async def _queued(self) -> Sequence[Row]:
        query = (
            sa.select(t.transmissions.c.fund_id, t.transmissions.c.transmission_id)
            .where(t.transmissions.c.state == QUEUED)
            # What failed before goes last, so that it never fills the whole round.
            .order_by(t.transmissions.c.attempt_count, t.transmissions.c.transmission_id)
            .limit(_BATCH_OF_TRANSMISSIONS)
        )
        async with self.store.transaction(EVERYTHING) as conn:
            return (await conn.execute(query)).all()

    async def _send(self, fund_id: str, transmission_id: str) -> bool:
        """Hands one over; False if another process has done so since it was read."""
        async with self.store.transaction(EVERYTHING) as conn:
            if not await _count_attempt(conn, fund_id, transmission_id):
                return False
            profile_id, batch = await load_batch(conn, fund_id, transmission_id)
        content = pain001.render(batch, load_profile(profile_id))
        folder = self.banks_dir / profile_id
        async for attempt in tenacity.AsyncRetrying(
            # A name taken by other bytes stays taken: that is for a person to look at.
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=_LONGEST_PAUSE_S),
            reraise=True,
        ):
            with attempt:
                name = f"{transmission_id}.xml"
                await asyncio.to_thread(deliver, content, name, folder / "out", folder / "audit")
        await self._record_delivery(fund_id, transmission_id, content)
        return True

    async def _record_delivery(self, fund_id: str, transmission_id: str, content: bytes) -> None:
        now = self.clock()
        async with self.store.transaction(EVERYTHING) as conn:
            await lock_fund(conn, fund_id)
            for payment in await payments_of(conn, fund_id, transmission_id):
                if State(payment.state) is State.RELEASED:
                    await move(conn, payment, Change(Event.SEND, GATEWAY, now))
            await conn.execute(
                _update(fund_id, transmission_id)
                .where(t.transmissions.c.state == QUEUED)
                .values(
                    state=DELIVERED,
                    file_sha256=sha256(content).hexdigest(),
                    delivered_at=now,
                    answer_due_at=now + self.answer_due,
                    last_error="",
                )
            )
        log.info("transmission_delivered", transmission=transmission_id, fund=fund_id)

    async def _note_failure(self, fund_id: str, transmission_id: str, error: Exception) -> None:
        reason = type(error).__name__
        async with self.store.transaction(EVERYTHING) as conn:
            await conn.execute(_update(fund_id, transmission_id).values(last_error=reason))
        log.error("transmission_not_delivered", transmission=transmission_id, error=reason)


async def load_batch(
    conn: AsyncConnection, fund_id: str, transmission_id: str
) -> tuple[str, Batch]:
    """The bank profile and the content of a transmission: the same each time it is asked for."""
    table, accounts = t.transmissions, t.bank_accounts
    query = (
        sa.select(
            table,
            accounts.c.account_number,
            accounts.c.holder_name,
            accounts.c.bank_code,
            accounts.c.profile_id,
        )
        .join(
            accounts,
            (accounts.c.fund_id == table.c.fund_id) & (accounts.c.account_id == table.c.account_id),
        )
        .where(table.c.fund_id == fund_id, table.c.transmission_id == transmission_id)
    )
    row = (await conn.execute(query)).one()
    payments = await payments_of(conn, fund_id, transmission_id)
    return row.profile_id, Batch(
        message_id=transmission_id,
        batch_id=row.batch_id,
        debtor_name=row.holder_name,
        debtor_account=row.account_number,
        debtor_bank_code=row.bank_code,
        created_at=row.created_at.replace(microsecond=0),
        execution_date=row.execution_date,
        payments=tuple(bank_order(payment._asdict()) for payment in payments),
        batch_booking=len(payments) > 1,
    )


async def payments_of(conn: AsyncConnection, fund_id: str, transmission_id: str) -> Sequence[Row]:
    """The payments that a transmission carries, in the order of its file."""
    query = (
        sa.select(t.payments)
        .where(t.payments.c.fund_id == fund_id, t.payments.c.transmission_id == transmission_id)
        .order_by(t.payments.c.payment_id)
    )
    return (await conn.execute(query)).all()


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(error, FileExistsError)


def _update(fund_id: str, transmission_id: str) -> sa.Update:
    return t.transmissions.update().where(
        t.transmissions.c.fund_id == fund_id, t.transmissions.c.transmission_id == transmission_id
    )


async def _count_attempt(conn: AsyncConnection, fund_id: str, transmission_id: str) -> bool:
    """Recorded before anything goes out; False if it is no longer queued."""
    attempts = t.transmissions.c.attempt_count + 1
    counted = await conn.execute(
        _update(fund_id, transmission_id)
        .where(t.transmissions.c.state == QUEUED)
        .values(attempt_count=attempts)
    )
    return counted.rowcount == 1
