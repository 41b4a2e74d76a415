"""What may be posted by hand: a line of the fund, on a day that has come, of money there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.domain.errors import Reason, invalid, not_found, precondition
from gateway.ledger.balances import fund_balance
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.ledger.writer import LineDraft


async def require_vouchers(
    conn: AsyncConnection, fund_id: str, vouchers: Sequence[str], path: str
) -> None:
    """Every voucher named was uploaded to this fund; `path` is the message that names them.

    Raises:
        GatewayError: VOUCHER_MISSING.
    """
    query = sa.select(t.vouchers.c.sha256).where(
        t.vouchers.c.fund_id == fund_id, t.vouchers.c.sha256.in_(vouchers)
    )
    known = set((await conn.execute(query)).scalars())
    for position, voucher in enumerate(vouchers):
        if voucher not in known:
            where = f"{path}.vouchers[{position}]"
            raise invalid(Reason.VOUCHER_MISSING, where, "was never uploaded to this fund")


async def require_day(
    conn: AsyncConnection, fund_id: str, draft: LineDraft, today: date, path: str
) -> None:
    """The account is the fund's, and the day one that its ledger covers and that has come.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, FIELD_INVALID.
    """
    accounts = t.bank_accounts.c
    query = sa.select(accounts.opening_date).where(
        accounts.fund_id == fund_id, accounts.account_id == draft.account_id
    )
    opening_date = (await conn.execute(query)).scalar_one_or_none()
    if opening_date is None:
        raise not_found(f"funds/{fund_id}/bankAccounts/{draft.account_id}")
    where = f"{path}.effective_date"
    if draft.effective_date < opening_date:
        # The opening balance has it already.
        raise invalid(Reason.FIELD_INVALID, where, "is before the account was taken over")
    if draft.effective_date > today:
        raise invalid(Reason.FIELD_INVALID, where, "has not come yet")


async def require_available(conn: AsyncConnection, fund_id: str, draft: LineDraft) -> None:
    """A payment made outside draws on what is neither held nor still to come in.

    Raises:
        GatewayError: BALANCE_INSUFFICIENT.
    """
    if draft.amount_minor > 0:
        return
    books = {book.book: book for book in (await fund_balance(conn, fund_id, None)).books}
    available_minor = books[draft.book].available_minor
    if -draft.amount_minor > available_minor:
        raise precondition(
            Reason.BALANCE_INSUFFICIENT,
            f"funds/{fund_id}",
            f"the book has {available_minor} available, the entry takes {-draft.amount_minor}",
            book=draft.book,
            available_minor=str(available_minor),
            amount_minor=str(-draft.amount_minor),
        )
