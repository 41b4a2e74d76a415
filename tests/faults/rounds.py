"""One round of a fault, which says how to repeat it if something does not hold."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.faults.faults import FAULTS

if TYPE_CHECKING:
    from tests.faults.stage import Stage


async def play(stage: Stage, name: str, seed: int, number: int) -> None:
    """Plays a round; what is wrong carries a note with its fault, its seed and the logs' ends."""
    rng = Random(f"{seed}/{name}/{number}")  # noqa: S311 - to be repeated, not to be secret
    try:
        await stage.play(FAULTS[name], rng)
    except BaseException as wrong:
        wrong.add_note(f"repeat: python -m tests.faults --seed {seed} --rounds {number + 1} {name}")
        wrong.add_note(stage.last_words())
        raise
