"""The one file of all figures: each benchmark replaces its own and leaves the others' alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks import results

if TYPE_CHECKING:
    from pathlib import Path

ON: dict[str, Any] = {
    "processor": "P",
    "cores": 2,
    "python": "3.11",
    "date": "2026-11-26",
    "load_before": 0.1,
}


def _figures(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))["figures"]


def test_a_benchmark_replaces_its_own_figures_only(tmp_path: Path) -> None:
    results.record("adapters", {"a": 1, "old": 2}, ON, quick=True, folder=tmp_path)
    results.record("reconciliation", {"b": 3}, ON, quick=False, folder=tmp_path)
    results.record("adapters", {"a": 4}, ON, quick=False, folder=tmp_path)
    assert _figures(tmp_path) == {"b": 3, "a": 4}


def test_every_figure_stands_in_the_table_with_how_it_was_measured(tmp_path: Path) -> None:
    told = results.record("adapters", {"a": 1_234}, ON, quick=True, folder=tmp_path)
    assert told == (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| `a` | 1,234 |" in told
    assert "python -m benchmarks.adapters --quick" in told


def test_nested_findings_become_figures_of_one_name_each() -> None:
    found = {
        "ratio": 3.1,
        "python": "3.11",
        "quick": True,
        "camt": {"ours_s": 1.5, "middle_half": [1, 2]},
        "worst": [{"case": "blocks", "seconds": 2}, {"case": "one_id", "seconds": 3}],
    }
    assert results.flat("x", found) == {
        "x_ratio": 3.1,
        "x_camt_ours_s": 1.5,
        "x_camt_middle_half": [1, 2],
        "x_worst_blocks_seconds": 2,
        "x_worst_one_id_seconds": 3,
    }
