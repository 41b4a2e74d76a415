"""What an examination says: how it stands, and what to do, in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARN = "warn"
    """It works, and somebody should look before it no longer does."""
    FAIL = "fail"
    """It does not work, or what it promises does not hold."""


class Text(NamedTuple):
    """The same in both languages."""

    zh: str
    en: str


NOTHING = Text("", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: a word for what was looked at, always the same.
        verdict: how grave it is.
        what: how it stands, and what that means.
        todo: what to do; empty where nothing is.
    """

    check: str
    verdict: Verdict
    what: Text
    todo: Text = NOTHING


def ok(check: str, zh: str, en: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Verdict.OK, Text(zh, en))


def warn(check: str, what: tuple[str, str], todo: tuple[str, str]) -> Finding:
    """Something to look at; each text in Chinese and English."""
    return Finding(check, Verdict.WARN, Text(*what), Text(*todo))


def fail(check: str, what: tuple[str, str], todo: tuple[str, str]) -> Finding:
    """Something to mend; each text in Chinese and English."""
    return Finding(check, Verdict.FAIL, Text(*what), Text(*todo))
