"""The demo by its command, and every step that the README shows, as a newcomer types them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.read import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
_START_S = 30

_PREAMBLE = """
exec < <(yes)
trap 'status=$?; [ $status -lt 2 ] || exit $status' ERR
"""
"""Whoever is asked says yes; status 1 tells of mismatches, from 2 on something failed."""


class Newcomer:
    """Somebody in an empty directory with `xinyi` on the path."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "XINYI_LISTEN": f"127.0.0.1:{_free_port()}",
        }

    def runs(self, script: str, status: int = 0) -> str:
        """What a script prints."""
        done = subprocess.run(  # noqa: S603 - our own README
            ["/usr/bin/env", "bash", "-Euc", _PREAMBLE + script],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _blocks(heading: str) -> list[str]:
    """The shell blocks below a heading of the README."""
    text = (ROOT / "README.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """Somebody who has run the demo."""
    # Not below pytest's directory, which only its owner may enter: PostgreSQL is another user.
    with tempfile.TemporaryDirectory(prefix="xinyi-demo-") as home:
        somebody = Newcomer(Path(home))
        summary = somebody.runs("xinyi demo")
        assert "全部符合" in summary
        assert "✗" not in summary
        yield somebody


@pytest.fixture
def served(newcomer: Newcomer) -> Iterator[Newcomer]:
    """The demo's gateway, left running."""
    address = newcomer.environment["XINYI_LISTEN"].rsplit(":", 1)
    server = subprocess.Popen(  # noqa: S603 - our own command
        [BIN / "xinyi", "serve"], cwd=newcomer.home, env=newcomer.environment
    )
    try:
        _wait_for(address[0], int(address[1]))
        yield newcomer
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0


def _wait_for(host: str, port: int) -> None:
    for _ in range(_START_S * 10):
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the gateway did not start")


def test_the_readme_is_true(served: Newcomer) -> None:
    """The blocks of "Use it" run in their order and end with the payment made and the book read."""
    blocks = [block for block in _blocks("Use it") if not block.startswith("make serve")]
    *with_server, parsing, matching, proving = blocks
    output = served.runs("\n".join(with_server))
    assert "已入账" in output
    assert "银行重复" in output
    assert "已结" in output
    assert "电梯钢丝绳更换" in output

    parsed = served.runs(parsing)
    assert '"statements"' in parsed
    assert "银行手续费" in served.runs(matching, status=1)
    assert "一致" in served.runs(proving)


def test_the_demo_is_not_played_twice_where_it_need_not_be(newcomer: Newcomer) -> None:
    before = (newcomer.home / "var/xinyi/demo.json").stat().st_mtime_ns
    newcomer.runs("xinyi demo --if-missing")
    assert (newcomer.home / "var/xinyi/demo.json").stat().st_mtime_ns == before


def test_the_demo_leaves_other_data_alone(newcomer: Newcomer, tmp_path: Path) -> None:
    kept = tmp_path / "ledger.txt"
    kept.write_text("somebody's")
    newcomer.runs(f"XINYI_DATA_DIR={tmp_path} xinyi demo", status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.txt"]


def test_the_demo_files_are_of_the_bank(newcomer: Newcomer) -> None:
    """What the gateway took in are statements that any reader of camt.053 can check."""
    files = sorted((newcomer.home / "var/xinyi/banks/demo/done").glob("*camt053*.xml"))
    statements = [parse(file.read_bytes()).statements[0] for file in files]
    assert len(statements) == 6 * 3
    for statement in statements:
        assert statement.opening is not None
        assert statement.closing is not None
        moved = sum(entry.amount_minor for entry in statement.entries)
        assert statement.opening.amount_minor + moved == statement.closing.amount_minor


def test_the_demo_log_names_nobody(newcomer: Newcomer) -> None:
    """Names and purposes are Chinese, account numbers are in the bank's files: none of them."""
    home = newcomer.home / "var/xinyi"
    log = (home / "demo.log").read_text()
    files = [path.read_text("utf-8", "replace") for path in (home / "banks/demo").glob("*/*.xml")]
    accounts = set(re.findall(r"\d{16,}", "".join(files)))
    assert len(accounts) > 50
    assert not [account for account in accounts if account in log]
    assert not re.findall(r"[\u4e00-\u9fff]+", log)


def test_every_line_of_the_demo_log_is_one_event(newcomer: Newcomer) -> None:
    lines = (newcomer.home / "var/xinyi/demo.log").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        assert {"event", "level", "timestamp"} <= event.keys()
    calls = [event for event in events if event["event"] == "call"]
    assert len(calls) > 100
    for call in calls:
        assert {"call_id", "method", "code", "duration_ms"} <= call.keys()
    assert len({call["call_id"] for call in calls}) == len(calls)
