from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from gateway.cli.commands import app
from tests.gateway.cli.fake import FakeGateway, make_person, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.support import Pki


@pytest.fixture
def fake(tls_settings: dict[str, Path]) -> Iterator[FakeGateway]:
    with serving(tls_settings) as running:
        yield running


@pytest.fixture
def xinyi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command as nobody in particular, away from every setting of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("XINYI_AS", "LC_ALL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    monkeypatch.setenv("XINYI_DATA_DIR", str(tmp_path))

    def run(*args: str, typed: str = "") -> Any:
        return CliRunner().invoke(app, args, input=typed, catch_exceptions=False)

    return run


@pytest.fixture
def zhao(
    xinyi: Callable[..., Result], fake: FakeGateway, pki: Pki, tmp_path: Path
) -> Callable[..., Result]:
    """Runs the command as the person zhao of the party firm, against the fake gateway."""
    make_person(tmp_path / "people", "firm.zhao", fake.address, pki)

    def run(*args: str, typed: str = "") -> Any:
        return xinyi(*args, "--as", "firm/zhao", typed=typed)

    return run
