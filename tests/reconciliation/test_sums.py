"""What nobody declared: sums, charges, equal sets; offered unless accident is excluded."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import gcd

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciliation.matching import whole_sums
from reconciliation.matching.search import accidents, sums_to, whole_states
from reconciliation.rules import Fee, Rules, RulesError, load_rules
from tests.reconciliation.builders import cased, entry, line, matched, one, proposed, run

ANY = Rules(subset_automatic_e="1000000")
NEVER = Rules(subset_automatic_e="0")


class TestSubsetSums:
    def test_one_receipt_for_several_lines_is_offered_where_accidents_are_excluded_by_no_bound(
        self,
    ) -> None:
        bank = [entry("e", 100_003)]
        ledger = [line("l1", 40_001), line("l2", 60_002), line("l3", 77)]
        assert proposed(run(bank, ledger, rules=NEVER)) == {"subset_sum": one("e", "l1", "l2")}
        assert matched(run(bank, ledger, rules=ANY)) == {"subset_sum": one("e", "l1", "l2")}

    def test_several_entries_make_up_one_line(self) -> None:
        bank = [entry("e1", -40_001), entry("e2", -60_002, 1)]
        assert proposed(run(bank, [line("l", -100_003)], rules=NEVER)) == {
            "subset_sum": one("e1", "e2", "l")
        }

    def test_two_ways_to_make_up_an_amount_are_none(self) -> None:
        ledger = [line("l1", 100), line("l2", 300), line("l3", 150), line("l4", 250)]
        result = run([entry("e", 400)], ledger, rules=ANY)
        assert (matched(result), proposed(result)) == ({}, {})

    def test_a_row_wanted_by_two_amounts_is_given_to_neither(self) -> None:
        ledger = [line("l1", 100), line("l2", 300), line("l3", 170)]
        result = run([entry("e1", 400), entry("e2", 470)], ledger, rules=ANY)
        assert (matched(result), proposed(result)) == ({}, {})

    def test_days_apart_make_up_nothing(self) -> None:
        ledger = [line("l1", 40_001), line("l2", 60_002, 30)]
        result = run([entry("e", 100_003)], ledger, rules=ANY)
        assert (matched(result), proposed(result)) == ({}, {})

    def test_a_search_that_ran_out_of_its_budget_says_so(self) -> None:
        ledger = [line(f"l{n}", 1_000 + 7 * n) for n in range(20)]
        result = run([entry("e", 5_555)], ledger, rules=Rules(subset_states=10))
        kinds = {kind for kind, _ in cased(result)}
        assert "search_limited" in kinds
        assert result.searches["limit"].to_list() == ["states"]

    def test_too_many_candidates_are_not_searched(self) -> None:
        ledger = [line(f"l{n}", 1_000 + 7 * n) for n in range(40)]
        result = run([entry("e", 5_555)], ledger)
        assert "search_limited" in {kind for kind, _ in cased(result)}
        assert result.searches["limit"].to_list() == ["candidates"]


@given(
    amounts=st.lists(st.integers(1, 60), min_size=2, max_size=9),
    target=st.integers(2, 200),
    items=st.integers(2, 6),
)
def test_sums_are_found_as_by_trying_all(amounts: list[int], target: int, items: int) -> None:
    found = sums_to(amounts, target, items, 200_000)
    every = {
        chosen
        for size in range(2, items + 1)
        for chosen in combinations(range(len(amounts)), size)
        if sum(amounts[n] for n in chosen) == target
    }
    assert not found.capped
    assert len(found.solutions) == min(len(every), 2)
    assert {tuple(sorted(solution)) for solution in found.solutions} <= every


@given(
    amounts=st.lists(st.integers(1, 10**6), min_size=24, max_size=24), states=st.integers(1, 999)
)
def test_no_search_looks_at_more_than_its_budget(amounts: list[int], states: int) -> None:
    found = sums_to(amounts, sum(amounts[:6]) + 1, 6, states)
    assert found.states <= states


@given(amounts=st.lists(st.integers(1, 10**6), min_size=2, max_size=6))
def test_where_all_amounts_together_are_the_answer_a_search_finds_no_other(
    amounts: list[int],
) -> None:
    found = sums_to(amounts, sum(amounts), 6, 200_000)
    assert found.solutions == (tuple(range(len(amounts))),)
    assert found.states == whole_states(len(amounts))


@settings(deadline=None)
@given(
    entries=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    lines=st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_what_is_settled_without_a_search_is_what_searches_find(
    entries: list[int], lines: list[int]
) -> None:
    bank, ledger = _shelf("bank", entries), _shelf("ledger", lines)
    sums, settled = whole_sums.find(bank, ledger, Rules())
    found = {
        target: sorted(parts["part"])
        for target, parts in sums.partition_by("side", "row", as_dict=True).items()
    }
    for side, targets, others in (("bank", entries, lines), ("ledger", lines, entries)):
        for row, target in enumerate(targets):
            answer = sums_to(others, target, 6, 200_000) if len(others) > 1 else None
            solutions = () if answer is None else answer.solutions
            if settled.height:
                here = [tuple(found[side, row])] if (side, row) in found else []
                assert here == list(solutions)
            else:
                assert (side, row) not in found


def test_an_account_of_many_rows_is_left_to_the_searches() -> None:
    sums, settled = whole_sums.find(
        _shelf("bank", [40] * 100), _shelf("ledger", [9] * 100), Rules()
    )
    assert (sums.height, settled.height) == (0, 0)


def _shelf(side: str, amounts: list[int]) -> pl.DataFrame:
    """Rows of one account, direction and day."""
    return pl.DataFrame(
        {"account": 0, "way": 1, "side": side, "row": range(len(amounts)), "amount": amounts}
        | {"day": 0, "own": None, "batch": None},
        schema_overrides={"own": pl.String(), "batch": pl.String()},
    )


@pytest.mark.parametrize("states", [3, 4])
def test_a_budget_holds_for_a_sum_that_needs_no_search_too(states: int) -> None:
    ledger = [line("l1", 40_001), line("l2", 60_002), line("l3", 77)]
    result = run([entry("e", 100_080)], ledger, rules=Rules(subset_states=states))
    assert result.searches["limit"].to_list() == (["states"] if states < 4 else [None])
    assert result.searches["states"].to_list() == [states]


def test_the_accidents_to_expect_are_those_of_the_formula() -> None:
    amounts = [100, 300, 500]
    expected = Fraction((3 + 1) * gcd(*amounts), 900)  # C(3, 2) + C(3, 3)
    assert accidents(3, amounts, 900) == expected


@given(st.integers(2, 24), st.integers(2, 24))
def test_more_candidates_make_an_accident_likelier(few: int, more: int) -> None:
    few, more = sorted((few, more))
    assert accidents(few, [7, 5], 12) <= accidents(more, [7, 5], 12)


class TestFees:
    POS = Rules(fees=(Fee(name="pos", direction="in", per_million=6_000),))

    def test_a_charge_of_the_tariff_is_offered_with_its_name(self) -> None:
        result = run(
            [entry("e", 99_400, reference="R-1")],
            [line("l", 100_000, reference="R1")],
            rules=self.POS,
        )
        assert proposed(result) == {"fee_adjustment": one("e", "l", "pos")}
        added = result.matches.filter(side="adjustment")
        assert added["allocated_minor"].to_list() == [-600]

    def test_a_fen_more_is_a_difference(self) -> None:
        result = run(
            [entry("e", 99_399, reference="R-1")],
            [line("l", 100_000, reference="R1")],
            rules=self.POS,
        )
        assert proposed(result) == {}
        assert {kind for kind, _ in cased(result)} == {"amount_differs"}

    @pytest.mark.parametrize(
        "fee",
        [
            {"name": "x"},
            {"name": "x", "fixed_minor": 5, "per_million": 5},
            {"name": "x", "fixed_minor": 5, "max_minor": 9},
            {"name": "x", "per_million": 5, "min_minor": 9, "max_minor": 8},
        ],
    )
    def test_a_line_of_a_tariff_is_of_one_kind(self, fee: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"needs either|has no bounds|is below"):
            Fee.model_validate(fee)


class TestEqualSets:
    def test_as_many_entries_as_lines_are_one_set(self) -> None:
        days = range(3)
        result = run([entry(f"e{n}", 100, n) for n in days], [line(f"l{n}", 100, n) for n in days])
        assert proposed(result) == {"equal_amounts": one("e0", "e1", "e2", "l0", "l1", "l2")}

    def test_more_entries_than_lines_are_no_set(self) -> None:
        result = run([entry("e1", 100), entry("e2", 100)], [line("l", 100)])
        assert proposed(result) == {}
        assert cased(result) == {("ambiguous", "equal_amounts"): one("e1", "e2", "l")}


class TestCounterparties:
    def test_another_payer_of_another_account_is_no_candidate(self) -> None:
        result = run(
            [entry("e", 100, counterparty_name="王芳", counterparty_account="6222021")],
            [line("l", 100, counterparty_name="李强", counterparty_account="6222022")],
        )
        assert (matched(result), proposed(result)) == ({}, {})

    def test_the_same_payer_is_one(self) -> None:
        result = run(
            [entry("e", 100, counterparty_name="王芳")], [line("l", 100, counterparty_name="王芳")]
        )
        assert matched(result) == {"amount_window": one("e", "l")}

    def test_of_two_only_the_one_that_does_not_contradict_is_left(self) -> None:
        result = run(
            [entry("e", 100, counterparty_name="王芳", counterparty_account="6222021")],
            [
                line("l1", 100, counterparty_name="王芳", counterparty_account="6222021"),
                line("l2", 100, counterparty_name="李强", counterparty_account="6222022"),
            ],
        )
        assert matched(result) == {"amount_window": one("e", "l1")}


def test_a_rule_that_may_not_be_automatic_only_offers() -> None:
    rules = Rules(automatic=("own_id",))
    result = run([entry("e", 100)], [line("l", 100)], rules=rules)
    assert (matched(result), proposed(result)) == ({}, {"amount_window": one("e", "l")})


@pytest.mark.parametrize("bound", ["-1", "x", "1e3", ""])
def test_a_bound_on_accidents_is_a_decimal_number(
    bound: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rules") / "rules.toml"
    path.write_text(f'subset_automatic_e = "{bound}"\n', encoding="utf-8")
    with pytest.raises(RulesError, match="subset_automatic_e"):
        load_rules(path)
