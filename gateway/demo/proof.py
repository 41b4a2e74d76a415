"""A proof of one of the demo's lines, straight from its database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.app import prepare_database
from gateway.disclosure.proving import prove_line
from gateway.domain.errors import not_found
from gateway.store import GATEWAY, open_store
from gateway.store import tables as t

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.settings import Settings


def demo_proof(settings: Settings, fund_id: str, number: int | None) -> str:
    """The proof file of a line; of the last payment logged where nothing else is said.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    return asyncio.run(_proof(prepare_database(settings), fund_id, number))


async def _proof(database_url: str, fund_id: str, number: int | None) -> str:
    store = open_store(database_url)
    try:
        async with store.snapshot(GATEWAY) as conn:
            chosen = await _choose(conn, fund_id, number)
            return await prove_line(conn, *chosen, {})
    finally:
        await store.close()


async def _choose(conn: AsyncConnection, fund_id: str, number: int | None) -> tuple[str, int]:
    lines = t.disclosed_lines.c
    query = sa.select(lines.fund_id, lines.line_number).where(lines.amount_minor < 0)
    if fund_id:
        query = query.where(lines.fund_id == fund_id)
    if number is not None:
        return fund_id, number
    order = (lines.transaction_id.desc(), lines.fund_id, lines.line_number.desc())
    row = (await conn.execute(query.order_by(*order).limit(1))).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id or '-'}/lines/-")
    return row.fund_id, row.line_number
