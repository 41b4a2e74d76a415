"""Many rows in one statement, by the driver itself, for what a group of calls reads and writes.

Rows go in as one array a column (``unnest``), so that a statement costs the same however many they
are. COPY would be no faster at these sizes, and PostgreSQL has none under row-level security.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store.engine import Row

_PLACEHOLDER: Final = re.compile(r"\$([0-9]+)")

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


async def fetch_plain(conn: AsyncConnection, *queries: Query) -> list[list[Row]]:
    """The rows of several queries in one round trip, for columns that JSON has.

    Texts, numbers, truth values, arrays of them and JSON come as they are, a day as its text.
    """
    sql = _together(tuple(query.sql for query in queries))
    arguments = [argument for query in queries for argument in query.arguments]
    (found,) = await fetch(conn, sql, *arguments)
    return [[row_of(row) for row in rows] for rows in found]


def row_of(columns: Mapping[str, Any]) -> Row:
    """A row that was not read as one: its columns are attributes all the same."""
    return cast("Row", SimpleNamespace(**columns))


def insertion(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> Change:
    """Adds rows, all with the same columns; of JSON columns they have the text."""
    columns = tuple(rows[0]) if rows else ()
    return Change(table, (), columns, rows, add=False)


def update(
    table: sa.Table,
    keys: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    *,
    add: bool = False,
) -> Change:
    """Sets columns of the rows with these keys, or adds to them: of exactly these rows."""
    columns = tuple(rows[0]) if rows else ()
    return Change(table, keys, columns, rows, add)


async def write(conn: AsyncConnection, *changes: Change) -> None:
    """Makes changes in one round trip. None may touch a row that another one touches.

    Raises:
        RuntimeError: if other than exactly the given rows were changed: roll everything back.
    """
    wanted = [change for change in changes if change.rows]
    if not wanted:
        return
    sql = _changes(tuple(change.shape for change in wanted))
    arrays = [array for change in wanted for array in change.arrays]
    (counts,) = await fetch(conn, sql, *arrays)
    for change, count in zip(wanted, counts, strict=True):
        if count != len(change.rows):
            raise RuntimeError(f"{change.table.name}: {count} rows instead of {len(change.rows)}")


@dataclass(frozen=True, slots=True)
class Query:
    """A query with its arguments, numbered from ``$1``."""

    sql: str
    arguments: tuple[object, ...]


_Shape: TypeAlias = tuple[sa.Table, tuple[str, ...], tuple[str, ...], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """Rows to be added or changed; made by `insertion` and `update`."""

    table: sa.Table
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    add: bool

    @property
    def shape(self) -> _Shape:
        """Everything but the rows."""
        return self.table, self.keys, self.columns, self.add

    @property
    def arrays(self) -> list[list[Any]]:
        """The rows, an array a column."""
        return [_array(self.table.c[column], self.rows) for column in self.columns]


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


@cache
def _together(queries: tuple[str, ...]) -> str:
    """One row with the rows of each query as JSON."""
    parts, first = [], 1
    for query in queries:
        numbers = {int(number) for number in _PLACEHOLDER.findall(query)}
        shifted = _PLACEHOLDER.sub(partial(_shift, first - 1), query)
        parts.append(f"coalesce((SELECT jsonb_agg(q) FROM ({shifted}) q), '[]')")  # noqa: S608 - of our own queries
        first += max(numbers, default=0)
    return f"SELECT {', '.join(parts)}"


def _shift(by: int, placeholder: re.Match[str]) -> str:
    return f"${int(placeholder[1]) + by}"


@cache
def _changes(shapes: tuple[_Shape, ...]) -> str:
    """All changes as parts of one statement, which counts the rows of each."""
    parts, first = [], 1
    for number, (table, keys, columns, add) in enumerate(shapes):
        rows = _unnest(table, columns, first)
        body = _update(table, keys, columns, add) if keys else _insertion(table, columns)
        parts.append(f"c{number} AS ({body.format(rows=rows)} RETURNING 1)")
        first += len(columns)
    counts = ", ".join(f"(SELECT count(*) FROM c{number})" for number in range(len(shapes)))  # noqa: S608 - as below
    return f"WITH {', '.join(parts)} SELECT {counts}"


def _unnest(table: sa.Table, columns: tuple[str, ...], first: int) -> str:
    arrays = ", ".join(
        f"${number}::{_type(table.c[column])}[]"
        for number, column in enumerate(columns, start=first)
    )
    return f"unnest({arrays}) AS n({', '.join(columns)})"


def _insertion(table: sa.Table, columns: tuple[str, ...]) -> str:
    values = ", ".join(_value(table.c[column]) for column in columns)
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)})"  # noqa: S608 - names of our own tables
        f" SELECT {values} FROM {{rows}}"
    )


def _update(table: sa.Table, keys: tuple[str, ...], columns: tuple[str, ...], add: bool) -> str:
    old = "t.{0} + " if add else ""
    changed = [column for column in columns if column not in keys]
    assignments = ", ".join(
        f"{each} = {old.format(each)}{_value(table.c[each])}" for each in changed
    )
    same = " AND ".join(f"t.{key} = n.{key}" for key in keys)
    return (
        f"UPDATE {table.name} t SET {assignments}"  # noqa: S608 - names of our own tables
        f" FROM {{rows}} WHERE {same}"
    )
