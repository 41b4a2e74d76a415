"""The gate names side, column and row of what it refuses, and lets the rest through exactly."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from reconciliation.frames import BANK, MAX_TOTAL_MINOR, InputError, normalise, read
from reconciliation.rules import Rules, RulesError, load_rules
from tests.reconciliation.builders import bank_frame, entry

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "account_id,entry_id,booking_date,amount_minor,currency"


def refused(frame: pl.DataFrame) -> tuple[str, str | None, int | None]:
    with pytest.raises(InputError) as caught:
        normalise(frame, "bank")
    error = caught.value
    assert str(error).startswith("bank")
    return str(error), error.column, error.row


def test_fills_optional_columns_and_sorts_by_account_and_id() -> None:
    slim = bank_frame([entry("b", 1), entry("a", 2)]).select(
        "currency", "amount_minor", "booking_date", "entry_id", "account_id"
    )
    whole = normalise(slim, "bank")
    assert dict(whole.schema) == dict(BANK.columns)
    assert whole["entry_id"].to_list() == ["a", "b"]


def test_takes_blank_optional_text_for_none() -> None:
    assert normalise(bank_frame([entry("e", 1, text="  ")]), "bank")["text"].to_list() == [None]


def test_refuses_an_unknown_column() -> None:
    message, column, row = refused(bank_frame([entry("e", 1)]).with_columns(colour=pl.lit("red")))
    assert (message, column, row) == ("bank, column colour: unknown column", "colour", None)


@pytest.mark.parametrize("column", sorted(BANK.required))
def test_refuses_a_missing_required_column(column: str) -> None:
    assert refused(bank_frame([entry("e", 1)]).drop(column))[1:] == (column, None)


@pytest.mark.parametrize("column", sorted(BANK.required))
def test_refuses_a_required_value_left_out_and_names_its_row(column: str) -> None:
    rows = [entry("a", 1), entry("b", 2) | {column: None}]
    assert refused(bank_frame(rows))[1:] == (column, 2)


def test_refuses_a_blank_id() -> None:
    assert refused(bank_frame([entry("a", 1), entry(" ", 2)]))[1:] == ("entry_id", 2)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("amount_minor", [1.5]),
        ("amount_minor", ["100"]),
        ("amount_minor", [True]),
        ("account_id", [6222]),
        ("booking_date", [20260101]),
        ("reversal", ["yes"]),
    ],
)
def test_refuses_a_column_of_the_wrong_type(column: str, values: list[Any]) -> None:
    frame = bank_frame([entry("e", 1)]).with_columns(pl.Series(column, values))
    message, at, _ = refused(frame)
    assert at == column
    assert "must be" in message


def test_refuses_an_id_given_twice_and_names_the_second() -> None:
    rows = [entry("a", 1), entry("b", 1), entry("a", 2)]
    assert refused(bank_frame(rows))[1:] == ("entry_id", 3)


def test_takes_one_id_in_two_accounts_for_two_entries() -> None:
    rows = [entry("a", 1), entry("a", 1, account_id="ACC-2")]
    assert normalise(bank_frame(rows), "bank").height == 2


@pytest.mark.parametrize("currency", ["cny", "RMBX", "元"])
def test_refuses_what_is_no_currency_code(currency: str) -> None:
    assert refused(bank_frame([entry("e", 1, currency=currency)]))[1:] == ("currency", 1)


def test_refuses_amounts_that_would_overflow_when_added() -> None:
    rows = [entry("a", MAX_TOTAL_MINOR), entry("b", -1)]
    assert refused(bank_frame(rows))[1] == "amount_minor"


def test_takes_dates_as_iso_text_and_as_midnights() -> None:
    frame = bank_frame([entry("e", 1)])
    for value in ("2026-03-02", datetime(2026, 3, 2)):  # noqa: DTZ001 -- files carry naive ones
        dated = frame.with_columns(pl.Series("booking_date", [value]))
        assert normalise(dated, "bank")["booking_date"].to_list() == [date(2026, 3, 2)]


@pytest.mark.parametrize("value", ["02.03.2026", "2026-02-30", datetime(2026, 3, 2, 9, 30)])  # noqa: DTZ001 -- files carry naive ones
def test_refuses_what_is_no_date(value: object) -> None:
    frame = bank_frame([entry("e", 1)]).with_columns(pl.Series("booking_date", [value]))
    assert refused(frame)[1:] == ("booking_date", 1)


def test_takes_smaller_whole_numbers_for_amounts() -> None:
    frame = bank_frame([entry("e", 7)]).with_columns(pl.col("amount_minor").cast(pl.UInt8))
    assert normalise(frame, "bank")["amount_minor"].to_list() == [7]


def test_refuses_a_whole_number_beyond_64_bits() -> None:
    frame = bank_frame([entry("e", 7)]).with_columns(
        pl.Series("amount_minor", [2**63], dtype=pl.UInt64)
    )
    assert refused(frame)[1:] == ("amount_minor", 1)


def test_reads_csv_and_parquet_alike(tmp_path: Path) -> None:
    frame = bank_frame([entry("é,1", -5, text='say "hi"', reversal=True), entry("2", 0)])
    frame.write_csv(tmp_path / "b.csv")
    frame.write_parquet(tmp_path / "b.parquet")
    assert read(tmp_path / "b.csv", "bank").equals(read(tmp_path / "b.parquet", "bank"))


@pytest.mark.parametrize(
    ("cells", "column", "row"),
    [
        ("A,1,2026-01-01,12.50,CNY", "amount_minor", 2),
        ("A,1,2026-01-01,1e3,CNY", "amount_minor", 2),
        ("A,1,2026-01-01,9999999999999999999,CNY", "amount_minor", 2),
        ("A,1,2026-13-01,1,CNY", "booking_date", 2),
        ("A,1,,1,CNY", "booking_date", 2),
        ("A,0,2026-01-01,1,CNY", "entry_id", 2),
        ("A,1,2026-01-01,1,CNY,more", None, 2),
        ("A,1,2026-01-01", None, 2),
    ],
)
def test_refuses_a_csv_cell_by_row_and_column(
    tmp_path: Path, cells: str, column: str | None, row: int
) -> None:
    path = tmp_path / "b.csv"
    path.write_text(f"{HEADER}\nA,0,2026-01-01,1,CNY\n{cells}\n")
    with pytest.raises(InputError) as caught:
        read(path, "bank")
    assert (caught.value.column, caught.value.row) == (column, row)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.csv", b""),
        ("b.csv", b"\xff\xfe\x00junk"),
        ("b.parquet", b"not parquet"),
        ("b.xlsx", b""),
        ("b.csv", b'account_id\n"open quote'),
    ],
)
def test_refuses_a_file_that_cannot_be_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read(tmp_path / name, "bank")


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read(tmp_path / "none.csv", "ledger")


def test_loads_rules_from_toml_and_json_alike(tmp_path: Path) -> None:
    values = {"version": "v2", "transit_days": 9, "fee_words": ["fee"]}
    (tmp_path / "r.json").write_text(json.dumps(values))
    (tmp_path / "r.toml").write_text('version = "v2"\ntransit_days = 9\nfee_words = ["fee"]\n')
    rules = load_rules(tmp_path / "r.toml")
    assert rules == load_rules(tmp_path / "r.json") == Rules.model_validate(values)
    assert rules.digest() != Rules().digest()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("transit_day = 3", "transit_day"),
        ("transit_days = -1", "transit_days"),
        ('version = "a b"', "version"),
        ("fee_words = ['']", "fee_words"),
        ("version =", "cannot be read"),
    ],
)
def test_refuses_a_rules_file_and_names_the_rule(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RulesError, match=named):
        load_rules(tmp_path / "r.toml")
