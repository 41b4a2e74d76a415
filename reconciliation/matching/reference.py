"""Pass 3: the same reference, as a person would read it, and the same amount."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from reconciliation.matching.core import Found, pair_unique

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene


def find(scene: Scene) -> Found:
    """Pairs with equal reference and amount, each alone on its side, ids not contradicting."""
    found = pair_unique(scene.open.bank, scene.open.ledger, "ref", "ref")
    return _without_contradiction(found, scene)


def _without_contradiction(found: Found, scene: Scene) -> Found:
    """Two payments of ours may share a reference, never an id: different ids, different things."""
    bank = found.bank.join(scene.open.bank.select("row", "own"), on="row")
    ledger = found.ledger.join(scene.open.ledger.select("row", "own"), on="row")
    both = bank.join(ledger, on="group", suffix="_ledger").filter(
        pl.col("own") != pl.col("own_ledger")
    )
    against = both.select("group")
    return Found(
        found.bank.join(against, on="group", how="anti"),
        found.ledger.join(against, on="group", how="anti"),
    )
