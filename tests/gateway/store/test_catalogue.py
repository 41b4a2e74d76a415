"""What the database's own catalogue says of every table: a later one cannot be forgotten."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from gateway.store import application_url, open_store
from gateway.store.engine import APPLICATION_ROLE
from gateway.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Store

NO_PRIVILEGE: Final = "42501"
OF_ALEMBIC: Final = "alembic_version"
"""Says which revision the schema has; the application has no right of any kind on it."""

READABLE: Final = {
    "SELECT": {
        "parties",
        "persons",
        "certificates",
        "public_keys",
        "mandates",
        "runs",
        "run_shards",
        # Public by their purpose: numbers, hashes and signatures, nothing of any person.
        "audit_links",
        "logs",
        "log_entries",
        "log_tiles",
        "checkpoints",
        "cosignatures",
    }
}
"""Tables of which some command is open to every scope: signatures and offices need to read them."""


async def _rows(store: Store, statement: str) -> Sequence[Any]:
    async with store.engine.connect() as conn:
        return (await conn.execute(sa.text(statement))).all()


async def test_row_security_is_forced_on_every_table(store: Store) -> None:
    rows = await _rows(
        store,
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced"
        " FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace",
    )
    assert {row.relname for row in rows} == {*metadata.tables, OF_ALEMBIC}
    assert [row.relname for row in rows if not row.forced] == [OF_ALEMBIC]


async def test_only_these_tables_are_open_to_every_scope_and_only_for_reading(
    store: Store,
) -> None:
    rows = await _rows(
        store,
        "SELECT tablename, cmd FROM pg_policies"
        " WHERE qual = 'true' OR with_check = 'true' OR (qual IS NULL AND with_check IS NULL)",
    )
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.cmd, set()).add(row.tablename)
    assert found == READABLE


async def test_no_policy_lists_all_that_is_its_readers(store: Store) -> None:
    """`EXISTS` looks one up; a list that is too long to be hashed is gone through for every row."""
    rows = await _rows(store, "SELECT tablename, concat(qual, with_check) AS rule FROM pg_policies")
    lists = re.compile(r"\bIN \( SELECT \w+\.\w+")
    assert [row.tablename for row in rows if lists.search(row.rule)] == []


async def test_no_policy_lets_the_planner_list_all_funds_of_its_readers(store: Store) -> None:
    """It would to read one page of a large fund; `OFFSET 0` leaves it the look-up alone."""
    rows = await _rows(store, "SELECT tablename, concat(qual, with_check) AS rule FROM pg_policies")
    looks = re.compile(r"FROM funds f\s+WHERE \(f\.fund_id = \w+\.fund_id\)(?!\s+OFFSET 0)")
    assert [row.tablename for row in rows if looks.search(row.rule)] == []


async def test_application_role_owns_nothing_and_bypasses_nothing(store: Store) -> None:
    (role,) = await _rows(
        store,
        "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication AS more"
        " FROM pg_roles WHERE rolname = 'xinyi_app'",
    )
    assert not role.more
    owners = await _rows(store, "SELECT DISTINCT tableowner FROM pg_tables")
    assert APPLICATION_ROLE not in {row.tableowner for row in owners}
    assert not await _rows(
        store,
        "SELECT 1 FROM pg_auth_members WHERE member = to_regrole('xinyi_app')",
    )


async def test_application_logs_in_apart_from_the_owner(database_url: str) -> None:
    """From this login there is no way back to the owner, whatever a statement says."""
    store = open_store(application_url(database_url), pool_size=1)
    try:
        assert not await store.login_owns_tables()
        async with store.engine.connect() as conn:
            await conn.exec_driver_sql("RESET ROLE")
            assert await _refused(conn, "TRUNCATE alembic_version") == NO_PRIVILEGE
        async with store.engine.connect() as conn:
            assert await _refused(conn, "SET ROLE postgres") == NO_PRIVILEGE
    finally:
        await store.close()


async def _refused(conn: AsyncConnection, statement: str) -> str:
    """How the database refuses a statement; one that it runs fails the test."""
    with pytest.raises(DBAPIError) as caught:
        await conn.exec_driver_sql(statement)
    return str(getattr(caught.value.orig, "sqlstate", ""))


async def test_login_of_the_owner_is_told_from_that_of_the_application(store: Store) -> None:
    assert await store.login_owns_tables()


async def test_migrations_make_the_tables_that_the_code_knows(store: Store) -> None:
    def differences(conn: sa.Connection) -> list[Any]:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    async with store.engine.connect() as conn:
        assert await conn.run_sync(differences) == []
