"""Each pass pairs what it should, and leaves alone the twin that only looks the same."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciliation.rules import Rules
from tests.reconciliation.builders import (
    START,
    Row,
    cased,
    detail,
    each,
    entry,
    line,
    matched,
    one,
    paired,
    proposed,
    run,
)


class TestOwnId:
    def test_pairs_by_id_and_amount_however_far_apart_the_dates_are(self) -> None:
        result = run([entry("e", -100, 50, end_to_end_id="P1")], [line("l", -100, payment_id="P1")])
        assert matched(result) == {"own_id": one("e", "l")}
        assert result.cases.is_empty()

    def test_pairs_a_payment_and_its_return_each_with_its_own_line(self) -> None:
        result = run(
            [
                entry("out", -100, 0, end_to_end_id="P1"),
                entry("back", 100, 3, end_to_end_id="P1", reversal=True),
            ],
            [line("paid", -100, payment_id="P1"), line("undone", 100, 4, payment_id="P1")],
        )
        assert matched(result) == {"own_id": one("out", "paid") | one("back", "undone")}

    def test_does_not_pair_across_accounts_or_currencies(self) -> None:
        result = run(
            [entry("e", -100, end_to_end_id="P1", currency="USD")],
            [line("l", -100, payment_id="P1")],
        )
        assert matched(result) == {}
        assert cased(result) == {("amount_differs", "currency"): one("e", "l")}

    @pytest.mark.parametrize("word", ["NOTPROVIDED", "notprovided ", "NONREF"])
    def test_takes_a_banks_word_for_no_id_as_no_id(self, word: str) -> None:
        result = run([entry("e", -100, end_to_end_id=word)], [line("l", -100, payment_id="P1")])
        assert paired(result) == {"amount_window": one("e", "l")}

    def test_pairs_no_payment_that_both_sides_have_twice(self) -> None:
        result = run(
            [entry(f"e{n}", -100, n, end_to_end_id="P1") for n in (1, 2)],
            [line(f"l{n}", -100, n, payment_id="P1") for n in (1, 2)],
        )
        assert matched(result) == {}
        assert cased(result) == {("ambiguous", "same_id"): one("e1", "e2", "l1", "l2")}


class TestReference:
    def test_pairs_references_that_a_person_reads_as_the_same(self) -> None:
        result = run(
            [entry("e", 100, 30, reference="ｆｅｅ 2026-03/07")],
            [line("l", 100, reference="FEE20260307")],
        )
        assert matched(result) == {"reference": one("e", "l")}

    def test_does_not_pair_a_reference_used_twice(self) -> None:
        result = run(
            [entry("e1", 100, 0, reference="R1"), entry("e2", 100, 1, reference="R1")],
            [line("l1", 100, 0, reference="R1"), line("l2", 100, 1, reference="R1")],
        )
        assert (matched(result), cased(result)) == ({}, {})
        assert proposed(result) == {"equal_amounts": one("e1", "e2", "l1", "l2")}

    def test_does_not_pair_two_payments_that_share_a_reference(self) -> None:
        result = run(
            [entry("e", -100, reference="INV-7", end_to_end_id="P1")],
            [line("l", -100, reference="INV-7", payment_id="P2")],
        )
        assert matched(result) == {}
        assert cased(result) == {
            ("missing_in_ledger", "unexplained_debit"): one("e"),
            ("missing_in_bank", "overdue"): one("l"),
        }

    @pytest.mark.parametrize("words", ["NOTPROVIDED", "Not-Provided", " ＮＯＮＲＥＦ"])
    def test_takes_a_banks_word_for_no_reference_as_none_however_it_is_written(
        self, words: str
    ) -> None:
        result = run([entry("e", 100, 40, reference=words)], [line("l", 100, reference=words)])
        assert matched(result) == {}

    def test_takes_punctuation_alone_for_no_reference(self) -> None:
        result = run([entry("e", 100, 40, reference="--")], [line("l", 100, reference="//")])
        assert matched(result) == {}


class TestDeclaredBatch:
    def test_pairs_one_debit_with_the_payments_of_its_batch(self) -> None:
        result = run(
            [entry("lump", -600, 1, batch_id="W")],
            [line(f"l{n}", -100 * n, batch_id="W", payment_id=f"P{n}") for n in (1, 2, 3)],
        )
        assert matched(result) == {"declared_batch": one("lump", "l1", "l2", "l3")}

    def test_pairs_several_entries_with_the_one_line_of_their_batch(self) -> None:
        result = run(
            [entry("e1", 100, batch_id="M"), entry("e2", 250, 1, batch_id="M")],
            [line("l", 350, 2, batch_id="M")],
        )
        assert matched(result) == {"declared_batch": one("e1", "e2", "l")}

    def test_names_a_batch_whose_sums_differ_and_the_difference(self) -> None:
        result = run(
            [entry("lump", -550_00, batch_id="W")],
            [line("l1", -300_00, batch_id="W"), line("l2", -300_00, batch_id="W")],
        )
        assert cased(result) == {("amount_differs", "batch_total"): one("lump", "l1", "l2")}
        assert detail(result) == (
            "Batch W is -550.00 at the bank and -600.00 in the ledger, in 1 bank entry and "
            "2 ledger lines: a difference of 50.00 CNY."
        )

    def test_searches_for_no_part_of_a_batch_that_would_fit(self) -> None:
        result = run(
            [entry("lump", -200, batch_id="W")],
            [line(f"l{n}", -100, batch_id="W", payment_id=f"P{n}") for n in (1, 2, 3)],
        )
        assert matched(result) == {}

    def test_keeps_the_returns_of_a_batch_apart_from_its_payments(self) -> None:
        result = run(
            [entry("lump", -300, batch_id="W"), entry("back", 100, 3, end_to_end_id="P1")],
            [
                line("l1", -100, batch_id="W", payment_id="P1"),
                line("l2", -200, batch_id="W", payment_id="P2"),
                line("undone", 100, 4, batch_id="W", payment_id="P1"),
            ],
        )
        assert matched(result) == {
            "own_id": one("back", "undone"),
            "declared_batch": one("lump", "l1", "l2"),
        }

    def test_pairs_a_batch_whose_ledger_already_undid_one_payment(self) -> None:
        result = run(
            [entry("lump", -300, batch_id="W")],
            [
                line("l1", -100, batch_id="W"),
                line("l2", -200, batch_id="W"),
                line("undone", 100, 4, batch_id="W"),
            ],
        )
        assert matched(result) == {"declared_batch": one("lump", "l1", "l2")}

    def test_matches_a_batch_that_both_sides_itemise_differently(self) -> None:
        result = run(
            [entry("e1", -300, batch_id="W"), entry("e2", -100, batch_id="W")],
            [line("l1", -250, batch_id="W"), line("l2", -150, batch_id="W")],
        )
        assert matched(result) == {"declared_batch": one("e1", "e2", "l1", "l2")}

    def test_leaves_a_batch_whose_sides_do_not_come_to_the_same(self) -> None:
        result = run(
            [entry("e1", -300, batch_id="W"), entry("e2", -101, batch_id="W")],
            [line("l1", -250, batch_id="W"), line("l2", -150, batch_id="W")],
        )
        assert matched(result) == {}

    def test_names_a_batch_sum_booked_twice_as_a_repeat(self) -> None:
        result = run(
            [entry("lump", -300, batch_id="W"), entry("again", -300, 1, batch_id="W")],
            [line("l1", -100, batch_id="W"), line("l2", -200, batch_id="W")],
        )
        assert matched(result) == {"declared_batch": one("lump", "l1", "l2")}
        assert cased(result) == {("duplicate_bank", "repeated_entry"): one("again")}


class TestReturns:
    def test_finds_the_original_id_in_the_banks_reference(self) -> None:
        result = run(
            [entry("back", 100, 30, reference="P-1", return_reason="AC01")],
            [line("undone", 100, payment_id="P1")],
        )
        assert matched(result) == {"returns": one("back", "undone")}

    def test_finds_the_original_id_in_the_ledgers_reference(self) -> None:
        result = run(
            [entry("back", 100, 30, end_to_end_id="P1", reversal=True)],
            [line("undone", 100, reference="P1")],
        )
        assert matched(result) == {"returns": one("back", "undone")}

    def test_names_a_return_that_the_ledger_does_not_correct(self) -> None:
        result = run(
            [
                entry("out", -120000, 0, end_to_end_id="P1"),
                entry("back", 120000, 3, end_to_end_id="P1"),
            ],
            [line("paid", -120000, payment_id="P1")],
        )
        assert matched(result) == {"own_id": one("out", "paid")}
        assert cased(result) == {("returned", "no_correction_line"): one("back")}
        assert detail(result) == (
            "The bank returned payment P1: 1,200.00 CNY credited 2026-03-05, and the ledger has "
            "no correction line."
        )

    @pytest.mark.parametrize(
        "fields",
        [{"reversal": True}, {"return_reason": "AC04"}, {"text": "退票 账号不符"}],
        ids=["flag", "reason", "words"],
    )
    def test_knows_a_return_without_an_id(self, fields: Row) -> None:
        result = run([entry("back", 100, **fields)], [])
        assert cased(result) == {("returned", "no_correction_line"): one("back")}

    def test_takes_no_credit_for_the_return_of_a_later_debit(self) -> None:
        result = run([entry("in", 100, 0, reference="R"), entry("out", -100, 5, reference="R")], [])
        assert cased(result) == {
            ("missing_in_ledger", "unidentified_receipt"): one("in"),
            ("missing_in_ledger", "unexplained_debit"): one("out"),
        }

    def test_never_pairs_a_return_with_a_receipt_of_the_same_amount(self) -> None:
        result = run(
            [entry("back", 100, end_to_end_id="P1", reversal=True)],
            [line("receipt", 100)],
        )
        assert matched(result) == {}

    def test_pairs_a_return_without_an_id_with_the_only_correction_in_time(self) -> None:
        result = run([entry("back", 100, reversal=True)], [line("undone", 100, payment_id="P1")])
        assert paired(result) == {"amount_window": one("back", "undone")}


class TestAmountWindow:
    @pytest.mark.parametrize("day", [-3, 0, 5])
    def test_pairs_equal_amounts_within_the_window(self, day: int) -> None:
        result = run([entry("e", 100, day)], [line("l", 100)])
        assert paired(result) == {"amount_window": one("e", "l")}

    @pytest.mark.parametrize("day", [-4, 6])
    def test_does_not_pair_outside_the_window(self, day: int) -> None:
        assert matched(run([entry("e", 100, day)], [line("l", 100)])) == {}

    def test_holds_to_the_window_of_the_rules(self) -> None:
        rules = Rules(window_days_before=0, window_days_after=0)
        assert matched(run([entry("e", 100, 1)], [line("l", 100)], rules=rules)) == {}

    def test_pairs_no_tie_and_lists_all_of_it(self) -> None:
        result = run([entry("e1", 5000), entry("e2", 5000, 1)], [line("l", 5000)])
        assert matched(result) == {}
        assert cased(result) == {("ambiguous", "equal_amounts"): one("e1", "e2", "l")}
        assert detail(result) == (
            "2 bank entries and 1 ledger line of 50.00 CNY each could pair in more than one way: "
            "nothing but amount and date to go by."
        )

    def test_lists_ties_far_apart_as_cases_of_their_own(self) -> None:
        days = (0, 30)
        result = run(
            [entry(f"e{day}{half}", 100, day) for day in days for half in "ab"],
            [line(f"l{day}", 100, day) for day in days],
        )
        assert cased(result) == {
            ("ambiguous", "equal_amounts"): one("e0a", "e0b", "l0") | one("e30a", "e30b", "l30")
        }

    def test_pairs_no_rows_whose_ids_contradict(self) -> None:
        result = run([entry("e", -100, end_to_end_id="P1")], [line("l", -100, payment_id="P2")])
        assert matched(result) == {}

    def test_pairs_no_rows_whose_batches_contradict(self) -> None:
        result = run([entry("e", -100, batch_id="W")], [line("l", -100, batch_id="V")])
        assert matched(result) == {}

    def test_pairs_no_flagged_return_without_an_id_with_a_receipt(self) -> None:
        result = run([entry("back", 100, reversal=True)], [line("receipt", 100)])
        assert matched(result) == {}

    def test_pairs_no_opposite_signs(self) -> None:
        assert matched(run([entry("e", 100)], [line("l", -100)])) == {}

    def test_begins_no_search_among_crowds_and_says_so(self) -> None:
        result = run(
            [entry("e1", 100), entry("e2", 100, 20), entry("far", 700)],
            [line("l1", 100), line("l2", 100, 20), line("close", 700)],
            rules=Rules(candidate_limit=3),
        )
        assert paired(result) == {"amount_window": one("far", "close")}
        assert cased(result) == {("ambiguous", "too_many_candidates"): one("e1", "e2", "l1", "l2")}


class TestRepeats:
    def test_pairs_the_earliest_of_two_entries_for_one_payment(self) -> None:
        result = run(
            [
                entry("a-later", -100, 2, end_to_end_id="P1"),
                entry("z-first", -100, 1, end_to_end_id="P1"),
            ],
            [line("l", -100, payment_id="P1")],
        )
        assert matched(result) == {"own_id": one("z-first", "l")}
        assert cased(result) == {("duplicate_bank", "repeated_entry"): one("a-later")}
        assert detail(result) == "The bank entry of 2026-03-04 over -1.00 CNY repeats z-first."

    def test_does_not_pair_a_repeat_with_another_line_of_the_same_amount(self) -> None:
        result = run(
            [
                entry("e1", -100, 1, end_to_end_id="P1"),
                entry("e2", -100, 2, end_to_end_id="P1"),
            ],
            [line("l", -100, payment_id="P1"), line("other", -100)],
        )
        assert cased(result) == {
            ("duplicate_bank", "repeated_entry"): one("e2"),
            ("missing_in_bank", "overdue"): one("other"),
        }

    def test_pairs_what_is_left_of_an_id_used_twice_once_references_tell_them_apart(self) -> None:
        result = run(
            [
                entry("e1", -100, end_to_end_id="P1", reference="R1"),
                entry("e2", -100, end_to_end_id="P1"),
            ],
            [
                line("l1", -100, payment_id="P1", reference="R1"),
                line("l2", -100, payment_id="P1", reference="R2"),
            ],
        )
        assert matched(result) == {"reference": one("e1", "l1"), "own_id": one("e2", "l2")}

    def test_names_a_line_disclosed_twice(self) -> None:
        result = run(
            [entry("e", -100, end_to_end_id="P1")],
            [line("l1", -100, payment_id="P1"), line("l2", -100, 1, payment_id="P1")],
        )
        assert matched(result) == {"own_id": one("e", "l1")}
        assert cased(result) == {("duplicate_ledger", "repeated_line"): one("l2")}

    def test_names_a_receipt_delivered_twice(self) -> None:
        same: Row = {"reference": "R9", "counterparty_account": "6222", "text": "fee March"}
        result = run(
            [entry("e1", 100, **same), entry("e2", 100, **same)], [line("l", 100, reference="R9")]
        )
        assert matched(result) == {"reference": one("e1", "l")}
        assert cased(result) == {("duplicate_bank", "repeated_entry"): one("e2")}

    def test_leaves_two_equal_receipts_from_two_payers_alone(self) -> None:
        result = run(
            [
                entry("e1", 100, reference="R9", counterparty_account="6222"),
                entry("e2", 100, reference="R9", counterparty_account="6333"),
            ],
            [line("l", 100, reference="R9")],
        )
        assert cased(result) == {("ambiguous", "equal_amounts"): one("e1", "e2", "l")}

    def test_keeps_two_equal_receipts_where_the_ledger_has_two(self) -> None:
        same: Row = {"reference": "R9", "counterparty_account": "6222"}
        result = run(
            [entry("e1", 100, **same), entry("e2", 100, **same)],
            [line("l1", 100, reference="R9"), line("l2", 100, reference="R9")],
        )
        assert (matched(result), cased(result)) == ({}, {})
        assert proposed(result) == {"equal_amounts": one("e1", "e2", "l1", "l2")}

    def test_matches_a_standing_order_that_uses_one_id_every_month(self) -> None:
        months = (0, 28)
        result = run(
            [entry(f"e{day}", 100, day, end_to_end_id="RENT") for day in months],
            [line(f"l{day}", 100, day) for day in months],
        )
        assert paired(result) == {"amount_window": one("e0", "l0") | one("e28", "l28")}

    def test_names_the_repeat_of_an_entry_that_nobody_disclosed(self) -> None:
        same: Row = {"counterparty_account": "6222", "text": "deposit"}
        result = run([entry("e1", 100, **same), entry("e2", 100, **same)], [])
        assert cased(result) == {
            ("missing_in_ledger", "unidentified_receipt"): one("e1"),
            ("duplicate_bank", "repeated_entry"): one("e2"),
        }


class TestBreaks:
    def test_names_an_amount_that_differs_under_one_id(self) -> None:
        result = run(
            [entry("e", -123456, 1, end_to_end_id="P1", reference="ABC123")],
            [line("l", -123546, payment_id="P1", reference="ABC124")],
        )
        assert cased(result) == {("amount_differs", "amount"): one("e", "l")}
        assert detail(result) == (
            "Bank and ledger name the same payment P1 and differ by 0.90 CNY (amount: -1,234.56 / "
            "-1,235.46; reference: ABC123 / ABC124; date: 2026-03-03 / 2026-03-02)."
        )

    def test_names_an_amount_that_differs_under_the_only_such_reference(self) -> None:
        result = run([entry("e", 100, reference="R1")], [line("l", 110, 1, reference="R1")])
        assert cased(result) == {("amount_differs", "amount"): one("e", "l")}

    def test_reads_nothing_into_a_reference_that_is_common(self) -> None:
        result = run(
            [entry("e1", 100, reference="WATER"), entry("e2", 200, 9, reference="WATER")],
            [line("l1", 110, 20, reference="WATER"), line("l2", 200, 9, reference="WATER")],
        )
        assert matched(result) == {"reference": one("e2", "l2")}
        assert cased(result) == {
            ("missing_in_ledger", "unidentified_receipt"): one("e1"),
            ("missing_in_bank", "overdue"): one("l1"),
        }

    def test_prefers_an_id_to_an_equal_amount_elsewhere(self) -> None:
        result = run(
            [entry("e", -100, end_to_end_id="P1")],
            [line("l", -90, payment_id="P1"), line("chance", -100)],
        )
        assert matched(result) == {}
        assert cased(result)["amount_differs", "amount"] == one("e", "l")

    def test_names_a_payment_booked_in_parts(self) -> None:
        result = run(
            [
                entry("e1", -60, end_to_end_id="P1"),
                entry("e2", -40, 1, end_to_end_id="P1"),
            ],
            [line("l", -100, payment_id="P1")],
        )
        assert cased(result) == {("amount_differs", "split"): one("e1", "e2", "l")}

    def test_names_a_payment_from_the_wrong_account_without_its_number(self) -> None:
        result = run(
            [entry("e", -100, end_to_end_id="P1", account_id="6222000011112222")],
            [line("l", -100, payment_id="P1", account_id="6222000033334444")],
        )
        assert cased(result) == {("wrong_account", "other_account"): one("e", "l")}
        assert "…2222 / …4444" in detail(result)
        assert "6222000011112222" not in detail(result)

    @pytest.mark.parametrize(
        ("amount", "fields", "cause"),
        [
            (-1500, {"text": "账户管理手续费"}, "bank_fee"),
            (-1500, {"text": "Monthly Service CHARGE"}, "bank_fee"),
            (-1500, {"counterparty_name": "转账fee收入"}, "bank_fee"),
            (-1500, {"text": "coffee for the guards"}, "unexplained_debit"),
            (-90_000_00, {"text": "手续费"}, "unexplained_debit"),
            (-1500, {}, "unexplained_debit"),
            (1500, {"text": "手续费 refund"}, "unidentified_receipt"),
            (1500, {"text": "结息"}, "bank_interest"),
            (1500, {}, "unidentified_receipt"),
        ],
    )
    def test_says_what_an_undisclosed_entry_looks_like(
        self, amount: int, fields: Row, cause: str
    ) -> None:
        assert cased(run([entry("e", amount, **fields)], [])) == {
            ("missing_in_ledger", cause): one("e")
        }

    def test_calls_a_line_in_transit_until_the_bank_has_had_its_days(self) -> None:
        lines = [line("old", -100, 0), line("young", -200, 1), line("ahead", -300, 9)]
        result = run([], lines, as_of=START + timedelta(days=6))
        assert cased(result) == {
            ("missing_in_bank", "overdue"): one("old"),
            ("timing", "in_transit"): each("young", "ahead"),
        }

    def test_keeps_the_id_of_a_case_when_its_kind_changes_with_age(self) -> None:
        young, old = (
            run([], [line("l", -100)], as_of=day) for day in (START, START.replace(month=9))
        )
        assert young.cases["kind"].to_list() != old.cases["kind"].to_list()
        assert young.cases["case_id"].to_list() == old.cases["case_id"].to_list()

    def test_prints_no_counterparty(self) -> None:
        person: Row = {"counterparty_name": "Lin Daiyu", "counterparty_account": "6222999988887777"}
        result = run([entry("e", 100, **person)], [line("l", 900, **person)])
        assert not any("Lin" in said or "7777" in said for said in result.cases["detail"])
