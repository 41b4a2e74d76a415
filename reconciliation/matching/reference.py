"""Pass 3: the same reference, as a person would read it, and the same amount."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from reconciliation.matching.core import as_found, unique_pairs

if TYPE_CHECKING:
    from reconciliation.matching.core import Found, Scene


def find(scene: Scene) -> Found:
    """Pairs with equal reference and amount, each alone on its side, ids not contradicting."""
    pairs = unique_pairs(scene.open.bank, scene.open.ledger, "ref", "ref")
    # two payments of ours may share a reference, never an id: different ids, different things
    same = (pl.col("own") == pl.col("own_ledger")).fill_null(value=True)
    return as_found(pairs.filter(same))
