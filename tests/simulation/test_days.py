"""Hundreds of days, each drawn from a seed, through the gateway without a socket and two banks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from gateway.bank import statements
from gateway.payments import approve, outcome
from gateway.rpc import once
from tests.simulation.checks import BrokenError
from tests.simulation.day import simulate

if TYPE_CHECKING:
    from tests.simulation.conftest import Theatre

_DAYS: Final = 200
_AT_ONCE: Final = 20
_SOON: Final = 40
"""Days within which a defect must have been found."""
_ROOT: Final = Path(__file__).parents[2]

Live = Callable[[int], list[str]]


@pytest.fixture
def live(theatre: Theatre) -> Live:
    """Lives through the day of a seed; answers with its trace."""
    return lambda seed: theatre.run(simulate(theatre.stage, seed, lambda _: None)).lines


@pytest.mark.parametrize("first", range(0, _DAYS, _AT_ONCE))
def test_money_and_word_are_kept_whatever_goes_wrong(live: Live, first: int) -> None:
    """Told on failure: the seed, for `python -m tests.simulation --seed`."""
    for seed in range(first, first + _AT_ONCE):
        try:
            live(seed)
        except BaseException as error:
            error.add_note(f"to see it: python -m tests.simulation --seed {seed}")
            raise


@pytest.mark.parametrize("seed", [1, 12])
def test_the_same_seed_gives_the_same_day_to_the_letter(live: Live, seed: int) -> None:
    """Here after another day, and in a process of its own, whose sets are in another order."""
    live(2)
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
    alone = subprocess.run(  # noqa: S603 - our own interpreter and our own arguments
        command,
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert live(seed) == alone.stdout.splitlines()


async def _nothing(*_: object, **__: object) -> None:
    """What a gateway does that forgets to do it."""


async def _no_entries(*_: object, **__: object) -> int:
    return 0


_FORGOTTEN: dict[str, tuple[Any, str, Any]] = {
    "that a refused payment gives its money back": (approve, "free", _nothing),
    "that a returned payment gives its budget back": (outcome, "unspend", _nothing),
    "what a request id stood for": (once, "_store", _nothing),
    "what the entries of a statement say of payments": (statements, "settle", _no_entries),
}


@pytest.mark.parametrize("forgotten", _FORGOTTEN)
def test_a_gateway_that_forgets_something_is_found_out(
    live: Live, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    owner, name, instead = _FORGOTTEN[forgotten]
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(BrokenError):
        _live_until_broken(live)


def _live_until_broken(live: Live) -> None:
    for seed in range(_SOON):
        live(seed)
