"""Reading what went to the banks and what came from them, page by page, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.domain.errors import not_found
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Select


@dataclass(frozen=True, slots=True)
class Span:
    """Which entries: booked in these days, and only those that nothing matches yet."""

    first: date | None = None
    last: date | None = None
    only_open: bool = False


async def statements(
    conn: AsyncConnection, fund_id: str, size: int, after: tuple[date, str] | None
) -> Sequence[Row]:
    """One more than `size` statements of a fund, by last day and key."""
    table = t.statements
    query = sa.select(table, t.funds.c.currency).join(t.funds).where(table.c.fund_id == fund_id)
    return await _newest(conn, query, (table.c.end_date, table.c.statement_key), after, size)


async def statements_by_key(
    conn: AsyncConnection, keys: Sequence[tuple[str, str]]
) -> Sequence[Row]:
    """These statements, in this order, each by its fund and key."""
    table = t.statements
    query = (
        sa.select(table, t.funds.c.currency)
        .join(t.funds)
        .where(sa.tuple_(table.c.fund_id, table.c.statement_key).in_(keys))
    )
    found = {(row.fund_id, row.statement_key): row for row in await conn.execute(query)}
    return [found[key] for key in keys]


async def entries(
    conn: AsyncConnection, fund_id: str, span: Span, size: int, after: tuple[date, str] | None
) -> Sequence[Row]:
    """One more than `size` bank entries of a fund, by booking date and id."""
    table = t.bank_entries
    query = sa.select(table).where(table.c.fund_id == fund_id)
    if span.first:
        query = query.where(table.c.booking_date >= span.first)
    if span.last:
        query = query.where(table.c.booking_date <= span.last)
    if span.only_open:
        query = query.where(table.c.match_id == "")
    return await _newest(conn, query, (table.c.booking_date, table.c.bank_entry_id), after, size)


async def transmissions(
    conn: AsyncConnection,
    fund_id: str,
    states: Sequence[str],
    size: int,
    after: tuple[datetime, str] | None,
) -> Sequence[Row]:
    """One more than `size` transmissions: of a fund or all in scope, in some states or in any."""
    table = t.transmissions
    query = sa.select(table, t.funds.c.currency).join(t.funds)
    if fund_id:
        query = query.where(table.c.fund_id == fund_id)
    if states:
        query = query.where(table.c.state.in_(states))
    return await _newest(conn, query, (table.c.created_at, table.c.transmission_id), after, size)


async def transmission(conn: AsyncConnection, transmission_id: str) -> Row:
    """One of them, by its id.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND if there is none in the caller's scope.
    """
    table = t.transmissions
    query = (
        sa.select(table, t.funds.c.currency)
        .join(t.funds)
        .where(table.c.transmission_id == transmission_id)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"transmissions/{transmission_id}")
    return row


async def account(conn: AsyncConnection, fund_id: str, account_id: str) -> Row:
    """A bank account of a fund.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    table = t.bank_accounts
    query = sa.select(table).where(table.c.fund_id == fund_id, table.c.account_id == account_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}/bankAccounts/{account_id}")
    return row


async def quarantined(
    conn: AsyncConnection, size: int, after: tuple[datetime, str] | None, *, replayed: bool
) -> Sequence[Row]:
    """One more than `size` files in quarantine, without their bytes."""
    table = t.quarantined_files
    query = sa.select(*(column for column in table.c if column.name != "content"))
    if not replayed:
        query = query.where(table.c.replayed_at.is_(None))
    return await _newest(conn, query, (table.c.created_at, table.c.sha256), after, size)


async def _newest(
    conn: AsyncConnection,
    query: Select,
    key: tuple[sa.Column[date] | sa.Column[datetime], sa.Column[str]],
    after: tuple[date | datetime, str] | None,
    size: int,
) -> Sequence[Row]:
    if after is not None:
        bound = sa.tuple_(sa.literal(after[0], key[0].type), sa.literal(after[1]))
        query = query.where(sa.tuple_(*key) < bound)
    order = (column.desc() for column in key)
    return (await conn.execute(query.order_by(*order).limit(size + 1))).all()
