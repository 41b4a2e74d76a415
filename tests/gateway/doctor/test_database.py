"""Each thing of the database is broken on purpose, and the doctor names it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import sqlalchemy as sa

from gateway.doctor.database import version_finding
from gateway.doctor.finding import Verdict
from gateway.doctor.state import judge
from gateway.observe.figures import WAITING, Figures, Night, Outbox
from gateway.payments.transmissions import Stage
from tests.gateway.conftest import database
from tests.gateway.doctor.looking import found, look, real_clock
from tests.gateway.support import NOW, TODAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.settings import Settings

SECRET = "s3cret"  # noqa: S105 - nobody's
OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


@asynccontextmanager
async def owner(url: str) -> AsyncIterator[Any]:
    conn = await asyncpg.connect(url)
    try:
        yield conn
    finally:
        await conn.close()


async def run(url: str, *statements: str) -> None:
    async with owner(url) as conn:
        for statement in statements:
            await conn.execute(statement)


async def test_a_database_that_is_well_is_said_to_be_so(settings: Settings) -> None:
    told = {each.check: each.verdict for each in await look(settings)}
    # The tests' own server may lose what they write.
    assert told.pop("fsync") is FAIL
    # Nothing here is told of a calendar, a disk and variables that the tests do not choose.
    ours = {name: told[name] for name in told if name not in {"calendar", "disk", "variables"}}
    nights = ours.pop("night")
    assert set(ours.values()) == {OK}, ours
    assert nights is WARN


@pytest.mark.parametrize(("major", "verdict"), [(18, OK), (16, WARN), (14, FAIL)])
def test_an_old_server_is_told(major: int, verdict: Verdict) -> None:
    assert version_finding(major, f"{major}.1").verdict is verdict


@pytest.mark.parametrize("change", [{"host": "127.0.0.1", "port": 1}, {"database": "nowhere"}])
async def test_a_database_that_cannot_be_reached_is_told_without_its_password(
    change: dict[str, Any], settings: Settings
) -> None:
    url = sa.make_url(settings.database_url).set(password=SECRET, **change)
    away = settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})
    findings = await look(away)
    (told,) = [each for each in findings if each.check == "database"]
    assert told.verdict is FAIL
    assert SECRET not in str(findings)


async def test_an_encoding_that_lacks_characters_is_told(
    settings: Settings, postgres_url: str
) -> None:
    await run(
        postgres_url,
        "CREATE DATABASE narrow TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'",
    )
    try:
        narrow = settings.model_copy(update={"database_url": database(postgres_url, "narrow")})
        assert (await found(narrow, "encoding")).verdict is FAIL
        assert (await found(narrow, "schema")).verdict is WARN
    finally:
        await run(postgres_url, "DROP DATABASE narrow WITH (FORCE)")


async def test_a_login_that_does_not_own_the_tables_is_told(settings: Settings) -> None:
    await run(settings.database_url, "CREATE ROLE somebody LOGIN")
    try:
        url = sa.make_url(settings.database_url).set(username="somebody")
        other = settings.model_copy(update={"database_url": url.render_as_string()})
        assert (await found(other, "owner")).verdict is FAIL
    finally:
        await run(settings.database_url, "DROP ROLE somebody")


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("ALTER ROLE xinyi_app BYPASSRLS", "ALTER ROLE xinyi_app NOBYPASSRLS"),
        ("ALTER ROLE xinyi_app SUPERUSER", "ALTER ROLE xinyi_app NOSUPERUSER"),
        ("GRANT DELETE ON payments TO xinyi_app", "REVOKE DELETE ON payments FROM xinyi_app"),
        ("ALTER TABLE vouchers OWNER TO xinyi_app", "ALTER TABLE vouchers OWNER TO CURRENT_USER"),
    ],
)
async def test_an_application_that_may_do_too_much_is_told(
    breaks: str, mends: str, settings: Settings
) -> None:
    """Roles are of the whole server, so each is mended again."""
    await run(settings.database_url, breaks)
    try:
        assert (await found(settings, "application_role")).verdict is FAIL
    finally:
        await run(settings.database_url, mends)


@pytest.mark.parametrize(
    "breaks",
    [
        "ALTER TABLE payments NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE payments DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_estates ON payments",
    ],
)
async def test_a_table_that_is_not_guarded_is_named(breaks: str, settings: Settings) -> None:
    await run(settings.database_url, breaks)
    told = await found(settings, "row_security")
    assert told.verdict is FAIL
    assert told.what.en.endswith(": payments")


async def test_a_database_whose_tables_are_all_guarded_is_well(settings: Settings) -> None:
    assert (await found(settings, "row_security")).verdict is OK


async def test_commits_that_do_not_wait_for_the_disk_are_told(settings: Settings) -> None:
    name = sa.make_url(settings.database_url).database
    await run(settings.database_url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert (await found(settings, "synchronous_commit")).verdict is FAIL


async def test_pages_that_may_be_torn_are_told(settings: Settings) -> None:
    url = settings.database_url
    await run(url, "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
    try:
        async with owner(url) as conn:
            while await conn.fetchval("SHOW full_page_writes") != "off":
                await conn.execute("SELECT pg_sleep(0.01)")
        assert (await found(settings, "full_page_writes")).verdict is FAIL
    finally:
        await run(url, "ALTER SYSTEM RESET full_page_writes", "SELECT pg_reload_conf()")


@pytest.mark.parametrize(("revision", "verdict"), [("0001", WARN), ("9999", FAIL), (None, WARN)])
async def test_a_schema_that_is_not_of_this_release_is_told(
    revision: str | None, verdict: Verdict, settings: Settings
) -> None:
    change = "DELETE FROM" if revision is None else "UPDATE"
    to = "" if revision is None else f" SET version_num = '{revision}'"
    await run(settings.database_url, f"{change} alembic_version{to}")
    findings = {each.check: each for each in await look(settings)}
    assert findings["schema"].verdict is verdict
    # What the gateway records is not looked at in tables that may be other ones.
    assert "quarantine" not in findings


@pytest.mark.parametrize(("seconds", "verdict"), [(0, OK), (5, WARN), (-5, WARN), (90, FAIL)])
async def test_clocks_that_differ_are_told(
    seconds: int, verdict: Verdict, settings: Settings
) -> None:
    def wrong() -> datetime:
        return real_clock() + timedelta(seconds=seconds)

    assert (await found(settings, "clock", wrong)).verdict is verdict


# --- what waits for a person ---


async def test_an_account_of_a_bank_that_nobody_knows_is_told(settings: Settings) -> None:
    await run(settings.database_url, "UPDATE bank_accounts SET profile_id = 'lost'")
    told = await found(settings, "accounts")
    assert told.verdict is FAIL
    assert "lost" in told.what.zh


async def test_a_gateway_without_people_is_told_how_to_begin(settings: Settings) -> None:
    await run(settings.database_url, "TRUNCATE persons CASCADE")
    told = await found(settings, "registered")
    assert (told.verdict, "xinyi found" in told.todo.en) == (WARN, True)


async def test_nights_that_did_not_run_are_told(settings: Settings) -> None:
    insert = (
        "INSERT INTO runs (run_id, date, state, rules_version, counts, started_at, ended_at)"
        " VALUES ('r', $1, 'DONE', 'x', '{\"unproved_account_count\": 3}', now(), now())"
    )
    async with owner(settings.database_url) as conn:
        await conn.execute(insert, datetime.now(UTC).date() - timedelta(days=9))
    told = await found(settings, "night")
    assert told.verdict is FAIL
    assert (await found(settings, "proofs")).verdict is WARN


QUIET = Figures(
    asked_at=NOW,
    outboxes={},
    unknown_payment_count=0,
    open_cases={},
    overdue_case_count=0,
    quarantined_file_count=0,
    night=Night(TODAY, NOW, 0, 0),
)


def _outbox(stage: Stage) -> Any:
    return {"demo": Outbox({**dict.fromkeys(WAITING, 0), stage: 2}, None)}


@pytest.mark.parametrize(
    ("check", "changes", "verdict"),
    [
        ("night", {}, OK),
        ("night", {"night": Night(None, None, 0, 1)}, WARN),
        ("night", {"night": Night(TODAY, NOW, 0, 2)}, FAIL),
        ("proofs", {"night": Night(TODAY, NOW, 1, 0)}, WARN),
        ("quarantine", {"quarantined_file_count": 1}, WARN),
        ("in_doubt", {"unknown_payment_count": 1}, WARN),
        ("in_doubt", {"outboxes": _outbox(Stage.IN_DOUBT)}, WARN),
        ("outbox", {"outboxes": _outbox(Stage.STUCK)}, WARN),
        ("outbox", {"outboxes": _outbox(Stage.BY_HAND)}, WARN),
        ("outbox", {"outboxes": _outbox(Stage.QUEUED)}, OK),
    ],
)
def test_what_waits_for_a_person_is_told(
    check: str, changes: dict[str, Any], verdict: Verdict
) -> None:
    findings = {each.check: each for each in judge(replace(QUIET, **changes))}
    assert findings.pop(check).verdict is verdict
    assert {each.verdict for each in findings.values()} == {OK}
