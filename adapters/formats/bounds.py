"""Bounds that hold for every text format: the length of a line, the number of findings."""

from collections.abc import Iterable, Iterator
from typing import Final

from adapters.model import Finding, ParseError, Severity

MAX_LINE_BYTES: Final = 1 << 20
"""No format here has longer lines but one that is written on a single line altogether."""
MAX_FINDINGS: Final = 1000
"""A file with more that is wrong is not what it claims to be."""


def check_lines(content: bytes) -> None:
    """Refuse a file with an endless line before anything of it is decoded.

    Raises:
        ParseError: `line_too_long`, with the byte where the line begins.
    """
    at = 0
    while at + MAX_LINE_BYTES < len(content):
        window = at, at + MAX_LINE_BYTES
        last = max(content.rfind(b"\n", *window), content.rfind(b"\r", *window))
        if last < 0:
            message = f"a line of more than {MAX_LINE_BYTES} bytes"
            raise ParseError("line_too_long", message, f"byte {at}")
        at = last + 1


def lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends, one at a time: a list of them costs many times it."""
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        yield text[at:end]
        at = end


class Findings:
    """Gathers findings up to a bound."""

    def __init__(self) -> None:
        self._all: list[Finding] = []

    def error(self, code: str, message: str, location: str) -> None:
        """What forbids booking."""
        self.extend((Finding(Severity.ERROR, code, message, location),))

    def warning(self, code: str, message: str, location: str) -> None:
        """What a person should know of."""
        self.extend((Finding(Severity.WARNING, code, message, location),))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Findings of another's making.

        Raises:
            ParseError: `findings_too_many`, at the place of the first one too many.
        """
        for finding in findings:
            if len(self._all) == MAX_FINDINGS:
                message = f"more than {MAX_FINDINGS} findings, the last is {finding.code}"
                raise ParseError("findings_too_many", message, finding.location)
            self._all.append(finding)

    def all(self) -> tuple[Finding, ...]:
        """Every finding, in the order they were made."""
        return tuple(self._all)
