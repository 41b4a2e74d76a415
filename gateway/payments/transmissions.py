"""What carries payments to a bank: recorded with the release, before anything goes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from adapters.calendar import CalendarUnknownError, first_day
from adapters.model import Batch
from gateway.domain.errors import Reason, not_found, precondition
from gateway.ids import new_id
from gateway.payments.record import bank_order
from gateway.store import bulk
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.profile import BankProfile
    from gateway.store import Row


class Stage(StrEnum):
    """How far a transmission has come."""

    QUEUED = "QUEUED"
    """To be handed over; certainly nothing has been."""
    SENDING = "SENDING"
    """An attempt is under way, or the process died in one: it goes on with the same bytes."""
    DELIVERED = "DELIVERED"
    """Handed over; the bank has not spoken of all its payments."""
    IN_DOUBT = "IN_DOUBT"
    """The bank may have it or not. It is never handed over again; the bank is asked."""
    ANSWERED = "ANSWERED"
    """The bank has spoken of all its payments."""
    STUCK = "STUCK"
    """Refused at the door, nothing was taken: a person mends the cause and retries."""
    BY_HAND = "BY_HAND"
    """A person says that they handed it over; a second one has to confirm."""
    SUPERSEDED = "SUPERSEDED"
    """Nothing of it was ever handed over, or it is known to be lost: another one took its place."""


def day_for(payments: Sequence[Row], profile: BankProfile, now: datetime) -> date:
    """The first day on which the bank will take all these payments.

    Raises:
        GatewayError: BANK_CLOSED if no such day is known; the gateway does not guess holidays.
    """
    orders = tuple(bank_order(payment._asdict()) for payment in payments)
    try:
        return first_day(orders, profile.calendar, profile.windows, now)
    except (CalendarUnknownError, ValueError) as unknown:
        subject = f"funds/{payments[0].fund_id}"
        raise precondition(Reason.BANK_CLOSED, subject, str(unknown)) from None


@dataclass(frozen=True, slots=True)
class Queued:
    """Payments of one account that go to the bank in one file, on its day."""

    transmission_id: str
    payments: Sequence[Row]
    execution_date: date


def queue(files: Sequence[Queued], now: datetime) -> tuple[bulk.Change, bulk.Change]:
    """The outbox: what is released is recorded for the bank in the same transaction.

    Returns:
        What is to be written.
    """
    rows = [
        {
            "fund_id": file.payments[0].fund_id,
            "transmission_id": file.transmission_id,
            "account_id": file.payments[0].account_id,
            "batch_id": file.payments[0].batch_id or file.payments[0].payment_id,
            "state": Stage.QUEUED.value,
            "payment_count": len(file.payments),
            "amount_minor": sum(payment.amount_minor for payment in file.payments),
            "execution_date": file.execution_date,
            "created_at": now,
        }
        for file in files
    ]
    carried = [
        {
            "fund_id": payment.fund_id,
            "transmission_id": file.transmission_id,
            "payment_id": payment.payment_id,
        }
        for file in files
        for payment in file.payments
    ]
    return (
        bulk.insertion(t.transmissions, rows),
        bulk.insertion(t.transmission_payments, carried),
    )


async def replace(
    conn: AsyncConnection, lost: Row, payments: Sequence[Row], execution_date: date, now: datetime
) -> str:
    """Puts payments onto a new transmission, under the same references; the fund must be locked.

    Args:
        conn: the transaction.
        lost: the transmission that carries them; of which nothing reached the bank.
        payments: those of it that go on; the rest stays with it.
        execution_date: the bank's day for them.
        now: UTC.

    Returns:
        The new transmission's id.
    """
    transmission_id = new_id("m", now)
    await bulk.write(conn, *queue((Queued(transmission_id, payments, execution_date),), now))
    await conn.execute(
        t.payments.update()
        .where(
            t.payments.c.fund_id == lost.fund_id,
            t.payments.c.payment_id.in_([payment.payment_id for payment in payments]),
        )
        .values(transmission_id=transmission_id)
    )
    return transmission_id


async def find(conn: AsyncConnection, transmission_id: str) -> Row | None:
    """A transmission by its id, which is also the message id of its file; None if none is."""
    query = sa.select(t.transmissions).where(t.transmissions.c.transmission_id == transmission_id)
    return (await conn.execute(query)).one_or_none()


async def load(conn: AsyncConnection, transmission_id: str) -> Row:
    """As `find`.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND if there is none in the caller's scope.
    """
    row = await find(conn, transmission_id)
    if row is None:
        raise not_found(f"transmissions/{transmission_id}")
    return row


async def mark(conn: AsyncConnection, transmission: Row, **values: Any) -> None:  # noqa: ANN401 - columns
    """Sets columns of a transmission."""
    table = t.transmissions
    await conn.execute(
        table.update()
        .where(
            table.c.fund_id == transmission.fund_id,
            table.c.transmission_id == transmission.transmission_id,
        )
        .values(values)
    )


async def payments_of(conn: AsyncConnection, transmission: Row) -> Sequence[Row]:
    """The payments that a transmission carries, in the order of its file."""
    carried = t.transmission_payments
    query = (
        sa.select(t.payments)
        .join(
            carried,
            (carried.c.fund_id == t.payments.c.fund_id)
            & (carried.c.payment_id == t.payments.c.payment_id),
        )
        .where(
            carried.c.fund_id == transmission.fund_id,
            carried.c.transmission_id == transmission.transmission_id,
        )
        .order_by(t.payments.c.payment_id)
    )
    return (await conn.execute(query)).all()


async def account_of(conn: AsyncConnection, transmission: Row) -> Row:
    """The account that pays."""
    accounts = t.bank_accounts
    query = sa.select(accounts).where(
        accounts.c.fund_id == transmission.fund_id,
        accounts.c.account_id == transmission.account_id,
    )
    return (await conn.execute(query)).one()


async def load_batch(conn: AsyncConnection, transmission: Row) -> Batch:
    """What a transmission says to the bank: the same each time it is asked for."""
    account = await account_of(conn, transmission)
    payments = await payments_of(conn, transmission)
    return Batch(
        message_id=transmission.transmission_id,
        batch_id=transmission.batch_id,
        debtor_name=account.holder_name,
        debtor_account=account.account_number,
        debtor_bank_code=account.bank_code,
        created_at=transmission.created_at.replace(microsecond=0),
        execution_date=transmission.execution_date,
        payments=tuple(bank_order(payment._asdict()) for payment in payments),
        batch_booking=len(payments) > 1,
    )
