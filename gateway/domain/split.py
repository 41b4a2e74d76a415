"""One bill of several funds, divided by the largest remainder (Hamilton's method).

Each fund gets its exact share rounded down to the minor unit; what is left goes, one unit each, to
the largest remainders. So the parts add up to the bill, none is a whole unit away from its exact
share, and a larger weight never gets less. Of equal remainders the fund whose id comes first, by
Unicode code points, gets the unit: everybody can make the division again.

No method has every virtue: of two bills the larger one may give a fund one unit less (the Alabama
paradox), which methods without it pay for by parts more than a unit away from the exact share.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from gateway.domain.errors import Reason, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping


class Basis(StrEnum):
    """What the weights of a division are."""

    AREA = "AREA"
    """按建筑面积: floor area in units of 0.01 m²."""
    HOUSEHOLDS = "HOUSEHOLDS"
    """按户数."""
    EQUAL = "EQUAL"
    """均摊: each fund the same, weight 1."""


@dataclass(frozen=True, slots=True)
class Share:
    """What an estate's rules say of its share in bills that it has with others.

    Attributes:
        basis: what the weight is.
        weight: 1 or more; of `Basis.EQUAL` 1.

    Raises:
        GatewayError: FIELD_INVALID if it is not so.
    """

    basis: Basis
    weight: int

    def __post_init__(self) -> None:
        if self.weight < 1 or (self.basis is Basis.EQUAL and self.weight != 1):
            path = "disclosure_rules.bill_share.weight"
            raise invalid(Reason.FIELD_INVALID, path, "must be 1 or more, and 1 of equal shares")


@dataclass(frozen=True, slots=True)
class Part:
    """What one fund pays of a bill.

    Attributes:
        fund_id: the fund.
        amount_minor: its part, minor units; 0 or more.
        exact: its share before rounding, minor units.
    """

    fund_id: str
    amount_minor: int
    exact: Fraction


def square_metres(weight: int) -> str:
    """A weight of `Basis.AREA` as it is written: ``12,345.67``."""
    return f"{weight // 100:,}.{weight % 100:02}"


def split(amount_minor: int, weights: Mapping[str, int]) -> tuple[Part, ...]:
    """The parts of a bill, by fund id; they add up to it.

    Args:
        amount_minor: the whole bill, minor units.
        weights: fund id to weight; of 0 a fund pays nothing. Their order means nothing.

    Raises:
        GatewayError: AMOUNT_OUT_OF_RANGE for a bill below zero; FIELD_INVALID for a weight below
            zero, or none above it.
    """
    if amount_minor < 0:
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, "amount", "must not be below zero")
    total = _total(weights)
    exact = {fund: Fraction(amount_minor * weights[fund], total) for fund in sorted(weights)}
    floors = {fund: int(share) for fund, share in exact.items()}
    left = amount_minor - sum(floors.values())
    by_remainder = sorted(exact, key=lambda fund: (floors[fund] - exact[fund], fund))
    lucky = frozenset(by_remainder[:left])
    return tuple(Part(fund, floors[fund] + (fund in lucky), exact[fund]) for fund in exact)


def _total(weights: Mapping[str, int]) -> int:
    if any(weight < 0 for weight in weights.values()):
        raise invalid(Reason.FIELD_INVALID, "weights", "must not be below zero")
    total = sum(weights.values())
    if not total:
        raise invalid(Reason.FIELD_INVALID, "weights", "must have one above zero")
    return total
