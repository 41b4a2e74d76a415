"""The accounts in any shares, worked on anywhere: the same result as all at once."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation.archive import Archive, manifest_of
from reconciliation.engines import EngineError, LocalEngine, engine_named
from reconciliation.matching.kernel import Result, match
from reconciliation.matching.pins import PINS
from reconciliation.offline import solved
from reconciliation.rules import Rules
from reconciliation.shards import Files, Job, Span, account_counts, divide, solve, within
from tests.reconciliation.builders import LATE, bank_frame, ledger_frame
from tests.reconciliation.test_properties import ENTRIES, LINES

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = ("A", "B", "C", "D")


def _over_accounts(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The same rows on four accounts, so that ids meet across them."""
    spread = st.lists(st.sampled_from(ACCOUNTS), min_size=12, max_size=12)
    return st.tuples(rows, spread).map(
        lambda both: [
            row | {"account_id": account} for row, account in zip(both[0], both[1], strict=False)
        ]
    )


def _rejections(
    entries: list[dict[str, Any]], lines: list[dict[str, Any]], chosen: list[int]
) -> pl.DataFrame:
    """An operator's no to some pairs, on one account or two."""
    rows = [
        {"decision": "rejected", "group": str(n), "side": side, "account_id": row["account_id"]}
        | {"member_id": row["entry_id" if side == "bank" else "line_id"], "allocated_minor": None}
        for n, (entry, line) in enumerate(zip(entries, lines, strict=False))
        if n in chosen
        for side, row in (("bank", entry), ("ledger", line))
    ]
    return pl.DataFrame(rows, schema=dict(PINS.columns))


def _in_shares(
    folder: Path,
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    pins: pl.DataFrame,
    cuts: set[int],
    engine: LocalEngine,
) -> Result:
    bounds = [0, *sorted(cuts), len(ACCOUNTS)]
    archive = Archive(folder)
    shards = []
    for number, (begin, end) in enumerate(pairwise(bounds)):
        span = Span(ACCOUNTS[begin], ACCOUNTS[end - 1], 0)
        frames = {name: within(f, span) for name, f in (("bank", bank), ("ledger", ledger))}
        shards.append(archive.write_shard(number, span, frames | {"pins": within(pins, span)}))
    result, _ = solved(archive, manifest_of(LATE, Rules(), shards), engine, lambda _: None)
    return result


@settings(max_examples=40, deadline=None)
@given(
    _over_accounts(ENTRIES),
    _over_accounts(LINES),
    st.sets(st.integers(1, len(ACCOUNTS) - 1)),
    st.lists(st.integers(0, 11), max_size=3),
)
def test_any_division_gives_what_all_accounts_at_once_give(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    cuts: set[int],
    rejected: list[int],
) -> None:
    bank, ledger = bank_frame(entries), ledger_frame(lines)
    pins = _rejections(entries, lines, rejected)
    whole = match(bank, ledger, Rules(), LATE, pins=pins)
    folder = tmp_path_factory.mktemp("shares")

    parts = _in_shares(folder, bank, ledger, pins, cuts, LocalEngine(1))

    for name in ("matches", "cases", "searches"):
        assert getattr(parts, name).equals(getattr(whole, name)), name


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 60))
def test_a_division_keeps_every_key_once_and_within_the_bound(
    rows: list[int], rows_a_shard: int
) -> None:
    counts = [(f"{key:03d}", count) for key, count in enumerate(rows)]

    spans = list(divide(counts, rows_a_shard))

    kept = [key for span in spans for key, _ in counts if span.first <= key <= span.last]
    assert kept == [key for key, _ in counts]
    assert sum(span.rows for span in spans) == sum(rows)
    assert all(span.rows <= rows_a_shard or span.first == span.last for span in spans)


# --- workers --------------------------------------------------------------------------------------


def _shards(folder: Path) -> tuple[Archive, list[Job]]:
    bank = bank_frame(
        [
            {"account_id": account, "entry_id": f"{account}{n}", "amount_minor": n + 1}
            | {"currency": "CNY", "booking_date": LATE, "end_to_end_id": f"P{n}"}
            for account in ACCOUNTS
            for n in range(20)
        ]
    )
    ledger = bank.select(
        *("account_id", "amount_minor", "currency"),
        line_id="entry_id",
        effective_date="booking_date",
        payment_id="end_to_end_id",
    )
    archive = Archive(folder)
    shards = [
        archive.write_shard(n, span, {"bank": within(bank, span), "ledger": within(ledger, span)})
        for n, span in enumerate(divide(account_counts(bank, ledger), 1))
    ]
    manifest = manifest_of(LATE, Rules(), shards)
    return archive, [archive.job(manifest, number) for number in range(len(shards))]


@dataclass(frozen=True)
class DiesOnce:
    """Work during which the first worker is killed."""

    mark: Path

    def __call__(self, job: Job) -> Files:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return solve(job)


def _always_dies(_: Job) -> Files:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    _, jobs = _shards(tmp_path / "in")
    undisturbed = dict(LocalEngine(1).map(solve, range(4), jobs.__getitem__))

    work = DiesOnce(tmp_path / "killed")
    found = list(LocalEngine(2).map(work, range(4), jobs.__getitem__))

    assert (tmp_path / "killed").exists()
    assert sorted(number for number, _ in found) == [0, 1, 2, 3]
    assert dict(found) == undisturbed


def test_a_shard_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    _, jobs = _shards(tmp_path)
    with pytest.raises(EngineError, match="died 3 times over shard"):
        list(LocalEngine(2).map(_always_dies, range(2), jobs.__getitem__))


def test_without_ray_the_engine_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'xinyi-gateway\[ray\]'"):
        engine_named("ray")
