"""Bank closing − ledger balance − Σ open items is zero, and what is said when it is not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation.frames import InputError
from reconciliation.matching.kernel import Result
from reconciliation.proof import balances_from_entries, proof
from tests.reconciliation.builders import (
    START,
    Row,
    bank_frame,
    entry,
    ledger_frame,
    line,
    run,
)

PAYER: Row = {"counterparty_name": "王芳"}
Day = tuple[int, int, int]
"""A statement: day, opening and closing balance."""


def balances(*days: Day, account: str = "ACC-1") -> pl.DataFrame:
    rows = [
        {
            "account_id": account,
            "currency": "CNY",
            "date": START + timedelta(days=day),
            "opening_minor": opening,
            "closing_minor": closing,
        }
        for day, opening, closing in days
    ]
    return pl.DataFrame(rows, schema_overrides={"opening_minor": pl.Int64})


def proved(bank: list[Row], ledger: list[Row], days: list[Day], **more: Any) -> pl.DataFrame:
    result = run(bank, ledger)
    return proof(balances(*days), bank_frame(bank), ledger_frame(ledger), result, **more)


def test_proves_a_day_on_which_everything_matched() -> None:
    day = proved([entry("e", 100, **PAYER)], [line("l", 100, **PAYER)], [(0, 0, 100)]).to_dicts()
    assert day == [
        {
            "account_id": "ACC-1",
            "currency": "CNY",
            "date": START,
            "bank_opening_minor": 0,
            "bank_closing_minor": 100,
            "ledger_balance_minor": 100,
            "open_bank_minor": 0,
            "open_ledger_minor": 0,
            "difference_minor": 0,
            "status": "proved",
            "findings": [],
        }
    ]


def test_a_pair_that_is_only_proposed_is_open_on_both_sides() -> None:
    day = proved([entry("e", 100)], [line("l", 100)], [(0, 0, 100)]).row(0, named=True)
    assert (day["open_bank_minor"], day["open_ledger_minor"]) == (100, 100)
    assert day["status"] == "proved"


def test_proves_a_day_with_open_items_that_explain_the_difference() -> None:
    day = proved([entry("fee", -15)], [line("due", -900)], [(0, 0, -15)]).row(0, named=True)
    assert (day["open_bank_minor"], day["open_ledger_minor"]) == (-15, -900)
    assert day["status"] == "proved"


def test_counts_a_pair_as_open_until_its_second_half_came() -> None:
    statements = [(0, 0, 0), (1, 0, 0), (2, 0, -100)]
    days = proved([entry("e", -100, 2, **PAYER)], [line("l", -100, **PAYER)], statements)
    assert days["open_ledger_minor"].to_list() == [-100, -100, 0]
    assert days["status"].to_list() == ["proved"] * 3


def test_starts_from_the_ledger_balance_carried_forward() -> None:
    openings = pl.DataFrame({"account_id": ["ACC-1"], "currency": ["CNY"], "opening_minor": [500]})
    rows = [entry("e", 100)], [line("l", 100)]
    with_it = proved(*rows, [(0, 500, 600)], openings=openings)
    without = proved(*rows, [(0, 500, 600)])
    assert with_it["status"].to_list() == ["proved"]
    assert without["findings"].to_list() == [["difference"]]
    assert without["difference_minor"].to_list() == [500]


def test_finds_movements_that_do_not_lead_to_the_closing_balance() -> None:
    day = proved([entry("e", 100)], [line("l", 100)], [(0, 0, 150)]).row(0, named=True)
    assert day["findings"] == ["inconsistent", "difference"]
    assert (day["difference_minor"], day["status"]) == (50, "not_proved")


def test_finds_an_opening_balance_that_is_not_the_closing_one_before() -> None:
    days = proved(
        [entry("e", 100), entry("f", 7, 2)],
        [line("l", 100), line("m", 7, 2)],
        [(0, 0, 100), (2, 103, 110)],
    )
    assert days["findings"].to_list() == [[], ["discontinuous", "difference"]]


def test_finds_the_days_without_a_statement() -> None:
    expected = [START + timedelta(days=day) for day in range(-2, 4)]
    days = proved(
        [entry("e", 100)], [line("l", 100)], [(0, 0, 100), (2, 100, 100)], expected_dates=expected
    )
    assert days["date"].to_list() == expected[2:]
    assert days["findings"].to_list() == [[], ["statement_missing"], [], ["statement_missing"]]
    assert days["bank_closing_minor"].to_list() == [100, None, 100, None]


def test_asks_for_the_statement_of_an_account_that_only_the_ledger_knows() -> None:
    days = proof(
        balances((0, 0, 0), account="ELSE"),
        bank_frame([]),
        ledger_frame([line("l", 100)]),
        run([], [line("l", 100)]),
        expected_dates=[START],
    )
    assert days.select("account_id", "status").rows() == [
        ("ACC-1", "not_proved"),
        ("ELSE", "proved"),
    ]


def test_finds_a_row_that_the_result_forgot() -> None:
    bank = [entry("e", 100)]
    nothing = run([], [])
    days = proof(balances((0, 0, 100)), bank_frame(bank), ledger_frame([]), nothing)
    assert days["findings"].to_list() == [["unclassified"]]


def test_keeps_the_currencies_of_an_account_apart() -> None:
    bank = bank_frame([entry("e", 100), entry("u", 7, currency="USD")])
    ledger = ledger_frame([line("l", 100)])
    result = run(bank.to_dicts(), ledger.to_dicts())
    days = proof(balances_from_entries(bank, ledger, START), bank, ledger, result)
    assert days.select("currency", "bank_closing_minor", "status").rows() == [
        ("CNY", 100, "proved"),
        ("USD", 7, "proved"),
    ]


def test_refuses_two_statements_for_one_day() -> None:
    with pytest.raises(InputError, match=r"^balances, column date, row 2"):
        proved([], [], [(0, 0, 0), (0, 0, 5)])


AMOUNT = st.sampled_from([-200, -100, 100, 300])
DAY = st.integers(0, 8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(AMOUNT, DAY), max_size=10), st.lists(st.tuples(AMOUNT, DAY), max_size=10))
def test_proves_every_day_of_a_bank_that_adds_up(
    bank: list[tuple[int, int]], ledger: list[tuple[int, int]]
) -> None:
    """Whatever the ledger holds: what differs is always listed as open."""
    entries = [entry(f"e{n}", amount, day) for n, (amount, day) in enumerate(bank)]
    lines = [line(f"l{n}", amount, day) for n, (amount, day) in enumerate(ledger)]
    closing = [sum(amount for amount, day in bank if day <= today) for today in range(9)]
    days = [(day, closing[day - 1] if day else 0, closing[day]) for day in range(9)]
    assert set(proved(entries, lines, days)["status"]) == {"proved"}


@settings(max_examples=25, deadline=None)
@given(st.integers(-5, 5).filter(bool), DAY)
def test_proves_no_day_after_the_bank_lost_a_fen(lost: int, when: int) -> None:
    closing = [1000 + (lost if day >= when else 0) for day in range(9)]
    days = [(day, closing[day - 1] if day else 0, closing[day]) for day in range(9)]
    status = proved([entry("e", 1000)], [line("l", 1000)], days)["status"].to_list()
    assert status == ["proved"] * when + ["not_proved"] * (9 - when)


def test_proves_nothing_where_there_is_nothing() -> None:
    empty = Result(run([], []).matches, run([], []).cases)
    nothing = balances((0, 0, 0)).clear()
    assert proof(nothing, bank_frame([]), ledger_frame([]), empty).is_empty()
    assert balances_from_entries(bank_frame([]), ledger_frame([]), date(2026, 1, 1)).is_empty()
