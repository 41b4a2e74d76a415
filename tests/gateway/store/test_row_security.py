"""What the database itself refuses, whatever the code above it believes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.ledger.writer import LineDraft, post_line, post_lines
from gateway.store import GATEWAY, Scope, bind, narrow
from gateway.store import tables as t
from tests.gateway.support import NOW, TODAY

if TYPE_CHECKING:
    from gateway.store import Store

FIRM: Final = Scope("anju")
SCOPES: Final = (GATEWAY, FIRM)

NO_PRIVILEGE: Final = "42501"
REFUSED: Final = {NO_PRIVILEGE, "428C9", "23001"}
"""The second one refuses to change a number that the database itself hands out, the third to put
anything in place of what was disclosed."""

OF_FUNDS: Final = sorted(name for name, table in t.metadata.tables.items() if "fund_id" in table.c)
# The mandate's fund is one of its bounds, not the fund it belongs to.
GUARDED: Final = [name for name in OF_FUNDS if name != "mandates"]

MAY_CHANGE: Final = {
    "disclosed_lines": {
        "settled",
        "bank_value_date",
        "corrected_by",
        "match_id",
        "match_date",
        "taken_minor",
        # Destroyed where a person's data must go: the public commitment then tells nothing.
        "salt",
    },
    "entries": set[str](),
    "postings": set[str](),
    "payment_signatures": set[str](),
    "payment_events": set[str](),
    "case_events": set[str](),
    "book_days": set[str](),
    "bank_days": set[str](),
    "category_months": set[str](),
    "register_changes": set[str](),
    "register_decisions": set[str](),
    "vouchers": set[str](),
    "questions": {"answered_at", "case_id"},
    "question_photos": set[str](),
    "answers": set[str](),
    "disclosure_rules": set[str](),
    "publications": set[str](),
    "line_details": set[str](),
    "lapses": set[str](),
    "requests": set[str](),
}
"""Columns of what is booked, signed or disclosed that may change; all others may not."""

NEVER: Final = [
    (name, column.name)
    for name, may_change in MAY_CHANGE.items()
    for column in t.metadata.tables[name].c
    if column.name not in may_change
]


async def _run(store: Store, scope: Scope, statement: sa.Executable) -> None:
    async with store.transaction(scope) as conn:
        await conn.execute(statement)


async def _sqlstate(store: Store, scope: Scope, statement: sa.Executable) -> str:
    """How the database refuses a statement; one that it runs fails the test."""
    with pytest.raises(DBAPIError) as caught:
        await _run(store, scope, statement)
    return str(getattr(caught.value.orig, "sqlstate", ""))


async def _post(store: Store, fund_id: str) -> None:
    draft = LineDraft("main", "COMMON", "停车收入", "停车", 100, TODAY)
    async with store.transaction(GATEWAY) as conn:
        await post_line(conn, fund_id, draft, NOW)


async def _post_many(store: Store, fund_id: str) -> None:
    """So many lines that the planner would rather list the reader's funds than look one up."""
    draft = LineDraft("main", "COMMON", "停车收入", "停车", 100, TODAY)
    async with store.transaction(GATEWAY) as conn:
        await post_lines(conn, [(fund_id, draft)] * 5000, NOW)


async def test_nothing_can_be_deleted_from_any_table(store: Store) -> None:
    for table in t.metadata.tables.values():
        for scope in SCOPES:
            assert await _sqlstate(store, scope, sa.delete(table)) == NO_PRIVILEGE, table.name


async def test_no_table_can_be_emptied_or_altered(store: Store) -> None:
    for statement in (
        "TRUNCATE disclosed_lines CASCADE",
        "ALTER TABLE disclosed_lines DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_estates ON disclosed_lines",
    ):
        assert await _sqlstate(store, GATEWAY, sa.text(statement)) == NO_PRIVILEGE, statement


async def test_what_is_booked_signed_or_disclosed_never_changes(store: Store) -> None:
    for name, column in NEVER:
        table = t.metadata.tables[name]
        change = sa.update(table).values({column: table.c[column]})
        assert await _sqlstate(store, GATEWAY, change) in REFUSED, f"{name}.{column}"


async def test_party_reads_rows_of_its_own_estates_only(store: Store) -> None:
    """The world has rows of both funds in several of these tables."""
    await _post(store, "jinjiang")
    await _post(store, "wutong")
    reached = {scope: await _funds_by_table(store, scope) for scope in SCOPES}
    assert reached[GATEWAY]["disclosed_lines"] == {"jinjiang", "wutong"}
    assert reached[FIRM] == {name: funds & {"wutong"} for name, funds in reached[GATEWAY].items()}


async def _funds_by_table(store: Store, scope: Scope) -> dict[str, set[str]]:
    async with store.transaction(scope) as conn:
        return {
            name: set(await conn.scalars(sa.select(t.metadata.tables[name].c.fund_id)))
            for name in GUARDED
        }


async def test_a_transaction_is_narrowed_to_a_fund_of_its_own_only(store: Store) -> None:
    for fund_id in ("jinjiang", "wutong"):
        await _post(store, fund_id)
    seen = sa.select(t.book_days.c.fund_id).distinct()
    async with store.transaction(FIRM) as conn:
        assert await narrow(conn, "jinjiang") is None
        assert set(await conn.scalars(seen)) == {"wutong"}
    async with store.transaction(GATEWAY) as conn:
        assert await narrow(conn, "jinjiang") == "CNY"
        assert set(await conn.scalars(seen)) == {"jinjiang", "wutong"}
        await bind(conn, FIRM)
        assert set(await conn.scalars(seen)) == {"wutong"}


@pytest.mark.parametrize("work_mem", ["64kB", "64MB"])
async def test_a_page_costs_the_same_however_many_funds_its_reader_has(
    store: Store, work_mem: str
) -> None:
    """In as little memory as there can be, where a list of them fits not, and where it does."""
    await _post_many(store, "wutong")
    async with store.transaction(GATEWAY) as conn:
        for statement in _MANY_FUNDS:
            await conn.execute(sa.text(statement), {"now": NOW, "firm": FIRM.party_id})
    async with store.engine.begin() as owner:
        await owner.execute(sa.text("ANALYZE"))
    page = "SELECT * FROM disclosed_lines WHERE fund_id = 'wutong' ORDER BY line_number LIMIT 50"
    async with store.transaction(FIRM) as conn:
        await conn.execute(sa.text(f"SET LOCAL work_mem = '{work_mem}'"))
        explained = await conn.scalar(sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {page}"))
    (told,) = explained
    assert told["Plan"]["Actual Rows"] == 50
    assert _gone_through(told["Plan"]) <= 4 * 50


_MANY_FUNDS: Final = (
    """
    INSERT INTO estates (estate_id, display_name, created_at)
    SELECT 'e' || n, '', :now FROM generate_series(1, 5000) n
    """,
    """
    INSERT INTO appointments (estate_id, party_id, created_at)
    SELECT 'e' || n, :firm, :now FROM generate_series(1, 5000) n
    """,
    """
    INSERT INTO funds (fund_id, estate_id, display_name, trustee_id, currency, created_at)
    SELECT 'f' || n, 'e' || n, '', :firm, 'CNY', :now FROM generate_series(1, 5000) n
    """,
)


def _gone_through(plan: dict[str, Any]) -> int:
    """Rows that all nodes of a plan have had before them, those that they left out included."""
    rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    own = int(rows * plan["Actual Loops"])
    return own + sum(_gone_through(each) for each in plan.get("Plans", ()))


async def test_transaction_without_a_scope_sees_nothing(store: Store) -> None:
    async with store.transaction(Scope("")) as conn:
        assert (await conn.execute(sa.select(t.funds))).all() == []
        assert (await conn.execute(sa.select(t.disclosed_lines))).all() == []


async def test_party_writes_to_its_own_estates_only(store: Store) -> None:
    def row(fund_id: str) -> dict[str, Any]:
        return {
            "fund_id": fund_id,
            "sha256": "0" * 64,
            "file_name": "x",
            "media_type": "text/plain",
            "size_bytes": 1,
            "content": b"x",
            "created_at": NOW,
        }

    await _run(store, FIRM, t.vouchers.insert().values(row("wutong")))
    other = t.vouchers.insert().values(row("jinjiang"))
    assert await _sqlstate(store, FIRM, other) == NO_PRIVILEGE


async def test_change_of_another_estate_touches_no_row(store: Store) -> None:
    async with store.transaction(FIRM) as conn:
        changed = await conn.execute(t.funds.update().values(display_name="x").returning(t.funds))
        assert [row.fund_id for row in changed] == ["wutong"]


async def test_party_cannot_appoint_itself(store: Store) -> None:
    """Its own appointments are what it may write; one to a further estate must not open it."""
    mine = {"estate_id": "jinjiang", "party_id": "anju", "created_at": NOW}
    assert await _sqlstate(store, FIRM, t.appointments.insert().values(mine)) == NO_PRIVILEGE


async def test_party_cannot_take_back_the_end_of_its_appointment(store: Store) -> None:
    ended = t.appointments.update().where(t.appointments.c.party_id == "anju")
    await _run(store, GATEWAY, ended.values(ended_at=NOW))
    assert await _sqlstate(store, FIRM, ended.values(ended_at=None)) == NO_PRIVILEGE


async def test_entry_that_does_not_balance_is_refused_at_commit(store: Store) -> None:
    posting = {
        "fund_id": "wutong",
        "entry_number": 1,
        "position": 9,
        "account_kind": "BOOK",
        "amount_minor": 1,
        "effective_date": TODAY - timedelta(days=1),
    }
    with pytest.raises(IntegrityError):
        await _run(store, GATEWAY, t.postings.insert().values(posting))


async def test_scope_ends_with_its_transaction(store: Store) -> None:
    """A pooled connection carries nothing of one caller to the next."""
    async with store.transaction(FIRM) as conn:
        assert len((await conn.execute(sa.select(t.funds))).all()) == 1
    async with store.engine.connect() as conn:
        bound = await conn.execute(sa.text("SELECT current_setting('xinyi.party', true)"))
        assert bound.scalar_one() in {None, ""}


async def test_party_cannot_register_a_person_for_itself(store: Store) -> None:
    """A second human, or a second role, comes from the registrar alone."""
    person = {
        "party_id": "anju",
        "person_id": "another",
        "display_name": "x",
        "natural_person": "0" * 64,
        "roles": ["TRUSTEE_CHECKER"],
        "created_at": NOW,
    }
    assert await _sqlstate(store, FIRM, t.persons.insert().values(person)) == NO_PRIVILEGE


async def test_party_ends_keys_of_its_own_only(store: Store) -> None:
    ended = t.public_keys.update().values(revoked_at=NOW)
    await _run(store, FIRM, ended)
    async with store.transaction(GATEWAY) as conn:
        rows = await conn.execute(sa.select(t.public_keys.c.party_id, t.public_keys.c.revoked_at))
        ended_of = {row.party_id for row in rows if row.revoked_at is not None}
    assert ended_of <= {FIRM.party_id}


async def test_party_reads_no_other_partys_requests(store: Store) -> None:
    row = {
        "party_id": "jinjiang-committee",
        "request_id": "r1",
        "method": "m",
        "digest": b"d",
        "response": b"answer",
        "created_at": NOW,
    }
    await _run(store, GATEWAY, t.requests.insert().values(row))
    async with store.transaction(FIRM) as conn:
        assert (await conn.execute(sa.select(t.requests))).all() == []
