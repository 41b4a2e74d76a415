from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

SFTP = """\
kind = "sftp"
host = "files.bank.example"
user = "customer-1"
private_key = "login.key"
known_hosts = "known_hosts"
remote_out = "/upload"
remote_in = "/download"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one's own profiles, with the bank `own` in it."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    packaged = (resources.files("adapters.banks") / "cib-batch.toml").read_text(encoding="utf-8")
    text = packaged.replace('id = "cib-batch"', 'id = "own"')
    (folder / "own.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("XINYI_PROFILES_DIR", str(folder))
    return folder


def sftp(data_dir: Path, text: str = SFTP) -> Path:
    """The folder of the bank `own`, reached by SFTP, with a key and the server's."""
    folder = data_dir / "banks" / "own"
    folder.mkdir(parents=True)
    (folder / "reach.toml").write_text(text, encoding="utf-8")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "login.key")
    (folder / "login.key").chmod(0o600)
    known = key.export_public_key().decode()
    (folder / "known_hosts").write_text(f"files.bank.example {known}", encoding="utf-8")
    return folder


def ways(result: Result) -> dict[str, Any]:
    return {each["profile"]: each for each in json.loads(result.stdout)}


def test_without_a_reach_file_a_bank_is_its_folder_and_a_channel_is_not_set_up(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    result = xinyi("bank", "reach", "--json")
    found = ways(result)
    assert result.exit_code == 0
    assert found["demo"] == {
        "profile": "demo",
        "usable": "yes",
        "kind": "folder",
        "where": str(tmp_path / "banks" / "demo"),
        "why": "",
    }
    assert found["icbc-channel"]["usable"] == "not_set_up"
    assert not (tmp_path / "banks").exists()


def test_a_bank_that_is_asked_for_by_name_must_be_ready(xinyi: Callable[..., Result]) -> None:
    assert xinyi("bank", "reach", "demo").exit_code == 0
    result = xinyi("bank", "reach", "icbc-channel")
    assert result.exit_code == 1
    assert "未设置" in result.stdout


def test_a_bank_with_its_own_profile_server_and_keys_can_be_used(
    own: Path, xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    assert own.is_dir()
    sftp(tmp_path)
    result = xinyi("bank", "reach", "own", "--json")
    assert result.exit_code == 0, result.stdout
    assert ways(result)["own"]["where"] == "customer-1@files.bank.example:22"


@pytest.mark.parametrize("spoil", ["login.key", "known_hosts", "mode", "setting", "toml"])
def test_what_keeps_one_bank_from_being_used_is_named_and_the_others_are_told_of(
    spoil: str, own: Path, xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    assert own.is_dir()
    folder = sftp(tmp_path)
    named: dict[str, Callable[[], object]] = {
        "login.key": (folder / "login.key").unlink,
        "known_hosts": lambda: (folder / "known_hosts").write_bytes(b"\0"),
        "mode": lambda: (folder / "login.key").chmod(0o644),
        "setting": lambda: (folder / "reach.toml").write_text(SFTP + "colour = 1\n"),
        "toml": lambda: (folder / "reach.toml").write_text("kind ="),
    }
    named[spoil]()
    result = xinyi("bank", "reach", "--json")
    found = ways(result)
    assert (result.exit_code, found["own"]["usable"], found["demo"]["usable"]) == (1, "no", "yes")
    assert found["own"]["why"].startswith("own/reach.toml")
    shown = xinyi("bank", "reach")
    assert (shown.exit_code, "不可用" in shown.stdout) == (1, True)


def test_a_folder_whose_name_is_no_profile_is_found(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    sftp(tmp_path)
    result = xinyi("bank", "reach", "--json")
    assert result.exit_code == 1
    assert ways(result)["own"]["why"] == "no bank profile 'own'"


def test_a_profile_of_ones_own_is_listed_and_checks_files(
    own: Path, xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    assert own.is_dir()
    (tmp_path / "s.sta").write_bytes(b"hello")
    assert "own" in {each["id"] for each in json.loads(xinyi("bank", "profiles", "--json").stdout)}
    checked = xinyi("bank", "check", "own", "s.sta", "--json")
    assert (checked.exit_code, json.loads(checked.stdout)[0]["severity"]) == (1, "error")


@pytest.mark.parametrize("command", [("profiles",), ("check", "own", "s.sta")])
def test_a_profile_that_breaks_the_schema_is_named_with_its_setting(
    command: tuple[str, ...], own: Path, xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "s.sta").write_bytes(b"hello")
    text = (own / "own.toml").read_text(encoding="utf-8")
    (own / "own.toml").write_text(f"colour = 1\n{text}", encoding="utf-8")
    result = xinyi("bank", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "own.toml: colour" in result.stderr
    seen = xinyi("bank", "reach", "--json")
    found = ways(seen)
    assert (seen.exit_code, found["own"]["usable"], found["demo"]["usable"]) == (1, "no", "yes")
