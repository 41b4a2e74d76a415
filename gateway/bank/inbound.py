"""A bank's file, from bytes to payments and ledger: all of it in one transaction, or none of it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

import sqlalchemy as sa

from adapters.model import Parsed, ParseError, Severity, StatusReport
from adapters.read import is_status, parse, parse_status
from gateway.bank.refusal import refuse
from gateway.bank.reply import Reply, answered, reply_in
from gateway.bank.statements import take_statements
from gateway.domain.errors import Reason
from gateway.domain.money import LIMIT_MINOR
from gateway.ledger.writer import lock_fund
from gateway.payments.answers import apply_report
from gateway.payments.transmissions import account_of, find
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks

Said: TypeAlias = Parsed | StatusReport | Reply
"""Statements, an ISO answer, or an answer in the bank's own format."""

_LOCK: Final = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:digest, 0))")
"""One import of the same bytes at a time, so that the second one finds the first."""

_INCONSISTENT: Final = frozenset({"statement_inconsistent", "balance_missing", "entry_lost"})


@dataclass(frozen=True, slots=True)
class BankFile:
    """A file as received.

    Attributes:
        name: what the bank or the operator called it.
        content: its bytes.
        account_number: the account that a table is of, where the table omits or masks it; else
            empty.
        profile_id: of the bank that it comes from, where that is known; else empty.
    """

    name: str
    content: bytes
    account_number: str = ""
    profile_id: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file changed.

    Attributes:
        statements: fund and key of each statement that brought something new, in the order of
            their days; one that fills several gaps is kept as several.
        payments_changed: how many payments changed their state.
        already: all that it says had been taken in before, in the same bytes or in others; nothing
            was booked.
    """

    statements: tuple[tuple[str, str], ...] = ()
    payments_changed: int = 0
    already: bool = False


def read(file: BankFile, banks: Banks) -> Said:
    """What the file says.

    Raises:
        GatewayError: FILE_UNREADABLE with line or byte; STATEMENT_INCONSISTENT.
    """
    try:
        content = _content(file, banks)
    except ParseError as error:
        message = f"{error.code} at {error.location}: {error.message}"
        raise refuse(Reason.FILE_UNREADABLE, message) from None
    if isinstance(content, Parsed):
        _require_usable(content)
    return content


async def take_in(
    conn: AsyncConnection,
    file: BankFile,
    content: Said,
    banks: Banks,
    now: datetime,
) -> Imported:
    """Books what a file says; the transaction must be the gateway's own.

    Raises:
        GatewayError: FILE_DUPLICATE, ACCOUNT_UNKNOWN, CURRENCY_MISMATCH, STATEMENT_INCONSISTENT,
            FILE_UNREADABLE; nothing is kept then.
    """
    await conn.execute(_LOCK, {"digest": file.digest})
    known = sa.select(t.bank_files.c.sha256).where(t.bank_files.c.sha256 == file.digest)
    if await conn.scalar(known):
        return Imported(already=True)
    if isinstance(content, StatusReport):
        changed = await _take_report(conn, content, banks, now)
        imported = Imported(payments_changed=changed)
        kind, message_id = "pain.002", f"pain.002/{content.message_id}"
    elif isinstance(content, Reply):
        report = await answered(conn, content, now)
        imported = Imported(payments_changed=await _take_report(conn, report, banks, now))
        kind, message_id = content.format, None
    else:
        taken = await take_statements(conn, file.digest, content, banks, now)
        imported = Imported(taken.names, taken.payments_changed, already=not taken.names)
        kind, message_id = content.format, None
    await _record(conn, file, {"format": kind, "message_id": message_id}, imported, now)
    return imported


def _content(file: BankFile, banks: Banks) -> Said:
    reply = reply_in(file.content, file.profile_id, banks)
    if reply is not None:
        return reply
    if is_status(file.content):
        return parse_status(file.content)
    return parse(file.content, account=file.account_number)


def _require_usable(parsed: Parsed) -> None:
    if not parsed.statements:
        raise refuse(Reason.FILE_UNREADABLE, "the file holds no statement")
    for finding in parsed.findings:
        message = f"{finding.code} at {finding.location}: {finding.message}"
        if finding.code in _INCONSISTENT:
            raise refuse(Reason.STATEMENT_INCONSISTENT, message)
        if finding.severity is Severity.ERROR:
            raise refuse(Reason.FILE_UNREADABLE, message)
    if any(abs(amount_minor) > LIMIT_MINOR for amount_minor in _amounts(parsed)):
        raise refuse(Reason.FILE_UNREADABLE, f"an amount is beyond {LIMIT_MINOR} minor units")


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
            raise refuse(Reason.FILE_DUPLICATE, "its message id was used with other content")
    await conn.execute(
        t.bank_files.insert().values(
            sha256=file.digest,
            file_name=file.name,
            payments_changed=imported.payments_changed,
            created_at=now,
            **kind,
        )
    )


async def _take_report(
    conn: AsyncConnection, report: StatusReport, banks: Banks, now: datetime
) -> int:
    """Applies an answer of a bank; returns how many payments changed."""
    transmission = await find(conn, report.original_message_id)
    if transmission is None:
        raise refuse(Reason.FILE_UNREADABLE, "it answers a file that was never sent")
    await lock_fund(conn, transmission.fund_id)
    profile = banks.profile((await account_of(conn, transmission)).profile_id)
    return await apply_report(conn, transmission, report, profile, now)
