"""OFX against 18 deviations of real banks, read by another reader, and against damage."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import bankfile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats.ofx import is_ofx, parse
from adapters.model import Parsed, ParseError, Severity

HEAD = "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:UTF-8\nCHARSET:NONE\n\n"
ENTRY = (
    "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20260302120000[+8:CST]<DTAVAIL>20260303<TRNAMT>-5.00"
    "<FITID>E1<CHECKNUM>C1<NAME>王师傅 &amp; 儿子<MEMO>水费</STMTTRN>\n"
)
SMALL = (
    HEAD + "<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>CNY<BANKACCTFROM><BANKID>1<ACCTID>4402"
    "</BANKACCTFROM><BANKTRANLIST>\n" + ENTRY + "</BANKTRANLIST><LEDGERBAL><BALAMT>95.00"
    "<DTASOF>20260302</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\n"
)


def quirks(files: Path) -> list[Path]:
    return sorted((files / "bankfile").glob("*/corpus/banks/*/*.[oq]fx"))


def codes(parsed: Parsed) -> set[str]:
    return {one.code for one in parsed.findings if one.severity is Severity.ERROR}


def test_every_quirk_file_reads_as_the_other_reader_reads_it(files: Path) -> None:
    assert len(quirks(files)) == 18
    for path in quirks(files):
        content = path.read_bytes()
        assert is_ofx(content), path
        theirs = bankfile.parse_bytes(content)
        (ours,) = parse(content).statements
        assert (ours.account, ours.currency) == (theirs.account, theirs.currency or ""), path
        assert [(e.booking_date, Decimal(e.amount_minor) / 100) for e in ours.entries] == [
            (one.date, one.amount) for one in theirs.transactions
        ], path
        assert [(e.counterparty_name, e.text) for e in ours.entries] == [
            (one.counterparty_name or "", one.purpose or "") for one in theirs.transactions
        ], path
        if ours.closing is not None:
            assert Decimal(ours.closing.amount_minor) / 100 == theirs.closing_balance, path


def test_only_the_empty_currency_forbids_booking(files: Path) -> None:
    wrong = {path.name: codes(parse(path.read_bytes())) for path in quirks(files)}
    assert {name: found for name, found in wrong.items() if found} == {
        "empty-tags-curdef-fitid-name.ofx": {"currency_missing"}
    }


def test_a_statement_is_read_whole() -> None:
    parsed = parse(SMALL.encode())
    (statement,) = parsed.statements
    (entry,) = statement.entries
    assert (statement.account, statement.currency) == ("4402", "CNY")
    assert statement.closing is not None
    assert statement.closing.amount_minor == 9500
    assert (entry.entry_id, entry.amount_minor, entry.reference) == ("E1", -500, "C1")
    assert (entry.booking_date, entry.value_date) == (date(2026, 3, 2), date(2026, 3, 3))
    assert (entry.counterparty_name, entry.text) == ("王师傅 & 儿子", "水费")
    assert [one.code for one in parsed.findings] == ["balance_missing"]


def test_the_xml_form_with_end_tags_says_the_same() -> None:
    tags = "CURDEF BANKID ACCTID TRNTYPE DTPOSTED DTAVAIL TRNAMT FITID CHECKNUM NAME MEMO BALAMT"
    closed = SMALL.removeprefix(HEAD)
    for tag in (*tags.split(), "DTASOF"):
        head, _, rest = closed.partition(f"<{tag}>")
        value, mark, after = rest.partition("<")
        closed = f"{head}<{tag}>{value}</{tag}>{mark}{after}"
    form = '<?xml version="1.0"?>\n<?OFX OFXHEADER="200"?>\n' + closed
    assert parse(form.encode()).statements == parse(SMALL.encode()).statements


def test_chinese_text_is_read_in_the_declared_character_set() -> None:
    declared = SMALL.replace("CHARSET:NONE", "CHARSET:936").encode("gb18030")
    assert parse(declared).statements == parse(SMALL.encode()).statements


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("-5.00", "-5.001", "amount_invalid"),
        ("-5.00", "-2,000", "amount_invalid"),
        ("-5.00", "-1,234.00", "amount_invalid"),
        ("-5.00", "1e5", "amount_invalid"),
        ("-5.00", "NaN", "amount_invalid"),
        ("-5.00", "", "amount_invalid"),
        ("-5.00", "9" * 40, "amount_invalid"),
        ("20260302120000[+8:CST]", "20261302", "date_missing"),
        ("20260302120000[+8:CST]", "020326", "date_missing"),
        ("<CURDEF>CNY", "<CURDEF>", "currency_missing"),
        ("<ACCTID>4402", "<ACCTID>", "account_missing"),
        ("<FITID>E1", "<FITID>E1<TRNAMT>-50.00", "field_repeated"),
        ("<FITID>E1", "<FITID>E1<CORRECTFITID>E0", "correction"),
        ("<FITID>E1", "<CURRENCY><CURSYM>USD</CURRENCY><FITID>E1", "currency_differs"),
        ("</STMTTRN>", "", "file_cut"),
        ("<MEMO>水费", "<MEMO>" + "水" * 5000, "text_too_long"),
    ],
)
def test_what_cannot_be_booked_is_an_error(old: str, new: str, code: str) -> None:
    changed = SMALL.replace(old, new)
    if code == "file_cut":
        changed = changed.partition("</BANKTRANLIST>")[0]
    assert code in codes(parse(changed.encode()))


def test_a_transaction_without_its_end_tag_loses_no_other() -> None:
    both = ENTRY.replace("</STMTTRN>", "") + ENTRY.replace("E1", "E2").replace("-5.00", "-7.00")
    parsed = parse(SMALL.replace(ENTRY, both).encode())
    assert [e.amount_minor for e in parsed.statements[0].entries] == [-500, -700]
    assert "aggregate_unclosed" in codes(parsed)


def test_two_accounts_stay_two_statements() -> None:
    twice = SMALL.replace("</OFX>\n", "") + SMALL.removeprefix(HEAD).replace("4402", "4403")
    accounts = [(one.account, len(one.entries)) for one in parse(twice.encode()).statements]
    assert accounts == [("4402", 1), ("4403", 1)]


def test_a_doctype_is_refused() -> None:
    with pytest.raises(ParseError, match="doctype_refused"):
        parse(b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + SMALL.encode())


def test_an_unknown_reference_stays_as_it_is() -> None:
    parsed = parse(SMALL.replace("水费", "&xxe;&#xD800;&#0;&#x6C34;").encode())
    assert parsed.statements[0].entries[0].text == "&xxe;&#xD800;&#0;水"


@given(st.integers(0, len(SMALL)))
def test_a_file_cut_anywhere_is_refused_or_flagged(cut: int) -> None:
    try:
        parsed = parse(SMALL[:cut].encode())
    except ParseError:
        return
    assert codes(parsed) or parsed.statements == parse(SMALL.encode()).statements
