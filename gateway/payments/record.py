"""Reading payments and moving them from state to state, one event recorded for each move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from adapters.model import Payment
from gateway.domain.errors import not_found
from gateway.domain.payment import Event, State, advance
from gateway.ledger.holds import Purse
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

BANK: Final = "bank"
GATEWAY: Final = "gateway"
"""Actors that are no persons."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to a payment.

    Attributes:
        event: which event of the state machine.
        actor: ``parties/{party}/persons/{person}``, ``bank`` or ``gateway``.
        now: UTC.
        detail: the reason given, or the bank's code; no personal data.
    """

    event: Event
    actor: str
    now: datetime
    detail: str = ""


def payment_name(payment: Row) -> str:
    """The resource name of a payment's row."""
    return f"funds/{payment.fund_id}/payments/{payment.payment_id}"


def purse_of(payment: Row) -> Purse:
    """What the payment draws on."""
    return Purse(payment.fund_id, payment.budget_line_id, payment.book)


def bank_order(columns: Mapping[str, Any]) -> Payment:
    """A payment as the bank is told of it, from the columns of its row."""
    return Payment(
        end_to_end_id=columns["payment_id"],
        payee_name=columns["payee_name"],
        payee_account=columns["payee_account"],
        payee_bank_code=columns["payee_bank_code"],
        amount_minor=columns["amount_minor"],
        currency=columns["currency"],
        purpose=columns["purpose"],
    )


async def load(conn: AsyncConnection, fund_id: str, payment_id: str) -> Row:
    """The row of a payment.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND if there is none in the caller's scope.
    """
    query = sa.select(t.payments).where(
        t.payments.c.fund_id == fund_id, t.payments.c.payment_id == payment_id
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}/payments/{payment_id}")
    return row


async def move(
    conn: AsyncConnection,
    payment: Row,
    change: Change,
    also: Mapping[str, Any] | None = None,
) -> State:
    """Moves a payment by an event and records it; the fund must be locked.

    Args:
        conn: the transaction.
        payment: the row as it stands.
        change: what happens.
        also: other columns to set in the same step.

    Returns:
        The new state.

    Raises:
        GatewayError: STATE_FORBIDS if the state machine has no such move.
    """
    state = advance(State(payment.state), change.event, payment_name(payment))
    await conn.execute(
        t.payments.update()
        .where(
            t.payments.c.fund_id == payment.fund_id,
            t.payments.c.payment_id == payment.payment_id,
        )
        .values(state=state.value, **(also or {}))
    )
    await conn.execute(
        t.payment_events.insert(), [event_row(payment.fund_id, payment.payment_id, state, change)]
    )
    return state


async def note(conn: AsyncConnection, payment: Row, actor: str, now: datetime, detail: str) -> None:
    """Records something that leaves the payment's state as it is."""
    row = _event(payment.fund_id, payment.payment_id, payment.state)
    await conn.execute(
        t.payment_events.insert(), [row | {"actor": actor, "detail": detail, "created_at": now}]
    )


def event_row(fund_id: str, payment_id: str, state: State, change: Change) -> dict[str, Any]:
    """The row that tells watchers and the history of a change."""
    return _event(fund_id, payment_id, state.value) | {
        "actor": change.actor,
        "detail": change.detail,
        "created_at": change.now,
    }


def _event(fund_id: str, payment_id: str, state: str) -> dict[str, Any]:
    return {"fund_id": fund_id, "payment_id": payment_id, "state": state}
