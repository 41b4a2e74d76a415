"""Pass 9: several rows of one side that add up to one of the other, and nobody has said so.

Only among what every other pass has left, only within the window of days, and only within budgets.
A sum that comes out even proves little: it counts only if it is the only one, if none of its rows
is wanted elsewhere, and, for a match without a person, if hardly any accident could bring it about.
Where a budget ends a search, the row is handed over as not searched, never as not found.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from reconciliation.matching import repeats, whole_sums
from reconciliation.matching.amount_window import candidates, crowds
from reconciliation.matching.core import EQUAL, Found, says
from reconciliation.matching.search import accidents, sums_to
from reconciliation.matching.shelves import ITEM, LEAST, SHELF, shelved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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


class Item(NamedTuple):
    """An open row, columns as `shelves.ITEM`."""

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

    def used(self) -> set[Item]:
        """The rows of all solutions and the target; none where there is no solution."""
        return {item for rows in self.solutions for item in (self.target, *rows)}


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


@dataclass(frozen=True, slots=True)
class _Answers:
    """What searches came to.

    Attributes:
        searches: columns as `SEARCHES`, and whether an accident is `unlikely` enough.
        used: the rows of each search's solutions and its target (`side`, `row`), each once;
            `target_side` and `target` name the search.
    """

    searches: pl.DataFrame
    used: pl.DataFrame


def find(scene: Scene) -> Sums:
    """Sums of open rows that are the only ones to make up a row of the other side."""
    rules = scene.rules
    bank, ledger = shelved(scene)
    whole, settled = whole_sums.find(bank, ledger, rules)
    rest = [rows.join(settled, on=SHELF, how="anti") for rows in (bank, ledger)]
    answers = (_read_off(whole, rules), _searched(rest[0], rest[1], rules))
    searches = pl.concat(answer.searches for answer in answers)
    used = pl.concat(answer.used for answer in answers)
    hits = _uncontested(searches, used, _blocked(scene))
    return Sums(
        _found(hits.filter("unlikely")),
        _found(hits.filter(~pl.col("unlikely"))),
        searches.drop("unlikely"),
    )


def _blocked(scene: Scene) -> pl.DataFrame:
    """Rows that something better may be said of; they count as answers, but make no match.

    Columns `side` and `row`.
    """
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
    return pl.concat(
        pl.DataFrame({"row": row}).select(side=pl.lit(side), row="row")
        for side, parts in rows.items()
        for row in parts
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


# --- without a search ----------------------------------------------------------------------------


def _read_off(whole: pl.DataFrame, rules: Rules) -> _Answers:
    """The sums that `whole_sums` found, as if they had been searched for."""
    sums = whole.group_by("side", "row", "amount", "states").agg("part_amount")
    chances = [
        accidents(len(amounts), amounts, target)
        for amounts, target in zip(sums["part_amount"].to_list(), sums["amount"], strict=True)
    ]
    bound = rules.accident_bound()
    searches = sums.select(
        "side",
        "row",
        limit=pl.lit(None, dtype=pl.String),
        candidates=pl.col("part_amount").list.len().cast(pl.Int64),
        states="states",
        solutions=pl.lit(1, dtype=pl.Int64),
        expected_accidents=pl.Series(map(str, chances), dtype=pl.String),
        unlikely=pl.Series([chance <= bound for chance in chances], dtype=pl.Boolean),
    )
    search = {"target_side": "side", "target": "row"}
    parts = whole.select(**search, side="part_side", row="part")
    targets = sums.select(**search, side="side", row="row")
    return _Answers(searches, pl.concat([parts, targets]))


# --- searching -----------------------------------------------------------------------------------


def _searched(bank: pl.DataFrame, ledger: pl.DataFrame, rules: Rules) -> _Answers:
    """What every search came to, account by account and direction by direction."""
    bound = rules.accident_bound()
    said: list[tuple[object, ...]] = []
    used: list[tuple[object, ...]] = []
    for entries, lines in zip(_grouped(bank), _grouped(ledger), strict=True):
        searches = _searches(entries, lines, rules)
        limited = any(search.limit for search in searches)
        for search in searches:
            expected = search.expected
            unlikely = not limited and expected is not None and expected <= bound
            said.append((*_report(search), unlikely))
            used += ((*_NAME(search.target), *_NAME(item)) for item in search.used())
    return _Answers(
        pl.DataFrame(said, schema=_JUDGED, orient="row"),
        pl.DataFrame(used, schema=_USED, orient="row"),
    )


_JUDGED: Final = {**SEARCHES, "unlikely": pl.Boolean()}
_USED: Final = {
    "target_side": pl.String(),
    "target": pl.UInt32(),
    "side": pl.String(),
    "row": pl.UInt32(),
}


def _grouped(rows: pl.DataFrame) -> Iterator[list[Item]]:
    ordered = rows.sort(*SHELF, "row")
    items = map(Item._make, ordered.select(ITEM).rows())
    for count in ordered.select(pl.struct(SHELF).rle().struct.field("len")).to_series():
        yield list(islice(items, count))


def _report(search: Search) -> tuple[object, ...]:
    """What is said of a search, in the order of `SEARCHES`."""
    expected = None if search.expected is None else str(search.expected)
    told = (search.limit, search.candidates, search.states, len(search.solutions), expected)
    return (*_NAME(search.target), *told)


def _searches(bank: Sequence[Item], ledger: Sequence[Item], rules: Rules) -> list[Search]:
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
        self.several = len(amounts) >= LEAST
        self.low, self.high = sum(amounts[:LEAST]), sum(amounts[-most:])

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
        if len(parts) < LEAST or _top(parts, self.rules.subset_items) < target.amount:
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


_SEARCH: Final = ("target_side", "target")


def _uncontested(searches: pl.DataFrame, used: pl.DataFrame, blocked: pl.DataFrame) -> pl.DataFrame:
    """The rows used by only answers none of whose rows is in any other, or spoken for otherwise."""
    wanted = used.filter(pl.len().over("side", "row") > 1)
    spoken_for = used.join(blocked, on=["side", "row"], how="semi")
    contested = pl.concat([wanted, spoken_for])
    only = searches.filter(pl.col("limit").is_null(), pl.col("solutions") == 1).select(
        "unlikely", target_side="side", target="row"
    )
    return used.join(only, on=_SEARCH).join(contested, on=_SEARCH, how="anti")


def _found(hits: pl.DataFrame) -> Found:
    """Each answer as a group, named by its first entry, entries counted apart from lines."""
    on_bank = pl.col("side") == "bank"
    named = hits.with_columns(group=pl.col("row").filter(on_bank).min().over(_SEARCH))
    ordered = named.sort("group", "row")
    return Found(
        ordered.filter(on_bank).select("group", "row"),
        ordered.filter(~on_bank).select("group", "row"),
    )
