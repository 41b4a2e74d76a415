"""Which of a few amounts add up to a target: an exact search that stops at two answers.

Meet in the middle: all sums of one half of the amounts are kept, those of the other half looked up.
One answer may be a proof, two are none, so nothing after the second is of interest.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb, gcd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENOUGH: Final = 2
_LEAST: Final = 2

Half = list[tuple[int, int, int]]
"""Sums of one half: the sum, how many amounts are in it, and which, one bit each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found.

    Attributes:
        solutions: up to two sets of positions in the amounts given.
        states: how many partial sums were looked at.
        capped: whether the search stopped for want of states, so that there may be more.
    """

    solutions: tuple[tuple[int, ...], ...]
    states: int
    capped: bool


def sums_to(amounts: Sequence[int], target: int, items: int, states: int) -> Answer:
    """Up to two sets of 2 to `items` of the amounts, all positive, that add up to `target`.

    Never looks at more than `states` partial sums.
    """
    order = sorted(range(len(amounts)), key=amounts.__getitem__, reverse=True)
    left, right = order[::2], order[1::2]
    kept, spent = _subsets([amounts[n] for n in left], target, items, states)
    others, more = _subsets([amounts[n] for n in right], target, items, states - spent)
    if kept is None or others is None:
        return Answer((), states, capped=True)
    masks = _meet(_by_sum(kept), others, target, items)
    sets = tuple(sorted(_positions(mask, left, right) for mask in masks))
    return Answer(sets, spent + more, capped=False)


def whole_states(count: int) -> int:
    """How many partial sums are looked at where all amounts, so many of them, are the answer."""
    return sum(2**half - 1 for half in (count - count // 2, count // 2))


def _subsets(
    amounts: Sequence[int], target: int, items: int, states: int
) -> tuple[Half | None, int]:
    """Every sum of up to `items` of the amounts that is not above the target, and what it took.

    None where it would take more than `states`.
    """
    sums: Half = [(0, 0, 0)]
    spent, bit = 0, 1
    for amount in amounts:
        spent += len(sums)
        if spent > states:
            return None, states
        most = target - amount
        sums += [
            (total + amount, count + 1, mask | bit)
            for total, count, mask in sums
            if total <= most and count < items
        ]
        bit <<= 1
    return sums, spent


def _by_sum(sums: Half) -> dict[int, list[tuple[int, int]]]:
    """How many amounts are in each sum, and which; of one length two are enough."""
    kept: dict[int, list[tuple[int, int]]] = {}
    for total, count, mask in sums:
        same = kept.setdefault(total, [])
        if len(same) < _ENOUGH or sum(count == other for other, _ in same) < _ENOUGH:
            same.append((count, mask))
    return kept


def _meet(
    kept: dict[int, list[tuple[int, int]]], sums: Half, target: int, items: int
) -> list[tuple[int, int]]:
    """The first two pairs of halves that make up the target, those of fewest amounts first."""
    found: list[tuple[int, int]] = []
    for total, count, mask in sums:
        for other, other_mask in sorted(kept.get(target - total, ())):
            if _LEAST <= count + other <= items:
                found.append((other_mask, mask))
                if len(found) == _ENOUGH:
                    return found
    return found


def _positions(
    masks: tuple[int, int], left: Sequence[int], right: Sequence[int]
) -> tuple[int, ...]:
    chosen = [
        position
        for mask, half in zip(masks, (left, right), strict=True)
        for n, position in enumerate(half)
        if mask >> n & 1
    ]
    return tuple(sorted(chosen))


def accidents(candidates: int, amounts: Sequence[int], target: int) -> Fraction:
    """E: how many sums like this one are to be expected among so many candidates by chance.

    The number of sets of 2 to as many as were found, times the chance that one of them hits the
    target: sums come in steps of the amounts' greatest common divisor, up to the target.
    """
    return Fraction(_sets(candidates, len(amounts)) * gcd(*amounts), target)


@cache
def _sets(candidates: int, most: int) -> int:
    """How many sets of 2 to so many of the candidates there are."""
    return sum(comb(candidates, size) for size in range(_LEAST, most + 1))
