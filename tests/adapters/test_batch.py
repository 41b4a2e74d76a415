"""The banks' own batch files: text in two styles and a workbook."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
import xlsxwriter  # type: ignore[import-untyped] # it carries no types
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats import batch_cib, batch_cmb, batch_xlsx
from adapters.model import Batch, Outcome, ParseError, Payment
from adapters.profile import BankProfile, load_profile, violations
from tests.adapters.samples import NOW, amounts_minor, batch, identifiers, payment

CIB = load_profile("cib-batch")
CMB = load_profile("cmb-batch")
XLSX = load_profile("generic-xlsx")
ICBC_CHENGDU = "102651000001"
CIB_SHANGHAI = "309290000107"

gbk = st.text("成都清运有限公司镕堃喆ABC ()（）0123456789-+=@", min_size=1, max_size=15).map(
    lambda text: f"甲{text}乙"
)
gbk_batches = st.lists(
    st.builds(
        Payment,
        end_to_end_id=identifiers,
        payee_name=gbk,
        payee_account=identifiers,
        payee_bank_code=st.sampled_from([ICBC_CHENGDU, CIB_SHANGHAI]),
        amount_minor=amounts_minor,
        currency=st.just("CNY"),
        purpose=gbk,
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one.end_to_end_id,
).map(lambda drawn: batch(*drawn))

FORMATS = [
    pytest.param(batch_cib, CIB, id="cib"),
    pytest.param(batch_cmb, CMB, id="cmb"),
    pytest.param(batch_xlsx, XLSX, id="xlsx"),
]
Render = Callable[[Batch, BankProfile], bytes]


def code_of(call: Callable[..., object], *given: object) -> str:
    with pytest.raises(ParseError) as refused:
        call(*given)
    return refused.value.code


def test_a_cib_row_is_written_as_the_bank_describes_it() -> None:
    one = batch(
        payment("P1", payee_bank_code=ICBC_CHENGDU),
        payment("P2", 5, payee_bank_code=CIB_SHANGHAI),
    )
    assert batch_cib.render(one, CIB).decode("gbk") == (
        "1|6222000011112222|成都清运有限公司|N|N|102651000001|中国工商银行||123.45|垃圾清运费|P1|\r\n"
        "2|6222000011112222|成都清运有限公司|Y|N|309290000107|兴业银行||0.05|垃圾清运费|P2|\r\n"
    )


def test_the_same_city_is_read_from_the_bank_codes() -> None:
    near = replace(batch(payment(payee_bank_code=ICBC_CHENGDU)), debtor_bank_code=ICBC_CHENGDU)
    assert batch_cib.render(near, CIB).decode("gbk").split("|")[4] == "Y"


def test_a_cmb_row_names_bank_and_city_of_other_banks_only() -> None:
    own = payment("P2", 5, payee_bank_code="308584000013")
    one = batch(payment("P1", payee_bank_code=ICBC_CHENGDU), own)
    assert batch_cmb.render(one, CMB).decode("gbk").splitlines()[1:] == [
        "6222000011112222,成都清运有限公司,123.45,N,中国工商银行,成都,垃圾清运费",
        "6222000011112222,成都清运有限公司,0.05,Y,,,垃圾清运费",
    ]


def test_the_unit_of_amounts_is_that_of_the_profile() -> None:
    fen = CIB.model_copy(update={"unit": "fen"})
    assert "|12345|" in batch_cib.render(batch(), fen).decode("gbk")
    assert batch_cib.parse(batch_cib.render(batch(), fen), fen) == batch().payments


@given(gbk_batches)
def test_cib_files_read_back_as_what_was_written(one: Batch) -> None:
    assert batch_cib.parse(batch_cib.render(one, CIB), CIB) == one.payments


@given(gbk_batches)
def test_workbooks_read_back_as_what_was_written(one: Batch) -> None:
    assert batch_xlsx.parse(batch_xlsx.render(one, XLSX), XLSX) == one.payments


@given(gbk_batches)
def test_cmb_files_keep_everything_they_have_room_for(one: Batch) -> None:
    read = batch_cmb.parse(batch_cmb.render(one, CMB), CMB)
    kept = [replace(p, end_to_end_id="", payee_bank_code="") for p in one.payments]
    assert list(read) == kept


@pytest.mark.parametrize(("module", "profile"), FORMATS)
@given(one=gbk_batches)
def test_the_same_batch_gives_the_same_bytes(
    module: object, profile: BankProfile, one: Batch
) -> None:
    render: Render = module.render  # type: ignore[attr-defined] # one of three modules
    again = replace(one, payments=tuple(replace(p) for p in one.payments))
    assert render(one, profile) == render(again, profile)


@pytest.mark.parametrize(("module", "profile"), FORMATS[:2])
@pytest.mark.parametrize("name", ["甲\n乙", "甲\u2028乙", '甲,|"乙', "𠮷野"])
def test_what_would_break_a_row_is_refused_and_never_replaced(
    module: object, profile: BankProfile, name: str
) -> None:
    render: Render = module.render  # type: ignore[attr-defined] # one of two modules
    broken = batch(payment(payee_name=name))
    assert violations(broken, profile)
    with pytest.raises(ValueError, match=r".+"):
        render(broken, profile)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("|P1|", "|P1|x|", "field_count"),
        ("|P1|\r\n", "|P1\r\n", "field_count"),
        ("123.45", "123.455", "amount_invalid"),
        ("123.45", "1e3", "amount_invalid"),
        ("123.45", "１２", "amount_invalid"),
        ("1|62", "2|62", "row_number"),
        ("|N|", "|Y|", "flag_differs"),
        ("1|62", "一|62", "format_unknown"),
    ],
)
def test_a_damaged_cib_file_is_refused_by_name(old: str, new: str, code: str) -> None:
    text = batch_cib.render(batch(payment(payee_bank_code=ICBC_CHENGDU)), CIB).decode("gbk")
    damaged = text.replace(old, new, 1).encode("gbk")
    assert damaged != text.encode("gbk")
    assert code_of(batch_cib.parse, damaged, CIB) == code


def test_a_byte_that_is_no_character_is_named() -> None:
    content = batch_cib.render(batch(), CIB)
    with pytest.raises(ParseError) as refused:
        batch_cib.parse(content[:2] + b"\xff" + content[2:], CIB)
    assert (refused.value.code, refused.value.location) == ("encoding_invalid", "byte 2")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("收款账号", "账号", "format_unknown"),
        (",N,", ",n,", "flag_invalid"),
        (",成都,", ",,", "field_missing"),
        (",垃圾清运费", "", "field_count"),
        ("123.45", "一百", "amount_invalid"),
    ],
)
def test_a_damaged_cmb_file_is_refused_by_name(old: str, new: str, code: str) -> None:
    text = batch_cmb.render(batch(payment(payee_bank_code=ICBC_CHENGDU)), CMB).decode("gbk")
    damaged = text.replace(old, new, 1).encode("gbk")
    assert code_of(batch_cmb.parse, damaged, CMB) == code


@pytest.mark.parametrize("parse", [batch_cib.parse, batch_cmb.parse, batch_xlsx.parse])
@given(content=st.binary(max_size=300) | st.binary(max_size=60).map(lambda b: b"PK\x03\x04" + b))
def test_any_bytes_are_a_named_error(
    parse: Callable[[bytes, BankProfile], object], content: bytes
) -> None:
    with pytest.raises(ParseError) as refused:
        parse(content, CIB)
    assert refused.value.code
    assert refused.value.location


def test_a_file_of_more_rows_than_the_bank_takes_is_refused() -> None:
    one = batch(*(payment(f"P{n}") for n in range(3)))
    small = {"batch_maximum": 2}
    for module, profile in ((batch_cib, CIB), (batch_cmb, CMB), (batch_xlsx, XLSX)):
        content = module.render(one, profile)
        few = profile.model_copy(update=small)
        refused = code_of(module.parse, content, few)
        assert refused in {"batch_size", "sheet_too_large"}


# The reply


def reply_of(one: Batch, *told: str) -> bytes:
    rows = batch_cib.render(one, CIB).decode("gbk").splitlines()
    return "".join(f"{row}{said}\r\n" for row, said in zip(rows, told, strict=True)).encode("gbk")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("SUBMIT_SUCC", Outcome.RECEIVED),
        ("PAYOUT", Outcome.SETTLED),
        ("FAIL", Outcome.REJECTED),
        ("PENDING", Outcome.UNKNOWN),
        ("PART_PAYOUT", Outcome.UNKNOWN),
        ("EXPIRED", Outcome.UNKNOWN),
        ("payout", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
    ],
)
def test_a_status_is_what_the_profile_says_and_an_unknown_one_is_not_final(
    code: str, outcome: Outcome
) -> None:
    report = batch_cib.parse_reply(reply_of(batch(), f"{code}|说明|"), CIB, batch(), NOW)
    told = report.statuses[0]
    assert (told.end_to_end_id, told.code, told.outcome) == ("P1", code, outcome)
    assert (told.reason_text, report.original_message_id) == ("说明", "M1")


def test_a_payment_that_the_reply_does_not_list_has_no_status() -> None:
    two = batch(payment("P1"), payment("P2"))
    only_second = reply_of(two, "PAYOUT||", "FAIL|户名不符|").split(b"\r\n")[1] + b"\r\n"
    report = batch_cib.parse_reply(only_second, CIB, two, NOW)
    assert [(s.end_to_end_id, s.outcome) for s in report.statuses] == [("P2", Outcome.REJECTED)]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("123.45", "123.46", "row_differs"),
        ("|P1|", "|P9|", "row_differs"),
        ("6222000011112222", "6222000011112223", "row_differs"),
        ("1|62", "2|62", "row_unknown"),
        ("1|62", "0|62", "row_unknown"),
        ("1|62", f"{'9' * 50}|62", "row_unknown"),
        ("PAYOUT|", "PAYOUT", "field_count"),
    ],
)
def test_a_reply_about_something_else_is_refused(old: str, new: str, code: str) -> None:
    damaged = reply_of(batch(), "PAYOUT|成功|").decode("gbk").replace(old, new, 1).encode("gbk")
    assert code_of(lambda: batch_cib.parse_reply(damaged, CIB, batch(), NOW)) == code


def test_a_payment_told_of_twice_is_refused() -> None:
    twice = reply_of(batch(), "PAYOUT||") * 2
    assert code_of(lambda: batch_cib.parse_reply(twice, CIB, batch(), NOW)) == "row_repeated"


# The workbook

FORMULAS = ['=HYPERLINK("http://x","y")', "+1+1", "-2", "@SUM(A1)", "http://x.example/", "\t=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_looks_like_a_formula_stays_text(text: str) -> None:
    one = batch(payment(payee_name=text, purpose=text))
    content = batch_xlsx.render(one, XLSX)
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        sheet = package.read("xl/worksheets/sheet1.xml")
        styles = package.read("xl/styles.xml")
    assert b"<f" not in sheet
    assert b"<hyperlink" not in sheet
    assert b'quotePrefix="1"' in styles
    assert batch_xlsx.parse(content, XLSX)[0].payee_name == text


def test_a_workbook_says_nothing_of_the_machine_or_the_hour() -> None:
    with zipfile.ZipFile(io.BytesIO(batch_xlsx.render(batch(), XLSX))) as package:
        assert {info.date_time for info in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"2000-01-01T00:00:00Z" in package.read("docProps/core.xml")


def workbook(fill: Callable[[object], None]) -> bytes:
    written = io.BytesIO()
    book = xlsxwriter.Workbook(written, {"in_memory": True})
    sheet = book.add_worksheet()
    heading = [
        "序号",
        "收款账号",
        "收款人名称",
        "收款银行行号",
        "收款行名称",
        "金额",
        "用途",
        "备注",
    ]
    sheet.write_row(0, 0, heading)
    sheet.write_row(1, 0, ["1", "6222", "甲", ICBC_CHENGDU, "", "1.00", "费", "P1"])
    fill(sheet)
    book.close()
    return written.getvalue()


def test_a_workbook_that_a_person_made_is_read() -> None:
    read = batch_xlsx.parse(workbook(lambda _: None), XLSX)
    assert [(one.end_to_end_id, one.amount_minor) for one in read] == [("P1", 100)]


@pytest.mark.parametrize(
    ("fill", "code"),
    [
        (lambda sheet: sheet.write_formula("F2", "=1+1"), "formula_refused"),
        (lambda sheet: sheet.write_number("F2", 0.1), "cell_not_text"),
        (lambda sheet: sheet.write_string("A1", "号"), "format_unknown"),
        (lambda sheet: sheet.write_string("A2", "7"), "row_number"),
        (lambda sheet: sheet.write_string("F2", "壹"), "amount_invalid"),
        (lambda sheet: sheet.write_string("XFD1", "far"), "sheet_too_large"),
        (lambda sheet: sheet.write_string("A1048576", "far"), "sheet_too_large"),
        (lambda sheet: sheet.write_string("I1", "more"), "format_unknown"),
    ],
)
def test_a_workbook_with_something_else_in_it_is_refused(
    fill: Callable[[object], None], code: str
) -> None:
    content = workbook(fill)
    assert code_of(batch_xlsx.parse, content, XLSX) == code


def repacked(name: str, member: bytes) -> bytes:
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(batch_xlsx.render(batch(), XLSX))) as package,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for info in package.infolist():
            content = member if info.filename == name else package.read(info)
            target.writestr(info.filename, content)
    return written.getvalue()


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (b" " * (1 << 27), "zip_too_large"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "doctype_refused"),
        (b"<a>" * 100_000, "xml_malformed"),
        (b"\0\0\0", "xml_malformed"),
        (b"", "xml_malformed"),
    ],
)
def test_a_hostile_workbook_is_refused_within_bounds(member: bytes, code: str) -> None:
    content = repacked("xl/worksheets/sheet1.xml", member)
    assert code_of(batch_xlsx.parse, content, XLSX) == code


def test_a_workbook_cut_anywhere_is_refused() -> None:
    content = batch_xlsx.render(batch(), XLSX)
    for cut in range(0, len(content), 97):
        code_of(batch_xlsx.parse, content[:cut], XLSX)
