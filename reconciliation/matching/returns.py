"""Pass 5: money that came back, named by the original id in whichever field the bank chose.

Where the bank repeats the id in its own field, pass 2 has paired the return with the ledger's
correction line already. This pass finds the id in the reference instead, on either side. It looks
at credits only: a payment id on a ledger credit means a correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from reconciliation.matching.core import Found, folded, gather, pair_unique

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene


def find(scene: Scene) -> Found:
    """Returns whose reference is the correction's payment id, or whose id is its reference."""
    bank, ledger = _credits(scene.open.bank), _credits(scene.open.ledger)
    by_reference = pair_unique(bank.filter(pl.col("own").is_null()), ledger, "ref", "plain_own")
    left_bank = bank.join(by_reference.bank, on="row", how="anti")
    left_ledger = ledger.filter(pl.col("own").is_null())
    return gather([by_reference, pair_unique(left_bank, left_ledger, "plain_own", "ref")])


def _credits(side: pl.DataFrame) -> pl.DataFrame:
    """Credits, with their id in the form of a reference so that the two can be compared."""
    credits_ = side.filter(pl.col("amount") > 0)
    return credits_.with_columns(folded(credits_["own"]).alias("plain_own"))
