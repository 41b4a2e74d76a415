"""Pass 2: the bank names our own payment id, and the amount is the payment's.

The amount carries its sign, so a payment and its return, which share the id, make two pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciliation.matching.core import pair_unique

if TYPE_CHECKING:
    from reconciliation.matching.core import Found, Scene


def find(scene: Scene) -> Found:
    """Pairs with equal id and amount, each alone on its side."""
    return pair_unique(scene.open.bank, scene.open.ledger, "own", "own")
