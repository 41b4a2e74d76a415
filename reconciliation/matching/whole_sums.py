"""Sums that need no search: all rows that may be a part of an amount together come to it.

Most sums are of this kind. Such an answer is the only one, for amounts stand without their sign
and fewer of them come to less; and where even all of them come to less, there is none. An account
and direction is settled here if that answers every row of it; any other is left to the searches as
a whole, which share one budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.search import whole_states
from reconciliation.matching.shelves import LEAST, SHELF

if TYPE_CHECKING:
    from reconciliation.rules import Rules

_FEW: Final = 256
"""Pairs of an entry and a line that are compared on one shelf."""
_TARGET: Final = ("side", "row")
_PART: Final = ("part_side", "part", "part_amount")


def find(
    bank: pl.DataFrame, ledger: pl.DataFrame, rules: Rules
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The sums of the shelves that need no search, and those shelves (columns `SHELF`).

    Of each sum a row a part: `side` and `row` of the `amount` that is made up, `part_side`, `part`
    and `part_amount` of what it is made up of, and the `states` that a search would have looked at.
    """
    met = _met(bank, ledger, rules)
    asked = met.group_by(*SHELF, *_TARGET, "amount").agg(
        pl.col("is_part").sum().alias("count"),
        total=pl.col("part_amount").filter("is_part").sum(),
        seen=pl.col("is_near").sum(),
    )
    counted = asked.join(_states(rules), on="count", how="left")
    is_whole = (pl.col("total") == pl.col("amount")) & pl.col("states").is_not_null()
    in_vain = (pl.col("count") < LEAST) | (pl.col("total") < pl.col("amount"))
    few = pl.col("count") <= rules.subset_candidates
    spent = (pl.col("seen") + pl.col("states").fill_null(0)).sum()
    settled = (
        counted.group_by(SHELF)
        .agg(plain=(few & (is_whole | in_vain)).all(), spent=spent)
        .filter("plain", pl.col("spent") < rules.subset_account_states)
        .select(SHELF)
    )
    whole = counted.filter(is_whole).join(settled, on=SHELF, how="semi")
    parts = met.filter("is_part").join(whole.select(*_TARGET, "states"), on=_TARGET)
    return parts.select(*_TARGET, "amount", *_PART, "states"), settled


def _states(rules: Rules) -> pl.DataFrame:
    """How many `states` a search for a sum of all of so many rows looks at, within its budget."""
    states = {count: whole_states(count) for count in range(LEAST, rules.subset_items + 1)}
    affordable = [(count, n) for count, n in states.items() if n <= rules.subset_states]
    return pl.DataFrame(
        affordable, schema={"count": pl.UInt32(), "states": pl.Int64()}, orient="row"
    )


def _met(bank: pl.DataFrame, ledger: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Each row of a small shelf with each row of the other side, either way round."""
    days = pl.col("day") - pl.col("day_ledger")
    small = _small(bank, ledger)
    entries, lines = (
        rows.join(small, on=SHELF, how="semi").with_columns(
            least=pl.col("amount").min().over(SHELF)
        )
        for rows in (bank, ledger)
    )
    both = entries.join(lines, on=SHELF, suffix="_ledger").with_columns(
        is_near=days.is_between(-rules.window_days_before, rules.window_days_after),
        agrees=_same("own") & _same("batch"),
    )
    return pl.concat([_seen_from(both, "", "_ledger"), _seen_from(both, "_ledger", "")])


def _small(bank: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The shelves on which every row may be compared with every row of the other side."""
    entries, lines = (rows.group_by(SHELF).agg(pl.len().cast(pl.Int64)) for rows in (bank, ledger))
    pairs = pl.col("len") * pl.col("len_ledger")
    return entries.join(lines, on=SHELF, suffix="_ledger").filter(pairs <= _FEW).select(SHELF)


def _same(name: str) -> pl.Expr:
    """Whether the two do not contradict each other."""
    return (pl.col(name) == pl.col(f"{name}_ledger")).fill_null(value=True)


def _seen_from(both: pl.DataFrame, mine: str, theirs: str) -> pl.DataFrame:
    """The pairs as a row of one side sees them that may be a sum of the other side's."""
    amount, part = pl.col(f"amount{mine}"), pl.col(f"amount{theirs}")
    fits = part <= amount - pl.col(f"least{theirs}")
    return both.select(
        *SHELF,
        side=f"side{mine}",
        row=f"row{mine}",
        amount=amount,
        part_side=f"side{theirs}",
        part=f"row{theirs}",
        part_amount=part,
        is_near="is_near",
        is_part=pl.col("is_near") & pl.col("agrees") & fits,
    )
