"""One sentence a case, in plain English and with figures, and the id of the case.

A sentence names entries and lines by their ids, never a counterparty, and an account by its last
four characters.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from reconciliation.matching.core import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from reconciliation.rules import Rules

    Sentence = Callable[["Case"], str]

_COLUMNS: Final = (
    *("kind", "cause", "group", "side", "member_id", "other_id"),
    *("account_id", "currency", "amount", "date", "own", "ref", "batch"),
    *("limit", "candidates", "states"),
)
_GROUP: Final = ("kind", "cause", "group")


class Member(NamedTuple):
    """One row of a case, with the fields that a sentence may need; `amount` is fen.

    `limit`, `candidates` and `states` are of the search for a sum, as `subset_sum.SEARCHES` has it.
    """

    kind: str
    cause: str
    group: int
    side: str
    member_id: str
    other_id: str | None
    account_id: str
    currency: str
    amount: int
    date: date
    own: str | None
    ref: str | None
    batch: str | None
    limit: str | None
    candidates: int | None
    states: int | None


class Case(NamedTuple):
    """The members of one case by side, with what ages and windows are counted by."""

    bank: Sequence[Member]
    ledger: Sequence[Member]
    rules: Rules
    as_of: date

    @property
    def first(self) -> Member:
        """Its first member: the bank's if there is one."""
        return (self.bank or self.ledger)[0]


def described(members: pl.DataFrame, rules: Rules, as_of: date) -> pl.DataFrame:
    """The members, sorted by kind, cause and group, with `case_id` and `detail` added."""
    details: list[str] = []
    for group in _groups(members):
        sides = [[m for m in group if m.side == side] for side in ("bank", "ledger")]
        case = Case(sides[0], sides[1], rules, as_of)
        details += [_SENTENCES[group[0].kind](case)] * len(group)
    told = members.with_columns(
        pl.Series("detail", details, dtype=pl.String), case=pl.struct(_GROUP).rle_id()
    )
    ids = told.group_by("case", maintain_order=True).agg(_case_id())
    return told.with_columns(ids["case_id"].gather(told["case"]))


def _groups(members: pl.DataFrame) -> Iterator[list[Member]]:
    rows = map(Member._make, members.select(_COLUMNS).iter_rows())
    for _, group in groupby(rows, key=itemgetter(*map(_COLUMNS.index, _GROUP))):
        yield list(group)


def _case_id() -> pl.Expr:
    """Of the members alone: the case keeps its id while its kind changes with age."""
    return digest(pl.concat_str(pl.lit("case|"), pl.col("label").str.join(","))).alias("case_id")


def money(amount_minor: int) -> str:
    """An amount in fen as people write it: -123456 is "-1,234.56"."""
    whole, part = divmod(abs(amount_minor), 100)
    return f"{'-' if amount_minor < 0 else ''}{whole:,}.{part:02d}"


def _sum(members: Sequence[Member]) -> int:
    return sum(member.amount for member in members)


def _count(members: Sequence[Member], one: str, many: str) -> str:
    return f"{len(members)} {one if len(members) == 1 else many}"


def _both(case: Case) -> str:
    """How many rows of each side a case has."""
    bank = _count(case.bank, "bank entry", "bank entries")
    return f"{bank} and {_count(case.ledger, 'ledger line', 'ledger lines')}"


def _tail(account_id: str) -> str:
    return f"…{account_id[-4:]}"


def _missing_in_bank(case: Case) -> str:
    line = case.first
    age = (case.as_of - line.date).days
    return (
        f"The ledger line of {line.date} over {money(line.amount)} {line.currency} has no bank "
        f"entry after {age} days."
    )


_MISSING_IN_LEDGER: Final[Mapping[str, str]] = {
    "bank_fee": "a bank charge of {} booked {} that is not in the ledger",
    "bank_interest": "bank interest of {} booked {} that is not in the ledger",
    "unidentified_receipt": "a receipt of {} booked {} that no ledger line accounts for",
    "unexplained_debit": "a debit of {} booked {} that no ledger line accounts for",
}


def _missing_in_ledger(case: Case) -> str:
    entry = case.first
    amount = f"{money(entry.amount)} {entry.currency}"
    return f"The bank has {_MISSING_IN_LEDGER[entry.cause].format(amount, entry.date)}."


def _timing(case: Case) -> str:
    line = case.first
    return (
        f"The ledger line of {line.date} over {money(line.amount)} {line.currency} may still be on "
        f"its way: the bank has {case.rules.transit_days} days from then."
    )


def _amount_differs(case: Case) -> str:
    return _AMOUNT_DIFFERS[case.first.cause](case)


def _other_amount(case: Case) -> str:
    bank, ledger = _sum(case.bank), _sum(case.ledger)
    fields = [f"amount: {money(bank)} / {money(ledger)}", *_differing(case)]
    return (
        f"Bank and ledger name the same {_agreeing(case)} and differ by {money(bank - ledger)} "
        f"{case.first.currency} ({'; '.join(fields)})."
    )


def _agreeing(case: Case) -> str:
    """What ties the two sides together."""
    own = case.bank[0].own
    if own is not None and own == case.ledger[0].own:
        return f"payment {own}"
    return f"reference {case.bank[0].ref}"


def _differing(case: Case) -> list[str]:
    """Other fields in which a pair differs, both values given."""
    if len(case.bank) != 1 or len(case.ledger) != 1:
        return []
    bank, ledger = case.bank[0], case.ledger[0]
    fields = (("reference", bank.ref, ledger.ref), ("date", bank.date, ledger.date))
    return [f"{name}: {a} / {b}" for name, a, b in fields if a and b and a != b]


def _split(case: Case) -> str:
    return (
        f"Payment {case.first.own} is {money(_sum(case.bank))} {case.first.currency} on both "
        f"sides, but in {_both(case)}."
    )


def _currency(case: Case) -> str:
    bank, ledger = case.bank[0], case.ledger[0]
    return (
        f"Bank and ledger name the same payment {bank.own} in two currencies (amount: "
        f"{money(bank.amount)} {bank.currency} / {money(ledger.amount)} {ledger.currency})."
    )


def _batch_total(case: Case) -> str:
    bank, ledger = _sum(case.bank), _sum(case.ledger)
    return (
        f"Batch {case.first.batch} is {money(bank)} at the bank and {money(ledger)} in the ledger, "
        f"in {_both(case)}: a difference of {money(bank - ledger)} {case.first.currency}."
    )


_AMOUNT_DIFFERS: Final[Mapping[str, Sentence]] = {
    "amount": _other_amount,
    "split": _split,
    "currency": _currency,
    "batch_total": _batch_total,
}


def _duplicate(case: Case) -> str:
    row = case.first
    name = "bank entry" if row.side == "bank" else "ledger line"
    return (
        f"The {name} of {row.date} over {money(row.amount)} {row.currency} repeats {row.other_id}."
    )


def _returned(case: Case) -> str:
    entry = case.first
    name = entry.own or entry.ref
    what = "a payment" if name is None else f"payment {name}"
    return (
        f"The bank returned {what}: {money(entry.amount)} {entry.currency} credited "
        f"{entry.date}, and the ledger has no correction line."
    )


def _wrong_account(case: Case) -> str:
    bank, ledger = case.bank[0], case.ledger[0]
    return (
        f"Payment {bank.own} over {money(bank.amount)} {bank.currency} is on one account at the "
        f"bank and on another in the ledger (account: {_tail(bank.account_id)} / "
        f"{_tail(ledger.account_id)})."
    )


def _ambiguous(case: Case) -> str:
    each = f"{_both(case)} of {money(case.first.amount)} {case.first.currency} each"
    return f"{each} could pair in more than one way: {_AMBIGUOUS[case.first.cause]}."


_AMBIGUOUS: Final[Mapping[str, str]] = {
    "equal_amounts": "nothing but amount and date to go by",
    "same_id": "all of them name the same payment",
    "too_many_candidates": "too many for a search",
}


def _search_limited(case: Case) -> str:
    row = case.first
    name = "bank entry" if row.side == "bank" else "ledger line"
    return (
        f"The {name} of {row.date} over {money(row.amount)} {row.currency} has no partner of its "
        f"own, and may be a sum: {_stopped(row, case.rules)}."
    )


def _stopped(row: Member, rules: Rules) -> str:
    """What was tried, and where it ended."""
    if row.limit == "candidates":
        most = rules.subset_candidates
        return f"more than {most} rows of the other side could be part of it, too many to search"
    if row.limit == "account":
        spent = f"{rules.subset_account_states:,}"
        return f"its account had used up the {spent} steps that all its searches may take"
    return (
        f"of {row.candidates} rows that could be part of it, {row.states:,} partial sums were "
        "tried, not all there are"
    )


_SENTENCES: Final[Mapping[str, Sentence]] = {
    "missing_in_bank": _missing_in_bank,
    "missing_in_ledger": _missing_in_ledger,
    "timing": _timing,
    "amount_differs": _amount_differs,
    "duplicate_bank": _duplicate,
    "duplicate_ledger": _duplicate,
    "returned": _returned,
    "wrong_account": _wrong_account,
    "ambiguous": _ambiguous,
    "search_limited": _search_limited,
}
