from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amounts import AmountError, minor_digits, to_minor, to_text

currencies = st.sampled_from(["CNY", "JPY", "KWD", "CLF", "EUR"])


@given(st.integers(-(10**17), 10**17), currencies)
def test_an_amount_written_out_reads_back_as_itself(amount_minor: int, currency: str) -> None:
    assert to_minor(to_text(amount_minor, currency), currency) == amount_minor


@given(st.decimals(-(10**14), 10**14, places=2), st.integers(0, 4))
def test_reading_agrees_with_exact_decimals_and_trailing_zeros_change_nothing(
    amount: Decimal, zeros: int
) -> None:
    assert to_minor(f"{amount:f}" + "0" * zeros, "CNY") == int(amount.scaleb(2))


@given(st.text(max_size=12), currencies)
def test_any_text_is_an_exact_amount_or_refused(text: str, currency: str) -> None:
    try:
        amount_minor = to_minor(text, currency)
    except AmountError:
        return
    assert Decimal(text.strip()).scaleb(minor_digits(currency)) == amount_minor


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1,00", "1e3", "NaN", "0.001", "1 000", "٣", "1" * 19, "0x1", "--1"]
)
def test_what_is_no_plain_amount_of_yuan_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        to_minor(text, "CNY")
