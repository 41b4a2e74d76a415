"""Many rows in one statement, by the driver itself, for what a group of calls reads and writes.

Rows go in as one array a column (``unnest``), so that a statement costs the same however many they
are. COPY would be no faster at these sizes, and PostgreSQL has none under row-level security.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store.engine import Row

_SEPARATOR: Final = "\x1f"
"""Between the elements of a text array on its way in: arrays of arrays would have to be even."""

_TYPES: Final[Mapping[type[Any], str]] = {
    sa.Text: "text",
    sa.BigInteger: "bigint",
    sa.Integer: "integer",
    sa.DateTime: "timestamptz",
    sa.Date: "date",
    sa.LargeBinary: "bytea",
    pg.ARRAY: "text",
    pg.JSONB: "text",
}


class _Record(asyncpg.Record):
    """A row of the driver whose columns are attributes, as those of SQLAlchemy's rows are."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a column's value
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def _asdict(self) -> dict[str, Any]:
        return dict(self.items())


async def fetch(conn: AsyncConnection, sql: str, *arguments: object) -> Sequence[Row]:
    """The rows of a query in the running transaction, in which something was executed before."""
    driver = await _driver(conn)
    rows = await _told(driver.fetch(sql, *arguments, record_class=_Record))
    return cast("Sequence[Row]", rows)


async def insert(conn: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds rows, all with the same columns; of JSON columns they have the text."""
    if not rows:
        return
    columns = tuple(rows[0])
    arrays = [_array(table.c[column], rows) for column in columns]
    driver = await _driver(conn)
    await _told(driver.execute(_insertion(table, columns), *arrays))


async def change(
    conn: AsyncConnection,
    table: sa.Table,
    keys: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    *,
    add: bool = False,
) -> None:
    """Sets columns of the rows with these keys, or adds to them.

    Raises:
        RuntimeError: if it was not exactly these rows: roll everything back.
    """
    if not rows:
        return
    columns = tuple(rows[0])
    arrays = [_array(table.c[column], rows) for column in columns]
    driver = await _driver(conn)
    changed = await _told(driver.execute(_update(table, keys, columns, add), *arrays))
    if changed != f"UPDATE {len(rows)}":
        raise RuntimeError(f"{table.name}: {changed} instead of {len(rows)} rows")


async def _driver(conn: AsyncConnection) -> asyncpg.Connection[_Record]:
    pooled = await conn.get_raw_connection()
    return cast("asyncpg.Connection[_Record]", pooled.driver_connection)


async def _told(answer: Awaitable[Any]) -> Any:  # noqa: ANN401 - what the driver answers
    """The driver's answer; its errors as those of SQLAlchemy, which the edge knows."""
    try:
        return await answer
    except asyncpg.InterfaceError as error:
        raise sa.exc.InterfaceError(None, None, error) from error
    except asyncpg.PostgresError as error:
        raise sa.exc.DBAPIError(None, None, error) from error


def _array(column: sa.Column[Any], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    values = [row[column.name] for row in rows]
    if isinstance(column.type, pg.ARRAY):
        return [_SEPARATOR.join(value) for value in values]
    return values


def _type(column: sa.Column[Any]) -> str:
    return next(name for kind, name in _TYPES.items() if isinstance(column.type, kind))


def _value(column: sa.Column[Any]) -> str:
    if isinstance(column.type, pg.ARRAY):
        return f"string_to_array(n.{column.name}, E'\\x1f')"
    if isinstance(column.type, pg.JSONB):
        return f"n.{column.name}::jsonb"
    return f"n.{column.name}"


def _unnest(table: sa.Table, columns: tuple[str, ...]) -> str:
    arrays = ", ".join(
        f"${number}::{_type(table.c[column])}[]" for number, column in enumerate(columns, start=1)
    )
    return f"unnest({arrays}) AS n({', '.join(columns)})"


@cache
def _insertion(table: sa.Table, columns: tuple[str, ...]) -> str:
    values = ", ".join(_value(table.c[column]) for column in columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)})"  # noqa: S608 - names of our own tables
        f" SELECT {values} FROM {_unnest(table, columns)}"
    )


@cache
def _update(table: sa.Table, keys: tuple[str, ...], columns: tuple[str, ...], add: bool) -> str:
    old = "t.{0} + " if add else ""
    changed = [column for column in columns if column not in keys]
    assignments = ", ".join(
        f"{each} = {old.format(each)}{_value(table.c[each])}" for each in changed
    )
    same = " AND ".join(f"t.{key} = n.{key}" for key in keys)
    return (
        f"UPDATE {table.name} t SET {assignments}"  # noqa: S608 - names of our own tables
        f" FROM {_unnest(table, columns)} WHERE {same}"
    )
