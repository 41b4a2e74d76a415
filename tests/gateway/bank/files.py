"""Files of a bank as a test wants them, where the simulated bank would never write such a one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from adapters.formats import camt053, pain002
from adapters.model import Balance, Entry, Statement, StatusReport
from tests.gateway.payments.desk import ACCOUNT
from tests.gateway.support import NOW, OPENING_MINOR, TODAY

_NUMBERS = count(1)


def entry(amount_minor: int, on: date = TODAY, **fields: Any) -> Entry:
    """An entry; below zero a debit."""
    fine: dict[str, Any] = {"entry_id": f"S{next(_NUMBERS)}", "value_date": on, "currency": "CNY"}
    return Entry(booking_date=on, amount_minor=amount_minor, **{**fine, **fields})


def statement(
    *entries: Entry,
    opening_minor: int = OPENING_MINOR,
    on: date = TODAY,
    account: str = ACCOUNT,
    **fields: Any,
) -> bytes:
    """A day's statement; `closing_minor` overrides what its entries lead to."""
    closing_minor = opening_minor + sum(each.amount_minor for each in entries)
    said = Statement(
        statement_id=f"{on:%Y%m%d}",
        account=account,
        currency=fields.get("currency", "CNY"),
        opening=Balance(on, opening_minor),
        closing=Balance(on, fields.get("closing_minor", closing_minor)),
        entries=entries,
    )
    message_id = fields.get("message_id") or f"M{next(_NUMBERS)}"
    return camt053.render(said, message_id, datetime(2026, 11, 21, tzinfo=UTC))


def status(transmission_id: str, *said: tuple[str, str, str], message_id: str = "") -> bytes:
    """An answer: ISO code, end-to-end id (empty for the whole file), reason code of each."""
    statuses = tuple(
        # A word on one payment stands under its batch in the message.
        pain002.status(code, end_to_end_id=of, batch_id="B" if of else "", reason=reason)
        for code, of, reason in said
    )
    report = StatusReport(message_id or f"R{next(_NUMBERS)}", transmission_id, NOW, statuses)
    return pain002.render(report, "pain.001.001.09")
