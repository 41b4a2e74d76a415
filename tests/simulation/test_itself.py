"""The simulation itself: a seed gives one day only, and a gateway with a defect does not get by."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from gateway.bank import statements
from gateway.payments import approve, outcome
from gateway.rpc import group
from tests.simulation.checks import BrokenError

if TYPE_CHECKING:
    from tests.simulation.conftest import Live

_SOON: Final = 40
"""Days within which a defect must have been found."""
_ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [12, 30])
def test_the_same_seed_gives_the_same_day_to_the_letter(live: Live, seed: int) -> None:
    """Here after another day, and in a process of its own, whose sets are in another order.

    The second one is reconciled, and everything goes wrong in it.
    """
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
    "what a request id stood for": (group, "keep", _nothing),
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
