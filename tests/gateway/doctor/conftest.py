"""A set-up in which everything is well, and a look at it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from gateway.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.conftest import TlsSettings


@pytest.fixture
def settings(tls_settings: TlsSettings, tmp_path: Path, database_url: str) -> Settings:
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return Settings(
        data_dir=place, database_url=database_url, listen=f"127.0.0.1:{port}", **tls_settings
    )
