"""Amounts in Chinese capitals (大写金额), as written on vouchers and shown to whoever signs.

After the central bank's rules for filling in bills and settlement vouchers
(正确填写票据和结算凭证的基本规定).
Where the rule leaves a choice, one form is used:

- 零 stands between 元 and 角 when the yuan end in 0 (壹仟陆佰捌拾元零叁角贰分), but not between
  万 and 仟 when only the ten-thousands end in 0 (壹拾万柒仟元零伍角叁分);
- 整 closes an amount of whole yuan only, not one that ends in 角.
"""

from __future__ import annotations

from gateway.domain.errors import Reason, invalid
from gateway.domain.money import LIMIT_MINOR

_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_PLACES = ("仟", "佰", "拾", "")
_WAN = 10**4
_YI = 10**8
_TEN = 10


def in_capitals(amount_fen: int) -> str:
    """The amount in renminbi capitals: 140950 fen are 壹仟肆佰零玖元伍角.

    Raises:
        GatewayError: AMOUNT_OUT_OF_RANGE for a negative amount or one beyond `LIMIT_MINOR`.
    """
    if not 0 <= amount_fen <= LIMIT_MINOR:
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, "amount_minor", "cannot be put in capitals")
    yuan, cents = divmod(amount_fen, 100)
    if not cents:
        return f"{_whole(yuan)}元整"
    return (f"{_whole(yuan)}元" if yuan else "") + _cents(cents, yuan)


def _cents(cents: int, yuan: int) -> str:
    """The 角 and 分 after the yuan, with the 零 that joins them."""
    jiao, fen = divmod(cents, 10)
    zero = "零" if yuan and (not jiao or yuan % 10 == 0) else ""
    jiao_text = f"{_DIGITS[jiao]}角" if jiao else ""
    fen_text = f"{_DIGITS[fen]}分" if fen else ""
    return zero + jiao_text + fen_text


def _whole(yuan: int) -> str:
    """Whole yuan; 亿 multiplies everything above it, so that 10**13 reads 壹拾万亿."""
    if yuan < _WAN:
        return _group(yuan) or _DIGITS[0]
    unit, name = (_YI, "亿") if yuan >= _YI else (_WAN, "万")
    high, low = divmod(yuan, unit)
    # One 零 stands for all zeros between two non-zero digits that lie across the unit.
    zero = "零" if 0 < low < unit // _TEN else ""
    return f"{_whole(high)}{name}{zero}{_whole(low) if low else ''}"


def _group(number: int) -> str:
    """Up to four digits, inner runs of zeros read as one 零, outer ones not at all."""
    text = ""
    for digit, place in zip(f"{number:04d}", _PLACES, strict=True):
        if digit != "0":
            text += _DIGITS[int(digit)] + place
        elif text and not text.endswith("零"):
            text += "零"
    return text.rstrip("零")
