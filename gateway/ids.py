"""Names that the gateway makes: sorted by time, unguessable, within a bank's 35 characters."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

Entropy = Callable[[int], bytes]
"""Answers so many random bytes; a test hands in its own."""

_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_BITS, _RANDOM_BYTES, _BITS_A_DIGIT, _LENGTH = 48, 10, 5, 26


def new_id(prefix: str, now: datetime, entropy: Entropy = secrets.token_bytes) -> str:
    """`prefix` and 26 digits of base 32: milliseconds since 1970, then 80 random bits."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << _TIME_BITS) - 1)
    number = milliseconds << (8 * _RANDOM_BYTES) | int.from_bytes(entropy(_RANDOM_BYTES))
    places = range((_LENGTH - 1) * _BITS_A_DIGIT, -1, -_BITS_A_DIGIT)
    return prefix + "".join(_DIGITS[number >> place & 31] for place in places)
