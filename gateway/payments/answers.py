"""What a bank's answer to a file of ours means for the payments in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.model import Outcome, Status, StatusReport
from gateway.domain.payment import Event, State
from gateway.payments.outcome import apply
from gateway.payments.record import BANK, Change
from gateway.payments.transmissions import Stage, mark, payments_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.profile import BankProfile
    from gateway.store import Row

_EVENTS: Final = {
    Outcome.ACCEPTED: Event.ACCEPT,
    Outcome.SETTLED: Event.SETTLE,
    Outcome.REJECTED: Event.REJECT,
}
"""News that changes a payment; what is only received, missed or unknown changes nothing."""

_ALREADY_THERE: Final = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05", "DUPL"})
"""Reason codes (ISO 20022, external code lists) of a refusal as a duplicate.

The bank has the payment from before: this says nothing of how that one ends.
"""


async def apply_report(
    conn: AsyncConnection,
    transmission: Row,
    report: StatusReport,
    profile: BankProfile,
    now: datetime,
) -> int:
    """Applies a bank's answer; the fund must be locked.

    Returns:
        How many payments changed their state.
    """
    changed, silent = 0, False
    for payment in await payments_of(conn, transmission):
        status = status_of(payment.payment_id, transmission.batch_id, report, profile)
        event = _event(status, profile)
        silent = silent or event is None
        if status and event and not _is_of_another_file(status, payment, transmission):
            code = " ".join(filter(None, (status.code, status.reason_code)))
            changed += await apply(conn, payment, Change(event, BANK, now, code))
    if not silent:
        await mark(conn, transmission, state=Stage.ANSWERED, answer_due_at=None)
    return changed


def status_of(
    payment_id: str, batch_id: str, report: StatusReport, profile: BankProfile
) -> Status | None:
    """What a report says of a payment: by its own id, else of its batch, else of the file.

    Whether a payment that is not named shares the fate of its group, in a report that names others,
    is the bank's custom: `unlisted_transaction` of its profile. Else nothing is known of it.
    """
    own = _first(report, payment_id, None)
    if own is not None:
        return own
    named = any(status.end_to_end_id for status in report.statuses)
    if named and profile.unlisted_transaction == "unknown":
        return None
    return _first(report, "", batch_id) or _first(report, "", "")


def missing_in(report: StatusReport, payments: list[str]) -> list[str]:
    """Which of these payments the bank says that it does not know; for all, if it knows no file."""
    missed = [status for status in report.statuses if status.outcome is Outcome.NOT_FOUND]
    wide = any(not status.end_to_end_id for status in missed)
    named = {status.end_to_end_id for status in report.statuses if status.end_to_end_id}
    lost = {status.end_to_end_id for status in missed}
    return [each for each in payments if each in lost or (wide and each not in named)]


def _first(report: StatusReport, end_to_end_id: str, batch_id: str | None) -> Status | None:
    return next(
        (
            status
            for status in report.statuses
            if status.end_to_end_id == end_to_end_id and batch_id in (None, status.batch_id)
        ),
        None,
    )


def _event(status: Status | None, profile: BankProfile) -> Event | None:
    if status is None:
        return None
    repetition = _ALREADY_THERE.union(profile.repetition_codes)
    if status.outcome is Outcome.REJECTED and {status.code, status.reason_code} & repetition:
        return None
    return _EVENTS.get(status.outcome)


def _is_of_another_file(status: Status, payment: Row, transmission: Row) -> bool:
    """Whether a refusal may be of a repetition, while the payment goes its way.

    The file was replaced by another one; or the bank has accepted the payment already and refuses a
    whole file: what it accepted it would refuse by the payment's own name.
    """
    if status.outcome is not Outcome.REJECTED:
        return False
    replaced = payment.transmission_id != transmission.transmission_id
    accepted = State(payment.state) is State.ACCEPTED
    return replaced or (accepted and not status.end_to_end_id)
