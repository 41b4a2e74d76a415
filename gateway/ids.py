"""Names that the gateway makes: sorted by time, and short enough to be a bank's reference.

All chance in what the gateway decides and stores is drawn here, so that a simulation can put a seed
in its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

Entropy = Callable[[int], bytes]
"""Answers so many random bytes."""

_ENTROPY: Final[ContextVar[Entropy]] = ContextVar("entropy", default=secrets.token_bytes)

_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_BITS, _RANDOM_BITS, _BITS_A_DIGIT = 45, 50, 5
_PLACES: Final = range(_TIME_BITS + _RANDOM_BITS - _BITS_A_DIGIT, -1, -_BITS_A_DIGIT)
_NONCE_BYTES: Final = 16


def draw_from(entropy: Entropy) -> None:
    """Draws from here for the rest of the running task, and in all that it begins; for tests."""
    _ENTROPY.set(entropy)


def new_id(prefix: str, now: datetime) -> str:
    """`prefix` and 19 digits of base 32: milliseconds since 1970, then 50 random bits.

    With a prefix of one letter these are 20 bytes, the least that any known bank leaves for a
    customer's reference (ICBC's ERPSqn). Two alike in one millisecond meet a unique key.
    """
    milliseconds = int(now.timestamp() * 1000) & ((1 << _TIME_BITS) - 1)
    chance = int.from_bytes(_ENTROPY.get()((_RANDOM_BITS + 7) // 8)) & ((1 << _RANDOM_BITS) - 1)
    number = milliseconds << _RANDOM_BITS | chance
    return prefix + "".join(_DIGITS[number >> place & 31] for place in _PLACES)


def new_nonce() -> str:
    """128 random bits, hexadecimal: what makes one thing another than its like."""
    return _ENTROPY.get()(_NONCE_BYTES).hex()
