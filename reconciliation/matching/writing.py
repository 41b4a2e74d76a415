"""What a run found, in the words of its result: names for rows, ids for groups, one fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.details import described
from reconciliation.matching.core import digest, label, label_parts, measured

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
    # only numbers are sorted; each text is fetched once, in the order in which it is written
    told = pl.concat(
        (side.select(*_NAMED, "amount") for side in (rows.bank, rows.ledger)), rechunk=True
    )
    first_line = rows.bank.height
    parts: list[pl.DataFrame] = []
    matches: list[pl.DataFrame] = []
    count = 0
    for claim in claims:
        members = _members(claim, first_line)
        matches.append(_matches(members, told, claim, rules, first_line))
        parts.append(members.with_columns(pl.col("match") + count))
        count += matches[-1].height
    ordered = pl.concat(part.select(_MEMBERS) for part in parts).sort("lead", maintain_order=True)
    names = pl.concat(matches, rechunk=True)[ordered["match"]]
    whole = pl.concat([names, told[ordered["place"]], ordered], how="horizontal")
    return whole.select(
        *("match_id", "status", "rule", _side(first_line), "account_id", "currency"),
        member_id=pl.coalesce("charge", "member_id"),
        allocated_minor=pl.coalesce("allocated", "amount"),
    )


_MEMBERS: Final = ("lead", "place", "match", "allocated", "charge")


def _members(claim: Claim, first_line: int) -> pl.DataFrame:
    """The members of a claim, those of one match in their order.

    A member's `place` is its position among all entries and then all lines; an adjustment stands
    at its entry's, with the name of its `charge`. `match` numbers the claim's matches, `lead` is
    the place of a match's first member.
    """
    bank, ledger = claim.found.bank, claim.found.ledger
    number = pl.int_range(pl.len(), dtype=pl.UInt32)
    parts = [_placed(bank, pl.col("row")), _placed(ledger, pl.col("row") + first_line)]
    if claim.is_pairs:
        numbered = [part.with_columns(match=number, lead="group") for part in parts]
    else:
        ordered = pl.concat(parts).sort("group", "place")
        lead = pl.col("place").first().over("group")
        numbered = [ordered.with_columns(match=pl.col("group").rle_id(), lead=lead)]
    if claim.adjustments is not None:
        numbered.append(_charges(claim.adjustments, numbered[0]))
    return pl.concat(numbered)


def _placed(found: pl.DataFrame, place: pl.Expr) -> pl.DataFrame:
    """The members of one side; `allocated` is null where a match takes all of a row."""
    decided = "allocated" in found.columns
    return found.select(
        pl.col("group").cast(pl.UInt32),
        place=place.cast(pl.UInt32),
        allocated="allocated" if decided else pl.lit(None, dtype=pl.Int64),
        decision="name" if decided else pl.lit(None, dtype=pl.String),
        charge=pl.lit(None, dtype=pl.String),
    )


def _charges(adjustments: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
    """What evens a group out, behind its members."""
    met = entries.join(adjustments, on="group")
    return met.with_columns(allocated="amount", charge="name").select(entries.columns)


def _matches(
    members: pl.DataFrame, told: pl.DataFrame, claim: Claim, rules: Rules, first_line: int
) -> pl.DataFrame:
    """The claim's matches by their number: `match_id`, `status` and `rule`.

    The id is of members, rule and rules version; a decision stays the same match whatever the
    rules.
    """
    if claim.is_pairs:
        named, labels = _pair_labels(claim, told, first_line)
    else:
        named, labels = _group_labels(members, told, first_line), [pl.col("label")]
    version = pl.col("decision") if claim.rule == "pin" else pl.lit(rules.version)
    text = pl.concat_str(*labels, pl.lit(f"|{claim.rule}|"), version)
    return named.select(match_id=digest(text), status=pl.lit(claim.status), rule=pl.lit(claim.rule))


def _pair_labels(
    claim: Claim, told: pl.DataFrame, first_line: int
) -> tuple[pl.DataFrame, list[pl.Expr]]:
    """A row a pair, and what its label is put together from."""
    entries = told.select("account_id", "member_id")[claim.found.bank["row"]]
    lines = told["member_id"].gather(claim.found.ledger["row"] + first_line)
    left = label_parts("bank", "account_id", "member_id")
    right = label_parts("ledger", "account_id", "line_id")
    pairs = entries.with_columns(lines.alias("line_id"))
    return measured(pairs, *pairs.columns), [*left, pl.lit(","), *right]


def _group_labels(members: pl.DataFrame, told: pl.DataFrame, first_line: int) -> pl.DataFrame:
    """Of each match, in their order, the labels of all members, and the decision that made it."""
    rows = members.filter(pl.col("charge").is_null())
    named = pl.when(pl.col("place") < first_line).then(label("bank")).otherwise(label("ledger"))
    known = pl.concat([rows, told[rows["place"]]], how="horizontal")
    labelled = measured(known, "account_id", "member_id").with_columns(label=named)
    return labelled.group_by("match", maintain_order=True).agg(
        pl.col("decision").first(), pl.col("label").str.join(",")
    )


def _side(first_line: int) -> pl.Expr:
    return (
        pl.when(pl.col("charge").is_not_null())
        .then(pl.lit("adjustment"))
        .when(pl.col("place") < first_line)
        .then(pl.lit("bank"))
        .otherwise(pl.lit("ledger"))
        .alias("side")
    )


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
    # in order, for what lies side by side in memory is read many times faster
    mine = cases.filter(pl.col("side") == side).sort("row")
    told = measured(rows.drop("row")[mine["row"]], "account_id", "member_id").with_columns(
        label(side).alias("label")
    )
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
