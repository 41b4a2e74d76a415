"""Which open rows of the other side a row most likely belongs to, best first, and why.

A score is a sum of weights, one a field, as Fellegi and Sunter add up evidence: hundredths of a bit
for what agrees, less for what does not (`rules.Ranking`). Nothing here makes a match. Words count
by how many of the rows compared have them, so that a rare name outweighs a common phrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from reconciliation.evidence import (
    common_words,
    comparable,
    compared,
    evidence_json,
    read_evidence,
    side_by_side,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciliation.evidence import Evidence
    from reconciliation.frames import Side
    from reconciliation.rules import Agreement, Likeness, Ranking, Rules, Step

WEIGHED: Final = (
    *("own_id", "reference", "batch_id", "amount", "date"),
    *("counterparty_account", "counterparty_name", "text"),
)
"""Fields that have a weight, in the order in which they are told."""
WEIGHTS: Final = tuple(f"weight_{field}" for field in WEIGHED)
"""The columns of their weights, hundredths of a bit."""

_SLICE_PAIRS: Final = 2_000_000
"""No more pairs are compared at a time, but for one row's: a bound on memory, not on results."""
_MOST_BITS: Final = 24
_HALVES: Final = (32, 16, 8, 4, 2, 1)
_LONGEST: Final = sum(_HALVES)
"""No more characters of two texts than these are searched for a common beginning."""
_PLACE: Final = ("account_id", "currency")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible partner of a row.

    Attributes:
        place: 1 is the best.
        account_id: its account.
        member_id: its entry or line id.
        score: the sum of the weights, hundredths of a bit.
        weights: what each field adds; fields that add nothing are left out.
        evidence: both values of every field and what comparing them gives.
    """

    place: int
    account_id: str
    member_id: str
    score: int
    weights: Mapping[str, int]
    evidence: tuple[Evidence, ...]


def candidates(
    bank: pl.DataFrame, ledger: pl.DataFrame, of: Side, rules: Rules
) -> dict[tuple[str, str], tuple[Candidate, ...]]:
    """The candidates of a few rows, by account and id of the row; for one row or one case.

    Args:
        bank: entries, columns as `frames.BANK`.
        ledger: lines, columns as `frames.LEDGER`.
        of: the side whose rows are asked about; all open rows of the other side of their accounts
            are to be given.
        rules: the weights, and how many candidates are kept.

    Raises:
        InputError: a frame does not fit its shape.
    """
    told: dict[tuple[str, str], list[Candidate]] = {}
    for row in ranked(bank, ledger, of, rules, with_evidence=True).iter_rows(named=True):
        key = (row["account_id"], row["member_id"])
        told.setdefault(key, []).append(_candidate(row))
    return {key: tuple(found) for key, found in told.items()}


def _candidate(row: dict[str, Any]) -> Candidate:
    weights = {field: row[f"weight_{field}"] for field in WEIGHED}
    return Candidate(
        place=row["place"],
        account_id=row["account_id"],
        member_id=row["candidate_id"],
        score=row["score"],
        weights={field: weight for field, weight in weights.items() if weight},
        evidence=read_evidence(row["evidence"]),
    )


def ranked(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    of: Side,
    rules: Rules,
    *,
    with_evidence: bool = False,
) -> pl.DataFrame:
    """The best candidates of every row of a side, by row and place; arguments as `candidates`.

    Columns: account_id, currency, member_id (the row), place (from 1), candidate_id (of the other
    side), score and `WEIGHTS`, in hundredths of a bit, and if wanted evidence, as
    `evidence.evidence_json` has it. Of equal scores the one with fewer days between comes first,
    then the first by id: the order of the rows given plays no part.

    Raises:
        InputError: a frame does not fit its shape.
    """
    entries, lines = comparable(bank, "bank", rules), comparable(ledger, "ledger", rules)
    rarity = rarity_of([entries, lines])
    parts = [
        _best(scored(side_by_side(entries, lines, pairs), rarity, rules), of, rules, with_evidence)
        for pairs in _reachable(entries, lines, of, rules.ranking)
    ]
    return pl.concat(parts)


def _reachable(
    entries: pl.DataFrame, lines: pl.DataFrame, of: Side, reach: Ranking
) -> Iterator[pl.DataFrame]:
    """Pairs of one account and currency that amount and days, an id or a reference allow.

    Some of the rows asked about at a time, as `_SLICE_PAIRS` allows, and at least once.
    """
    asked, others = (entries, lines) if of == "bank" else (lines, entries)
    few = ("row", *_PLACE, "amount", "date", "own", "ref")
    there = others.select(few).lazy()
    most = others.group_by(_PLACE).len()["len"].max() or 1
    step = max(1, _SLICE_PAIRS // int(str(most)))
    for start in range(0, max(asked.height, 1), step):
        here = asked.select(few)[start : start + step].lazy()
        left, right = (here, there) if of == "bank" else (there, here)
        met = left.join(right, on=_PLACE, suffix="_ledger").filter(_in_reach(reach))
        yield met.select(bank="row", ledger="row_ledger").collect(engine="streaming")


def _in_reach(reach: Ranking) -> pl.Expr:
    days = (pl.col("date") - pl.col("date_ledger")).dt.total_days()
    difference = (pl.col("amount") - pl.col("amount_ledger")).abs().cast(pl.Int128)
    most = pl.col("amount_ledger").abs().cast(pl.Int128) * reach.reach_permille
    near = days.is_between(-reach.reach_days_before, reach.reach_days_after) & (
        difference * 1_000 <= most
    )
    same = (pl.col(name) == pl.col(f"{name}_ledger") for name in ("own", "ref"))
    return pl.any_horizontal(near, *(each.fill_null(value=False) for each in same))


def _best(pairs: pl.DataFrame, of: Side, rules: Rules, with_evidence: bool) -> pl.DataFrame:
    """The best pairs of each row of a side, in order."""
    asked, other = ("bank", "ledger") if of == "bank" else ("ledger", "bank")
    ordered = pairs.with_columns(apart=pl.col("days").abs()).sort(
        asked, "score", "apart", other, descending=[False, True, False, False]
    )
    placed = ordered.with_columns(place=pl.int_range(1, pl.len() + 1).over(asked))
    best = placed.filter(pl.col("place") <= rules.ranking.best)
    names = ("member_id", "member_id_ledger") if of == "bank" else ("member_id_ledger", "member_id")
    told = best.select(
        *_PLACE,
        pl.col(names[0]).alias("member_id"),
        "place",
        pl.col(names[1]).alias("candidate_id"),
        "score",
        *WEIGHTS,
    )
    return told.with_columns(evidence_json(best)) if with_evidence else told


# --- scores --------------------------------------------------------------------------------------


def scored(pairs: pl.DataFrame, rarity: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Pairs side by side, compared, with `WEIGHTS` and their sum `score`; `rarity` of the rows."""
    weights = rules.ranking
    found = _with_bits(compared(pairs, rules), rarity)
    weighed = found.with_columns(
        weight_own_id=_exact("own", weights.own_id),
        weight_reference=_exact("ref", weights.reference),
        weight_batch_id=_exact("batch", weights.batch_id),
        weight_amount=_amount(weights),
        weight_date=_stepped(pl.col("days"), weights.days_steps, weights.days_beyond),
        weight_counterparty_account=_exact("number", weights.counterparty_account),
        weight_counterparty_name=_likeness("name", weights.counterparty_name),
        weight_text=_likeness("text", weights.text) + pl.col("bits") * weights.text_bit,
    )
    return weighed.with_columns(score=pl.sum_horizontal(WEIGHTS))


def _exact(name: str, weights: Agreement) -> pl.Expr:
    same = pl.col(f"{name}_same")
    weight = pl.when(same).then(_minor(weights.agrees)).when(~same).then(_minor(weights.differs))
    return weight.otherwise(_minor(0))


def _minor(weight: int) -> pl.Expr:
    return pl.lit(weight, dtype=pl.Int32)


def _likeness(name: str, weights: Likeness) -> pl.Expr:
    table = weights.model_dump()
    like = pl.col(f"{name}_like")
    return like.replace_strict(table, default=0, return_dtype=pl.Int32)


def _amount(weights: Ranking) -> pl.Expr:
    near = _stepped(pl.col("permille"), weights.amount_steps, weights.amount_beyond)
    return (
        pl.when(pl.col("difference") == 0)
        .then(_minor(weights.amount_equal))
        .when(pl.col("charge").is_not_null())
        .then(_minor(weights.amount_charge))
        .otherwise(near)
    )


def _stepped(value: pl.Expr, steps: Sequence[Step], beyond: int) -> pl.Expr:
    """The weight of the first step that reaches the value."""
    weight = _minor(beyond)
    for step in reversed(steps):
        weight = pl.when(value <= step.up_to).then(_minor(step.weight)).otherwise(weight)
    return weight


# --- rarity --------------------------------------------------------------------------------------

NO_RARITY: Final = pl.DataFrame(schema={"part": pl.String(), "bits": pl.Int32()})
"""With it texts weigh by their likeness alone, whatever else they are compared with."""


def rarity_of(rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """How rare each beginning and each word of the rows' texts is, columns `part` and `bits`.

    `bits` is how often the number of texts can be halved and still be no less than the number of
    those that have the part: whole numbers, the same on every machine.
    """
    texts = pl.concat([side.select("text") for side in rows]).drop_nulls()
    counted = texts.group_by("text").len("texts").with_columns(pl.col("texts").cast(pl.Int64))
    parts = pl.concat([_beginnings(counted), _words(counted)])
    shared = parts.group_by("part").agg(pl.col("texts").sum())
    halvings = [
        (pl.col("texts") * 2**bits <= texts.height).cast(pl.Int32)
        for bits in range(1, _MOST_BITS + 1)
    ]
    return shared.select("part", bits=pl.sum_horizontal(halvings))


def _words(texts: pl.DataFrame) -> pl.DataFrame:
    """One row a text and different word of it."""
    words = texts.select("texts", part=words_of(pl.col("text")).list.unique())
    return words.explode("part")


def _beginnings(texts: pl.DataFrame) -> pl.DataFrame:
    """One row a text and length of its beginning, marked so that no word is taken for one."""
    length = pl.min_horizontal(pl.col("text").str.len_chars(), _LONGEST)
    ends = texts.with_columns(end=pl.int_ranges(1, length + 1)).explode("end")
    return ends.select("texts", part=_beginning(pl.col("text").str.head(pl.col("end"))))


def _beginning(text: pl.Expr) -> pl.Expr:
    return pl.lit("^") + text


def _with_bits(pairs: pl.DataFrame, rarity: pl.DataFrame) -> pl.DataFrame:
    """`bits`: how rare the rarest part is that the texts of a pair share; 0 if they share none."""
    if rarity.is_empty():
        return pairs.with_columns(bits=pl.lit(0, dtype=pl.Int32))
    texts = pairs.select("text", "text_ledger", words=common_words("text")).with_row_index()
    begun = _with_beginning(texts).select("index", part=_beginning(pl.col("beginning")))
    worded = texts.select("index", part="words").explode("part")
    met = pl.concat([begun, worded]).drop_nulls().join(rarity, on="part")
    rarest = met.group_by("index").agg(pl.col("bits").max())
    bits = texts.join(rarest, on="index", how="left", maintain_order="left")["bits"]
    return pairs.with_columns(bits.fill_null(0))


def _with_beginning(pairs: pl.DataFrame) -> pl.DataFrame:
    """`beginning`: the longest common one of the texts, by halves; null if there is none."""
    mine, theirs = pl.col("text"), pl.col("text_ledger")
    room = pl.min_horizontal(mine.str.len_chars(), theirs.str.len_chars())
    found = pairs.with_columns(length=pl.lit(0, dtype=pl.UInt32), room=room)
    for half in _HALVES:
        longer = pl.col("length") + pl.lit(half, dtype=pl.UInt32)
        same = (longer <= pl.col("room")) & (mine.str.head(longer) == theirs.str.head(longer))
        found = found.with_columns(length=pl.when(same).then(longer).otherwise("length"))
    beginning = pl.when(pl.col("length") > 0).then(mine.str.head(pl.col("length")))
    return found.with_columns(beginning=beginning).drop("length", "room")
