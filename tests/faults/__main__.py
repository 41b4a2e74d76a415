"""Fault after fault, for as many rounds as wanted: `python -m tests.faults`, or `make soak`.

Each round is one load with one fault in its midst, and everything checked behind it. The seed says
which faults come when; what the machine makes of it in time is not in anybody's hands.
"""

import argparse
import asyncio
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import Final

from tests.faults.faults import FAULTS, missing
from tests.faults.rounds import play
from tests.faults.stage import Stage, open_stage

_ROUNDS_A_STAGE: Final = 40
"""Then a new database, so that looking everything through stays quick."""


def main() -> None:
    """Plays; exits with 1 at the first thing that does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each fault")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("names", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    given = parser.parse_args()
    names = given.names or list(FAULTS)
    if unknown := sorted(set(names) - set(FAULTS)):
        parser.error(f"no fault {', '.join(unknown)}")
    sys.stderr.write(f"seed {given.seed}\n")
    asyncio.run(_play_all(names, given.seed, given.rounds))


async def _play_all(names: Sequence[str], seed: int, rounds: int) -> None:
    playing = asyncio.current_task()
    assert playing is not None
    # Else what was started and mounted would stay.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    plan = [(number, name) for number in range(rounds) for name in names]
    for begin in range(0, len(plan), _ROUNDS_A_STAGE):
        async with open_stage() as stage:
            for number, name in plan[begin : begin + _ROUNDS_A_STAGE]:
                await _play_one(stage, name, seed, number)
    sys.stdout.write(f"{len(plan)} rounds of {', '.join(names)}: held\n")


async def _play_one(stage: Stage, name: str, seed: int, number: int) -> None:
    if why := missing(name, stage):
        sys.stderr.write(f"{name} {number}: left out: {why}\n")
        return
    before = stage.people.troubles.total()
    await play(stage, name, seed, number)
    repeated = stage.people.troubles.total() - before
    told = len(stage.people.journal)
    sys.stderr.write(f"{name} {number}: held; {repeated} calls repeated, {told} answered so far\n")


if __name__ == "__main__":
    main()
