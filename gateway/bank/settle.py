"""What booked entries say of payments: debits that settle them, credits that bring them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.bank.returns import is_return, returned_by, returned_payment, stated
from gateway.domain.payment import Event, State
from gateway.payments.outcome import Credit, apply
from gateway.payments.record import BANK, Change
from gateway.payments.transmissions import payments_of
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.model import Entry
    from adapters.reach import Banks
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Booked:
    """An entry of a statement and the id under which it was kept."""

    bank_entry_id: str
    entry: Entry


async def settle(
    conn: AsyncConnection, account: Row, booked: Sequence[Booked], banks: Banks, now: datetime
) -> int:
    """Tells payments what new entries of an account say of them; the fund must be locked.

    Returns:
        How many payments changed their state.
    """
    changed = 0
    for each in booked:
        payment = await _named(conn, account, stated(each.entry.end_to_end_id))
        if payment is not None:
            changed += await _settle_named(conn, account, payment, each, banks, now)
        elif not stated(each.entry.end_to_end_id):
            changed += await _settle_unnamed(conn, account, each, banks, now)
    return changed


async def _named(conn: AsyncConnection, account: Row, payment_id: str) -> Row | None:
    """The fund's payment of this id; none for the sender's own reference on a receipt."""
    if not payment_id:
        return None
    query = sa.select(t.payments).where(
        t.payments.c.fund_id == account.fund_id, t.payments.c.payment_id == payment_id
    )
    return (await conn.execute(query)).one_or_none()


async def _settle_named(
    conn: AsyncConnection,
    account: Row,
    payment: Row,
    booked: Booked,
    banks: Banks,
    now: datetime,
) -> bool:
    """A debit of exactly the amount settles the payment, a credit of it returns it (退票)."""
    entry = booked.entry
    if abs(entry.amount_minor) != payment.amount_minor:
        return False  # reconciliation names it: amount_differs
    if entry.amount_minor < 0:
        return await apply(conn, payment, Change(Event.SETTLE, BANK, now, "statement"))
    profile = banks.profile(account.profile_id)
    if not await returned_by(conn, payment, booked.bank_entry_id, entry, profile):
        return False
    return await _take_back(conn, payment, entry, now)


async def _settle_unnamed(
    conn: AsyncConnection, account: Row, booked: Booked, banks: Banks, now: datetime
) -> int:
    entry = booked.entry
    if is_return(entry):
        profile = banks.profile(account.profile_id)
        payment = await returned_payment(conn, account, booked.bank_entry_id, entry, profile)
        return int(payment is not None and await _take_back(conn, payment, entry, now))
    if stated(entry.batch_id):
        return await _settle_batch(conn, account, entry, now)
    return 0


async def _take_back(conn: AsyncConnection, payment: Row, entry: Entry, now: datetime) -> bool:
    change = Change(Event.RETURN, BANK, now, entry.return_reason or "statement")
    credit = Credit(entry.booking_date, stated(entry.reference))
    return await apply(conn, payment, change, credit)


async def _settle_batch(conn: AsyncConnection, account: Row, entry: Entry, now: datetime) -> int:
    """One debit for a whole batch: it settles the payments if their sum is exactly the entry."""
    payments = await _batch_at_bank(conn, account.fund_id, entry.batch_id)
    if sum(payment.amount_minor for payment in payments) != -entry.amount_minor:
        return 0
    change = Change(Event.SETTLE, BANK, now, "statement, one debit for the batch")
    return sum([await apply(conn, payment, change) for payment in payments])


async def _batch_at_bank(conn: AsyncConnection, fund_id: str, batch_id: str) -> Iterable[Row]:
    sent = t.transmissions
    query = sa.select(sent).where(sent.c.fund_id == fund_id, sent.c.batch_id == batch_id)
    found = {}
    for transmission in await conn.execute(query):
        for payment in await payments_of(conn, transmission):
            if State(payment.state) is not State.REJECTED:
                found[payment.payment_id] = payment
    return found.values()
