"""Bringing a database to the schema of this release."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection

_MIGRATIONS = Path(__file__).parent / "migrations"


def _config(url: str = "") -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Runs every migration that the database at `url` lacks; needs the rights of its owner.

    Must not be called from a running event loop: alembic starts one of its own.
    """
    command.upgrade(_config(url), "head")


@cache
def revisions() -> tuple[str, ...]:
    """The revisions of this release, the newest first."""
    scripts = ScriptDirectory.from_config(_config())
    return tuple(script.revision for script in scripts.walk_revisions())


def head() -> str:
    """The revision that this release works with."""
    return revisions()[0]


async def revision(conn: AsyncConnection) -> str:
    """The revision of a database, empty where it has no schema; read as its owner."""

    def read(plain: sa.Connection) -> str | None:
        return MigrationContext.configure(plain).get_current_revision()

    return await conn.run_sync(read) or ""
