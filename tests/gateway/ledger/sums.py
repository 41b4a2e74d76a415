"""The sums by day and by month, made again from the lines and postings that they are sums of."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.clock import bank_date
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from gateway.store import Store

_Row = dict[str, Any]


async def check_sums(store: Store) -> None:
    """Every sum that the database keeps is that of its rows, and none is missing."""
    lines = await _rows(store, t.disclosed_lines)
    assert _told(await _rows(store, t.book_days), 3) == _book_days(lines)
    assert _told(await _rows(store, t.category_months), 5) == _category_months(lines)
    moved: Counter[tuple[Any, ...]] = Counter()
    for row in await _rows(store, t.postings):
        if row["account_kind"] == "BANK":
            moved[row["fund_id"], row["effective_date"]] += row["amount_minor"]
    told = _told(await _rows(store, t.bank_days), 2)
    assert told == {key: (minor,) for key, minor in moved.items() if minor}


async def _rows(store: Store, table: sa.Table) -> list[_Row]:
    async with store.transaction(GATEWAY) as conn:
        return [dict(row._mapping) for row in await conn.execute(sa.select(table))]


def _told(rows: Iterable[_Row], key_columns: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What is not nothing, by key."""
    split = (tuple(row.values()) for row in rows)
    told = {each[:key_columns]: each[key_columns:] for each in split}
    return {key: sums for key, sums in told.items() if any(sums)}


def _book_days(lines: Sequence[_Row]) -> Mapping[tuple[Any, ...], tuple[Any, ...]]:
    booked: Counter[tuple[str, str, date]] = Counter()
    settled: Counter[tuple[str, str, date]] = Counter()
    numbers: dict[tuple[str, str, date], list[int]] = defaultdict(list)
    for line in lines:
        fund_book, day = (line["fund_id"], line["book"]), line["effective_date"]
        booked[*fund_book, day] += line["amount_minor"]
        numbers[*fund_book, day].append(line["line_number"])
        if closed_on := line["bank_value_date"] or line["match_date"]:
            settled[*fund_book, max(day, closed_on)] += line["amount_minor"]
    sums = {
        key: (
            booked[key],
            settled[key],
            min(numbers[key], default=None),
            max(numbers[key], default=None),
        )
        for key in {*booked, *settled}
    }
    return {key: each for key, each in sums.items() if any(each)}


def _category_months(lines: Sequence[_Row]) -> Mapping[tuple[Any, ...], tuple[Any, ...]]:
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        month, known = line["effective_date"].replace(day=1), bank_date(line["disclosed_at"])
        both = sums[line["fund_id"], month, known, line["book"], line["category"]]
        received = (line["amount_minor"] > 0) == (line["corrects"] is None)
        both[0 if received else 1] += line["amount_minor"] * (1 if received else -1)
    return {key: tuple(each) for key, each in sums.items() if any(each)}
