"""What is wrong with a set-up: whatever can be seen from this machine; nothing is changed.

An examination tells of all it finds; it raises nothing. A further one joins by its line in
`_of_machine` or `_of_database`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.doctor import database, files, host, network, state, tls
from gateway.doctor.finding import Finding, Text, Verdict, fail, warn
from gateway.store import GATEWAY, Store, embedded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.clock import Clock
    from gateway.settings import Settings

_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 30.0

__all__ = ["Finding", "Text", "Verdict", "database_of", "examine"]


def database_of(settings: Settings) -> str | Finding:
    """The database's URL, or why there is none; joins or starts the embedded one.

    Must not be called from a running event loop.
    """
    if settings.database_url:
        return settings.database_url
    place = settings.data_dir / "postgres"
    if not place.is_dir():
        return warn(
            "database",
            ("尚无内嵌数据库", "there is no embedded database yet"),
            (
                "xinyi serve 会建立；正式使用请设 XINYI_DATABASE_URL",
                "xinyi serve makes it; production names one by XINYI_DATABASE_URL",
            ),
        )
    try:
        return embedded.start(place)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was to be found
        return _broken("database", error)


async def examine(
    settings: Settings, database_url: str | Finding, clock: Clock
) -> AsyncIterator[Finding]:
    """Everything, in the order in which one would mend it.

    Args:
        settings: of the gateway.
        database_url: what `database_of` gave.
        clock: this machine's.
    """
    for finding in _of_machine(settings, clock):
        yield finding
    if isinstance(database_url, Finding):
        yield database_url
        return
    async for finding in _of_database(settings, database_url, clock):
        yield finding


def _of_machine(settings: Settings, clock: Clock) -> Iterator[Finding]:
    examinations: dict[str, Iterator[Finding]] = {
        "host": host.examine(settings),
        "tls": tls.examine(settings, clock()),
        "files": files.examine(settings, clock()),
        "network": network.examine(settings),
    }
    for name, findings in examinations.items():
        try:
            yield from findings
        except Exception as error:  # noqa: BLE001 - one that breaks holds up no other
            yield _broken(name, error)


async def _of_database(settings: Settings, url: str, clock: Clock) -> AsyncIterator[Finding]:
    async_url = sa.make_url(url).set(drivername="postgresql+asyncpg")
    patience = {"timeout": _CONNECT_S, "command_timeout": _ANSWER_S}
    store = Store(create_async_engine(async_url, connect_args=patience))
    try:
        async with store.engine.connect() as conn:
            found = [finding async for finding in _whole("database", database.examine(conn, clock))]
    except Exception as error:  # noqa: BLE001 - as above
        found = [database.not_reached(error)]
    for finding in found:
        yield finding
    # Without its schema the database has nothing to tell of the gateway's state.
    if any(each.check == "schema" and each.verdict is Verdict.OK for each in found):
        async with store.snapshot(GATEWAY) as conn:
            async for finding in _whole("state", state.examine(conn, settings, clock())):
                yield finding
    await store.close()


async def _whole(name: str, findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """The findings, and one more where looking broke off."""
    try:
        async for finding in findings:
            yield finding
    except Exception as error:  # noqa: BLE001 - as above
        yield _broken(name, error)


def _broken(check: str, error: Exception) -> Finding:
    why = type(error).__name__
    return fail(
        check,
        (f"检查未能完成：{why}", f"it could not be looked at: {why}"),
        ("先处理其他问题，再运行一次", "mend what else is told, then look again"),
    )
