"""Money that came back (退票): which payment it was, and whether it came back in time.

Success is not final: a bank may return what it paid, days later, often without our reference. A
payment is turned only where one alone fits; anything else stays open for the night and a person.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from adapters.calendar import CalendarUnknownError, is_working_day
from gateway.domain.payment import State
from gateway.store import tables as t
from reconciliation.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.calendar import Calendar
    from adapters.model import Entry
    from adapters.profile import BankProfile
    from gateway.store import Row

log = structlog.get_logger(__name__)

_RULES: Final = Rules()
"""The night's words, so that both call the same entry a return."""

_AT_BANK: Final = (State.SENT, State.UNKNOWN, State.ACCEPTED, State.SETTLED)
"""States of a payment that the bank may have paid and that has not come back."""

_DAY: Final = timedelta(days=1)
_LONGEST_CLOSURE: Final = timedelta(days=30)
"""Calendar days that holidays and weekends may add to twice the working days of a window."""


def _expression() -> re.Pattern[str]:
    """The night's words; a Latin word only whole: nothing returns in a `returnee`."""
    edged = [
        rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word)
        for word in _RULES.return_words
    ]
    return re.compile("|".join(edged), re.IGNORECASE | re.ASCII)


_SAYS_SO: Final = _expression()


def stated(text: str) -> str:
    """An id or a reference; empty where the bank only says that there is none."""
    said = text.strip()
    return "" if said.upper() in _RULES.empty_ids else said


def is_return(entry: Entry) -> bool:
    """Whether a credit is money of ours that came back: by the bank's flag, or in its words."""
    says_so = _SAYS_SO.search(f"{entry.text} {entry.reference}") is not None
    return entry.amount_minor > 0 and (entry.reversal or bool(entry.return_reason) or says_so)


def within(debited: date, credited: date, working_days: int, calendar: Calendar) -> bool:
    """Whether a credit came at most so many working days after its debit.

    Beyond the years whose working days are published it did not: a person decides.
    """
    if credited < debited:
        return False
    try:
        return _worked(debited, credited, working_days, calendar) <= working_days
    except CalendarUnknownError:
        return False


def _worked(debited: date, credited: date, most: int, calendar: Calendar) -> int:
    """Working days after one day up to another; it stops counting behind the most."""
    count, day = 0, debited
    while day < credited and count <= most:
        day += _DAY
        count += is_working_day(day, calendar)
    return count


async def returned_by(
    conn: AsyncConnection, payment: Row, bank_entry_id: str, entry: Entry, profile: BankProfile
) -> bool:
    """Whether a credit that names a payment brings it back in time; logged if not.

    A payment that never went out has no day to count from: the state machine refuses its return.
    """
    (found,) = await _dated(conn, t.payments.c.payment_id == payment.payment_id, entry)
    if found.debited_on is None or _in_time(found.debited_on, entry, profile):
        return True
    _log_left(payment.fund_id, bank_entry_id, "outside the bank's window", [payment])
    return False


async def returned_payment(
    conn: AsyncConnection, account: Row, bank_entry_id: str, entry: Entry, profile: BankProfile
) -> Row | None:
    """The one payment that a credit without our reference brings back; None if none alone fits.

    By the original debit, where the entry names it; else by amount and payee.
    """
    named = await _by_reference(conn, account, entry, profile)
    found = await _by_payee(conn, account, entry) if named is None else named
    fitting = [
        each for each in found if each.debited_on and _in_time(each.debited_on, entry, profile)
    ]
    if len(fitting) == 1:
        return fitting[0]
    why = "several payments fit" if fitting else "no payment fits"
    _log_left(account.fund_id, bank_entry_id, why, fitting)
    return None


def _in_time(debited: date, entry: Entry, profile: BankProfile) -> bool:
    days = profile.return_window_working_days
    return within(debited, entry.booking_date, days, profile.calendar)


def _log_left(fund_id: str, bank_entry_id: str, why: str, payments: Sequence[Row]) -> None:
    log.warning(
        "return_left_open",
        entry=f"funds/{fund_id}/bankEntries/{bank_entry_id}",
        why=why,
        payments=[each.payment_id for each in payments],
    )


# --- candidates -------------------------------------------------------------------------------


async def _by_reference(
    conn: AsyncConnection, account: Row, entry: Entry, profile: BankProfile
) -> Sequence[Row] | None:
    """Payments of the debit that the entry names; None if it names none of ours."""
    reference = stated(entry.reference)
    if not reference:
        return None
    debits = await _debits(conn, account, entry, profile, reference)
    names = {reference, *filter(None, (stated(debit.end_to_end_id) for debit in debits))}
    batches = {stated(debit.batch_id) for debit in debits if not stated(debit.end_to_end_id)} - {""}
    own = t.payments.c.payment_id.in_(names)
    lump = t.payments.c.transmission_id.in_(
        sa.select(t.transmissions.c.transmission_id).where(
            t.transmissions.c.fund_id == account.fund_id, t.transmissions.c.batch_id.in_(batches)
        )
    )
    of_debit = _of_account(account) & (own | lump)
    if not (await conn.execute(sa.select(t.payments.c.payment_id).where(of_debit))).first():
        return None
    return await _dated(conn, of_debit & _returnable(entry), entry)


async def _debits(
    conn: AsyncConnection, account: Row, entry: Entry, profile: BankProfile, reference: str
) -> Sequence[Row]:
    """The account's debits under this serial or reference, of the days that may come back."""
    e = t.bank_entries.c
    span = timedelta(days=2 * profile.return_window_working_days) + _LONGEST_CLOSURE
    query = sa.select(e.end_to_end_id, e.batch_id).where(
        e.fund_id == account.fund_id,
        e.account_id == account.account_id,
        e.booking_date.between(entry.booking_date - span, entry.booking_date),
        e.amount_minor < 0,
        sa.or_(e.entry_id == reference, e.reference == reference),
    )
    return (await conn.execute(query)).all()


async def _by_payee(conn: AsyncConnection, account: Row, entry: Entry) -> Sequence[Row]:
    """Payments to the account that the entry comes from, or by name where it tells no account."""
    p = t.payments.c
    if entry.counterparty_account:
        payee = p.payee_account == entry.counterparty_account
    elif entry.counterparty_name:
        payee = p.payee_name == entry.counterparty_name
    else:
        return ()
    return await _dated(conn, _of_account(account) & _returnable(entry) & payee, entry)


def _of_account(account: Row) -> sa.ColumnElement[bool]:
    p = t.payments.c
    return sa.and_(p.fund_id == account.fund_id, p.account_id == account.account_id)


def _returnable(entry: Entry) -> sa.ColumnElement[bool]:
    p = t.payments.c
    return sa.and_(p.amount_minor == entry.amount_minor, p.state.in_(_AT_BANK))


async def _dated(
    conn: AsyncConnection, condition: sa.ColumnElement[bool], entry: Entry
) -> Sequence[Row]:
    """Payments with `debited_on`: the day of the bank's last debit so far, else of the line."""
    p, e, lines = t.payments.c, t.bank_entries.c, t.disclosed_lines
    debited = (
        sa.select(sa.func.max(e.booking_date))
        .where(
            e.fund_id == p.fund_id,
            e.account_id == p.account_id,
            e.booking_date.between(lines.c.effective_date, entry.booking_date),
            e.end_to_end_id == p.payment_id,
            e.amount_minor == -p.amount_minor,
        )
        .correlate(t.payments, lines)
        .scalar_subquery()
    )
    query = (
        sa.select(t.payments, sa.func.coalesce(debited, lines.c.effective_date).label("debited_on"))
        .outerjoin(lines, (lines.c.fund_id == p.fund_id) & (lines.c.line_number == p.line_number))
        .where(condition)
        .order_by(p.payment_id)
    )
    return (await conn.execute(query)).all()
