"""Entries and lines in, matches and cases out.

Every input row ends in exactly one match or exactly one case. The same rows in any order, with the
same rules and date, give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation import breaks
from reconciliation.details import described
from reconciliation.frames import normalise
from reconciliation.matching import (
    amount_window,
    declared_batch,
    own_id,
    reference,
    repeats,
    returns,
)
from reconciliation.matching.cases import taken
from reconciliation.matching.core import Found, Scene, Sides, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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

BY_AMOUNT: Final[Mapping[str, Pass]] = {"amount_window": amount_window.find}
"""Passes that rest on amount and time."""

RULES: Final = (*EXACT, *BY_AMOUNT)
"""Every rule's name, in order."""

_NAMED_BY_EVIDENCE: Final[tuple[Classifier, ...]] = (
    breaks.same_id,
    breaks.other_currency,
    breaks.wrong_account,
    breaks.returned_by_id,
    breaks.same_reference,
)
_NAMED_BY_ABSENCE: Final[tuple[Classifier, ...]] = (
    breaks.batch_total,
    breaks.crowded,
    breaks.tied,
    breaks.returned,
    repeats.afterwards,
    breaks.in_transit,
    breaks.missing_in_bank,
    breaks.missing_in_ledger,
)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run; both frames are sorted and hold one row a member.

    Attributes:
        matches: match_id, status ("automatic"), rule, side, account_id, currency, member_id,
            allocated_minor (fen). Bank and ledger sums of a match are equal.
        cases: case_id, kind, cause, side, account_id, currency, member_id, amount_minor (fen),
            detail (one sentence). A case's id depends on its members only, so that a case that
            ages from one kind into another stays the same case.
    """

    matches: pl.DataFrame
    cases: pl.DataFrame


@dataclass(slots=True)
class _Run:
    """A run under way: the scene, and what has been taken from it so far."""

    scene: Scene
    found: list[tuple[str, Found]]
    cases: list[pl.DataFrame]

    def pair(self, passes: Mapping[str, Pass]) -> None:
        for rule, find in passes.items():
            found = find(self.scene)
            self.found.append((rule, found))
            self.scene = self.scene.without(found)

    def name(self, *classifiers: Classifier) -> None:
        for classify in classifiers:
            cases = classify(self.scene)
            self.cases.append(cases)
            self.scene = self.scene.without(taken(cases))


def match(
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    rules: Rules,
    as_of: date,
    closed: pl.DataFrame | None = None,
) -> Result:
    """Matches bank entries with ledger lines and names what does not match.

    Args:
        bank: entries, columns as `frames.BANK`, any order, optional columns may be missing.
        ledger: lines, columns as `frames.LEDGER`, likewise.
        rules: windows, words and limits.
        as_of: the day that the age of an open line is counted to.
        closed: rows of either frame (columns side, account_id, member_id) that an earlier run has
            matched. They are never paired or named again; they only tell what an open row repeats
            or undoes.

    Raises:
        InputError: either frame does not fit its shape.
    """
    every = prepare(normalise(bank, "bank"), normalise(ledger, "ledger"), rules)
    opened = every if closed is None else every.without(_rows_of(closed, every))
    run = _Run(Scene(opened, every, rules, as_of), [], [])
    run.pair(EXACT)
    # The first round left every repeated key alone. With repeats set aside, originals can pair.
    run.name(repeats.before_amounts)
    run.pair(EXACT)
    run.name(*_NAMED_BY_EVIDENCE)
    run.pair(BY_AMOUNT)
    run.name(*_NAMED_BY_ABSENCE)
    result = Result(_matches(run.found, every, rules), _cases(run.cases, every, rules, as_of))
    _check_conserved(result, opened)
    return result


def _rows_of(closed: pl.DataFrame, every: Sides) -> Found:
    """The rows that the names of members stand for."""
    bank, ledger = (
        rows.join(
            closed.filter(pl.col("side") == side), on=["account_id", "member_id"], how="semi"
        ).select(group="row", row="row")
        for side, rows in (("bank", every.bank), ("ledger", every.ledger))
    )
    return Found(bank, ledger)


def _matches(found: list[tuple[str, Found]], every: Sides, rules: Rules) -> pl.DataFrame:
    """The groups found, with their members' names and the id made of them."""
    columns = ("row", "account_id", "currency", "member_id", "amount", "label")
    parts = []
    for side, rows in (("bank", every.bank), ("ledger", every.ledger)):
        groups = pl.concat(
            getattr(groups, side).with_columns(rule=pl.lit(rule)) for rule, groups in found
        )
        named = groups.join(rows.select(columns), on="row")
        parts.append(named.with_columns(side=pl.lit(side)))
    members = pl.concat(parts).sort("group", "side", "row")
    return _with_ids(members, rules).select(
        "match_id",
        pl.lit("automatic").alias("status"),
        "rule",
        "side",
        "account_id",
        "currency",
        "member_id",
        pl.col("amount").alias("allocated_minor"),
    )


def _with_ids(members: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Each match's id: SHA-256 over its members, rule and rules version, 32 hexadecimal digits."""
    groups = members.group_by("group", maintain_order=True).agg(
        pl.col("label").str.join(","), pl.col("rule").first()
    )
    said = groups.select(pl.format(f"{{}}|{{}}|{rules.version}", "label", "rule")).to_series()
    ids = pl.Series("match_id", [digest(text) for text in said], dtype=pl.String)
    return members.join(groups.select("group", ids), on="group", how="left", maintain_order="left")


def digest(text: str) -> str:
    """The first 32 hexadecimal digits of the text's SHA-256."""
    return sha256(text.encode()).hexdigest()[:32]


def _cases(cases: list[pl.DataFrame], every: Sides, rules: Rules, as_of: date) -> pl.DataFrame:
    """The cases with their members' names, ids and sentences."""
    parts = pl.concat(cases)
    named = [
        parts.filter(pl.col("side") == side)
        .join(rows, on="row")
        .join(rows.select(other="row", other_id="member_id"), on="other", how="left")
        for side, rows in (("bank", every.bank), ("ledger", every.ledger))
    ]
    members = pl.concat(named).sort("kind", "cause", "group", "side", "row")
    return described(members, rules, as_of).select(
        "case_id",
        "kind",
        "cause",
        "side",
        "account_id",
        "currency",
        "member_id",
        pl.col("amount").alias("amount_minor"),
        "detail",
    )


class ConservationError(RuntimeError):
    """A defect of the kernel: a row was lost or used twice, or a match does not add up."""


def _check_conserved(result: Result, opened: Sides) -> None:
    """Each open row is a member once, and each match allocates the same on both sides.

    Raises:
        ConservationError: otherwise; nothing of such a run may be used.
    """
    key = ["side", "account_id", "member_id"]
    used = pl.concat([result.matches.select(key), result.cases.select(key)])
    if used.height != opened.bank.height + opened.ledger.height or used.is_duplicated().any():
        raise ConservationError("a row is missing from the result, or in it more than once")
    signed = (
        pl.when(pl.col("side") == "bank")
        .then("allocated_minor")
        .otherwise(-pl.col("allocated_minor"))
    )
    sums = result.matches.group_by("match_id").agg(signed.sum().alias("sum"))
    if (sums["sum"] != 0).any():
        raise ConservationError("a match does not allocate the same amount on both sides")
