import io
import json
import traceback
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats import camt053
from adapters.model import Balance, Entry, Parsed, ParseError, Statement
from adapters.read import is_status, parse, parse_status, to_json
from tests.adapters.samples import DAY, NOW

SHORT = Statement(
    "S1",
    "44020001",
    "CNY",
    Balance(DAY, 10000),
    Balance(DAY, 9500),
    (Entry("E1", DAY, DAY, -500, "CNY", end_to_end_id="P1", counterparty_name="王师傅"),),
)
CAMT = camt053.render(SHORT, "M1", NOW)
DOCUMENT = b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><Message>'
MT940 = (
    ":20:REF1\r\n:25:44020001\r\n:28C:1/1\r\n:60F:C260302CNY100,00\r\n"
    ":61:2603020302D5,00NTRFP1//E1\r\n:86:付王师傅\r\n:62F:C260302CNY95,00\r\n-\r\n"
)


def refused(content: bytes) -> str:
    with pytest.raises(ParseError) as error:
        parse(content)
    assert error.value.location.split()[0] in {"line", "byte"}
    return error.value.code


def read_or_refused(content: bytes) -> Parsed | str:
    """What the file says, or the code of the refusal; anything else that is raised is a crash."""
    try:
        return parse(content)
    except ParseError as error:
        return error.code


def archive(*members: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as written:
        for number, member in enumerate(members):
            written.writestr(f"{number}.xml", member)
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b" \r\n\t", "file_empty"),
        (b"hello", "format_unknown"),
        (b"\0\0\0", "nul_byte"),
        (MT940.encode() + b"\0", "nul_byte"),
        (b"<", "xml_malformed"),
        (b"<a/>", "format_unknown"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "xml_malformed"),
        (CAMT.replace(b"E1", b"E\0"), "xml_malformed"),
        (CAMT.replace("王".encode(), b"\xff"), "xml_malformed"),
        (CAMT.replace(b"camt.053", b"pacs.008"), "format_unknown"),
        (CAMT.replace(b"camt.053", b"pain.002"), "format_not_statement"),
        (CAMT.replace(b"<Stmt>", b"<Stm>").replace(b"</Stmt>", b"</Stm>"), "statement_missing"),
        (b"PK\x03\x04", "zip_malformed"),
        (archive(CAMT)[:-30], "zip_malformed"),
        (archive(), "file_empty"),
        (archive(CAMT, b""), "file_empty"),
        (archive(archive(CAMT)), "nul_byte"),
        (archive(*[b"x"] * 101), "zip_too_large"),
        (MT940.replace(":60F:C260302", ":60F:C269999").encode(), "mt940_malformed"),
        (MT940.replace("5,00NTRF", "5,001NTRF").encode(), "amount_invalid"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(content: bytes, code: str) -> None:
    assert refused(content) == code


@given(st.integers(0, len(archive(CAMT)) - 1), st.binary(max_size=4), st.integers(0, 20))
def test_any_damage_inside_an_archive_is_read_or_refused(at: int, put: bytes, cut: int) -> None:
    whole = archive(CAMT)
    assert read_or_refused(whole[:at] + put + whole[at + cut :])


def test_nothing_of_an_unreadable_field_reaches_a_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    content = MT940.replace("0302D5,00", "王师傅").encode()
    with pytest.raises(ParseError) as error:
        parse(content)
    assert "王师傅" not in "".join(traceback.format_exception(error.value))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_an_archive_that_swells_is_refused_before_it_fills_the_memory() -> None:
    assert refused(archive(b" " * ((1 << 26) + 1))) == "zip_too_large"


def test_one_broken_member_refuses_its_archive() -> None:
    assert refused(archive(CAMT, CAMT[:-20])) == "xml_malformed"


def test_the_error_names_the_file_when_it_is_known() -> None:
    with pytest.raises(ParseError) as error:
        parse(b"", name="a.xml")
    assert error.value.__notes__ == ["in a.xml"]


@pytest.mark.parametrize(
    "content",
    [CAMT, b"\xef\xbb\xbf" + CAMT, b"\n " + CAMT.split(b"?>", 1)[1], archive(CAMT)],
)
def test_a_camt_statement_is_known_by_its_content(content: bytes) -> None:
    assert parse(content).statements == (SHORT,)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"])
def test_an_mt940_statement_reads_the_same_in_every_encoding_and_line_ending(
    encoding: str, ending: str
) -> None:
    parsed = parse(MT940.replace("\r\n", ending).encode(encoding))
    (statement,) = parsed.statements
    (entry,) = statement.entries
    assert (statement.opening, statement.closing) == (SHORT.opening, SHORT.closing)
    assert (entry.entry_id, entry.amount_minor, entry.reference) == ("E1", -500, "P1")
    assert entry.text == "付王师傅"
    assert parsed.findings == ()


def test_a_wrapped_statement_number_is_read() -> None:
    wrapped = MT940.replace(":28C:1/1", ":28C:1/\r\n1")
    assert parse(wrapped.encode()).statements == parse(MT940.encode()).statements


def test_several_statements_keep_their_order() -> None:
    parsed = parse((MT940 + MT940.replace("REF1", "REF2")).encode())
    assert [statement.statement_id for statement in parsed.statements] == ["REF1/1/1", "REF2/1/1"]


def test_a_line_that_the_reader_would_lose_is_an_error() -> None:
    lost = MT940.replace(
        ":61:2603020302D5,00NTRFP1//E1\r\n", ":61:2603020302D5,00\r\n:61:2603020302D5,00\r\n"
    )
    assert "entry_lost" in {finding.code for finding in parse(lost.encode()).findings}


@pytest.mark.parametrize(("mark", "amount_minor"), [("RC", -500), ("RD", 500), ("C", 500)])
def test_a_reversal_has_the_opposite_sign_and_is_marked(mark: str, amount_minor: int) -> None:
    content = MT940.replace("0302D5,00", f"0302{mark}5,00").encode()
    entry = parse(content).statements[0].entries[0]
    assert (entry.amount_minor, entry.reversal) == (amount_minor, mark.startswith("R"))


def test_a_text_that_names_a_file_on_this_machine_is_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.sta"
    secret.write_text(MT940)
    assert refused(str(secret).encode()) == "format_unknown"


@pytest.mark.parametrize("opening", [b"<a>", DOCUMENT + b"<Stmt>", DOCUMENT + b"a"])
def test_a_huge_hostile_file_is_refused_at_its_beginning(opening: bytes) -> None:
    """Far more than libxml2's own bounds on depth and on the size of one text."""
    assert refused(opening + opening[-6:] * 5_000_000) in {"format_unknown", "xml_malformed"}


@pytest.mark.parametrize("whole", [CAMT.rstrip(), MT940.rstrip().encode(), archive(CAMT)])
def test_a_file_cut_at_any_byte_is_refused_or_flagged(whole: bytes) -> None:
    complete = parse(whole)
    for cut in range(len(whole)):
        try:
            parsed = parse(whole[:cut])
        except ParseError:
            continue
        assert parsed.findings or parsed.statements == complete.statements, cut


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert read_or_refused(content)


@given(st.integers(0, len(CAMT) - 1), st.binary(min_size=1, max_size=4))
def test_any_damage_inside_a_file_is_read_or_refused(at: int, damage: bytes) -> None:
    assert read_or_refused(CAMT[:at] + damage + CAMT[at + len(damage) :])


@given(st.integers(0, len(MT940)), st.text(max_size=6))
def test_any_damage_inside_an_mt940_file_is_read_or_refused(at: int, damage: str) -> None:
    damaged = MT940[:at] + damage + MT940[at + len(damage) :]
    assert read_or_refused(damaged.encode("utf-8", "surrogatepass"))


def test_a_statement_is_no_status_report() -> None:
    assert not is_status(CAMT)
    assert not is_status(MT940.encode())
    assert not is_status(b"<broken")
    with pytest.raises(ParseError):
        parse_status(CAMT)


def test_the_json_has_the_published_shape() -> None:
    shown = to_json(parse(CAMT))
    assert json.loads(json.dumps(shown)) == {
        "statements": [
            {
                "statement_id": "S1",
                "account": "44020001",
                "currency": "CNY",
                "opening": {"date": "2026-03-02", "amount_minor": 10000},
                "closing": {"date": "2026-03-02", "amount_minor": 9500},
                "entries": [
                    {
                        "entry_id": "E1",
                        "booking_date": "2026-03-02",
                        "value_date": "2026-03-02",
                        "amount_minor": -500,
                        "currency": "CNY",
                        "reference": "",
                        "end_to_end_id": "P1",
                        "batch_id": "",
                        "counterparty_name": "王师傅",
                        "counterparty_account": "",
                        "text": "",
                        "reversal": False,
                        "return_reason": "",
                    }
                ],
            }
        ],
        "findings": [],
    }


def test_the_json_shows_findings_and_missing_balances() -> None:
    shown = to_json(parse(b":20:R\n:25:1\n:28C:1\n:61:2603020302D5,00NTRFP1//E1\n"))
    assert shown["statements"][0]["opening"] is None
    assert {finding["code"] for finding in shown["findings"]} == {
        "balance_missing",
        "currency_missing",
    }


TABLE = (
    "账号：4402000100000000001\n交易日期,摘要,借方发生额,贷方发生额,余额,对方户名,对方账号\n"
    "2026-03-02,清运费,5.00,,95.00,王师傅,6222\n"
)
OFX = (
    "OFXHEADER:100\n<OFX><STMTRS><CURDEF>CNY<BANKACCTFROM><ACCTID>44020001</BANKACCTFROM>"
    "<STMTTRN><DTPOSTED>20260302<TRNAMT>-5.00<FITID>E1</STMTTRN></STMTRS></OFX>"
)
BAI2 = (
    "01,B,F,260302,0900,1,,,2/\n02,F,B,1,260302,2400,CNY,2/\n"
    "03,44020001,,010,10000,,,015,9500,,/\n16,475,500,,E1,,/\n"
    "49,20000,3/\n98,20000,1,5/\n99,20000,1,7/\n"
)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (CAMT, "camt.053"),
        (MT940.encode(), "MT940"),
        (BAI2.encode(), "BAI2"),
        (b"\xef\xbb\xbf" + BAI2.encode(), "BAI2"),
        (OFX.encode(), "OFX"),
        (b'<?xml version="1.0"?>\n<?OFX OFXHEADER="200"?>' + OFX[14:].encode(), "OFX"),
        (TABLE.encode(), "table"),
        (TABLE.encode("gb18030"), "table"),
        (archive(CAMT, MT940.encode(), TABLE.encode()), "camt.053+MT940+table"),
    ],
)
def test_every_format_is_known_by_its_content_whatever_its_name(content: bytes, form: str) -> None:
    parsed = parse(content, name="statement.bin")
    assert parsed.format == form
    assert {e.amount_minor for one in parsed.statements for e in one.entries} == {-500}


def test_a_named_map_is_used_and_an_unknown_one_is_the_callers_mistake() -> None:
    assert parse(TABLE.encode(), map_id="company-two-sides") == parse(TABLE.encode())
    with pytest.raises(ParseError, match="header_missing"):
        parse(TABLE.encode(), map_id="icbc-personal")
    with pytest.raises(LookupError):
        parse(TABLE.encode(), map_id="no-such-map")


def test_the_account_of_the_caller_reaches_the_table() -> None:
    bare = TABLE.partition("\n")[2].encode()
    assert [one.code for one in parse(bare).findings] == ["account_missing"]
    parsed = parse(bare, account="4402000100000000001")
    assert parsed.findings == ()
    assert parsed.statements[0].account == "4402000100000000001"


def test_an_archive_inside_an_archive_is_refused() -> None:
    assert refused(archive(archive(CAMT))) in {"nul_byte", "format_unknown"}
