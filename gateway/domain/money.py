"""Amounts: whole minor units of one currency (fen for CNY), to and from text without loss."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.domain.errors import GatewayError, Kind, Reason, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_MINOR = 10**15
"""No amount is larger, either way: ten trillion yuan, far inside an int64."""

EXPONENTS: Mapping[str, int] = MappingProxyType(
    {"CNY": 2, "EUR": 2, "GBP": 2, "HKD": 2, "JPY": 0, "MOP": 2, "SGD": 2, "USD": 2}
)
"""Decimal digits of a currency's minor unit (ISO 4217), for the currencies the gateway knows."""

_YUAN_SIGNS = ("￥", "¥")
_YUAN_CURRENCIES = frozenset({"CNY", "JPY"})
_AMOUNT = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]+))?")
_LONGEST_TEXT = 64


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency; negative where a balance or a difference is.

    Attributes:
        amount_minor: minor units, fen for CNY; at most `LIMIT_MINOR` either way.
        currency: ISO 4217 code from `EXPONENTS`.

    Raises:
        GatewayError: AMOUNT_OUT_OF_RANGE beyond the limit, FIELD_INVALID for an unknown currency.
        TypeError: if the amount is not exactly an int.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)
        if type(self.amount_minor) is not int:
            raise TypeError("amount_minor must be an int")
        _require_range(self.amount_minor)

    def __add__(self, other: Money) -> Money:
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount_minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount_minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount_minor <= self._same(other)

    def __str__(self) -> str:
        """The amount as people read it, such as ``1,234.56 CNY``."""
        return f"{format_minor(self.amount_minor, self.currency)} {self.currency}"

    def _same(self, other: Money) -> int:
        """The other amount, once it is known to be of this currency."""
        if other.currency != self.currency:
            raise GatewayError(
                Kind.PRECONDITION,
                Reason.CURRENCY_MISMATCH,
                f"{other.currency} does not go with {self.currency}",
                {"currency": self.currency, "other": other.currency},
            )
        return other.amount_minor


def exponent(currency: str) -> int:
    """Decimal digits of the currency's minor unit.

    Raises:
        GatewayError: FIELD_INVALID for a currency the gateway does not know.
    """
    digits = EXPONENTS.get(currency)
    if digits is None:
        raise invalid(Reason.FIELD_INVALID, "currency", "is not a currency the gateway knows")
    return digits


def parse_minor(text: str, currency: str = "CNY") -> int:
    """Minor units that a written amount means, exactly.

    Read are digits, thousands separated by commas either everywhere or nowhere, a decimal point
    followed by no more digits than the currency has, one leading ￥ or ¥ (CNY and JPY only), and
    spaces around the whole. Refused are signs (a direction is a field of its own), spaces inside,
    exponents, other digits than 0-9, and decimals beyond the minor unit even where they are zero.

    Raises:
        GatewayError: FIELD_INVALID if the text is not such an amount, AMOUNT_OUT_OF_RANGE if it is
            more than `LIMIT_MINOR`.
    """
    digits = exponent(currency)
    match = _AMOUNT.fullmatch(_bare(text, currency)) if len(text) <= _LONGEST_TEXT else None
    whole, fraction = (match[1], match[2] or "") if match else ("", "")
    if not match or len(fraction) > digits:
        raise invalid(
            Reason.FIELD_INVALID, "amount", f"is not an amount with at most {digits} decimals"
        )
    amount_minor = int(whole.replace(",", "") + fraction.ljust(digits, "0"))
    _require_range(amount_minor)
    return amount_minor


def format_minor(amount_minor: int, currency: str = "CNY") -> str:
    """The amount with separated thousands and all its decimals: 123456 fen are ``1,234.56``."""
    digits = exponent(currency)
    whole, fraction = divmod(abs(amount_minor), 10**digits)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole:,}" + (f".{fraction:0{digits}d}" if digits else "")


def _bare(text: str, currency: str) -> str:
    """The text without spaces around it and without its currency sign."""
    bare = text.strip(" ")
    signed = currency in _YUAN_CURRENCIES and bare.startswith(_YUAN_SIGNS)
    return bare[1:] if signed else bare


def _require_range(amount_minor: int) -> None:
    if abs(amount_minor) > LIMIT_MINOR:
        raise invalid(
            Reason.AMOUNT_OUT_OF_RANGE, "amount_minor", f"is beyond {LIMIT_MINOR} minor units"
        )
