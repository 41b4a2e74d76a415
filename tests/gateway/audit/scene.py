"""Entries to write, and a hand that the database does not hold back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.audit.entry import Entry
from gateway.audit.keeper import Keeper
from gateway.audit.log import append
from gateway.store import GATEWAY
from tests.gateway.support import NOW, StillClock

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store


def an_entry(**fields: Any) -> Entry:
    fine: dict[str, Any] = {
        "at": NOW,
        "party_id": "anju",
        "person_id": "cashier",
        "fingerprint": "f" * 64,
        "peer": "ipv4:192.0.2.7:50112",
        "method": "/xinyi.v1.PaymentService/SubmitPayment",
        "resource": "funds/wutong/payments/p1",
        "request_id": "r",
        "request_digest": "d" * 64,
        "code": "OK",
        "reason": "",
    }
    return Entry(**{**fine, **fields})


async def write(store: Store, count: int, **fields: Any) -> None:
    """So many entries, each in a transaction of its own."""
    for number in range(count):
        async with store.transaction(GATEWAY) as conn:
            await append(conn, [an_entry(request_id=f"r{number}", **fields)])


async def kept(store: Store, place: Path) -> Keeper:
    """Sealed and anchored, as a gateway would have it."""
    keeper = Keeper(store, (place,), StillClock())
    await keeper.look()
    await keeper.keep()
    return keeper


async def tamper(store: Store, *statements: str) -> None:
    """Runs statements as the superuser who switched every guard off."""
    async with store.engine.begin() as conn:
        await conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await conn.execute(sa.text(statement))
