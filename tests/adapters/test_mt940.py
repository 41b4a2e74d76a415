"""Our own MT940 reader beside the `mt-940` library, on files of others and on made ones."""

import io
import logging
from datetime import date
from pathlib import Path
from typing import Any

import mt940 as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.formats import mt940
from adapters.formats.bounds import MAX_FINDINGS
from adapters.model import Entry, Parsed, ParseError, Statement
from adapters.read import parse
from tests.adapters.test_hostile import MEGABYTE, probe

# The library logs the fields it cannot read.
logging.getLogger("mt940").setLevel(logging.CRITICAL + 1)

Seen = tuple[date, date, int, str, str, str, str, str, bool]


def by_the_library(text: str) -> list[list[Seen]]:
    """The entries of every statement as the library has them, all its options on."""
    blocks = [part for part in mt940_blocks(text) if part.strip()]
    return [
        [seen(row.data) for row in library.parse(io.StringIO(block), options=OPTIONS).transactions]
        for block in blocks
    ]


OPTIONS = library.Options.all()


def mt940_blocks(text: str) -> list[str]:
    head, *rest = f"\n{text}".split("\n:20:")
    return [head] * (":" in head) + [f":20:{part}" for part in rest]


def seen(row: dict[str, Any]) -> Seen:
    value = row["date"]
    booked = row.get("entry_date") or value
    exact = row["amount"].amount * 100
    assert exact == int(exact)
    return (
        date(booked.year, booked.month, booked.day),
        date(value.year, value.month, value.day),
        int(exact),
        reference(row, "bank_reference"),
        reference(row, "customer_reference"),
        reference(row, "end_to_end_reference"),
        folded(row, "applicant_name"),
        folded(row, "purpose", "transaction_details", "extra_details"),
        str(row["status"]).upper().startswith("R"),
    )


def folded(row: dict[str, Any], *keys: str) -> str:
    texts = (" ".join(str(row.get(key) or "").split()) for key in keys)
    return next((text for text in texts if text), "")


def reference(row: dict[str, Any], key: str) -> str:
    found = folded(row, key)
    return "" if found in {"NONREF", "NOTPROVIDED", "."} else found


def ours(parsed: Parsed) -> list[list[Seen]]:
    return [[of_entry(entry) for entry in one.entries] for one in parsed.statements]


def of_entry(entry: Entry) -> Seen:
    serial = "" if entry.entry_id.startswith("row-") else entry.entry_id.partition("~")[0]
    return (
        entry.booking_date,
        entry.value_date,
        entry.amount_minor,
        serial,
        entry.reference,
        entry.end_to_end_id,
        entry.counterparty_name,
        entry.text,
        entry.reversal,
    )


def sta_files(files: Path) -> list[Path]:
    found = [*files.glob("mt-940/**/*.sta"), *files.glob("odoo-addon-l10n-ro-*/**/test*_files/*")]
    return sorted(path for path in found if path.is_file() and path.name != "invalid_statement.sta")


def test_every_entry_of_every_file_is_the_one_the_library_reads(files: Path) -> None:
    compared = 0
    for path in sta_files(files):
        parsed = parse(path.read_bytes())
        text = mt940.decode(path.read_bytes())
        try:
            expected = by_the_library(text)
        except RuntimeError:
            # It refuses a statement number that is wrapped over two lines; the rest is the same.
            expected = by_the_library(unwrapped(text))
        assert [rows for rows in ours(parsed) if rows] == [rows for rows in expected if rows], path
        compared += sum(map(len, expected))
    assert compared > 200


def unwrapped(text: str) -> str:
    return text.replace("/\n", "/")


def statement(*lines: str) -> str:
    head = [":20:REF1", ":25:44020001", ":28C:1/1", ":60F:C260302CNY100,00"]
    return "\n".join([*head, *lines, ":62F:C260302CNY95,00", "-", ""])


def only(*lines: str) -> Statement:
    (found,) = parse(statement(*lines).encode()).statements
    return found


LINE = ":61:2603020302D5,00NTRFREF1//E1"

plain = st.text("ABC xyz019+/-.,:", max_size=20)
subfields = st.lists(
    st.tuples(
        st.sampled_from(["00", "10", "20", "21", "22", "30", "31", "34", "60"]),
        st.sampled_from(["", "EREF+", "SVWZ+", "KREF+", "IBAN+", "MREF+", "x BIC", "y IBAN"]),
        plain,
    ),
    max_size=7,
).map(lambda parts: "".join(f"?{key}{word}{text}" for key, word, text in parts))


lines_61 = st.builds(
    ":61:{}{}{}{}NTRF{}{}".format,
    st.sampled_from(["260302", "261231", "260101", "260230"]),
    st.sampled_from(["0302", "1231", "0101", "    ", ""]),
    st.sampled_from(["D", "C", "RD", "RC", "DR", "d"]),
    st.integers(0, 10**11).map(lambda minor: f"{minor // 100},{minor % 100:02}"),
    st.sampled_from(["NONREF", "REF1", ""]),
    st.sampled_from(["", "//E1", "//E1\nsupplement"]),
)


@given(lines_61, st.sampled_from(["", "166", "166?00"]), subfields | plain)
def test_any_entry_is_the_one_the_library_reads(line: str, code: str, text: str) -> None:
    content = statement(line, f":86:{code}{text}")
    assert ours(parse(content.encode())) == by_the_library(content)


@pytest.mark.parametrize(
    ("day", "entry_day", "booked"),
    [
        ("260102", "1231", date(2025, 12, 31)),
        ("251231", "0102", date(2026, 1, 2)),
        ("260302", "0301", date(2026, 3, 1)),
        ("260302", "", date(2026, 3, 2)),
        ("240230", "0229", date(2024, 2, 29)),
    ],
)
def test_an_entry_date_has_the_year_nearest_its_value_date(
    day: str, entry_day: str, booked: date
) -> None:
    entry = only(f":61:{day}{entry_day}D5,00NTRFREF1//E1").entries[0]
    assert entry.booking_date == booked


def test_subfields_say_who_why_and_which() -> None:
    text = ":86:166?00PAY?20EREF+P1?21SVWZ+fee\n 2026?22-03?30BANK?31622200?32WANG?33 LTD?60x"
    entry = only(LINE, text).entries[0]
    assert (entry.end_to_end_id, entry.text) == ("P1", "fee 2026-03")
    assert (entry.counterparty_name, entry.counterparty_account) == ("WANG LTD", "622200")


def test_the_iban_among_the_keywords_is_the_account_when_no_subfield_names_one() -> None:
    entry = only(LINE, ":86:166?20IBAN+DE02?21SVWZ+fee").entries[0]
    assert (entry.counterparty_account, entry.text) == ("DE02", "fee")


def test_a_reference_longer_than_its_field_goes_on_in_the_text() -> None:
    entry = only(":61:2603020302D5,00NTRF0123456789ABCDEFrest//no").entries[0]
    assert (entry.reference, entry.entry_id[:4]) == ("0123456789ABCDEF", "row-")
    assert entry.text == "rest//no"


def test_a_returned_item_is_a_return() -> None:
    assert only(":61:2603020302C5,00NRTIREF1//E1").entries[0].return_reason == "unstated"


@pytest.mark.parametrize(
    ("line", "code", "location"),
    [
        (":61:2613020302D5,00NTRF", "mt940_malformed", "line 5"),
        (":61:2603020231D5,00NTRF", "mt940_malformed", "line 5"),
        (":61:260302X5,00NTRF", "mt940_malformed", "line 5"),
        (":61:", "mt940_malformed", "line 5"),
        (":61:2603020302D1,2,3NTRF", "amount_invalid", "line 5"),
        (":60F:X", "mt940_malformed", "line 5"),
        (":60M:C269999CNY1,00", "mt940_malformed", "line 5"),
        (":28C:one", "mt940_malformed", "line 5"),
        (":64:C260302CNY", "mt940_malformed", "line 5"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_with_its_line(
    line: str, code: str, location: str
) -> None:
    with pytest.raises(ParseError) as refused:
        parse(statement(line).encode())
    assert (refused.value.code, refused.value.location) == (code, location)


def test_an_mt942_names_its_currency_by_its_floor_limit() -> None:
    content = f":20:REF1\n:25:44020001\n:28C:1/1\n:34F:CNYD0,00\n{LINE}\n:90D:1CNY5,00\n-\n"
    parsed = parse(content.encode())
    (entry,) = parsed.statements[0].entries
    assert (entry.currency, entry.amount_minor) == ("CNY", -500)
    assert {finding.code for finding in parsed.findings} == {"balance_missing"}


def test_pages_of_a_statement_keep_their_interim_balances() -> None:
    first = statement(LINE).replace(":62F:", ":62M:")
    second = statement(LINE).replace(":60F:C260302CNY100,00", ":60M:C260302CNY95,00")
    second = second.replace("CNY95,00\n-", "CNY90,00\n-").replace(":28C:1/1", ":28C:1/2")
    parsed = parse((first + second).encode())
    assert [one.statement_id for one in parsed.statements] == ["REF1/1/1", "REF1/1/2"]
    assert parsed.statements[0].closing == parsed.statements[1].opening
    assert parsed.findings == ()


def test_an_indented_entry_is_not_lost_without_a_word() -> None:
    parsed = parse(statement(LINE, f" {LINE}").encode())
    assert [(f.code, f.location) for f in parsed.findings] == [("entry_lost", "line 6")]


def test_every_indented_entry_is_named_with_its_line() -> None:
    parsed = parse(statement(f" {LINE}", LINE, "", f"  {LINE}").encode())
    assert [f.location for f in parsed.findings] == ["line 5", "line 8"]


def test_lines_are_counted_through_all_that_is_no_field() -> None:
    between = ["", "  ", "-", ":99:unknown", ":", "86:broken", "more", ":NS:notes", "-"]
    with pytest.raises(ParseError) as refused:
        parse(statement(LINE, ":86:text", *between, ":61:X").encode())
    assert refused.value.location == "line 16"


def test_an_unknown_field_is_part_of_the_text_before_it() -> None:
    entry = only(LINE, ":86:text  ", "-", "", ":99:on", " - ", "and on").entries[0]
    assert entry.text == "text :99:on and on"


@pytest.mark.parametrize(
    ("purpose", "text"),
    [
        ("SVWZ+a+b", "a+b"),
        ("SVWZ+a?21+b EREF", "a+b EREF"),
        ("a+b+", "a+b+"),
        ("EREF", "EREF"),
        ("before+SVWZ+a", "a"),
        ("SVWZ+a?21SVWZ+b", "b"),
    ],
)
def test_a_plus_sign_counts_only_behind_a_keyword(purpose: str, text: str) -> None:
    assert only(LINE, f":86:166?20{purpose}").entries[0].text == text


def test_a_serial_that_comes_again_is_told_apart_and_named_with_its_line() -> None:
    parsed = parse(statement(LINE, LINE, ":61:2603020302C5,00NTRFREF1//E2", LINE).encode())
    assert [one.entry_id for one in parsed.statements[0].entries] == ["E1", "E1~2", "E2", "E1~3"]
    repeated = [f.location for f in parsed.findings if f.code == "entry_repeated"]
    assert repeated == ["line 6", "line 8"]


CUT = LINE.partition("NTRF")[0]
"""Without the transaction type, which is an error."""


def test_a_file_with_more_errors_than_any_bank_makes_is_refused_at_the_first_too_many() -> None:
    assert parse("\n".join([":60F:C260302CNY0,00", *[CUT] * (MAX_FINDINGS - 1)]).encode())
    with pytest.raises(ParseError, match="findings_too_many") as refused:
        parse(statement(*[CUT] * (MAX_FINDINGS + 5)).encode())
    assert refused.value.location == f"line {5 + MAX_FINDINGS}"


def test_a_bank_that_uses_one_serial_for_all_is_warned_of_and_read() -> None:
    parsed = parse(statement(*[LINE] * (MAX_FINDINGS + 5)).encode())
    assert len({one.entry_id for one in parsed.statements[0].entries}) == MAX_FINDINGS + 5


MANY = """
rows = (
    f":61:2603020302C1,00NTRFE2E-{n:09}//BANK{n:09}\\n:86:166?00PAY?20EREF+E2E-{n:09}"
    f"?21SVWZ+fee 2026-03\\n?22block 1 flat {n}?30BANKCNBJ?31622200{n:010}\\n?32OWNER {n}\\n"
    for n in range(20_000)
)
content = (":20:REF1\\n:25:4402\\n:60F:C260302CNY0,00\\n" + "".join(rows)).encode()
return len(parse(content).statements[0].entries)
"""


def test_a_statement_of_many_entries_keeps_little_beside_them() -> None:
    found, peak_bytes = probe(MANY)
    assert found == "20000"
    assert peak_bytes < 40 * MEGABYTE  # for a file of 3.4, and what made it


@given(st.text(":0123456789FCDRNS\n,?+-/ 王", max_size=80))
def test_any_text_of_the_formats_letters_is_read_or_refused(text: str) -> None:
    try:
        parsed = mt940.parse(statement(LINE, text).encode())
    except ParseError as refused:
        assert refused.location.startswith(("line ", "byte "))  # noqa: PT017 - either way is right
        return
    assert parsed.statements
