"""Hundreds of days, each drawn from a seed, through the gateway without a socket and two banks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.simulation.conftest import Live

_DAYS: Final = 200
_AT_ONCE: Final = 10


@pytest.mark.parametrize("first", range(0, _DAYS, _AT_ONCE))
def test_money_and_word_are_kept_whatever_goes_wrong(live: Live, first: int) -> None:
    """Told on failure: the seed, for `python -m tests.simulation --seed`."""
    for seed in range(first, first + _AT_ONCE):
        try:
            live(seed)
        except BaseException as error:
            error.add_note(f"to see it: python -m tests.simulation --seed {seed}")
            raise
