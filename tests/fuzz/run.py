"""Attack every reader for a while, a few at a time: `python -m tests.fuzz.run`, or `make fuzz`.

Each runs in a process of its own under libFuzzer, which ends it at the first crash, at a file that
takes more than a few seconds, or when it holds too much memory. What was learnt stays under
`var/fuzz` and is built on by the next run.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.files.fetch import fetched
from tests.fuzz.readers import READERS
from tests.fuzz.seeds import seeds

ROOT: Final = Path(__file__).parents[2]
LEARNT: Final = ROOT / "var" / "fuzz"
SLOWEST_S: Final = 5
"""No file of at most `LARGEST_BYTES` may take longer."""
LARGEST_BYTES: Final = 1 << 14
MEMORY_MEGABYTES: Final = 1024
"""Of a whole process; about 100 are there before the first file."""
_START_S: Final = 120
"""Grace for starting and for writing the last word."""
_EXECUTIONS: Final = re.compile(r"stat::number_of_executed_units:\s+([0-9]+)")
_COVERED: Final = re.compile(r"\bcov: ([0-9]+) ft: ([0-9]+)")
_LAST_LINES: Final = 25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attack."""

    name: str
    executions: int
    covered: str
    """Branches, and features (how often, and with what values), as libFuzzer counts them."""
    wrong: str
    """Why it ended early; empty if nothing was found."""


def attack(name: str, seconds: int, files: Path) -> Outcome:
    """Attack one reader for some seconds, from its seeds and what earlier runs learnt."""
    folder = LEARNT / name
    learnt, given, found = (folder / part for part in ("learnt", "seeds", "found"))
    shutil.rmtree(given, ignore_errors=True)
    for each in (learnt, given, found):
        each.mkdir(parents=True, exist_ok=True)
    begun_with = seeds(name, files)
    for content in begun_with:
        (given / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    options = {
        "max_total_time": seconds,
        "timeout": SLOWEST_S,
        "rss_limit_mb": MEMORY_MEGABYTES,
        "max_len": LARGEST_BYTES,
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(learnt), str(given)]
    command += [f"-{option}={value}" for option, value in options.items()]
    code, said = _run(command, seconds + _START_S, folder / "log")
    return _outcome(name, code, said, least=len(begun_with))


def _run(command: Sequence[str], longest_s: int, log: Path) -> tuple[int, str]:
    with log.open("wb") as output:
        try:
            code = subprocess.run(  # noqa: S603 - our own interpreter and our own arguments
                command, cwd=ROOT, stdout=output, stderr=output, check=False, timeout=longest_s
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    return code, log.read_text("utf-8", "replace")


def _outcome(name: str, code: int, said: str, least: int) -> Outcome:
    """Fewer executions than there are seeds mean that the attack itself is broken."""
    counted = _EXECUTIONS.findall(said)
    executions = int(counted[-1]) if counted else 0
    covered = "/".join((_COVERED.findall(said) or [("0", "0")])[-1])
    wrong = "\n".join(said.splitlines()[-_LAST_LINES:]) if code or executions < least else ""
    return Outcome(name, executions, covered, wrong)


def main() -> None:
    """Attack the readers named, or all; exit with 1 if any of them broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each reader")
    parser.add_argument("names", nargs="*", metavar="READER", help=", ".join(READERS))
    given = parser.parse_args()
    names = given.names or list(READERS)
    if unknown := sorted(set(names) - set(READERS)):
        parser.error(f"no reader {', '.join(unknown)}")
    files = fetched()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        outcomes = [*pool.map(lambda name: attack(name, given.seconds, files), names)]
    sys.stdout.write(_told(outcomes))
    sys.exit(any(one.wrong for one in outcomes))


def _told(outcomes: Sequence[Outcome]) -> str:
    lines = [
        f"{one.name:10} {one.executions:>10,} files, {one.covered:>10} branches/features: "
        f"{'BROKEN' if one.wrong else 'held'}"
        for one in outcomes
    ]
    for one in (one for one in outcomes if one.wrong):
        found = LEARNT / one.name / "found"
        lines += ["", f"{one.name}: the file is in {found}. Mend the reader, and keep the file, as"]
        lines += [f"small as it gets, under tests/fuzz/corpus/{one.name}.", one.wrong]
    return "\n".join((*lines, ""))


if __name__ == "__main__":
    main()
