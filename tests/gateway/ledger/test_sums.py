"""The sums of the past: kept by the database alone, filled from what was there before them."""

from __future__ import annotations

import asyncio
import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import DBAPIError
from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.domain.party import Role
from gateway.rpc.convert import day
from gateway.rpc.disclosure import DisclosureServicer
from gateway.store import GATEWAY, open_store, schema
from gateway.store import tables as t
from tests.gateway.ledger.sums import check_sums
from tests.gateway.night.world import DAY, NOW, TODAY, World, empty_database

if TYPE_CHECKING:
    from datetime import date

SUMS = (t.book_days, t.bank_days, t.category_months)
BEFORE = "0010"
_COLUMNS = """
    SELECT table_name, array_agg(column_name::text)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version' AND is_generated = 'NEVER'
    GROUP BY table_name
"""


async def _days_of_all_kinds(world: World) -> None:
    """Late, early, corrected, void and confirmed lines of both books, and of two funds."""
    for fund_id in ("f1", "f2"):
        await world.fund(fund_id, opening_minor=1_000)
        await world.line(fund_id, 300, TODAY - DAY, reference="R1")
        await world.line(fund_id, -40, TODAY - 40 * DAY, book="MAINTENANCE", category="电梯")
        paid = await world.line(fund_id, -70, TODAY + DAY)
        await world.line(
            fund_id, 70, TODAY, corrects=paid.line_number, correction_reason="退回", void=True
        )
        entries: list[dict[str, Any]] = [{"amount_minor": 300, "reference": "R1"}]
        entries.append({"amount_minor": -5})
        await world.statement(fund_id, TODAY, entries)


async def test_the_sums_are_those_of_lines_and_postings(world: World) -> None:
    await _days_of_all_kinds(world)
    await check_sums(world.store)
    world.now = NOW + timedelta(days=2)
    await world.line("f1", 15, TODAY - DAY)
    await world.reconcile(TODAY)
    await check_sums(world.store)
    assert len(await world.rows(t.book_days, fund_id="f1")) > 4


async def test_many_lines_of_a_day_are_one_sum(world: World) -> None:
    await world.fund()
    for minor in (5, -3, 8):
        await world.line("f1", minor, TODAY)
    row = await world.one(t.book_days, fund_id="f1")
    assert (row["booked_minor"], row["first_line"], row["last_line"]) == (10, 1, 3)


async def test_the_application_writes_no_sum(world: World) -> None:
    await world.fund(opening_minor=1_000)
    for table in SUMS:
        row = {column.name: None for column in table.c}
        same = {"fund_id": table.c.fund_id}
        for statement in (table.insert().values(row), table.update().values(same)):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with world.store.transaction(GATEWAY) as conn:
                    await conn.execute(statement)


async def test_a_page_of_days_has_lines_that_came_late(world: World) -> None:
    await world.fund()
    for age in (3, 1, 2, 0, 2):
        await world.line("f1", 1 + age, TODAY - age * DAY)
    world.calls(Role.OWNER)
    service = DisclosureServicer(world.store, world.clock)

    async def numbers(**days: date) -> list[int]:
        asked = {name: day(each) for name, each in days.items()}
        request: Any = {"parent": "funds/f1", **asked}
        answer = await service.ListDisclosedLines(pb.ListDisclosedLinesRequest(**request), None)
        return [line.number for line in answer.lines]

    assert await numbers(start_date=TODAY - 2 * DAY, end_date=TODAY - 2 * DAY) == [3, 5]
    assert await numbers(start_date=TODAY - DAY) == [2, 4]
    assert await numbers(end_date=TODAY - 2 * DAY) == [1, 3, 5]
    assert await numbers(start_date=TODAY + DAY) == []


def test_an_older_database_is_given_the_sums_of_what_it_has(postgres_url: str) -> None:
    today, older = (asyncio.run(empty_database(postgres_url)) for _ in range(2))
    schema.upgrade(today)
    asyncio.run(_in(today, _days_of_all_kinds))
    command.upgrade(schema._config(older), BEFORE)
    asyncio.run(_carry_back(today, older))
    schema.upgrade(older)

    async def check(world: World) -> None:
        assert await world.rows(t.book_days)
        await check_sums(world.store)
        await world.line("f1", 7, TODAY)
        await check_sums(world.store)

    asyncio.run(_in(older, check))


async def _in(url: str, work: Any) -> None:
    store = open_store(url, pool_size=2)
    try:
        await work(World(store))
    finally:
        await store.close()


async def _carry_back(today: str, older: str) -> None:
    """Fills an older schema with what a release of today wrote, in the columns that both have."""
    source, target = [await _connect(url) for url in (today, older)]
    await target.execute("SET session_replication_role = replica")
    for name, columns in await target.fetch(_COLUMNS):
        if not await source.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):  # noqa: S608 - a name of the catalogue
            continue
        text = io.BytesIO()
        await source.copy_from_table(name, columns=columns, output=text)
        text.seek(0)
        await target.execute(f"DELETE FROM {name}")  # noqa: S608 - a name of the catalogue
        await target.copy_to_table(name, columns=columns, source=text)
    await source.close()
    await target.close()


async def _connect(url: str) -> Any:
    plain = sa.make_url(url).set(drivername="postgresql")
    return await asyncpg.connect(plain.render_as_string(hide_password=False))
