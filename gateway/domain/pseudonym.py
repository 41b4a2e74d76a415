"""What persons, homes and entries of the bank are called in public."""

from __future__ import annotations

import hmac
from hashlib import sha256


def pseudonym(salt: bytes, said: bytes, digits: int) -> str:
    """Hexadecimal digits that are the same for the same thing in a fund, and lead nowhere else.

    Args:
        salt: of the fund's pseudonyms, told to nobody.
        said: the thing, told apart by how it begins from things of other kinds.
        digits: how many.
    """
    return hmac.new(salt, said, sha256).hexdigest()[:digits]
