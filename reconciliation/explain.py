"""Why each match is a match and each case a case: one record an id, made from the result of a run.

The counts and the runner-up are of the rows that were open when the run began; every one of them is
in its result. All of it is a function of the two frames, the result and the rules, and is worked
out for all groups at once; `explanation` asks the same code for one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from reconciliation.evidence import (
    as_one,
    comparable,
    compared,
    evidence_json,
    read_evidence,
    side_by_side,
)
from reconciliation.ranking import NO_RARITY, WEIGHED, WEIGHTS, scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciliation.evidence import Evidence
    from reconciliation.frames import Side
    from reconciliation.matching.kernel import Result
    from reconciliation.rules import Rules

    _Sides = dict[Side, pl.DataFrame]

EXPLANATIONS: Final = {
    "id": pl.String(),
    "of": pl.String(),
    "rule": pl.String(),
    "kind": pl.String(),
    "cause": pl.String(),
    "rules_version": pl.String(),
    "bank_candidates": pl.Int64(),
    "ledger_candidates": pl.Int64(),
    "runner_up": pl.String(),
    "expected_accidents": pl.String(),
    "states": pl.Int64(),
    "search_limit": pl.String(),
    "evidence": pl.String(),
}
"""Columns of `explained`; what they mean is said at `Explanation`. `runner_up` and `evidence` are
JSON, so that a Parquet file and a text column of a database hold the same."""

_SIDES: Final[tuple[Side, ...]] = ("bank", "ledger")
_NEAREST: Final = 4
"""Of rows that share an id, a reference or an amount with a member, so many on either side of it
(by amount, by date) are looked at for a runner-up, however many there are."""


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The most likely row that is no partner in the group.

    Attributes:
        side: "bank" or "ledger".
        account_id: its account.
        member_id: its entry or line id.
        score: as `ranking` adds it up, hundredths of a bit, but with texts by likeness alone, so
            that no other match or case has a part in it.
        lost_by: what it has less of than the partner of a pair, or what speaks against it:
            such as "other id", "amount differs by -500" (bank less ledger, fen), "booked 3 days
            after" (the entry, the line's date), "matched elsewhere with own_id", "proposed
            elsewhere with amount_window"; "not unique" if there are others like it, "not proved"
            if it is the only one and nothing more speaks for it.
    """

    side: Side
    account_id: str
    member_id: str
    score: int
    lost_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The engine's part of an explanation record.

    The members with their fen are in the result under the same id. The gateway adds from its own
    records: the run, the digests of its inputs, the proposer, the approver, what the match
    supersedes, and what it was undone by.

    Attributes:
        id: the match's or the case's.
        of: "match" or "case".
        rule: the pass that made the match; None for a case.
        kind: the case's kind; None for a match.
        cause: the case's cause; None for a match.
        rules_version: version of the rules.
        bank_candidates: how many entries could have been partners of its lines: open when the run
            began, of the same account and currency, with the same id, the same reference, or the
            same amount within the window. Its own entries count. A row that suits several members
            counts for each, so that of a group with several lines this is an upper bound.
        ledger_candidates: the same of lines for its entries.
        runner_up: None if nothing but its members came into question.
        expected_accidents: E, a fraction, if the match is a sum that nobody declared.
        states: how many partial sums were looked at for one of its members; None without a search.
        search_limit: the budget that stopped that search; None if none did.
        evidence: what the two sides say of each other; empty if it has one side only.
    """

    id: str
    of: Literal["match", "case"]
    rule: str | None
    kind: str | None
    cause: str | None
    rules_version: str
    bank_candidates: int
    ledger_candidates: int
    runner_up: RunnerUp | None
    expected_accidents: str | None
    states: int | None
    search_limit: str | None
    evidence: tuple[Evidence, ...]


def explanation(
    group_id: str, bank: pl.DataFrame, ledger: pl.DataFrame, result: Result, rules: Rules
) -> Explanation:
    """The record of one match or case; arguments as `explained`, its account's rows are enough.

    Raises:
        KeyError: the result has no such match or case.
        InputError: a frame does not fit its shape.
    """
    rows = explained(bank, ledger, result, rules, only=group_id)
    if rows.is_empty():
        raise KeyError(group_id)
    record = rows.row(0, named=True)
    runner_up, evidence = record.pop("runner_up"), record.pop("evidence")
    return Explanation(
        **record, runner_up=_read_runner_up(runner_up), evidence=read_evidence(evidence)
    )


def _read_runner_up(text: str | None) -> RunnerUp | None:
    if text is None:
        return None
    said = json.loads(text)
    return RunnerUp(**{**said, "lost_by": tuple(said["lost_by"])})


def explained(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    result: Result,
    rules: Rules,
    *,
    only: str | None = None,
) -> pl.DataFrame:
    """One row a match or case, in the order of the result, columns as `EXPLANATIONS`.

    Args:
        bank: the entries that the run was given, columns as `frames.BANK`.
        ledger: the lines, columns as `frames.LEDGER`.
        result: what `kernel.match` made of them.
        rules: the rules that it was made with.
        only: one id, if no others are wanted.

    Raises:
        InputError: a frame does not fit its shape.
    """
    groups = _groups(result)
    sides = _open_rows(comparable(bank, "bank", rules), comparable(ledger, "ledger", rules), groups)
    wanted = groups.heads if only is None else groups.heads.filter(pl.col("id") == only)
    counted = wanted.join(
        _counts(wanted, sides, rules), on="group", how="left", maintain_order="left"
    )
    parts = (
        _runners_up(counted, groups.heads, sides, rules),
        _searches(groups, result.searches),
        _evidence(wanted, sides, rules),
    )
    for part in parts:
        counted = counted.join(part, on="group", how="left", maintain_order="left")
    return counted.with_columns(
        rules_version=pl.lit(rules.version), evidence=pl.col("evidence").fill_null("[]")
    ).select(pl.col(name).cast(kind) for name, kind in EXPLANATIONS.items())


# --- the groups of a result ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Groups:
    """Matches and cases alike.

    Attributes:
        heads: one row a group: `group` (a number, in the order of the result), id, of, rule,
            status, kind, cause.
        members: one row a member: group, side, account_id, member_id, allocated (fen).
    """

    heads: pl.DataFrame
    members: pl.DataFrame


_NO_TEXT: Final = pl.lit(None, dtype=pl.String)


def _groups(result: Result) -> _Groups:
    rows = pl.concat(
        [
            result.matches.filter(pl.col("side") != "adjustment").select(
                "rule",
                "status",
                *("side", "account_id", "member_id"),
                id="match_id",
                of=pl.lit("match"),
                kind=_NO_TEXT,
                cause=_NO_TEXT,
                allocated="allocated_minor",
            ),
            result.cases.select(
                *("kind", "cause", "side", "account_id", "member_id"),
                id="case_id",
                of=pl.lit("case"),
                rule=_NO_TEXT,
                status=_NO_TEXT,
                allocated="amount_minor",
            ),
        ],
        how="diagonal",
    )
    heads = rows.select("id", "of", "rule", "status", "kind", "cause").unique(
        ["of", "id"], keep="first", maintain_order=True
    )
    numbered = heads.with_row_index("group")
    members = rows.join(numbered.select("group", "of", "id"), on=["of", "id"], how="left")
    return _Groups(
        numbered, members.select("group", "rule", "side", "account_id", "member_id", "allocated")
    )


def _open_rows(bank: pl.DataFrame, ledger: pl.DataFrame, groups: _Groups) -> _Sides:
    """Each side's rows with the group that each is in, and the amount that it has there.

    `free` says whether the row was open when the run began: what a decision took was not. `place`
    is a number for account and currency.
    """
    key = ["account_id", "currency"]
    places = pl.concat([bank.select(key), ledger.select(key)]).unique(maintain_order=True)
    numbered = places.with_row_index("place")
    return {
        "bank": _members(bank, numbered, groups, "bank"),
        "ledger": _members(ledger, numbered, groups, "ledger"),
    }


def _members(rows: pl.DataFrame, places: pl.DataFrame, groups: _Groups, side: Side) -> pl.DataFrame:
    mine = groups.members.filter(pl.col("side") == side).drop("side")
    placed = rows.join(mine, on=["account_id", "member_id"], maintain_order="left").join(
        places, on=["account_id", "currency"], maintain_order="left"
    )
    return placed.with_columns(
        amount="allocated", free=(pl.col("rule") != "pin").fill_null(value=True)
    ).drop("rule", "allocated")


# --- how many came into question -----------------------------------------------------------------

_BOTH_WAYS: Final[tuple[tuple[Side, Side], ...]] = (("ledger", "bank"), ("bank", "ledger"))
_TIES: Final = ("own", "ref", "amount")
"""What a row may share with its partner. Amounts only count within the window of days."""
_ASKED: Final = ("place", *_TIES, "date")


def _counts(heads: pl.DataFrame, sides: _Sides, rules: Rules) -> pl.DataFrame:
    """`bank_candidates` and `ledger_candidates` of each group, and its own rows (`bank_own`, ...).

    No fewer candidates than its own rows; no more others than the accounts have open.
    """
    counted = heads.select("group")
    for mine, other in _BOTH_WAYS:
        asked = sides[mine].select("group", *_ASKED).join(heads, on="group", how="semi")
        free = sides[other].select(*_ASKED, "free").filter("free")
        possible = _possible(asked, free, _Window.of(other, rules))
        own = sides[other].group_by("group").agg(pl.len().cast(pl.Int64).alias(f"{other}_own"))
        for part in (possible.rename({"possible": f"{other}_candidates"}), own):
            counted = counted.join(part, on="group", how="left", maintain_order="left")
    filled = counted.with_columns(pl.exclude("group").fill_null(0))
    return filled.with_columns(
        pl.max_horizontal(f"{side}_candidates", f"{side}_own").alias(f"{side}_candidates")
        for side in _SIDES
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """How many days a row of the other side may lie before and after a row that is asked about."""

    before: int
    after: int

    @classmethod
    def of(cls, other: Side, rules: Rules) -> _Window:
        days = (rules.window_days_before, rules.window_days_after)
        return cls(*(days if other == "bank" else reversed(days)))

    def first(self) -> pl.Expr:
        return pl.col("since") - pl.duration(days=self.before)

    def last(self) -> pl.Expr:
        return pl.col("until") + pl.duration(days=self.after)

    def merged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows alike but for their dates as one, where their windows leave no gap: `asked`."""
        key = ["group", "place", *_TIES]
        days = rows.select(*key, "date").unique().sort(*key, "date")
        gap = pl.col("date").diff().dt.total_days() > self.before + self.after + 1
        same = pl.struct(key) == pl.struct(key).shift()
        runs = days.with_columns(run=(gap | ~same).fill_null(value=True).cum_sum())
        spans = runs.group_by(*key, "run").agg(
            since=pl.col("date").min(), until=pl.col("date").max()
        )
        return spans.drop("run").with_row_index("asked")


def _possible(rows: pl.DataFrame, others: pl.DataFrame, window: _Window) -> pl.DataFrame:
    """By group, how many of the others share something with its rows; rows alike count once."""
    asked = window.merged(rows)
    parts = []
    for ties in chain.from_iterable(combinations(_TIES, size) for size in (1, 2, 3)):
        # those that share two of them have been counted twice, and so on
        sign = 1 if len(ties) % 2 else -1
        shared = _sharing(asked, others, ties, window)
        parts.append(shared.select("asked", count=pl.col("count") * sign))
    sums = pl.concat(parts).group_by("asked").agg(pl.col("count").sum())
    open_here = others.group_by("place").agg(most=pl.len().cast(pl.Int64))
    met = asked.join(sums, on="asked").join(open_here, on="place")
    places = met.group_by("group", "place").agg(
        possible=pl.min_horizontal(pl.col("count").sum(), pl.col("most").first())
    )
    return places.group_by("group").agg(pl.col("possible").sum())


def _sharing(
    asked: pl.DataFrame, others: pl.DataFrame, ties: Sequence[str], window: _Window
) -> pl.DataFrame:
    """How many of the others share all of `ties` with each row, if any do."""
    key = ["place", *ties]
    counted = (
        others.drop_nulls(ties)
        .group_by(key)
        .agg(count=pl.len().cast(pl.Int64), only=pl.col("date").first())
    )
    met = asked.drop_nulls(ties).join(counted, on=key)
    if "amount" not in ties:
        return met.select("asked", "count")
    lone, several = met.filter(pl.col("count") == 1), met.filter(pl.col("count") > 1)
    near = lone.filter(pl.col("only").is_between(window.first(), window.last()))
    return pl.concat([near.select("asked", "count"), _in_time(several, others, key, window)])


def _in_time(
    asked: pl.DataFrame, others: pl.DataFrame, key: list[str], window: _Window
) -> pl.DataFrame:
    """How many others of the same key lie within the window: two places in one sorted column."""
    here = others.join(asked, on=key, how="semi")
    nobody = pl.lit(None, dtype=asked.schema["asked"])
    marks = pl.concat(
        [
            asked.select(*key, "asked", day=window.first(), turn=pl.lit(0)),
            here.select(*key, asked=nobody, day="date", turn=pl.lit(1)),
            asked.select(*key, "asked", day=window.last(), turn=pl.lit(2)),
        ]
    ).sort(*key, "day", "turn")
    passed = marks.with_columns(passed=(pl.col("turn") == 1).cum_sum().cast(pl.Int64))
    bounds = passed.drop_nulls("asked").group_by("asked")
    return bounds.agg(count=pl.col("passed").max() - pl.col("passed").min())


# --- who came next -------------------------------------------------------------------------------


def _runners_up(
    counted: pl.DataFrame, heads: pl.DataFrame, sides: _Sides, rules: Rules
) -> pl.DataFrame:
    """`runner_up` of the groups that more rows came into question for than they have.

    A tie has no partners, so that its own rows compete: the second of them is the runner-up.
    """
    more = _contested(counted)
    pairs = pl.concat([_rivals(more, sides, mine, other) for mine, other in _BOTH_WAYS])
    weighed = _weighed(pl.concat([pairs, _partners(more, sides)]), sides, rules)
    rivals = _placed(weighed.filter(pl.col("side") != "both")).join(
        more.select("group", "tied", "bank_candidates", "ledger_candidates"), on="group"
    )
    first = pl.when("tied").then(2).otherwise(1)
    leaders = pl.concat(
        side.select("group", *(pl.col(name).alias(f"partner_{name}") for name in WEIGHTS))
        for side in (
            weighed.filter(pl.col("side") == "both"),
            rivals.filter("tied", pl.col("place") == 1),
        )
    )
    best = rivals.filter(pl.col("place") == first).join(leaders, on="group", how="left")
    return _told(best.join(_elsewhere(heads, sides), on=["side", "row"], how="left"))


def _contested(counted: pl.DataFrame) -> pl.DataFrame:
    """Groups with more candidates than members, and ties; `tied` says which are that."""
    tied = (pl.col("kind") == "ambiguous").fill_null(value=False) | (
        pl.col("rule") == "equal_amounts"
    ).fill_null(value=False)
    more = pl.any_horizontal(
        pl.col(f"{side}_candidates") > pl.col(f"{side}_own") for side in _SIDES
    )
    bank_most = pl.col("bank_own") >= pl.col("ledger_own")
    most = pl.when(bank_most).then(pl.lit("bank")).otherwise(pl.lit("ledger"))
    return counted.with_columns(tied=tied, most=most).filter(more | tied)


def _placed(rivals: pl.DataFrame) -> pl.DataFrame:
    """`place` of each rival in its group, by its best pair."""
    ordered = rivals.sort(
        *("group", "score", "apart", "side", "row", "bank", "ledger"),
        descending=[False, True, *[False] * 5],
    ).unique(["group", "side", "row"], keep="first", maintain_order=True)
    return ordered.with_columns(place=pl.int_range(1, pl.len() + 1).over("group"))


def _rivals(more: pl.DataFrame, sides: _Sides, mine: Side, other: Side) -> pl.DataFrame:
    """Pairs of a member and a row of the other side that is none: `group`, `side`, both rows."""
    few = ("group", "row", *_ASKED)
    members = sides[mine].select(few).join(more.select("group", "tied", "most"), on="group")
    free = sides[other].select(*few, "free").filter("free")
    near = pl.concat(
        _nearest(members, free, tie, "date" if tie == "amount" else "amount") for tie in _TIES
    ).unique()
    competing = pl.col("tied") & (pl.col("most") == other)
    foreign = near.filter((pl.col("group") != pl.col("group_other")) | competing)
    return foreign.select(
        "group",
        pl.col("row").alias(mine),
        pl.col("row_other").alias(other),
        side=pl.lit(other),
    ).select(_PAIR)


_PAIR: Final = ("group", "side", "bank", "ledger")


def _nearest(members: pl.DataFrame, others: pl.DataFrame, tie: str, by: str) -> pl.DataFrame:
    """Of the others with the same `tie`, those nearest to each member in the order of `by`."""
    key = ["place", tie]
    asked = members.drop_nulls(tie).join(others, on=key, how="semi")
    here = others.join(asked, on=key, how="semi")
    marks = pl.concat(
        [
            here.select(*key, "group", "row", pl.col(by).alias("by"), turn=pl.lit(0)),
            asked.select(
                *key, "group", "row", "tied", "most", pl.col(by).alias("by"), turn=pl.lit(1)
            ),
        ],
        how="diagonal",
    ).sort(*key, "by", "turn", "row")
    passed = marks.with_columns(passed=(pl.col("turn") == 0).cum_sum().cast(pl.Int64))
    numbered = passed.filter(pl.col("turn") == 0)
    around = [pl.col("passed") + step for step in range(1 - _NEAREST, _NEAREST + 1)]
    wanted = passed.filter(pl.col("turn") == 1).with_columns(passed=pl.concat_list(around))
    met = wanted.explode("passed").join(numbered, on=["passed", *key], suffix="_other")
    return met.select("group", "row", "tied", "most", "group_other", "row_other")


def _partners(more: pl.DataFrame, sides: _Sides) -> pl.DataFrame:
    """The pairs that are groups of one entry and one line, marked as of both sides."""
    lone = (pl.col("bank_own") == 1) & (pl.col("ledger_own") == 1)
    pairs = more.filter(lone & ~pl.col("tied")).select("group")
    bank = pairs.join(sides["bank"].select("group", bank="row"), on="group")
    both = bank.join(sides["ledger"].select("group", ledger="row"), on="group")
    return both.select("group", "bank", "ledger", side=pl.lit("both")).select(_PAIR)


def _weighed(pairs: pl.DataFrame, sides: _Sides, rules: Rules) -> pl.DataFrame:
    """The pairs with their weights and scores, which nothing outside of a pair has a part in."""
    bank, ledger = (
        sides[side]
        .join(pairs, left_on="row", right_on=side, how="semi")
        .sort("row", "free", descending=[False, True])
        .unique("row", keep="first", maintain_order=True)
        .drop("group", "free", "place")
        for side in _SIDES
    )
    met = scored(side_by_side(bank, ledger, pairs), NO_RARITY, rules)
    row = pl.when(pl.col("side") == "bank").then("bank").otherwise("ledger")
    return met.with_columns(row=row, apart=pl.col("days").abs())


def _told(best: pl.DataFrame) -> pl.DataFrame:
    """`runner_up` as JSON: which row, its score, and what it lost by."""
    tie = pl.lit("not unique")
    elsewhere = pl.when("tied").then(tie).otherwise("elsewhere")
    reasons = pl.concat_list(*(_reason(field) for field in WEIGHED), elsewhere).list.drop_nulls()
    alone = pl.max_horizontal("bank_candidates", "ledger_candidates") == 1
    none = pl.when(alone).then(pl.lit("not proved")).otherwise(tie)
    on_bank = pl.col("side") == "bank"
    told = pl.struct(
        "side",
        pl.when(on_bank).then("account_id").otherwise("account_id_ledger").alias("account_id"),
        pl.when(on_bank).then("member_id").otherwise("member_id_ledger").alias("member_id"),
        "score",
        lost_by=pl.when(reasons.list.len() > 0).then(reasons).otherwise(pl.concat_list(none)),
    )
    return best.select("group", runner_up=told.struct.json_encode())


_OTHER: Final = {
    "own_id": ("own_same", "other id", "no id"),
    "reference": ("ref_same", "other reference", "no reference"),
    "batch_id": ("batch_same", "other batch", "no batch"),
    "counterparty_account": (
        "number_same",
        "other counterparty account",
        "no counterparty account",
    ),
}


def _reason(field: str) -> pl.Expr:
    """What is said of a field in which the runner-up weighs less; null where it does not."""
    weight, partner = pl.col(f"weight_{field}"), pl.col(f"partner_weight_{field}").fill_null(0)
    return pl.when(weight < partner).then(_words_for(field))


def _words_for(field: str) -> pl.Expr:
    if field in _OTHER:
        same, other, none = _OTHER[field]
        return pl.when(pl.col(same).is_null()).then(pl.lit(none)).otherwise(pl.lit(other))
    if field == "amount":
        return pl.format("amount differs by {}", "difference")
    if field == "date":
        before = pl.format("booked {} days before", -pl.col("days"))
        after = pl.format("booked {} days after", "days")
        return pl.when(pl.col("days") < 0).then(before).otherwise(after)
    return pl.lit("other counterparty" if field == "counterparty_name" else "text less alike")


def _elsewhere(heads: pl.DataFrame, sides: _Sides) -> pl.DataFrame:
    """Of the rows that are in a match, by what rule."""
    how = pl.when(pl.col("status") == "automatic").then(pl.lit("matched"))
    said = pl.format("{} elsewhere with {}", how.otherwise(pl.lit("proposed")), "rule")
    matches = heads.filter(pl.col("of") == "match").select("group", elsewhere=said)
    return pl.concat(
        sides[side]
        .select("group", "row", "free")
        .filter("free")
        .join(matches, on="group")
        .select("row", "elsewhere", side=pl.lit(side))
        for side in _SIDES
    )


# --- searches and evidence -----------------------------------------------------------------------


def _searches(groups: _Groups, searches: pl.DataFrame) -> pl.DataFrame:
    """E, states and limit of each group's search for a sum; of several the one that found it."""
    named = searches.select(
        *("side", "account_id", "member_id", "states", "solutions"),
        search_limit="limit",
        expected_accidents="expected_accidents",
    )
    met = groups.members.join(named, on=["side", "account_id", "member_id"])
    told = met.join(groups.heads.select("group", "of"), on="group").with_columns(
        expected_accidents=pl.when(pl.col("rule") == "subset_sum").then("expected_accidents")
    )
    first = told.sort(
        "group", pl.col("expected_accidents").is_null(), "side", "account_id", "member_id"
    ).unique("group", keep="first", maintain_order=True)
    return first.select("group", "expected_accidents", "states", "search_limit")


def _evidence(heads: pl.DataFrame, sides: _Sides, rules: Rules) -> pl.DataFrame:
    """What the two sides of each group say of each other, as JSON."""
    bank, ledger = (
        as_one(sides[side].join(heads, on="group", how="semi").drop("free", "place"), side)
        for side in _SIDES
    )
    both = bank.join(ledger, on="group", suffix="_ledger")
    return both.select("group").with_columns(evidence_json(compared(both, rules)))
