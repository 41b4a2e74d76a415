"""Pass 7: equal amounts that could pair in any way, proposed as one set and never pair by pair.

As many entries as lines, each entry possible with each line: whichever pairs with whichever, the
set as a whole comes out even. A person may accept that; no pair in it is claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from reconciliation.matching.amount_window import candidates
from reconciliation.matching.core import EQUAL, Found

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene


def find(scene: Scene) -> Found:
    """Runs of equal amount with as many entries as lines, all of them interchangeable."""
    pairs = candidates(scene)
    found = runs(scene, pairs)
    bank, ledger = (side.group_by("group").len() for side in (found.bank, found.ledger))
    possible = pairs.join(found.bank, left_on="bank", right_on="row").group_by("group").len("pairs")
    counts = bank.join(ledger, on="group", suffix="_ledger").join(possible, on="group")
    every_pair = pl.col("pairs") == pl.col("len").cast(pl.UInt64) * pl.col("len_ledger")
    even = counts.filter(every_pair, pl.col("len") == pl.col("len_ledger"))
    return found.keep(even.select("group"))


def runs(scene: Scene, pairs: pl.DataFrame) -> Found:
    """The rows of `pairs` by equal amount, so that no two groups are within a window of days."""
    bank = scene.open.bank.join(pairs, left_on="row", right_on="bank", how="semi")
    ledger = scene.open.ledger.join(pairs, left_on="row", right_on="ledger", how="semi")
    gap = max(scene.rules.window_days_before, scene.rules.window_days_after)
    return _runs(bank, ledger, gap)


def _runs(bank: pl.DataFrame, ledger: pl.DataFrame, gap: int) -> Found:
    both = pl.concat(
        side.select(*EQUAL, "date", "row", on_bank=pl.lit(on_bank))
        for side, on_bank in ((bank, True), (ledger, False))
    ).sort(*EQUAL, "date", "on_bank", "row")
    apart = (pl.col("date").diff().dt.total_days() > gap).fill_null(value=True).over(EQUAL)
    runs_ = both.with_columns(run=apart.cum_sum())
    first = pl.col("row").filter("on_bank").min().over("run")
    named = runs_.with_columns(group=first)
    return Found(
        named.filter("on_bank").select("group", "row"),
        named.filter(~pl.col("on_bank")).select("group", "row"),
    )
