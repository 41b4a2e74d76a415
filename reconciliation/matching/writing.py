"""What a run found, in the words of its result: names for rows, ids for groups, one fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.details import described
from reconciliation.matching.core import digest, label, label_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from reconciliation.frames import Side
    from reconciliation.matching.core import Found, Sides
    from reconciliation.rules import Rules

_SIDES: Final[tuple[Side, ...]] = ("bank", "ledger")
_NAMED: Final = ("account_id", "currency", "member_id")
_MATCHES: Final = ("match_id", "status", "rule", "side", *_NAMED, "allocated_minor")


@dataclass(frozen=True, slots=True)
class Claim:
    """Groups that a rule found.

    Attributes:
        rule: the rule's name.
        status: "automatic" or "proposed".
        found: the groups; a decision's carry `allocated` (fen) and `name` too.
        adjustments: what evens a group out, columns `group`, `name`, `amount` (fen, as the ledger
            would book it); None for none.
    """

    rule: str
    status: str
    found: Found
    adjustments: pl.DataFrame | None = None

    @property
    def is_pairs(self) -> bool:
        """Whether each group is one entry, whose row it is named by, and one line, in one order."""
        bank, ledger = self.found.bank, self.found.ledger
        pairs = bank["group"].equals(bank["row"]) and bank["group"].equals(ledger["group"])
        return pairs and self.rule != "pin"

    def is_even(self, rows: Sides) -> bool:
        """Whether every group comes to the same on both sides, adjustments included.

        A row's number is its position in `rows`.
        """
        bank, ledger = (
            found.select("group", rows_["amount"].gather(found["row"]))
            for found, rows_ in ((self.found.bank, rows.bank), (self.found.ledger, rows.ledger))
        )
        if self.is_pairs and self.adjustments is None:
            return bank["amount"].equals(ledger["amount"])
        parts = [bank.select("group", "amount"), ledger.select("group", -pl.col("amount"))]
        if self.adjustments is not None:
            parts.append(self.adjustments.select("group", -pl.col("amount")))
        sums = pl.concat(parts).group_by("group").agg(pl.col("amount").sum())
        return not (sums["amount"] != 0).any()


# --- matches -------------------------------------------------------------------------------------


def written_matches(claims: Sequence[Claim], rows: Sides, rules: Rules) -> pl.DataFrame:
    """One row a member, columns as `kernel.Result.matches`.

    Sorted by each match's first member (entries before lines, then account and id), of matches
    that share a row decisions first, then by side and member: an order that does not depend on
    what else was matched in the same run.
    """
    parts = [_members(claim, rows, rules) for claim in claims]
    return pl.concat(parts).sort("lead", maintain_order=True).select(_MATCHES)


def _members(claim: Claim, rows: Sides, rules: Rules) -> pl.DataFrame:
    """The members of a claim, those of one match in their order, with `lead` to sort them by."""
    bank, ledger = (
        _placed(getattr(claim.found, side), getattr(rows, side), side) for side in _SIDES
    )
    members = pl.concat([bank, ledger])
    if claim.is_pairs:
        ids = _pair_ids(bank, ledger, claim, rules)
        named = members.with_columns(pl.concat([ids, ids]), pl.concat([bank["lead"]] * 2))
    else:
        named = _grouped(members, claim, rules)
    return _with_adjustments(named, claim).select(
        *(name for name in _MATCHES if name not in ("status", "rule")),
        "lead",
        status=pl.lit(claim.status),
        rule=pl.lit(claim.rule),
    )


_LEDGER_LEADS: Final = 2**32


def _placed(found: pl.DataFrame, rows: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The members of one side, taken by their place: a row's number is its position.

    `lead` is the member's place in the order of all rows, entries first.
    """
    taken = rows.select(*_NAMED, "amount")[found["row"]]
    allocated = found["allocated"] if "allocated" in found.columns else taken["amount"]
    said = found["name"] if "name" in found.columns else pl.lit(None, dtype=pl.String)
    first = 0 if side == "bank" else _LEDGER_LEADS
    return taken.select(
        found["group"].cast(pl.UInt32),
        found["row"].cast(pl.UInt64).alias("lead") + first,
        *_NAMED,
        allocated.alias("allocated_minor"),
        pl.lit(side).alias("side"),
        decision=said,
    )


def _pair_ids(bank: pl.DataFrame, ledger: pl.DataFrame, claim: Claim, rules: Rules) -> pl.Series:
    pairs = bank.select("account_id", "member_id", line_id=ledger["member_id"])
    left, right = (
        label_parts(side, "account_id", member)
        for side, member in zip(_SIDES, ("member_id", "line_id"), strict=True)
    )
    return pairs.select(_id((*left, pl.lit(","), *right), claim, rules)).to_series()


def _grouped(members: pl.DataFrame, claim: Claim, rules: Rules) -> pl.DataFrame:
    """Members of groups of any size by group and place, with the id and the first place of each."""
    named = pl.when(pl.col("side") == "bank").then(label("bank")).otherwise(label("ledger"))
    ordered = members.sort("group", "lead")
    groups = ordered.group_by("group", maintain_order=True).agg(
        pl.col("lead", "decision").first(), label=named.str.join(",")
    )
    ids = groups.select("group", "lead", _id((pl.col("label"),), claim, rules))
    return ordered.drop("lead").join(ids, on="group", how="left", maintain_order="left")


def _id(labels: Sequence[pl.Expr], claim: Claim, rules: Rules) -> pl.Expr:
    """Of members, rule and rules version; a decision stays the same match whatever the rules."""
    version = pl.col("decision") if claim.rule == "pin" else pl.lit(rules.version)
    return digest(pl.concat_str(*labels, pl.lit(f"|{claim.rule}|"), version)).alias("match_id")


def _with_adjustments(members: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    """The members, what evens a group out behind them."""
    if claim.adjustments is None:
        return members
    first = members.filter(pl.col("side") == "bank")
    added = first.join(claim.adjustments, on="group").with_columns(
        allocated_minor="amount", member_id="name", side=pl.lit("adjustment")
    )
    return pl.concat([members, added.select(members.columns)])


# --- cases ---------------------------------------------------------------------------------------


def written_cases(
    cases: Sequence[pl.DataFrame], rows: Sides, searches: pl.DataFrame, rules: Rules, as_of: date
) -> pl.DataFrame:
    """One row a member, columns as `kernel.Result.cases`, by kind, cause and first member."""
    parts = pl.concat(cases).join(
        searches.select("side", "row", "limit", "candidates", "states"),
        on=["side", "row"],
        how="left",
    )
    members = pl.concat(_named(parts, getattr(rows, side), side) for side in _SIDES)
    ordered = members.sort("kind", "cause", "group", "side", "row")
    return described(ordered, rules, as_of).select(
        "case_id",
        "kind",
        "cause",
        "side",
        *_NAMED,
        pl.col("amount").alias("amount_minor"),
        "detail",
    )


def _named(cases: pl.DataFrame, rows: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The members of one side with all that is known of them, taken by their place."""
    mine = cases.filter(pl.col("side") == side)
    told = rows.drop("row")[mine["row"]].with_columns(label(side).alias("label"))
    other = rows["member_id"].gather(mine["other"]).alias("other_id")
    return pl.concat([mine, told, other.to_frame()], how="horizontal")


def written_searches(searches: pl.DataFrame, rows: Sides) -> pl.DataFrame:
    """Columns as `kernel.Result.searches`, sorted by side, account and member."""
    parts = [
        searches.filter(pl.col("side") == side).join(
            getattr(rows, side).select("row", "account_id", "member_id"), on="row"
        )
        for side in _SIDES
    ]
    whole = pl.concat(parts).sort("side", "account_id", "member_id")
    return whole.select(
        "side",
        "account_id",
        "member_id",
        *(name for name in searches.columns if name not in ("side", "row")),
    )
