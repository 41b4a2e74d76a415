from __future__ import annotations

import csv
import io
import re
import zipfile
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import pytest
import xlsxwriter  # type: ignore[import-untyped] # it carries no types
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook

from gateway.cases.sheet import Format, SheetError, columns, read, reading, write, writing
from gateway.cases.sheet.rows import SheetCase, SheetMember, SheetRow
from gateway.domain.money import format_minor

if TYPE_CHECKING:
    from collections.abc import Iterable

FUND = "funds/f1"
CASE = f"{FUND}/cases/{'ab' * 16}"
OTHER = f"{FUND}/cases/{'cd' * 16}"
FORMATS: tuple[Format, ...] = ("xlsx", "csv")
FILLED = {"处理": "匹配", "理由": "同一笔"}
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
RISKY_TEXTS = st.builds("{}{}".format, st.sampled_from(list("=+-@'\t\r＝＋－＠a")), TEXTS)


def member(number: int = 1, *, side: str = "bank", **changes: Any) -> SheetMember:
    collection = "bankEntries" if side == "bank" else "lines"
    said: dict[str, Any] = {
        "side": side,
        "name": f"{FUND}/{collection}/{number}",
        "amount_minor": -1500,
        "open_minor": -1500,
        "date": date(2026, 11, 2),
        "reference": "R-1",
        "text": "手续费",
        "counterparty_name": "某行",
        "counterparty_account": "6222020000000001",
    }
    return SheetMember(**{**said, **changes})


def case(*members: SheetMember, **changes: Any) -> SheetCase:
    said: dict[str, Any] = {
        "case": CASE,
        "etag": "3",
        "kind": "MISSING_IN_LEDGER",
        "cause": "bank_fee",
        "state": "OPEN",
        "amount_minor": -1500,
        "weight_minor": 1500,
        "currency": "CNY",
        "oldest_date": date(2026, 11, 2),
        "due_date": date(2026, 11, 9),
        "age_days": 21,
        "assignee": "",
        "detail": "no line explains it",
        "account": f"{FUND}/bankAccounts/main",
        "members": members or (member(),),
    }
    return SheetCase(**{**said, **changes})


def exported(
    *cases: SheetCase, form: Format = "csv", language: Literal["zh", "en"] = "zh"
) -> bytes:
    return b"".join(write(cases, form, language))


def table(content: bytes, form: Format) -> list[dict[str, Any]]:
    """What another reader finds in a file, one mapping a row."""
    rows: list[Any]
    if form == "xlsx":
        rows = load_workbook(io.BytesIO(content)).get_sheet_by_index(0).to_python()
    else:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    heading, *body = rows
    return [dict(zip(map(str, heading), row, strict=True)) for row in body]


def typed(form: Format, rows: Iterable[dict[str, Any]]) -> bytes:
    """A file as a person leaves it: these cells under the headings that the first row has."""
    rows = list(rows)
    cells = [list(rows[0]), *([row.get(key, "") for key in rows[0]] for row in rows)]
    if form == "csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows(cells)
        return text.getvalue().encode()
    held = io.BytesIO()
    with xlsxwriter.Workbook(held, {"default_date_format": "yyyy/m/d"}) as book:
        page = book.add_worksheet()
        for number, row in enumerate(cells):
            page.write_row(number, 0, row)
    return held.getvalue()


def row(**cells: Any) -> dict[str, Any]:
    return {"差异": CASE, "版本": "v:3", "处理": "", "理由": "", **cells}


def filled(**cells: Any) -> dict[str, Any]:
    return row(**{**FILLED, **cells})


def refused(form: Format, *rows: dict[str, Any]) -> SheetError:
    with pytest.raises(SheetError) as raised:
        read(typed(form, rows), form)
    return raised.value


# --- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_case_stands_in_one_row_with_both_its_sides(form: Format) -> None:
    line = member(7, side="ledger", amount_minor=-90, open_minor=-40, text="", reference="")
    [said] = table(exported(case(member(), line), form=form), form)
    assert (said["种类"], said["原因"], said["状态"]) == ("账上未记", "银行手续费", "待处理")
    assert said["银行侧"] == "E:1 2026-11-02 -15.00 · R-1 · 手续费 · 某行 · 6222020000000001"
    assert said["账上侧"] == "L:7 2026-11-02 -0.90 · 未决 -0.40 · 某行 · 6222020000000001"
    assert float(said["差额"]) == -15.0
    assert str(said["到期日"]) == "2026-11-09"


def test_english_headings_speak_english_of_everything() -> None:
    [said] = table(exported(case(), language="en"), "csv")
    assert (said["Kind"], said["Cause"], said["State"]) == ("missing in ledger", "bank fee", "open")


@pytest.mark.parametrize("form", FORMATS)
def test_a_case_of_many_members_is_complete_and_every_cell_fits_a_spreadsheet(
    form: Format,
) -> None:
    members = [member(number, text="长" * 50) for number in range(1000)]
    rows = table(exported(case(*members), form=form), form)
    lines = "\n".join(each["银行侧"] for each in rows).splitlines()
    assert [line.split()[0] for line in lines] == [f"E:{number}" for number in range(1000)]
    assert all(line.count("长") == 50 for line in lines)
    assert max(len(each["银行侧"]) for each in rows) <= 32_767
    assert max(each["银行侧"].count("\n") for each in rows) <= 253
    assert {each["差异"] for each in rows} == {CASE}
    assert [each["差额"] for each in rows[1:]] == [""] * (len(rows) - 1)


@pytest.mark.parametrize("form", FORMATS)
def test_a_text_longer_than_a_cell_goes_on_in_the_next_row(form: Format) -> None:
    rows = table(exported(case(detail="说" * 40_000), form=form, language="en"), form)
    assert "".join(each["Detail"] for each in rows) == "说" * 40_000


@settings(deadline=None)
@given(RISKY_TEXTS, RISKY_TEXTS)
def test_no_text_is_ever_a_formula_in_a_workbook(detail: str, assignee: str) -> None:
    content = exported(case(detail=detail, assignee=assignee), form="xlsx", language="en")
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        page = book.read("xl/worksheets/sheet1.xml").decode()
        assert not any("rels" in name and "worksheets" in name for name in book.namelist())
    assert "<f>" not in page
    assert "<hyperlink" not in page


@settings(deadline=None)
@given(RISKY_TEXTS, RISKY_TEXTS)
def test_no_text_of_a_csv_file_begins_as_a_formula_does(detail: str, assignee: str) -> None:
    [said] = table(exported(case(detail=detail, assignee=assignee), language="en"), "csv")
    assert not any(said[key][:1] in set("=+-@\t\r") for key in ("Detail", "Assignee") if said[key])


@settings(deadline=None)
@given(RISKY_TEXTS, st.sampled_from(FORMATS))
def test_an_untouched_export_reads_back_as_the_same_texts(detail: str, form: Format) -> None:
    content = exported(case(detail=detail), form=form, language="en")
    heading, (number, cells) = list(reading._table(content, form))
    said = dict(zip(heading[1], cells, strict=False))
    assert number == 2
    assert said.get("Detail", "") == columns.plain(detail).strip()
    assert (said["Case"], said["Version"]) == (CASE, "v:3")


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15), st.sampled_from(FORMATS))
def test_amounts_are_exact_numbers_to_the_fen(amount_minor: int, form: Format) -> None:
    content = exported(case(amount_minor=amount_minor), form=form)
    heading, (_, cells) = list(reading._table(content, form))
    said = dict(zip(heading[1], cells, strict=False))["差额"]
    sign, whole, fraction = re.fullmatch(r"(-?)(\d+)(?:\.(\d{1,2}))?", said).groups()  # type: ignore[union-attr] # it fails if it is none
    fen = int(f"{whole}{(fraction or '').ljust(2, '0')}")
    assert (-fen if sign else fen) == amount_minor


def test_amounts_are_numbers_and_days_are_days_in_a_workbook() -> None:
    [said] = table(exported(case(), form="xlsx"), "xlsx")
    assert (said["差额"], said["最早日期"]) == (-15.0, date(2026, 11, 2))
    assert isinstance(said["差额"], float)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_cases_give_the_same_bytes(form: Format) -> None:
    assert exported(case(), form=form) == exported(case(), form=form)


def test_a_workbook_offers_the_actions_to_choose_from_and_says_what_goes_where() -> None:
    with zipfile.ZipFile(io.BytesIO(exported(case(), form="xlsx"))) as book:
        page = book.read("xl/worksheets/sheet1.xml").decode()
    assert "匹配,调账,核销,等待,退银行,不属一起" in page
    assert "复核人据此判断" in page
    assert 'state="frozen"' in page
    assert "<autoFilter" in page


def test_a_csv_file_of_no_case_is_its_heading_after_a_mark() -> None:
    assert exported().startswith(b"\xef\xbb\xbf")
    assert table(exported(), "csv") == []


# --- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_an_untouched_export_has_nothing_to_do(form: Format) -> None:
    many = case(*(member(number) for number in range(200)), case=OTHER)
    assert read(exported(case(), many, form=form), form) == ()
    assert read(exported(form=form), form) == ()


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_filled_in_export_says_what_is_to_be_done(
    form: Format, language: Literal["zh", "en"]
) -> None:
    rows = table(exported(case(case=OTHER), case(), form=form, language=language), form)
    headings = {"zh": ("处理", "理由", "分配"), "en": ("Action", "Reason", "Allocations")}
    action, why, to = headings[language]
    rows[1] |= {action: "MATCH", why: "同一笔", to: "E:a.b:c=-15.00; L:12"}
    [said] = read(typed(form, rows), form)
    assert said == SheetRow(
        row=3,
        case=CASE,
        etag="3",
        action="MATCH",
        allocations=((f"{FUND}/bankEntries/a.b:c", -1500), (f"{FUND}/lines/12", None)),
        book="",
        category="",
        summary="",
        wait_until=None,
        bank_reference="",
        reason="同一笔",
    )


@settings(deadline=None)
@given(RISKY_TEXTS.map(lambda text: columns.plain(text).strip()[:60]).filter(str.strip))
def test_what_a_person_wrote_comes_back_as_it_was_though_it_looks_like_a_formula(
    text: str,
) -> None:
    quoted = writing._written(text)
    [said] = read(typed("csv", [filled(理由=quoted, 科目=quoted)]), "csv")
    assert (said.reason, said.category) == (text.strip(), text.strip())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("匹配", "MATCH"),
        ("调账", "ADJUST"),
        ("核销", "WRITE_OFF"),
        ("等待", "WAIT"),
        ("退银行", "SEND_BACK"),
        ("不属一起", "KEEP_APART"),
        ("write off", "WRITE_OFF"),
        ("keep-apart", "KEEP_APART"),
        (" Match ", "MATCH"),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_actions_are_known_in_both_languages(written: str, meant: str, form: Format) -> None:
    [said] = read(typed(form, [filled(处理=written)]), form)
    assert said.action == meant


@pytest.mark.parametrize(
    "written",
    [
        *("2026-11-30", "2026/11/30", "2026.11.30", "2026年11月30日", "20261130"),
        *("2026-11-30 0:00", "46356", 46356),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_days_are_read_as_spreadsheets_leave_them(written: str | int, form: Format) -> None:
    [said] = read(typed(form, [filled(处理="等待", 等待至=written)]), form)
    assert said.wait_until == date(2026, 11, 30)


def test_a_day_typed_into_a_workbook_is_a_day() -> None:
    [said] = read(typed("xlsx", [filled(处理="等待", 等待至=date(2026, 11, 30))]), "xlsx")
    assert said.wait_until == date(2026, 11, 30)


def test_digits_typed_into_a_workbook_are_text() -> None:
    [said] = read(typed("xlsx", [filled(处理="退银行", 银行查询号=20261130001)]), "xlsx")
    assert said.bank_reference == "20261130001"


def test_a_csv_file_saved_by_a_chinese_spreadsheet_is_read() -> None:
    [said] = read(typed("csv", [filled()]).decode().encode("gb18030"), "csv")
    assert (said.action, said.reason) == ("MATCH", "同一笔")
    assert read(exported(case()).decode("utf-8-sig").encode("gb18030"), "csv") == ()


@pytest.mark.parametrize("form", FORMATS)
def test_columns_in_another_order_and_empty_rows_do_no_harm(form: Format) -> None:
    turned = dict(reversed(filled().items()))
    empty = dict.fromkeys(turned, "")
    rows = read(typed(form, [turned | {"": ""}, empty, {**turned, "差异": OTHER}]), form)
    assert [(each.row, each.case) for each in rows] == [(2, CASE), (4, OTHER)]


def test_a_cell_of_several_lines_is_one_row() -> None:
    rows = [row(说明="one\ntwo\nthree"), filled(差异=OTHER, 说明="")]
    assert [each.row for each in read(typed("csv", rows), "csv")] == [3]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("E:1", {f"{FUND}/bankEntries/1": None}),
        ("E:1=1,234.5", {f"{FUND}/bankEntries/1": 123450}),
        ("L:1=-￥5；\nE:2 = +0.01", {f"{FUND}/lines/1": -500, f"{FUND}/bankEntries/2": 1}),
        ("Ｅ：1＝５", {f"{FUND}/bankEntries/1": 500}),
        (f"{FUND}/lines/9=1", {f"{FUND}/lines/9": 100}),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_allocations_are_read_to_the_fen(
    written: str, meant: dict[str, int | None], form: Format
) -> None:
    [said] = read(typed(form, [filled(分配=written)]), form)
    assert dict(said.allocations) == meant


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-zA-Z0-9._:-]{1,40}", fullmatch=True),
        st.none() | st.integers(-(10**13), 10**13).filter(bool),
        max_size=20,
    )
)
def test_allocations_written_as_they_are_shown_come_back(taken: dict[str, int | None]) -> None:
    written = "; ".join(
        f"E:{name}" + ("" if fen is None else f"={format_minor(fen)}")
        for name, fen in taken.items()
    )
    [said] = read(typed("csv", [filled(分配=written)]), "csv")
    expected = {f"{FUND}/bankEntries/{name}": fen for name, fen in taken.items()}
    assert dict(said.allocations) == expected


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"处理": "删除"}, "处理"),
        ({"处理": "=匹配"}, "处理"),
        ({"处理": ""}, "处理"),
        ({"理由": ""}, "理由"),
        ({"理由": "长" * 501}, "理由"),
        ({"等待至": "2026-02-30"}, "等待至"),
        ({"等待至": "明天"}, "等待至"),
        ({"账簿": "别的账"}, "账簿"),
        ({"差异": f"{FUND}/cases/1"}, "差异"),
        ({"版本": ""}, "版本"),
        ({"版本": "v:" + "7" * 65}, "版本"),
        ({"版本": "v:a\u2028b"}, "版本"),
        ({"分配": "E:1=1.005"}, "分配"),
        ({"分配": "E:1=0"}, "分配"),
        ({"分配": "E:1=一元"}, "分配"),
        ({"分配": "X:1=1"}, "分配"),
        ({"分配": "1.00"}, "分配"),
        ({"分配": "E:1; E:1"}, "分配"),
        ({"分配": ";".join(f"E:{number}" for number in range(201))}, "分配"),
    ],
)
def test_a_fault_names_its_row_and_its_column(
    cells: dict[str, str], column: str, form: Format
) -> None:
    untouched = {**dict.fromkeys(cells, ""), **row(差异=OTHER)}
    fault = refused(form, untouched, filled(**cells))
    assert (fault.row, fault.column) == (3, column)
    assert str(fault).startswith(f"row 3, column {column}: ")


@pytest.mark.parametrize("form", FORMATS)
def test_two_rows_of_one_case_are_refused(form: Format) -> None:
    fault = refused(form, filled(), row(差异=OTHER), filled(理由="又一次"))
    assert (fault.row, fault.column) == (4, "差异")
    assert "row 2" in fault.problem


@pytest.mark.parametrize("form", FORMATS)
def test_headings_are_all_known_once_and_there(form: Format) -> None:
    strange = refused(form, {**filled(), "备注": "x"})
    twice = refused(form, {**filled(), "Reason": "x"})
    without = refused(form, {"差异": CASE, "处理": "匹配", "理由": "x"})
    assert (strange.row, strange.column) == (1, "备注")
    assert (twice.row, twice.column) == (1, "Reason")
    assert (without.row, without.column) == (1, "版本 / Version")


def test_more_rows_than_go_are_refused_by_the_first_that_is_too_many() -> None:
    rows = [row(差异=f"{FUND}/cases/{number:032x}") for number in range(10_001)]
    assert read(typed("csv", rows[:10_000]), "csv") == ()
    assert refused("csv", *rows).row == 10_002


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\xff", b"PK\x03\x04 not a package", b'a,"b', bytes((3 << 20) + 1)],
)
def test_what_is_no_such_file_is_refused(content: bytes, form: Format) -> None:
    with pytest.raises(SheetError):
        read(content, form)


def test_a_workbook_is_not_taken_for_text_nor_text_for_a_workbook() -> None:
    for written, said in (("xlsx", "csv"), ("csv", "xlsx")):
        with pytest.raises(SheetError, match="the file is not"):
            read(exported(case(), form=written), said)  # type: ignore[arg-type] # one of the two


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(FORMATS))
def test_whatever_the_bytes_nothing_but_a_fault_comes_of_them(content: bytes, form: Format) -> None:
    heading = "差异,处理,理由,版本\n".encode()
    with suppress(SheetError):
        read(heading + content if form == "csv" else content, form)
