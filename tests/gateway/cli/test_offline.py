from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.domain.keys import key_id, load_private_key, load_public_key
from reconciliation.archive import Archive
from reconciliation.shards import solve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

STATEMENT = """:20:S1
:25:6222020000000001
:28C:1/1
:60F:C261121CNY1000,00
:61:2611221122D140,95NTRFREF1//BANK1
:86:电梯维修
:62F:C261122CNY{closing}
-
"""
BANK = "account_id,entry_id,booking_date,amount_minor,currency,end_to_end_id\n"
LEDGER = "account_id,line_id,effective_date,amount_minor,currency,payment_id\n"


def test_a_statement_is_parsed_to_whole_fen_without_a_gateway(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "s.sta").write_text(STATEMENT.format(closing="859,05"), "gb18030")
    result = xinyi("bank", "parse", "s.sta", "--json")
    parsed = json.loads(result.stdout)
    [statement] = parsed["statements"]
    assert statement["account"] == "6222020000000001"
    assert [entry["amount_minor"] for entry in statement["entries"]] == [-14095]
    assert (result.exit_code, parsed["findings"]) == (0, [])
    shown = xinyi("bank", "parse", "s.sta").stdout
    assert "-140.95" in shown
    assert "859.05" in shown


def test_a_statement_that_does_not_add_up_ends_with_status_one(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "s.sta").write_text(STATEMENT.format(closing="859,06"), "gb18030")
    result = xinyi("bank", "parse", "s.sta", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0]["severity"] == "error"


def test_a_file_that_is_no_statement_is_named_with_the_place(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "s.sta").write_bytes(b"\x1b[2Jhello")
    result = xinyi("bank", "parse", "s.sta", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "s.sta: format_unknown at byte 0" in result.stderr


def test_bank_profiles_are_listed(xinyi: Callable[..., Result]) -> None:
    assert "demo" in {each["id"] for each in json.loads(xinyi("bank", "profiles", "--json").stdout)}
    assert "信义演示银行" in xinyi("bank", "profiles").stdout


def reconciled(xinyi: Callable[..., Result], folder: Path, ledger_minor: int, *more: str) -> Result:
    (folder / "bank.csv").write_text(f"{BANK}A,e1,2026-11-22,-14095,CNY,p1\n")
    (folder / "ledger.csv").write_text(f"{LEDGER}A,l1,2026-11-22,{ledger_minor},CNY,p1\n")
    files = ("--bank", "bank.csv", "--ledger", "ledger.csv", "--out", "out")
    return xinyi("reconcile", *files, *more)


def test_two_files_that_agree_reconcile_cleanly(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    result = reconciled(xinyi, tmp_path, -14095, "--json")
    assert (result.exit_code, json.loads(result.stdout)["matched_bank_entries"]) == (0, 1)
    assert (tmp_path / "out" / "matches.parquet").is_file()
    assert result.stderr


def test_two_files_that_differ_end_with_status_one_and_name_the_case(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    result = reconciled(xinyi, tmp_path, -14096)
    assert result.exit_code == 1
    assert "金额不符" in result.stdout
    assert "已平" in result.stdout
    assert "-140.96" in result.stdout


def test_an_input_that_does_not_fit_is_named_with_its_column(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "bank.csv").write_text("account_id\nA\n")
    (tmp_path / "ledger.csv").write_text(LEDGER)
    files = ("--bank", "bank.csv", "--ledger", "ledger.csv", "--out", "out")
    result = xinyi("reconcile", *files)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "bank" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_new_key_pair_is_private_and_fits_together(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    result = xinyi("keys", "new", "--out", "keys", "--json")
    key = load_private_key((tmp_path / "keys/signing.key").read_bytes())
    public = load_public_key((tmp_path / "keys/signing.pub").read_bytes())
    assert key.public_key() == public
    assert json.loads(result.stdout)["key_id"] == key_id(public)
    assert (tmp_path / "keys/signing.key").stat().st_mode & 0o077 == 0


def test_a_key_pair_never_replaces_another(xinyi: Callable[..., Result], tmp_path: Path) -> None:
    xinyi("keys", "new", "--out", "keys")
    before = (tmp_path / "keys/signing.key").read_bytes()
    assert xinyi("keys", "new", "--out", "keys").exit_code == 2
    assert (tmp_path / "keys/signing.key").read_bytes() == before


def test_a_passphrase_encrypts_the_key(xinyi: Callable[..., Result], tmp_path: Path) -> None:
    result = xinyi("keys", "new", "--out", "keys", "--passphrase", typed="open\nopen\n")
    assert result.exit_code == 0
    pem = (tmp_path / "keys/signing.key").read_bytes()
    assert load_private_key(pem, b"open").public_key()
    with pytest.raises(Exception, match="private_key"):
        load_private_key(pem)


def test_help_says_each_command_without_loading_the_heavy_parts() -> None:
    code = (
        "import sys, gateway.cli.commands\n"
        "print(sorted({'polars', 'lxml', 'sqlalchemy', 'mt940'} & set(sys.modules)))\n"
        "sys.argv = ['xinyi', '--help']\n"
        "gateway.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own text
    loaded, _, helped = done.stdout.partition("\n")
    assert loaded == "[]"
    nouns = "bank case demo estate fund keys ledger line party payment reconcile run serve voucher"
    assert all(f" {noun} " in helped for noun in [*nouns.split(), "whoami"])


def test_a_file_is_checked_by_the_profile_of_its_bank(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "s.sta").write_text(STATEMENT.format(closing="859,05"), "gb18030")
    good = xinyi("bank", "check", "demo", "s.sta")
    assert (good.exit_code, good.stdout.strip()) == (0, "没有问题")
    (tmp_path / "s.sta").write_text(STATEMENT.format(closing="860,05"), "gb18030")
    wrong = xinyi("bank", "check", "demo", "s.sta", "--json")
    assert wrong.exit_code == 1
    assert [each["code"] for each in json.loads(wrong.stdout)] == ["statement_inconsistent"]


def test_a_profile_or_a_column_map_that_is_not_there_is_named(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "s.csv").write_text("日期,金额\n2026-11-02,1.00\n")
    for args in (("check", "nobank", "s.csv"), ("parse", "s.csv", "--map", "nomap")):
        result = xinyi("bank", *args)
        assert result.exit_code == 2
        assert args[-1 if args[0] == "parse" else 1] in result.stderr


def test_a_run_is_proved_again_and_a_changed_result_is_told(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    reconciled(xinyi, tmp_path, -14095)
    out = tmp_path / "out"

    proved = xinyi("reconcile", "replay", str(out), "--json")
    (out / "cases.parquet").write_bytes((out / "matches.parquet").read_bytes())
    changed = xinyi("reconcile", "replay", str(out), "--lang", "en")
    (out / "replay" / "00000-bank.parquet").unlink()
    broken = xinyi("reconcile", "replay", str(out))

    assert (proved.exit_code, json.loads(proved.stdout)["identical"]) == (0, True)
    assert changed.exit_code == 1
    assert "cases.parquet: other columns" in changed.stdout
    assert broken.exit_code == 2
    assert "00000-bank.parquet cannot be read" in broken.stderr


def test_what_reconcile_needs_is_asked_for(xinyi: Callable[..., Result]) -> None:
    result = xinyi("reconcile")
    assert result.exit_code == 2
    assert "--bank is required" in result.stderr


def test_a_run_of_the_gateway_is_found_by_its_id_in_the_data_directory(
    xinyi: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciled(xinyi, tmp_path, -14095)
    monkeypatch.setenv("XINYI_DATA_DIR", str(tmp_path))
    archive = tmp_path / "nights" / "run-1"
    shutil.copytree(tmp_path / "out" / "replay", archive)

    unfinished = xinyi("reconcile", "replay", "run-1")
    kept = Archive(archive)
    kept.write_result(0, solve(kept.job(kept.manifest(), 0)))
    proved = xinyi("reconcile", "replay", "reconciliationRuns/run-1", "--json")

    assert unfinished.exit_code == 2
    assert "unfinished" in unfinished.stderr
    assert (proved.exit_code, json.loads(proved.stdout)["identical"]) == (0, True)
