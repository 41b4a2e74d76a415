"""Erasing what a line says of a person: its texts and the salt under which the log commits to them.

Personal Information Protection Law art. 47. Amount, day, category and signatures stay, and so does
the line's entry in the log: every sum and every other proof still holds. What the bank and the
payment say is kept apart from the public, for as long as accounts are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.disclosure.lines import get_line
from gateway.registry.rows import insert_new
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

ERASED: Final = {
    "summary": "",
    "counterparty_name": "",
    "counterparty_account": "",
    "correction_reason": "",
    "salt": None,
}


async def erase(
    conn: AsyncConnection, fund_id: str, line_number: int, reason: str, now: datetime
) -> Row:
    """Erases a line's texts and its salt, for ever; returns the record of it.

    Args:
        conn: a transaction of the gateway's own scope.
        fund_id: the fund.
        line_number: of the line.
        reason: why, for all to read.
        now: UTC.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a line; RESOURCE_EXISTS if it was erased.
    """
    await get_line(conn, fund_id, line_number)
    name = f"funds/{fund_id}/lines/{line_number}/erasure"
    values = {"fund_id": fund_id, "line_number": line_number, "reason": reason, "created_at": now}
    record = await insert_new(conn, t.line_erasures, name, values)
    line = t.disclosed_lines
    this = (line.c.fund_id == fund_id) & (line.c.line_number == line_number)
    await conn.execute(line.update().where(this).values(ERASED))
    return record
