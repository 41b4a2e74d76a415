"""What the bank made of a payment. Only the bank decides; a contradiction is kept for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gateway.clock import bank_date
from gateway.domain.payment import TRANSITIONS, Event, State, absorbs
from gateway.ledger.holds import unspend
from gateway.ledger.writer import LineDraft, post_line, void_line
from gateway.payments.record import GATEWAY, Change, load, move, purse_of

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Credit:
    """The entry on which a payment came back: the bank's day, and its reference or empty."""

    day: date
    reference: str


async def apply(
    conn: AsyncConnection, payment: Row, change: Change, credit: Credit | None = None
) -> bool:
    """Applies news of the bank; the fund must be locked.

    Args:
        conn: the transaction.
        payment: the row as it stands.
        change: ACCEPT, SETTLE, REJECT or RETURN, with the bank's code as detail.
        credit: of a RETURN, the entry that brought it; its line can then be told from others.

    Returns:
        Whether the payment changed. Late and repeated news change nothing, and news that the state
        machine forbids change nothing either: they are logged, and the bank entry behind them
        stays open for reconciliation.
    """
    payment = await _sent(conn, payment, change)
    payment = await _paid(conn, payment, change)
    state = State(payment.state)
    if absorbs(state, change.event):
        return False
    if (state, change.event) not in TRANSITIONS:
        log.warning(
            "bank_contradicts",
            payment=payment.payment_id,
            state=state.value,
            news=change.event.value,
        )
        return False
    also = {}
    if change.event in (Event.REJECT, Event.RETURN):
        also = {"reversal_line_number": await _take_back(conn, payment, change, credit)}
    await move(conn, payment, change, also)
    return True


async def lose_track(conn: AsyncConnection, payment: Row, change: Change) -> bool:
    """No answer, or none that can be read: it may have been paid; the fund must be locked.

    Args:
        conn: the transaction.
        payment: the row as it stands.
        change: LOSE_TRACK, with the reason as detail.

    Returns:
        Whether the payment is UNKNOWN now and was not before.
    """
    payment = await _sent(conn, payment, change)
    if State(payment.state) is not State.SENT:
        return False
    await move(conn, payment, change)
    return True


async def _sent(conn: AsyncConnection, payment: Row, change: Change) -> Row:
    """The bank knows it, so it was sent, even if the sender died before it could record so."""
    if State(payment.state) is not State.RELEASED:
        return payment
    await move(conn, payment, Change(Event.SEND, GATEWAY, change.now))
    return await load(conn, payment.fund_id, payment.payment_id)


async def _paid(conn: AsyncConnection, payment: Row, change: Change) -> Row:
    """What comes back had gone out, even if its debit stood in a lump or is still to be stated."""
    if change.event is not Event.RETURN or (State(payment.state), Event.SETTLE) not in TRANSITIONS:
        return payment
    await move(conn, payment, Change(Event.SETTLE, change.actor, change.now, "returned"))
    return await load(conn, payment.fund_id, payment.payment_id)


async def _take_back(
    conn: AsyncConnection, payment: Row, change: Change, credit: Credit | None
) -> int:
    """The 红字 line; a rejected payment never reaches the bank, a returned one comes back on it."""
    rejected = change.event is Event.REJECT
    word = "银行拒绝" if rejected else "退票"
    draft = LineDraft(
        account_id=payment.account_id,
        book=payment.book,
        category=payment.category,
        summary=f"{word}: {payment.purpose}",
        amount_minor=payment.amount_minor,
        effective_date=credit.day if credit else bank_date(change.now),
        reference=credit.reference if credit else "",
        payment_id=payment.payment_id,
        batch_id=payment.batch_id or payment.payment_id,
        counterparty_name=payment.payee_name,
        counterparty_account=payment.payee_account,
        vouchers=tuple(payment.vouchers),
        corrects=payment.line_number,
        correction_reason=f"{word} {change.detail}".strip(),
    )
    await unspend(conn, purse_of(payment), payment.amount_minor)
    write = void_line if rejected else post_line
    return (await write(conn, payment.fund_id, draft, change.now)).line_number
