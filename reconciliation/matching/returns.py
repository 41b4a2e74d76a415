"""Pass 5: money that came back, named by the original id in whichever field the bank chose.

Where the bank repeats the id in its own field, pass 2 has paired the return with the ledger's
correction line already. This pass finds the id in the reference instead, on either side. It looks
at credits only: a payment id on a ledger credit means a correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from reconciliation.matching.core import Found, as_found, folded, gather, unique_pairs

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene


def find(scene: Scene) -> Found:
    """Returns whose reference is the correction's payment id, or whose id is its reference."""
    bank, ledger = _credits(scene.open.bank), _credits(scene.open.ledger)
    nameless = bank.filter(pl.col("own").is_null())
    by_reference = as_found(unique_pairs(nameless, ledger, "ref", "plain_own"))
    left_bank = bank.join(by_reference.bank, on="row", how="anti")
    left_ledger = ledger.filter(pl.col("own").is_null())
    by_id = as_found(unique_pairs(left_bank, left_ledger, "plain_own", "ref"))
    return gather([by_reference, by_id])


def _credits(side: pl.DataFrame) -> pl.DataFrame:
    """Credits, with their id in the form of a reference so that the two can be compared."""
    credits_ = side.filter(pl.col("amount") > 0)
    return credits_.with_columns(folded(credits_["own"]).alias("plain_own"))
