"""Reading payments: pages, histories, and every change as it happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.store import finished
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Scope, Store

_AT_ONCE: Final = 500
_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Filter:
    """Which payments of a fund: in one of these states, of this batch; empty for all."""

    states: tuple[str, ...] = ()
    batch_id: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a watcher has read: in order of transaction, then of sequence."""

    transaction_id: int = 0
    sequence: int = 0

    @classmethod
    def parse(cls, token: str) -> Position:
        """The position in a resume token; the beginning for an empty one."""
        if not token:
            return cls()
        transaction_id, _, sequence = token.partition("-")
        return cls(int(transaction_id), int(sequence))

    def __str__(self) -> str:
        """The resume token."""
        return f"{self.transaction_id}-{self.sequence}"


async def page(
    conn: AsyncConnection,
    fund_id: str,
    chosen: Filter,
    *,
    size: int,
    after: tuple[datetime, str] | None,
) -> Sequence[Row]:
    """One more than `size` payments, newest first, behind the one created then with that id."""
    payments = t.payments
    query = sa.select(payments).where(payments.c.fund_id == fund_id)
    if chosen.states:
        query = query.where(payments.c.state.in_(chosen.states))
    if chosen.batch_id:
        query = query.where(payments.c.batch_id == chosen.batch_id)
    if after is not None:
        key = sa.tuple_(payments.c.created_at, payments.c.payment_id)
        query = query.where(key < sa.tuple_(*map(sa.literal, after)))
    order = (payments.c.created_at.desc(), payments.c.payment_id.desc())
    return (await conn.execute(query.order_by(*order).limit(size + 1))).all()


async def history(conn: AsyncConnection, payment: Row) -> Sequence[Row]:
    """Every change of a payment, in order."""
    events = t.payment_events
    query = (
        sa.select(events)
        .where(events.c.fund_id == payment.fund_id, events.c.payment_id == payment.payment_id)
        .order_by(events.c.sequence)
    )
    return (await conn.execute(query)).all()


async def watch(
    store: Store, scope: Scope, fund_id: str, position: Position
) -> AsyncIterator[tuple[Position, Row]]:
    """Every change behind a position, in order, then those to come, without end.

    An empty `fund_id` means all funds of the scope.
    """
    while True:
        async with store.transaction(scope) as conn:
            rows = (await conn.execute(_changes(fund_id, position))).all()
        for row in rows:
            position = Position(row.transaction_id, row.sequence)
            yield position, row
        if len(rows) < _AT_ONCE:
            await asyncio.sleep(_PAUSE_S)


def _changes(fund_id: str, position: Position) -> sa.Select[*tuple[object, ...]]:
    events = t.payment_events
    behind = sa.tuple_(events.c.transaction_id, events.c.sequence) > sa.tuple_(
        sa.literal(position.transaction_id, sa.BigInteger),
        sa.literal(position.sequence, sa.BigInteger),
    )
    query = sa.select(events).where(behind, finished(events))
    if fund_id:
        query = query.where(events.c.fund_id == fund_id)
    return query.order_by(events.c.transaction_id, events.c.sequence).limit(_AT_ONCE)
