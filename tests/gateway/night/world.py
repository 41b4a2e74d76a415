"""Funds with lines and statements over a real database, and short ways to fill them."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import sqlalchemy as sa

from gateway import night
from gateway.ledger.writer import (
    BankMovement,
    LineDraft,
    PostedLine,
    book_bank_entries,
    lock_fund,
    open_account,
    post_line,
    void_line,
)
from gateway.night.figures import NIGHT, figures
from gateway.night.proofs import Account
from gateway.rpc.caller import Caller, set_caller
from gateway.rpc.trail import Trail, begin
from gateway.store import GATEWAY, Store, open_store, schema
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.party import Role

TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
_numbers = count(1)


@dataclass(slots=True)
class World:
    """A database, and short ways to put something into it."""

    store: Store
    now: datetime = NOW
    folder: Path | None = None
    next_id: count[int] = field(default_factory=lambda: count(1))

    def clock(self) -> datetime:
        return self.now

    async def fund(
        self, fund_id: str = "f1", opening_minor: int = 0, party_id: str = "trustee"
    ) -> str:
        async with self.store.transaction(GATEWAY) as conn:
            known = await conn.execute(sa.select(t.parties.c.party_id))
            if party_id not in known.scalars().all():
                await conn.execute(
                    t.parties.insert().values(
                        party_id=party_id, display_name=party_id, created_at=NOW
                    )
                )
            await conn.execute(
                t.estates.insert().values(estate_id=fund_id, display_name="示例", created_at=NOW)
            )
            await conn.execute(
                t.appointments.insert().values(estate_id=fund_id, party_id=party_id, created_at=NOW)
            )
            await conn.execute(
                t.funds.insert().values(
                    fund_id=fund_id,
                    estate_id=fund_id,
                    display_name="示例",
                    trustee_id=party_id,
                    currency="CNY",
                    created_at=NOW,
                )
            )
            for book in ("COMMON", "MAINTENANCE"):
                await conn.execute(t.books.insert().values(fund_id=fund_id, book=book))
        await self.account(fund_id, "main", opening_minor)
        return fund_id

    async def account(self, fund_id: str, account_id: str, opening_minor: int = 0) -> None:
        async with self.store.transaction(GATEWAY) as conn:
            await conn.execute(
                t.bank_accounts.insert().values(
                    fund_id=fund_id,
                    account_id=account_id,
                    account_number=f"62220000{next(_numbers):08d}",
                    holder_name="示例",
                    bank_code="102100099996",
                    profile_id="demo",
                    opening_minor=opening_minor,
                    opening_date=TODAY - 30 * DAY,
                    created_at=self.now,
                )
            )
            await open_account(
                conn,
                fund_id=fund_id,
                account_id=account_id,
                opening_minor=opening_minor,
                opening_date=TODAY - 30 * DAY,
                now=self.now,
            )

    async def line(self, fund_id: str, amount_minor: int, day: date, **more: Any) -> PostedLine:
        values: dict[str, Any] = {
            "account_id": "main",
            "book": "COMMON",
            "category": "物业费",
            "summary": "十一月物业费",
            "amount_minor": amount_minor,
            "effective_date": day,
            **more,
        }
        void = values.pop("void", False)
        async with self.store.transaction(GATEWAY) as conn:
            await lock_fund(conn, fund_id)
            write = void_line if void else post_line
            return await write(conn, fund_id, LineDraft(**values), self.now)

    async def statement(
        self, fund_id: str, day: date, entries: Sequence[dict[str, Any]] = (), **more: Any
    ) -> list[str]:
        """A day's statement that follows on the account's balance; returns the entries' ids."""
        account_id = more.pop("account_id", "main")
        key = f"s{next(self.next_id):06d}"
        async with self.store.transaction(GATEWAY) as conn:
            await lock_fund(conn, fund_id)
            accounts = t.bank_accounts.c
            query = sa.select(accounts.bank_minor).where(
                accounts.fund_id == fund_id, accounts.account_id == account_id
            )
            opening_minor = (await conn.execute(query)).scalar_one()
            total = sum(entry["amount_minor"] for entry in entries)
            values = {
                "fund_id": fund_id,
                "statement_key": key,
                "account_id": account_id,
                "bank_statement_id": key,
                "start_date": day,
                "end_date": day,
                "opening_minor": opening_minor,
                "closing_minor": opening_minor + total,
                "entry_count": len(entries),
                "file_sha256": "0" * 64,
                "created_at": self.now,
                "findings": [],
                **more,
            }
            await conn.execute(t.statements.insert().values(values))
            rows = [self._entry(fund_id, account_id, key, day, entry) for entry in entries]
            if rows:
                await conn.execute(t.bank_entries.insert(), rows)
            moves = [
                BankMovement(row["bank_entry_id"], row["amount_minor"], row["booking_date"])
                for row in rows
            ]
            await book_bank_entries(conn, fund_id, account_id, moves, self.now)
        return [row["bank_entry_id"] for row in rows]

    def _entry(
        self, fund_id: str, account_id: str, key: str, day: date, entry: dict[str, Any]
    ) -> dict[str, Any]:
        number = next(self.next_id)
        return {
            "fund_id": fund_id,
            "bank_entry_id": f"e{number:06d}",
            "account_id": account_id,
            "statement_key": key,
            "entry_id": f"B{number}",
            "booking_date": day,
            "value_date": None,
            "currency": "CNY",
            "reference": "",
            "end_to_end_id": "",
            "batch_id": "",
            "counterparty_name": "",
            "counterparty_account": "",
            "text": "",
            "reversal": False,
            "return_reason": "",
            **entry,
        }

    async def reconcile(self, day: date = TODAY, run_id: str = "") -> night.Run:
        return await self.nights().run(day, run_id or f"run-{next(self.next_id)}")

    def nights(self, **more: Any) -> night.Nights:
        return night.Nights(self.store, self.clock, self.directory, **more)

    @property
    def directory(self) -> Path:
        """Where runs are kept."""
        assert self.folder is not None
        return self.folder

    async def decide(
        self, fund_id: str, members: dict[str, dict[str, int]], name: str = "d1"
    ) -> None:
        """A person's match: so much of each row, by side and name; what it uses up is closed."""
        made: dict[str, Any] = {"fund_id": fund_id, "match_id": name, "made_by": name}
        told = {"status": "decided", "rule": "decision", "rules_version": ""}
        async with self.store.transaction(GATEWAY) as conn:
            await conn.execute(
                t.matches.insert().values(
                    **made, **told, account_id="main", date=TODAY, created_at=NOW
                )
            )
            for side, rows in members.items():
                table = t.bank_entries if side == "bank" else t.disclosed_lines
                own = sa.cast(
                    table.c["bank_entry_id" if side == "bank" else "line_number"], sa.Text
                )
                for member_id, minor in rows.items():
                    await conn.execute(
                        t.match_members.insert().values(
                            **made,
                            side=side,
                            member_id=member_id,
                            account_id="main",
                            allocated_minor=minor,
                        )
                    )
                    row = table.update().where(table.c.fund_id == fund_id, own == member_id)
                    taken = table.c.taken_minor + minor
                    used_up = taken == table.c.amount_minor
                    await conn.execute(
                        row.values(
                            taken_minor=taken,
                            match_id=sa.case((used_up, name), else_=""),
                            match_date=sa.case((used_up, TODAY), else_=None),
                        )
                    )

    async def keep_apart(self, fund_id: str, members: dict[str, str]) -> None:
        """An approved decision that rows, by side, do not belong together."""
        name: dict[str, Any] = {"fund_id": fund_id, "resolution_id": "apart"}
        async with self.store.transaction(GATEWAY) as conn:
            run = {"run_id": "earlier", "date": TODAY - DAY, "state": "FAILED", "counts": {}}
            await conn.execute(
                t.runs.insert().values(**run, rules_version="v", started_at=NOW, ended_at=NOW)
            )
            case = {"kind": "ambiguous", "cause": "same_id", "detail": "", "open": False}
            await conn.execute(
                t.cases.insert().values(
                    **case,
                    fund_id=fund_id,
                    case_id="c1",
                    run_id="earlier",
                    account_id="main",
                    amount_minor=0,
                    oldest_date=TODAY,
                    opened_at=NOW,
                )
            )
            people = {"proposer": "a", "proposer_human": "a", "decider": "b", "decider_human": "b"}
            await conn.execute(
                t.resolutions.insert().values(
                    **name,
                    **people,
                    case_id="c1",
                    account_id="main",
                    action="KEEP_APART",
                    state="APPROVED",
                    reason="two things",
                    created_at=NOW,
                    decided_at=NOW,
                )
            )
            for side, member_id in members.items():
                member = {"side": side, "member_id": member_id, "allocated_minor": 0}
                await conn.execute(t.resolution_members.insert().values(**name, **member))

    async def rows(self, table: sa.Table, **equal: Any) -> list[dict[str, Any]]:
        """Rows of a table by primary key."""
        query = sa.select(table).order_by(*table.primary_key)
        for name, value in equal.items():
            query = query.where(table.c[name] == value)
        async with self.store.transaction(GATEWAY) as conn:
            return [dict(row._mapping) for row in await conn.execute(query)]

    async def one(self, table: sa.Table, **equal: Any) -> dict[str, Any]:
        (row,) = await self.rows(table, **equal)
        return row

    def calls(self, *roles: Role, party_id: str = "trustee") -> None:
        """From here on the calls of this test are this person's."""
        set_caller(Caller(party_id, "p1", "np1", frozenset(roles)))
        begin(Trail("/xinyi.v1.Test/Call", "test", NOW, party_id, "p1"))


async def accounts_on(conn: AsyncConnection, day: date) -> list[Account]:
    """What bank and ledger say of every account at the end of a day."""
    bound = {"first": "", "last": "~", "day": day}
    rows = await conn.execute(sa.text(figures(NIGHT)), bound)
    return [Account(**row._mapping) for row in rows]


@pytest.fixture(scope="session")
def template_url(postgres_url: str) -> str:
    """A migrated database with nothing in it, to be copied."""
    url = asyncio.run(empty_database(postgres_url))
    schema.upgrade(url)
    return url


async def empty_database(postgres_url: str) -> str:
    """A database without even a schema."""
    return await _create(postgres_url, f"blank_{next(_numbers)}")


@asynccontextmanager
async def copy_of(template_url: str) -> AsyncIterator[World]:
    """A fresh copy of the migrated database, gone behind the block."""
    name = f"blank_copy_{next(_numbers)}"
    template = sa.make_url(template_url).database
    url = await _create(template_url, name, f"TEMPLATE {template}")
    store = open_store(url, pool_size=5)
    with tempfile.TemporaryDirectory() as directory:
        yield World(store, folder=Path(directory))
    await store.close()
    await _execute(template_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _create(server_url: str, name: str, options: str = "") -> str:
    await _execute(server_url, f"CREATE DATABASE {name} {options}")
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def _execute(server_url: str, statement: str) -> None:
    """Runs a statement that no transaction may hold, from a database that nobody copies."""
    url = sa.make_url(server_url).set(database="postgres")
    conn = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        await conn.execute(statement)
    finally:
        await conn.close()


@pytest.fixture
async def world(template_url: str) -> AsyncIterator[World]:
    async with copy_of(template_url) as copy:
        yield copy
