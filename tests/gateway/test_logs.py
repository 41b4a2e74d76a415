"""What a line of the log is, and what it never says."""

from __future__ import annotations

import asyncio
import json
import logging
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from gateway.logs import log_to

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = "张三 6222020000000001"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


def _lines(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_level_and_its_moment() -> None:
    stream = StringIO()
    log_to(stream)
    structlog.get_logger().warning("two\nlines", why="电梯")
    (line,) = _lines(stream)
    assert (line["event"], line["level"], line["why"]) == ("two\nlines", "warning", "电梯")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(("level", "kept"), [("debug", 4), ("info", 3), ("error", 1)])
def test_what_is_less_urgent_is_not_logged(level: str, kept: int) -> None:
    stream = StringIO()
    log_to(stream, level=level)
    log = structlog.get_logger()
    for say in (log.debug, log.info, log.warning, log.error):
        say("event")
    assert len(_lines(stream)) == kept


def test_a_terminal_is_for_people_and_everything_else_for_programs() -> None:
    terminal, pipe = Terminal(), StringIO()
    for stream in (terminal, pipe):
        log_to(stream, form="auto")
        structlog.get_logger().info("served", port=1)
    assert not terminal.getvalue().startswith("{")
    assert _lines(pipe)[0]["port"] == 1


def test_a_library_tells_what_and_where_but_not_with_which_values() -> None:
    stream = StringIO()
    log_to(stream)
    try:
        dict[str, str]()[PRIVATE]
    except KeyError:
        logging.getLogger("some.library").exception("could not pay %s", PRIVATE)
    (line,) = _lines(stream)
    assert (line["library"], line["level"]) == ("some.library", "error")
    assert (line["text"], line["cause"]) == ("could not pay %s", "KeyError")
    assert line["where"].startswith("test_logs.py:")
    assert PRIVATE not in stream.getvalue()


def test_what_a_task_died_of_is_told_by_its_class() -> None:
    """The loop writes the exception into its message before any log sees it."""
    stream = StringIO()
    log_to(stream)
    loop = asyncio.new_event_loop()
    loop.call_exception_handler(
        {"message": f"Exception in callback pay({PRIVATE!r})", "exception": LookupError(PRIVATE)}
    )
    loop.close()
    (line,) = _lines(stream)
    assert (line["library"], line["cause"]) == ("asyncio", "LookupError")
    assert PRIVATE not in stream.getvalue()
