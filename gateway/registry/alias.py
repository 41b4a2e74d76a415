"""Under what a fund's pseudonyms are made; nobody is told it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.domain.errors import not_found
from gateway.store import tables as t

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def alias_salt(conn: AsyncConnection, fund_id: str) -> bytes:
    """The salt of a fund's pseudonyms.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    salt = await conn.scalar(sa.select(t.funds.c.alias_salt).where(t.funds.c.fund_id == fund_id))
    if salt is None:
        raise not_found(f"funds/{fund_id}")
    return bytes(salt.bytes)
