"""Statements of the night: each is about the funds of a shard, between `first` and `last`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: Final[Mapping[str, sa.types.TypeEngine[Any]]] = {
    **dict.fromkeys(("first", "last", "run", "actor"), sa.Text()),
    **dict.fromkeys(("day", "from_day"), sa.Date()),
    **dict.fromkeys(("moment", "now", "since"), sa.DateTime(timezone=True)),
    **dict.fromkeys(("funds", "accounts"), pg.ARRAY(sa.Text)),
    "days": pg.ARRAY(sa.Date),
}


def sql(text: str) -> sa.TextClause:
    """A statement whose parameters have their types."""
    named = [name for name in _TYPES if re.search(rf"(?<!:):{name}\b", text)]
    return sa.text(text).bindparams(*(sa.bindparam(name, type_=_TYPES[name]) for name in named))
