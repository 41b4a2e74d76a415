"""Shards: the accounts in shares, so that a night fits any machine and any number of them.

Only one question reaches over accounts; it is asked first, of few rows (`matching.crossing`). After
it every share of the accounts can be matched for itself. The division is a function of the input
and changes nothing of the result. What goes to a worker and comes back is bytes, the same bytes
for the same shard wherever it is worked on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl

from reconciliation.explain import explained
from reconciliation.matching import kernel
from reconciliation.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from reconciliation.engines import Engine

Files: TypeAlias = dict[str, bytes]
"""Frames as Parquet files, by name."""

ROWS_A_SHARD: Final = 200_000
"""Open rows that a shard may have, both sides together; one key alone may have more."""

RESULTS: Final = ("matches", "cases", "searches", "explanations")
"""What `solve` makes of a shard, by name."""

# --- division -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A run of neighbouring keys (accounts, or funds with all their accounts), ends included.

    Attributes:
        first: its first key.
        last: its last key.
        rows: how many open rows it has.
    """

    first: str
    last: str
    rows: int


def divide(counts: Iterable[tuple[str, int]], rows_a_shard: int = ROWS_A_SHARD) -> Iterator[Span]:
    """Keys in their order, with their rows, in spans of at most so many rows; no key is split."""
    span: Span | None = None
    for key, rows in counts:
        if span is not None and span.rows + rows <= rows_a_shard:
            span = Span(span.first, key, span.rows + rows)
            continue
        if span is not None:
            yield span
        span = Span(key, key, rows)
    if span is not None:
        yield span


def account_counts(bank: pl.DataFrame, ledger: pl.DataFrame) -> Iterator[tuple[str, int]]:
    """The accounts of both sides in order, with their rows."""
    accounts = pl.concat([bank.select("account_id"), ledger.select("account_id")])
    yield from accounts.group_by("account_id").len().sort("account_id").iter_rows()


def within(frame: pl.DataFrame, span: Span) -> pl.DataFrame:
    """The rows of a span of accounts."""
    return frame.filter(pl.col("account_id").is_between(pl.lit(span.first), pl.lit(span.last)))


# --- bytes --------------------------------------------------------------------------------------


def packed(frame: pl.DataFrame) -> bytes:
    """A frame as a Parquet file; equal frames give equal bytes with one release of Polars."""
    file = BytesIO()
    frame.write_parquet(file, compression="zstd")
    return file.getvalue()


def unpacked(content: bytes) -> pl.DataFrame:
    """The frame of a Parquet file."""
    return pl.read_parquet(BytesIO(content))


# --- work on one shard --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """A shard as it travels.

    Attributes:
        as_of: the day that ages are counted to.
        rules: the rules in JSON.
        files: `bank` and `ledger`, perhaps `closed` and `pins`, as `kernel.match` takes them;
            `crossed` where there are more shards than one.
    """

    as_of: date
    rules: str
    files: Mapping[str, bytes]

    def frame(self, name: str) -> pl.DataFrame:
        """An input that every shard has."""
        return unpacked(self.files[name])

    def some(self, name: str) -> pl.DataFrame | None:
        """An input of which there may be nothing."""
        frame = unpacked(self.files[name]) if name in self.files else None
        return None if frame is None or (frame.is_empty() and name != "crossed") else frame

    def held_rules(self) -> Rules:
        """The rules."""
        return Rules.model_validate_json(self.rules)


def strand(job: Job) -> Files:
    """The shard's rows that an account of another shard may explain: `bank` and `ledger`."""
    bank, ledger = kernel.strand(
        job.frame("bank"),
        job.frame("ledger"),
        job.held_rules(),
        job.some("closed"),
        pins=job.some("pins"),
    )
    return {"bank": packed(bank), "ledger": packed(ledger)}


def solve(job: Job) -> Files:
    """What the kernel makes of the shard, by the names of `RESULTS`."""
    bank, ledger, rules = job.frame("bank"), job.frame("ledger"), job.held_rules()
    closed, pins = job.some("closed"), job.some("pins")
    result = kernel.match(
        bank, ledger, rules, job.as_of, closed, pins=pins, crossed=job.some("crossed")
    )
    return {
        "matches": packed(result.matches),
        "cases": packed(result.cases),
        "searches": packed(result.searches),
        "explanations": packed(explanations(bank, ledger, result, rules)),
    }


def explanations(
    bank: pl.DataFrame, ledger: pl.DataFrame, result: kernel.Result, rules: Rules
) -> pl.DataFrame:
    """Why each match and case is one, columns as `explain.EXPLANATIONS`.

    Of a case over two accounts a shard may have one half only: `crossed_explanations` says it of
    the whole.
    """
    every = explained(bank, ledger, result, rules)
    return every.filter((pl.col("kind") != CROSSED).fill_null(value=True))


def crossed_explanations(
    bank: pl.DataFrame, ledger: pl.DataFrame, result: kernel.Result, rules: Rules
) -> pl.DataFrame:
    """The same of cases over two accounts, by their own rows alone.

    Args:
        bank: entries of all accounts, or of those that are in such a case.
        ledger: lines, likewise.
        result: what came of all of them.
        rules: those of the run.
    """
    crossed = result.cases.filter(kind=CROSSED)
    entries, lines = (
        frame.join(
            crossed.filter(side=side),
            left_on=["account_id", name],
            right_on=["account_id", "member_id"],
            how="semi",
        )
        for side, frame, name in (("bank", bank, "entry_id"), ("ledger", ledger, "line_id"))
    )
    return explained(entries, lines, kernel.Result(result.matches.clear(), crossed), rules)


CROSSED: Final = "wrong_account"
"""The kind of case that reaches over accounts."""


# --- all shards ---------------------------------------------------------------------------------


def crossings(
    load: Callable[[int], Job], count: int, engine: Engine
) -> tuple[pl.DataFrame, dict[int, pl.DataFrame]]:
    """Cases over two accounts: all of them, and by shard those members that are of it."""
    if count == 1:
        return NO_CASES, {}
    found = dict(engine.map(strand, range(count), load))
    sides = {
        side: [unpacked(found[shard][side]) for shard in range(count)]
        for side in ("bank", "ledger")
    }
    some = load(0)
    bank, ledger = (pl.concat(sides[side]) for side in ("bank", "ledger"))
    pins = _rejected(load, count, bank, ledger)
    cases = kernel.cross(bank, ledger, some.held_rules(), some.as_of, pins=pins)
    homes = pl.concat(
        frame.select("account_id", shard=pl.lit(shard, dtype=pl.Int64))
        for frames in sides.values()
        for shard, frame in enumerate(frames)
    ).unique()
    placed = cases.join(homes, on="account_id", how="left", maintain_order="left")
    return cases, {shard: placed.filter(shard=shard).drop("shard") for shard in range(count)}


NO_CASES: Final = pl.DataFrame(
    schema=dict.fromkeys(
        ("case_id", "kind", "cause", "side", "account_id", "currency", "member_id"), pl.String()
    )
    | {"amount_minor": pl.Int64(), "detail": pl.String()}
)


def _rejected(
    load: Callable[[int], Job], count: int, bank: pl.DataFrame, ledger: pl.DataFrame
) -> pl.DataFrame | None:
    """What operators rejected among stranded rows; of two accounts only one fund's can be."""
    rows = pl.concat(
        [
            bank.select("account_id", side=pl.lit("bank"), member_id="entry_id"),
            ledger.select("account_id", side=pl.lit("ledger"), member_id="line_id"),
        ]
    )
    parts = [pins for shard in range(count) if (pins := load(shard).some("pins")) is not None]
    if not parts or rows.is_empty():
        return None
    key = ["side", "account_id", "member_id"]
    return pl.concat(parts).filter(decision="rejected").join(rows, on=key, how="semi")


def work_through(
    load: Callable[[int], Job],
    todo: Sequence[int],
    crossed: Mapping[int, pl.DataFrame],
    engine: Engine,
) -> Iterator[tuple[int, Files]]:
    """Solves shards, in whatever order they come to an end."""

    def ready(shard: int) -> Job:
        job = load(shard)
        if shard not in crossed:
            return job
        return replace(job, files={**job.files, "crossed": packed(crossed[shard])})

    return engine.map(solve, todo, ready)
