"""However a bank slices a month and however often it sends it: the books are those of the month."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adapters.reach import Banks
from gateway.bank.inbound import BankFile, read, take_in
from gateway.store import GATEWAY, open_store
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement
from tests.gateway.night.world import accounts_on
from tests.gateway.support import NOW, OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.model import Entry

DAYS = 30
moves = st.lists(
    st.tuples(st.integers(0, DAYS - 1), st.integers(-500, 500).filter(bool), st.booleans()),
    min_size=1,
    max_size=20,
)
spans = st.lists(
    st.tuples(st.integers(0, DAYS - 1), st.integers(0, DAYS - 1)).map(sorted), max_size=4
)


def _rows(month: list[tuple[int, int, bool]]) -> list[Entry]:
    """Entries by day; those without a serial are receipts, which never cancel out."""
    return [
        entry(
            amount if numbered else abs(amount),
            TODAY + timedelta(days=day),
            entry_id=f"S{number}" if numbered else "",
            text="" if numbered else "物业费",
        )
        for number, (day, amount, numbered) in enumerate(sorted(month))
    ]


def _slice(rows: Sequence[Entry], first: int, last: int) -> bytes:
    start, end = TODAY + timedelta(days=first), TODAY + timedelta(days=last)
    before_minor = sum(one.amount_minor for one in rows if one.booking_date < start)
    own = [one for one in rows if start <= one.booking_date <= end]
    return statement(*own, opening_minor=OPENING_MINOR + before_minor, on=end)


async def _booked(conn: AsyncConnection, banks: Banks, files: list[bytes]) -> Any:
    """What stands in the books after the files, in a transaction that is then forgotten."""
    e, a = t.bank_entries.c, t.bank_accounts.c
    async with conn.begin_nested() as trial:
        for number, content in enumerate(files):
            file = BankFile("bank.xml", content)
            await take_in(conn, file, read(file, banks), banks, NOW + timedelta(seconds=number))
        columns = (e.entry_id, e.booking_date, e.amount_minor)
        entries = (await conn.execute(sa.select(*columns).order_by(*columns))).all()
        balances = (await conn.execute(sa.select(a.bank_minor).order_by(a.fund_id))).all()
        accounts = await accounts_on(conn, TODAY + timedelta(days=DAYS))
        await trial.rollback()
    chains = [(one.closing_minor, one.covered_until, one.broken_on) for one in accounts]
    assert not any(one.inconsistent for one in accounts)
    return entries, balances, chains


def test_any_slices_of_a_month_in_any_order_give_the_books_of_the_whole(
    database_url: str, tmp_path: Path
) -> None:
    """The last file is the month, or its days one by one in an order that the bank chose."""

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(moves, spans, st.data())
    def compare(
        month: list[tuple[int, int, bool]], downloads: list[list[int]], data: st.DataObject
    ) -> None:
        rows = _rows(month)
        rest = [[0, DAYS - 1]]
        if data.draw(st.booleans()):
            days = sorted({(one.booking_date - TODAY).days for one in rows} | {DAYS - 1})
            rest = [[day, day] for day in days]
        order = data.draw(st.permutations([*downloads, *rest]))
        files = [_slice(rows, first, last) for first, last in order]
        asyncio.run(_both(files, [_slice(rows, 0, DAYS - 1)]))

    async def _both(files: list[bytes], whole: list[bytes]) -> None:
        banks, store = Banks(tmp_path), open_store(database_url, pool_size=1)
        try:
            async with store.transaction(GATEWAY) as conn:
                assert await _booked(conn, banks, files) == await _booked(conn, banks, whole)
        finally:
            await store.close()

    compare()
