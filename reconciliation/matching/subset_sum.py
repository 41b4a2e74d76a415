"""Pass 9: several rows of one side that add up to one of the other, and nobody has said so.

Only among what every other pass has left, only within the window of days, and only within budgets.
A sum that comes out even proves little: it counts only if it is the only one, if none of its rows
is wanted elsewhere, and, for a match without a person, if hardly any accident could bring it about.
Where a budget ends a search, the row is handed over as not searched, never as not found.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from reconciliation.matching import repeats
from reconciliation.matching.amount_window import candidates, crowds
from reconciliation.matching.core import EQUAL, Found, says
from reconciliation.matching.search import accidents, sums_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from fractions import Fraction

    from reconciliation.frames import Side
    from reconciliation.matching.core import Scene
    from reconciliation.rules import Rules

SEARCHES: Final = {
    "side": pl.String(),
    "row": pl.UInt32(),
    "limit": pl.String(),
    "candidates": pl.Int64(),
    "states": pl.Int64(),
    "solutions": pl.Int64(),
    "expected_accidents": pl.String(),
}
"""One row a search that found something or was stopped. `limit` names what stopped it
("candidates", "states", "account"; null if nothing did), `expected_accidents` is E, a fraction."""

NONE: Final = pl.DataFrame(schema=SEARCHES)

_SIDES: Final[tuple[Side, ...]] = ("bank", "ledger")
_ITEM: Final = ("side", "row", "amount", "day", "own", "batch")
_LEAST: Final = 2


class Item(NamedTuple):
    """An open row; `amount` without its sign, `day` counted from an epoch."""

    side: Side
    row: int
    amount: int
    day: int
    own: str | None
    batch: str | None


class Search(NamedTuple):
    """What came of one target.

    Attributes:
        target: the row whose amount was to be made up.
        candidates: how many rows could have had a part in it.
        states: how many partial sums were looked at.
        solutions: up to two sets of rows that make up the amount.
        limit: the budget that stopped the search; None if none did.
        expected: E of the only solution; None if there is not exactly one.
    """

    target: Item
    candidates: int
    states: int
    solutions: tuple[tuple[Item, ...], ...]
    limit: str | None
    expected: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """What the pass found.

    Attributes:
        automatic: groups that need no person.
        proposed: groups that do.
        searches: columns as `SEARCHES`.
    """

    automatic: Found
    proposed: Found
    searches: pl.DataFrame


def find(scene: Scene) -> Sums:
    """Sums of open rows that are the only ones to make up a row of the other side."""
    blocked = _blocked(scene)
    bound = scene.rules.accident_bound()
    sure: list[Search] = []
    doubtful: list[Search] = []
    said: list[tuple[object, ...]] = []
    for bank, ledger in _shelves(scene):
        searches = _searched(bank, ledger, scene.rules)
        hits = _uncontested(searches, blocked)
        limited = any(search.limit for search in searches)
        for hit in hits:
            is_sure = not limited and hit.expected is not None and hit.expected <= bound
            (sure if is_sure else doubtful).append(hit)
        said += map(_report, searches)
    return Sums(
        _found(sure),
        _found(doubtful),
        pl.DataFrame(said, schema=SEARCHES, orient="row"),
    )


def _blocked(scene: Scene) -> frozenset[tuple[str, int]]:
    """Rows that something better may be said of; they count as answers, but make no match."""
    pairs, full = candidates(scene), crowds(scene)
    echoes = _echoes(scene)
    rules = scene.rules
    said = pl.concat_str("text", "counterparty_name", separator=" ", ignore_nulls=True)
    words = (*rules.fee_words, *rules.interest_words, *rules.return_words)
    rows = {
        "bank": (
            pairs["bank"],
            scene.open.bank.join(full, on=EQUAL, how="semi")["row"],
            echoes.bank["row"],
            scene.open.bank.filter(says(said, words))["row"],
        ),
        "ledger": (
            pairs["ledger"],
            scene.open.ledger.join(full, on=EQUAL, how="semi")["row"],
            echoes.ledger["row"],
        ),
    }
    return frozenset(
        (side, row) for side, parts in rows.items() for part in parts for row in part.to_list()
    )


def _echoes(scene: Scene) -> Found:
    """Rows that repeat a matched one; of rows alike that are all open, each may be a part."""
    repeated = repeats.afterwards(scene)
    return Found(
        *(
            repeated.filter(pl.col("side") == side)
            .join(rows, left_on="other", right_on="row", how="anti")
            .select("group", "row")
            for side, rows in (("bank", scene.open.bank), ("ledger", scene.open.ledger))
        )
    )


# --- which rows are looked at --------------------------------------------------------------------


def _shelves(scene: Scene) -> Iterable[tuple[list[Item], list[Item]]]:
    """Both sides of each account and direction in which some sum may come out, in order."""
    bank = _rows("bank", scene.open.bank.filter(~pl.col("returned")))
    ledger = _rows("ledger", scene.open.ledger)
    worth = _worth_it(bank, ledger, scene.rules.subset_items)
    shelves = (_grouped(rows.join(worth, on=_SHELF, how="semi")) for rows in (bank, ledger))
    return zip(*shelves, strict=True)


_SHELF: Final = ("account", "way")


def _rows(side: Side, rows: pl.DataFrame) -> pl.DataFrame:
    amounts = rows.filter(pl.col("amount") != 0).with_columns(
        way=pl.col("amount").sign(),
        amount=pl.col("amount").abs(),
        day=pl.col("date").dt.epoch("d").cast(pl.Int64),
    )
    return amounts.with_columns(side=pl.lit(side)).select(*_SHELF, *_ITEM)


def _worth_it(bank: pl.DataFrame, ledger: pl.DataFrame, items: int) -> pl.DataFrame:
    """Accounts and directions in which a row may lie between the least and the greatest sum."""
    both = _extent(bank).join(_extent(ledger), on=_SHELF, suffix="_ledger")
    one_to_many = _within("", "_ledger", items)
    many_to_one = _within("_ledger", "", items)
    return both.filter(one_to_many | many_to_one).select(_SHELF)


def _extent(rows: pl.DataFrame) -> pl.DataFrame:
    amount = pl.col("amount")
    return rows.group_by(_SHELF).agg(least=amount.min(), most=amount.max(), count=pl.len())


def _within(targets: str, parts: str, items: int) -> pl.Expr:
    """Whether some target is neither below twice the least part nor above the most of them."""
    above = pl.col(f"most{targets}") >= _LEAST * pl.col(f"least{parts}")
    below = pl.col(f"least{targets}") <= items * pl.col(f"most{parts}")
    return (pl.col(f"count{parts}") >= _LEAST) & above & below


def _grouped(rows: pl.DataFrame) -> Iterator[list[Item]]:
    ordered = rows.sort(*_SHELF, "row")
    items = map(Item._make, ordered.select(_ITEM).rows())
    for count in ordered.select(pl.struct(_SHELF).rle().struct.field("len")).to_series():
        yield list(islice(items, count))


# --- searching -----------------------------------------------------------------------------------


def _searched(bank: Sequence[Item], ledger: Sequence[Item], rules: Rules) -> list[Search]:
    """A search for every row of either side for which there is something to say."""
    before, after = rules.window_days_before, rules.window_days_after
    desk = _Desk(rules, rules.subset_account_states)
    lines = _Stock(ledger, rules.subset_items, after, before)
    entries = _Stock(bank, rules.subset_items, before, after)
    targets = [*((entry, lines) for entry in bank), *((line, entries) for line in ledger)]
    searches = [desk.search(target, stock) for target, stock in targets if stock.reaches(target)]
    return [search for search in searches if search is not None]


_DAY: Final = attrgetter("day")
_AMOUNT: Final = attrgetter("amount")
_NAME: Final = itemgetter(0, 1)
"""Side and row of an item."""


class _Stock:
    """Rows of one side by day, with the least and greatest sum of up to `most` of them."""

    def __init__(self, items: Sequence[Item], most: int, back: int, ahead: int) -> None:
        # they come by row, and of one day they stay so
        self.items = sorted(items, key=_DAY)
        self.days = [item.day for item in self.items]
        self.back, self.ahead = back, ahead
        amounts = sorted(map(_AMOUNT, items))
        self.least = amounts[0]
        self.several = len(amounts) >= _LEAST
        self.low, self.high = sum(amounts[:_LEAST]), sum(amounts[-most:])

    def reaches(self, target: Item) -> bool:
        """Whether the least and the greatest sum of all rows leave room for the target."""
        return self.several and self.low <= target.amount <= self.high

    def around(self, day: int) -> Sequence[Item]:
        """The rows that may belong to a row of the other side of that day."""
        first = bisect_left(self.days, day - self.back)
        return self.items[first : bisect_right(self.days, day + self.ahead)]


@dataclass(slots=True)
class _Desk:
    """Searches of one account and direction, on one budget."""

    rules: Rules
    left: int

    def search(self, target: Item, stock: _Stock) -> Search | None:
        """What came of a target; None if there is nothing to it."""
        if self.left <= 0:
            return Search(target, 0, 0, (), "account")
        parts = self._parts(target, stock)
        if len(parts) > self.rules.subset_candidates:
            return Search(target, len(parts), 0, (), "candidates")
        if len(parts) < _LEAST or _top(parts, self.rules.subset_items) < target.amount:
            return None
        return self._sums(target, parts)

    def _parts(self, target: Item, stock: _Stock) -> list[Item]:
        """Rows that may be a part of the target, no more of them than it takes to give up."""
        parts: list[Item] = []
        most = target.amount - stock.least
        for item in stock.around(target.day):
            self.left -= 1
            if item.amount <= most and _agree(target, item):
                parts.append(item)
                if len(parts) > self.rules.subset_candidates:
                    break
        return parts

    def _sums(self, target: Item, parts: Sequence[Item]) -> Search | None:
        states = max(min(self.rules.subset_states, self.left), 0)
        amounts = list(map(_AMOUNT, parts))
        answer = sums_to(amounts, target.amount, self.rules.subset_items, states)
        self.left -= answer.states
        sets = tuple(tuple(parts[n] for n in solution) for solution in answer.solutions)
        limit = None
        if answer.capped:
            limit = "states" if states == self.rules.subset_states else "account"
        if limit is None and not sets:
            return None
        expected = None
        if limit is None and len(sets) == 1:
            expected = accidents(len(parts), [item.amount for item in sets[0]], target.amount)
        return Search(target, len(parts), answer.states, sets, limit, expected)


def _top(parts: Sequence[Item], items: int) -> int:
    return sum(sorted(map(_AMOUNT, parts), reverse=True)[:items])


def _agree(one: Item, other: Item) -> bool:
    """Neither ids nor batches contradict."""
    return _same(one.own, other.own) and _same(one.batch, other.batch)


def _same(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


# --- judging -------------------------------------------------------------------------------------


def _uncontested(
    searches: Sequence[Search], blocked: frozenset[tuple[str, int]]
) -> Iterator[Search]:
    """Only answers none of whose rows is in any other answer, or spoken for otherwise."""
    uses: Counter[tuple[str, int]] = Counter()
    for search in searches:
        if search.solutions:
            # an item of two solutions is used once by the search
            uses.update({_NAME(i) for i in chain((search.target,), *search.solutions)})
    for search in searches:
        if search.limit is None and len(search.solutions) == 1:
            members = list(map(_NAME, (search.target, *search.solutions[0])))
            if all(uses[member] == 1 and member not in blocked for member in members):
                yield search


def _found(hits: Sequence[Search]) -> Found:
    """Each answer as a group, named by its first row, entries counted apart from lines."""
    rows: dict[Side, tuple[list[int], list[int]]] = {"bank": ([], []), "ledger": ([], [])}
    for hit in hits:
        members = (hit.target, *hit.solutions[0])
        group = min(item.row for item in members if item.side == "bank")
        for item in members:
            groups, places = rows[item.side]
            groups.append(group)
            places.append(item.row)
    schema = {"group": pl.UInt32(), "row": pl.UInt32()}
    bank, ledger = (
        pl.DataFrame(dict(zip(schema, rows[side], strict=True)), schema=schema).sort("group", "row")
        for side in _SIDES
    )
    return Found(bank, ledger)


def _report(search: Search) -> tuple[object, ...]:
    """What is said of a search, in the order of `SEARCHES`."""
    expected = None if search.expected is None else str(search.expected)
    told = (search.limit, search.candidates, search.states, len(search.solutions), expected)
    return (search.target.side, search.target.row, *told)
