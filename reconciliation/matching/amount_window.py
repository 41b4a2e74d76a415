"""Pass 5: nothing but the amount and the time, where only one pair is possible.

Equal amounts that could pair in more than one way are left alone: a pair chosen by chance would
look like a proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import as_found, in_window

if TYPE_CHECKING:
    from reconciliation.matching.core import Found, Scene, Sides

EQUAL: Final = ("account", "amount")
_COMPARED: Final = (*EQUAL, "row", "date", "own", "batch", "returned")


def find(scene: Scene) -> Found:
    """Pairs of equal amount in the window, where neither row has another candidate."""
    pairs = candidates(scene)
    alone = pl.col("bank").is_unique() & pl.col("ledger").is_unique()
    return as_found(pairs.filter(alone).select("bank", "ledger"))


def candidates(scene: Scene) -> pl.DataFrame:
    """All pairs (rows `bank`, `ledger`) that amount, time and ids allow; crowds left out."""
    uncrowded = _counts(scene.open).filter(pl.col("pairs") <= scene.rules.candidate_limit)
    bank = scene.open.bank.select(_COMPARED).join(uncrowded, on=EQUAL, how="semi")
    joined = bank.join(scene.open.ledger.select(_COMPARED), on=EQUAL, suffix="_ledger")
    allowed = in_window(pl.col("date"), pl.col("date_ledger"), scene.rules) & _compatible()
    pairs = joined.filter(allowed)
    return pairs.select(*EQUAL, bank="row", ledger="row_ledger").sort("bank", "ledger")


def crowds(scene: Scene) -> pl.DataFrame:
    """Accounts and amounts with so many possible pairs that the search is not begun."""
    return _counts(scene.open).filter(pl.col("pairs") > scene.rules.candidate_limit).select(EQUAL)


def _counts(sides: Sides) -> pl.DataFrame:
    """How many pairs of equal amount each account has, before looking at dates."""
    bank, ledger = sides.bank.group_by(EQUAL).len(), sides.ledger.group_by(EQUAL).len()
    pairs = pl.col("len").cast(pl.Int64) * pl.col("len_ledger").cast(pl.Int64)
    return bank.join(ledger, on=EQUAL, suffix="_ledger").select(*EQUAL, pairs=pairs)


def _compatible() -> pl.Expr:
    """Ids do not contradict, and a return pairs only with a correction, which has a payment id."""
    same_own = (pl.col("own") == pl.col("own_ledger")).fill_null(value=True)
    same_batch = (pl.col("batch") == pl.col("batch_ledger")).fill_null(value=True)
    correction = pl.col("own").is_null() & pl.col("own_ledger").is_not_null()
    return same_own & same_batch & (~pl.col("returned") | correction)
