from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from xinyi.v1.party_service_pb2 import GetCallerResponse, Person

from gateway import cli
from gateway.cli import commands
from gateway.client import ATTEMPTS
from tests.gateway.cli.fake import make_person, other_pki, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway
    from tests.gateway.support import Pki


def test_without_a_name_those_who_are_there_are_listed(
    xinyi: Callable[..., Result], pki: Pki, tmp_path: Path
) -> None:
    make_person(tmp_path / "people", "firm.zhao", "127.0.0.1:1", pki)
    for result in (xinyi("whoami"), xinyi("whoami", "--as", "firm/nobody")):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "  --as firm/zhao" in result.stderr.splitlines()


@pytest.mark.parametrize("who", ["", "firm", "../x", "firm/../../etc", "FIRM/zhao", "a/b/c"])
def test_a_name_that_is_none_opens_no_directory(who: str, xinyi: Callable[..., Result]) -> None:
    result = xinyi("whoami", "--as", who)
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_environment_can_say_who_calls(
    xinyi: Callable[..., Result],
    fake: FakeGateway,
    pki: Pki,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_person(tmp_path / "people", "firm.zhao", fake.address, pki)
    fake.answers["GetCaller"] = GetCallerResponse(person=Person(name="parties/firm/persons/z"))
    monkeypatch.setenv("XINYI_AS", "firm/zhao")
    assert "parties/firm/persons/z" in xinyi("whoami").stdout


def test_an_unreachable_gateway_is_one_readable_line(
    xinyi: Callable[..., Result], pki: Pki, tmp_path: Path
) -> None:
    make_person(tmp_path / "people", "firm.zhao", "127.0.0.1:1", pki)
    result = xinyi("whoami", "--as", "firm/zhao")
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("UNAVAILABLE: ")
    assert line.endswith("无法连接网关，或网关不接受此证书")


def test_a_certificate_of_another_authority_reaches_nothing(
    xinyi: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    make_person(tmp_path / "people", "firm.zhao", fake.address, other_pki())
    assert xinyi("whoami", "--as", "firm/zhao").exit_code == 2
    assert fake.asked == []


def test_an_unavailable_gateway_is_not_asked_for_ever(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetCaller"] = refusal(
        "STORE_UNAVAILABLE", "later", "稍后", code=grpc.StatusCode.UNAVAILABLE
    )
    result = zhao("whoami")
    assert (result.exit_code, len(fake.asked)) == (2, ATTEMPTS)
    assert "STORE_UNAVAILABLE: later / 稍后" in result.stderr


@pytest.mark.parametrize(
    ("environment", "options", "label"),
    [("zh_CN.UTF-8", (), "接口"), ("en_US.UTF-8", (), "Profile"), ("en", ("--lang", "zh"), "接口")],
)
def test_offline_the_environment_chooses_the_language_unless_an_option_does(
    environment: str,
    options: tuple[str, ...],
    label: str,
    xinyi: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANG", environment)
    assert label in xinyi("bank", "profiles", *options).stdout


def test_settings_that_break_a_rule_are_named(
    xinyi: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XINYI_ENVIRONMENT", "Not allowed!")
    result = xinyi("whoami", "--as", "firm/zhao")
    assert result.exit_code == 2
    assert "XINYI_ENVIRONMENT" in result.stderr


def test_a_defect_ends_as_a_failure_and_not_as_a_mismatch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(commands, "app", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_command_shows_the_common_options_in_its_help(xinyi: Callable[..., Result]) -> None:
    helped = xinyi("payment", "list", "--help").stdout
    assert all(option in helped for option in ("--as", "--lang", "--json", "--limit"))


def test_json_is_pure_even_for_a_call_that_fails(zhao: Callable[..., Result]) -> None:
    result = zhao("whoami", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("UNIMPLEMENTED")
