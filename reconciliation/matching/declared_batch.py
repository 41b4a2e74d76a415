"""Pass 4: both sides name a batch, and it comes to the same on both, however each divides it.

One sum against its payments is the common case; where both sides have several rows, the name and
the sum still hold. Only whole groups: every open row that names the batch takes part, nothing is
searched for. A batch goes one way, so its returns, which may carry its name, are a group of their
own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import Found

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene

BATCH: Final = ("account", "batch", "way")


def find(scene: Scene) -> Found:
    """Batches of equal sum."""
    bank, ledger = batched(scene.open.bank), batched(scene.open.ledger)
    both = totals(bank).join(totals(ledger), on=BATCH, suffix="_ledger")
    whole = both.filter(pl.col("total") == pl.col("total_ledger"))
    return members(whole.select(*BATCH, "group"), bank, ledger)


def batched(side: pl.DataFrame) -> pl.DataFrame:
    """The rows that name a batch, with the way their money goes."""
    way = pl.col("amount").sign().alias("way")
    return side.filter(pl.col("batch").is_not_null()).with_columns(way)


def totals(rows: pl.DataFrame) -> pl.DataFrame:
    """Sum and count of each batch; `group` is its first row, a number no other batch has."""
    return rows.group_by(BATCH).agg(
        total=pl.col("amount").sum(), count=pl.len(), group=pl.col("row").min()
    )


def members(batches: pl.DataFrame, bank: pl.DataFrame, ledger: pl.DataFrame) -> Found:
    """All rows of the batches named."""
    return Found(
        bank.join(batches, on=BATCH).select("group", "row"),
        ledger.join(batches, on=BATCH).select("group", "row"),
    )
