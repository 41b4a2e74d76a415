"""Change the core in small ways, one at a time, and see what no test notices: `make mutate`.

mutmut makes the changes. `domain` is pure: all of its mutants are tried, in forks of one process.
Those of `ledger` and `payments` need a database and are sampled: each runs a part of the tests in
an interpreter of its own, until the first that fails. Everything happens in a copy under `var`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT: Final = Path(__file__).parents[2]
COPY: Final = ROOT / "var" / "mutate"
_COPIED: Final = ("gateway", "adapters", "reconciliation", "protos", "tests", "pyproject.toml")
_TESTS: Final[Mapping[str, Sequence[str]]] = {
    "ledger": ("tests/gateway/ledger", "tests/simulation/test_model.py"),
    "payments": ("tests/simulation/test_model.py", "tests/gateway/payments"),
}
"""What has to notice a change of a package, the likeliest first."""
_PYTEST: Final = ("-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--no-header")
_LONGEST_S: Final = 900
_KILLED, _SURVIVED, _TOO_LONG = "killed", "survived", "too long"
_VERDICTS: Final = {0: _SURVIVED, 1: _KILLED, 3: _KILLED, 33: "without a test"}


def copy() -> None:
    """A fresh copy of what is mutated and of the tests; verdicts of an earlier run are kept."""
    COPY.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        source, target = ROOT / name, COPY / name
        if source.is_file():
            shutil.copy2(source, target)
        else:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def try_all(package: str, workers: int) -> None:
    """Tries every mutant of a package that mutmut has not tried before."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers)]
    subprocess.run([*command, f"gateway.{package}.*"], cwd=COPY, check=False)  # noqa: S603 - our own


def verdicts(package: str) -> dict[str, int | None]:
    """Every mutant of a package, with the exit status of the tests where it was tried."""
    found: dict[str, int | None] = {}
    for meta in sorted((COPY / "mutants" / "gateway" / package).glob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def try_one(package: str, mutant: str) -> str:
    """Runs the package's tests on a mutant, in an interpreter of its own."""
    mutants = COPY / "mutants"
    path = os.pathsep.join([str(mutants), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "MUTANT_UNDER_TEST": mutant, "PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", *_PYTEST, *_TESTS[package]]
    try:
        code = subprocess.run(  # noqa: S603 - our own interpreter and our own arguments
            command,
            cwd=mutants,
            env=environment,
            check=False,
            timeout=_LONGEST_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode
    except subprocess.TimeoutExpired:
        return _TOO_LONG
    return _VERDICTS.get(code, _KILLED)


def sample(package: str, count: int, seed: int, workers: int) -> dict[str, str]:
    """The verdicts on some mutants of a package, drawn from a seed."""
    every = sorted(verdicts(package))
    drawn = random.Random(seed).sample(every, min(count, len(every)))  # noqa: S311 - a sample
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(drawn, pool.map(partial(try_one, package), drawn), strict=True))


def show(mutant: str) -> str:
    """How a mutant differs from the code."""
    command = [sys.executable, "-m", "mutmut", "show", mutant]
    shown = subprocess.run(command, cwd=COPY, check=False, capture_output=True, text=True)  # noqa: S603 - our own
    changed = [line for line in shown.stdout.splitlines() if line.startswith(("+ ", "- "))]
    return "\n".join([mutant, *changed])


def main() -> None:
    """Tries, and tells the score of each package and all survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=100, help="of ledger, and of payments")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    copy()
    try_all("domain", given.workers)
    tried = {
        "domain": {
            mutant: _VERDICTS.get(code, _KILLED)
            for mutant, code in verdicts("domain").items()
            if code is not None
        },
        **{package: sample(package, given.sample, given.seed, given.workers) for package in _TESTS},
    }
    for package, told in tried.items():
        for mutant, verdict in told.items():
            if verdict != _KILLED:
                sys.stdout.write(f"{verdict}: {show(mutant)}\n")
        sys.stdout.write(f"{package}: {dict(Counter(told.values()))} of {len(verdicts(package))}\n")


if __name__ == "__main__":
    main()
