"""Where sums may come out: open rows by account and direction, as pass 9 looks at them.

Amounts stand without their sign, so that whatever is added to a sum makes it greater.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from reconciliation.frames import Side
    from reconciliation.matching.core import Scene

SHELF: Final = ("account", "way")
"""What the rows of a sum have in common; `way` is the sign of their amounts."""
ITEM: Final = ("side", "row", "amount", "day", "own", "batch")
"""What a search looks at; `amount` is without its sign, `day` counted from an epoch."""
LEAST: Final = 2
"""Rows that a sum has at least."""


def shelved(scene: Scene) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Entries and lines (columns `SHELF` and `ITEM`) where some row may be a sum of others."""
    bank = _rows("bank", scene.open.bank.filter(~pl.col("returned")))
    ledger = _rows("ledger", scene.open.ledger)
    worth = _worth_it(bank, ledger, scene.rules.subset_items)
    return bank.join(worth, on=SHELF, how="semi"), ledger.join(worth, on=SHELF, how="semi")


def _rows(side: Side, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("amount") != 0).select(
        "account",
        "row",
        "own",
        "batch",
        side=pl.lit(side),
        way=pl.col("amount").sign(),
        amount=pl.col("amount").abs(),
        day=pl.col("date").dt.epoch("d").cast(pl.Int64),
    )


def _worth_it(bank: pl.DataFrame, ledger: pl.DataFrame, items: int) -> pl.DataFrame:
    """Accounts and directions in which a row may lie between the least and the greatest sum."""
    both = _extent(bank).join(_extent(ledger), on=SHELF, suffix="_ledger")
    one_to_many = _within("", "_ledger", items)
    many_to_one = _within("_ledger", "", items)
    return both.filter(one_to_many | many_to_one).select(SHELF)


def _extent(rows: pl.DataFrame) -> pl.DataFrame:
    amount = pl.col("amount")
    return rows.group_by(SHELF).agg(least=amount.min(), most=amount.max(), count=pl.len())


def _within(targets: str, parts: str, items: int) -> pl.Expr:
    """Whether some target is neither below twice the least part nor above the most of them."""
    above = pl.col(f"most{targets}") >= LEAST * pl.col(f"least{parts}")
    below = pl.col(f"least{targets}") <= items * pl.col(f"most{parts}")
    return (pl.col(f"count{parts}") >= LEAST) & above & below
