"""Connections and transactions, each bound to one caller by row-level security."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Row: TypeAlias = sa.Row[*tuple[Any, ...]]
"""A row of any query; its columns are attributes by name."""

Select: TypeAlias = sa.Select[*tuple[Any, ...]]
"""Any query."""

APPLICATION_ROLE: Final = "xinyi_app"
"""The role of every transaction: it owns no table, bypasses no policy and can delete nothing."""

_EVERY_PARTY: Final = "*"

_CONNECT_S: Final = 10.0
"""For how long a connection may take to be opened."""

_STATEMENT_S: Final = 300.0
"""For how long a statement may go on. No call takes so long, and none of the night's: a server that
vanished without a word, as in a failover, must not keep the gateway's own work waiting for ever."""

_DURABLE: Final = {"synchronous_commit": "on"}
"""What was committed is on disk, whatever the server, the database or the role is set to."""

_BIND = sa.text("SELECT set_config('role', :role, true), set_config('xinyi.party', :party, true)")


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose estates a transaction may see and touch.

    Attributes:
        party_id: the calling party, or ``*`` for the gateway's own work over all funds.
    """

    party_id: str


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
            await conn.execute(_BIND, {"role": APPLICATION_ROLE, "party": scope.party_id})
            yield conn

    @asynccontextmanager
    async def snapshot(self, scope: Scope) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading, all of which sees the database as of one moment."""
        async with self.engine.connect() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ")
            async with conn.begin():
                await conn.execute(_BIND, {"role": APPLICATION_ROLE, "party": scope.party_id})
                yield conn

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def open_store(url: str, *, pool_size: int = 10) -> Store:
    """Opens the database at `url`, a ``postgresql://`` URL; the schema must be there already."""
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
                "server_settings": _DURABLE,
            },
        )
    )
