"""What people read of cases in Chinese."""

from __future__ import annotations

import pytest

from gateway.domain.case_words import CAUSES_ZH, KINDS_ZH, sentence_zh
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
