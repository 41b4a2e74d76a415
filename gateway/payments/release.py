"""Release: both signatures checked once more, and the order to the bank recorded with it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.clock import bank_date
from gateway.domain.party import Role
from gateway.domain.payment import Event, State
from gateway.ids import new_id
from gateway.ledger.holds import spend
from gateway.ledger.writer import LineDraft, post_line
from gateway.payments.record import GATEWAY, Change, load, move, purse_of
from gateway.payments.signatures import load_subject, require_complete
from gateway.payments.transmissions import account_of, day_for, queue
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.store import Row

_UNSIGNED: Final = frozenset({State.HELD, State.PARTLY_SIGNED})


async def release_if_complete(
    conn: AsyncConnection, payment: Row, banks: Banks, now: datetime
) -> None:
    """Releases a signed payment, or its batch once nothing of it waits for signatures.

    Raises:
        GatewayError: what `admit_release` refuses, for any payment of the batch: then none goes;
            BANK_CLOSED if no day is known on which the bank will take them.
    """
    members = await _members(conn, payment)
    states = {State(member.state) for member in members}
    ready = [member for member in members if State(member.state) is State.SIGNED]
    if states & _UNSIGNED or not ready:
        return
    transmission_id = new_id("m", now)
    for member in ready:
        await _release(conn, member, transmission_id, now)
    day = await _day_for(conn, ready, banks, now)
    await queue(conn, ready, transmission_id, day, now)


async def _day_for(
    conn: AsyncConnection, payments: Sequence[Row], banks: Banks, now: datetime
) -> date:
    account = await account_of(conn, payments[0])
    return day_for(payments, banks.profile(account.profile_id), now)


async def _members(conn: AsyncConnection, payment: Row) -> Sequence[Row]:
    if not payment.batch_id:
        return [await load(conn, payment.fund_id, payment.payment_id)]
    query = (
        sa.select(t.payments)
        .where(t.payments.c.fund_id == payment.fund_id, t.payments.c.batch_id == payment.batch_id)
        .order_by(t.payments.c.payment_id)
    )
    return (await conn.execute(query)).all()


async def _release(
    conn: AsyncConnection, payment: Row, transmission_id: str, now: datetime
) -> None:
    subject = await load_subject(conn, payment)
    signatures = await require_complete(conn, payment, subject, now)

    await spend(conn, purse_of(payment), payment.amount_minor)
    draft = await _line(conn, payment, signatures, now)
    posted = await post_line(conn, payment.fund_id, draft, now)
    also = {"transmission_id": transmission_id, "line_number": posted.line_number}
    await move(conn, payment, Change(Event.RELEASE, GATEWAY, now), also)


async def _line(
    conn: AsyncConnection, payment: Row, signatures: Sequence[Row], now: datetime
) -> LineDraft:
    return LineDraft(
        account_id=payment.account_id,
        book=payment.book,
        category=payment.category,
        summary=payment.purpose,
        amount_minor=-payment.amount_minor,
        effective_date=bank_date(now),
        payment_id=payment.payment_id,
        batch_id=payment.batch_id or payment.payment_id,
        counterparty_name=payment.payee_name,
        counterparty_account=payment.payee_account,
        vouchers=tuple(payment.vouchers),
        signatures=await _marks(conn, payment, signatures),
    )


async def _marks(
    conn: AsyncConnection, payment: Row, signatures: Sequence[Row]
) -> tuple[Mapping[str, str], ...]:
    """Who asked and who signed, as the owners read it: party and role, no person."""
    ids = [payment.submitter_party_id, *(each.party_id for each in signatures)]
    query = sa.select(t.parties.c.party_id, t.parties.c.display_name).where(
        t.parties.c.party_id.in_(ids)
    )
    names: dict[str, str] = defaultdict(str)
    names.update({row.party_id: row.display_name for row in await conn.execute(query)})
    asked = (payment.submitter_party_id, Role.PROPERTY_FIRM.value, payment.created_at)
    signed = [(each.party_id, each.role, each.created_at) for each in signatures]
    return tuple(
        {"party_name": names[party], "role": role, "created_at": moment.isoformat()}
        for party, role, moment in (asked, *signed)
    )
