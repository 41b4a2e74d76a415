"""Connections and transactions, each bound to one caller by row-level security."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

Row: TypeAlias = sa.Row[*tuple[Any, ...]]
"""A row of any query; its columns are attributes by name."""

Select: TypeAlias = sa.Select[*tuple[Any, ...]]
"""Any query."""

APPLICATION_ROLE: Final = "xinyi_app"
"""The role of every transaction: it owns no table, bypasses no policy and can delete nothing."""

_EVERY_PARTY: Final = "*"

_OWNS = sa.text("""
    SELECT rolsuper OR rolbypassrls OR pg_has_role(session_user, tableowner, 'MEMBER')
    FROM pg_roles, pg_tables
    WHERE rolname = session_user AND schemaname = 'public' AND tablename = 'funds'
""")

_CONNECT_S: Final = 10.0
"""For how long a connection may take to be opened."""

_STATEMENT_S: Final = 300.0
"""For how long a statement may go on. No call takes so long, and none of the night's: a server that
vanished without a word, as in a failover, must not keep the gateway's own work waiting for ever."""

_DURABLE: Final = {"synchronous_commit": "on"}
"""What was committed is on disk, whatever the server, the database or the role is set to."""

_BIND = sa.text("""
    SELECT set_config('role', :role, true), set_config('xinyi.party', :party, true),
        set_config('xinyi.fund', '', true)
""")

# Row security filters before anything is computed of a row: the setting is of a row that is seen.
_NARROW = sa.text("""
    SELECT currency, set_config('xinyi.fund', fund_id, true) FROM funds WHERE fund_id = :fund
""")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose estates a transaction may see and touch.

    Attributes:
        party_id: the calling party, or ``*`` for the gateway's own work over all funds; several
            parties, whose calls are written together, with commas between them.
    """

    party_id: str


def scope_of(party_ids: Iterable[str]) -> Scope:
    """The scope of several calling parties together."""
    return Scope(",".join(sorted(set(party_ids))))


GATEWAY: Final = Scope(_EVERY_PARTY)
"""The gateway itself: the sender, the bank's files, the night, and the operator."""


@dataclass(frozen=True, slots=True)
class Store:
    """The database, entered only by transactions that are bound to a scope."""

    engine: AsyncEngine

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end of the block and rolls back on any exception."""
        async with self.engine.begin() as conn:
            await bind(conn, scope)
            yield conn

    @asynccontextmanager
    async def snapshot(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading, all of which sees the database as of one moment."""
        async with self.engine.connect() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ")
            async with conn.begin():
                await bind(conn, scope)
                yield conn

    async def login_owns_tables(self) -> bool:
        """Whether the database login could step over row-level security, as the tables' owner can.

        Every transaction runs as `APPLICATION_ROLE` either way; a login that is no more than that
        cannot get back what it gave up.
        """
        async with self.engine.connect() as conn:
            return bool(await conn.scalar(_OWNS))

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


async def bind(conn: AsyncConnection, scope: Scope) -> None:
    """Says whose rows the rest of the transaction may reach.

    Once the caller's own scope has shown that they may, the gateway's own does what they asked.
    """
    await conn.execute(_BIND, {"role": APPLICATION_ROLE, "party": scope.party_id})


def finished(table: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a row was written by a transaction before the oldest one that is still open.

    Among such rows none can appear any more: who reads them in order misses none.
    """
    oldest = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
    return table.c.transaction_id < sa.cast(sa.cast(oldest, sa.Text), sa.BigInteger)


async def narrow(conn: AsyncConnection, fund_id: str) -> str | None:
    """Has the database look up once for all whether a fund is within the scope.

    Its sums by day are read by hundreds; to look up for each of them takes longer than to read it.

    Returns:
        The fund's currency (ISO 4217); None if the scope has no such fund, and nothing changes.
    """
    row = (await conn.execute(_NARROW, {"fund": fund_id})).one_or_none()
    return None if row is None else str(row.currency)


def application_url(owner_url: str) -> str:
    """The URL by which the application itself logs in to a server that trusts its socket."""
    url = sa.make_url(owner_url).set(username=APPLICATION_ROLE)
    return url.render_as_string(hide_password=False)


def open_store(url: str, *, pool_size: int = 10, name: str = "xinyi") -> Store:
    """Opens the database, whose schema must be there already.

    Args:
        url: ``postgresql://…``.
        pool_size: connections at most.
        name: of this process, as the server shows it (``application_name``).
    """
    async_url = sa.make_url(url).set(drivername="postgresql+asyncpg")
    return Store(
        create_async_engine(
            async_url,
            pool_size=pool_size,
            max_overflow=0,
            # What a ping finds may be gone at the next statement: so the first call after a restart
            # of the server is told to repeat, and with that every old connection is thrown away.
            pool_pre_ping=False,
            connect_args={
                "timeout": _CONNECT_S,
                "command_timeout": _STATEMENT_S,
                "server_settings": {**_DURABLE, "application_name": name},
            },
        )
    )
