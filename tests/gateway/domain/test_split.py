"""A bill divided over funds: to the fen, the same for everybody who divides it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError
from gateway.domain.split import split

if TYPE_CHECKING:
    import random

bills = st.integers(0, 10**12)
divisions = st.dictionaries(
    st.text("abcxyz-0189", min_size=1, max_size=6), st.integers(0, 10**9), min_size=1, max_size=20
).filter(lambda weights: any(weights.values()))
close = st.dictionaries(
    st.text("abcxyz", min_size=1, max_size=3), st.integers(1, 4), min_size=1, max_size=12
)
"""Small weights, among which remainders tie."""


@given(bills, divisions | close)
def test_the_parts_come_to_the_bill_and_none_is_below_zero(
    bill: int, weights: dict[str, int]
) -> None:
    parts = split(bill, weights)
    assert sum(part.amount_minor for part in parts) == bill
    assert min(part.amount_minor for part in parts) >= 0
    assert [part.fund_id for part in parts] == sorted(weights)


@given(bills, divisions | close)
def test_each_part_is_less_than_a_fen_from_the_exact_share(
    bill: int, weights: dict[str, int]
) -> None:
    for part in split(bill, weights):
        assert part.exact * sum(weights.values()) == bill * weights[part.fund_id]
        assert abs(part.amount_minor - part.exact) < 1


@given(bills, divisions | close, st.randoms(use_true_random=False))
def test_the_order_in_which_funds_are_named_changes_nothing(
    bill: int, weights: dict[str, int], shuffled: random.Random
) -> None:
    order = list(weights.items())
    shuffled.shuffle(order)
    assert split(bill, dict(order)) == split(bill, weights)


@given(bills, divisions | close)
def test_a_larger_weight_never_pays_less(bill: int, weights: dict[str, int]) -> None:
    paid = {part.fund_id: part.amount_minor for part in split(bill, weights)}
    by_weight = sorted(weights, key=lambda fund: (weights[fund], paid[fund]))
    assert [paid[fund] for fund in by_weight] == sorted(paid.values())


@given(bills, divisions | close, st.integers(1, 1000))
def test_only_the_proportion_of_weights_counts(
    bill: int, weights: dict[str, int], factor: int
) -> None:
    larger = {fund: weight * factor for fund, weight in weights.items()}
    assert split(bill, larger) == split(bill, weights)


def test_of_equal_remainders_the_first_id_pays_the_fen() -> None:
    parts = split(100, {"c": 1, "a": 1, "b": 1})
    assert [(part.fund_id, part.amount_minor) for part in parts] == [
        ("a", 34),
        ("b", 33),
        ("c", 33),
    ]


def test_the_largest_remainder_pays_the_fen_whatever_its_id() -> None:
    # 10 fen by 1:2:3 is 1.67, 3.33 and 5.00.
    assert [part.amount_minor for part in split(10, {"z": 1, "a": 2, "b": 3})] == [3, 5, 2]


@pytest.mark.parametrize(
    ("bill", "weights"), [(-1, {"a": 1}), (1, {"a": -1, "b": 2}), (1, {"a": 0}), (1, {})]
)
def test_what_cannot_be_divided_is_refused(bill: int, weights: dict[str, int]) -> None:
    with pytest.raises(GatewayError):
        split(bill, weights)
