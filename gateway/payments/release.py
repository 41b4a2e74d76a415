"""Release: both signatures checked once more, and the order to the bank recorded with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import bank_date
from gateway.domain.party import Role
from gateway.ledger.writer import LineDraft, post_lines
from gateway.payments.record import purse_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.ledger.holds import Purse
    from gateway.payments.transmissions import Queued
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Release:
    """Payments that go to the bank together: one, or what is signed of a batch.

    Attributes:
        file: what will carry them.
        signatures: both of each payment, in the order of the file.
    """

    file: Queued
    signatures: Sequence[Sequence[Row]]


def spent(releases: Sequence[Release]) -> Counter[Purse]:
    """What was held for these payments and is now spent, minor units."""
    totals: Counter[Purse] = Counter()
    for release in releases:
        for payment in release.file.payments:
            totals[purse_of(payment)] += payment.amount_minor
    return totals


async def disclose(
    conn: AsyncConnection, releases: Sequence[Release], names: Mapping[str, str], now: datetime
) -> dict[str, int]:
    """Discloses a line a payment; the funds must be locked.

    Args:
        conn: the transaction.
        releases: what was decided.
        names: display names of the parties that asked and signed.
        now: UTC.

    Returns:
        The number of each payment's line, by payment id.
    """
    if not releases:
        return {}
    pairs = [
        (payment, signatures)
        for release in releases
        for payment, signatures in zip(release.file.payments, release.signatures, strict=True)
    ]
    drafts = [
        (payment.fund_id, _line(payment, _marks(payment, signatures, names), now))
        for payment, signatures in pairs
    ]
    posted = await post_lines(conn, drafts, now)
    return {
        payment.payment_id: line.line_number
        for (payment, _), line in zip(pairs, posted, strict=True)
    }


def _line(payment: Row, marks: tuple[Mapping[str, str], ...], now: datetime) -> LineDraft:
    return LineDraft(
        account_id=payment.account_id,
        book=payment.book,
        category=payment.category,
        summary=payment.purpose,
        amount_minor=-payment.amount_minor,
        effective_date=bank_date(now),
        payment_id=payment.payment_id,
        batch_id=payment.batch_id or payment.payment_id,
        counterparty_name=payment.payee_name,
        counterparty_account=payment.payee_account,
        vouchers=tuple(payment.vouchers),
        signatures=marks,
    )


def _marks(
    payment: Row, signatures: Sequence[Row], names: Mapping[str, str]
) -> tuple[Mapping[str, str], ...]:
    """Who asked and who signed, as the owners read it: party and role, no person."""
    asked = (payment.submitter_party_id, Role.PROPERTY_FIRM.value, payment.created_at)
    signed = [(each.party_id, each.role, each.created_at) for each in signatures]
    return tuple(
        {"party_name": names.get(party, ""), "role": role, "created_at": moment.isoformat()}
        for party, role, moment in (asked, *signed)
    )
