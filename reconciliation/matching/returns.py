"""Pass 5: money that came back, named by the original id in whichever field the bank chose.

Where the bank repeats the id in its own field, pass 2 has paired the return with the ledger's
correction line already. This pass finds the id in the reference instead, on either side. It looks
at credits only: a payment id on a ledger credit means a correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from reconciliation.matching.core import Found, gather, pair_unique, plain_reference

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene
    from reconciliation.rules import Rules


def find(scene: Scene) -> Found:
    """Returns whose reference is the correction's payment id, or whose id is its reference."""
    bank = _credits(scene.open.bank, scene.rules)
    ledger = _credits(scene.open.ledger, scene.rules)
    by_reference = pair_unique(bank.filter(pl.col("own").is_null()), ledger, "ref", "plain_own")
    left_bank = bank.join(by_reference.bank, on="row", how="anti")
    left_ledger = ledger.filter(pl.col("own").is_null())
    return gather([by_reference, pair_unique(left_bank, left_ledger, "plain_own", "ref")])


def _credits(side: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Credits, with their id in the form of a reference so that the two can be compared."""
    plain_own = plain_reference(pl.col("own"), rules).alias("plain_own")
    return side.filter(pl.col("amount") > 0).with_columns(plain_own)
