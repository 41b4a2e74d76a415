from __future__ import annotations

import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.money import (
    _LONGEST_TEXT,
    EXPONENTS,
    LIMIT_MINOR,
    Money,
    format_minor,
    parse_minor,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HALF = st.integers(-LIMIT_MINOR // 2, LIMIT_MINOR // 2)
CURRENCIES = st.sampled_from(sorted(EXPONENTS))


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [
        ("1,234.56", "CNY", 123456),
        ("￥1,409.50", "CNY", 140950),
        ("¥0.01", "CNY", 1),
        ("  7 ", "CNY", 700),
        ("0", "CNY", 0),
        ("1.5", "CNY", 150),
        ("007", "CNY", 700),
        ("¥1,234", "JPY", 1234),
        ("10,000,000,000,000.00", "CNY", LIMIT_MINOR),
    ],
)
def test_written_amounts_are_read_exactly(text: str, currency: str, amount_minor: int) -> None:
    assert parse_minor(text, currency) == amount_minor


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        ".5",
        "1.",
        "1.234",
        "1.000",
        "-1",
        "+1",
        "1 000",
        "￥",
        "￥ 1",
        "￥￥1",
        "1￥",
        "1,23",
        "1,2345",
        ",123",
        "1234,567",
        "1,234567",
        "1e3",
        "1_000",
        "１２",
        "٣",
        "NaN",
        "Infinity",
        "0x10",
        "1\n",
        "\t1",
        "9" * 65,
    ],
)
def test_what_is_not_plainly_an_amount_is_refused(text: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_minor(text)
    assert refused.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize(("text", "currency"), [("1.0", "JPY"), ("￥1", "USD"), ("1", "XXX")])
def test_what_does_not_go_with_the_currency_is_refused(text: str, currency: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_minor(text, currency)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_an_amount_beyond_the_limit_is_refused_when_read() -> None:
    with pytest.raises(GatewayError) as refused:
        parse_minor("10,000,000,000,000.01")
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (123456, "CNY", "1,234.56"),
        (-5, "CNY", "-0.05"),
        (0, "CNY", "0.00"),
        (-1234, "JPY", "-1,234"),
    ],
)
def test_amounts_are_written_with_all_their_decimals(
    amount_minor: int, currency: str, text: str
) -> None:
    assert format_minor(amount_minor, currency) == text


@given(st.integers(0, LIMIT_MINOR), CURRENCIES)
def test_reading_undoes_writing(amount_minor: int, currency: str) -> None:
    assert parse_minor(format_minor(amount_minor, currency), currency) == amount_minor


@given(st.text(max_size=12) | st.from_regex(r"[￥0-9,. +-]{1,12}", fullmatch=True))
def test_whatever_is_read_agrees_with_decimal_arithmetic(text: str) -> None:
    try:
        amount_minor = parse_minor(text)
    except GatewayError as refused:
        assert refused.reason is Reason.FIELD_INVALID  # noqa: PT017 - either outcome is right
    else:
        assert Decimal(text.strip(" ￥¥").replace(",", "")) * 100 == amount_minor


@given(HALF, HALF)
def test_sums_and_differences_are_exact_and_undo_each_other(left: int, right: int) -> None:
    a, b = Money(left, "CNY"), Money(right, "CNY")
    assert (a + b).amount_minor == left + right
    assert (a + b) - b == a
    assert a - b == -(b - a)


@given(HALF, HALF)
def test_amounts_of_one_currency_compare_like_their_numbers(left: int, right: int) -> None:
    a, b = Money(left, "CNY"), Money(right, "CNY")
    assert (a < b, a <= b, a > b, a >= b) == (
        left < right,
        left <= right,
        left > right,
        left >= right,
    )
    assert (a == b) is (left == right)


@pytest.mark.parametrize(
    "combine",
    [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge],
)
def test_two_currencies_neither_add_nor_compare(
    combine: Callable[[Money, Money], object],
) -> None:
    with pytest.raises(GatewayError) as refused:
        combine(Money(1, "CNY"), Money(1, "USD"))
    assert refused.value.reason is Reason.CURRENCY_MISMATCH


def test_equal_numbers_of_two_currencies_are_not_equal() -> None:
    assert Money(1, "CNY") != Money(1, "USD")


@pytest.mark.parametrize("amount_minor", [LIMIT_MINOR + 1, -LIMIT_MINOR - 1])
def test_no_amount_is_beyond_the_limit(amount_minor: int) -> None:
    with pytest.raises(GatewayError) as refused:
        Money(amount_minor, "CNY")
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


def test_no_sum_is_beyond_the_limit() -> None:
    with pytest.raises(GatewayError) as refused:
        Money(LIMIT_MINOR, "CNY") + Money(1, "CNY")
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize("amount", [1.0, Decimal(1), "1", True])
def test_only_whole_ints_are_amounts(amount: Any) -> None:
    with pytest.raises(TypeError):
        Money(amount, "CNY")


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(GatewayError) as refused:
        Money(1, "XXX")
    assert refused.value.reason is Reason.FIELD_INVALID


def test_an_amount_reads_as_people_write_it() -> None:
    assert str(Money(123456, "CNY")) == "1,234.56 CNY"


def test_sums_of_two_currencies_are_refused_naming_both() -> None:
    with pytest.raises(GatewayError) as refused:
        Money(1, "CNY") + Money(1, "USD")
    assert refused.value.kind is Kind.PRECONDITION
    assert refused.value.metadata == {"currency": "CNY", "other": "USD"}
    assert str(Money(7, "JPY")) == "7 JPY"


def test_what_is_no_amount_is_refused_at_its_field() -> None:
    with pytest.raises(GatewayError) as refused:
        parse_minor("1.234")
    assert [each.field for each in refused.value.violations] == ["amount"]


def test_an_amount_may_be_written_as_long_as_any_is_and_no_longer() -> None:
    longest = "7".rjust(_LONGEST_TEXT)
    assert parse_minor(longest) == 700
    with pytest.raises(GatewayError):
        parse_minor(f" {longest}")


def test_renminbi_is_written_where_no_currency_is_named() -> None:
    assert format_minor(123_456) == "1,234.56"
