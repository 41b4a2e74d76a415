"""Rules that hold for the entries of every statement format."""

import hashlib
from collections import Counter
from dataclasses import astuple, dataclass, field, replace
from typing import Final

from adapters.model import Balance, Entry, Finding, error, warning

UNSTATED_REASON: Final = "unstated"
"""Stands for a return whose reason the bank left out: it is a return all the same."""


@dataclass(slots=True)
class Identities:
    """Gives every entry of one statement an id of its own.

    A row without a serial is named by a digest of its content; equal rows, which a bank may book
    for good reason, are told apart by an occurrence counter, so that an overlapping download
    names them the same again.
    """

    _seen: Counter[str] = field(default_factory=Counter)

    def name(self, entry: Entry, location: str) -> tuple[Entry, tuple[Finding, ...]]:
        """The entry under its final id, and a warning where the bank repeated a serial."""
        given = entry.entry_id
        entry_id = given or _digest(entry)
        self._seen[entry_id] += 1
        occurrence = self._seen[entry_id]
        if occurrence == 1:
            return replace(entry, entry_id=entry_id), ()
        named = replace(entry, entry_id=f"{entry_id}~{occurrence}")
        return named, (_repeated(given, location),) if given else ()


def _digest(entry: Entry) -> str:
    content = "\x1f".join(str(value) for value in astuple(entry))
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
