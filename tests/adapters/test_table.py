"""Tables: exports of Chinese banks written anew here, and files that nobody here wrote."""

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped] # it has no types
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import load_workbook

from adapters.formats import sheet, table
from adapters.formats.table import ColumnMap, list_maps, load_map, parse
from adapters.model import Parsed, ParseError, Severity
from adapters.profile import list_profiles

TWO_SIDES = """\
某某银行对公账户交易明细
账号：4402000100000000001,户名：长寿苑共有基金
期初余额,,,,"¥1,000.00"
交易日期,摘要,借方发生额,贷方发生额,余额,对方户名,对方账号
2026-03-02\t,物业费,,"1,234.50","¥2,234.50",王师傅,6222****1111
2026-03-02,物业费,,"1,234.50","¥3,469.00",王师傅,6222****1111
2026/3/3,清运费,300.00,-,"¥3,169.00",成都清运有限公司,510000001
20260304,冲销,-50.00,,"¥3,219.00",成都清运有限公司,510000001
合计,,250.00,"2,469.00",,,
期末余额,,,,"¥3,219.00"
"""
ICBC = """\
明细查询文件下载\r
\r
卡号: 4402****0001,"卡别名: 基金"\r
\r
交易日期,摘要,交易场所,记账金额(收入),记账金额(支出),记账币种,余额,对方户名\r
2026-03-03  \t,"消费  \t","超市 \t","      \t","13.40 \t",人民币 \t,"1,086.60 \t","王师傅 \t",\r
2026-03-02  \t,"汇入  \t","     \t","100.00 \t","     \t",人民币 \t,"1,100.00 \t","成都 \t",\r
 \r
人民币合计,,,"100.00   \t","13.40   \t",,,\r
"""


def read(text: str, map_id: str, **given: str) -> Parsed:
    return parse(text.encode(), load_map(map_id), **given)


def amounts(parsed: Parsed) -> list[int]:
    return [entry.amount_minor for one in parsed.statements for entry in one.entries]


def codes(parsed: Parsed, severity: Severity = Severity.ERROR) -> set[str]:
    return {one.code for one in parsed.findings if one.severity is severity}


def column_map(**other: Any) -> ColumnMap:
    columns = {"date": "Date", "amount": "Amount", **other.pop("columns", {})}
    values = {
        "id": "here",
        "name_zh": "测试",
        "name_en": "Test",
        "date_formats": ["%m/%d/%Y"],
        "order": "oldest_first",
        "columns": {name: value for name, value in columns.items() if value != ""},
        **other,
    }
    return ColumnMap.model_validate(values)


def test_every_map_that_comes_along_fits_its_schema_and_is_no_bank_profile() -> None:
    assert len(list_maps()) == 6
    assert all(load_map(map_id).id == map_id for map_id in list_maps())
    assert not set(list_maps()) & set(list_profiles())
    with pytest.raises(LookupError):
        load_map("../demo")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_company_statement_is_read_whole(encoding: str, ending: str) -> None:
    text = TWO_SIDES.replace("¥", "￥").replace("\n", ending)
    parsed = parse(text.encode(encoding), load_map("company-two-sides"))
    (statement,) = parsed.statements
    assert amounts(parsed) == [123450, 123450, -30000, 5000]
    assert statement.account == "4402000100000000001"
    assert statement.opening is not None
    assert statement.closing is not None
    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (100000, 321900)
    days = [entry.booking_date.day for entry in statement.entries]
    assert days == [2, 2, 3, 4]
    first, twin, *_ = statement.entries
    assert twin.entry_id == f"{first.entry_id}~2"
    assert codes(parsed) == set()
    assert codes(parsed, Severity.WARNING) == {"row_ignored"}


def test_newest_first_is_turned_round_and_its_balances_are_derived() -> None:
    parsed = read(ICBC, "icbc-personal")
    (statement,) = parsed.statements
    assert amounts(parsed) == [10000, -1340]
    assert statement.opening is not None
    assert statement.closing is not None
    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (100000, 108660)
    assert statement.account == "4402****0001"
    assert codes(parsed) == set()
    assert codes(parsed, Severity.WARNING) == {"account_masked", "row_ignored"}
    located = {one.code: one.location for one in parsed.findings}
    assert located["row_ignored"] == "line 9"


def test_the_caller_names_an_account_that_the_table_masks() -> None:
    parsed = read(ICBC, "icbc-personal", account="4402777777770001")
    assert parsed.statements[0].account == "4402777777770001"
    assert codes(parsed) == set()
    other = read(ICBC, "icbc-personal", account="4402777777770002")
    assert codes(other) == {"account_differs"}


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"1,234.50","¥2', '"1,23.50","¥2', "amount_invalid"),
        ('"1,234.50","¥2', '"1,234.505","¥2', "amount_invalid"),
        ('"1,234.50","¥2', '"1e3","¥2', "amount_invalid"),
        ('"1,234.50","¥2', '"٣","¥2', "amount_invalid"),
        ('"1,234.50","¥2', ',"¥2', "amount_invalid"),
        ('"1,234.50","¥2', f'{"9" * 30},"¥2', "amount_invalid"),
        ("物业费,,", "物业费,1.00,", "amount_invalid"),
        ("¥2,234.50", "¥2,234.51", "balance_differs"),
        ("¥3,469.00", "¥3,469.01", "balance_differs"),
        ("¥2,234.50", "about 2,000", "balance_invalid"),
        ('"¥1,000.00"', '"¥1,000.01"', "balance_differs"),
        ('期末余额,,,,"¥3,219.00"', '期末余额,,,,"¥3,219.00",1.00', "balance_invalid"),
        ("合计,,250.00", "合计,,250.01", "total_differs"),
        ("20260304", "20261304", "date_invalid"),
        ("20260304", "99990304", "date_invalid"),
        ("20260304", "", "date_invalid"),
        ("20260304", "20260301", "rows_out_of_order"),
        ("冲销,-50.00,,", "冲销,-50.00,,,,,,,1", "row_longer"),
        ("账号：4402000100000000001,", "", "account_missing"),
        ("某某银行", "账号：1111111111,某某银行", "account_differs"),
    ],
)
def test_what_does_not_add_up_is_an_error(old: str, new: str, code: str) -> None:
    assert old in TWO_SIDES
    assert code in codes(read(TWO_SIDES.replace(old, new), "company-two-sides"))


def test_a_direction_column_tells_the_side() -> None:
    text = (
        "账号：4402000100000000001\n交易日期,交易流水号,借贷标志,交易金额,余额,摘要,对方户名,对方账号\n"
        "2026-03-02,S1,贷,100.00,100.00,,,\n2026-03-02,S2,借,30.00,70.00,,,\n"
    )
    parsed = read(text, "company-direction")
    assert amounts(parsed) == [10000, -3000]
    assert [entry.entry_id for entry in parsed.statements[0].entries] == ["S1", "S2"]
    assert parsed.findings == ()
    assert codes(read(text.replace("借,", "倒,"), "company-direction")) >= {"amount_invalid"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a,b\n1,2\n", "header_missing"),
        (TWO_SIDES.replace("摘要", "余额"), "header_missing"),
        (TWO_SIDES.replace("对方账号", "对方账号,余额"), "column_repeated"),
        (TWO_SIDES.replace('"¥3,219.00"', '"¥3,219.00'), "csv_malformed"),
        (TWO_SIDES + "x" * 5000, "cell_too_long"),
        (TWO_SIDES + "," * 300, "columns_too_many"),
        (TWO_SIDES + "x" * 140_000, "csv_malformed"),
        (TWO_SIDES + "\0", "nul_byte"),
        (TWO_SIDES + "nonsense\n" * 1001, "findings_too_many"),
    ],
)
def test_what_is_no_table_of_the_map_is_refused(text: str, code: str) -> None:
    with pytest.raises(ParseError) as refused:
        read(text, "company-two-sides")
    assert refused.value.code == code


def test_bytes_of_no_charset_are_refused_with_their_place() -> None:
    with pytest.raises(ParseError, match="encoding_invalid at byte 0"):
        parse(b"\xff\xff" + TWO_SIDES.encode(), load_map("company-two-sides"))


@pytest.mark.parametrize("formula", ["=1+1", "@SUM(A1)", '=cmd|"/c calc"!A0', "+cmd", "-2+cmd|x"])
def test_a_formula_stays_a_text_and_is_marked(formula: str) -> None:
    held = io.StringIO()
    csv.writer(held).writerow([formula])
    cell = held.getvalue().strip()
    parsed = read(TWO_SIDES.replace("清运费", cell), "company-two-sides")
    assert parsed.statements[0].entries[2].text == formula
    (found,) = [one for one in parsed.findings if one.code == "formula_text"]
    assert found.location == "line 7"
    assert "摘要" in found.message


@given(
    amount_minor=st.integers(-(10**15), 10**15),
    grouped=st.booleans(),
    sign=st.sampled_from(["", "¥", "￥", "RMB", "CNY "]),
)
def test_any_amount_as_people_write_it_is_read_exactly(
    amount_minor: int, grouped: bool, sign: str
) -> None:
    exact = Decimal(amount_minor) / 100
    written = f"{exact:,.2f}" if grouped else f"{exact:.2f}"
    text = f'Date,Amount\n03/02/2026,"{sign}{written}"\n'
    assert amounts(parse(text.encode(), column_map(), "12345678")) == [amount_minor]


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=6), st.integers(0, 10**9))
def test_order_makes_no_difference_and_balances_lead_through(
    moves_minor: list[int], opening_minor: int
) -> None:
    rows, balance_minor = [], opening_minor
    for day, move_minor in enumerate(moves_minor, 1):
        balance_minor += move_minor
        cells = (f"03/{day:02}/2026", Decimal(move_minor) / 100, Decimal(balance_minor) / 100)
        rows.append(",".join(str(cell) for cell in cells) + "\n")
    columns = {"balance": "Balance"}
    head = "Date,Amount,Balance\n"
    oldest = parse((head + "".join(rows)).encode(), column_map(columns=columns), "12345678")
    newest = parse(
        (head + "".join(rows[::-1])).encode(),
        column_map(columns=columns, order="newest_first"),
        "12345678",
    )
    assert oldest.statements == newest.statements
    assert oldest.findings == newest.findings == ()
    assert oldest.statements[0].opening is not None
    assert oldest.statements[0].opening.amount_minor == opening_minor


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": {"amount": ""}},
        {"columns": {"credit": "In", "debit": "Out"}},
        {"columns": {"direction": "D/C"}, "signs": "signed"},
        {"signs": "reversal"},
        {"account_pattern": "no group"},
        {"unknown": 1},
    ],
)
def test_a_map_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ColumnMap"):
        column_map(**wrong)


def test_an_entry_whose_text_begins_like_a_total_is_an_entry() -> None:
    parsed = read(TWO_SIDES.replace("清运费", "合计三月清运费"), "company-two-sides")
    assert amounts(parsed) == [123450, 123450, -30000, 5000]
    assert codes(parsed) == set()


def test_a_second_sheet_is_told() -> None:
    held = io.BytesIO()
    with xlsxwriter.Workbook(held) as book:
        for name in ("one", "two"):
            book.add_worksheet(name).write_row(0, 0, ["Date", "Amount"])
    parsed = parse(held.getvalue(), column_map(), "12345678")
    assert "sheets_ignored" in codes(parsed, Severity.WARNING)


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("6222****1111", True),
        ("6222****1112", False),
        ("6223****1111", False),
        ("****", True),
        ("1111", True),
        ("62*0000*11", True),
        ("62*9999*11", False),
        ("622200001111*22200001111", False),
        ("6222000011112222*6222000011112222", False),
        ("*".join("1" * 1900), False),
    ],
)
def test_a_masked_account_can_be_the_callers_or_not(shown: str, same: bool) -> None:
    text = f"卡号: {shown}\n{ICBC.partition(chr(10))[2].replace('卡号', '卡')}"
    parsed = read(text, "icbc-personal", account="6222000000001111")
    assert ("account_differs" not in codes(parsed)) is same


# Files that nobody here wrote.

FIXTURES = (
    "odoo-addon-account-statement-import-sheet-file/odoo/addons/"
    "account_statement_import_sheet_file/tests/fixtures"
)
NAMES = {"counterparty_name": "Partner Name", "counterparty_account": "Bank Account"}
LABELLED = {**NAMES, "text": ["Label"]}
EN = column_map(columns={**LABELLED, "currency": "Currency"}, currency="EUR")
BALANCED = column_map(columns={**LABELLED, "balance": "Balance"}, currency="USD")
SIDED = column_map(
    columns={**LABELLED, "amount": "", "credit": "Debit", "debit": "Credit", "balance": "Balance"},
    currency="USD",
    signs="ignored",
)
META = column_map(
    columns={
        "amount": "",
        "credit": "Credit",
        "debit": "Debit",
        "entry_id": "Operation Number",
        "text": ["Label", "Detail"],
    },
    currency="EUR",
    decimal=",",
    date_formats=["%d/%m/%y"],
    account_pattern="Account Number : ([0-9]+)",
    opening_labels=["Balance at start"],
    closing_labels=["Balance at end"],
)
FOREIGN = column_map(
    columns={
        "date": "DATE",
        "amount": "",
        "credit": "CREDIT",
        "debit": "DEBIT",
        "balance": "BALANCE",
        "entry_id": "REF",
        "text": ["DESCRIPTION"],
    },
    currency="USD",
    decimal=",",
    signs="reversal",
    total_labels=["TOTAL"],
    date_formats=["%d/%m/%Y"],
)
EXPECTED: dict[str, tuple[ColumnMap, list[int], set[str]]] = {
    "balance.csv": (BALANCED, [-3350, 153350], set()),
    "debit_credit.csv": (
        column_map(columns={**LABELLED, "direction": "D/C", "balance": "Balance"}, signs="ignored"),
        [-3350, 153350],
        set(),
    ),
    "debit_credit_amount.csv": (SIDED, [-2000, -1350, 3350, 150000], set()),
    "empty_lines_statement.csv": (EN, [-3350, 152500, 80000], set()),
    "empty_statement_en.csv": (EN, [], set()),
    "empty_statement_en.xlsx": (EN, [], set()),
    # 31070.11 - 30000.77 is 1069.34, the rows add up to 1069.32: the file itself is wrong.
    "meta_data_separated_credit_debit.csv": (
        META,
        [-5000, -10000, -8068, 130000],
        {"statement_inconsistent"},
    ),
    "meta_data_separated_credit_debit.xlsx": (
        META,
        [-5000, -10000, -8068, 130000],
        {"statement_inconsistent"},
    ),
    "multi_currency.csv": (EN, [-3350, 152500], set()),
    "original_currency.csv": (EN, [152500], set()),
    "original_currency_empty.csv": (EN, [152500], set()),
    "sample_statement_credit_card_inverse_sign_en.csv": (
        EN.model_copy(update={"signs": "inverse"}),
        [-3350, 152500],
        set(),
    ),
    "sample_statement_en.csv": (EN, [-3350, 152500], set()),
    "sample_statement_en.xlsx": (EN, [-3350, 152500], set()),
    "sample_statement_offsets.xlsx": (EN, [-3350, 152500], set()),
    "sample_statement_en_empty_values.xlsx": (FOREIGN, [-57968, -54400, -108400], set()),
}
"""Amounts as a person reads them in the file; not here: the one file that has no header."""


def test_every_sheet_of_the_package_reads_as_its_rows_show(files: Path) -> None:
    present = {path.name for path in (files / FIXTURES).iterdir() if path.suffix != ".py"}
    assert present == {*EXPECTED, "original_currency_no_header.csv"}
    for name, (by, expected_minor, wrong) in EXPECTED.items():
        parsed = parse((files / FIXTURES / name).read_bytes(), by, "08088804068")
        assert amounts(parsed) == expected_minor, name
        assert codes(parsed) == wrong, name


def test_a_table_of_two_currencies_is_two_statements(files: Path) -> None:
    parsed = parse((files / FIXTURES / "multi_currency.csv").read_bytes(), EN, "12345678")
    assert [(one.currency, len(one.entries)) for one in parsed.statements] == [
        ("USD", 1),
        ("EUR", 1),
    ]


def test_the_workbook_reader_sees_what_another_reader_sees(files: Path) -> None:
    seen = 0
    for path in sorted((files / FIXTURES).glob("*.xlsx")):
        theirs = load_workbook(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
        shown = [tuple(_shown(cell) for cell in row) for row in theirs]
        ours = [row.cells for row in sheet.rows(path.read_bytes(), ",")]
        assert ours == [_trimmed(row) for row in shown if any(row)], path
        seen += len(ours)
    assert seen > 20


def _shown(cell: object) -> str:
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell).strip()


def _trimmed(row: tuple[str, ...]) -> tuple[str, ...]:
    filled = [index for index, cell in enumerate(row) if cell]
    return row[: filled[-1] + 1]


def workbook(rows: list[list[object]], **options: object) -> bytes:
    held = io.BytesIO()
    with xlsxwriter.Workbook(held, {"default_date_format": "yyyy-mm-dd", **options}) as book:
        book_sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            book_sheet.write_row(number, 0, row)
    return held.getvalue()


@pytest.mark.parametrize("options", [{}, {"date_1904": True}, {"in_memory": True}])
def test_a_workbook_says_what_its_csv_says(options: dict[str, object]) -> None:
    rows: list[list[object]] = [
        ["账号：4402000100000000001"],
        ["交易日期", "摘要", "借方发生额", "贷方发生额", "余额", "对方户名", "对方账号"],
        [date(2026, 3, 2), "物业费", None, 1234.5, 2234.5, "王师傅", "6222"],
        [date(2026, 3, 3), "清运费", 0.1, "", 2234.4, "清运", "5100"],
    ]
    parsed = parse(workbook(rows, **options), load_map("company-two-sides"))
    assert amounts(parsed) == [123450, -10]
    assert parsed.findings == ()
    assert [e.booking_date.day for e in parsed.statements[0].entries] == [2, 3]


@given(st.integers(-(10**12), 10**12))
def test_a_number_in_a_workbook_is_exact_to_the_minor_unit(amount_minor: int) -> None:
    """A spreadsheet keeps a double; fifteen digits of it are the amount, without a float here."""
    content = workbook([["Date", "Amount"], ["03/02/2026", amount_minor / 100]])
    assert amounts(parse(content, column_map(), "12345678")) == [amount_minor]


def test_the_sixteenth_digit_of_a_sum_in_a_workbook_is_its_rounding() -> None:
    tenths = sum([0.1] * 10)
    content = workbook([["Date", "Amount"], ["03/02/2026", tenths]])
    assert repr(tenths) == "0.9999999999999999"
    assert amounts(parse(content, column_map(), "12345678")) == [100]


def test_a_formula_in_a_workbook_is_never_the_amount() -> None:
    content = workbook([["Date", "Amount"], ["03/02/2026", "=1+1"]])
    parsed = parse(content, column_map(), "12345678")
    assert amounts(parsed) == []
    assert codes(parsed) == {"amount_invalid"}
    assert "formula_text" in codes(parsed, Severity.WARNING)


def test_the_map_is_found_by_the_header() -> None:
    assert table.find_map(TWO_SIDES.encode()).id == "company-two-sides"
    assert table.find_map(ICBC.encode("gb18030")).id == "icbc-personal"
    with pytest.raises(ParseError, match="format_unknown"):
        table.find_map(b"a,b,c\n1,2,3\n")


def test_a_file_that_fits_two_maps_is_refused_and_names_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twin = load_map("icbc-personal").model_copy(update={"id": "twin"})
    monkeypatch.setattr(table, "list_maps", lambda: ("icbc-personal", "twin"))
    monkeypatch.setattr(
        table, "load_map", {"twin": twin, "icbc-personal": load_map("icbc-personal")}.get
    )
    with pytest.raises(ParseError, match="icbc-personal, twin"):
        table.find_map(ICBC.encode())
