"""Statements of a file, held against what is known of their accounts: each entry booked once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
import structlog

from adapters.fit import first_day, fit, last_day, since
from adapters.model import Balance, Entry, Severity, Statement
from gateway.bank.refusal import refuse
from gateway.bank.settle import Booked, settle
from gateway.domain.errors import Reason
from gateway.ledger.writer import BankMovement, book_bank_entries, lock_fund
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.fit import Fitted
    from adapters.model import Parsed
    from adapters.reach import Banks
    from gateway.store import Row

log = structlog.get_logger(__name__)

_INTRADAY: Final = frozenset({"camt.052"})
"""Formats of reports on a day that is not over; the day's statement completes what they say."""

_ORDER = (t.statements.c.end_date, t.statements.c.created_at, t.statements.c.statement_key)
"""How statements of an account follow one another, in the night's proof too."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What the statements of a file brought.

    Attributes:
        names: fund and key of each statement kept; none if all was known already.
        payments_changed: how many payments changed their state.
    """

    names: tuple[tuple[str, str], ...]
    payments_changed: int


@dataclass(frozen=True, slots=True)
class _Placed:
    """A statement and the account of ours that it is about."""

    statement: Statement
    account: Row


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a statement comes from, and when: the same for every statement of a file."""

    digest: str
    findings: tuple[str, ...]
    now: datetime


async def take_statements(
    conn: AsyncConnection, digest: str, parsed: Parsed, banks: Banks, now: datetime
) -> Taken:
    """Books what is new in the statements of a file; the transaction must be the gateway's own.

    Args:
        conn: the transaction.
        digest: SHA-256 of the file.
        parsed: what the file says; each statement's entries lead from one balance to the other.
        banks: the banks' profiles.
        now: UTC.

    Raises:
        GatewayError: ACCOUNT_UNKNOWN, CURRENCY_MISMATCH; STATEMENT_INCONSISTENT where a statement
            lacks a balance or contradicts what is known; FILE_DUPLICATE where it may continue what
            is known or repeat it, and nothing tells which.
    """
    placed = [await _place(conn, statement) for statement in parsed.statements]
    # Locked in one order, so that two imports never wait for each other.
    for fund_id in sorted({each.account.fund_id for each in placed}):
        await lock_fund(conn, fund_id)
    told = tuple(f"{each.code}: {each.message}" for each in parsed.findings)
    if parsed.format in _INTRADAY:
        told = (*told, "statement_interim: a report made during the day")
    origin = _Origin(digest, told, now)
    names: list[tuple[str, str]] = []
    changed = 0
    # Sorting keeps the order of the pages of a day.
    for each in sorted(placed, key=lambda one: last_day(one.statement)):
        for part, findings in await _new_parts(conn, each):
            key = _key(origin, each, len(names))
            booked = await _book(conn, _Placed(part, each.account), key, findings, origin)
            changed += await settle(conn, each.account, booked, banks, now)
            names.append((each.account.fund_id, key))
    return Taken(tuple(names), changed)


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
        raise refuse(Reason.ACCOUNT_UNKNOWN, f"no fund has the account ending in {tail}")
    if statement.currency != account.currency:
        raise refuse(Reason.CURRENCY_MISMATCH, f"the account is not in {statement.currency}")
    if statement.opening is None or statement.closing is None:
        raise refuse(Reason.STATEMENT_INCONSISTENT, "balance_missing: no opening or no closing")
    return _Placed(statement, account)


# --- continuity -------------------------------------------------------------------------------


async def _new_parts(
    conn: AsyncConnection, placed: _Placed
) -> Sequence[tuple[Statement, tuple[str, ...]]]:
    """What a statement adds, each part with what is odd about it."""
    account, statement = placed.account, placed.statement
    if last_day(statement) < account.opening_date:
        _log_repeated(account, "it ends before the account was taken over")
        return ()
    before = await _before(conn, account, first_day(statement))
    if before is None:
        statement = since(statement, account.opening_date, account.opening_minor)
        held = Balance(account.opening_date, account.opening_minor)
        before = Statement("", statement.account, statement.currency, held, held, ())
    fitted = fit(statement, [before, *await _around(conn, account, statement)])
    _require_agreement(fitted)
    findings = tuple(f"{each.code}: {each.message}" for each in fitted.findings)
    if not fitted.parts:
        _log_repeated(account, "; ".join(findings))
    return [(part, findings) for part in fitted.parts]


def _log_repeated(account: Row, why: str) -> None:
    name = f"funds/{account.fund_id}/bankAccounts/{account.account_id}"
    log.info("statement_repeated", account=name, why=why)


def _require_agreement(fitted: Fitted) -> None:
    wrong = [each for each in fitted.findings if each.severity is Severity.ERROR]
    if not wrong:
        return
    unclear = all(each.code == "overlap_ambiguous" for each in wrong)
    reason = Reason.FILE_DUPLICATE if unclear else Reason.STATEMENT_INCONSISTENT
    raise refuse(reason, "; ".join(f"{each.code}: {each.message}" for each in wrong))


def _of_account(table: sa.Table, account: Row) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.fund_id == account.fund_id, table.c.account_id == account.account_id)


async def _before(conn: AsyncConnection, account: Row, day: date) -> Statement | None:
    """The last statement that ends before a day, without its entries."""
    query = (
        sa.select(t.statements)
        .where(_of_account(t.statements, account), t.statements.c.end_date < day)
        .order_by(*(column.desc() for column in _ORDER))
        .limit(1)
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _known(account, row, ())


async def _around(conn: AsyncConnection, account: Row, statement: Statement) -> Sequence[Statement]:
    """The statements that share days with this one, and the first one after it."""
    table = t.statements
    first, last = first_day(statement), last_day(statement)
    own = sa.select(table).where(_of_account(table, account)).order_by(*_ORDER)
    sharing = own.where(table.c.end_date >= first, table.c.start_date <= last)
    rows = (await conn.execute(sharing)).all()
    entries = await _entries(conn, account, rows, last)
    after = (await conn.execute(own.where(table.c.start_date > last).limit(1))).all()
    return [
        *(_known(account, row, entries[row.statement_key]) for row in rows),
        *(_known(account, row, ()) for row in after),
    ]


async def _entries(
    conn: AsyncConnection, account: Row, statements: Sequence[Row], last: date
) -> Mapping[str, list[Entry]]:
    """What these statements brought up to a day, by statement, in the bank's order."""
    table = t.bank_entries
    found: dict[str, list[Entry]] = defaultdict(list)
    if not statements:
        return found
    first = min(row.start_date for row in statements)
    query = (
        sa.select(table)
        .where(_of_account(table, account), table.c.booking_date.between(first, last))
        .order_by(table.c.bank_entry_id)
    )
    for row in await conn.execute(query):
        day = row.booking_date
        entry = Entry(row.entry_id, day, row.value_date or day, row.amount_minor, row.currency)
        found[row.statement_key].append(entry)
    return found


def _known(account: Row, row: Row, entries: Iterable[Entry]) -> Statement:
    return Statement(
        statement_id="",
        account=account.account_number,
        currency=account.currency,
        opening=Balance(row.start_date, row.opening_minor),
        closing=Balance(row.end_date, row.closing_minor),
        entries=tuple(entries),
    )


# --- booking ----------------------------------------------------------------------------------


def _key(origin: _Origin, placed: _Placed, position: int) -> str:
    """Of a statement: the same for the same bytes, rising with its place in the file."""
    identity = f"{placed.statement.account}|{origin.digest}"
    return f"{sha256(identity.encode()).hexdigest()[:26]}{position:06x}"


async def _book(
    conn: AsyncConnection,
    placed: _Placed,
    key: str,
    findings: Sequence[str],
    origin: _Origin,
) -> Sequence[Booked]:
    """Keeps a statement and books its entries."""
    await _insert_statement(conn, placed, key, findings, origin)
    entries, account = placed.statement.entries, placed.account
    if not entries:
        return ()
    rows = [_entry_row(account, key, number, entry) for number, entry in enumerate(entries, 1)]
    await conn.execute(t.bank_entries.insert(), rows)
    movements = [
        BankMovement(row["bank_entry_id"], row["amount_minor"], row["booking_date"]) for row in rows
    ]
    await book_bank_entries(conn, account.fund_id, account.account_id, movements, origin.now)
    return [Booked(row["bank_entry_id"], each) for row, each in zip(rows, entries, strict=True)]


async def _insert_statement(
    conn: AsyncConnection,
    placed: _Placed,
    key: str,
    findings: Sequence[str],
    origin: _Origin,
) -> None:
    statement, account = placed.statement, placed.account
    if statement.opening is None or statement.closing is None:
        raise AssertionError("placed only with both balances")
    await conn.execute(
        t.statements.insert().values(
            fund_id=account.fund_id,
            statement_key=key,
            account_id=account.account_id,
            bank_statement_id=statement.statement_id,
            start_date=statement.opening.date,
            end_date=statement.closing.date,
            opening_minor=statement.opening.amount_minor,
            closing_minor=statement.closing.amount_minor,
            entry_count=len(statement.entries),
            file_sha256=origin.digest,
            created_at=origin.now,
            findings=[*origin.findings, *findings],
        )
    )


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
