"""What the README tells an operator to write and to type is something that the gateway takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from adapters.reach import SftpReach, read_reach
from gateway.cli.commands import app

_SECTION = (
    (Path(__file__).resolve().parents[3] / "README.md")
    .read_text(encoding="utf-8")
    .partition("\n## Banks: ")[2]
    .partition("\n## ")[0]
)
TYPED = [
    line
    for block in re.findall(r"```sh\n(.*?)```", _SECTION, re.DOTALL)
    for line in block.splitlines()
]


def test_the_reach_file_that_is_shown_is_one() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", _SECTION, re.DOTALL)
    assert isinstance(read_reach(shown.encode(), "reach.toml"), SftpReach)


@pytest.mark.parametrize("line", TYPED)
def test_a_command_that_is_shown_can_be_typed(line: str, tmp_path: Path) -> None:
    typed = shlex.split(line.replace("/media/stick", str(tmp_path)), comments=True)
    command, args = get_command(app), typed[1:]
    while hasattr(command, "commands"):
        command, args = command.commands[args[0]], args[1:]
    assert command.make_context("xinyi", args).params["who"]


def test_every_step_of_the_section_is_typed() -> None:
    assert {" ".join(line.split()[1:4]) for line in TYPED} >= {
        f"bank transmission {verb}" for verb in ("by-hand", "file", "confirm", "retry")
    }
