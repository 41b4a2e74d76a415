"""Rules that hold for the entries of every statement format."""

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Final

from adapters.model import Balance, Entry, Finding, error, warning

UNSTATED_REASON: Final = "unstated"
"""Stands for a return whose reason the bank left out: it is a return all the same."""


class _Ids:
    """A set of ids that takes about 16 bytes for each: a statement may have a million.

    Only 64 bits of each id's digest are kept: that two ids of a statement of a million share
    them, so that one is reported as repeated, has a chance of one in thirty million.
    """

    __slots__ = ("_count", "_slots")

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 64))
        self._count = 0

    def add(self, entry_id: str) -> bool:
        """Whether it is new."""
        digest = blake2b(entry_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        mark = int.from_bytes(digest, "little") or 1
        at = self._place(mark)
        if self._slots[at]:
            return False
        self._slots[at] = mark
        self._count += 1
        if self._count * 2 > len(self._slots):
            self._grow()
        return True

    def _place(self, mark: int) -> int:
        """Where a mark is or belongs: at most half of the slots are taken, so one is free."""
        slots = self._slots
        last = len(slots) - 1
        at = mark & last
        while slots[at] and slots[at] != mark:
            at = (at + 1) & last
        return at

    def _grow(self) -> None:
        marks = self._slots
        self._slots = array("Q", bytes(16 * len(marks)))
        for mark in marks:
            if mark:
                self._slots[self._place(mark)] = mark


@dataclass(slots=True)
class Identities:
    """Gives every entry of one statement an id of its own.

    A row without a serial is named by a digest of its content; equal rows, which a bank may book
    for good reason, are told apart by an occurrence counter, so that an overlapping download
    names them the same again.
    """

    _seen: _Ids = field(default_factory=_Ids)
    _occurrences: Counter[str] = field(default_factory=Counter)
    """Of those seen more than once."""

    def name(self, entry: Entry, location: str) -> tuple[Entry, tuple[Finding, ...]]:
        """The entry under its final id, and a warning where the bank repeated a serial."""
        named = self.named(entry)
        return named, self.repeated(entry, named, location)

    def named(self, entry: Entry) -> Entry:
        """The entry under its final id: itself, if that is the one it has."""
        given = entry.entry_id
        entry_id = given or _digest(entry)
        if self._seen.add(entry_id):
            return entry if given else replace(entry, entry_id=entry_id)
        self._occurrences[entry_id] += 1
        return replace(entry, entry_id=f"{entry_id}~{self._occurrences[entry_id] + 1}")

    def repeated(self, entry: Entry, named: Entry, location: str) -> tuple[Finding, ...]:
        """A warning where the bank repeated the serial of an entry that `named` renamed."""
        return (
            (_repeated(entry.entry_id, location),) if entry.entry_id and named is not entry else ()
        )


_CONTENT: Final = attrgetter(*(one.name for one in fields(Entry)))


def _digest(entry: Entry) -> str:
    content = "\x1f".join(map(str, _CONTENT(entry)))
    return "row-" + hashlib.sha256(content.encode()).hexdigest()[:20]


def _repeated(entry_id: str, location: str) -> Finding:
    return warning("entry_repeated", f"the bank uses entry id {entry_id} again", location)


def check_balances(
    opening: Balance | None, closing: Balance | None, entries_minor: int, location: str
) -> tuple[Finding, ...]:
    """A statement must have both balances, and its entries must lead from one to the other."""
    if opening is None or closing is None:
        missing = "opening" if opening is None else "closing"
        return (warning("balance_missing", f"no {missing} balance", location),)
    gap_minor = closing.amount_minor - opening.amount_minor - entries_minor
    if gap_minor == 0:
        return ()
    message = f"closing balance differs from opening plus entries by {gap_minor} minor units"
    return (error("statement_inconsistent", message, location),)
