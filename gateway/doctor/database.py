"""The database: reached, recent, owned and guarded as it must be, and on disk what it says is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import asyncpg
import sqlalchemy as sa

from gateway.doctor.finding import Verdict, fail, ok, warn
from gateway.store import schema
from gateway.store import tables as t
from gateway.store.engine import APPLICATION_ROLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.doctor.finding import Finding
    from gateway.store import Row

TESTED_MAJOR: Final = 18
LEAST_MAJOR: Final = 16

LITTLE_SKEW: Final = timedelta(seconds=1)
MUCH_SKEW: Final = timedelta(seconds=30)

DURABLE: Final[Mapping[str, frozenset[str]]] = {
    "fsync": frozenset({"on"}),
    "full_page_writes": frozenset({"on"}),
    # Each of these waits for this machine's own disk; what a replica does comes on top.
    "synchronous_commit": frozenset({"on", "local", "remote_write", "remote_apply"}),
}
"""Values with which what was acknowledged is on disk."""


async def examine(conn: AsyncConnection, clock: Clock) -> AsyncIterator[Finding]:
    """Everything that the owner's connection can see, the schema last."""
    yield await _version(conn)
    yield await _encoding(conn)
    yield await _login(conn)
    for name in DURABLE:
        yield await _durability(conn, name)
    yield await _clock(conn, clock)
    found = schema_finding(await schema.revision(conn))
    yield found
    if found.verdict is Verdict.OK:
        yield await _application(conn)
        yield await _row_security(conn)


def not_reached(error: Exception) -> Finding:
    """Of a database to which no connection can be had."""
    refused = isinstance(error, asyncpg.PostgresError)
    why = f"{type(error).__name__}: {error}" if refused else type(error).__name__
    return fail(
        "database",
        (f"连接不上：{why}", f"cannot be reached: {why}"),
        (
            "检查 XINYI_DATABASE_URL、网络、数据库是否运行、账号与密码",
            "look at XINYI_DATABASE_URL, the network, whether it runs, user and password",
        ),
    )


async def _version(conn: AsyncConnection) -> Finding:
    number = int(await _show(conn, "server_version_num"))
    return version_finding(number // 10_000, await _show(conn, "server_version"))


def version_finding(major: int, version: str) -> Finding:
    """Whether a server is recent enough."""
    told = f"PostgreSQL {version}"
    todo = (f"升级到 PostgreSQL {TESTED_MAJOR}", f"upgrade to PostgreSQL {TESTED_MAJOR}")
    if major < LEAST_MAJOR:
        return fail("database", (f"{told} 过旧", f"{told} is too old"), todo)
    if major < TESTED_MAJOR:
        what = (f"{told} 未经测试", f"{told} is not what this release is tested with")
        return warn("database", what, todo)
    return ok("database", told, told)


async def _encoding(conn: AsyncConnection) -> Finding:
    encoding = await _show(conn, "server_encoding")
    if encoding == "UTF8":
        return ok("encoding", encoding, encoding)
    return fail(
        "encoding",
        (f"编码为 {encoding}，存不下所有汉字", f"{encoding} cannot hold every Chinese character"),
        ("以 ENCODING 'UTF8' 重建数据库", "create the database anew with ENCODING 'UTF8'"),
    )


async def _login(conn: AsyncConnection) -> Finding:
    """Whether the login owns the tables, which migrations need, and may create the role."""
    row = await _one(
        conn,
        """
        SELECT current_user AS login, rolsuper OR rolcreaterole AS creates_roles,
            (SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                AND c.relkind = 'r' AND NOT pg_has_role(c.relowner, 'USAGE')) AS foreign_count
        FROM pg_roles WHERE rolname = current_user
        """,
    )
    if row.foreign_count:
        return fail(
            "owner",
            (
                f"{row.login} 不是 {row.foreign_count} 张表的属主，无法升级",
                f"{row.login} does not own {row.foreign_count} tables, so migrations will fail",
            ),
            ("以属主连接，或改正表的属主", "connect as their owner, or hand them to this one"),
        )
    if not row.creates_roles and not await _application_exists(conn):
        return fail(
            "owner",
            (
                f"{row.login} 不能建立角色 {APPLICATION_ROLE}",
                f"{row.login} may not create the role {APPLICATION_ROLE}",
            ),
            (f"ALTER ROLE {row.login} CREATEROLE", f"ALTER ROLE {row.login} CREATEROLE"),
        )
    return ok("owner", f"以属主 {row.login} 连接", f"connected as the owner, {row.login}")


async def _application_exists(conn: AsyncConnection) -> bool:
    query = sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :role")
    return bool(await conn.scalar(query, {"role": APPLICATION_ROLE}))


async def _durability(conn: AsyncConnection, name: str) -> Finding:
    value = await _show(conn, name)
    if value in DURABLE[name]:
        return ok(name, value, value)
    return fail(
        name,
        (
            f"{name} = {value}：断电时已确认的付款可能丢失或损坏",
            f"{name} = {value}: a power cut may lose or tear what was acknowledged",
        ),
        (
            f"ALTER SYSTEM SET {name} = on，再 SELECT pg_reload_conf()",
            f"ALTER SYSTEM SET {name} = on, then SELECT pg_reload_conf()",
        ),
    )


async def _clock(conn: AsyncConnection, clock: Clock) -> Finding:
    begun = clock()
    there = await conn.scalar(sa.text("SELECT clock_timestamp()"))
    ended = clock()
    # Somewhere between the two; what the question itself took is no skew.
    early, late = begun - there, there - ended
    skew = max(early, late, timedelta())
    told = f"{skew.total_seconds():.1f} s"
    todo = ("两台机器都用 NTP 对时", "keep both machines' clocks by NTP")
    what = (f"本机与数据库时钟相差 {told}", f"the clocks here and there differ by {told}")
    if skew > MUCH_SKEW:
        return fail("clock", what, todo)
    if skew > LITTLE_SKEW:
        return warn("clock", what, todo)
    return ok("clock", "本机与数据库时钟一致", "the clocks here and there agree")


def schema_finding(revision: str) -> Finding:
    """How a database's schema stands to this release."""
    head = schema.head()
    if revision == head:
        return ok("schema", head, head)
    if not revision:
        return warn(
            "schema",
            ("尚未建表", "there are no tables yet"),
            (
                "xinyi found 或 xinyi serve 会建立",
                "xinyi found makes them, and so does xinyi serve",
            ),
        )
    if revision in schema.revisions():
        return warn(
            "schema",
            (f"{revision}，本版需要 {head}", f"{revision}; this release needs {head}"),
            ("备份后启动 xinyi serve，会自动升级", "back up, then xinyi serve brings it up"),
        )
    return fail(
        "schema",
        (
            f"{revision} 不属于本版（本版为 {head}）",
            f"{revision} is none of this release, whose last is {head}",
        ),
        ("安装与数据库相配的版本", "install the release that the database belongs to"),
    )


async def _application(conn: AsyncConnection) -> Finding:
    """Whether the role of every transaction is as weak as it must be, and can be taken on."""
    row = await _one(
        conn,
        """
        SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb AS strong,
            pg_has_role(current_user, oid, 'SET') AS taken_on,
            (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owned_count,
            (SELECT count(*) FROM information_schema.role_table_grants
                WHERE grantee = rolname AND privilege_type IN ('DELETE', 'TRUNCATE')) AS erasable
        FROM pg_roles r WHERE rolname = :role
        """,
    )
    todo = (
        "收回多余权限；建表的升级脚本写明应有的权限",
        "take back what it has too much; the migrations say what it should have",
    )
    if row.strong or row.owned_count or row.erasable:
        return fail(
            "application_role",
            (
                f"{APPLICATION_ROLE} 权限过大，可绕过小区隔离或删除记录",
                f"{APPLICATION_ROLE} may do too much: see other estates, or remove records",
            ),
            todo,
        )
    if not row.taken_on:
        return fail(
            "application_role",
            (f"不能切换为 {APPLICATION_ROLE}", f"{APPLICATION_ROLE} cannot be taken on"),
            (f"GRANT {APPLICATION_ROLE} TO 属主", f"GRANT {APPLICATION_ROLE} TO the owner"),
        )
    return ok("application_role", APPLICATION_ROLE, APPLICATION_ROLE)


async def _row_security(conn: AsyncConnection) -> Finding:
    """Whether each table is guarded by the database itself, against its owner too."""
    rows = await conn.execute(
        sa.text(
            "SELECT relname, relrowsecurity AS guarded, relforcerowsecurity AS forced,"
            " EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid) AS ruled"
            " FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
    )
    guards = {row.relname for row in rows if row.guarded and row.forced and row.ruled}
    needed = set(t.metadata.tables)
    bare = ", ".join(sorted(needed - guards))
    if not bare:
        return ok("row_security", f"{len(needed)} 张表", f"{len(needed)} tables")
    return fail(
        "row_security",
        (
            f"未按小区隔离：{bare}",
            f"estates are not kept apart in: {bare}",
        ),
        (
            "ALTER TABLE … ENABLE 与 FORCE ROW LEVEL SECURITY，并查明何人关闭",
            "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY, and find out who did that",
        ),
    )


async def _show(conn: AsyncConnection, name: str) -> str:
    value = await conn.scalar(sa.text("SELECT current_setting(:name)"), {"name": name})
    return str(value)


async def _one(conn: AsyncConnection, query: str) -> Row:
    given = {"role": APPLICATION_ROLE} if ":role" in query else {}
    return (await conn.execute(sa.text(query), given)).one()
