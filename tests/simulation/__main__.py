"""Simulate days: `python -m tests.simulation --seeds 1000`, or one to be read: `--seed 7`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from time import process_time
from typing import TYPE_CHECKING, Final

import uvloop

from gateway.domain.payment import State
from tests.simulation.day import simulate
from tests.simulation.stage import open_stage, start_server

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_EVERY: Final = 50
_TOLD: Final = frozenset({*State, "†"})
"""What is counted on the way: states that payments came to, and deaths of the process."""


async def run(url: str, folder: Path, seeds: Iterable[int], *, aloud: bool = False) -> None:
    """Simulates the day of each seed; the first that breaks names its seed and its last steps."""
    async with open_stage(url, folder) as stage:
        seen: Counter[str] = Counter()
        for done, seed in enumerate(seeds, 1):
            heard: list[str] = []
            try:
                await simulate(stage, seed, print if aloud else heard.append)
            except BaseException:
                sys.stderr.write("\n".join([*heard, f"seed {seed}: BROKEN", ""]))
                raise
            seen.update(word for line in heard for word in _TOLD.intersection(line.split()))
            if done % _EVERY == 0:
                sys.stderr.write(f"{done} days held, {process_time():.0f} s of CPU, {dict(seen)}\n")


def main() -> None:
    """Exits with 1 at the first day that does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="only this day, told aloud")
    parser.add_argument("--first", type=int, default=0, help="the first of many")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    given = parser.parse_args()
    url, folder = start_server()
    if given.seed is not None:
        uvloop.run(run(url, folder, [given.seed], aloud=True))
    else:
        uvloop.run(run(url, folder, range(given.first, given.first + given.seeds)))


if __name__ == "__main__":
    main()
