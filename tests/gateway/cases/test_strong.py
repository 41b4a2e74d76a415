"""Which proposals may be accepted by the hundred, and which rows are a match: the pure rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cases.even import Part, difference, require_even, require_one_account, take
from gateway.cases.policy import CasePolicy
from gateway.cases.record import case_id_of
from gateway.cases.rows import Key, OpenRow
from gateway.cases.strong import weakness
from gateway.domain.errors import GatewayError, Reason
from tests.gateway.support import TODAY

_POLICY = CasePolicy()


def _row(side: Any, amount_minor: int, **fields: Any) -> OpenRow:
    values: dict[str, Any] = dict.fromkeys(
        ("own_id", "reference", "batch_id", "counterparty_name", "counterparty_account"), ""
    )
    values |= {
        "key": Key(side, fields.pop("member_id", "1")),
        "account_id": "main",
        "currency": "CNY",
        "amount_minor": amount_minor,
        "taken_minor": 0,
        "match_id": "",
        "day": TODAY,
        "value_date": None,
        "text": "",
        "book": "COMMON" if side == "ledger" else "",
    }
    return OpenRow(**{**values, **fields})


def _weak(cause: str, members: list[OpenRow], accidents: str = "", demoted: Any = ()) -> str:
    return weakness(cause, accidents, members, demoted, _POLICY)


_PAIR = [_row("bank", 5), _row("ledger", 5)]


@pytest.mark.parametrize(
    "rule", ["own_id", "reference", "declared_batch", "returns", "equal_amounts"]
)
def test_what_both_sides_say_is_strong_until_its_rule_is_demoted(rule: str) -> None:
    assert _weak(f"proposed_{rule}", _PAIR) == ""
    assert rule in _weak(f"proposed_{rule}", _PAIR, demoted={rule})


def test_a_sum_is_strong_where_accidents_are_rare() -> None:
    assert _weak("proposed_subset_sum", _PAIR, "1/20") == ""
    assert _weak("proposed_subset_sum", _PAIR, "51/1000") != ""
    assert _weak("proposed_subset_sum", _PAIR) != ""


def test_an_amount_is_strong_for_one_pair_whose_other_sides_do_not_differ() -> None:
    bank, ledger = _PAIR
    named = replace(bank, counterparty_name="甲", counterparty_account="1")
    other = replace(ledger, counterparty_name="乙", counterparty_account="2")

    assert _weak("proposed_amount_window", [named, ledger]) == ""
    assert _weak("proposed_amount_window", [named, replace(other, counterparty_account="1")]) == ""
    assert _weak("proposed_amount_window", [named, other]) != ""
    two = [*_PAIR, _row("ledger", 5, member_id="2")]
    assert _weak("proposed_amount_window", two) != ""


def test_a_charge_is_strong_where_the_bank_took_more() -> None:
    assert _weak("proposed_fee_adjustment", [_row("bank", -105), _row("ledger", -100)]) == ""
    assert _weak("proposed_fee_adjustment", [_row("bank", -95), _row("ledger", -100)]) != ""


def test_what_no_run_proposed_or_is_matched_in_part_is_never_strong() -> None:
    bank, ledger = _PAIR

    assert _weak("bank_fee", _PAIR) != ""
    assert _weak("proposed_by_nobody_known", _PAIR) != ""
    assert _weak("proposed_own_id", []) != ""
    assert _weak("proposed_own_id", [replace(bank, taken_minor=1), ledger]) != ""
    assert _weak("proposed_own_id", [bank, replace(ledger, match_id="m")]) != ""


_MINOR = st.integers(-(10**9), 10**9).filter(bool)


@given(_MINOR, st.integers(-(10**9), 10**9), st.data())
def test_never_more_than_is_open_of_a_row_is_taken(
    amount_minor: int, asked: int, data: st.DataObject
) -> None:
    low, high = sorted((0, amount_minor))
    row = _row("bank", amount_minor, taken_minor=data.draw(st.integers(low, high)))

    part = Part(row.key, asked, "CNY")

    if asked * amount_minor > 0 and abs(asked) <= abs(row.open_minor):
        assert take("f1", row, part, "path").allocated_minor == asked
    else:
        with pytest.raises(GatewayError) as refused:
            take("f1", row, part, "path")
        assert refused.value.reason in {Reason.ITEM_NOT_OPEN, Reason.AMOUNT_OUT_OF_RANGE}


@given(st.lists(st.tuples(st.sampled_from(["bank", "ledger"]), _MINOR), min_size=1, max_size=6))
def test_rows_are_a_match_only_if_both_sides_come_to_the_same(rows: list[tuple[str, int]]) -> None:
    taken = [
        take("f1", row, Part(row.key), "path")
        for place, (side, minor) in enumerate(rows)
        for row in [_row(side, minor, member_id=str(place + 1))]
    ]
    bank = sum(minor for side, minor in rows if side == "bank")
    ledger = sum(minor for side, minor in rows if side == "ledger")

    assert difference(taken) == bank - ledger
    if bank == ledger and len(rows) > 1:
        require_even(taken, "case")
    else:
        with pytest.raises(GatewayError) as refused:
            require_even(taken, "case")
        assert refused.value.reason is Reason.MATCH_UNEVEN


def test_rows_of_two_accounts_or_currencies_are_no_match() -> None:
    bank, ledger = _PAIR
    for other in (replace(ledger, account_id="second"), replace(ledger, currency="USD")):
        taken = [take("f1", row, Part(row.key), "path") for row in (bank, other)]
        with pytest.raises(GatewayError) as refused:
            require_one_account(taken, "case")
        assert refused.value.reason is Reason.MATCH_UNEVEN


def test_the_order_of_members_plays_no_part_in_the_id_of_their_case() -> None:
    assert case_id_of("f1", _PAIR) == case_id_of("f1", _PAIR[::-1])
    assert case_id_of("f1", _PAIR) != case_id_of("f2", _PAIR)
