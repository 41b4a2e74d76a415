from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.capitals import in_capitals
from gateway.domain.errors import GatewayError, Reason
from gateway.domain.money import LIMIT_MINOR, parse_minor

DIGITS = "零壹贰叁肆伍陆柒捌玖"


@pytest.mark.parametrize(
    ("text", "capitals"),
    [
        ("￥1,409.50", "壹仟肆佰零玖元伍角"),
        ("￥6,007.14", "陆仟零柒元壹角肆分"),
        ("￥1,680.32", "壹仟陆佰捌拾元零叁角贰分"),
        ("￥107,000.53", "壹拾万柒仟元零伍角叁分"),
        ("￥16,409.02", "壹万陆仟肆佰零玖元零贰分"),
        ("￥325.04", "叁佰贰拾伍元零肆分"),
    ],
)
def test_the_examples_published_with_the_rule_come_out_as_printed(text: str, capitals: str) -> None:
    assert in_capitals(parse_minor(text)) == capitals


@pytest.mark.parametrize(
    ("text", "capitals"),
    [
        ("0", "零元整"),
        ("0.05", "伍分"),
        ("0.50", "伍角"),
        ("1.05", "壹元零伍分"),
        ("10", "壹拾元整"),
        ("10.50", "壹拾元零伍角"),
        ("10,000", "壹万元整"),
        ("10,001", "壹万零壹元整"),
        ("101,000", "壹拾万壹仟元整"),
        ("100,900", "壹拾万零玖佰元整"),
        ("100,010,000", "壹亿零壹万元整"),
        ("100,001,000", "壹亿零壹仟元整"),
        ("100,000,000", "壹亿元整"),
        ("20,304,050,607.80", "贰佰零叁亿零肆佰零伍万零陆佰零柒元捌角"),
        ("10,000,000,000,000", "壹拾万亿元整"),
        ("1,000,100,000,001", "壹万零壹亿零壹元整"),
    ],
)
def test_zeros_at_the_edges_of_the_units_are_read_as_one_or_not_at_all(
    text: str, capitals: str
) -> None:
    assert in_capitals(parse_minor(text)) == capitals


def read_back(capitals: str) -> int:
    """An independent reading: every digit times its units, ignoring all 零."""
    yuan_text, mark, cents = capitals.rpartition("元")
    total = read_number(yuan_text) * 100 if mark else 0
    for digit, unit in pairwise(cents):
        total += DIGITS.index(digit) * {"角": 10, "分": 1}.get(unit, 0) if digit in DIGITS else 0
    return total


def read_number(text: str) -> int:
    for mark, unit in (("亿", 10**8), ("万", 10**4)):
        if mark in text:
            high, _, low = text.rpartition(mark)
            return read_number(high) * unit + read_number(low)
    total, digit = 0, 0
    for char in text:
        if char in DIGITS:
            digit = DIGITS.index(char)
        else:
            total, digit = total + digit * {"仟": 1000, "佰": 100, "拾": 10}[char], 0
    return total + digit


SPARSE = st.lists(
    st.integers(0, 14).flatmap(lambda place: st.sampled_from([10**place, 9 * 10**place])),
    max_size=4,
).map(lambda parts: min(sum(parts), LIMIT_MINOR))


@given(st.integers(0, LIMIT_MINOR) | SPARSE)
def test_capitals_say_the_amount_and_never_two_zeros_in_a_row(amount_fen: int) -> None:
    capitals = in_capitals(amount_fen)
    assert read_back(capitals) == amount_fen
    assert "零零" not in capitals
    assert not capitals.endswith("零")
    assert capitals.endswith("整") is (amount_fen % 100 == 0)


@pytest.mark.parametrize("amount_fen", [-1, LIMIT_MINOR + 1])
def test_what_no_voucher_can_carry_is_refused(amount_fen: int) -> None:
    with pytest.raises(GatewayError) as refused:
        in_capitals(amount_fen)
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
