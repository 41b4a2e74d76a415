"""What people read of cases in Chinese."""

from __future__ import annotations

import pytest

from gateway.domain.case_words import CAUSES_ZH, KINDS_ZH, named, sentence_zh, word
from reconciliation.breaks import KINDS


def test_every_kind_of_the_kernel_has_a_word_and_a_sentence() -> None:
    for kind in KINDS:
        assert kind.upper() in KINDS_ZH
        assert sentence_zh(kind, "", "1.00", "2026-11-22"), kind


@pytest.mark.parametrize("cause", sorted(CAUSES_ZH))
def test_a_sentence_names_figures_and_no_placeholder(cause: str) -> None:
    said = sentence_zh("missing_in_ledger", cause, "1,234.56", "2026-11-22")

    assert "{" not in said
    assert "2026-11-22" in said or "1,234.56" in said or "两侧" in said


def test_a_cause_without_a_sentence_is_told_by_its_kind() -> None:
    assert sentence_zh("timing", "in_transit", "8.00", "2026-11-24") == (
        "2026-11-24 的明细 8.00，银行可能稍后入账"
    )


def test_what_is_new_has_no_sentence_so_that_the_english_one_is_shown() -> None:
    assert sentence_zh("of_tomorrow", "unheard_of", "1.00", "2026-11-22") == ""


def test_a_cause_with_a_sentence_is_told_by_it_and_not_by_the_kind() -> None:
    assert sentence_zh("missing_in_ledger", "bank_fee", "15.00", "2026-11-22") == (
        "银行 2026-11-22 扣收费用 15.00，账上未记"
    )


def test_a_match_that_a_rule_proposes_waits_for_a_person_whatever_the_rule() -> None:
    proposed = "2026-11-22 起的流水与明细相合，待人确认"
    assert sentence_zh("proposed", "proposed_amount_window", "1.00", "2026-11-22") == proposed


def test_a_value_has_a_word_in_either_language_and_what_is_new_its_name() -> None:
    assert word({"IN_TRANSIT": "在途"}, "IN_TRANSIT", "zh") == "在途"
    assert word({}, "IN_TRANSIT", "zh") == "IN_TRANSIT"
    assert word({"IN_TRANSIT": "在途"}, "IN_TRANSIT", "en") == "in transit"


@pytest.mark.parametrize("text", ["IN_TRANSIT", "in transit", " In-Transit ", "在途", " 在途 "])
def test_a_value_is_known_by_its_name_and_by_its_word(text: str) -> None:
    assert named({"IN_TRANSIT": "在途", "SPLIT": "拆分"}, text) == "IN_TRANSIT"


def test_what_is_neither_name_nor_word_is_no_value() -> None:
    assert named({"IN_TRANSIT": "在途"}, "途") is None
