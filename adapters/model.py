"""The only shapes that cross between bank files and the gateway: plain, frozen values.

Money is `int` minor units (fen for CNY) with its currency beside it; an amount of an entry is
signed, credit positive. Text that a format leaves out is the empty string.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What a bank's status means for a payment.

    A success is never final: a returned payment (退票) can follow SETTLED days later.
    """

    RECEIVED = "received"
    """The bank has it, nothing is decided."""
    ACCEPTED = "accepted"
    """The bank will pay or is paying."""
    SETTLED = "settled"
    """The debtor's account was debited."""
    REJECTED = "rejected"
    """The bank will not pay; final."""
    NOT_FOUND = "not_found"
    """Asked, the bank knows no such payment. A miss, never a failure: it may still arrive."""
    UNKNOWN = "unknown"
    """The code says nothing we may act on."""


class Severity(StrEnum):
    """ERROR: the statement must not be booked as it is; WARNING: a person should know."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Payment:
    """One transfer to one payee; `end_to_end_id` is the gateway's own reference for ever."""

    end_to_end_id: str
    payee_name: str
    payee_account: str
    payee_bank_code: str
    """联行号, 12 digits; empty inside the debtor's own bank."""
    amount_minor: int
    currency: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Payments that leave one account in one message.

    `batch_booking` asks for one lump debit (并笔) instead of one debit a payment (逐笔).
    """

    message_id: str
    batch_id: str
    debtor_name: str
    debtor_account: str
    debtor_bank_code: str
    created_at: datetime
    """Aware, UTC, whole seconds."""
    execution_date: date
    payments: tuple[Payment, ...]
    batch_booking: bool

    @property
    def total_minor(self) -> int:
        """Sum of the payments in minor units."""
        return sum(payment.amount_minor for payment in self.payments)


@dataclass(frozen=True, slots=True)
class Status:
    """A bank's word on a payment, a batch (no `end_to_end_id`) or a message (neither id).

    The most specific status wins; a wider one speaks for every payment not named itself.
    """

    end_to_end_id: str
    batch_id: str
    code: str
    reason_code: str
    reason_text: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class StatusReport:
    """One answer of a bank to one message."""

    message_id: str
    original_message_id: str
    created_at: datetime
    statuses: tuple[Status, ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """Booked balance of an account on a date, signed minor units."""

    date: date
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One booked movement as the bank states it; `amount_minor` is signed, credit positive."""

    entry_id: str
    """The bank's serial, or a digest of the row where the bank gives none."""
    booking_date: date
    value_date: date
    amount_minor: int
    currency: str
    reference: str = ""
    end_to_end_id: str = ""
    batch_id: str = ""
    counterparty_name: str = ""
    counterparty_account: str = ""
    text: str = ""
    reversal: bool = False
    return_reason: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """The booked entries of one account between two balances, in the bank's order."""

    statement_id: str
    account: str
    currency: str
    opening: Balance | None
    closing: Balance | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong or odd in a file or a batch, with where it was seen."""

    severity: Severity
    code: str
    message: str
    location: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """Everything one file said."""

    format: str
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]


MAX_FILE_BYTES: Final = 1 << 30
"""No bank sends a larger file; more is refused before it is read."""


class ParseError(Exception):
    """A file that cannot be used at all.

    Attributes:
        code: Stable name of the reason, for example `xml_malformed`.
        message: What is wrong, without the file's content.
        location: `line N`, counted from 1, or `byte N`, counted from 0.
    """

    def __init__(self, code: str, message: str, location: str = "byte 0") -> None:
        super().__init__(f"{code} at {location}: {message}")
        self.code = code
        self.message = message
        self.location = location


def warning(code: str, message: str, location: str) -> Finding:
    """A finding that a person should know of."""
    return Finding(Severity.WARNING, code, message, location)


def error(code: str, message: str, location: str) -> Finding:
    """A finding that forbids booking."""
    return Finding(Severity.ERROR, code, message, location)
