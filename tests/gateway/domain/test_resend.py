"""What speaks against sending a payment again: each reason alone, at its very edge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gateway.domain.resend import Blocker, Evidence, blockers

CLOSED = datetime(2026, 11, 20, 9, tzinfo=UTC)
DAY = date(2026, 11, 20)
LATER = CLOSED + timedelta(seconds=1)
PROVED = Evidence(
    closed_at=CLOSED,
    execution_date=DAY,
    missed_on=frozenset({DAY, DAY + timedelta(days=1)}),
    misses_needed=2,
    stated_until=DAY,
    unclean_statements=0,
    unexplained_debits=0,
)


def test_what_is_proved_to_be_lost_may_be_sent_again_once_its_day_is_closed() -> None:
    assert blockers(PROVED, LATER) == ()
    assert blockers(PROVED, CLOSED) == (Blocker.BANK_STILL_OPEN,)


@pytest.mark.parametrize(
    ("changes", "blocker"),
    [
        ({"missed_on": frozenset({DAY})}, Blocker.TOO_FEW_MISSES),
        ({"stated_until": None}, Blocker.STATEMENT_MISSING),
        ({"unclean_statements": 1}, Blocker.STATEMENT_UNCLEAN),
        ({"unexplained_debits": 1}, Blocker.DEBIT_UNEXPLAINED),
    ],
)
def test_one_reason_is_enough_against_it(changes: dict[str, Any], blocker: Blocker) -> None:
    assert blockers(replace(PROVED, **changes), LATER) == (blocker,)


def test_all_reasons_are_told_at_once() -> None:
    nothing = replace(
        PROVED, missed_on=frozenset(), stated_until=None, unclean_statements=2, unexplained_debits=3
    )
    assert set(blockers(nothing, CLOSED)) == set(Blocker)
