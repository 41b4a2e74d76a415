"""Entries and lines in, matches and cases out.

Every open row ends in exactly one match or exactly one case; an operator's decision may take a part
of a row first. The same rows in any order, with the same rules, decisions and date, give the same
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation import breaks
from reconciliation.frames import BANK, LEDGER, checked, normalise
from reconciliation.matching import (
    amount_window,
    crossing,
    declared_batch,
    equal_sets,
    fees,
    own_id,
    reference,
    repeats,
    returns,
    subset_sum,
)
from reconciliation.matching.cases import taken
from reconciliation.matching.core import Found, Scene, Sides, prepare
from reconciliation.matching.pins import Pinned, read_pins, remaining
from reconciliation.matching.writing import Claim, written_cases, written_matches, written_searches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from reconciliation.rules import Rules

    Pass = Callable[[Scene], Found]
    Classifier = Callable[[Scene], pl.DataFrame]

EXACT: Final[Mapping[str, Pass]] = {
    "own_id": own_id.find,
    "reference": reference.find,
    "declared_batch": declared_batch.find,
    "returns": returns.find,
}
"""Passes that rest on an identifier, by the rule's name, in order."""

_EXACT_BY: Final = ("row", "account", "currency", "amount", "date", "own", "ref", "batch")
"""What they look at: they close most rows, and until then nothing else need be carried along."""

RULES: Final = (
    *("pin", *EXACT),
    *("fee_adjustment", "amount_window", "subset_sum", "equal_amounts"),
)
"""Every rule's name, in order."""

_NAMED_BY_EVIDENCE: Final[tuple[Classifier, ...]] = (
    breaks.same_id,
    breaks.other_currency,
    breaks.returned_by_id,
    breaks.same_reference,
)
_NAMED_BY_LIKENESS: Final[tuple[Classifier, ...]] = (
    breaks.crowded,
    breaks.tied,
    breaks.returned,
    repeats.afterwards,
    breaks.in_transit,
)
_NAMED_BY_ABSENCE: Final[tuple[Classifier, ...]] = (
    breaks.missing_in_bank,
    breaks.missing_in_ledger,
)


NO_SEARCHES: Final = pl.DataFrame(
    schema={
        "side": pl.String(),
        "account_id": pl.String(),
        "member_id": pl.String(),
        **{name: kind for name, kind in subset_sum.SEARCHES.items() if name not in ("side", "row")},
    }
)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run; every frame is sorted, the first two hold one row a member.

    Attributes:
        matches: match_id, status ("automatic" or "proposed"), rule, side, account_id, currency,
            member_id, allocated_minor (fen). Bank sum = ledger sum + adjustments of a match: of a
            proposed charge the side is "adjustment" and the member the charge's name. The rows of
            a proposed match are open items until a person accepts it.
        cases: case_id, kind, cause, side, account_id, currency, member_id, amount_minor (fen),
            detail (one sentence). A case's id depends on its members only, so that a case that
            ages from one kind into another stays the same case.
        searches: side, account_id, member_id (of the row whose amount was to be made up) and what
            `subset_sum.SEARCHES` says of the search.
    """

    matches: pl.DataFrame
    cases: pl.DataFrame
    searches: pl.DataFrame = field(default_factory=NO_SEARCHES.clear)


@dataclass(slots=True)
class _Run:
    """A run under way: the scene, and what has been taken from it so far."""

    scene: Scene
    claims: list[Claim]
    cases: list[pl.DataFrame]
    searches: pl.DataFrame
    elsewhere: Found | None = None

    def leave(self, found: Found) -> None:
        """Takes out what a case over two accounts has, found before this run."""
        self.elsewhere = found
        self.scene = self.scene.without(found)

    def claim(self, claim: Claim) -> None:
        self.claims.append(claim)
        self.scene = self.scene.without(claim.found)

    def found(self, rule: str, found: Found, *, sure: bool = True) -> None:
        """Takes a rule's groups; without a person only what is sure, where the rules allow it."""
        automatic = sure and rule in self.scene.rules.automatic
        kept = self.scene.unless_rejected(found)
        self.claim(Claim(rule, "automatic" if automatic else "proposed", kept))

    def pair(self, passes: Mapping[str, Pass]) -> None:
        for rule, find in passes.items():
            self.found(rule, find(self.scene))

    def focus(self, opened: Sides) -> None:
        """Goes on with all that is known of the rows that are left."""
        whole = replace(self.scene, open=opened.only(self.scene.open))
        self.scene = whole.focused()

    def by_amount(self) -> None:
        pairs = amount_window.find(self.scene)
        self.found("amount_window", pairs.sure)
        self.found("amount_window", pairs.doubtful, sure=False)

    def adjust(self) -> None:
        if self.scene.rules.fees:
            adjusted = fees.find(self.scene)
            self.claim(Claim("fee_adjustment", "proposed", adjusted.found, adjusted.adjustments))

    def add_up(self) -> None:
        sums = subset_sum.find(self.scene)
        self.found("subset_sum", sums.automatic)
        self.found("subset_sum", sums.proposed, sure=False)
        self.searches = sums.searches

    def name(self, *classifiers: Classifier) -> None:
        for classify in classifiers:
            self.take(classify(self.scene))

    def take(self, cases: pl.DataFrame) -> None:
        kept = _without_rejected(cases, self.scene)
        self.cases.append(kept)
        self.scene = self.scene.without(taken(kept))


def _without_rejected(cases: pl.DataFrame, scene: Scene) -> pl.DataFrame:
    """No case of a pair that an operator has taken apart: each half is named for itself."""
    pairs = scene.rejected_pairs() if scene.rejected else pl.DataFrame()
    if pairs.is_empty() or cases.is_empty():
        return cases
    key = ["kind", "cause", "group"]
    halves = [
        cases.filter(pl.col("side") == side, pl.len().over(key) == 2).select(  # noqa: PLR2004 -- a pair
            *key, pl.col("row").alias(side)
        )
        for side in ("bank", "ledger")
    ]
    apart = halves[0].join(halves[1], on=key).join(pairs, on=["bank", "ledger"], how="semi")
    return cases.join(apart, on=key, how="anti", maintain_order="left")


def match(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    rules: Rules,
    as_of: date,
    closed: pl.DataFrame | None = None,
    *,
    pins: pl.DataFrame | None = None,
    crossed: pl.DataFrame | None = None,
) -> Result:
    """Matches bank entries with ledger lines and names what does not match.

    Args:
        bank: entries, columns as `frames.BANK`, any order, optional columns may be missing.
        ledger: lines, columns as `frames.LEDGER`, likewise.
        rules: windows, words, limits, and what may be automatic.
        as_of: the day that the age of an open line is counted to.
        closed: rows of either frame (columns side, account_id, member_id) that an earlier run has
            matched. They are never paired or named again; they only tell what an open row repeats
            or undoes.
        pins: what operators decided, columns as `pins.PINS`.
        crossed: where these are some accounts of many, what `cross` found over all of them, of
            these accounts only; it is part of the result. None where these are all accounts.

    Raises:
        InputError: a frame does not fit its shape, or a decision does not fit the rows.
    """
    opening = _opening(bank, ledger, rules, closed, pins)
    run = _begin(opening, rules, as_of)
    # What pass 2 pairs no other account can want: fewer rows are left to look for elsewhere. Nor
    # does it want what they take: their ids are not on the other side.
    run.pair({"own_id": own_id.find})
    if crossed is None:
        run.name(breaks.wrong_account)
        return _finished(run, opening)
    run.leave(_rows_of(crossed, opening.every))
    rest = _finished(run, opening)
    return replace(rest, cases=_in_order([rest.cases, crossed]))


def strand(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    rules: Rules,
    closed: pl.DataFrame | None = None,
    *,
    pins: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The few open rows that another account may explain, as far as they are open: for `cross`.

    Returns:
        Entries and lines, columns as `frames.BANK` and `frames.LEDGER`.
    """
    opening = _opening(bank, ledger, rules, closed, pins)
    alone = crossing.stranded(opening.open)
    return (
        _as_given(normalise(bank, "bank"), alone.bank),
        _as_given(normalise(ledger, "ledger"), alone.ledger),
    )


def _as_given(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the columns of their input, with what remains of their amount."""
    return frame[rows["row"]].with_columns(rows["amount"].alias("amount_minor"))


def cross(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    rules: Rules,
    as_of: date,
    *,
    pins: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Cases over two accounts, among the stranded rows of all accounts.

    Args:
        bank: what `strand` gave for every account.
        ledger: likewise.
        rules: as of `match`.
        as_of: as of `match`.
        pins: what operators rejected; what they accepted is out of the rows already.

    Returns:
        Columns as `Result.cases`.
    """
    rejected = None if pins is None else pins.filter(pl.col("decision") == "rejected")
    opening = _opening(bank, ledger, rules, None, rejected)
    run = _begin(opening, rules, as_of)
    run.name(breaks.wrong_account)
    return written_cases(run.cases, opening.every, run.searches, rules, as_of)


def merged(parts: Sequence[Result], crossed: pl.DataFrame) -> Result:
    """The results of shares of the accounts, in the order of the accounts, as of all at once.

    Args:
        parts: of each share what `match` made of it, at least one.
        crossed: what `cross` found over all of them.
    """
    own = [part.cases.filter(pl.col("kind") != "wrong_account") for part in parts]
    searches = pl.concat(part.searches for part in parts)
    return Result(
        pl.concat(part.matches for part in parts),
        _in_order([*own, crossed]),
        searches.sort("side", "account_id", "member_id"),
    )


def _in_order(cases: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(cases).sort("kind", "cause", maintain_order=True)


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a run begins with.

    Attributes:
        every: all rows as given.
        open: those that are open once decisions are taken, with what remains of them.
        pinned: the decisions.
    """

    every: Sides
    open: Sides
    pinned: Pinned


def _opening(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    rules: Rules,
    closed: pl.DataFrame | None,
    pins: pl.DataFrame | None,
) -> _Opening:
    every = prepare(checked(bank, BANK, "bank"), checked(ledger, LEDGER, "ledger"), rules)
    opened = every if closed is None else every.without(_rows_of(closed, every))
    if pins is None:
        return _Opening(every, opened, Pinned(NOTHING_PINNED, frozenset()))
    pinned = read_pins(pins, opened)
    return _Opening(every, remaining(opened, pinned.found), pinned)


_PINNED: Final = {
    "row": pl.UInt32(),
    "allocated": pl.Int64(),
    "group": pl.UInt32(),
    "name": pl.String(),
}
NOTHING_PINNED: Final = Found(pl.DataFrame(schema=_PINNED), pl.DataFrame(schema=_PINNED))


def _begin(opening: _Opening, rules: Rules, as_of: date) -> _Run:
    scene = Scene(
        opening.open.narrowed(_EXACT_BY), opening.every, rules, as_of, opening.pinned.rejected
    )
    return _Run(scene, [Claim("pin", "automatic", opening.pinned.found)], [], subset_sum.NONE)


def _finished(run: _Run, opening: _Opening) -> Result:
    """The run with every pass gone through."""
    run.pair({rule: find for rule, find in EXACT.items() if rule != "own_id"})
    run.focus(opening.open)
    # The first round left every repeated key alone. With repeats set aside, originals can pair.
    run.name(repeats.before_amounts)
    run.pair(EXACT)
    run.adjust()
    run.name(*_NAMED_BY_EVIDENCE)
    run.by_amount()
    run.name(breaks.batch_total)
    run.add_up()
    run.found("equal_amounts", equal_sets.find(run.scene))
    run.name(*_NAMED_BY_LIKENESS)
    run.take(breaks.search_limited(run.searches, run.scene))
    run.name(*_NAMED_BY_ABSENCE)
    rows = _as_open(opening)
    _check_conserved(run, opening.open, rows)
    return _result(run, rows)


def _result(run: _Run, rows: Sides) -> Result:
    rules = run.scene.rules
    return Result(
        written_matches(run.claims, rows, rules),
        written_cases(run.cases, rows, run.searches, rules, run.scene.as_of),
        written_searches(run.searches, rows),
    )


def _as_open(opening: _Opening) -> Sides:
    """All rows in order, those that were taken in part with the amount that remains."""
    if opening.pinned.found.bank.is_empty() and opening.pinned.found.ledger.is_empty():
        return opening.every
    pairs = ((opening.every.bank, opening.open.bank), (opening.every.ledger, opening.open.ledger))
    bank, ledger = (
        every.join(left.select("row", left="amount"), on="row", how="left", maintain_order="left")
        .with_columns(pl.coalesce("left", "amount").alias("amount"))
        .drop("left")
        for every, left in pairs
    )
    return Sides(bank, ledger)


def _rows_of(closed: pl.DataFrame, every: Sides) -> Found:
    """The rows that the names of members stand for."""
    bank, ledger = (
        rows.join(
            closed.filter(pl.col("side") == side), on=["account_id", "member_id"], how="semi"
        ).select(group="row", row="row")
        for side, rows in (("bank", every.bank), ("ledger", every.ledger))
    )
    return Found(bank, ledger)


class ConservationError(RuntimeError):
    """A defect of the kernel: a row was lost or used twice, or a match does not add up."""


def _check_conserved(run: _Run, opened: Sides, every: Sides) -> None:
    """Each open row is a member once, and each match allocates the same on both sides.

    Decisions were checked when they were read.

    Raises:
        ConservationError: otherwise; nothing of such a run may be used.
    """
    claims = [claim for claim in run.claims if claim.rule != "pin"]
    found = [*(claim.found for claim in claims), taken(pl.concat(run.cases))]
    if run.elsewhere is not None:
        found.append(run.elsewhere)
    for side in ("bank", "ledger"):
        rows = getattr(opened, side)["row"]
        used = pl.concat([getattr(part, side)["row"].cast(pl.UInt32) for part in found])
        is_used = pl.repeat(value=False, n=getattr(every, side).height, eager=True)
        is_used = is_used.scatter(used, values=True)
        once = len(used) == is_used.sum() == len(rows)
        if not (once and is_used.gather(rows).all()):
            raise ConservationError("a row is missing from the result, or in it more than once")
    for claim in claims:
        if not claim.is_even(every):
            raise ConservationError("a match does not allocate the same amount on both sides")
