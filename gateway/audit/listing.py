"""Reading the audit log by what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.audit.entry import OK
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Select


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which entries are wanted; what is empty or None chooses all.

    Attributes:
        party_id: who called.
        method: full name, or its last part.
        resource: this one, or what lies beneath it.
        start: from this moment on, UTC.
        end: before this moment, UTC.
        done: what was done, or what was refused.
    """

    party_id: str
    method: str
    resource: str
    start: datetime | None
    end: datetime | None
    done: bool | None


async def list_entries(
    conn: AsyncConnection, chosen: Chosen, before: int | None, limit: int
) -> Sequence[Row]:
    """Entries with their links, the newest first, from the one before entry `before` on."""
    entries, links = t.audit_entries, t.audit_links
    query = (
        sa.select(entries, links.c.sequence, links.c.hash)
        .outerjoin(links, links.c.entry_id == entries.c.entry_id)
        .order_by(entries.c.entry_id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(entries.c.entry_id < before)
    return (await conn.execute(_narrowed(query, chosen))).all()


def _narrowed(query: Select, chosen: Chosen) -> Select:
    c = t.audit_entries.c
    if chosen.party_id:
        query = query.where(c.party_id == chosen.party_id)
    if chosen.method:
        query = query.where(
            sa.or_(
                c.method == chosen.method,
                *(c.method.endswith(f"{mark}{chosen.method}", autoescape=True) for mark in "/."),
            )
        )
    if chosen.resource:
        beneath = c.resource.startswith(f"{chosen.resource}/", autoescape=True)
        query = query.where((c.resource == chosen.resource) | beneath)
    if chosen.start is not None:
        query = query.where(c.at >= chosen.start)
    if chosen.end is not None:
        query = query.where(c.at < chosen.end)
    if chosen.done is not None:
        query = query.where((c.code == OK) == chosen.done)
    return query
