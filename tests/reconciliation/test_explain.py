"""A record for every match and every case: what came into question, and why the next one lost."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation.explain import EXPLANATIONS, Explanation, explained, explanation
from reconciliation.frames import normalise
from reconciliation.matching.core import known, plain_reference
from reconciliation.matching.kernel import Result, match
from reconciliation.rules import Fee, Rules
from tests.reconciliation.builders import LATE, Row, bank_frame, entry, ledger_frame, line, run
from tests.reconciliation.test_properties import ENTRIES, LINES

if TYPE_CHECKING:
    import random

RULES = Rules()


def records(bank: list[Row], ledger: list[Row], rules: Rules = RULES) -> pl.DataFrame:
    result = run(bank, ledger, rules=rules)
    return explained(bank_frame(bank), ledger_frame(ledger), result, rules)


def record_of(member: str, bank: list[Row], ledger: list[Row], rules: Rules = RULES) -> Explanation:
    """The record of the match or case that an entry or line is in."""
    result = run(bank, ledger, rules=rules)
    groups = pl.concat(
        [
            result.matches.select("member_id", id="match_id"),
            result.cases.select("member_id", id="case_id"),
        ]
    )
    (group_id,) = groups.filter(member_id=member)["id"]
    return explanation(group_id, bank_frame(bank), ledger_frame(ledger), result, rules)


def ids(result: Result) -> list[str]:
    matches = result.matches["match_id"].unique(maintain_order=True)
    return [*matches, *result.cases["case_id"].unique(maintain_order=True)]


class TestMatches:
    def test_a_match_by_id_says_that_the_id_agrees(self) -> None:
        told = record_of(
            "e", [entry("e", -100, end_to_end_id="P1")], [line("l", -100, payment_id="P1")]
        )
        assert (told.of, told.rule, told.rules_version) == ("match", "own_id", RULES.version)
        assert told.evidence[0].field == "own_id"
        assert told.evidence[0].result == "agrees"

    def test_where_nothing_else_came_into_question_nobody_is_second(self) -> None:
        told = record_of("e", [entry("e", 100, reference="R")], [line("l", 100, reference="R")])
        assert (told.bank_candidates, told.ledger_candidates) == (1, 1)
        assert told.runner_up is None

    def test_the_second_is_named_with_what_it_has_less_of(self) -> None:
        bank = [entry("e", 100, 1, end_to_end_id="P1")]
        told = record_of("e", bank, [line("l1", 100, payment_id="P1"), line("l2", 100, -5)])
        assert (told.bank_candidates, told.ledger_candidates) == (1, 1)
        told = record_of("e", bank, [line("l1", 100, payment_id="P1"), line("l2", 100, -4)])
        assert (told.bank_candidates, told.ledger_candidates) == (1, 2)
        assert told.runner_up is not None
        assert (told.runner_up.side, told.runner_up.member_id) == ("ledger", "l2")
        assert told.runner_up.lost_by == ("no id", "booked 5 days after")

    def test_a_second_that_belongs_to_another_match_says_so(self) -> None:
        bank = [
            entry("e1", 100, end_to_end_id="P1"),
            entry("e2", 100, end_to_end_id="P2"),
        ]
        ledger = [line("l1", 100, payment_id="P1"), line("l2", 100, payment_id="P2")]
        told = record_of("e1", bank, ledger).runner_up
        assert told is not None
        assert told.lost_by == ("other id", "matched elsewhere with own_id")

    def test_a_sum_carries_what_accidents_are_to_be_expected_and_what_was_tried(self) -> None:
        ledger = [line("l1", 40_001), line("l2", 60_002), line("l3", 77)]
        told = record_of("e", [entry("e", 100_003)], ledger, Rules(subset_automatic_e="0"))
        assert told.rule == "subset_sum"
        assert told.expected_accidents is not None
        assert Fraction(told.expected_accidents) == Fraction(3, 100_003)
        assert told.states is not None
        assert told.states > 0
        assert told.search_limit is None
        assert told.evidence[0].comparator == "sum"
        assert told.evidence[0].result == "agrees"

    def test_an_adjustment_names_the_charge(self) -> None:
        rules = Rules(fees=(Fee(name="pos", direction="in", per_million=6_000),))
        bank = [entry("e", 99_400, reference="R-1")]
        told = record_of("e", bank, [line("l", 100_000, reference="R1")], rules)
        assert told.rule == "fee_adjustment"
        assert "charge=pos" in {each.detail for each in told.evidence}

    def test_a_declared_batch_is_one_sum_against_the_other(self) -> None:
        lines = [line(f"l{n}", -100, batch_id="B", payment_id=f"P{n}") for n in range(3)]
        told = record_of("e", [entry("e", -300, batch_id="B")], lines)
        said = {each.field: each for each in told.evidence}
        assert (said["batch_id"].result, said["amount"].comparator) == ("agrees", "sum")
        assert (said["own_id"].ledger_value, said["own_id"].result) == ("P0, P1, P2", "unknown")

    def test_what_an_operator_accepted_is_explained_too(self) -> None:
        bank, ledger = bank_frame([entry("e", 100)]), ledger_frame([line("l", 60), line("m", 7)])
        pins = pl.DataFrame(
            {
                "decision": ["accepted"] * 2,
                "group": ["G"] * 2,
                "side": ["bank", "ledger"],
                "account_id": ["ACC-1"] * 2,
                "member_id": ["e", "l"],
                "allocated_minor": [60, 60],
            }
        )
        result = match(bank, ledger, RULES, LATE, pins=pins)
        told = explained(bank, ledger, result, RULES)
        assert told["id"].to_list() == ids(result)
        pin = explanation(told["id"][0], bank, ledger, result, RULES)
        assert (pin.rule, pin.evidence[0].bank_value) == ("pin", "60")


class TestCases:
    def test_of_two_equal_amounts_the_second_is_named_as_not_the_only_one(self) -> None:
        told = record_of("l", [entry("e1", 100), entry("e2", 100)], [line("l", 100)])
        assert (told.kind, told.bank_candidates, told.ledger_candidates) == ("ambiguous", 2, 1)
        assert told.runner_up is not None
        assert (told.runner_up.member_id, told.runner_up.lost_by) == ("e2", ("not unique",))

    def test_a_tie_that_one_day_sets_apart_says_so(self) -> None:
        told = record_of("l", [entry("e1", 100), entry("e2", 100, 4)], [line("l", 100)])
        assert told.runner_up is not None
        assert told.runner_up.lost_by == ("booked 4 days after", "not unique")

    def test_a_lone_row_without_candidates_has_neither_second_nor_evidence(self) -> None:
        told = record_of("e", [entry("e", 100)], [])
        assert (told.kind, told.bank_candidates, told.ledger_candidates) == (
            "missing_in_ledger",
            1,
            0,
        )
        assert (told.runner_up, told.evidence) == (None, ())

    def test_a_lone_row_whose_candidate_went_elsewhere_names_it(self) -> None:
        bank = [entry("e", 100, end_to_end_id="P1")]
        told = record_of("l2", bank, [line("l1", 100, payment_id="P1"), line("l2", 100)])
        assert told.runner_up is not None
        assert told.runner_up.member_id == "e"
        assert told.runner_up.lost_by == ("matched elsewhere with own_id",)

    def test_a_difference_is_in_the_evidence_to_the_fen(self) -> None:
        bank = [entry("e", 100, end_to_end_id="P1")]
        told = record_of("e", bank, [line("l", 150, payment_id="P1")])
        assert (told.kind, told.cause) == ("amount_differs", "amount")
        assert "difference_minor=-50" in {each.detail for each in told.evidence}

    def test_another_account_is_in_the_evidence(self) -> None:
        bank = [entry("e", 100, account_id="A", end_to_end_id="P1")]
        told = record_of("e", bank, [line("l", 100, account_id="B", payment_id="P1")])
        assert told.kind == "wrong_account"
        assert ("account", "differs") in {(each.field, each.result) for each in told.evidence}

    def test_a_search_that_was_stopped_carries_its_limit(self) -> None:
        ledger = [line(f"l{n}", 1_000 + 7 * n) for n in range(20)]
        told = record_of("e", [entry("e", 5_555)], ledger, Rules(subset_states=10))
        assert (told.kind, told.search_limit) == ("search_limited", "states")
        assert told.states is not None
        assert told.states <= 10
        assert told.expected_accidents is None


def test_an_unknown_id_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        explanation("nothing", bank_frame([]), ledger_frame([]), run([], []), RULES)


def test_nothing_has_no_record_in_the_same_columns() -> None:
    assert records([], []).schema == pl.Schema(EXPLANATIONS)


@settings(max_examples=15, deadline=None)
@given(ENTRIES, LINES)
def test_every_match_and_case_has_one_record_in_the_order_of_the_result(
    bank: list[Row], ledger: list[Row]
) -> None:
    assert records(bank, ledger)["id"].to_list() == ids(run(bank, ledger))


@settings(max_examples=15, deadline=None)
@given(ENTRIES, LINES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_record(
    bank: list[Row], ledger: list[Row], chance: random.Random
) -> None:
    first = records(bank, ledger)
    assert first.equals(records(chance.sample(bank, len(bank)), chance.sample(ledger, len(ledger))))


@settings(max_examples=15, deadline=None)
@given(ENTRIES, LINES)
def test_one_record_alone_is_the_one_among_all(bank: list[Row], ledger: list[Row]) -> None:
    result = run(bank, ledger)
    frames = (bank_frame(bank), ledger_frame(ledger), result, RULES)
    every = explained(*frames)
    for group_id in every["id"].head(3):
        assert explained(*frames, only=group_id).equals(every.filter(id=group_id))


@settings(max_examples=15, deadline=None)
@given(ENTRIES, LINES)
def test_no_fewer_candidates_are_counted_than_there_are(bank: list[Row], ledger: list[Row]) -> None:
    """And of a group with one row on the side that is asked about, no more."""
    result = run(bank, ledger)
    entries = _plain(bank, "bank")
    lines = _plain(ledger, "ledger")
    for record in records(bank, ledger).iter_rows(named=True):
        mine = _members(result, record["id"])
        own = {"bank": mine & entries.keys(), "ledger": mine & lines.keys()}
        entered = {
            one for one in entries for two in own["ledger"] if _possible(entries[one], lines[two])
        }
        lined = {two for two in lines for one in own["bank"] if _possible(entries[one], lines[two])}
        for side, met, other in (("bank", entered, "ledger"), ("ledger", lined, "bank")):
            least = max(len(met), len(own[side]))
            assert record[f"{side}_candidates"] >= least
            if len(own[other]) <= 1:
                assert record[f"{side}_candidates"] == least


def _plain(rows: list[Row], side: str) -> dict[tuple[str, str, str], Row]:
    """Rows by side, account and id, id and reference as they are compared."""
    shaped = bank_frame(rows) if side == "bank" else ledger_frame(rows)
    member, day, own = (
        ("entry_id", "booking_date", "end_to_end_id")
        if side == "bank"
        else ("line_id", "effective_date", "payment_id")
    )
    frame = normalise(shaped, "bank" if side == "bank" else "ledger")
    found = frame.select(
        "account_id",
        "currency",
        member=member,
        day=day,
        amount="amount_minor",
        own=known(frame[own], RULES),
        ref=plain_reference(frame["reference"], RULES),
    )
    return {(side, r["account_id"], r["member"]): r for r in found.iter_rows(named=True)}


def _possible(one: Row, other: Row) -> bool:
    """Whether an entry and a line share place and an id, a reference, or amount and time."""
    place = all(one[name] == other[name] for name in ("account_id", "currency"))
    same = any(one[name] is not None and one[name] == other[name] for name in ("own", "ref"))
    days = (one["day"] - other["day"]).days
    near = -RULES.window_days_before <= days <= RULES.window_days_after
    return place and (same or (one["amount"] == other["amount"] and near))


def _members(result: Result, group_id: str) -> set[tuple[str, str, str]]:
    parts = (result.matches.rename({"match_id": "id"}), result.cases.rename({"case_id": "id"}))
    return {
        row
        for part in parts
        for row in part.filter(id=group_id).select("side", "account_id", "member_id").rows()
    }
