"""A bank's file, from bytes to payments and ledger: all of it in one transaction, or none of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from adapters.model import (
    Entry,
    Outcome,
    Parsed,
    ParseError,
    Severity,
    Statement,
    Status,
    StatusReport,
)
from adapters.read import is_status, parse, parse_status
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.money import LIMIT_MINOR
from gateway.domain.payment import Event, State
from gateway.ledger.writer import BankMovement, book_bank_entries, lock_fund
from gateway.payments.outbox import payments_of
from gateway.payments.outcome import apply as apply_outcome
from gateway.payments.record import BANK, Change, load
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

ANSWERED: Final = "ANSWERED"
"""State of a transmission whose payments the bank has all spoken of."""

_EVENTS: Final = {
    Outcome.ACCEPTED: Event.ACCEPT,
    Outcome.SETTLED: Event.SETTLE,
    Outcome.REJECTED: Event.REJECT,
}
"""News that changes a payment; what is only received or unknown changes nothing."""

_ALREADY_THERE: Final = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05"})
"""Reason codes (ISO 20022, ExternalStatusReason1Code) of a refusal as a duplicate.

The bank has the payment from before: this says nothing of how that one ends.
"""

_LOCK: Final = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:digest, 0))")
"""One import of the same bytes at a time, so that the second one finds the first."""

_INCONSISTENT: Final = frozenset({"statement_inconsistent", "balance_missing", "entry_lost"})


@dataclass(frozen=True, slots=True)
class BankFile:
    """A file as received."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file changed.

    Attributes:
        statements: fund and key of each statement, in the order of the file.
        payments_changed: how many payments changed their state.
        already: the same bytes had been taken in before; nothing was done.
    """

    statements: tuple[tuple[str, str], ...] = ()
    payments_changed: int = 0
    already: bool = False


@dataclass(frozen=True, slots=True)
class _Placed:
    """A statement and the account of ours that it is about."""

    statement: Statement
    account: Row
    start: date
    end: date


def read(file: BankFile) -> Parsed | StatusReport:
    """What the file says.

    Raises:
        GatewayError: FILE_UNREADABLE with line or byte; STATEMENT_INCONSISTENT.
    """
    try:
        content = parse_status(file.content) if is_status(file.content) else parse(file.content)
    except ParseError as error:
        message = f"{error.code} at {error.location}: {error.message}"
        raise _refuse(Reason.FILE_UNREADABLE, message) from None
    if isinstance(content, Parsed):
        _require_usable(content)
    return content


async def take_in(
    conn: AsyncConnection, file: BankFile, content: Parsed | StatusReport, now: datetime
) -> Imported:
    """Books what a file says; the transaction must be the gateway's own.

    Raises:
        GatewayError: FILE_DUPLICATE, ACCOUNT_UNKNOWN, FILE_UNREADABLE; nothing is kept then.
    """
    await conn.execute(_LOCK, {"digest": file.digest})
    known = sa.select(t.bank_files.c.sha256).where(t.bank_files.c.sha256 == file.digest)
    if await conn.scalar(known):
        return Imported(already=True)
    if isinstance(content, StatusReport):
        imported = await _take_report(conn, content, now)
        kind, message_id = "pain.002", f"pain.002/{content.message_id}"
    else:
        imported = await _take_statements(conn, file, content, now)
        kind, message_id = content.format, None
    await _record(conn, file, {"format": kind, "message_id": message_id}, imported, now)
    return imported


def _refuse(reason: Reason, message: str) -> GatewayError:
    return GatewayError(Kind.PRECONDITION, reason, message, {"detail": message})


def _require_usable(parsed: Parsed) -> None:
    if not parsed.statements:
        raise _refuse(Reason.FILE_UNREADABLE, "the file holds no statement")
    for finding in parsed.findings:
        message = f"{finding.code} at {finding.location}: {finding.message}"
        if finding.code in _INCONSISTENT:
            raise _refuse(Reason.STATEMENT_INCONSISTENT, message)
        if finding.severity is Severity.ERROR:
            raise _refuse(Reason.FILE_UNREADABLE, message)
    if any(abs(amount_minor) > LIMIT_MINOR for amount_minor in _amounts(parsed)):
        raise _refuse(Reason.FILE_UNREADABLE, f"an amount is beyond {LIMIT_MINOR} minor units")


def _amounts(parsed: Parsed) -> Iterator[int]:
    for statement in parsed.statements:
        balances = (statement.opening, statement.closing)
        yield from (balance.amount_minor for balance in balances if balance)
        yield from (entry.amount_minor for entry in statement.entries)


async def _record(
    conn: AsyncConnection,
    file: BankFile,
    kind: dict[str, str | None],
    imported: Imported,
    now: datetime,
) -> None:
    if kind["message_id"] is not None:
        used = sa.select(t.bank_files.c.sha256).where(
            t.bank_files.c.message_id == kind["message_id"]
        )
        if await conn.scalar(used):
            raise _refuse(Reason.FILE_DUPLICATE, "its message id was used with other content")
    await conn.execute(
        t.bank_files.insert().values(
            sha256=file.digest,
            file_name=file.name,
            payments_changed=imported.payments_changed,
            created_at=now,
            **kind,
        )
    )


# --- status reports ---------------------------------------------------------------------------


async def _take_report(conn: AsyncConnection, report: StatusReport, now: datetime) -> Imported:
    sent = t.transmissions
    query = sa.select(sent).where(sent.c.transmission_id == report.original_message_id)
    transmission = (await conn.execute(query)).one_or_none()
    if transmission is None:
        raise _refuse(Reason.FILE_UNREADABLE, "it answers a file that was never sent")
    await lock_fund(conn, transmission.fund_id)
    changed = 0
    unanswered = False
    for payment in await payments_of(conn, transmission.fund_id, transmission.transmission_id):
        status = _status_for(payment, report)
        event = _event(status)
        unanswered = unanswered or event is None
        if status and event:
            code = " ".join(filter(None, (status.code, status.reason_code)))
            changed += await apply_outcome(conn, payment, Change(event, BANK, now, code))
    if not unanswered:
        await _answered(conn, transmission)
    return Imported(payments_changed=changed)


def _status_for(payment: Row, report: StatusReport) -> Status | None:
    """What the report says of a payment: by its own id, else of its batch, else of the file.

    A payment that a partly accepted file does not list is one of which nothing is known.
    """
    batch_id = payment.batch_id or payment.payment_id
    for end_to_end_id, batch in ((payment.payment_id, None), ("", batch_id), ("", "")):
        for status in report.statuses:
            if status.end_to_end_id == end_to_end_id and batch in (None, status.batch_id):
                return status
    return None


def _event(status: Status | None) -> Event | None:
    if status is None or status.reason_code in _ALREADY_THERE:
        return None
    return _EVENTS.get(status.outcome)


async def _answered(conn: AsyncConnection, transmission: Row) -> None:
    await conn.execute(
        t.transmissions.update()
        .where(
            t.transmissions.c.fund_id == transmission.fund_id,
            t.transmissions.c.transmission_id == transmission.transmission_id,
        )
        .values(state=ANSWERED, answer_due_at=None)
    )


# --- statements -------------------------------------------------------------------------------


async def _take_statements(
    conn: AsyncConnection, file: BankFile, parsed: Parsed, now: datetime
) -> Imported:
    placed = [await _place(conn, statement) for statement in parsed.statements]
    # Locked in one order, so that two imports never wait for each other.
    for fund_id in sorted({each.account.fund_id for each in placed}):
        await lock_fund(conn, fund_id)
    findings = tuple(f"{each.code}: {each.message}" for each in parsed.findings)
    names, changed = [], 0
    for position, each in enumerate(placed):
        gap = await _require_new(conn, each)
        key = _key(file, each, position)
        await _insert_statement(conn, file, each, key, (*findings, *gap), now)
        await _insert_entries(conn, each, key, now)
        changed += await _settle(conn, each, now)
        names.append((each.account.fund_id, key))
    return Imported(tuple(names), changed)


async def _place(conn: AsyncConnection, statement: Statement) -> _Placed:
    accounts = t.bank_accounts
    query = (
        sa.select(accounts, t.funds.c.currency)
        .join(t.funds)
        .where(accounts.c.account_number == statement.account)
    )
    account = (await conn.execute(query)).one_or_none()
    if account is None:
        tail = statement.account[-4:]
        raise _refuse(Reason.ACCOUNT_UNKNOWN, f"no fund has the account ending in {tail}")
    if statement.currency != account.currency:
        raise _refuse(Reason.CURRENCY_MISMATCH, f"the account is not in {statement.currency}")
    if statement.opening is None or statement.closing is None:
        raise _refuse(Reason.STATEMENT_INCONSISTENT, "balance_missing: no opening or no closing")
    start = min((entry.booking_date for entry in statement.entries), default=statement.closing.date)
    return _Placed(statement, account, min(start, statement.closing.date), statement.closing.date)


async def _require_new(conn: AsyncConnection, placed: _Placed) -> tuple[str, ...]:
    """Refuses days that another statement covers; returns what is odd about the place of this one.

    A further statement of the same day is one that continues the last, with entries of its own.
    """
    opening, _ = _balances(placed.statement)
    last = await _last_statement(conn, placed, placed.end)
    expected = last.closing_minor if last else placed.account.opening_minor
    if await _is_covered(conn, placed):
        if expected != opening or await _repeats_entries(conn, placed):
            days = f"{placed.start} to {placed.end}"
            raise _refuse(Reason.FILE_DUPLICATE, f"another statement covers days of {days}")
        return ()
    if expected == opening:
        return ()
    return (f"discontinuous: it opens {opening - expected} minor units off the closing before",)


def _same_account(table: sa.Table, placed: _Placed) -> sa.ColumnElement[bool]:
    account = placed.account
    return sa.and_(table.c.fund_id == account.fund_id, table.c.account_id == account.account_id)


async def _last_statement(conn: AsyncConnection, placed: _Placed, until: date) -> Row | None:
    """The last statement of the account that ends by this day; a key is later in its file."""
    statements = t.statements
    query = (
        sa.select(statements.c.closing_minor)
        .where(_same_account(statements, placed), statements.c.end_date <= until)
        .order_by(
            statements.c.end_date.desc(),
            statements.c.created_at.desc(),
            statements.c.statement_key.desc(),
        )
        .limit(1)
    )
    return (await conn.execute(query)).one_or_none()


async def _is_covered(conn: AsyncConnection, placed: _Placed) -> bool:
    statements = t.statements
    overlapping = sa.exists().where(
        _same_account(statements, placed),
        statements.c.start_date <= placed.end,
        statements.c.end_date >= placed.start,
    )
    return bool(await conn.scalar(sa.select(overlapping)))


async def _repeats_entries(conn: AsyncConnection, placed: _Placed) -> bool:
    """Whether all its entries are there already: a day that adds up to zero continues itself.

    Not one or some: a bank without serials may book equal rows for good reason.
    """
    entries = t.bank_entries
    ids = sorted({entry.entry_id for entry in placed.statement.entries})
    known = sa.select(sa.func.count(entries.c.entry_id.distinct())).where(
        _same_account(entries, placed),
        entries.c.booking_date.between(placed.start, placed.end),
        entries.c.entry_id == sa.any_(sa.literal(ids, pg.ARRAY(sa.Text))),
    )
    return bool(ids) and await conn.scalar(known) == len(ids)


def _balances(statement: Statement) -> tuple[int, int]:
    if statement.opening is None or statement.closing is None:
        raise AssertionError("placed only with both balances")
    return statement.opening.amount_minor, statement.closing.amount_minor


def _key(file: BankFile, placed: _Placed, position: int) -> str:
    """Of a statement: the same for the same bytes, rising with its place in the file."""
    identity = f"{placed.statement.account}|{file.digest}"
    return f"{sha256(identity.encode()).hexdigest()[:26]}{position:06x}"


async def _insert_statement(
    conn: AsyncConnection,
    file: BankFile,
    placed: _Placed,
    key: str,
    findings: Sequence[str],
    now: datetime,
) -> None:
    statement, account = placed.statement, placed.account
    opening, closing = _balances(statement)
    await conn.execute(
        t.statements.insert().values(
            fund_id=account.fund_id,
            statement_key=key,
            account_id=account.account_id,
            bank_statement_id=statement.statement_id,
            start_date=placed.start,
            end_date=placed.end,
            opening_minor=opening,
            closing_minor=closing,
            entry_count=len(statement.entries),
            file_sha256=file.digest,
            created_at=now,
            findings=list(findings),
        )
    )


async def _insert_entries(conn: AsyncConnection, placed: _Placed, key: str, now: datetime) -> None:
    entries = placed.statement.entries
    if not entries:
        return
    rows = [
        _entry_row(placed.account, key, number, entry) for number, entry in enumerate(entries, 1)
    ]
    await conn.execute(t.bank_entries.insert(), rows)
    movements = [
        BankMovement(row["bank_entry_id"], row["amount_minor"], row["booking_date"]) for row in rows
    ]
    await book_bank_entries(conn, placed.account.fund_id, placed.account.account_id, movements, now)


def _entry_row(account: Row, key: str, number: int, entry: Entry) -> dict[str, Any]:
    return {
        "fund_id": account.fund_id,
        "bank_entry_id": f"{key}-{number:06d}",
        "account_id": account.account_id,
        "statement_key": key,
        "entry_id": entry.entry_id,
        "booking_date": entry.booking_date,
        "value_date": entry.value_date,
        "amount_minor": entry.amount_minor,
        "currency": entry.currency,
        "reference": entry.reference,
        "end_to_end_id": entry.end_to_end_id,
        "batch_id": entry.batch_id,
        "counterparty_name": entry.counterparty_name,
        "counterparty_account": entry.counterparty_account,
        "text": entry.text,
        "reversal": entry.reversal,
        "return_reason": entry.return_reason,
    }


async def _settle(conn: AsyncConnection, placed: _Placed, now: datetime) -> int:
    """Tells payments what the statement says of them; returns how many changed."""
    changed = 0
    for entry in placed.statement.entries:
        if entry.end_to_end_id:
            changed += await _settle_one(conn, placed, entry, now)
        elif entry.batch_id:
            changed += await _settle_batch(conn, placed, entry, now)
    return changed


async def _settle_one(conn: AsyncConnection, placed: _Placed, entry: Entry, now: datetime) -> bool:
    """A debit of exactly the amount settles the payment, a credit of it returns it (退票)."""
    try:
        payment = await load(conn, placed.account.fund_id, entry.end_to_end_id)
    except GatewayError:
        return False  # the sender's own reference on a receipt
    if abs(entry.amount_minor) != payment.amount_minor:
        return False  # reconciliation names it: amount_differs
    event = Event.SETTLE if entry.amount_minor < 0 else Event.RETURN
    change = Change(event, BANK, now, entry.return_reason or "statement")
    return await apply_outcome(conn, payment, change, entry.booking_date)


async def _settle_batch(conn: AsyncConnection, placed: _Placed, entry: Entry, now: datetime) -> int:
    """One debit for a whole batch: it settles the payments if their sum is exactly the entry."""
    payments = await _batch_at_bank(conn, placed.account.fund_id, entry.batch_id)
    if sum(payment.amount_minor for payment in payments) != -entry.amount_minor:
        return 0
    change = Change(Event.SETTLE, BANK, now, "statement, one debit for the batch")
    return sum([await apply_outcome(conn, payment, change) for payment in payments])


async def _batch_at_bank(conn: AsyncConnection, fund_id: str, batch_id: str) -> Iterable[Row]:
    sent = t.transmissions
    query = sa.select(sent.c.transmission_id).where(
        sent.c.fund_id == fund_id, sent.c.batch_id == batch_id
    )
    by_state: dict[State, list[Row]] = defaultdict(list)
    for transmission_id in (await conn.execute(query)).scalars():
        for payment in await payments_of(conn, fund_id, transmission_id):
            by_state[State(payment.state)].append(payment)
    by_state.pop(State.REJECTED, None)
    return [payment for payments in by_state.values() for payment in payments]
