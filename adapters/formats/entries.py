"""Rules that hold for the entries of every statement format."""

import hashlib
from array import array
from collections import Counter
from dataclasses import fields
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

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


class _HeldIds:
    """The same for a reader that holds all entries: the ids themselves, so exact and faster.

    It takes about 50 bytes for each, a tenth of what the entry takes.
    """

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: set[str] = set()

    def add(self, entry_id: str) -> bool:
        """Whether it is new."""
        before = len(self._all)
        self._all.add(entry_id)
        return len(self._all) > before


class Identities:
    """Gives every entry of one statement an id of its own.

    A row without a serial is named by a digest of its content; equal rows, which a bank may book
    for good reason, are told apart by an occurrence counter, so that an overlapping download
    names them the same again.
    """

    __slots__ = ("_occurrences", "_seen")

    def __init__(self, *, held: bool = False) -> None:
        """`held` says that the reader keeps all entries, and with them the texts of their ids."""
        self._seen = _HeldIds() if held else _Ids()
        self._occurrences: Counter[str] = Counter()
        """Of those seen more than once."""

    def name(self, entry: Entry, location: str) -> tuple[Entry, tuple[Finding, ...]]:
        """The entry under its final id, and a warning where the bank repeated a serial."""
        named = self.named(entry)
        return named, self.repeated(entry.entry_id, named.entry_id, location)

    def named(self, entry: Entry) -> Entry:
        """The entry under its final id: itself, if that is the one it has."""
        content = _CONTENT(entry)
        entry_id = self.id_of(content)
        # A new one is what `dataclasses.replace` gives, in half its time.
        return entry if entry_id == entry.entry_id else Entry(entry_id, *content[1:])

    def id_of(self, content: tuple[Any, ...]) -> str:
        """The final id of an entry that is to be made of these values, the bank's id first."""
        entry_id = content[0] or _digest(content)
        if self._seen.add(entry_id):
            return str(entry_id)
        self._occurrences[entry_id] += 1
        return f"{entry_id}~{self._occurrences[entry_id] + 1}"

    def repeated(self, given: str, entry_id: str, location: str) -> tuple[Finding, ...]:
        """A warning where the bank repeated a serial, so that the entry has another id."""
        return (_repeated(given, location),) if given and entry_id != given else ()


_CONTENT: Final = attrgetter(*(one.name for one in fields(Entry)))
"""The id, which is the first field, and all others, in their order."""


def _digest(content: tuple[Any, ...]) -> str:
    text = "\x1f".join(map(str, content))
    return "row-" + hashlib.sha256(text.encode()).hexdigest()[:20]


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
