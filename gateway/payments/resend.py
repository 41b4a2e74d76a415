"""Sending again what a bank never had: the evidence, the bytes to sign, the second release."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from adapters.calendar import closed_at, local
from gateway.domain.errors import Reason, precondition
from gateway.domain.payload import Resend, canonical_bytes, parse_payload, stamp
from gateway.domain.payment import State
from gateway.domain.resend import Evidence, blockers
from gateway.ids import new_nonce
from gateway.ledger.writer import lock_fund
from gateway.payments import transmissions
from gateway.payments.record import load, note, payment_name
from gateway.payments.signatures import load_subject
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.payments.signatures import Subject
    from gateway.payments.transmissions import Queued
    from gateway.store import Row

_DAYS_SHOWN: Final = 100
_INTERIM: Final = "statement_interim"
"""Of a statement made during the day: what it lacks may still come."""
_HARMLESS: Final = frozenset(
    {
        "statement_gap",  # asked of the balances themselves, since the missing file may have come
        "statement_overlap",
        "statement_repeated",
        "statement_continued",
        "statement_continues",
        "days_without_statement",
        "entry_repeated",
        "account_masked",
        "formula_text",
        "sheets_ignored",
    }
)
"""Findings on a statement that leave no doubt that it shows every entry."""


@dataclass(frozen=True, slots=True)
class Preparing:
    """Who asks that a payment be sent again, and for how long the two may sign it."""

    actor: str
    ttl: timedelta
    now: datetime


async def prepare(
    conn: AsyncConnection, fund_id: str, payment_id: str, preparing: Preparing, banks: Banks
) -> None:
    """Stores the bytes that two persons sign before the payment is sent again.

    Raises:
        GatewayError: STATE_FORBIDS unless the payment is UNKNOWN; RESEND_TOO_EARLY with every
            blocker; STATE_FORBIDS too while earlier bytes can still be signed.
    """
    await lock_fund(conn, fund_id)
    payment = await load(conn, fund_id, payment_id)
    if State(payment.state) is not State.UNKNOWN:
        name, message = payment_name(payment), f"a payment that is {payment.state} is not lost"
        raise precondition(Reason.STATE_FORBIDS, name, message, state=payment.state)
    subject = await load_subject(conn, payment)
    _require_none_open(payment, subject, preparing.now)
    evidence = await load_evidence(conn, payment, banks)
    require_evidence(payment, evidence, preparing.now)
    payload = _payload(payment, subject, evidence, preparing)
    await conn.execute(
        t.resends.insert().values(
            fund_id=fund_id,
            payment_id=payment_id,
            attempt=subject.attempt + 1,
            payload=payload,
            actor=preparing.actor,
            created_at=preparing.now,
            expires_at=preparing.now.replace(microsecond=0) + preparing.ttl,
        )
    )
    detail = f"may be signed to be sent again, attempt {subject.attempt + 1}"
    await note(conn, payment, preparing.actor, preparing.now, detail)


def _require_none_open(payment: Row, subject: Subject, now: datetime) -> None:
    if subject.attempt > 1 and not subject.released and now <= subject.facts.expires:
        raise precondition(
            Reason.STATE_FORBIDS, payment_name(payment), "it can be signed already", state="open"
        )


def require_evidence(payment: Row, evidence: Evidence, now: datetime) -> None:
    """Passes if it is shown that the bank never had the payment.

    Raises:
        GatewayError: RESEND_TOO_EARLY with every blocker while it is not.
    """
    against = blockers(evidence, now)
    if against:
        raise precondition(
            Reason.RESEND_TOO_EARLY,
            payment_name(payment),
            f"the bank may still have it: {', '.join(against)};"
            f" missed on {len(evidence.missed_on)} of {evidence.misses_needed} days",
            blockers=",".join(against),
            missed_count=str(len(evidence.missed_on)),
            misses_needed=str(evidence.misses_needed),
        )


@dataclass(frozen=True, slots=True)
class Again:
    """A payment that goes once more, under its own reference; its line and its money stay.

    Attributes:
        file: what will carry it.
        attempt: on the strength of which signatures.
    """

    file: Queued
    attempt: int


async def record_again(conn: AsyncConnection, again: Again, now: datetime) -> None:
    """Closes the attempt of a payment that was found to go once more; the fund must be locked."""
    table, payment = t.resends, again.file.payments[0]
    await conn.execute(
        table.update()
        .where(
            table.c.fund_id == payment.fund_id,
            table.c.payment_id == payment.payment_id,
            table.c.attempt == again.attempt,
        )
        .values(released_at=now)
    )


async def load_evidence(conn: AsyncConnection, payment: Row, banks: Banks) -> Evidence:
    """What speaks for the bank never having had the payment."""
    account = await transmissions.account_of(conn, payment)
    profile = banks.profile(account.profile_id)
    lost = await transmissions.load(conn, payment.transmission_id)
    day = lost.execution_date
    closed = closed_at(payment.amount_minor, day, profile.calendar, profile.windows)
    statements = await _statements_since(conn, lost)
    clean = [each for each in statements if each.clean]
    asked = await _missed_at(conn, lost, payment, closed)
    return Evidence(
        closed_at=closed,
        execution_date=day,
        missed_on=frozenset(
            {local(moment, profile.calendar).date() for moment in asked}
            | {each.end_date for each in clean}
        ),
        misses_needed=profile.misses_needed,
        stated_until=max((each.end_date for each in statements), default=None),
        unclean_statements=len(statements) - len(clean),
        unexplained_debits=await _unexplained(conn, lost, payment),
    )


@dataclass(frozen=True, slots=True)
class _Stated:
    """A statement that reaches the payment's day, and whether it surely shows all that happened."""

    end_date: date
    clean: bool


async def _statements_since(conn: AsyncConnection, lost: Row) -> Sequence[_Stated]:
    """Statements of whole days that would show the payment's debit."""
    table = t.statements
    order = (table.c.end_date, table.c.created_at, table.c.statement_key)
    of_account = (table.c.fund_id == lost.fund_id) & (table.c.account_id == lost.account_id)
    reaching = table.c.end_date >= lost.execution_date
    since = (
        await conn.execute(sa.select(table).where(of_account, reaching).order_by(*order))
    ).all()
    earlier = sa.select(table.c.closing_minor).where(of_account, ~reaching)
    before = await conn.scalar(earlier.order_by(*(each.desc() for each in order)).limit(1))
    stated = []
    for row in since:
        continues = before in (None, row.opening_minor)
        before = row.closing_minor
        codes = {finding.partition(":")[0] for finding in row.findings}
        if _INTERIM not in codes:
            stated.append(_Stated(row.end_date, continues and codes <= _HARMLESS))
    return stated


async def _missed_at(
    conn: AsyncConnection, lost: Row, payment: Row, closed: datetime
) -> Sequence[datetime]:
    """When, after its day was closed, the bank was asked and did not know the payment."""
    table = t.inquiries
    query = sa.select(table.c.asked_at).where(
        table.c.fund_id == lost.fund_id,
        table.c.transmission_id == lost.transmission_id,
        table.c.asked_at > closed,
        sa.literal(payment.payment_id) == sa.any_(table.c.missing),
    )
    return (await conn.execute(query)).scalars().all()


async def _unexplained(conn: AsyncConnection, lost: Row, payment: Row) -> int:
    """Debits since that may be the payment.

    Those that nothing matches, of its amount or of its whole file's, or that name it or, as one
    lump, its batch; and one that a run took for the payment itself, by amount and days.
    """
    table, lines = t.bank_entries, t.disclosed_lines
    own_match = (
        sa.select(lines.c.match_id)
        .where(lines.c.fund_id == lost.fund_id, lines.c.line_number == payment.line_number)
        .scalar_subquery()
    )
    may_be = sa.or_(
        table.c.amount_minor.in_((-payment.amount_minor, -lost.amount_minor)),
        table.c.end_to_end_id == payment.payment_id,
        (table.c.batch_id == lost.batch_id) & (table.c.end_to_end_id == ""),
    )
    query = sa.select(sa.func.count()).where(
        table.c.fund_id == lost.fund_id,
        table.c.account_id == lost.account_id,
        table.c.booking_date >= lost.execution_date,
        table.c.amount_minor < 0,
        sa.or_(
            (table.c.match_id == "") & may_be,
            (table.c.match_id != "") & (table.c.match_id == own_match),
        ),
    )
    return int(await conn.scalar(query) or 0)


def _payload(payment: Row, subject: Subject, evidence: Evidence, preparing: Preparing) -> bytes:
    """The payment's own bytes once more, with why, and with a time and a nonce of their own."""
    start = preparing.now.replace(microsecond=0)
    missed_on = tuple(day.isoformat() for day in sorted(evidence.missed_on)[-_DAYS_SHOWN:])
    again = Resend(
        attempt=str(subject.attempt + 1),
        payment_sha256=sha256(payment.payload).hexdigest(),
        transmission=f"transmissions/{payment.transmission_id}",
        missed_on=missed_on,
        stated_until=str(evidence.stated_until),
    )
    changed = {
        "nonce": new_nonce(),
        "not_before": stamp(start),
        "expires": stamp(start + preparing.ttl),
        "resend": again,
    }
    return canonical_bytes(parse_payload(payment.payload).model_copy(update=changed))
