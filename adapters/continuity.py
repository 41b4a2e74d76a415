"""Whether the statements of one account follow one another, and each of their entries once.

Pure: what a bank sends for one account, in the order of its days, against what is known already.
Whether a file as such came twice (its hash) is the caller's to know.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from typing import Final, TypeAlias

from adapters.model import Balance, Entry, Finding, Statement, error, warning

_Key: TypeAlias = tuple[str, date]
"""Banks use a serial again after a year, or every day: with its day it is one entry."""

_UNNUMBERED: Final = "row-"
"""How `formats.entries` begins the name of a row that the bank gave no serial."""

IDLE_DAYS: Final = 10
"""Days without a statement that need no word: the longest public holiday with its weekends."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What is known of an account after some statements."""

    closing: Balance | None = None
    """Booked balance after the last entry."""
    entries: tuple[Entry, ...] = ()
    """Each entry once, in the order in which it became known."""
    read: tuple[Statement, ...] = ()
    """Every statement that added to it or was found to repeat one."""


@dataclass(frozen=True, slots=True)
class Chained:
    """A chain with what was found on the way; with an error it must not be booked."""

    chain: Chain
    findings: tuple[Finding, ...]


def check(
    statements: Sequence[Statement], known: Chain | None = None, idle_days: int = IDLE_DAYS
) -> Chained:
    """Put statements of one account behind what is known of it.

    A statement that opens with the last closing balance is a continuation, and rows in it that
    equal earlier ones are entries of their own, told apart by an occurrence counter. Any other is
    held against the entries known: what it repeats counts once, and its closing balance must
    then follow, or money is missing (`statement_gap`) or counted twice (`overlap_inconsistent`).

    Where both readings fit, the bank's serials decide; where the rows have none,
    `overlap_ambiguous` says so and nothing known is added.

    Args:
        statements: Of one account and currency, in any order of their days.
        known: The chain up to here; the entries of the days that a bank may send again suffice.
        idle_days: Days between two statements from which on a warning says so.

    Raises:
        ValueError: Statements of more than one account or currency.
    """
    chain = known or Chain()
    if len({(one.account, one.currency) for one in (*chain.read, *statements)}) > 1:
        raise ValueError("statements of more than one account or currency")
    findings: list[Finding] = []
    for statement in sorted(statements, key=_period):
        chain = _link(chain, statement, idle_days, findings)
    return Chained(chain, tuple(findings))


def _days(statement: Statement) -> list[date]:
    balances = [one.date for one in (statement.opening, statement.closing) if one]
    return sorted([*balances, *(entry.booking_date for entry in statement.entries)])


def _period(statement: Statement) -> tuple[date, date]:
    """First and last day that a statement speaks of; without any, the beginning of time."""
    days = _days(statement)
    return (days[0], days[-1]) if days else (date.min, date.min)


def _here(statement: Statement) -> str:
    return f"statement {statement.statement_id or _period(statement)[0].isoformat()}"


def _link(chain: Chain, statement: Statement, idle_days: int, findings: list[Finding]) -> Chain:
    """The chain with one more statement."""
    here = _here(statement)
    if _is_repeated(chain, statement) and not _is_ambiguous(chain, statement):
        findings.append(warning("statement_repeated", "the same statement again", here))
        return replace(chain, read=(*chain.read, statement))
    if _id_is_reused(chain, statement):
        message = "another statement of this year has its id"
        findings.append(error("statement_id_reused", message, here))
    findings.extend(_idle(chain, statement, idle_days))
    added, found = _added(chain, statement)
    findings.extend(found)
    return Chain(
        closing=_closing(chain, statement, added),
        entries=(*chain.entries, *added),
        read=(*chain.read, statement),
    )


def _key(entry: Entry) -> _Key:
    return entry.entry_id, entry.booking_date


def _again(chain: Chain, statement: Statement) -> list[Entry]:
    """Its entries that are known with the same amount."""
    known = {_key(entry): entry.amount_minor for entry in chain.entries}
    return [one for one in statement.entries if known.get(_key(one)) == one.amount_minor]


def _is_repeated(chain: Chain, statement: Statement) -> bool:
    """Whether it says nothing new: entries all known, balances that the account had, no later day.

    So pages and days sent again are known in whatever slices they come.
    """
    if chain.closing is None or _period(statement)[1] > chain.closing.date:
        return False
    stated = {one.amount_minor for one in (statement.opening, statement.closing) if one}
    known_all = len(_again(chain, statement)) == len(statement.entries)
    return bool(stated) and known_all and stated <= _balances(chain)


def _balances(chain: Chain) -> set[int]:
    """Every balance that the account had in the statements read, entry after entry."""
    had: set[int] = set()
    for one in chain.read:
        had.update(balance.amount_minor for balance in (one.opening, one.closing) if balance)
        if one.opening is not None:
            moves = (entry.amount_minor for entry in one.entries)
            had.update(accumulate(moves, initial=one.opening.amount_minor))
    return had


def _id_is_reused(chain: Chain, statement: Statement) -> bool:
    """Within a year: that numbers begin again with the year is how banks count."""
    year = _period(statement)[1].year
    return bool(statement.statement_id) and any(
        one.statement_id == statement.statement_id and _period(one)[1].year == year
        for one in chain.read
    )


def _idle(chain: Chain, statement: Statement, idle_days: int) -> Iterable[Finding]:
    if chain.closing is None or not _days(statement):
        return
    first = _period(statement)[0]
    if first - chain.closing.date > timedelta(days=idle_days):
        days = (first - chain.closing.date).days - 1
        message = f"no statement for {days} days after {chain.closing.date.isoformat()}"
        yield warning("days_without_statement", message, _here(statement))


def _continues(chain: Chain, statement: Statement) -> bool:
    """Whether it begins where the chain ends; the first statement of all does."""
    if chain.closing is None:
        return not chain.entries
    opening = statement.opening
    return (
        opening is not None
        and opening.amount_minor == chain.closing.amount_minor
        and _period(statement)[0] >= chain.closing.date
    )


def _added(chain: Chain, statement: Statement) -> tuple[tuple[Entry, ...], list[Finding]]:
    """The entries that the statement adds, and whether the money follows."""
    findings = []
    if _continues(chain, statement):
        if not _may_repeat(chain, statement):
            return _named_apart(statement.entries, {_key(entry) for entry in chain.entries}), []
        if _is_ambiguous(chain, statement):
            message = "the last day again, or equal entries that cancel out: a person must say"
            findings.append(error("overlap_ambiguous", message, _here(statement)))
    added, overlap = _unknown(chain, statement)
    return added, [*findings, *overlap, *_followed(chain, statement, added)]


def _may_repeat(chain: Chain, statement: Statement) -> bool:
    """Whether a continuation fits as a repetition too: what is known in it moved nothing since."""
    again = _again(chain, statement)
    shared = chain.closing is not None and _period(statement)[0] <= chain.closing.date
    moved_minor = sum(one.amount_minor for one in again)
    return shared and bool(again) and (moved_minor == 0 or _is_repeated(chain, statement))


def _is_ambiguous(chain: Chain, statement: Statement) -> bool:
    """Whether it continues and repeats alike, and no serial of the bank tells which."""
    unnumbered = all(one.entry_id.startswith(_UNNUMBERED) for one in _again(chain, statement))
    return unnumbered and _continues(chain, statement) and _may_repeat(chain, statement)


def _named_apart(entries: Sequence[Entry], taken: set[_Key]) -> tuple[Entry, ...]:
    """The entries, those under a name that is taken under the next occurrence of it."""
    named, occurrences = [], Counter[_Key]()
    for entry in entries:
        apart, base = entry, _base(entry)
        while _key(apart) in taken:
            occurrences[base, entry.booking_date] += 1
            occurrence = 1 + occurrences[base, entry.booking_date]
            apart = replace(entry, entry_id=f"{base}~{occurrence}")
        taken.add(_key(apart))
        named.append(apart)
    return tuple(named)


def _base(entry: Entry) -> str:
    """An id without the occurrence counter that the reader of the file gave it."""
    base, mark, occurrence = entry.entry_id.rpartition("~")
    return base if mark and occurrence.isdecimal() else entry.entry_id


def _unknown(chain: Chain, statement: Statement) -> tuple[tuple[Entry, ...], list[Finding]]:
    """The entries that are not known yet, and what was found of those that are."""
    here, findings = _here(statement), []
    known = {_key(entry): entry for entry in chain.entries}
    again = [entry for entry in statement.entries if _key(entry) in known]
    changed = [one for one in again if one.amount_minor != known[_key(one)].amount_minor]
    if again:
        message = f"{len(again)} of {len(statement.entries)} entries are known already"
        findings.append(warning("statement_overlap", message, here))
    if changed:
        message = f"{len(changed)} known entries have another amount now"
        findings.append(error("entry_changed", message, here))
    return tuple(entry for entry in statement.entries if _key(entry) not in known), findings


def _followed(chain: Chain, statement: Statement, added: Sequence[Entry]) -> Iterable[Finding]:
    """Whether the money leads from the chain's end to the statement's."""
    here = _here(statement)
    if chain.closing is None or (statement.opening is None and statement.closing is None):
        yield warning("continuity_unknown", "no balance to hold against the one before", here)
        return
    if _period(statement)[1] < chain.closing.date:
        yield from _fits_before(chain, statement, added)
        return
    gap_minor = _gap_minor(chain.closing, statement, added)
    if gap_minor == 0:
        return
    overlaps = len(added) < len(statement.entries) or _shares_days(chain, statement)
    code = "overlap_inconsistent" if overlaps else "statement_gap"
    since = chain.closing.date.isoformat()
    yield error(code, f"{gap_minor} minor units are not explained since {since}", here)


def _fits_before(chain: Chain, statement: Statement, added: Sequence[Entry]) -> Iterable[Finding]:
    """Whether a statement that ends before the chain does agrees with it."""
    here = _here(statement)
    had, closing = _balances(chain), statement.closing
    if added:
        message = f"{len(added)} entries of days that were closed already"
        yield error("statement_late", message, here)
    elif had and closing is not None and closing.amount_minor not in had:
        message = f"it ends with {closing.amount_minor} minor units, which the account never had"
        yield error("overlap_inconsistent", message, here)


def _shares_days(chain: Chain, statement: Statement) -> bool:
    """Whether it begins within what was read, whatever its rows are called this time."""
    assert chain.closing is not None  # noqa: S101 - the caller looked
    first = _period(statement)[0]
    if first != chain.closing.date or statement.opening is None:
        return first < chain.closing.date
    return statement.opening.amount_minor in _balances(chain)


def _gap_minor(before: Balance, statement: Statement, added: Sequence[Entry]) -> int:
    """What the statement's balance has more than the balance before and the new entries."""
    if statement.closing is not None:
        added_minor = sum(entry.amount_minor for entry in added)
        return statement.closing.amount_minor - before.amount_minor - added_minor
    assert statement.opening is not None  # noqa: S101 - the caller looked
    known_minor = sum(entry.amount_minor for entry in statement.entries) - sum(
        entry.amount_minor for entry in added
    )
    return statement.opening.amount_minor + known_minor - before.amount_minor


def _closing(chain: Chain, statement: Statement, added: Sequence[Entry]) -> Balance | None:
    """The later closing balance; where a statement has none, it is worked out."""
    last = _period(statement)[1]
    if chain.closing is not None and last < chain.closing.date:
        return chain.closing
    if statement.closing is not None:
        return statement.closing
    before = chain.closing or statement.opening
    if before is None:
        return None
    total_minor = sum(entry.amount_minor for entry in added)
    return Balance(last, before.amount_minor + total_minor)
