"""What a report says of a payment that it names, and of one that it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest

from adapters.formats.pain002 import status
from adapters.model import Outcome, Status, StatusReport
from adapters.profile import BankProfile, load_profile
from gateway.payments.answers import missing_in, status_of


def _profile(unlisted: Literal["unknown", "as_group"]) -> BankProfile:
    return load_profile("demo").model_copy(update={"unlisted_transaction": unlisted})


def _report(*statuses: Status) -> StatusReport:
    return StatusReport("R1", "M1", datetime(2026, 11, 20, tzinfo=UTC), statuses)


GROUP = status("RJCT", reason="FF01")
BATCH = status("ACCP", batch_id="B1")
NAMED = status("ACSC", end_to_end_id="P1", batch_id="B1")
OTHER = status("RJCT", end_to_end_id="P2", batch_id="B1")


@pytest.mark.parametrize(
    ("statuses", "unlisted", "expected"),
    [
        ((GROUP, BATCH, NAMED), "unknown", NAMED),
        ((GROUP, BATCH), "unknown", BATCH),
        ((GROUP,), "unknown", GROUP),
        ((), "as_group", None),
        ((BATCH, OTHER), "unknown", None),
        ((BATCH, OTHER), "as_group", BATCH),
        ((GROUP, OTHER), "as_group", GROUP),
        ((status("RJCT", batch_id="B2"), OTHER), "as_group", None),
    ],
)
def test_the_nearest_word_counts_and_the_bank_decides_for_those_not_named(
    statuses: tuple[Status, ...],
    unlisted: Literal["unknown", "as_group"],
    expected: Status | None,
) -> None:
    assert status_of("P1", "B1", _report(*statuses), _profile(unlisted)) == expected


def _missed(end_to_end_id: str = "") -> Status:
    return Status(end_to_end_id, "B1", "B0116", "", "", Outcome.NOT_FOUND)


@pytest.mark.parametrize(
    ("statuses", "missing"),
    [
        ((_missed(),), ["P1", "P2"]),
        ((_missed("P2"),), ["P2"]),
        ((_missed(), NAMED), ["P2"]),
        ((NAMED, OTHER), []),
        ((), []),
    ],
)
def test_a_bank_misses_what_it_says_it_misses_and_nothing_that_it_names(
    statuses: tuple[Status, ...], missing: list[str]
) -> None:
    assert missing_in(_report(*statuses), ["P1", "P2"]) == missing
