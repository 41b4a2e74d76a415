"""Bank files that nobody here wrote, against golden results or sums taken by another route."""

import ast
import re
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from adapters.model import Entry, Parsed, ParseError, Statement
from adapters.read import parse

STA = "mt-940/mt-940-4.23.0/mt940_tests"
ODOO = "odoo-addon-account-statement-import-camt/odoo/addons/account_statement_import_camt"
GOLDEN_AMOUNT = re.compile(
    r"^    amount: !!python/object:mt940\.models\.(?:Sum)?Amount\n"
    r"(?:      .*\n)*?      amount: !!python/object/apply:decimal\.Decimal \['([-0-9.]+)'\]",
    re.MULTILINE,
)
FIELD_61 = re.compile(
    rb"^:61:[0-9]{6}(?:[0-9]{4}|    )?(R?[DC])[A-Z]?[\n ]?([0-9]+),?([0-9]*)", re.MULTILINE
)


def minor(amount: Decimal | str) -> int:
    """Exact minor units of a two-decimal amount, not by our own rules."""
    exact = Decimal(amount) * 100
    assert exact == int(exact)
    return int(exact)


def entries(parsed: Parsed) -> list[Entry]:
    return [entry for statement in parsed.statements for entry in statement.entries]


def field_61_sums(content: bytes) -> list[int]:
    """Signed amounts of all statement lines, straight from the text."""
    text = content.replace(b"\r\n", b"\n")
    return [
        int(whole + cents.ljust(2, b"0")) * (1 if mark in {b"C", b"RD"} else -1)
        for mark, whole, cents in FIELD_61.findall(text)
    ]


def sta_files(files: Path) -> list[Path]:
    return sorted((files / STA).rglob("*.sta"))


def test_all_49_mt940_files_of_the_library_are_there(files: Path) -> None:
    assert len(sta_files(files)) == 49


def test_every_mt940_file_has_the_amounts_its_lines_show(files: Path) -> None:
    for path in sta_files(files):
        content = path.read_bytes()
        if path.name == "invalid_statement.sta":
            with pytest.raises(ParseError):
                parse(content)
            continue
        assert [e.amount_minor for e in entries(parse(content))] == field_61_sums(content), path


def test_every_mt940_file_has_the_amounts_of_its_golden_result(files: Path) -> None:
    compared = 0
    for path in sta_files(files):
        golden = GOLDEN_AMOUNT.findall(_transactions(path.with_suffix(".yml")))
        if not golden:
            continue
        found = [abs(e.amount_minor) for e in entries(parse(path.read_bytes()))]
        assert found == [abs(minor(amount)) for amount in golden], path
        compared += len(found)
    assert compared > 100


def _transactions(golden: Path) -> str:
    return golden.read_text(encoding="utf-8").partition("\ntransactions:")[2]


BALANCE = re.compile(rb"^:6[02]([FM]):([CD])[0-9]{6}([A-Z]{3})([0-9]*),([0-9]*)", re.MULTILINE)


def test_every_mt940_balance_is_the_one_its_line_shows(files: Path) -> None:
    for path in [*sta_files(files), *romanian(files)]:
        if path.name in {"invalid_statement.sta", "amount_formats.sta"}:
            continue  # nothing in the one, the same field many times over in the other
        content = path.read_bytes()
        shown = [
            int(whole + cents.ljust(2, b"0")) * (1 if mark == b"C" else -1)
            for _, mark, _, whole, cents in BALANCE.findall(content)
        ]
        assert list(_balances(parse(content))) == shown, path


def _balances(parsed: Parsed) -> Iterator[int]:
    for statement in parsed.statements:
        for balance in (statement.opening, statement.closing):
            if balance is not None:
                yield balance.amount_minor


def romanian(files: Path) -> list[Path]:
    found = files.glob("odoo-addon-l10n-ro-*/odoo/addons/*/test_files/*")
    return sorted(path for path in found if path.is_file())


def test_every_romanian_mt940_file_has_the_amounts_its_lines_show(files: Path) -> None:
    assert len(romanian(files)) == 8
    for path in romanian(files):
        content = path.read_bytes()
        found = [e.amount_minor for e in entries(parse(content))]
        assert found == field_61_sums(content), path
        assert found, path


def test_a_balance_without_a_currency_is_never_read_as_another_amount(files: Path) -> None:
    parsed = parse((files / STA / "self-provided/raphaelm.sta").read_bytes())
    assert "currency_missing" in {finding.code for finding in parsed.findings}
    assert parsed.statements[0].closing is None


@pytest.mark.parametrize("name", ["camt053", "camt053-txdtls", "camt054"])
def test_camt_files_agree_with_their_golden_results(files: Path, name: str) -> None:
    samples = files / ODOO / "tests/samples"
    _, account, golden = ast.literal_eval((samples / f"golden-{name}.pydata").read_text())
    parsed = parse((samples / f"test-{name}").read_bytes())
    assert len(parsed.statements) == len(golden)
    for statement, expected in zip(parsed.statements, golden, strict=True):
        assert statement.account == account
        _agrees(statement, expected)


def _agrees(statement: Statement, golden: dict[str, Any]) -> None:
    if "balance_start" in golden and statement.opening is not None:
        assert statement.opening.amount_minor == minor(str(golden["balance_start"]))
    if "balance_end_real" in golden and statement.closing is not None:
        assert statement.closing.amount_minor == minor(str(golden["balance_end_real"]))
    assert [_row(entry) for entry in statement.entries] == [
        (
            minor(str(row["amount"])),
            row["date"],
            row.get("partner_name", ""),
            row.get("account_number", ""),
        )
        for row in golden["transactions"]
    ]


def _row(entry: Entry) -> tuple[int, str, str, str]:
    on = entry.booking_date.isoformat()
    return entry.amount_minor, on, entry.counterparty_name, entry.counterparty_account


def test_a_statement_without_entries_is_a_statement(files: Path) -> None:
    parsed = parse((files / ODOO / "tests/samples/test-camt053-no-ntry").read_bytes())
    assert [len(statement.entries) for statement in parsed.statements] == [0]
    assert parsed.findings == ()


def test_a_zip_holds_the_statements_of_its_members(files: Path) -> None:
    path = files / ODOO / "tests/samples/test-camt053.zip"
    with zipfile.ZipFile(path) as archive:
        members = [parse(archive.read(name)) for name in archive.namelist()]
    assert len(members) > 1
    assert parse(path.read_bytes()).statements == tuple(
        statement for member in members for statement in member.statements
    )


def camt_files(files: Path) -> list[Path]:
    patterns = ("**/camt.05[34].001.*.xml", "**/test-camt05[34]*", "**/test-sepa-camt-*.xml")
    found = {path for pattern in patterns for path in files.glob(pattern)}
    wanted = ("tests/", "test_files/")
    return sorted(
        path
        for path in found
        if path.suffix != ".zip"
        and "unpaid-invalid" not in path.name
        and any(part in str(path) for part in wanted)
    )


def test_every_camt_file_has_the_sum_that_xpath_finds(files: Path) -> None:
    seen = camt_files(files)
    assert len(seen) == 15
    for path in seen:
        root = etree.parse(path).getroot()
        parsed = parse(path.read_bytes())
        unusable = [f for f in parsed.findings if f.code in {"date_missing", "entry_not_booked"}]
        if not unusable:
            assert sum(e.amount_minor for e in entries(parsed)) == _xpath_sum(root), path


def _xpath_sum(root: etree._Element) -> int:
    total = 0
    for entry in root.findall(".//{*}Ntry"):
        amount = minor(entry.findtext("{*}Amt", ""))
        total += amount if entry.findtext("{*}CdtDbtInd") == "CRDT" else -amount
    return total


def test_a_file_of_no_known_namespace_is_refused(files: Path) -> None:
    (path,) = files.glob("**/test-sepa-camt-unpaid-invalid.xml")
    with pytest.raises(ParseError) as refused:
        parse(path.read_bytes())
    assert refused.value.code == "format_unknown"


def test_a_statement_that_does_not_add_up_in_the_bank_file_itself_is_found(files: Path) -> None:
    """15568.27 − 754.25 − 664.05 + 1405.31 is 15555.28; the file says 15121.12."""
    parsed = parse((files / ODOO / "tests/samples/test-camt053").read_bytes())
    assert [finding.code for finding in parsed.findings] == ["statement_inconsistent"]
