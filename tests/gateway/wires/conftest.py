"""A desk at the running gateway, and banks behind real TLS and SSH servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from adapters.connection import retrying
from gateway import app
from gateway.settings import Settings
from tests.adapters.test_https import Authority
from tests.adapters.test_sftp import Bank as SftpServer
from tests.gateway.payments.conftest import desk
from tests.gateway.wires.city_bank import CityBank
from tests.gateway.wires.file_bank import FileBank, open_file_bank
from tests.gateway.wires.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.payments.desk import Desk
    from tests.gateway.support import StillClock

__all__ = ["desk"]

_PROFILES: Final = Path(__file__).parent / "profiles"
_CHANNEL: Final = "city-channel"
_REACHED_BY_TLS: Final = """\
kind = "https"
url = "https://127.0.0.1:{port}/pay"
certificate = "{keys}/us.pem"
private_key = "{keys}/us.key"
authority = "{keys}/authority.pem"
timeout_s = 1
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many attempts as in earnest, with next to no pause between them."""
    monkeypatch.setattr(retrying, "__defaults__", (3, 0.001))


@pytest.fixture
def profile_id() -> str:
    """The bank of both funds' accounts; the one of the packaged profiles that takes pain.001."""
    return "demo"


@pytest.fixture
async def database_url(database_url: str, profile_id: str) -> str:
    """This test's own copy of the world, in which both funds have their accounts at the bank.

    An account never moves to another bank in the gateway: only the owner of the tables can do so.
    """
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute("UPDATE bank_accounts SET profile_id = $1", profile_id)
    finally:
        await owner.close()
    return database_url


@pytest.fixture
async def gateway(
    database_url: str, tls_settings: TlsSettings, clock: StillClock, tmp_path: Path
) -> AsyncIterator[app.Gateway]:
    """A whole gateway with a folder of profiles of its own."""
    settings = Settings(
        listen="127.0.0.1:0", data_dir=tmp_path, profiles_dir=_PROFILES, **tls_settings
    )
    async with app.running(settings, database_url, clock) as running:
        yield running


# --- a channel --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def channel_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of the bank and of ours, and of the authority that signs both."""
    folder = tmp_path_factory.mktemp("channel")
    authority = Authority(folder, "authority")
    for name in ("bank", "us"):
        authority.issue(name)
    (folder / "us.key").chmod(0o600)
    return folder


@pytest.fixture
async def city(desk: Desk, clock: StillClock, channel_keys: Path) -> AsyncIterator[CityBank]:
    """The bank, with its door open; `reach.toml` says where."""
    folder = desk.gateway.sender.banks.root / _CHANNEL
    bank = CityBank(clock, folder / "in")
    folder.mkdir(parents=True)
    async with bank.open(channel_keys) as port:
        reach = _REACHED_BY_TLS.format(port=port, keys=channel_keys)
        (folder / "reach.toml").write_text(reach, encoding="utf-8")
        yield bank


@pytest.fixture
async def stage(desk: Desk, city: CityBank) -> AsyncIterator[Stage]:
    """Both sides; what must hold for every payment holds when the test is over."""
    opened = Stage(desk, city)
    yield opened
    await opened.holds()


# --- files --------------------------------------------------------------------------------------


@pytest.fixture
async def files(desk: Desk, tmp_path: Path) -> AsyncIterator[FileBank]:
    """The bank behind an SFTP server; what must hold holds when the test is over."""
    folder = desk.gateway.sender.banks.root / "demo"
    folder.mkdir(parents=True)
    keys = tmp_path / "sftp"
    keys.mkdir()
    server = SftpServer(keys)
    (keys / "client").chmod(0o600)
    opened = open_file_bank(desk, server, folder)
    yield opened
    await opened.holds()
