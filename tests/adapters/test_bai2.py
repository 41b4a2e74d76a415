"""BAI2 against files that nobody here wrote, the control totals in them, and another reader."""

import re
from datetime import date
from pathlib import Path

import pytest
from bai2 import bai2 as other  # type: ignore[import-untyped] # it has no types
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats.bai2 import parse
from adapters.model import Parsed, ParseError, Severity

DETAIL = re.compile(rb"(?:^|/\s+)16,([1-6])[0-9]{2},([0-9]*),", re.MULTILINE)
SMALL = (
    "01,BANK,FUND,260302,0900,1,,,2/\n"
    "02,FUND,BANK,1,260302,2400,CNY,2/\n"
    "03,44020001,,010,10000,,,015,9700,,,100,200,1,,400,500,1,/\n"
    "16,475,500,V,260303,,S1,R1,rent, March/\n"
    "88,second line\n"
    "16,195,200,0,S2,R2,fee/\n"
    "49,21100,5/\n"
    "98,21100,1,7/\n"
    "99,21100,1,9/\n"
)


def samples(files: Path) -> list[Path]:
    own = (files / "bai2").glob("*/tests/data/*.bai2")
    moov = (files / "mock-bank").glob("*/tests/samples/external/bai2-sample*.txt")
    return sorted([*own, *moov])


def codes(parsed: Parsed, severity: Severity = Severity.ERROR) -> set[str]:
    return {one.code for one in parsed.findings if one.severity is severity}


def control(name: str) -> set[str]:
    return {"control_total_differs", "control_count_differs"} if name in WRONG_TRAILERS else set()


WRONG_TRAILERS = {"bai2-sample4.txt", "bai2-sample5.txt"}
"""Their own trailers do not agree with them: account numbers and rows were taken out of them."""


def test_the_control_totals_and_counts_of_every_file_agree_with_what_was_read(files: Path) -> None:
    seen = samples(files)
    assert len(seen) == 9
    for path in seen:
        found = codes(parse(path.read_bytes())) & {
            "control_total_differs",
            "control_count_differs",
            "record_unknown",
            "amount_invalid",
        }
        assert found == control(path.name), path


def test_every_file_has_the_entries_its_lines_show(files: Path) -> None:
    """By a regular expression over the text: credits are 1xx to 3xx, debits 4xx to 6xx."""
    total = 0
    for path in samples(files):
        rows = DETAIL.findall(path.read_bytes())
        shown = [int(amount or b"0") * (1 if kind < b"4" else -1) for kind, amount in rows]
        parsed = parse(path.read_bytes())
        found = [entry.amount_minor for one in parsed.statements for entry in one.entries]
        assert found == shown, path
        total += len(found)
    assert total > 70


def test_the_other_reader_finds_the_same_where_it_can_read(files: Path) -> None:
    compared = 0
    for path in samples(files):
        try:
            theirs = other.parse_from_string(path.read_text())
        except Exception:  # noqa: BLE001, S112 - it refuses most files of other banks
            continue
        accounts = [account for group in theirs.children for account in group.children]
        ours = parse(path.read_bytes()).statements
        assert [one.account for one in ours] == [
            one.header.customer_account_number for one in accounts
        ]
        for one, account in zip(ours, accounts, strict=True):
            amounts = [abs(entry.amount_minor) for entry in one.entries]
            assert amounts == [detail.amount or 0 for detail in account.children]
            compared += 1
    assert compared == 8


def test_a_statement_is_read_whole() -> None:
    parsed = parse(SMALL.encode())
    (statement,) = parsed.statements
    assert parsed.findings == ()
    assert (statement.account, statement.currency) == ("44020001", "CNY")
    assert statement.opening is not None
    assert statement.closing is not None
    assert (statement.opening.amount_minor, statement.closing.amount_minor) == (10000, 9700)
    first, second = statement.entries
    assert (first.amount_minor, first.entry_id, first.reference) == (-500, "S1", "R1")
    assert (first.booking_date, first.value_date) == (date(2026, 3, 2), date(2026, 3, 3))
    assert first.text == "rent, March second line"
    assert (second.amount_minor, second.value_date) == (200, date(2026, 3, 2))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("49,21100,5/", "49,21101,5/", "control_total_differs"),
        ("49,21100,5/", "49,21100,6/", "control_count_differs"),
        ("98,21100,1,7/", "98,21100,2,7/", "control_count_differs"),
        ("99,21100,1,9/", "99,21100,1,8/", "control_count_differs"),
        ("16,475,500,", "16,475,501,", "control_total_differs"),
        ("16,475,500,", "16,475,5.00,", "amount_invalid"),
        ("16,475,500,", "16,475,-500,", "amount_invalid"),
        ("16,475,500,", "16,799,500,", "direction_unknown"),
        ("015,9700", "015,9800", "statement_inconsistent"),
        ("400,500,1", "400,500,2", "summary_differs"),
        ("100,200,1", "100,300,1", "summary_differs"),
        ("BANK,1,260302", "BANK,4,260302", "group_not_update"),
        ("BANK,1,260302", "BANK,1,269902", "date_invalid"),
        ("2400,CNY,2/", "2400,¥¥¥,2/", "currency_invalid"),
        ("03,44020001,", "03,,", "account_missing"),
        ("49,21100,5/\n", "", "trailer_missing"),
        ("98,21100,1,7/\n", "", "trailer_missing"),
        ("99,21100,1,9/\n", "", "trailer_missing"),
        ("02,FUND,BANK,1,260302,2400,CNY,2/\n", "", "record_misplaced"),
        ("99,21100,1,9/\n", "99,21100,1,9/\n16,475,1,,,/\n", "record_misplaced"),
        ("49,21100", "17,1/\n49,21100", "record_unknown"),
    ],
)
def test_what_breaks_a_rule_of_the_format_is_an_error(old: str, new: str, code: str) -> None:
    assert old in SMALL
    assert code in codes(parse(SMALL.replace(old, new).encode()))


def test_a_record_inside_the_text_of_a_payer_is_text() -> None:
    """Only a file whose first line holds several records is taken apart at slashes."""
    parsed = parse(SMALL.replace("rent, March/", "a/ 16,195,500,,,x/").encode())
    assert [entry.amount_minor for entry in parsed.statements[0].entries] == [-500, 200]
    assert parsed.findings == ()


def test_an_older_version_is_refused() -> None:
    with pytest.raises(ParseError, match="version_unknown"):
        parse(SMALL.replace("1,,,2/", "1,,,1/", 1).encode())


@given(st.integers(0, len(SMALL)))
def test_a_file_cut_anywhere_is_refused_or_flagged(cut: int) -> None:
    try:
        parsed = parse(SMALL[:cut].encode())
    except ParseError:
        return
    assert codes(parsed) or parsed.statements == parse(SMALL.encode()).statements
