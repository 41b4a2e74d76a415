"""What every register does with its rows: add under a new name, end once, change what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import GatewayError, Kind, Reason, not_found

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Select


async def insert_new(
    conn: AsyncConnection, table: sa.Table, name: str, values: Mapping[str, Any]
) -> Row:
    """Adds a row and returns it as stored.

    Raises:
        GatewayError: RESOURCE_EXISTS if its name, or what must be unique in it, is taken.
    """
    query = pg.insert(table).values(**values).on_conflict_do_nothing().returning(table)
    row: Row | None = (await conn.execute(query)).one_or_none()
    if row is None:
        raise GatewayError(
            Kind.EXISTS,
            Reason.RESOURCE_EXISTS,
            f"{name}, or what must be unique in it, is taken",
            {"name": name},
            subject=name,
        )
    return row


async def one_of(conn: AsyncConnection, query: Select, name: str) -> Row:
    """The one row of a query.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(name)
    return row


async def change_one(
    conn: AsyncConnection,
    table: sa.Table,
    this: sa.ColumnElement[bool],
    changes: Mapping[str, Any],
) -> Row:
    """Changes the one row, which is there and locked, and counts its version up."""
    values = {**changes, "version": table.c.version + 1}
    row: Row = (
        await conn.execute(table.update().where(this).values(values).returning(table))
    ).one()
    return row


async def end_once(
    conn: AsyncConnection,
    column: sa.Column[Any],
    where: sa.ColumnElement[bool],
    name: str,
    now: datetime,
) -> Row:
    """Writes the moment something ended; what had ended before keeps its moment.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    table = column.table
    await conn.execute(sa.update(table).where(where, column.is_(None)).values({column.name: now}))
    return await one_of(conn, sa.select(table).where(where), name)


def require_version(row: Row, etag: str, name: str) -> None:
    """Passes if the etag is that of the row, or none was sent.

    Raises:
        GatewayError: ETAG_MISMATCH.
    """
    if etag and etag != str(row.version):
        raise changed(name)


def changed(name: str) -> GatewayError:
    """The refusal of a change to what somebody else changed first."""
    return GatewayError(
        Kind.CONFLICT,
        Reason.ETAG_MISMATCH,
        f"{name} changed since it was read",
        {"name": name},
        subject=name,
    )
