"""Each thing of the machine and its files is broken on purpose, and the doctor names it."""

from __future__ import annotations

import os
import socket
from asyncio import to_thread
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Any

import pytest

from adapters.calendar import CalendarUnknownError
from gateway.doctor import files, host, network, tls
from gateway.doctor.finding import Finding, Verdict
from gateway.pki import create_ca, issue_server
from gateway.settings import Settings
from tests.gateway.support import LONG

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.gateway.conftest import TlsSettings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


def worst(findings: Iterable[Finding], check: str) -> Finding:
    grave = {OK: 0, WARN: 1, FAIL: 2}
    return max((each for each in findings if each.check == check), key=lambda f: grave[f.verdict])


@pytest.fixture
def plain(tls_settings: TlsSettings, tmp_path: Path) -> Settings:
    """Settings in which everything is well, with TLS files of this test's own."""
    own = {}
    for name, path in tls_settings.items():
        own[name] = tmp_path / path.name  # type: ignore[attr-defined] # they are paths
        own[name].write_bytes(path.read_bytes())  # type: ignore[attr-defined] # as above
        own[name].chmod(0o600)
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    return Settings(data_dir=place, database_url="postgresql://nowhere/x", **own)


def test_nothing_is_said_where_nothing_is_wrong(plain: Settings) -> None:
    # Whoever runs the tests may have little space, and variables of their own.
    for finding in (*host.examine(plain), *tls.examine(plain, NOW), *files.examine(plain, NOW)):
        if finding.check not in {"disk", "variables"}:
            assert (finding.check, finding.verdict) == (finding.check, OK)
            assert not any(finding.todo)
            assert all(finding.what)


def test_an_old_python_is_told() -> None:
    assert host.python((3, 11, 0)).verdict is OK
    assert host.python((3, 10, 14)).verdict is FAIL


def test_a_missing_package_is_named_and_an_old_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "lxml":
            raise PackageNotFoundError(name)
        return {"grpcio": "1.0"}.get(name, "999")

    monkeypatch.setattr(host, "version", version)
    finding = host.packages(())
    assert finding.verdict is FAIL
    assert "lxml -" in finding.what.en
    assert "grpcio 1.0" in finding.what.zh


def test_an_extra_that_the_settings_want_is_looked_for(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name in {"ray", "opentelemetry-sdk"}:
            raise PackageNotFoundError(name)
        return "999"

    monkeypatch.setattr(host, "version", version)
    without = worst(host.examine(plain), "packages")
    wanted = plain.model_copy(
        update={"night_engine": "ray", "otlp_endpoint": "http://127.0.0.1:4318"}
    )
    finding = worst(host.examine(wanted), "packages")
    assert (without.verdict, finding.verdict) == (OK, FAIL)
    assert "ray -" in finding.what.en
    assert "opentelemetry-sdk -" in finding.what.en


def test_a_misspelt_variable_is_named() -> None:
    assert host.variables({"XINYI_LISTEN": "x", "XINYI_AS": "a/b", "PATH": "/bin"}).verdict is OK
    finding = host.variables({"XINYI_LITSEN": "127.0.0.1:1"})
    assert finding.verdict is WARN
    assert "XINYI_LITSEN" in finding.what.en


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o700, OK), (0o750, OK), (0o755, WARN), (0o777, FAIL)]
)
def test_a_data_directory_that_others_reach_is_told(
    mode: int, verdict: Verdict, plain: Settings
) -> None:
    plain.data_dir.chmod(mode)
    assert worst(host.data_directory(plain), "data_directory").verdict is verdict


def test_a_data_directory_that_cannot_be_written_or_is_not_there_is_told(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert worst(host.data_directory(plain), "data_directory").verdict is FAIL
    plain.data_dir.rmdir()
    assert worst(host.data_directory(plain), "data_directory").verdict is WARN


@pytest.mark.parametrize(("gib", "verdict"), [(100, OK), (5, WARN), (0, FAIL)])
def test_a_disk_that_is_nearly_full_is_told(gib: int, verdict: Verdict) -> None:
    assert host.disk(gib << 30).verdict is verdict


# --- TLS ---


@pytest.mark.parametrize(
    ("field", "check"),
    [("tls_certificate", "certificate"), ("tls_key", "key"), ("tls_client_ca", "client_ca")],
)
@pytest.mark.parametrize("spoil", ["gone", "garbage"])
def test_a_file_of_tls_that_cannot_be_used_is_named(
    field: str, check: str, spoil: str, plain: Settings
) -> None:
    path: Path = getattr(plain, field)
    if spoil == "gone":
        path.unlink()
    else:
        path.write_bytes(b"-----BEGIN NOTHING-----\n")
    finding = worst(tls.examine(plain, NOW), check)
    assert finding.verdict is FAIL
    assert str(path) in finding.what.en


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (LONG.start - timedelta(days=1), FAIL),
        (NOW, OK),
        (LONG.end - timedelta(days=29), WARN),
        (LONG.end, FAIL),
    ],
)
def test_certificates_are_held_to_their_time(
    now: datetime, verdict: Verdict, plain: Settings
) -> None:
    for check in ("certificate", "client_ca"):
        assert worst(tls.examine(plain, now), check).verdict is verdict


def test_a_key_of_another_certificate_is_told(plain: Settings, tmp_path: Path) -> None:
    other = issue_server(create_ca("other", LONG), [], LONG)
    other.write(tmp_path / "other.pem", plain.tls_key)
    assert worst(tls.examine(plain, NOW), "key").verdict is FAIL


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, OK), (0o640, WARN), (0o644, FAIL)])
def test_a_key_that_others_can_read_is_told(mode: int, verdict: Verdict, plain: Settings) -> None:
    plain.tls_key.chmod(mode)
    assert worst(tls.examine(plain, NOW), "key").verdict is verdict


# --- what operators write ---


def _with(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


@pytest.mark.parametrize(("field", "check"), [("rules", "rules"), ("case_policy", "case_policy")])
def test_a_file_of_rules_that_cannot_be_used_is_told(
    field: str, check: str, plain: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_text("colour = 1\n")
    finding = worst(files.examine(_with(plain, **{field: path}), NOW), check)
    assert finding.verdict is FAIL
    assert "colour" in finding.what.en
    path.write_text("")
    assert worst(files.examine(_with(plain, **{field: path}), NOW), check).verdict is OK


def test_an_engine_that_is_not_installed_is_told(plain: Settings) -> None:
    finding = worst(files.examine(_with(plain, night_engine="ray"), NOW), "night_engine")
    assert finding.verdict is FAIL


def test_a_bank_that_cannot_be_reached_is_named_beside_those_that_can(plain: Settings) -> None:
    folder = plain.banks_dir / "demo"
    folder.mkdir(parents=True)
    (folder / "reach.toml").write_text("kind =")
    found = list(files.examine(plain, NOW))
    assert worst(found, "bank").verdict is FAIL
    assert worst(found, "bank").what.en.startswith("demo ")
    assert "cmb-batch" in worst(found, "banks").what.en


@pytest.mark.parametrize(
    ("today", "verdict"),
    [(date(2026, 6, 1), OK), (date(2026, 12, 1), WARN), (date(2100, 1, 1), FAIL)],
)
def test_the_end_of_the_known_calendar_is_told_in_time(
    today: date, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the package knows when the tests run: here it ends with 2026."""

    def known(day: date, _: object) -> bool:
        if day.year > 2026:
            raise CalendarUnknownError(day)
        return True

    monkeypatch.setattr(files, "is_working_day", known)
    assert files.calendar(today).verdict is verdict


# --- addresses ---


def _listen(settings: Settings, **addresses: str) -> dict[str, Finding]:
    return {each.check: each for each in network.examine(_with(settings, **addresses))}


def test_an_address_that_is_free_is_fine_and_one_of_another_machine_is_not(
    plain: Settings,
) -> None:
    assert _listen(plain, listen="127.0.0.1:0")["listen"].verdict is OK
    assert _listen(plain, listen="192.0.2.1:50443")["listen"].verdict is FAIL


def test_a_stranger_on_the_gateways_port_is_told(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        found = _listen(plain, listen=taken, metrics_listen=taken)
    assert {each.verdict for each in found.values()} == {FAIL}


async def test_a_running_gateway_is_recognised_by_its_certificate(
    gateway: Gateway, plain: Settings, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{gateway.port}"
    assert (await to_thread(_listen, plain, listen=address))["listen"].verdict is OK
    other = issue_server(create_ca("other", LONG), [], LONG)
    other.write(plain.tls_certificate, tmp_path / "other.key")
    assert (await to_thread(_listen, plain, listen=address))["listen"].verdict is FAIL
