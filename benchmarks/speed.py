"""Time and memory of the matching kernel: a whole country's night, and the worst single accounts.

Everything measured runs in a process of its own, which reads its files first: time is that of the
matching alone, memory the process's whole peak. The yardstick is what anybody would write in
Polars: join by our id and amount where both are unique, then by amount within a window of days.
Both are given the very same files, in the form in which a night keeps its input and hands it to
the kernel: every column typed, rows by account and id (`frames.normalise`). Beside the time that
went by stands the processors' own: others at work on the machine stretch the first far more than
the second.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from benchmarks.truth import LAST_DAY, START, Plan, generate
from reconciliation.engines import MEMORY_KEPT
from reconciliation.frames import normalise
from reconciliation.matching.kernel import match
from reconciliation.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

NATION_ACCOUNTS: Final = 600_000
NATION_LINES: Final = 17
"""Lines an account: with 600,000 accounts, ten million lines."""
SHARD_ACCOUNTS: Final = 50_000
"""At most; a whole number of shards for each core."""
QUICK: Final = 20
"""A quick run is this many times smaller."""
CORES: Final = 2
TRIES: Final = range(2)
"""By turns; of yardstick and kernel alike the faster one counts."""
WORST_ROWS: Final = 10_000
_KB: Final = 1024
_AS_OF: Final = START.replace(month=4, day=1)
_WINDOW_DAYS: Final = (-3, 5)

if (_AS_OF - START).days != LAST_DAY:
    raise AssertionError("the books' last day has moved")


def nation(folder: Path, seed: str, *, quick: bool) -> dict[str, Any]:
    """The kernel beside the bare join, on the same shards, in the same way: two processes."""
    accounts = NATION_ACCOUNTS // (QUICK if quick else 1)
    entries, lines = write_shards(folder, seed, accounts)
    bare_whole = _measure("bare_whole", folder, 1)
    tries = [(_measure("bare", folder, CORES), _measure("kernel", folder, CORES)) for _ in TRIES]
    bare, kernel = (min(each, key=itemgetter("seconds")) for each in zip(*tries, strict=True))
    fastest, least = (min(bare[unit], bare_whole[unit]) for unit in ("seconds", "cpu_seconds"))
    return {
        "seed": seed,
        "accounts": accounts,
        "entries": entries,
        "lines": lines,
        "bare_two_processes": bare,
        "bare_one_process": bare_whole,
        "kernel_two_processes": kernel,
        "ratio": round(kernel["seconds"] / fastest, 2),
        "cpu_ratio": round(kernel["cpu_seconds"] / least, 2),
        "load": os.getloadavg()[0],
    }


def write_shards(folder: Path, seed: str, accounts: int) -> tuple[int, int]:
    """Makes the shards' files; how many entries and lines there are."""
    entries = lines = 0
    count = min(SHARD_ACCOUNTS, accounts // CORES)
    for first in range(0, accounts, count):
        plan = Plan(
            f"{seed}/{first}", min(count, accounts - first), NATION_LINES, first_account=first
        )
        books = generate(plan)
        name = f"{first:07}.parquet"
        normalise(books.bank, "bank").write_parquet(folder / f"bank-{name}")
        normalise(books.ledger, "ledger").write_parquet(folder / f"ledger-{name}")
        entries, lines = entries + books.bank.height, lines + books.ledger.height
    return entries, lines


def _measure(what: str, folder: Path, processes: int) -> dict[str, Any]:
    """Runs the work in so many processes at once, the cores shared out among them."""
    # yardstick and kernel alike keep freed memory, as a worker of the night does
    environment = os.environ | {"POLARS_MAX_THREADS": str(CORES // processes)} | MEMORY_KEPT
    started = [
        subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-m", "benchmarks.speed", what, str(folder), f"{part}/{processes}"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for part in range(processes)
    ]
    outcomes = [_outcome(process) for process in started]
    return {
        "seconds": round(max(outcome["seconds"] for outcome in outcomes), 2),
        "cpu_seconds": round(sum(outcome["cpu_seconds"] for outcome in outcomes), 2),
        "peak_mb": round(sum(outcome["peak_mb"] for outcome in outcomes)),
        "rows_matched": sum(outcome["rows"] for outcome in outcomes),
    }


def _outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"a measured process ended with {process.returncode}")
    return dict(json.loads(said))


def bare(bank: pl.DataFrame, ledger: pl.DataFrame) -> int:
    """The yardstick: how many pairs two joins find."""
    entries = _few(bank, "entry_id", "booking_date", "end_to_end_id")
    lines = _few(ledger, "line_id", "effective_date", "payment_id")
    key = ["account_id", "amount_minor", "own"]
    exact = _once(entries, key).join(_once(lines, key), on=key, suffix="_line").collect()
    taken = exact.lazy()
    left = entries.join(taken, on="row", how="anti")
    right = lines.join(taken, left_on="row", right_on="row_line", how="anti")
    met = left.join(right, on=["account_id", "amount_minor"], suffix="_line")
    days = (pl.col("day") - pl.col("day_line")).dt.total_days()
    near = met.filter(days.is_between(*_WINDOW_DAYS)).select("row", "row_line")
    alone = pl.col("row").is_unique() & pl.col("row_line").is_unique()
    return exact.height + near.filter(alone).collect().height


def _few(frame: pl.DataFrame, member: str, day: str, own: str) -> pl.LazyFrame:
    few = frame.lazy().select("account_id", "amount_minor", member, day=day, own=own)
    return few.drop(member).with_row_index("row")


def _once(rows: pl.LazyFrame, key: list[str]) -> pl.LazyFrame:
    counted = rows.drop_nulls("own").group_by(key).agg(pl.len(), pl.col("row").first())
    return counted.filter(pl.col("len") == 1).drop("len")


def _kernel(bank: pl.DataFrame, ledger: pl.DataFrame) -> int:
    return match(bank, ledger, Rules(), _AS_OF).matches.height


def _shards(folder: Path, part: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Every n-th shard, read as it is its turn."""
    number, parts = (int(text) for text in part.split("/"))
    for path in sorted(folder.glob("bank-*.parquet"))[number::parts]:
        ledger = path.with_name(path.name.replace("bank", "ledger"))
        yield pl.read_parquet(path), pl.read_parquet(ledger)


def _whole(folder: Path, _part: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    yield pl.read_parquet(folder / "bank-*.parquet"), pl.read_parquet(folder / "ledger-*.parquet")


@dataclass(frozen=True, slots=True)
class Worst:
    """One account made to be as hard as can be.

    Attributes:
        about: what makes it hard.
        bank: an entry's fields by its number.
        ledger: a line's fields by its number.
    """

    about: str
    bank: Callable[[int], dict[str, Any]]
    ledger: Callable[[int], dict[str, Any]]


def _amount(of: Callable[[int], int]) -> Callable[[int], dict[str, Any]]:
    return lambda number: {"amount_minor": of(number)}


WORST: Final = {
    "all_equal": Worst(
        "one amount throughout", _amount(lambda _: 15_000), _amount(lambda _: 15_000)
    ),
    "blocks": Worst(
        "a hundred amounts, each a hundred times",
        _amount(lambda n: 10_000 + n % 100),
        _amount(lambda n: 10_000 + n % 100),
    ),
    "many_sums": Worst(
        "small lines, and entries that countless sets of them add up to",
        _amount(lambda n: 1_000_000 + n),
        _amount(lambda n: 200_000 + 37 * n),
    ),
    "no_sums": Worst(
        "even lines and odd entries: no sum exists, all have to be tried",
        _amount(lambda n: 2_000_001 + 2 * n),
        _amount(lambda n: 400_000 + 74 * n),
    ),
    "sums_both_ways": Worst(
        "entries and lines in the same range, each a sum of the other side's",
        _amount(lambda n: 30_000 + 7_919 * n % 1_000_003),
        _amount(lambda n: 30_000 + 104_729 * n % 1_000_003),
    ),
    "one_reference": Worst(
        "the same reference and different amounts",
        lambda n: {"amount_minor": 10_000 + 2 * n, "reference": "物业费"},
        lambda n: {"amount_minor": 10_001 + 2 * n, "reference": "物业费"},
    ),
    "one_id": Worst(
        "one payment id and one amount",
        lambda _: {"amount_minor": -15_000, "end_to_end_id": "PAY1"},
        lambda _: {"amount_minor": -15_000, "payment_id": "PAY1"},
    ),
    "one_batch": Worst(
        "one batch id, and sums that differ",
        lambda n: {"amount_minor": 10_000 + 2 * n, "batch_id": "B1"},
        lambda n: {"amount_minor": 10_001 + 2 * n, "batch_id": "B1"},
    ),
    "repeats": Worst(
        "rows alike in everything",
        lambda n: {"amount_minor": 10_000 + n % 7, "reference": "R", "counterparty_name": "王伟"},
        lambda n: {"amount_minor": 10_000 + n % 5, "reference": "R", "counterparty_name": "王伟"},
    ),
}
"""Accounts of `WORST_ROWS` entries and as many lines."""


def worst(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Time and memory of each worst account, in a process each."""
    rows = WORST_ROWS // (QUICK if quick else 1)
    return [_worst(folder / name, name, rows) for name in WORST]


def _worst(folder: Path, name: str, rows: int) -> dict[str, Any]:
    folder.mkdir()
    case = WORST[name]
    for side, make in (("bank", case.bank), ("ledger", case.ledger)):
        _account(side, make, rows).write_parquet(folder / f"{side}-0.parquet")
    return {"case": name, "about": case.about, "rows": rows, **_measure("kernel", folder, 1)}


def _account(side: str, make: Callable[[int], dict[str, Any]], rows: int) -> pl.DataFrame:
    member, day = ("entry_id", "booking_date") if side == "bank" else ("line_id", "effective_date")
    common = {"account_id": "4402000000000000001", "currency": "CNY"}
    made = [
        common | {member: f"{number:06}", day: _posted(number)} | make(number)
        for number in range(rows)
    ]
    return pl.DataFrame(made)


def _posted(number: int) -> date:
    """Three days, so that everything is within every window of everything."""
    return START.replace(day=10 + number % 3)


_WORK: Final[dict[str, tuple[Any, Any]]] = {
    "bare": (_shards, bare),
    "bare_whole": (_whole, bare),
    "kernel": (_shards, _kernel),
}


def main() -> None:
    """One measured process: does its part of the shards and prints what it took."""
    arguments = argparse.ArgumentParser(description="one measured process of a benchmark")
    arguments.add_argument("work", choices=_WORK)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("part", help="number/of, as 0/2")
    chosen = arguments.parse_args()
    shards, work = _WORK[chosen.work]
    seconds, cpu_seconds, rows = 0.0, 0.0, 0
    gc.freeze()  # as a worker of the night does
    for bank, ledger in shards(chosen.folder, chosen.part):
        started, cpu_started = time.perf_counter(), time.process_time()
        rows += work(bank, ledger)
        seconds += time.perf_counter() - started
        cpu_seconds += time.process_time() - cpu_started
    spent = {"seconds": seconds, "cpu_seconds": cpu_seconds, "rows": rows, "peak_mb": _peak_mb()}
    print(json.dumps(spent))


def _peak_mb() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / _KB


if __name__ == "__main__":
    main()
