"""Telling a lump sum by item: once, whichever way the line was booked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from gateway.disclosure.lines import get_line
from gateway.domain.errors import Reason, invalid
from gateway.domain.free_text import mask_text
from gateway.registry.alias import alias_salt
from gateway.registry.marks import party_name
from gateway.registry.rows import insert_new
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.disclosure.detail import Item
    from gateway.registry.marks import Author


async def itemise(
    conn: AsyncConnection,
    fund_id: str,
    line_number: int,
    items: Sequence[Item],
    by: Author,
    now: datetime,
) -> None:
    """Says what a line consists of; the line itself, and its entry in the log, stay as they are.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a line in the caller's scope;
            AMOUNT_OUT_OF_RANGE if the items do not come to the line; RESOURCE_EXISTS.
    """
    line = await get_line(conn, fund_id, line_number)
    if sum(item.amount_minor for item in items) != line.amount_minor:
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, "items", "do not come to the line's amount")
    salt = await alias_salt(conn, fund_id)
    values = {
        "fund_id": fund_id,
        "line_number": line_number,
        "items": [{**asdict(item), "label": mask_text(item.label, salt)} for item in items],
        "role": by.role,
        "party_name": await party_name(conn, by.party_id),
        "created_at": now,
    }
    await insert_new(conn, t.line_details, f"funds/{fund_id}/lines/{line_number}/detail", values)
