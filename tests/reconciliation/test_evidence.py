"""Field by field: what two rows, or the two sides of a group, say of each other."""

from __future__ import annotations

import polars as pl
import pytest

from reconciliation.evidence import (
    Evidence,
    as_one,
    comparable,
    compared,
    evidence_json,
    read_evidence,
    side_by_side,
)
from reconciliation.rules import Fee, Rules
from tests.reconciliation.builders import Row, bank_frame, entry, ledger_frame, line

RULES = Rules()


def told(bank: Row, ledger: Row, rules: Rules = RULES) -> dict[str, Evidence]:
    """The evidence of two rows, by field."""
    entries = comparable(bank_frame([bank]), "bank", rules)
    lines = comparable(ledger_frame([ledger]), "ledger", rules)
    pair = pl.DataFrame({"bank": [0], "ledger": [0]}, schema_overrides={"bank": pl.UInt32})
    rows = side_by_side(entries, lines, pair.cast(pl.UInt32))
    (text,) = evidence_json(compared(rows, rules))
    return {each.field: each for each in read_evidence(text)}


def test_rows_that_agree_agree_in_every_field_that_both_have() -> None:
    fields: Row = {
        "reference": "R-1",
        "counterparty_name": "王伟",
        "counterparty_account": "6222 02",
    }
    said = told(
        entry("e", 100, end_to_end_id="P1", text="物业费", **fields),
        line("l", 100, payment_id="P1", text="物业费", **fields),
    )
    assert {field: each.result for field, each in said.items()} == dict.fromkeys(
        [
            *("own_id", "reference", "amount", "date"),
            *("counterparty_account", "counterparty_name", "text"),
        ],
        "agrees",
    )


def test_a_field_that_neither_side_has_is_left_out_and_one_that_one_side_has_is_unknown() -> None:
    said = told(entry("e", 100, end_to_end_id="P1"), line("l", 100))
    assert "reference" not in said
    assert said["own_id"] == Evidence("own_id", "P1", None, "equal", "unknown", "")


def test_references_are_compared_as_a_person_reads_them() -> None:
    said = told(entry("e", 1, reference="ｒ-1 "), line("l", 1, reference="R1"))
    assert said["reference"] == Evidence("reference", "R1", "R1", "equal", "agrees", "")


def test_a_difference_of_amounts_is_given_in_fen_bank_less_ledger() -> None:
    said = told(entry("e", 99_500), line("l", 100_000))["amount"]
    assert (said.result, said.detail) == ("differs", "difference_minor=-500")
    assert (said.bank_value, said.ledger_value) == ("99500", "100000")


def test_a_difference_that_the_tariff_explains_names_the_charge() -> None:
    rules = Rules(fees=(Fee(name="pos", direction="in", fixed_minor=500),))
    said = told(entry("e", 99_500), line("l", 100_000), rules)["amount"]
    assert (said.result, said.detail) == ("close", "charge=pos")


@pytest.mark.parametrize(("day", "result"), [(5, "agrees"), (6, "differs"), (-4, "differs")])
def test_dates_agree_inside_the_window(day: int, result: str) -> None:
    said = told(entry("e", 1, day), line("l", 1))["date"]
    assert (said.result, said.detail, said.comparator) == (result, f"days={day}", "window")


@pytest.mark.parametrize(
    ("bank", "ledger", "result", "detail"),
    [
        ("王伟", "王 伟", "agrees", "equal"),
        ("绿化有限公司", "绿化有限公司", "agrees", "equal"),
        ("绿化有限", "绿化有限公司", "close", "cut"),
        ("SMITH JOHN", "john smith", "close", "shared"),
        ("李强", "王伟", "differs", "differs"),
    ],
)
def test_names_are_equal_cut_short_alike_in_part_or_others(
    bank: str, ledger: str, result: str, detail: str
) -> None:
    said = told(entry("e", 1, counterparty_name=bank), line("l", 1, counterparty_name=ledger))
    assert (said["counterparty_name"].result, said["counterparty_name"].detail) == (result, detail)


def test_accounts_and_currencies_are_told_only_where_they_differ() -> None:
    said = told(entry("e", 1, account_id="A"), line("l", 1, account_id="B"))
    assert said["account"] == Evidence("account", "A", "B", "equal", "differs", "")
    assert "currency" not in said


def test_several_rows_of_a_side_count_as_one() -> None:
    rows = ledger_frame([line("l1", 40, 1, reference="R"), line("l2", 60, 3, reference="R")])
    lines = comparable(rows, "ledger", RULES).with_columns(group=pl.lit(7))
    (one,) = as_one(lines, "ledger").to_dicts()
    assert (one["amount"], one["rows"], one["ref"], one["own"]) == (100, 2, "R", None)
    assert one["date"] == rows["effective_date"].min()


def test_what_is_in_quotes_comes_back_as_it_was() -> None:
    said = told(entry("e", 1, end_to_end_id='a"b\\,'), line("l", 1, payment_id="},{"))
    assert (said["own_id"].bank_value, said["own_id"].ledger_value) == ('a"b\\,', "},{")
