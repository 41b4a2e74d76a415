"""Ranking on real labelled pairs: how often the true partner comes first, beside plain splink.

`python -m benchmarks.labelled FOLDER [--out FILE]`, run where this repository lies, reads
`transactions_origin.parquet` and `transactions_destination.parquet` from FOLDER: the transactions
set that the authors of splink publish (moj-analytical-services/splink_datasets, folder `data`, MIT
licence), 45,326 payments that arrived late, with fees and exchange taken off or added, and with
memos cut short. It prints the figures and writes them as JSON (`var/benchmarks/labelled.json`).

- An origin is taken for a ledger line and a destination for a bank entry, amounts as whole minor
  units. There is one account; rows whose memos begin with another word (its first three letters)
  are no candidates of each other, nor are those beyond the rules' reach of amount and days. Both
  rankers get these candidates and no others.
- xinyi ranks by the default rules, as any run does. Their steps of amounts and days were set with
  an eye on frequencies in one half of these pairs, chosen by a seed; what is reported is the other
  half. The frequencies are reported too, beside the weights.
- splink 5 on DuckDB learns without labels from all rows, as it is meant to: exact amount or within
  1, 3, 10, 30 per cent; Jaro-Winkler similarity of the memo; 1, 4, 10, 30 days, one way.
- Equal scores count as a fair draw for both. Time is that of ranking from frames in memory to
  scored pairs, training included; memory is the whole process's peak. Each has a process of its
  own. splink comes by `make labelled`; without it xinyi is measured alone, and that is said.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table

from reconciliation.ranking import ranked
from reconciliation.rules import Ranking, Rules

if TYPE_CHECKING:
    from collections.abc import Callable

OUT: Final = Path("var/benchmarks/labelled.json")
SEED: Final = "2026"
RULES: Final = Rules(ranking=Ranking(best=100))
"""The default rules; more candidates are kept, so that no true partner is lost to measuring."""
_LETTERS: Final = 3
_KB: Final = 1024
_FIRST: Final = (1, 3, 10)


# --- the pairs -----------------------------------------------------------------------------------


def read_pairs(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Origins and destinations: `truth`, `account_id`, `date`, `amount` (minor units), `memo`."""
    origin, destination = (
        _shaped(pl.read_parquet(folder / f"transactions_{name}.parquet"))
        for name in ("origin", "destination")
    )
    return origin, destination


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    first_word = pl.col("memo").str.split(" ").list.first()
    minor = (pl.col("amount").cast(pl.Decimal(18, 2)) * 100).cast(pl.Int64)
    return rows.select(
        truth=pl.col("ground_truth").cast(pl.Int64),
        account_id=first_word.str.head(_LETTERS),
        date=pl.col("transaction_date").cast(pl.Date),
        amount=minor,
        memo="memo",
    )


def tuned_on(truth: int) -> bool:
    """Whether a pair is in the half that the default weights were set by."""
    return sha256(f"{SEED}/{truth}".encode()).digest()[0] % 2 == 0


# --- the rankers ---------------------------------------------------------------------------------


def by_xinyi(origin: pl.DataFrame, destination: pl.DataFrame) -> pl.DataFrame:
    """Scored pairs: `origin`, `destination` (both `truth`), `score`, and the weights."""
    found = ranked(
        _frame(destination, "entry_id", "booking_date"),
        _frame(origin, "line_id", "effective_date"),
        "ledger",
        RULES,
    )
    return found.select(
        pl.col("member_id").cast(pl.Int64).alias("origin"),
        pl.col("candidate_id").cast(pl.Int64).alias("destination"),
        "score",
        pl.col("^weight_.*$"),
    )


def _frame(rows: pl.DataFrame, member: str, day: str) -> pl.DataFrame:
    return rows.select(
        pl.col("truth").cast(pl.String).alias(member),
        pl.col("date").alias(day),
        "account_id",
        currency=pl.lit("XXX"),
        amount_minor="amount",
        text="memo",
    )


def by_splink(origin: pl.DataFrame, destination: pl.DataFrame) -> pl.DataFrame:
    """The same of plain splink; its score is the match weight in bits."""
    splink = importlib.import_module("splink")
    database = splink.DuckDBAPI()
    tables = [
        database.register(rows.rename({"truth": "unique_id"}).to_arrow())
        for rows in (origin, destination)
    ]
    linker = splink.Linker(tables, _settings(splink, origin.height), log_level="ERROR")
    training = linker.training
    training.estimate_u_using_random_sampling(max_pairs=1e6, seed=int(SEED))
    for column in ("memo", "amount"):
        training.estimate_parameters_using_expectation_maximisation(splink.block_on(column))
    pairs = pl.DataFrame(linker.inference.predict().as_pyarrow_table())
    return pairs.select(origin="unique_id_l", destination="unique_id_r", score="match_weight")


def _settings(splink: Any, rows: int) -> Any:  # noqa: ANN401 - splink is not installed with us
    library = importlib.import_module("splink.comparison_library")
    level = importlib.import_module("splink.comparison_level_library")
    amount = library.CustomComparison(
        output_column_name="amount",
        comparison_levels=[
            level.NullLevel("amount"),
            level.ExactMatchLevel("amount"),
            *(level.PercentageDifferenceLevel("amount", share) for share in (0.01, 0.03, 0.1, 0.3)),
            level.ElseLevel(),
        ],
    )
    days = library.CustomComparison(
        output_column_name="date",
        comparison_levels=[
            level.NullLevel("date"),
            *(level.CustomLevel(f"date_r - date_l between 0 and {n}") for n in (1, 4, 10, 30)),
            level.ElseLevel(),
        ],
    )
    return splink.SettingsCreator(
        link_type="link_only",
        probability_two_random_records_match=1 / rows,
        blocking_rules_to_generate_predictions=[_reach()],
        comparisons=[amount, library.JaroWinklerAtThresholds("memo", [0.95, 0.9, 0.8, 0.7]), days],
    )


def _reach() -> str:
    """The rules' reach as splink takes it."""
    reach = RULES.ranking
    return (
        "l.account_id = r.account_id"
        f" and r.date - l.date between {-reach.reach_days_before} and {reach.reach_days_after}"
        f" and abs(r.amount - l.amount) * 1000 <= {reach.reach_permille} * abs(l.amount)"
    )


# --- scoring -------------------------------------------------------------------------------------


def figures(pairs: pl.DataFrame, truths: list[int]) -> dict[str, float]:
    """Shares of the origins named whose true partner is in the first places; equal scores drawn."""
    mine = pairs.filter(pl.col("origin").is_in(truths))
    true = mine.filter(pl.col("origin") == pl.col("destination"))
    met = mine.join(true.select("origin", true="score"), on="origin")
    places = met.group_by("origin").agg(
        better=(pl.col("score") > pl.col("true")).sum().cast(pl.Int64),
        equal=(pl.col("score") == pl.col("true")).sum().cast(pl.Int64),
    )
    drawn = places.select(
        "origin", place=pl.int_ranges(pl.col("better") + 1, pl.col("better") + pl.col("equal") + 1)
    ).explode("place")
    mean = drawn.group_by("origin").agg(
        *((pl.col("place") <= most).mean().alias(f"first_{most}") for most in _FIRST),
        reciprocal=(1 / pl.col("place")).mean(),
    )
    return {
        name: round(float(mean[name].sum()) / len(truths), 5)
        for name in (*(f"first_{most}" for most in _FIRST), "reciprocal")
    }


def frequencies(pairs: pl.DataFrame, truths: list[int]) -> list[dict[str, Any]]:
    """Of amounts and days: each weight of the rules beside what the pairs of these origins say."""
    mine = pairs.filter(pl.col("origin").is_in(truths))
    true = pl.col("origin") == pl.col("destination")
    found = []
    for field in ("amount", "date"):
        levels = mine.group_by(pl.col(f"weight_{field}").alias("weight")).agg(
            true=true.sum(), false=(~true).sum()
        )
        shares = (pl.col(name) / pl.col(name).sum() for name in ("true", "false"))
        told = levels.with_columns(*shares, field=pl.lit(field)).with_columns(
            by_frequency=_hundredths_of_bits()
        )
        found += told.sort("weight", descending=True).to_dicts()
    return [
        {name: _rounded(row[name]) for name in ("field", "weight", "by_frequency", "true", "false")}
        for row in found
    ]


def _hundredths_of_bits() -> pl.Expr:
    """Null where a level is all true or all false."""
    bits = (pl.col("true") / pl.col("false")).log(2) * 100
    return pl.when(bits.is_finite()).then(bits).round(0).cast(pl.Int64)


def _rounded(value: Any) -> Any:  # noqa: ANN401 - a name or a number
    return round(value, 5) if isinstance(value, float) else value


# --- measuring -----------------------------------------------------------------------------------

RANKERS: Final[dict[str, Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]]] = {
    "xinyi": by_xinyi,
    "splink": by_splink,
}


def measure(ranker: str, folder: Path) -> dict[str, Any]:
    """One ranker in this process: its figures, seconds, and the process's peak of memory."""
    origin, destination = read_pairs(folder)
    started = time.perf_counter()
    pairs = RANKERS[ranker](origin, destination)
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KB
    truths = origin["truth"].to_list()
    tuned = [truth for truth in truths if tuned_on(truth)]
    held_out = [truth for truth in truths if not tuned_on(truth)]
    return {
        "ranker": ranker,
        "origins": len(held_out),
        **figures(pairs, held_out),
        "first_1_of_all": figures(pairs, truths)["first_1"],
        "pairs_kept": pairs.height,
        "seconds": round(seconds, 2),
        "peak_mb": round(peak_mb),
        "frequencies": frequencies(pairs, tuned) if ranker == "xinyi" else [],
    }


def _apart(ranker: str, folder: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "benchmarks.labelled", str(folder)]
        subprocess.run(  # noqa: S603 - our own interpreter and our own arguments
            [*command, "--one", ranker, "--out", file.name], check=True
        )
        return dict(json.loads(Path(file.name).read_text("utf-8")))


def main() -> None:
    """Measure, print and write."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("folder", type=Path, help="holds the two Parquet files")
    arguments.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    arguments.add_argument("--one", choices=RANKERS, help="only this ranker, in this process")
    chosen = arguments.parse_args()
    if chosen.one is not None:
        _write(chosen.out, measure(chosen.one, chosen.folder))
        return
    rankers = [name for name in RANKERS if name == "xinyi" or importlib.util.find_spec(name)]
    runs = [_apart(ranker, chosen.folder) for ranker in rankers]
    _show(runs)
    _write(chosen.out, {"python": platform.python_version(), "seed": SEED, "rankers": runs})


def _show(runs: list[dict[str, Any]]) -> None:
    console = Console()
    names = [name for name in runs[0] if name not in ("ranker", "frequencies")]
    told = [{"": name, **{run["ranker"]: run[name] for run in runs}} for name in names]
    console.print(_table("place of the true partner", told))
    console.print(
        "origins: the half of the pairs that no weight was set by; frequencies: the other"
    )
    console.print(_table("weights and frequencies", runs[0]["frequencies"]))
    if len(runs) == 1:
        console.print("splink is not installed here: `make labelled LABELLED=FOLDER` measures both")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
