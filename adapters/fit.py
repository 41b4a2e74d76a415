"""Where one statement fits among those that are known: what of it is new, and whether it agrees.

Pure. A statement is cut where known ones begin, and each part is held against the known one that
it begins with. So a file that was missing for a while fits in between, and a month that holds
known days adds the days that were not.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from adapters.continuity import Chain, check
from adapters.model import Balance, Entry, Finding, Severity, Statement, error, warning

_DAY: Final = timedelta(days=1)
_SUMMED_UP: Final = frozenset({"statement_repeated", "statement_overlap"})
"""Findings on parts, of which one word on the whole statement is enough."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a statement brings.

    Attributes:
        parts: what is new in it, in the order of days; opening + entries = closing of each, and a
            part without entries says only that nothing more moved up to its closing day.
        findings: with an error nothing of it must be booked.
    """

    parts: tuple[Statement, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """Known statements that share days, such as the pages of one."""

    members: tuple[Statement, ...]

    @property
    def start(self) -> date:
        return min(_opening(one).date for one in self.members)

    @property
    def end(self) -> date:
        return max(_closing(one).date for one in self.members)

    @property
    def opening_minor(self) -> int:
        return _opening(self.members[0]).amount_minor

    @property
    def closing_minor(self) -> int:
        return _closing(self.members[-1]).amount_minor

    def chain(self) -> Chain:
        """What is known at its end."""
        entries = tuple(entry for one in self.members for entry in one.entries)
        # Banks give several statements one id; here it is the money that tells them apart.
        read = tuple(replace(one, statement_id="") for one in self.members)
        return Chain(Balance(self.end, self.closing_minor), entries, read)


def fit(statement: Statement, known: Sequence[Statement]) -> Fitted:
    """What a statement adds to those known of its account.

    A gap before it (`statement_gap`) is a warning here: the missing file may never come, and when
    it comes it fits in between. What contradicts the known is an error: `overlap_inconsistent`,
    `entry_changed`, `statement_late` (entries of days that were closed), `overlap_ambiguous`.

    Args:
        statement: With both balances and entries that lead from one to the other.
        known: Likewise, by last day and then by when they came: the last one that ends before the
            statement begins, or what the account held when it was taken over; all that share days
            with it, their entries up to its last day; the first one after it. An opening balance
            bears the first day.

    Raises:
        ValueError: Nothing is known, or a statement lacks a balance.
    """
    blocks = _from_first(_blocks(known), statement)
    end = last_day(statement)
    here = tuple(block for block in blocks if block.start <= end)
    if not here:
        raise ValueError("there must be something to begin with")
    parts, findings = [], []
    for position, part in enumerate(_cut(_per_day(statement), [one.start for one in here[1:]])):
        last = position == len(here) - 1
        if not (part.entries or last):
            continue
        added, found = _held(part, here[position])
        findings += [*found, *_closes_gap(part, added, blocks[position : position + 2], last=last)]
        if added or (last and end > here[position].end):
            parts.append(_part(part, added, here[position], end if last else date.min))
    return Fitted(tuple(parts), (*_told_once(statement, parts), *findings))


def first_day(statement: Statement) -> date:
    """The day of its first entry; without any, its last day."""
    booked = (entry.booking_date for entry in statement.entries)
    return min((*booked, _closing(statement).date))


def last_day(statement: Statement) -> date:
    """The day up to which it speaks."""
    booked = (entry.booking_date for entry in statement.entries)
    return max((*booked, _closing(statement).date))


def since(statement: Statement, day: date, held_minor: int) -> Statement:
    """The statement from the day on which an account was taken over with what it held then.

    What it held may be its balance before the entries of that day or after them: the one that the
    statement gives is taken, the balance before them where it gives neither.
    """
    _, from_day = _cut(_per_day(statement), [day])
    _, after_day = _cut(from_day, [day + _DAY])
    taken, start = from_day, day
    if _opening(from_day).amount_minor != held_minor == _opening(after_day).amount_minor:
        taken, start = after_day, day + _DAY
    opening = Balance(max(start, _opening(statement).date), _opening(taken).amount_minor)
    return replace(taken, opening=opening)


def _opening(statement: Statement) -> Balance:
    if statement.opening is None:
        raise ValueError("a statement without its opening balance")
    return statement.opening


def _closing(statement: Statement) -> Balance:
    if statement.closing is None:
        raise ValueError("a statement without its closing balance")
    return statement.closing


def _blocks(known: Sequence[Statement]) -> tuple[_Block, ...]:
    """Known statements in order, those that share a day in one block."""
    blocks: list[_Block] = []
    for one in known:
        if blocks and _opening(one).date <= blocks[-1].end:
            blocks[-1] = _Block((*blocks[-1].members, one))
        else:
            blocks.append(_Block((one,)))
    return tuple(blocks)


def _from_first(blocks: tuple[_Block, ...], statement: Statement) -> tuple[_Block, ...]:
    """Without those before the one in which, or behind which, the statement begins."""
    first = min(_opening(statement).date, first_day(statement))
    begun = sum(block.start <= first for block in blocks)
    return blocks[max(begun - 1, 0) :]


def _per_day(statement: Statement) -> Statement:
    """The statement with the occurrence counters of its entries counted anew each day.

    A bank that numbers its entries anew each day repeats its serials within a month's statement
    and not within a day's; the same entry must have one name in both.
    """
    seen: set[str] = set()
    occurrences = Counter[tuple[str, date]]()
    named = []
    for entry in statement.entries:
        base, mark, number = entry.entry_id.rpartition("~")
        name = base if mark and number.isdecimal() and base in seen else entry.entry_id
        seen.add(name)
        occurrences[name, entry.booking_date] += 1
        count = occurrences[name, entry.booking_date]
        counted = name if count == 1 else f"{name}~{count}"
        named.append(entry if counted == entry.entry_id else replace(entry, entry_id=counted))
    return replace(statement, entries=tuple(named))


def _cut(statement: Statement, days: Sequence[date]) -> list[Statement]:
    """The statement in parts that begin with these days, which rise; one part more than days."""
    shares: list[list[Entry]] = [[] for _ in range(len(days) + 1)]
    for entry in statement.entries:
        shares[bisect_right(days, entry.booking_date)].append(entry)
    parts, opening = [], _opening(statement)
    for day, share in zip(days, shares, strict=False):
        # The balance of the evening before: what follows is the whole day, no continuation of it.
        moved_minor = sum(one.amount_minor for one in share)
        closing = Balance(day - _DAY, opening.amount_minor + moved_minor)
        parts.append(replace(statement, opening=opening, closing=closing, entries=tuple(share)))
        opening = closing
    return [*parts, replace(statement, opening=opening, entries=tuple(shares[-1]))]


def _held(part: Statement, block: _Block) -> tuple[tuple[Entry, ...], list[Finding]]:
    """What a part adds to a block, and what is to be said of it."""
    before = block.chain()
    chained = check([part], before)
    added = chained.chain.entries[len(before.entries) :]
    # Statements of one day stand in the order in which they came; no other fits in between.
    fixed = first_day(part) <= block.end and _closing(part).amount_minor in {
        _opening(one).amount_minor for one in block.members
    }
    said = [one for one in chained.findings if one.code not in _SUMMED_UP]
    return added, [_judged(one, fixed=fixed) for one in said]


def _judged(finding: Finding, *, fixed: bool) -> Finding:
    """A gap is taken, unless it is the place of a page that came too late for it."""
    if finding.code != "statement_gap":
        return finding
    if fixed:
        return replace(finding, code="statement_late")
    return replace(finding, severity=Severity.WARNING)


def _closes_gap(
    part: Statement, added: Sequence[Entry], blocks: Sequence[_Block], *, last: bool
) -> Iterator[Finding]:
    """Whether what is added fits before the next block, where there is one."""
    if not added or len(blocks) == 1:
        return
    block, following = blocks
    left_minor = following.opening_minor - _closing(part).amount_minor
    was_closed = block.closing_minor == following.opening_minor
    if not left_minor or (last and not was_closed):
        return
    here = f"statement {part.statement_id}".strip()
    message = f"{left_minor} minor units are not explained before {following.start}"
    # Missing days may add up to zero: then the first of them to come opens a gap.
    days = (following.start - last_day(part), first_day(part) - block.end)
    if last and max(days) > _DAY:
        yield warning("statement_gap", message, here)
    else:
        yield error("statement_late", message, here)


def _part(part: Statement, added: tuple[Entry, ...], block: _Block, until: date) -> Statement:
    """What a part adds, as a statement that stands behind the block."""
    closing_minor = _closing(part).amount_minor
    days = [entry.booking_date for entry in added]
    end = max((block.end, until, *days))
    return replace(
        part,
        opening=Balance(min((end, *days)), closing_minor - sum(one.amount_minor for one in added)),
        closing=Balance(end, closing_minor),
        entries=added,
    )


def _told_once(statement: Statement, parts: Iterable[Statement]) -> Iterator[Finding]:
    """One word on what the statement says again."""
    new = [len(part.entries) for part in parts]
    here = f"statement {statement.statement_id}".strip()
    again = len(statement.entries) - sum(new)
    if not new:
        yield warning("statement_repeated", "everything in it is known already", here)
    elif again:
        message = f"{again} of {len(statement.entries)} entries are known already"
        yield warning("statement_overlap", message, here)
