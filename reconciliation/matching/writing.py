"""What a run found, in the words of its result: names for rows, ids for groups, one fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.details import described
from reconciliation.matching.core import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from reconciliation.frames import Side
    from reconciliation.matching.core import Found, Sides
    from reconciliation.rules import Rules

_SIDES: Final[tuple[Side, ...]] = ("bank", "ledger")
_NAMED: Final = ("account_id", "currency", "member_id")
_MATCHES: Final = ("match_id", "status", "rule", "side", *_NAMED, "allocated_minor")
_ORDER: Final = ("lead", "match_id", "place", "row")
_PLACES: Final = {"bank": 0, "ledger": 1, "adjustment": 2}


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

    def is_even(self, rows: Sides) -> bool:
        """Whether every group comes to the same on both sides, adjustments included."""
        bank = self.found.bank.join(rows.bank.select("row", "amount"), on="row")
        ledger = self.found.ledger.join(rows.ledger.select("row", "amount"), on="row")
        parts = [bank.select("group", "amount"), ledger.select("group", -pl.col("amount"))]
        if self.adjustments is not None:
            parts.append(self.adjustments.select("group", -pl.col("amount")))
        sums = pl.concat(parts).group_by("group").agg(pl.col("amount").sum())
        return not (sums["amount"] != 0).any()


# --- matches -------------------------------------------------------------------------------------


def written_matches(claims: Sequence[Claim], rows: Sides, rules: Rules) -> pl.DataFrame:
    """One row a member, columns as `kernel.Result.matches`.

    Sorted by each match's first member (entries before lines, then account and id), then by match,
    side and member: an order that does not depend on what else was matched in the same run.
    """
    parts = [_members(claim, rows, rules) for claim in claims]
    ordered = pl.concat(parts).sort(_ORDER)
    return ordered.select(_MATCHES)


def _members(claim: Claim, rows: Sides, rules: Rules) -> pl.DataFrame:
    bank, ledger = (
        _placed(getattr(claim.found, side), getattr(rows, side), side) for side in _SIDES
    )
    ids = _pair_ids(bank, ledger, claim, rules) if _is_pairs(claim) else None
    members = pl.concat([bank, ledger])
    if ids is None:
        members = members.join(_group_ids(members, claim, rules), on="group", how="left")
    else:
        members = members.with_columns(pl.concat([ids, ids]))
    members = _with_adjustments(_with_lead(members), claim)
    return members.select(
        *(name for name in _MATCHES if name not in ("status", "rule")),
        *(name for name in _ORDER if name != "match_id"),
        status=pl.lit(claim.status),
        rule=pl.lit(claim.rule),
    )


def _is_pairs(claim: Claim) -> bool:
    """Whether each group is one entry and one line, both sides in the same order."""
    bank, ledger = claim.found.bank["group"], claim.found.ledger["group"]
    plain = claim.rule != "pin" and bank.equals(ledger)
    return plain and bank.n_unique() == len(bank)


def _placed(found: pl.DataFrame, rows: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The members of one side, taken by their place: a row's number is its position."""
    taken = rows.select(*_NAMED, "amount")[found["row"]]
    allocated = found["allocated"] if "allocated" in found.columns else taken["amount"]
    said = found["name"] if "name" in found.columns else pl.lit(None, dtype=pl.String)
    return taken.select(
        found["group"].cast(pl.UInt32),
        found["row"].cast(pl.UInt32),
        *_NAMED,
        allocated.alias("allocated_minor"),
        pl.lit(side).alias("side"),
        pl.lit(_PLACES[side], dtype=pl.UInt8).alias("place"),
        decision=said,
    )


def _pair_ids(bank: pl.DataFrame, ledger: pl.DataFrame, claim: Claim, rules: Rules) -> pl.Series:
    left, right = bank.select(label("bank")), ledger.select(label("ledger"))
    labels = (left.to_series() + "," + right.to_series()).alias("label")
    return _ids(labels.to_frame(), claim.rule, pl.lit(rules.version))


def _group_ids(members: pl.DataFrame, claim: Claim, rules: Rules) -> pl.DataFrame:
    named = pl.when(pl.col("side") == "bank").then(label("bank")).otherwise(label("ledger"))
    groups = (
        members.sort("group", "place", "row")
        .group_by("group", maintain_order=True)
        .agg(named.str.join(",").alias("label"), pl.col("decision").first())
    )
    # A decision stays the same match whatever the rules become.
    version = pl.coalesce("decision", pl.lit(rules.version))
    return groups.select("group", _ids(groups, claim.rule, version))


def _ids(groups: pl.DataFrame, rule: str, version: pl.Expr) -> pl.Series:
    """SHA-256 over members, rule and rules version, the first 32 hexadecimal digits of it."""
    said = groups.select(pl.concat_str("label", pl.lit(f"|{rule}|"), version)).to_series()
    return pl.Series("match_id", digests(said.to_list()), dtype=pl.String)


def digests(texts: Iterable[str]) -> list[str]:
    """The first 32 hexadecimal digits of each text's SHA-256."""
    return [sha256(text.encode()).hexdigest()[:32] for text in texts]


_LEDGER_LEADS: Final = 2**32


def _with_lead(members: pl.DataFrame) -> pl.DataFrame:
    """`lead`: the first member's place in the order of all rows, entries first."""
    rank = pl.col("row").cast(pl.UInt64) + pl.col("place") * pl.lit(_LEDGER_LEADS, pl.UInt64)
    ranked = members.with_columns(lead=rank)
    return ranked.with_columns(pl.col("lead").min().over("group"))


def _with_adjustments(members: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    if claim.adjustments is None:
        return members
    first = members.filter(pl.col("side") == "bank")
    added = first.join(claim.adjustments, on="group").with_columns(
        allocated_minor="amount",
        member_id="name",
        side=pl.lit("adjustment"),
        place=pl.lit(_PLACES["adjustment"], dtype=pl.UInt8),
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
    named = [
        parts.filter(pl.col("side") == side)
        .join(getattr(rows, side).with_columns(label(side).alias("label")), on="row")
        .join(getattr(rows, side).select(other="row", other_id="member_id"), on="other", how="left")
        for side in _SIDES
    ]
    members = pl.concat(named).sort("kind", "cause", "group", "side", "row")
    return described(members, rules, as_of).select(
        "case_id",
        "kind",
        "cause",
        "side",
        *_NAMED,
        pl.col("amount").alias("amount_minor"),
        "detail",
    )


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
