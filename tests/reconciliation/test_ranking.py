"""Candidates in order: what agrees most comes first, and the order is nobody's accident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation import ranking
from reconciliation.ranking import WEIGHTS, Candidate, candidates, ranked
from reconciliation.rules import Ranking, Rules, Step
from tests.reconciliation.builders import Row, bank_frame, entry, ledger_frame, line
from tests.reconciliation.test_properties import ENTRIES, LINES

if TYPE_CHECKING:
    import random

RULES = Rules()


def ranks(of: Row, others: list[Row], rules: Rules = RULES) -> tuple[Candidate, ...]:
    """The candidates of one entry, best first."""
    found = candidates(bank_frame([of]), ledger_frame(others), "bank", rules)
    return found.get((of["account_id"], of["entry_id"]), ())


def names(of: Row, others: list[Row], rules: Rules = RULES) -> list[str]:
    return [each.member_id for each in ranks(of, others, rules)]


class TestOrder:
    def test_our_own_id_outweighs_amount_and_date(self) -> None:
        others = [line("same", 100), line("id", 90, -20, payment_id="P1")]
        assert names(entry("e", 100, end_to_end_id="P1"), others) == ["id", "same"]

    def test_the_same_amount_comes_before_a_near_one_and_a_near_one_before_a_far_one(self) -> None:
        others = [line("far", 110_000), line("near", 100_500), line("same", 100_000)]
        assert names(entry("e", 100_000), others) == ["same", "near", "far"]

    def test_a_bank_that_books_afterwards_is_likelier_than_one_that_books_before(self) -> None:
        others = [line("after", 100, -2), line("before", 100, 2)]
        assert names(entry("e", 100), others) == ["after", "before"]

    def test_a_longer_delay_is_less_likely(self) -> None:
        others = [line(f"{days:02}", 100, -days) for days in (25, 10, 4, 1)]
        assert names(entry("e", 100), others) == ["01", "04", "10", "25"]

    def test_a_text_cut_short_is_still_a_text(self) -> None:
        others = [line("other", 100, text="JAMES C Q 11111"), line("l", 100, text="JAMES C J 9ca0")]
        assert names(entry("e", 100, text="JAMES C J 9ca0ef6e BGC"), others) == ["l", "other"]

    def test_a_rare_word_weighs_more_than_a_common_one(self) -> None:
        others = [line(f"l{n}", 100, text=f"物业费 {n}栋") for n in range(8)]
        assert names(entry("e", 100, text="3栋 物业费"), others)[0] == "l3"

    def test_another_counterparty_speaks_against_a_row(self) -> None:
        others = [
            line("other", 100, counterparty_account="6222021"),
            line("same", 100, counterparty_account="6222022"),
        ]
        assert names(entry("e", 100, counterparty_account="6222022"), others) == ["same", "other"]


class TestCandidates:
    def test_other_accounts_and_currencies_have_none(self) -> None:
        others = [line("l1", 100, account_id="B"), line("l2", 100, currency="USD")]
        assert names(entry("e", 100), others) == []

    def test_amounts_and_days_out_of_reach_are_none_without_an_id(self) -> None:
        others = [line("far", 200), line("long ago", 100, -32), line("own", 200, payment_id="P")]
        assert names(entry("e", 100, end_to_end_id="P"), others) == ["own"]

    def test_no_more_are_kept_than_the_rules_say(self) -> None:
        others = [line(f"l{n:02}", 100, -n) for n in range(20)]
        assert len(names(entry("e", 100), others)) == RULES.ranking.best
        few = Rules(ranking=Ranking(best=2))
        assert names(entry("e", 100), others, few) == ["l00", "l01"]

    def test_each_carries_its_evidence_and_what_every_field_weighs(self) -> None:
        (only,) = ranks(entry("e", 100, 1, end_to_end_id="P"), [line("l", 100, payment_id="P")])
        assert only.weights == {"own_id": 3_000, "amount": 1_000, "date": 300}
        assert only.score == sum(only.weights.values())
        assert [each.field for each in only.evidence] == ["own_id", "amount", "date"]

    def test_lines_have_candidates_as_well(self) -> None:
        bank = bank_frame([entry("e", 100)])
        found = candidates(bank, ledger_frame([line("l", 100)]), "ledger", RULES)
        assert [each.member_id for each in found["ACC-1", "l"]] == ["e"]

    def test_nothing_has_none(self) -> None:
        assert candidates(bank_frame([]), ledger_frame([]), "bank", RULES) == {}


@settings(max_examples=15, deadline=None)
@given(ENTRIES, LINES, st.randoms(use_true_random=False), st.sampled_from(["bank", "ledger"]))
def test_the_order_of_rows_changes_no_order_of_candidates(
    bank: list[Row], ledger: list[Row], chance: random.Random, of: Any
) -> None:
    first = ranked(bank_frame(bank), ledger_frame(ledger), of, RULES, with_evidence=True)
    shuffled = (chance.sample(rows, len(rows)) for rows in (bank, ledger))
    entries, lines = shuffled
    second = ranked(bank_frame(entries), ledger_frame(lines), of, RULES, with_evidence=True)
    assert first.equals(second)


@settings(max_examples=15, deadline=None)
@given(ENTRIES, LINES)
def test_places_count_up_as_scores_go_down(bank: list[Row], ledger: list[Row]) -> None:
    found = ranked(bank_frame(bank), ledger_frame(ledger), "bank", RULES)
    for rows in found.partition_by("account_id", "currency", "member_id"):
        assert rows["place"].to_list() == list(range(1, rows.height + 1))
        assert rows["score"].is_sorted(descending=True)
        assert rows["candidate_id"].is_unique().all()
    assert (found["score"] == found.select(WEIGHTS).sum_horizontal()).all()


def test_how_many_pairs_are_compared_at_a_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank = bank_frame([entry(f"e{n}", 100 + n, n, text=f"物业费 {n}") for n in range(9)])
    ledger = ledger_frame([line(f"l{n}", 100 + n, n, text=f"{n} 物业费") for n in range(9)])
    whole = ranked(bank, ledger, "bank", RULES)
    monkeypatch.setattr(ranking, "_SLICE_PAIRS", 1)
    assert ranked(bank, ledger, "bank", RULES).equals(whole)
    assert whole.height > bank.height


def test_steps_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must rise"):
        Ranking(days_steps=(Step(up_to=3, weight=1), Step(up_to=2, weight=0)))
