"""What the log holds of a line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.entry import Line, Mark, line_entry

SALT = bytes(range(16))


def a_line(**changes: object) -> Line:
    fields: dict[str, object] = {
        "fund": "funds/wutong",
        "number": "12",
        "book": "COMMON",
        "category": "清洁",
        "summary": "十月垃圾袋，王小明经手",
        "amount_minor": "-12345",
        "running_minor": "100",
        "currency": "CNY",
        "effective_date": "2026-10-01",
        "disclosed_at": "2026-10-01T08:00:00+00:00",
        "counterparty": "王*",
        "counterparty_account": "6789",
        "vouchers": ("ab" * 32,),
        "corrects": "0",
        "correction_reason": "",
        "signatures": (
            Mark(party_name="梧桐苑业委会", role="OWNERS_COMMITTEE", created_at="2026"),
        ),
    }
    return Line.model_validate(fields | changes)


def test_nothing_that_may_name_a_person_stands_in_it() -> None:
    text = line_entry(a_line(), SALT).decode()
    for private in ("王", "6789", "垃圾袋", "ab" * 32):
        assert private not in text
    assert json.loads(text)["amount_minor"] == "-12345"


@pytest.mark.parametrize("field", ["summary", "counterparty", "counterparty_account", "category"])
def test_every_field_is_bound(field: str) -> None:
    assert line_entry(a_line(**{field: "other"}), SALT) != line_entry(a_line(), SALT)


def test_equal_text_in_two_lines_cannot_be_told_to_be_equal() -> None:
    one = json.loads(line_entry(a_line(), SALT))["commitments"]
    other = json.loads(line_entry(a_line(), bytes(16)))["commitments"]
    assert not set(one.values()) & set(other.values())


def test_equal_text_in_two_fields_of_one_line_cannot_either() -> None:
    line = a_line(summary="x", counterparty="x", correction_reason="x")
    commitments = json.loads(line_entry(line, SALT))["commitments"]
    assert len(set(commitments.values())) == len(commitments)


@given(st.text(), st.text())
def test_the_reader_makes_the_same_bytes_from_what_it_was_shown(summary: str, name: str) -> None:
    line = a_line(summary=summary, counterparty=name)
    shown = line.model_dump_json(by_alias=True)
    assert line_entry(Line.model_validate_json(shown), SALT) == line_entry(line, SALT)
