"""Bank files that nobody here wrote, against golden results or sums taken by another route."""

import ast
import base64
import csv
import re
import zipfile
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from adapters.formats.table import parse as parse_table
from adapters.model import Entry, Parsed, ParseError, Statement
from adapters.read import parse
from tests.adapters.test_table import EXPECTED, FIXTURES

STA = "mt-940/mt-940-4.23.0/mt940_tests"
ODOO = "odoo-addon-account-statement-import-camt/odoo/addons/account_statement_import_camt"
GOLDEN_AMOUNT = re.compile(
    r"^    amount: !!python/object:mt940\.models\.(?:Sum)?Amount\n"
    r"(?:      .*\n)*?      amount: !!python/object/apply:decimal\.Decimal"
    r"(?: \[|\n      - )'([-0-9.]+)'",
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


def test_every_mt940_entry_is_the_one_of_its_golden_result(files: Path) -> None:
    compared = 0
    for path in sta_files(files):
        golden = list(_golden_entries(path.with_suffix(".yml")))
        if not golden:
            continue  # a file of balances only, or one of which the other program has no entry
        found = [(e.amount_minor, e.value_date) for e in entries(parse(path.read_bytes()))]
        assert found == golden, path
        compared += len(found)
    assert compared == 209


def _golden_entries(golden: Path) -> Iterator[tuple[int, date]]:
    for block in _transactions(golden).split("mt940.models.Transaction\n")[1:]:
        (amount,) = GOLDEN_AMOUNT.findall(block)
        # The other program turns the sign for a debit only, not for a credit that is reversed.
        reversed_credit = "\n    status: RC\n" in block
        yield -minor(amount) if reversed_credit else minor(amount), _golden_date(block)


def _golden_date(block: str) -> date:
    """Pickled as the two bytes of its year, its month and its day."""
    (packed,) = re.findall(r"^    date: .*\n    - !!binary \|\n      (\S+)$", block, re.MULTILINE)
    high, low, month, day = base64.b64decode(packed)
    return date(high << 8 | low, month, day)


GOLDEN_BALANCE = re.compile(
    r"^  (?:final|intermediate)_(?:opening|closing)_balance: .*\n"
    r"    amount: !!python/object:mt940\.models\.Amount\n"
    r"      amount: !!python/object/apply:decimal\.Decimal(?: \[|\n      - )'([-0-9.]+)'\]?\n"
    r"      currency: ([A-Z]{3})\n    (?=date: )",
    re.MULTILINE,
)


def test_every_balance_of_a_golden_result_is_one_of_its_mt940_file(files: Path) -> None:
    """A golden result keeps the last of each kind of balance in its file."""
    compared = 0
    for path in sta_files(files):
        golden = GOLDEN_BALANCE.findall(path.with_suffix(".yml").read_text(encoding="utf-8"))
        parsed = parse(path.read_bytes()) if golden else Parsed("MT940", (), ())
        shown = {(one.currency, amount) for one in parsed.statements for amount in _amounts(one)}
        assert {(currency, minor(amount)) for amount, currency in golden} <= shown, path
        compared += len(golden)
    assert compared == 66


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
        yield from _amounts(statement)


def _amounts(statement: Statement) -> Iterator[int]:
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


def test_every_camt_statement_is_the_one_that_xpath_finds(files: Path) -> None:
    seen = camt_files(files)
    assert len(seen) == 15
    for path in seen:
        parsed = parse(path.read_bytes())
        holders = etree.parse(path).xpath(f"//*[{HOLDER}]")
        for statement, holder in zip(parsed.statements, holders, strict=True):
            assert statement.account == _xpath(holder, "*[local-name()='Acct']/*/*"), path
            if path.parent.name != "invalid":
                assert _references(statement.entries) == _xpath_references(holder), path
                assert sum(e.amount_minor for e in statement.entries) == _xpath_sum(holder), path
                assert list(_amounts(statement)) == _xpath_balances(holder), path


HOLDER = "local-name()='Stmt' or local-name()='Rpt' or local-name()='Ntfctn'"


def _xpath(element: etree._Element, path: str) -> str:
    return str(element.xpath(f"normalize-space({path})"))


def _references(found: tuple[Entry, ...]) -> set[str]:
    return {entry.end_to_end_id for entry in found} - {""}


def _xpath_references(holder: etree._Element) -> set[str]:
    return {found.text or "" for found in holder.findall(".//{*}EndToEndId")} - {"NOTPROVIDED"}


def _xpath_balances(holder: etree._Element) -> list[int]:
    """Opening and closing, each with its sign."""
    return [
        _signed(found)
        for code in ("OPBD", "CLBD")
        for found in holder.findall("{*}Bal")
        if found.findtext("{*}Tp/{*}CdOrPrtry/{*}Cd") == code
    ]


def _signed(element: etree._Element) -> int:
    amount = minor(element.findtext("{*}Amt", ""))
    return amount if element.findtext("{*}CdtDbtInd") == "CRDT" else -amount


def _xpath_sum(holder: etree._Element) -> int:
    return sum(map(_signed, holder.findall("{*}Ntry")))


CAMT_ODD = {
    # An entry of another currency than its account's: a fee in dollars.
    "camt.054.001.08-notification.xml": ["currency_differs"],
    # It states no opening and no closing balance.
    "test-sepa-camt-053-unpaid.xml": ["balance_missing"],
    # Not valid by the schema: its balances have no day.
    "camt.053.001.08-query-farm.xml": ["date_missing", "date_missing", "balance_missing"],
    # Not valid by the schema: its entry has no day.
    "camt.054.001.08-query-farm.xml": ["date_missing"],
}
"""What is found beside a sum that is wrong."""


def test_what_is_odd_in_a_camt_file_is_found_and_nothing_else(files: Path) -> None:
    wrong_sums = 0
    for path in camt_files(files):
        told = [finding.code for finding in parse(path.read_bytes()).findings]
        expected = list(CAMT_ODD.get(path.name, []))
        for holder in etree.parse(path).xpath(f"//*[{HOLDER}]"):
            ends = _xpath_balances(holder)
            if len(ends) == 2 and ends[0] + _xpath_sum(holder) != ends[1] and not expected:
                expected.append("statement_inconsistent")
                wrong_sums += 1
        assert told == expected, path
    assert wrong_sums == 2


def test_a_camt_file_is_read_as_the_scenario_beside_it_says(files: Path) -> None:
    folder = files / "trytond-account-statement-sepa/trytond/modules/account_statement_sepa/tests"
    told = (folder / "scenario_account_statement_sepa.rst").read_text(encoding="utf-8")
    (statement,) = parse((folder / "camt.053.001.02.xml").read_bytes()).statements
    (entry,) = statement.entries
    shown = [*_amounts(statement), sum(e.amount_minor for e in statement.entries)]
    assert shown == [
        minor(_told(told, f"statement.{name}"))
        for name in ("start_balance", "end_balance", "total_amount")
    ]
    assert entry.amount_minor == minor(_told(told, "origin.amount"))
    assert (statement.statement_id, entry.counterparty_name, entry.counterparty_account) == (
        _told(told, "statement.name"),
        _told(told, "origin.information['camt_creditor_name']"),
        _told(told, "origin.information['camt_creditor_iban']"),
    )
    assert entry.text == _told(told, "origin.information['camt_remittance_information']")


def _told(scenario: str, asked: str) -> str:
    """What the line after a question of the scenario shows in quotation marks."""
    answer = scenario.partition(f">>> {asked}\n")[2].partition("\n")[0]
    return answer.split("'")[1]


RETURNS = "odoo-addon-account-payment-return-import-iso20022/odoo/addons"


def returns(files: Path, name: str) -> bytes:
    (path,) = (files / RETURNS).glob(f"*/tests/test_files/{name}")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["test-sepa-camt-053-unpaid.xml", "test-sepa-camt-054-unpaid.xml"])
def test_a_returned_payment_says_so_with_the_reason_that_xpath_finds(
    files: Path, name: str
) -> None:
    content = returns(files, name)
    (reason,) = etree.fromstring(content).findall(".//{*}RtrInf/{*}Rsn/{*}Cd")
    (entry,) = entries(parse(content))
    assert (entry.return_reason, entry.end_to_end_id) == (reason.text, "E2EID1")
    assert abs(entry.amount_minor) == 10000  # the test of its own package says 100.00


def test_a_zip_of_returns_is_its_member_and_one_of_statuses_is_refused_by_name(
    files: Path,
) -> None:
    zipped = parse(returns(files, "test-sepa-camt-unpaid.zip"))
    assert [e.end_to_end_id for e in entries(zipped)] == ["E2EID1"]
    with pytest.raises(ParseError, match="format_not_statement"):
        parse(returns(files, "test-sepa-pain-unpaid.zip"))


def test_a_file_of_no_known_namespace_is_refused(files: Path) -> None:
    for name in ("test-sepa-camt-unpaid-invalid.xml", "test-sepa-pain-unpaid-invalid.xml"):
        with pytest.raises(ParseError) as refused:
            parse(returns(files, name))
        assert refused.value.code == "format_unknown"


def test_a_statement_that_does_not_add_up_in_the_bank_file_itself_is_found(files: Path) -> None:
    """15568.27 − 754.25 − 664.05 + 1405.31 is 15555.28; the file says 15121.12."""
    parsed = parse((files / ODOO / "tests/samples/test-camt053").read_bytes())
    assert [finding.code for finding in parsed.findings] == ["statement_inconsistent"]


SETS = {
    "mt-940/**/*.sta": 49,
    "mt-940/**/*.yml": 50,
    "mock-bank/**/external/pain.001.001.09-*.xml": 4,
    "mock-bank/**/pain001_broken_*.xml": 12,
    "mock-bank/**/pain001_four_payments*.xml": 3,
    "mock-bank/**/external/pain.002.001.10-*.xml": 3,
    "mock-bank/**/external/camt.05[34].001.08-*.xml": 2,
    "mock-bank/**/external/invalid/camt.05[34].001.08-*.xml": 2,
    "mock-bank/**/external/bai2-*.txt": 5,
    "bankfile/**/banks/**/*.[oq]fx": 18,
    "bai2/**/data/*.bai2": 4,
    f"{ODOO}/tests/samples/test-camt05*": 5,
    f"{ODOO}/tests/samples/golden-*.pydata": 4,
    f"{RETURNS}/*/tests/test_files/*": 7,
    "odoo-addon-l10n-ro-*/odoo/addons/*/test_files/*": 8,
    "odoo-addon-account-statement-import-sheet-file/**/fixtures/*.[cx]*": 17,
    "trytond-account-payment-sepa/**/tests/camt.054.001.0[1-4].xml": 4,
    "trytond-account-statement-sepa/**/tests/camt.053.001.02.xml": 1,
}
"""How many files of each kind the tests of this folder read."""


def test_every_set_of_files_is_whole(files: Path) -> None:
    assert {pattern: len(list(files.glob(pattern))) for pattern in SETS} == SETS


def test_every_ofx_file_has_the_amounts_that_stand_in_it(files: Path) -> None:
    """Two decimals in each of them, behind a point or a comma."""
    compared = 0
    for path in files.glob("bankfile/*/corpus/banks/*/*.[oq]fx"):
        content = path.read_bytes()
        written = re.findall(rb"<TRNAMT>([-+ 0-9]+)[.,]([0-9]{2})(?![0-9])", content)
        shown = [int((whole + cents).replace(b" ", b"")) for whole, cents in written]
        assert len(shown) == content.count(b"<TRNAMT>"), path
        assert [e.amount_minor for e in entries(parse(content))] == shown, path
        compared += len(shown)
    assert compared == 18


def test_every_csv_moves_as_much_as_its_columns_show(files: Path) -> None:
    compared = 0
    for path in (files / FIXTURES).glob("*.csv"):
        if path.name not in EXPECTED:
            continue  # the one without a header
        by, expected_minor, _ = EXPECTED[path.name]
        parsed = parse_table(path.read_bytes(), by, "08088804068")
        moved = [abs(entry.amount_minor) for entry in entries(parsed)]
        assert sum(moved) == _moved(path) == sum(map(abs, expected_minor)), path
        compared += len(moved)
    assert compared == 23


def _moved(path: Path) -> int:
    """What the columns of amounts hold, without signs; each of them has two decimals."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    (header,) = [row for row in rows if row[0] == "Date"]
    columns = [place for place, name in enumerate(header) if name in {"Amount", "Debit", "Credit"}]
    cells = [row[place] for row in rows for place in columns if row[0][:1].isdigit()]
    return sum(int(re.sub("[^0-9]", "", cell) or "0") for cell in cells)


def test_the_one_sheet_without_a_header_is_refused_by_name(files: Path) -> None:
    content = (files / FIXTURES / "original_currency_no_header.csv").read_bytes()
    by, _, _ = EXPECTED["original_currency.csv"]
    with pytest.raises(ParseError, match="header_missing"):
        parse_table(content, by, "08088804068")
    with pytest.raises(ParseError, match="format_unknown"):
        parse(content)
