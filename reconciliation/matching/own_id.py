"""Pass 2: the bank names our own payment id, and the amount is the payment's.

The amount carries its sign, so a payment and its return, which share the id, make two pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciliation.matching.core import as_found, unique_pairs

if TYPE_CHECKING:
    from reconciliation.matching.core import Found, Scene


def find(scene: Scene) -> Found:
    """Pairs with equal id and amount, each alone on its side."""
    return as_found(unique_pairs(scene.open.bank, scene.open.ledger, "own", "own"))
