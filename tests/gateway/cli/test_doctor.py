from __future__ import annotations

import ast
import inspect
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from gateway import doctor
from gateway.cli.commands import app
from gateway.doctor import database, files, host, network, state, tls
from gateway.doctor.finding import Finding, Text, Verdict, fail, ok, warn
from tests.gateway.conftest import database as named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from click.testing import Result

FINE = ok("python", "新", "new")
LOOK = warn("disk", ("将满", "nearly full"), ("扩容", "add space"))
MEND = fail("key", ("不配对", "no pair"), ("换", "replace it"))


def _finding(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    async def examine(*_: object) -> AsyncIterator[Finding]:
        for each in findings:
            yield each

    monkeypatch.setattr(doctor, "examine", examine)


@pytest.mark.parametrize(
    ("findings", "status"), [((FINE,), 0), ((FINE, LOOK), 1), ((LOOK, MEND, FINE), 2)]
)
def test_the_exit_status_is_of_the_gravest_finding(
    findings: tuple[Finding, ...],
    status: int,
    xinyi: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _finding(monkeypatch, *findings)
    assert xinyi("doctor").exit_code == status
    assert xinyi("doctor", "--json").exit_code == status


def test_people_read_what_and_what_to_do_in_their_language(
    xinyi: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    _finding(monkeypatch, LOOK)
    chinese, english = xinyi("doctor"), xinyi("doctor", "--lang", "en")
    assert ("将满" in chinese.stdout, "扩容" in chinese.stdout) == (True, True)
    assert ("nearly full" in english.stdout, "add space" in english.stdout) == (True, True)
    assert "1 to look at" in english.stderr


def test_programs_read_both_languages(
    xinyi: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    _finding(monkeypatch, LOOK)
    assert json.loads(xinyi("doctor", "--json").stdout) == [
        {
            "check": "disk",
            "verdict": "warn",
            "what": {"zh": "将满", "en": "nearly full"},
            "todo": {"zh": "扩容", "en": "add space"},
        }
    ]


def test_an_empty_machine_is_told_what_it_lacks(
    xinyi: Callable[..., Result], tmp_path: Path
) -> None:
    result = xinyi("doctor", "--json")
    found = {each["check"]: each for each in json.loads(result.stdout)}
    assert result.exit_code == 2
    assert found["certificate"]["verdict"] == "fail"
    assert str(tmp_path / "pki" / "server.pem") in found["certificate"]["what"]["en"]
    assert found["database"]["verdict"] == "warn"
    assert not (tmp_path / "postgres").exists()


def test_a_database_by_url_is_looked_at(
    xinyi: Callable[..., Result],
    postgres_url: str,
    world_template: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XINYI_DATABASE_URL", named(postgres_url, world_template))
    found = {each["check"]: each for each in json.loads(xinyi("doctor", "--json").stdout)}
    assert found["row_security"]["verdict"] == "ok"


def test_one_examination_that_breaks_holds_up_no_other(
    xinyi: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[Finding]:
        yield FINE
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(tls, "examine", broken)
    result = xinyi("doctor", "--json")
    found = {each["check"]: each for each in json.loads(result.stdout)}
    assert found["tls"]["verdict"] == "fail"
    assert "secret" not in result.stdout
    assert {"python", "rules", "listen", "database"} <= set(found)


def test_every_command_that_the_doctor_names_is_there() -> None:
    modules = (doctor, database, files, host, network, state, tls)
    texts = [
        node.value
        for module in modules
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    told = {
        tuple(words.split())
        for text in texts
        for words in re.findall(r"xinyi ([a-z]+(?: [a-z]+)?)", text)
    }
    assert len(told) > 5
    for words in told:
        command: Any = get_command(app)
        for word in words:
            if not hasattr(command, "commands"):
                break  # what follows is the sentence
            command = command.commands[word]


def test_a_finding_that_asks_for_something_says_what_in_both_languages() -> None:
    for finding in (LOOK, MEND):
        assert isinstance(finding.todo, Text)
        assert finding.verdict is not Verdict.OK
        assert all(finding.what)
        assert all(finding.todo)
