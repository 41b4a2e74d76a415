"""What people decided comes first and is never decided again."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from reconciliation.frames import InputError
from reconciliation.matching.kernel import Result, match
from reconciliation.rules import Rules
from tests.reconciliation.builders import (
    LATE,
    Row,
    bank_frame,
    cased,
    entry,
    ledger_frame,
    line,
    matched,
    one,
    proposed,
)


def pin(group: str, side: str, member_id: str, decision: str = "accepted", **fields: Any) -> Row:
    common: Row = {"account_id": "ACC-1", "allocated_minor": None}
    return (
        common
        | {"group": group, "side": side, "member_id": member_id, "decision": decision}
        | fields
    )


def run(bank: list[Row], ledger: list[Row], pins: list[Row]) -> Result:
    frame = pl.DataFrame(pins, schema_overrides={"allocated_minor": pl.Int64()})
    return match(bank_frame(bank), ledger_frame(ledger), Rules(), LATE, pins=frame)


def test_an_accepted_group_is_a_match_whatever_the_rules_would_have_said() -> None:
    bank = [entry("e1", 100, end_to_end_id="P1"), entry("e2", 100)]
    ledger = [line("l1", 100, payment_id="P1"), line("l2", 100)]
    pins = [pin("g", "bank", "e1"), pin("g", "ledger", "l2")]

    result = run(bank, ledger, pins)

    assert matched(result) == {"pin": one("e1", "l2")}


def test_what_an_accepted_group_leaves_of_a_row_stays_open() -> None:
    bank = [entry("e", 100)]
    ledger = [line("l1", 60), line("l2", 40)]
    pins = [pin("g", "bank", "e", allocated_minor=60), pin("g", "ledger", "l1")]

    result = run(bank, ledger, pins)

    assert matched(result) == {"pin": one("e", "l1")}
    assert proposed(result) == {"amount_window": one("e", "l2")}
    rest = result.matches.filter(rule="amount_window", side="bank")
    assert rest["allocated_minor"].to_list() == [40]


def test_a_rejected_pair_is_never_matched_nor_offered_again() -> None:
    bank, ledger = (
        [entry("e", 100, counterparty_name="王芳")],
        [line("l", 100, counterparty_name="王芳")],
    )
    pins = [pin("g", side, member, "rejected") for side, member in (("bank", "e"), ("ledger", "l"))]

    result = run(bank, ledger, pins)

    assert (matched(result), proposed(result)) == ({}, {})
    assert {kind for kind, _ in cased(result)} == {"missing_in_ledger", "missing_in_bank"}


def test_a_rejected_pair_leaves_each_to_its_other_partner() -> None:
    bank = [entry("e", 100)]
    ledger = [line("l1", 100), line("l2", 100)]
    pins = [pin("g", "bank", "e", "rejected"), pin("g", "ledger", "l1", "rejected")]

    assert proposed(run(bank, ledger, pins)) == {"amount_window": one("e", "l2")}


@pytest.mark.parametrize(
    ("pins", "why"),
    [
        ([pin("g", "bank", "e")], "does not come to the same"),
        ([pin("g", "bank", "e"), pin("g", "ledger", "nobody")], "names an entry or line"),
        ([pin("g", "bank", "e"), pin("g", "ledger", "small")], "does not come to the same"),
        ([pin("g", "bank", "e", allocated_minor=101), pin("g", "ledger", "l")], "takes more"),
        ([pin("g", "bank", "e"), pin("g", "ledger", "other", account_id="ACC-2")], "two accounts"),
        (
            [pin("g", "bank", "e"), pin("g", "ledger", "l", "rejected")],
            "both accepted and rejected",
        ),
        ([pin("g", "bank", "e", "perhaps")], "must be accepted or rejected"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused_by_its_name(pins: list[Row], why: str) -> None:
    ledger = [line("l", 100), line("small", 99), line("other", 100, account_id="ACC-2")]
    with pytest.raises(InputError, match=f"group g: .*{why}"):
        run([entry("e", 100)], ledger, pins)
