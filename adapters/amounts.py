"""Amounts between a file's decimal text and whole minor units: exact, digits only, no float."""

import re
from typing import Final

_DEFAULT_DIGITS: Final = 2
_OTHER_DIGITS: Final = {
    currency: digits
    for digits, currencies in (
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    )
    for currency in currencies.split()
}
"""Minor-unit digits that are not two (ISO 4217, table A.1)."""

_MAX_DIGITS: Final = 18
_AMOUNT: Final = re.compile(r"([+-]?)([0-9]{0,18})(?:\.([0-9]{0,18}))?")
"""At most 18 digits, the bound of an ISO 20022 amount."""


class AmountError(ValueError):
    """The text is no amount of this currency; the message never repeats the text."""


def minor_digits(currency: str) -> int:
    """Decimals of a currency: 2 for CNY, 0 for JPY."""
    return _OTHER_DIGITS.get(currency, _DEFAULT_DIGITS)


def to_minor(text: str, currency: str) -> int:
    """Minor units of a decimal text such as `1234.50`.

    Raises:
        AmountError: Not a plain decimal number, or more decimals than the currency has.
    """
    whole, _, fraction = text.partition(".")
    figures = whole + fraction
    usual = len(fraction) == minor_digits(currency) and len(whole) <= _MAX_DIGITS
    if usual and figures.isdecimal() and figures.isascii():
        return int(figures)
    return _unusual_to_minor(text, currency)


def _unusual_to_minor(text: str, currency: str) -> int:
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or not (found[2] or found[3]):
        raise AmountError("not a decimal number of at most 18 digits")
    sign, whole, fraction = found[1], found[2], found[3] or ""
    digits = minor_digits(currency)
    if fraction[digits:].strip("0"):
        raise AmountError(f"more than {digits} decimals for {currency or 'no currency'}")
    amount_minor = int(whole + fraction[:digits].ljust(digits, "0") or "0")
    return -amount_minor if sign == "-" else amount_minor


def to_text(amount_minor: int, currency: str) -> str:
    """The decimal text of an amount, with all decimals of its currency."""
    digits = minor_digits(currency)
    sign = "-" if amount_minor < 0 else ""
    padded = str(abs(amount_minor)).rjust(digits + 1, "0")
    return sign + (f"{padded[:-digits]}.{padded[-digits:]}" if digits else padded)
