"""A group of orders decided one after the other in memory, and written together.

What is refused leaves no trace in what the others are decided on, so that it needs no savepoint
and harms nobody. The same decisions hold for an order that comes alone: a group of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gateway.domain.errors import GatewayError
from gateway.domain.payment import Event, State
from gateway.payments.approve import decide_batch_signature, decide_signature
from gateway.payments.docket import Asking, Signing, load, store
from gateway.payments.record import Change, event_row
from gateway.payments.submit import decide_batch, decide_one
from gateway.store.bulk import row_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.payments.docket import BatchSigning, Docket, Order
    from gateway.payments.submit import Terms
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an order.

    Attributes:
        payments: rows of the payments that it is about, as they stand behind the whole group.
        attempt: which attempt was signed, of a signature.
        payload: the bytes to sign, of one payment.
        expires: last moment to sign them, UTC.
        signatures: of one payment.
    """

    payments: Sequence[Row]
    expires: datetime
    attempt: int = 1
    payload: bytes = b""
    signatures: Sequence[Row] = ()


Outcome: TypeAlias = Done | GatewayError


async def carry_out(conn: AsyncConnection, orders: Sequence[Order], terms: Terms) -> list[Outcome]:
    """Decides orders in their order and writes what they come to.

    Returns:
        For each order what became of it, or why it was refused.
    """
    docket = await load(conn, orders, terms.banks)
    decided = [_decide(docket, order, terms) for order in orders]
    await store(conn, docket, terms.now)
    return decided


def _decide(docket: Docket, order: Order, terms: Terms) -> Outcome:
    try:
        if isinstance(order, Asking):
            return _ask(docket, order, terms)
        if isinstance(order, Signing):
            return _sign(docket, order, terms)
        return _sign_batch(docket, order, terms)
    except GatewayError as refusal:
        return refusal


def _ask(docket: Docket, order: Asking, terms: Terms) -> Done:
    means, submitter = docket.means_of(order), order.by.party_id
    if order.is_batch:
        rows = decide_batch(means, order.asks, submitter, terms)
        batch = {"fund_id": order.fund_id, "batch_id": rows[0]["batch_id"]}
        size = {"payment_count": len(rows), "created_at": terms.now}
        docket.effects.batches.append(batch | size)
    else:
        rows = [decide_one(means, order.asks[0], submitter, terms)]
    docket.effects.payments += rows
    change = Change(Event.HOLD, order.by.actor, terms.now)
    docket.effects.events += [
        event_row(row["fund_id"], row["payment_id"], state, change)
        for row in rows
        for state in (State.SUBMITTED, State.HELD)
    ]
    first = rows[0]
    return Done([row_of(row) for row in rows], first["expires_at"], payload=first["payload"])


def _sign(docket: Docket, order: Signing, terms: Terms) -> Done:
    payment = decide_signature(docket, order, terms.now)
    subject = docket.papers.subject(payment)
    given = docket.given(payment, subject.attempt)
    expires = subject.facts.expires
    return Done([docket.view(payment)], expires, subject.attempt, subject.payload, given)


def _sign_batch(docket: Docket, order: BatchSigning, terms: Terms) -> Done:
    payments = decide_batch_signature(docket, order, terms.now)
    views = [docket.view(payment) for payment in payments]
    return Done(views, views[0].expires_at)
