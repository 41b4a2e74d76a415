"""Who stands behind what is disclosed, as the owners read it: party and role, no person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.party import Role


@dataclass(frozen=True, slots=True)
class Author:
    """Who does what the owners read of.

    Attributes:
        party_id: for whom.
        role: in which role.
    """

    party_id: str
    role: Role


async def mark_of(
    conn: AsyncConnection, party_id: str, role: Role, moment: datetime
) -> dict[str, str]:
    """One mark of `LineDraft.signatures`.

    Args:
        conn: a transaction.
        party_id: for whom somebody asked, signed or booked.
        role: in which role.
        moment: when, UTC.
    """
    name = await party_name(conn, party_id)
    return {"party_name": name, "role": role.value, "created_at": moment.isoformat()}


async def party_name(conn: AsyncConnection, party_id: str) -> str:
    """What a party is called."""
    query = sa.select(t.parties.c.display_name).where(t.parties.c.party_id == party_id)
    return str((await conn.execute(query)).scalar_one())
