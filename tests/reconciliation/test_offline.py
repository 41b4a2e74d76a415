"""Two files in, four files out: complete, repeatable to the byte, or not at all."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from reconciliation import offline
from reconciliation.frames import InputError
from reconciliation.offline import Summary, reconcile_files
from reconciliation.rules import RulesError
from tests.reconciliation.builders import START, bank_frame, entry, ledger_frame, line

OUTPUTS = ("cases.parquet", "explanations.parquet", "matches.parquet", "summary.json")

BANK = [
    entry("e1", -100, 1, end_to_end_id="P1"),
    entry("e2", 5000, 1, reference="R1"),
    entry("fee", -15, 2, text="手续费"),
    entry("usd", 7, currency="USD"),
]
LEDGER = [
    line("l1", -100, payment_id="P1"),
    line("l2", 5000, reference="R1"),
    line("due", -900, 2),
]


def write(folder: Path, *, reverse: bool = False) -> tuple[Path, Path]:
    step = -1 if reverse else 1
    bank_frame(BANK[::step]).write_parquet(folder / "bank.parquet")
    ledger_frame(LEDGER[::step]).write_csv(folder / "ledger.csv")
    return folder / "bank.parquet", folder / "ledger.csv"


def reconcile(folder: Path, name: str = "out", rules: Path | None = None) -> Summary:
    bank, ledger = write(folder)
    return reconcile_files(bank, ledger, folder / name, rules, None, lambda _: None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_matches_cases_and_a_summary(tmp_path: Path) -> None:
    summary = reconcile(tmp_path)
    matches = pl.read_parquet(tmp_path / "out/matches.parquet")
    cases = pl.read_parquet(tmp_path / "out/cases.parquet")
    assert names(tmp_path / "out") == ["cases.parquet", "matches.parquet", "replay", "summary.json"]
    assert set(matches["member_id"]) == {"e1", "l1", "e2", "l2"}
    assert set(cases["member_id"]) == {"fee", "usd", "due"}
    assert {"match_id", "status", "rule", "side", "allocated_minor"} < set(matches.columns)
    assert {"case_id", "kind", "cause", "side", "detail"} < set(cases.columns)
    assert summary.as_of == (START + timedelta(days=2)).isoformat()


def test_explains_every_match_and_case_it_wrote(tmp_path: Path) -> None:
    reconcile(tmp_path)
    records = pl.read_parquet(tmp_path / "out/explanations.parquet")
    matches = pl.read_parquet(tmp_path / "out/matches.parquet")["match_id"]
    cases = pl.read_parquet(tmp_path / "out/cases.parquet")["case_id"]
    assert (
        records["id"].to_list() == pl.concat([matches, cases]).unique(maintain_order=True).to_list()
    )


def test_sums_up_by_rule_kind_and_currency(tmp_path: Path) -> None:
    summary = reconcile(tmp_path)
    assert summary.matches_by_rule == {"own_id": 1, "reference": 1}
    assert summary.cases_by_kind == {"missing_in_ledger": 2, "timing": 1}
    assert [(f.rule, f.currency, f.amount_minor) for f in summary.matches] == [
        ("own_id", "CNY", -100),
        ("reference", "CNY", 5000),
    ]
    assert [(f.cause, f.currency, f.bank_minor, f.ledger_minor) for f in summary.cases] == [
        ("bank_fee", "CNY", -15, 0),
        ("unidentified_receipt", "USD", 7, 0),
        ("in_transit", "CNY", 0, -900),
    ]
    assert [(p.currency, p.difference_minor, p.status) for p in summary.proof] == [
        ("CNY", 0, "proved"),
        ("USD", 0, "proved"),
    ]
    assert summary.balances == offline.BALANCES_FROM_ENTRIES


def test_the_summary_on_disk_certifies_inputs_and_outputs(tmp_path: Path) -> None:
    reconcile(tmp_path)
    said = json.loads((tmp_path / "out/summary.json").read_text())
    for name, digest in said["outputs"].items():
        assert sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    assert said["bank"]["sha256"] == sha256((tmp_path / "bank.parquet").read_bytes()).hexdigest()
    assert said["ledger"] == {
        "rows": 3,
        "sha256": sha256((tmp_path / "ledger.csv").read_bytes()).hexdigest(),
    }


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    reconcile(tmp_path, "first")
    reconcile(tmp_path, "second")
    for name in OUTPUTS:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_the_same_rows_in_another_order_give_the_same_results(tmp_path: Path) -> None:
    first = reconcile(tmp_path, "first")
    second = reconcile_files(
        *write(tmp_path, reverse=True), tmp_path / "second", None, None, lambda _: None
    )
    assert first.outputs == second.outputs
    assert first.bank.sha256 != second.bank.sha256


def test_holds_to_the_rules_given_and_names_them(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "strict"\ntransit_days = 0\nfee_words = []\n')
    summary = reconcile(tmp_path, rules=rules)
    assert summary.rules_version == "strict"
    assert {f.cause for f in summary.cases} >= {"unexplained_debit"}


def test_ages_lines_to_the_day_given(tmp_path: Path) -> None:
    day = START + timedelta(days=90)
    summary = reconcile_files(*write(tmp_path), tmp_path / "out", None, day, lambda _: None)
    assert summary.cases_by_kind == {"missing_in_bank": 1, "missing_in_ledger": 2}


def test_says_what_it_is_doing(tmp_path: Path) -> None:
    said: list[str] = []
    reconcile_files(*write(tmp_path), tmp_path / "out", None, None, said.append)
    assert "matching 4 entries with 3 lines" in said


def test_a_refused_input_leaves_earlier_results_as_they_were(tmp_path: Path) -> None:
    reconcile(tmp_path)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in OUTPUTS}
    bank, ledger = write(tmp_path)
    bank_frame([entry("e", 1), entry("e", 2)]).write_parquet(bank)
    with pytest.raises(InputError, match="bank, column entry_id, row 2"):
        reconcile_files(bank, ledger, tmp_path / "out", None, None, lambda _: None)
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in OUTPUTS}


def test_refused_rules_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("window = 3")
    with pytest.raises(RulesError, match="window"):
        reconcile(tmp_path, rules=tmp_path / "rules.toml")
    assert not (tmp_path / "out").exists()


def test_a_failure_while_writing_leaves_no_half_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        reconcile(tmp_path)
    assert names(tmp_path / "out") == []


def test_refuses_two_empty_inputs_without_a_day(tmp_path: Path) -> None:
    bank_frame([]).write_parquet(tmp_path / "b.parquet")
    ledger_frame([]).write_parquet(tmp_path / "l.parquet")
    files = (tmp_path / "b.parquet", tmp_path / "l.parquet")
    with pytest.raises(InputError, match="both inputs are empty"):
        reconcile_files(*files, tmp_path / "out", None, None, lambda _: None)
    summary = reconcile_files(*files, tmp_path / "out", None, START, lambda _: None)
    assert (summary.matches, summary.cases, summary.proof) == ((), (), ())
