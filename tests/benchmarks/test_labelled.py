"""The benchmark's own code, on a few made-up pairs of the same shape."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pytest

from benchmarks import labelled

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = (
    # memo, day and amount of the origin; the same of the destination
    ("ANNE B money BGC", 3, 120.50, "ANNE B money", 4, 120.50),
    ("ANNE B rent", 5, 118.00, "ANNE B rent CHQ", 9, 117.25),
    ("ANNE K 17c0ffee B", 4, 80.00, "ANNE K 17c0ffee", 5, 82.10),
    ("PETER O donation", 7, 33.33, "PETER O dona", 8, 33.33),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, first in (("origin", 0), ("destination", 3)):
        rows = [
            {
                "ground_truth": number,
                "memo": pair[first],
                "transaction_date": date(2022, 3, int(pair[first + 1])),
                "amount": pair[first + 2],
                "unique_id": number,
            }
            for number, pair in enumerate(PAIRS)
        ]
        pl.DataFrame(rows).write_parquet(tmp_path / f"transactions_{name}.parquet")
    return tmp_path


def test_reads_amounts_as_whole_minor_units(folder: Path) -> None:
    origin, _ = labelled.read_pairs(folder)
    assert origin["amount"].to_list() == [12_050, 11_800, 8_000, 3_333]
    assert origin["account_id"].to_list() == ["ANN", "ANN", "ANN", "PET"]


def test_ranks_the_true_partners_first(folder: Path) -> None:
    pairs = labelled.by_xinyi(*labelled.read_pairs(folder))
    assert pairs.select("origin", "destination").height > len(PAIRS)
    assert labelled.figures(pairs, [0, 1, 2, 3])["first_1"] == 1.0


def test_equal_scores_are_a_fair_draw() -> None:
    pairs = pl.DataFrame(
        {"origin": [1, 1, 2, 2], "destination": [1, 2, 1, 2], "score": [5, 5, 7, 6]}
    )
    found = labelled.figures(pairs, [1, 2])
    assert (found["first_1"], found["first_3"]) == (0.25, 1.0)
    assert found["reciprocal"] == (0.75 + 0.5) / 2


def test_an_origin_whose_partner_is_no_candidate_counts_as_missed() -> None:
    pairs = pl.DataFrame({"origin": [1, 2], "destination": [1, 1], "score": [5, 5]})
    assert labelled.figures(pairs, [1, 2])["first_10"] == 0.5


def test_frequencies_are_of_the_half_named_only(folder: Path) -> None:
    pairs = labelled.by_xinyi(*labelled.read_pairs(folder))
    rows = labelled.frequencies(pairs, [0])
    assert {row["field"] for row in rows} == {"amount", "date"}
    assert sum(row["true"] for row in rows if row["field"] == "date") == 1


def test_about_half_of_the_pairs_are_tuned_on() -> None:
    assert 450 < sum(labelled.tuned_on(truth) for truth in range(1_000)) < 550


def test_prints_and_writes_its_figures_and_says_what_was_not_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "figures.json"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["labelled", str(folder), "--out", str(out)])
    labelled.main()
    said = json.loads(out.read_text("utf-8"))
    assert [run["ranker"] for run in said["rankers"]] == ["xinyi"]
    assert "splink is not installed" in capsys.readouterr().out
