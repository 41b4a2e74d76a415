"""`xinyi serve --workers` as an operator starts it, over a world of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest_asyncio

from gateway.store import application_url, schema
from tests.gateway.conftest import database
from tests.gateway.workers.crew import Crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.support import Pki

_NAME = "crew"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crew(postgres_url: str, pki: Pki, tls_settings: TlsSettings) -> AsyncIterator[Crew]:
    """Processes on one port; they outlive the tests of a module."""
    owner = await asyncpg.connect(postgres_url)
    await owner.execute(f"CREATE DATABASE {_NAME}")
    url = database(postgres_url, _NAME)
    # A path of its own, because a socket's path may have no more than 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="xinyi-crew-"))
    await asyncio.to_thread(schema.upgrade, url)
    crew = Crew(directory, url, application_url(url), pki, tls_settings)
    try:
        await crew.found()
        await asyncio.to_thread(crew.start)
        yield crew
    finally:
        await asyncio.to_thread(crew.stop)
        await owner.execute(f"DROP DATABASE {_NAME} WITH (FORCE)")
        await owner.close()
        shutil.rmtree(directory)
