"""A replay proves a run, or says which row or file it cannot vouch for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from reconciliation.archive import ArchiveError
from reconciliation.engines import LocalEngine
from reconciliation.offline import reconcile_files
from reconciliation.replay import Certificate, replay
from tests.reconciliation.test_offline import write

if TYPE_CHECKING:
    from pathlib import Path


def _ran(folder: Path, rows_a_shard: int = 200_000) -> Path:
    out = folder / "out"
    files = write(folder)
    quiet = LocalEngine(1)
    reconcile_files(
        *files, out, None, None, lambda _: None, engine=quiet, rows_a_shard=rows_a_shard
    )
    return out


def _replayed(out: Path) -> Certificate:
    return replay(out, lambda _: None, LocalEngine(1))


def test_a_run_comes_out_the_same_again(tmp_path: Path) -> None:
    out = _ran(tmp_path)

    certificate = _replayed(out)

    assert certificate.identical
    assert certificate.recorded_digest == certificate.recomputed_digest
    assert (certificate.difference, certificate.rules_version) == ("", "2026.12")


def test_results_do_not_depend_on_the_size_of_the_shards(tmp_path: Path) -> None:
    whole = _replayed(_ran(tmp_path))
    parts = _replayed(_ran(tmp_path, rows_a_shard=1))
    assert whole.recomputed_digest == parts.recomputed_digest


def test_a_changed_result_is_told_by_file_and_row(tmp_path: Path) -> None:
    out = _ran(tmp_path)
    cases = pl.read_parquet(out / "cases.parquet")
    changed = cases.with_columns(
        detail=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit("nothing")).otherwise("detail")
    )
    changed.write_parquet(out / "cases.parquet")

    certificate = _replayed(out)

    assert not certificate.identical
    assert certificate.difference == "cases.parquet: row 2 differs"


def test_a_row_taken_out_of_a_result_is_told(tmp_path: Path) -> None:
    out = _ran(tmp_path)
    matches = pl.read_parquet(out / "matches.parquet")
    matches[:-1].write_parquet(out / "matches.parquet")

    assert _replayed(out).difference == "matches.parquet: row 4 is on one side only"


@pytest.mark.parametrize("name", ["00000-bank.parquet", "00000-ledger.parquet", "manifest.json"])
def test_a_changed_input_proves_nothing(tmp_path: Path, name: str) -> None:
    out = _ran(tmp_path)
    file = out / "replay" / name
    file.write_bytes(file.read_bytes()[:-2] + b"??")

    with pytest.raises(ArchiveError, match=name):
        _replayed(out)


def test_other_rules_in_the_manifest_are_refused(tmp_path: Path) -> None:
    out = _ran(tmp_path)
    manifest = out / "replay" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"transit_days": 5', '"transit_days": 6'))

    with pytest.raises(ArchiveError, match="not what its digests say"):
        _replayed(out)


def test_the_input_of_another_run_is_refused(tmp_path: Path) -> None:
    out = _ran(tmp_path)
    summary = out / "summary.json"
    text = summary.read_text()
    digest = _replayed(out).input_digest
    summary.write_text(text.replace(digest, "0" * 64))

    with pytest.raises(ArchiveError, match=r"not the input that summary\.json names"):
        _replayed(out)


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"manifest\.json cannot be read"):
        _replayed(tmp_path)
