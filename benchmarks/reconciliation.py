"""Accuracy and speed of the reconciliation, beside the truth and beside yardsticks.

`python -m benchmarks.reconciliation [--quick] [city dense nation worst night]`, run where this
repository lies, prints the figures and writes them as JSON (`var/benchmarks/reconciliation.json`
unless told otherwise). Without names all are measured, and written by `benchmarks.results` beside
those of the others too.

- city: 20,000 accounts of 50 lines. Wanted: 94 % of the bank's rows matched automatically, at most
  1 false in 100,000 automatic matches, 99 % of the planted breaks called by their right kind.
- dense: 1,000 accounts of 500 lines, a quarter of round amounts. Wanted: at most 1 false in 10,000.
- nation: 600,000 accounts, ten million lines. Wanted: at most 4 times the time of the bare join in
  the same run, on two cores, in less than 6 GB.
- worst: single accounts of 10,000 entries made to be hard; time and memory are to stay bounded.
- night: the nation's books in PostgreSQL, read, matched, explained, proved and written back, as the
  gateway does it every night. Reported; nothing is wanted but that it is done before the morning.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import night, results, speed
from benchmarks.scoring import score
from benchmarks.truth import ACQUIRER_PER_MILLION, CHARGES_MINOR, Plan, generate
from benchmarks.world import scratch
from reconciliation.matching.kernel import match
from reconciliation.rules import Fee, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Limits = Mapping[str, tuple[str, float]]

_QUICK_NIGHT: Final = 60
"""A quick night is this many times smaller."""
OUT: Final = Path("var/benchmarks/reconciliation.json")
SEED: Final = "2026"
RULES: Final = Rules(
    fees=(
        Fee(name="acquirer", direction="in", per_million=ACQUIRER_PER_MILLION),
        *(Fee(name=f"charge-{fen}", direction="out", fixed_minor=fen) for fen in CHARGES_MINOR),
    )
)
"""The default rules and the tariff of the banks in the made-up books."""

CITY: Final = Plan("city", accounts=20_000, lines=50)
DENSE: Final = Plan("dense", accounts=1_000, lines=500, round_permille=250)
CITY_LIMITS: Final[Limits] = {
    "automatic_share": (">=", 0.94),
    "automatic_false_per_100000": ("<=", 1),
    "breaks_right_share": (">=", 0.99),
}
DENSE_LIMITS: Final[Limits] = {"automatic_false_per_100000": ("<=", 10)}


def accuracy(plan: Plan, limits: Limits, seeds: Iterable[str], *, quick: bool) -> dict[str, Any]:
    """The scores of a set, seed by seed, and all of them together."""
    accounts = plan.accounts // (speed.QUICK if quick else 1)
    runs = []
    for seed in seeds:
        books = generate(Plan(f"{plan.seed}/{seed}", accounts, plan.lines, plan.round_permille))
        result = match(books.bank, books.ledger, RULES, books.as_of)
        runs.append({"seed": seed, **score(books, result)})
    return {"accounts": accounts, "together": _together(runs), "limits": limits, "runs": runs}


def _together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One run's figures, or several runs' as one."""
    automatic = sum(run["automatic"] for run in runs)
    wrong = sum(run["automatic_false"] for run in runs)
    rows = sum(run["bank_rows"] for run in runs)
    shares = sum(run["automatic_share"] * run["bank_rows"] for run in runs)
    planted = sum(run["breaks_planted"] for run in runs)
    right = sum(run["breaks_right_share"] * run["breaks_planted"] for run in runs)
    return {
        "bank_rows": rows,
        "automatic_share": round(shares / rows, 5),
        "automatic": automatic,
        "automatic_false": wrong,
        "automatic_false_per_100000": round(wrong * 100_000 / max(1, automatic), 3),
        "breaks_planted": planted,
        "breaks_right_share": round(right / max(1, planted), 5),
    }


def _nation(seeds: list[str], *, quick: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        return speed.nation(Path(name), f"nation/{seeds[0]}", quick=quick)


def _night(seeds: list[str], *, quick: bool) -> dict[str, Any]:
    accounts = speed.NATION_ACCOUNTS // (_QUICK_NIGHT if quick else 1)
    return night.measure(
        scratch("xinyi-night-"), Plan(f"night/{seeds[0]}", accounts, speed.NATION_LINES)
    )


def _worst(_seeds: list[str], *, quick: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        return speed.worst(Path(name), quick=quick)


def _show(name: str, figures: Any, console: Console) -> None:  # noqa: ANN401 - whatever was measured
    """Prints figures: a table of any list of rows, a line of anything else."""
    console.rule(name)
    nested = {}
    if isinstance(figures, list):
        nested = {name: figures}
    else:
        for key, value in figures.items():
            if isinstance(value, list):
                nested[key] = value
            else:
                console.print(f"{key}: {value}")
    for title, rows in nested.items():
        if title == "runs":
            for run in rows:
                _show(f"{name}, seed {run['seed']}", _without_examples(run), console)
        elif rows:
            console.print(_table(title, rows))


def _without_examples(run: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key != "false_examples"}


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table


def _measured(chosen: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What each name stands for."""
    seeds, quick = chosen.seeds, chosen.quick
    return {
        "city": lambda: accuracy(CITY, CITY_LIMITS, seeds, quick=quick),
        "dense": lambda: accuracy(DENSE, DENSE_LIMITS, seeds, quick=quick),
        "nation": lambda: _nation(seeds, quick=quick),
        "worst": lambda: _worst(seeds, quick=quick),
        "night": lambda: _night(seeds, quick=quick),
    }


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = ("city", "dense", "nation", "worst", "night")
    arguments.add_argument("what", nargs="*", help=f"some of {', '.join(names)}; all if none")
    arguments.add_argument("--quick", action="store_true", help="a twentieth of everything")
    arguments.add_argument("--seeds", nargs="+", default=[SEED], help="several make several cities")
    arguments.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    chosen = arguments.parse_args()
    chosen.all = not chosen.what
    chosen.what = chosen.what or list(names)
    if unknown := set(chosen.what) - set(names):
        arguments.error(f"nothing is called {', '.join(sorted(unknown))}")
    return chosen


def main() -> None:
    """Print the figures and write them."""
    chosen = _arguments()
    console, on = Console(), results.machine()
    figures: dict[str, Any] = {
        "python": platform.python_version(),
        "polars": pl.__version__,
        "quick": chosen.quick,
        "load_before": os.getloadavg()[0],
    }
    measured = _measured(chosen)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    # Progress goes where it does not mix with figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for name in chosen.what:
        figures[name] = measured[name]()
        _show(name, figures[name], console)
        text = json.dumps(figures, indent=2, ensure_ascii=False, default=str)
        chosen.out.write_text(text + "\n", encoding="utf-8")
    if chosen.all:
        plain = {name: _without_runs(figures[name]) for name in chosen.what}
        found = results.flat("reconciliation", plain)
        results.record("reconciliation", found, on, quick=chosen.quick)


def _without_runs(figures: Any) -> Any:  # noqa: ANN401 - whatever was measured
    """What all seeds came to together, without each one's own findings."""
    if isinstance(figures, dict):
        return {key: value for key, value in figures.items() if key not in {"runs", "limits"}}
    return figures


if __name__ == "__main__":
    main()
