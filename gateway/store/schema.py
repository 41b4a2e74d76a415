"""Bringing a database to the schema of this release."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Runs every migration that the database at `url` lacks; needs the rights of its owner.

    Must not be called from a running event loop: alembic starts one of its own.
    """
    command.upgrade(_config(url), "head")
