"""Sending again what a bank never had: when it may be thought of at all.

A payment of which nothing is known may have been paid. It is sent again only under its own
reference, so that a bank that has it after all refuses the second one, and only when the bank
itself has failed to know it, day after day, after it stopped taking payments for its day.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime


class Blocker(StrEnum):
    """Why a payment may not be sent again, or not yet."""

    BANK_STILL_OPEN = "BANK_STILL_OPEN"
    """The bank has not stopped taking payments for the day of the payment."""
    TOO_FEW_MISSES = "TOO_FEW_MISSES"
    """The bank has not failed to know it on enough days."""
    STATEMENT_MISSING = "STATEMENT_MISSING"
    """No statement covers the days from the payment's on without a gap."""
    STATEMENT_UNCLEAN = "STATEMENT_UNCLEAN"
    """Something is odd about a statement since."""
    DEBIT_UNEXPLAINED = "DEBIT_UNEXPLAINED"
    """A debit that nothing explains may be this payment under another name."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a payment whose bank has not said how it ended.

    Attributes:
        closed_at: when the bank stopped taking payments for the payment's day, UTC.
        execution_date: that day.
        missed_on: days on which the bank did not know it after that, by an answer or by a clean
            statement of the day that lacks it.
        misses_needed: on how many days the bank's profile wants it so.
        stated_until: last day of the account's statements; None if none reaches the payment's day.
        unclean_statements: how many statements since the payment's day have findings.
        unexplained_debits: unmatched debits since, of its amount or of its file's.
    """

    closed_at: datetime
    execution_date: date
    missed_on: frozenset[date]
    misses_needed: int
    stated_until: date | None
    unclean_statements: int
    unexplained_debits: int


def blockers(evidence: Evidence, now: datetime) -> tuple[Blocker, ...]:
    """Every reason against sending a payment again; none means that two people may decide it."""
    against = {
        Blocker.BANK_STILL_OPEN: now <= evidence.closed_at,
        Blocker.TOO_FEW_MISSES: len(evidence.missed_on) < evidence.misses_needed,
        Blocker.STATEMENT_MISSING: evidence.stated_until is None,
        Blocker.STATEMENT_UNCLEAN: evidence.unclean_statements > 0,
        Blocker.DEBIT_UNEXPLAINED: evidence.unexplained_debits > 0,
    }
    return tuple(blocker for blocker, holds in against.items() if holds)
