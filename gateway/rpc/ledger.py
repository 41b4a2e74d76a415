"""LedgerService: the double-entry ledger, for those who keep it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from xinyi.v1 import common_pb2, ledger_service_pb2
from xinyi.v1.ledger_service_pb2_grpc import LedgerServiceServicer

from gateway.clock import bank_date
from gateway.domain.errors import Reason, invalid, not_found
from gateway.domain.party import Role
from gateway.ledger.balances import fund_balance
from gateway.ledger.posting import require_available, require_day, require_vouchers
from gateway.ledger.writer import LineDraft, lock_fund, post_line, void_line
from gateway.registry.marks import mark_of
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import (
    day,
    day_of,
    enum_name,
    fund_id_of,
    minor_of,
    moment,
    money,
    split_name,
)
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.ledger.balances import BookBalance, FundBalance
    from gateway.ledger.writer import PostedLine
    from gateway.rpc.paging import Page
    from gateway.store import Row, Store

_ACCOUNT: Final = "funds/{}/bankAccounts/{}"
_LINE: Final = "funds/{}/lines/{}"
_VOUCHER: Final = "funds/{}/vouchers/{}"


@dataclass(frozen=True, slots=True)
class LedgerServicer(LedgerServiceServicer):
    """Books entries, lists journal lines, tells balances.

    Attributes:
        store: the database.
        clock: the present moment.
    """

    store: Store
    clock: Clock

    async def PostEntry(  # noqa: N802 - the contract's name
        self,
        request: ledger_service_pb2.PostEntryRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> ledger_service_pb2.PostEntryResponse:
        """Books a receipt, a payment made outside the gateway, or a correction."""

        async def work(conn: AsyncConnection) -> ledger_service_pb2.PostEntryResponse:
            return await self._post(conn, request)

        answer = ledger_service_pb2.PostEntryResponse
        return await once(self.store, current_caller(), request, answer, work)

    async def ListLines(  # noqa: N802 - the contract's name
        self,
        request: ledger_service_pb2.ListLinesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> ledger_service_pb2.ListLinesResponse:
        """Journal lines, newest entry first."""
        fund_id = fund_id_of(request.parent)
        kind = enum_name(ledger_service_pb2.AccountKind, request.account_kind)
        key = f"ListLines/{fund_id}/{kind}"
        page = page_of(request, key, int, int)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await _page_of_postings(conn, fund_id, kind, page)
        return ledger_service_pb2.ListLinesResponse(
            lines=map(_line, rows[: page.size]),
            next_page_token=next_token(
                key, rows, page.size, lambda row: (str(row.entry_number), str(row.position))
            ),
        )

    async def GetBalance(  # noqa: N802 - the contract's name
        self,
        request: ledger_service_pb2.GetBalanceRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> ledger_service_pb2.GetBalanceResponse:
        """What a fund has, now or at the end of a past day."""
        asked = request.HasField("as_of_date")
        as_of = day_of(request.as_of_date, "as_of_date") if asked else None
        async with self.store.transaction(current_caller().scope) as conn:
            return _balance(await fund_balance(conn, fund_id_of(request.parent), as_of))

    async def _post(
        self, conn: AsyncConnection, request: ledger_service_pb2.PostEntryRequest
    ) -> ledger_service_pb2.PostEntryResponse:
        """Checks and books under the fund's lock, so that what was checked still holds."""
        fund_id, now = fund_id_of(request.parent), self.clock()
        fund = await lock_fund(conn, fund_id)
        booked_by = await mark_of(conn, current_caller().party_id, Role.TRUSTEE_MAKER, now)
        asked = _draft(request.entry, fund_id, fund.currency)
        draft = replace(asked, signatures=(booked_by,))
        await require_vouchers(conn, fund_id, draft.vouchers, "entry")
        await require_day(conn, fund_id, draft, bank_date(now), "entry")
        if draft.corrects is not None:
            posted = await _post_correction(conn, fund_id, draft, now)
        else:
            await require_available(conn, fund_id, draft)
            posted = await post_line(conn, fund_id, draft, now)
        return await _answer(conn, fund_id, posted)


# --- what may be booked -------------------------------------------------------------------------


def _draft(entry: ledger_service_pb2.EntryDraft, fund_id: str, currency: str) -> LineDraft:
    """The line that is asked for, all of it of one fund.

    Raises:
        GatewayError: CURRENCY_MISMATCH, AMOUNT_OUT_OF_RANGE, ENTRY_CROSSES_FUNDS, FIELD_INVALID.
    """
    amount_minor = minor_of(entry.amount, currency, "entry.amount")
    if amount_minor == 0:
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, "entry.amount.amount_minor", "is zero")
    corrects = _own_id(entry.corrects, _LINE, fund_id, "entry.corrects") if entry.corrects else ""
    return LineDraft(
        account_id=_own_id(entry.bank_account, _ACCOUNT, fund_id, "entry.bank_account"),
        book=enum_name(common_pb2.Book, entry.book),
        category=entry.category,
        summary=entry.summary,
        amount_minor=amount_minor,
        effective_date=day_of(entry.effective_date, "entry.effective_date"),
        reference=entry.reference,
        counterparty_name=entry.counterparty_name,
        counterparty_account=entry.counterparty_account,
        vouchers=tuple(
            _own_id(name, _VOUCHER, fund_id, f"entry.vouchers[{position}]")
            for position, name in enumerate(entry.vouchers)
        ),
        corrects=int(corrects) if corrects else None,
        # 红字: what the correcting line is for is why the other one falls.
        correction_reason=entry.summary if corrects else "",
    )


def _own_id(name: str, pattern: str, fund_id: str, path: str) -> str:
    """The id in a name that must be of this fund (Trust Law art. 29)."""
    owner, own_id = split_name(name, pattern)
    if owner != fund_id:
        raise invalid(Reason.ENTRY_CROSSES_FUNDS, path, "belongs to another fund")
    return own_id


async def _post_correction(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, now: datetime
) -> PostedLine:
    """Takes a line back. What the bank has not confirmed it never will: both are closed at once."""
    lines = t.disclosed_lines.c
    query = sa.select(t.disclosed_lines).where(
        lines.fund_id == fund_id, lines.line_number == draft.corrects
    )
    line = (await conn.execute(query)).one_or_none()
    if line is None:
        raise not_found(_LINE.format(fund_id, draft.corrects))
    _require_opposite(draft, line)
    post = post_line if line.settled else void_line
    return await post(conn, fund_id, draft, now)


def _require_opposite(draft: LineDraft, line: Row) -> None:
    """A correction is the line again with the sign turned."""
    if line.payment_id:
        # What becomes of a payment only the bank decides; then the gateway corrects its line.
        raise invalid(Reason.FIELD_INVALID, "entry.corrects", "is the line of a payment")
    if draft.amount_minor != -line.amount_minor:
        path = "entry.amount.amount_minor"
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, path, "is not the opposite of the line's")
    for name, path in (("book", "book"), ("category", "category"), ("account_id", "bank_account")):
        if getattr(draft, name) != getattr(line, name):
            raise invalid(Reason.FIELD_INVALID, f"entry.{path}", "is not the corrected line's")


# --- journal lines ------------------------------------------------------------------------------


async def _answer(
    conn: AsyncConnection, fund_id: str, posted: PostedLine
) -> ledger_service_pb2.PostEntryResponse:
    entry = _postings(fund_id).where(t.postings.c.entry_number == posted.entry_number)
    rows = await conn.execute(entry.order_by(t.postings.c.position))
    return ledger_service_pb2.PostEntryResponse(
        disclosed_line=_LINE.format(fund_id, posted.line_number), lines=map(_line, rows)
    )


async def _page_of_postings(
    conn: AsyncConnection, fund_id: str, kind: str, page: Page
) -> Sequence[Row]:
    await _require_fund(conn, fund_id)
    p = t.postings.c
    query = _postings(fund_id).order_by(p.entry_number.desc(), p.position).limit(page.size + 1)
    if kind != "UNSPECIFIED":
        query = query.where(p.account_kind == kind)
    if page.after is not None:
        entry, position = map(int, page.after)
        rest = (p.entry_number == entry) & (p.position > position)
        # The bound once more for both tables: the planner sees none in a choice of two.
        bounds = (p.entry_number <= entry, t.entries.c.entry_number <= entry)
        query = query.where(*bounds, (p.entry_number < entry) | rest)
    rows: Sequence[Row] = (await conn.execute(query)).all()
    return rows


async def _require_fund(conn: AsyncConnection, fund_id: str) -> None:
    query = sa.select(t.funds.c.fund_id).where(t.funds.c.fund_id == fund_id)
    if (await conn.execute(query)).one_or_none() is None:
        raise not_found(f"funds/{fund_id}")


def _postings(fund_id: str) -> sa.Select[Any]:
    """Postings with their entry's cause and time, and the fund's currency."""
    p, e, f = t.postings.c, t.entries.c, t.funds.c
    of_entry = (e.fund_id == p.fund_id) & (e.entry_number == p.entry_number)
    return (
        sa.select(
            t.postings, e.line_number, e.bank_entry_id, e.created_at, f.currency.label("currency")
        )
        .join_from(t.postings, t.entries, of_entry)
        .join(t.funds, f.fund_id == p.fund_id)
        .where(p.fund_id == fund_id)
    )


def _line(row: Row) -> ledger_service_pb2.LedgerLine:
    fund = f"funds/{row.fund_id}"
    on_bank = row.account_kind == "BANK"
    return ledger_service_pb2.LedgerLine(
        entry_number=row.entry_number,
        account_kind=ledger_service_pb2.AccountKind.Value(f"ACCOUNT_KIND_{row.account_kind}"),
        bank_account=f"{fund}/bankAccounts/{row.account_id}" if on_bank else "",
        book=common_pb2.Book.Value(f"BOOK_{row.book or 'UNSPECIFIED'}"),
        category=row.category,
        amount=money(row.amount_minor, row.currency),
        effective_date=day(row.effective_date),
        create_time=moment(row.created_at),
        disclosed_line=f"{fund}/lines/{row.line_number}" if row.line_number else "",
        bank_entry=f"{fund}/bankEntries/{row.bank_entry_id}" if row.bank_entry_id else "",
    )


# --- balances -----------------------------------------------------------------------------------


def _balance(balance: FundBalance) -> ledger_service_pb2.GetBalanceResponse:
    return ledger_service_pb2.GetBalanceResponse(
        bank=money(balance.bank_minor, balance.currency),
        transit=money(balance.transit_minor, balance.currency),
        books=[_book(book, balance.currency) for book in balance.books],
    )


def _book(book: BookBalance, currency: str) -> ledger_service_pb2.BookBalance:
    return ledger_service_pb2.BookBalance(
        book=common_pb2.Book.Value(f"BOOK_{book.book}"),
        total=money(book.total_minor, currency),
        settled=money(book.settled_minor, currency),
        pending=money(book.pending_minor, currency),
        held=money(book.held_minor, currency),
        available=money(book.available_minor, currency),
    )
