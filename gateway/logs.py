"""Logging: one line an event, without personal data (ids of parties and persons at most)."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from structlog.typing import Processor

Format = Literal["auto", "json", "console"]


def log_to(
    stream: TextIO = sys.stderr,
    *,
    level: str = "info",
    form: Format = "json",
    enrich: Sequence[Processor] = (),
) -> None:
    """Sends every log line to `stream` from now on, also those of the libraries.

    Args:
        stream: where lines go.
        level: what is less urgent is dropped.
        form: one JSON object a line, or text for people; ``auto`` asks whether it is a terminal.
        enrich: further processors, such as one that adds the trace.
    """
    for_people = form == "console" or (form == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *enrich,
            structlog.dev.ConsoleRenderer(colors=stream.isatty())
            if for_people
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)


class _Libraries(logging.Handler):
    """Lines of libraries, as ours: what happened and where, and not with which values.

    Their messages may quote a row, a file or an address. The text into which values are put does
    not; a text that came whole may, so that of it only the place is told.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the line."""
        told: dict[str, Any] = {
            "library": record.name,
            "where": f"{record.filename}:{record.lineno}",
        }
        if record.args:
            told["text"] = str(record.msg)
        if record.exc_info and record.exc_info[0]:
            told["cause"] = record.exc_info[0].__qualname__
            told["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        structlog.get_logger().log(record.levelno, "library", **told)
