"""Which of a few amounts add up to a target: an exact search that stops at two answers.

Meet in the middle: all sums of one half of the amounts are kept, those of the other half looked up.
One answer may be a proof, two are none, so nothing after the second is of interest.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass
from fractions import Fraction
from math import comb, gcd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    budget = _Budget(states)
    order = sorted(range(len(amounts)), key=amounts.__getitem__, reverse=True)
    left, right = order[::2], order[1::2]
    try:
        kept = _kept([amounts[n] for n in left], target, items, budget)
        found = _meet(kept, [amounts[n] for n in right], target, items, budget)
        masks = tuple(found)
    except _SpentError:
        return Answer((), budget.spent, capped=True)
    sets = tuple(sorted(_positions(mask, left, right) for mask in masks))
    return Answer(sets, budget.spent, capped=False)


class _SpentError(Exception):
    """The budget is spent."""


@dataclass(slots=True)
class _Budget:
    limit: int
    spent: int = 0

    def spend(self, states: int) -> None:
        """Counts states.

        Raises:
            _SpentError: there are none left; what was counted stays within the limit.
        """
        if self.spent + states > self.limit:
            self.spent = self.limit
            raise _SpentError
        self.spent += states


def _subsets(amounts: Sequence[int], target: int, items: int, budget: _Budget) -> Half:
    """Every sum of up to `items` of the amounts that is not above the target."""
    sums: Half = [(0, 0, 0)]
    for n, amount in enumerate(amounts):
        bit = 1 << n
        budget.spend(len(sums))
        more = [
            (total + amount, count + 1, mask | bit)
            for total, count, mask in sums
            if count < items and total + amount <= target
        ]
        sums += more
    return sums


def _kept(
    amounts: Sequence[int], target: int, items: int, budget: _Budget
) -> dict[int, list[tuple[int, int]]]:
    """Sums of one half by amount, fewest items first; of one length two are enough."""
    kept: dict[int, list[tuple[int, int]]] = {}
    for total, count, mask in _subsets(amounts, target, items, budget):
        same = kept.get(total)
        if same is None:
            kept[total] = [(count, mask)]
        elif sum(count == other for other, _ in same) < _ENOUGH:
            insort(same, (count, mask))
    return kept


def _meet(
    kept: dict[int, list[tuple[int, int]]],
    amounts: Sequence[int],
    target: int,
    items: int,
    budget: _Budget,
) -> list[tuple[int, int]]:
    """The first two pairs of halves that make up the target."""
    found: list[tuple[int, int]] = []
    for total, count, mask in _subsets(amounts, target, items, budget):
        if target - total not in kept:
            continue
        for other in _fitting(kept[target - total], _LEAST - count, items - count):
            found.append((other, mask))
            if len(found) == _ENOUGH:
                return found
    return found


def _fitting(same: Sequence[tuple[int, int]], least: int, most: int) -> Iterator[int]:
    for count, mask in same[: bisect_right(same, most, key=lambda pair: pair[0])]:
        if count >= least:
            yield mask


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
    sets = sum(comb(candidates, size) for size in range(_LEAST, len(amounts) + 1))
    return Fraction(sets * gcd(*amounts), target)
