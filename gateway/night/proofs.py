"""Balance proofs: closing - ledger - (open bank - open ledger) = 0, and the chain that they form.

Each proof of an account carries the digest of the one before it. None of them is ever changed: what
comes later and counts for a proved day opens that day again, by a proof of its own that says why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from gateway.clock import bank_date
from gateway.domain.money import format_minor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_REOPENED: Final = "reopened"
_MOST_CAUSES: Final = 20
"""Causes that one proof names."""
_STEP: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the end of a day; columns of `figures.figures`, amounts in fen."""

    fund_id: str
    account_id: str
    day: date
    currency: str
    opening_minor: int
    ledger_minor: int
    covered_until: date | None
    closing_minor: int | None
    inconsistent: bool
    broken_on: date | None
    repeated_on: date | None
    open_bank_minor: int
    open_ledger_minor: int
    late_bank_minor: int
    late_ledger_minor: int


@dataclass(frozen=True, slots=True)
class News:
    """Something that came after a day was proved and counts for it.

    Attributes:
        fund_id: its fund.
        account_id: its account.
        kind: ``line``, ``statement`` or ``match``.
        name: the line's number; empty for others.
        amount_minor: the line's amount, fen.
        first: the earliest day that it counts for.
        last: of a statement its last day.
        at: when it came, UTC.
    """

    fund_id: str
    account_id: str
    kind: str
    name: str
    amount_minor: int
    first: date
    last: date
    at: datetime

    def told(self, currency: str) -> str:
        """One sentence: what came, and when."""
        when = bank_date(self.at)
        match self.kind:
            case "line":
                amount = format_minor(self.amount_minor, currency)
                what = f"line {self.name} over {amount} counting for {self.first} was disclosed"
            case "statement":
                what = f"a statement from {self.first} to {self.last} was taken in"
            case _:
                what = f"a match of rows from {self.first} on was undone"
        return f"{_REOPENED}: {what} on {when}"


@dataclass(frozen=True, slots=True)
class Proof:
    """A link of an account's chain; amounts in fen.

    Attributes:
        run_id: the run that made it.
        fund_id: its fund.
        account_id: its account.
        date: the day that it proves, in the evening.
        bank_closing_minor: the last closing balance known, without a statement the opening one.
        ledger_minor: the sum of the lines.
        open_bank_minor: the sum of bank entries without a line.
        open_ledger_minor: the sum of lines without a bank entry.
        difference_minor: what nothing explains.
        proved: whether the difference is zero and nothing was found that stands against it.
        findings: a name and a sentence each.
        created_at: UTC; along a chain it only rises.
        previous_digest: of the link before; empty for the first.
        digest: SHA-256 of all that is above.
    """

    run_id: str
    fund_id: str
    account_id: str
    date: date
    bank_closing_minor: int
    ledger_minor: int
    open_bank_minor: int
    open_ledger_minor: int
    difference_minor: int
    proved: bool
    findings: tuple[str, ...]
    created_at: datetime
    previous_digest: str
    digest: str

    def row(self) -> dict[str, Any]:
        """Its attributes by name; a nation has too many proofs to copy them deeply."""
        return {name: getattr(self, name) for name in self.__slots__}

    def figures(self) -> tuple[int, ...]:
        """The terms of the equation."""
        return (
            *(self.bank_closing_minor, self.ledger_minor),
            *(self.open_bank_minor, self.open_ledger_minor),
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """A proof before it is linked."""

    account: Account
    open_bank_minor: int
    open_ledger_minor: int
    causes: tuple[str, ...] = ()

    @property
    def bank_closing_minor(self) -> int:
        """The last closing balance known."""
        closing = self.account.closing_minor
        return self.account.opening_minor if closing is None else closing

    def figures(self) -> tuple[int, ...]:
        """As `Proof.figures`."""
        return (
            *(self.bank_closing_minor, self.account.ledger_minor),
            *(self.open_bank_minor, self.open_ledger_minor),
        )


def draft(account: Account, open_bank_minor: int, open_ledger_minor: int) -> Draft:
    """A proof with what is open, and what was open that evening as its other half came later."""
    return Draft(
        account,
        open_bank_minor + account.late_bank_minor,
        open_ledger_minor + account.late_ledger_minor,
    )


# --- the chain ----------------------------------------------------------------------------------


def linked(drafts: Iterable[Draft], run_id: str, last: Proof | None, now: datetime) -> list[Proof]:
    """Proofs of one account, oldest day first, as the next links behind `last`."""
    links: list[Proof] = []
    broken = _broken(last)
    for each in sorted(drafts, key=lambda one: one.account.day):
        previous = links[-1] if links else last
        earliest = now if previous is None else max(now, previous.created_at + _STEP)
        links.append(_link(each, run_id, previous, earliest, broken if not links else ()))
    return links


def _broken(last: Proof | None) -> tuple[str, ...]:
    """What is wrong with the link that the next one hangs on; links before digests say nothing."""
    if last is None or not last.digest or last.digest == digest_of(last):
        return ()
    return (f"chain_broken: the proof of {last.date} by {last.run_id} is not what it was",)


def _link(
    each: Draft, run_id: str, previous: Proof | None, now: datetime, broken: tuple[str, ...]
) -> Proof:
    account = each.account
    against = (*_findings(account), *broken)
    open_minor = each.open_bank_minor - each.open_ledger_minor
    difference = each.bank_closing_minor - account.ledger_minor - open_minor
    proof = Proof(
        run_id=run_id,
        fund_id=account.fund_id,
        account_id=account.account_id,
        date=account.day,
        bank_closing_minor=each.bank_closing_minor,
        ledger_minor=account.ledger_minor,
        open_bank_minor=each.open_bank_minor,
        open_ledger_minor=each.open_ledger_minor,
        difference_minor=difference,
        proved=difference == 0 and not against,
        findings=(*against, *_shortened(each.causes)),
        created_at=now,
        previous_digest=previous.digest if previous else "",
        digest="",
    )
    return replace(proof, digest=digest_of(proof))


def _shortened(causes: Sequence[str]) -> tuple[str, ...]:
    rest = len(causes) - _MOST_CAUSES
    more = (f"{_REOPENED}: {rest} more came",) if rest > 0 else ()
    return (*causes[:_MOST_CAUSES], *more)


def digest_of(proof: Proof) -> str:
    """SHA-256 over the content of a link and the digest before it, in canonical JSON."""
    content = proof.row()
    del content["digest"]
    content["date"] = proof.date.isoformat()
    content["created_at"] = proof.created_at.astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def verify(chain: Sequence[Proof]) -> str:
    """What is wrong with an account's proofs in the order of their making; empty if they hold."""
    for proof in chain:
        if proof.digest != digest_of(proof):
            return f"the proof of {proof.date} by {proof.run_id} is not what it was"
    for before, after in pairwise(chain):
        if after.previous_digest != before.digest:
            return f"the proof of {after.date} by {after.run_id} does not follow on {before.run_id}"
    return ""


def _findings(account: Account) -> Iterator[str]:
    """What is wrong with the bank's side, before any arithmetic."""
    until, day = account.covered_until, account.day
    if until is None:
        yield f"statement_missing: there is no statement up to {day}"
    elif until < day:
        yield f"statement_missing: no statement covers {day}, the last one ends on {until}"
    if account.inconsistent:
        yield f"inconsistent: opening and entries of the statement to {until} miss its closing"
    if account.broken_on is not None:
        yield (
            f"discontinuous: the statement from {account.broken_on} does not open with the closing"
            " balance before it"
        )
    if account.repeated_on is not None:
        yield f"duplicate_statement: the statement to {account.repeated_on} is there twice"


# --- reopening ----------------------------------------------------------------------------------


def touched(
    news: Iterable[News], proved: Mapping[tuple[str, str], Sequence[Proof]]
) -> dict[tuple[str, str, date], list[News]]:
    """Proved days that something new counts for, with what it is, in order.

    Args:
        news: what came.
        proved: the newest proof of each day, by fund and account.
    """
    days: dict[tuple[str, str, date], list[News]] = {}
    for each in news:
        key = (each.fund_id, each.account_id)
        for proof in proved.get(key, ()):
            if proof.date >= each.first:
                days.setdefault((*key, proof.date), []).append(each)
    return days


def reopened(again: Draft, before: Proof, news: Sequence[News]) -> Draft | None:
    """A day proved again, with what came since; None where it was known to the proof before."""
    unknown = [each for each in news if each.at > before.created_at]
    if not unknown and again.figures() == before.figures():
        return None
    told = (each.told(again.account.currency) for each in unknown or news)
    return Draft(
        again.account, again.open_bank_minor, again.open_ledger_minor, tuple(dict.fromkeys(told))
    )
