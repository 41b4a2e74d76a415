"""What time does to payments: unsigned ones expire, unanswered ones become UNKNOWN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.domain.errors import GatewayError
from gateway.domain.payment import Event, State, reserves_money
from gateway.ledger.writer import lock_fund
from gateway.payments import outcome
from gateway.payments.approve import Ending, end
from gateway.payments.record import GATEWAY, Change
from gateway.payments.transmissions import Stage, load, mark, payments_of
from gateway.store import GATEWAY as EVERYTHING
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from adapters.reach import Banks
    from gateway.store import Row, Select, Store

_AT_ONCE: Final = 500
_AWAITING: Final = tuple(state.value for state in State if reserves_money(state))

log = structlog.get_logger(__name__)


async def expire(store: Store, banks: Banks, now: datetime) -> int:
    """Ends payments whose time to be signed has passed; returns how many."""
    query = (
        sa.select(t.payments.c.fund_id, t.payments.c.payment_id)
        .where(t.payments.c.state.in_(_AWAITING), t.payments.c.expires_at < now)
        .limit(_AT_ONCE)
    )
    ended = 0
    for fund_id, payment_id in await _read(store, query):
        ending = Ending(Event.EXPIRE, GATEWAY, "not signed in time", now)
        try:
            async with store.transaction(EVERYTHING) as conn:
                await end(conn, fund_id, payment_id, ending, banks)
                name = f"funds/{fund_id}/payments/{payment_id}"
                await append(conn, [by_gateway(Deed.PAYMENT_EXPIRED, now, name)])
            ended += 1
        except GatewayError as refusal:
            # Signed, refused or withdrawn since it was read.
            log.warning("not_expired", payment=payment_id, reason=refusal.reason)
    return ended


async def lose_track(store: Store, now: datetime) -> int:
    """Marks payments as UNKNOWN whose bank has not answered in time; returns how many.

    They may have been paid. Nothing is sent again: a status or a statement will tell.
    """
    query = (
        sa.select(t.transmissions.c.transmission_id)
        .where(t.transmissions.c.state == Stage.DELIVERED, t.transmissions.c.answer_due_at < now)
        .limit(_AT_ONCE)
    )
    lost = 0
    for (transmission_id,) in await _read(store, query):
        async with store.transaction(EVERYTHING) as conn:
            transmission = await load(conn, transmission_id)
            await lock_fund(conn, transmission.fund_id)
            for payment in await payments_of(conn, transmission):
                change = Change(Event.LOSE_TRACK, GATEWAY, now, "no answer in time")
                lost += await outcome.lose_track(conn, payment, change)
            await mark(conn, transmission, answer_due_at=None)
            name = f"funds/{transmission.fund_id}/transmissions/{transmission_id}"
            await append(conn, [by_gateway(Deed.TRACK_LOST, now, name)])
    return lost


async def _read(store: Store, query: Select) -> Sequence[Row]:
    async with store.transaction(EVERYTHING) as conn:
        return (await conn.execute(query)).all()
