"""The only writer of lines, entries and postings. Debit is positive, credit negative."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sqlalchemy as sa

from gateway.domain.errors import GatewayError, Kind, Reason, not_found, precondition
from gateway.domain.free_text import mask_text
from gateway.ledger.settling import close_void, mark_matched, pending_column, settle_lines
from gateway.store import bulk
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

OPENING_CATEGORY: Final = "期初余额"
"""Category of the line that takes over what the account held before the gateway."""

_SETTLED_WITHOUT_BANK: Final = "opening"


@dataclass(frozen=True, slots=True)
class LineDraft:
    """A line about to be disclosed.

    Attributes:
        account_id: the fund's bank account through which the money moves.
        book: ``COMMON`` or ``MAINTENANCE``.
        category: under which the owners read it.
        summary: what for; written without numbers by which a person is found, see `mask_text`.
        amount_minor: minor units; receipts above zero, payments below, never zero.
        effective_date: the day it counts for.
        payment_id: the payment it comes from, empty for others.
        batch_id: the batch of that payment.
        reference: what the bank's entry will carry, where known.
        counterparty_name: the other side; masked when shown.
        counterparty_account: its account; masked when shown.
        vouchers: SHA-256 of each voucher.
        signatures: who asked and who signed: ``party_name``, ``role``, ``created_at``; no persons.
        corrects: number of the line that this one takes back (红字).
        correction_reason: why; as the summary.
    """

    account_id: str
    book: str
    category: str
    summary: str
    amount_minor: int
    effective_date: date
    payment_id: str = ""
    batch_id: str = ""
    reference: str = ""
    counterparty_name: str = ""
    counterparty_account: str = ""
    vouchers: tuple[str, ...] = ()
    signatures: tuple[Mapping[str, str], ...] = ()
    corrects: int | None = None
    correction_reason: str = ""


@dataclass(frozen=True, slots=True)
class PostedLine:
    """Numbers of a disclosed line and its journal entry, both gap-free within the fund."""

    line_number: int
    entry_number: int


@dataclass(frozen=True, slots=True)
class BankMovement:
    """An entry of a statement, as the ledger needs it; `amount_minor` is positive for a credit."""

    bank_entry_id: str
    amount_minor: int
    booking_date: date


@dataclass(frozen=True, slots=True)
class _Posting:
    kind: str
    amount_minor: int
    account: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A journal entry; `cause` is the column that says what it books, with its value."""

    fund_id: str
    number: int
    day: date
    cause: Mapping[str, Any]
    postings: Sequence[_Posting]


class _Counters(NamedTuple):
    """The last numbers that a fund has handed out, and the balance of its last line."""

    line_number: int
    entry_number: int
    running_minor: int

    def after(self, amount_minor: int) -> _Counters:
        """As they stand behind one more line."""
        return _Counters(
            self.line_number + 1, self.entry_number + 1, self.running_minor + amount_minor
        )


@dataclass(frozen=True, slots=True)
class _Numbered:
    fund_id: str
    draft: LineDraft
    posted: PostedLine
    running_minor: int
    salt: bytes


_ADVANCE: Final = """
    UPDATE funds f
    SET last_line_number = f.last_line_number + n.count,
        last_entry_number = f.last_entry_number + n.count,
        running_minor = f.running_minor + n.moved
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n(fund_id, count, moved)
    WHERE f.fund_id = n.fund_id
    RETURNING f.fund_id, f.last_line_number, f.last_entry_number, f.running_minor, f.alias_salt
"""
"""Hands out numbers for lines, one entry a line."""


async def lock_fund(conn: AsyncConnection, fund_id: str) -> Row:
    """Locks the fund until the transaction ends: whoever writes to a fund does this first.

    Returns:
        The row of the fund.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND if there is none in the caller's scope.
    """
    query = sa.select(t.funds).where(t.funds.c.fund_id == fund_id).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}")
    return row


async def post_line(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, now: datetime
) -> PostedLine:
    """Discloses a line and books it: BOOK against TRANSIT.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund, LINE_ALREADY_CORRECTED if another line
            took the corrected one back before.
    """
    return (await post_lines(conn, ((fund_id, draft),), now))[0]


async def post_lines(
    conn: AsyncConnection, drafts: Sequence[tuple[str, LineDraft]], now: datetime
) -> list[PostedLine]:
    """`post_line` for many lines, each with its fund, numbered within their funds in this order."""
    for fund_id, draft in drafts:
        if draft.corrects is not None:
            await _require_uncorrected(conn, fund_id, draft.corrects)
    numbered = await _number(conn, drafts)
    entries = [
        _Entry(
            each.fund_id,
            each.posted.entry_number,
            each.draft.effective_date,
            {"line_number": each.posted.line_number},
            _line_postings(each.draft),
        )
        for each in numbered
    ]
    lines = [_line_row(each, now) for each in numbered]
    await bulk.write(
        conn,
        bulk.insertion(t.disclosed_lines, lines),
        *_insertions(entries, now),
        _book_changes(drafts),
    )
    for each in numbered:
        if each.draft.corrects is not None:
            await _mark_corrected(conn, each)
    return [each.posted for each in numbered]


def _line_postings(draft: LineDraft) -> tuple[_Posting, _Posting]:
    return (
        _Posting("TRANSIT", draft.amount_minor, {"account_id": draft.account_id}),
        _Posting("BOOK", -draft.amount_minor, {"book": draft.book, "category": draft.category}),
    )


async def book_bank_entries(
    conn: AsyncConnection,
    fund_id: str,
    account_id: str,
    movements: Sequence[BankMovement],
    now: datetime,
) -> None:
    """Books entries of the bank: BANK against TRANSIT. The fund must be locked."""
    if not movements:
        return
    last = await _take_entry_numbers(conn, fund_id, len(movements))
    first = last - len(movements) + 1
    entries = []
    for number, movement in enumerate(movements, start=first):
        account = {"account_id": account_id}
        postings = (
            _Posting("BANK", movement.amount_minor, account),
            _Posting("TRANSIT", -movement.amount_minor, account),
        )
        cause = {"bank_entry_id": movement.bank_entry_id}
        entries.append(_Entry(fund_id, number, movement.booking_date, cause, postings))
    await bulk.write(conn, *_insertions(entries, now))
    total = sum(movement.amount_minor for movement in movements)
    await conn.execute(
        t.bank_accounts.update()
        .where(t.bank_accounts.c.fund_id == fund_id, t.bank_accounts.c.account_id == account_id)
        .values(bank_minor=t.bank_accounts.c.bank_minor + total)
    )


async def open_account(
    conn: AsyncConnection,
    *,
    fund_id: str,
    account_id: str,
    opening_minor: int,
    opening_date: date,
    now: datetime,
) -> None:
    """Takes over what the account holds: one settled line of the common book, and the bank's side.

    Nothing happens for an opening balance of zero.
    """
    if opening_minor == 0:
        return
    await lock_fund(conn, fund_id)
    draft = LineDraft(
        account_id, "COMMON", OPENING_CATEGORY, OPENING_CATEGORY, opening_minor, opening_date
    )
    posted = await post_line(conn, fund_id, draft, now)
    opening = BankMovement(f"opening-{account_id}", opening_minor, opening_date)
    await book_bank_entries(conn, fund_id, account_id, (opening,), now)
    await settle_lines(conn, fund_id, {posted.line_number: opening_date})
    await mark_matched(conn, fund_id, (posted.line_number,), _SETTLED_WITHOUT_BANK, opening_date)


async def void_line(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, now: datetime
) -> PostedLine:
    """Discloses the correction of a line that never reached the bank, and closes both at once.

    The bank will book neither, so nothing is left for reconciliation to wait for. Where somebody
    has matched the line, even in part, something is: then the correction stays open.
    """
    if draft.corrects is None:
        raise ValueError("a void line corrects another")
    posted = await post_line(conn, fund_id, draft, now)
    await close_void(conn, fund_id, draft.corrects, posted.line_number, draft.effective_date)
    return posted


async def _require_uncorrected(conn: AsyncConnection, fund_id: str, number: int) -> None:
    lines = t.disclosed_lines
    query = sa.select(lines.c.corrected_by).where(
        lines.c.fund_id == fund_id, lines.c.line_number == number
    )
    row = (await conn.execute(query)).one_or_none()
    name = f"funds/{fund_id}/lines/{number}"
    if row is None:
        raise not_found(name)
    if row.corrected_by is not None:
        raise precondition(
            Reason.LINE_ALREADY_CORRECTED,
            name,
            f"line {number} was corrected by line {row.corrected_by}",
            corrected_by=str(row.corrected_by),
        )


async def _number(
    conn: AsyncConnection, drafts: Sequence[tuple[str, LineDraft]]
) -> list[_Numbered]:
    """Lines with their numbers and running balances.

    The funds' counters are advanced under their rows' locks: a rollback gives the numbers back.
    """
    counts = Counter(fund_id for fund_id, _ in drafts)
    moved: Counter[str] = Counter()
    for fund_id, draft in drafts:
        moved[fund_id] += draft.amount_minor
    funds = sorted(counts)
    rows = await bulk.fetch(
        conn, _ADVANCE, funds, [counts[each] for each in funds], [moved[each] for each in funds]
    )
    before = {
        row.fund_id: _Counters(
            row.last_line_number - counts[row.fund_id],
            row.last_entry_number - counts[row.fund_id],
            row.running_minor - moved[row.fund_id],
        )
        for row in rows
    }
    salts = {row.fund_id: row.alias_salt.bytes for row in rows}
    numbered = []
    for fund_id, draft in drafts:
        if fund_id not in before:
            raise not_found(f"funds/{fund_id}")
        counters = before[fund_id] = before[fund_id].after(draft.amount_minor)
        posted = PostedLine(counters.line_number, counters.entry_number)
        numbered.append(_Numbered(fund_id, draft, posted, counters.running_minor, salts[fund_id]))
    return numbered


def _line_row(line: _Numbered, now: datetime) -> dict[str, Any]:
    draft = line.draft
    return {
        "fund_id": line.fund_id,
        "line_number": line.posted.line_number,
        "running_minor": line.running_minor,
        "disclosed_at": now,
        "account_id": draft.account_id,
        "book": draft.book,
        "category": draft.category,
        "summary": mask_text(draft.summary, line.salt),
        "amount_minor": draft.amount_minor,
        "effective_date": draft.effective_date,
        "payment_id": draft.payment_id,
        "batch_id": draft.batch_id,
        "reference": draft.reference,
        "counterparty_name": draft.counterparty_name,
        "counterparty_account": draft.counterparty_account,
        "vouchers": draft.vouchers,
        "signatures": json.dumps([dict(each) for each in draft.signatures]),
        "corrects": draft.corrects,
        "correction_reason": mask_text(draft.correction_reason, line.salt),
    }


async def _mark_corrected(conn: AsyncConnection, line: _Numbered) -> None:
    lines = t.disclosed_lines
    await conn.execute(
        lines.update()
        .where(lines.c.fund_id == line.fund_id, lines.c.line_number == line.draft.corrects)
        .values(corrected_by=line.posted.line_number)
    )


async def _take_entry_numbers(conn: AsyncConnection, fund_id: str, count: int) -> int:
    """The last of so many entry numbers that are the caller's from now on."""
    funds = t.funds
    last = await conn.scalar(
        funds.update()
        .where(funds.c.fund_id == fund_id)
        .values(last_entry_number=funds.c.last_entry_number + count)
        .returning(funds.c.last_entry_number)
    )
    if last is None:
        raise not_found(f"funds/{fund_id}")
    return int(last)


def _insertions(entries: Sequence[_Entry], now: datetime) -> tuple[bulk.Change, bulk.Change]:
    """Adds journal entries, all of one kind of cause, with their postings."""
    for entry in entries:
        if sum(posting.amount_minor for posting in entry.postings) != 0:
            raise GatewayError(
                Kind.INVALID, Reason.ENTRY_UNBALANCED, f"entry {entry.number} does not balance"
            )
    rows = [
        {
            "fund_id": entry.fund_id,
            "entry_number": entry.number,
            "effective_date": entry.day,
            "created_at": now,
            **entry.cause,
        }
        for entry in entries
    ]
    postings = [
        {
            "fund_id": entry.fund_id,
            "entry_number": entry.number,
            "position": position,
            "account_kind": posting.kind,
            "account_id": posting.account.get("account_id", ""),
            "book": posting.account.get("book", ""),
            "category": posting.account.get("category", ""),
            "amount_minor": posting.amount_minor,
            "effective_date": entry.day,
        }
        for entry in entries
        for position, posting in enumerate(entry.postings, start=1)
    ]
    return bulk.insertion(t.entries, rows), bulk.insertion(t.postings, postings)


def _book_changes(drafts: Sequence[tuple[str, LineDraft]]) -> bulk.Change:
    """Moves the books by their new lines, which the bank has not confirmed yet."""
    changes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for fund_id, draft in drafts:
        change = changes[fund_id, draft.book]
        change["total_minor"] += draft.amount_minor
        change[pending_column(draft.amount_minor)] += draft.amount_minor
    columns = ("total_minor", "pending_in_minor", "pending_out_minor")
    rows = [
        {"fund_id": fund_id, "book": book, **{each: change[each] for each in columns}}
        for (fund_id, book), change in sorted(changes.items())
    ]
    return bulk.update(t.books, ("fund_id", "book"), rows, add=True)
