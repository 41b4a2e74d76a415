"""Values given to a statement as arrays: however many there are, it is written and planned once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

if TYPE_CHECKING:
    from collections.abc import Iterable


def among(column: sa.ColumnElement[Any], values: Iterable[object]) -> sa.ColumnElement[bool]:
    """Whether the column has one of the values."""
    return column == sa.any_(_array(values, column.type))


def given(
    **columns: tuple[Iterable[object], sa.types.TypeEngine[Any]],
) -> sa.TableValuedAlias:
    """A table of these columns, of each its values and their type; a row for each value of all."""
    arrays = (_array(values, kind) for values, kind in columns.values())
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived()


def _array(values: Iterable[object], kind: sa.types.TypeEngine[Any]) -> sa.Cast[Any]:
    return sa.cast(list(values), pg.ARRAY(kind))
