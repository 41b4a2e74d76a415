"""What a run found, in the words of its result: names for rows, ids for groups, one fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.details import described
from reconciliation.matching.core import (
    PURSE,
    account_parts,
    digest,
    label,
    measured,
    member_parts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from reconciliation.frames import Side
    from reconciliation.matching.core import Found, Sides
    from reconciliation.rules import Rules

_SIDES: Final[tuple[Side, ...]] = ("bank", "ledger")
_NAMED: Final = ("account_id", "currency", "member_id")


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
        if self.rule == "pin" or self.adjustments is not None:
            return False
        bank, ledger = self.found.bank, self.found.ledger
        return bank["group"].equals(bank["row"]) and bank["group"].equals(ledger["group"])

    def is_even(self, rows: Sides) -> bool:
        """Whether every group comes to the same on both sides, adjustments included.

        A row's number is its position in `rows`.
        """
        bank = rows.bank["amount"].gather(self.found.bank["row"])
        ledger = rows.ledger["amount"].gather(self.found.ledger["row"])
        if self.is_pairs:
            return bank.equals(ledger)
        parts = [
            pl.DataFrame({"group": self.found.bank["group"], "amount": bank}),
            pl.DataFrame({"group": self.found.ledger["group"], "amount": -ledger}),
        ]
        if self.adjustments is not None:
            parts.append(self.adjustments.select("group", -pl.col("amount")))
        sums = pl.concat(parts).group_by("group").agg(pl.col("amount").sum())
        return not (sums["amount"] != 0).any()


# --- matches -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What matches are written from.

    Attributes:
        claims: what is said of every match of a claim, by the claim's number.
        accounts: account and currency, by the account's number.
        told: what is said of all entries and then of all lines.
        first_line: the place of the first line among them.
    """

    claims: pl.DataFrame
    accounts: pl.DataFrame
    told: pl.DataFrame
    first_line: int


@dataclass(frozen=True, slots=True)
class _Written:
    """Some of the matches.

    Attributes:
        matches: `match_id`, and the number of the `claim` that made it.
        members: columns as `_MEMBERS`.
    """

    matches: pl.DataFrame
    members: pl.DataFrame


_MEMBERS: Final = {
    "match": pl.UInt32(),
    "lead": pl.UInt32(),
    "place": pl.UInt32(),
    "allocated": pl.Int64(),
    "charge": pl.String(),
}
"""A member's `place` is its position among all entries and then all lines; an adjustment stands at
its entry's, with the name of its `charge`. `match` is the position of its match, `lead` the place
of the match's first member, `allocated` null where a match takes all of a row."""


def written_matches(claims: Sequence[Claim], rows: Sides, rules: Rules) -> pl.DataFrame:
    """One row a member, columns as `kernel.Result.matches`.

    Sorted by each match's first member (entries before lines, then account and id), of matches
    that share a row decisions first, then by side and member: an order that does not depend on
    what else was matched in the same run.
    """
    # only numbers are sorted; each text is fetched once, in the order in which it is written
    told = pl.concat(
        (side.select("account", "member_id", "amount") for side in (rows.bank, rows.ledger)),
        rechunk=True,
    )
    sheet = _Sheet(_said(claims, rules), _accounts(rows), told, rows.bank.height)
    numbered = list(enumerate(claims))
    groups = _groups([(n, claim) for n, claim in numbered if not claim.is_pairs], sheet)
    pairs = _pairs([(n, claim) for n, claim in numbered if claim.is_pairs], sheet)
    matches = pl.concat([groups.matches, pairs.matches], rechunk=True)
    behind = pairs.members.with_columns(pl.col("match") + groups.matches.height)
    ordered = pl.concat([groups.members, behind]).sort("lead", maintain_order=True)
    named = matches[ordered["match"]]
    said = sheet.claims.select("status", "rule")[named["claim"]]
    members = told[ordered["place"]]
    purses = sheet.accounts[members["account"]]
    whole = pl.concat([named, said, purses, members, ordered], how="horizontal")
    return whole.select(
        *("match_id", "status", "rule", _side(sheet.first_line), "account_id", "currency"),
        member_id=pl.coalesce("charge", "member_id"),
        allocated_minor=pl.coalesce("allocated", "amount"),
    )


def _accounts(rows: Sides) -> pl.DataFrame:
    """Account and currency, by the account's number: every number has a row."""
    is_first = (pl.col("account") != pl.col("account").shift()).fill_null(value=True)
    firsts = (side.select("account", *PURSE).filter(is_first) for side in (rows.bank, rows.ledger))
    return pl.concat(firsts).unique("account").sort("account").select(PURSE)


def _said(claims: Sequence[Claim], rules: Rules) -> pl.DataFrame:
    """Status and rule of each claim, and the `ending` of the texts that its matches' ids are of.

    An id is of members, rule and rules version; a decision stays the same match whatever the rules.
    """
    said = [
        (claim.status, claim.rule, f"|{claim.rule}|{'' if claim.rule == 'pin' else rules.version}")
        for claim in claims
    ]
    schema = dict.fromkeys(("status", "rule", "ending"), pl.String())
    return pl.DataFrame(said, schema=schema, orient="row")


def _pairs(claims: Sequence[tuple[int, Claim]], sheet: _Sheet) -> _Written:
    """Matches of one entry and one line, by their entries."""
    pairs = pl.concat(
        pl.DataFrame({"entry": claim.found.bank["row"], "line": claim.found.ledger["row"]}).select(
            entry=pl.col("entry").cast(pl.UInt32),
            line=(pl.col("line") + sheet.first_line).cast(pl.UInt32),
            claim=pl.lit(number, dtype=pl.UInt32),
        )
        for number, claim in claims
    ).sort("entry")
    ids = _pair_texts(pairs, sheet).select(match_id=digest(pl.col("text")), claim="claim")
    members = pl.concat(
        pairs.select(lead="entry", place=place, match=pl.int_range(pl.len(), dtype=pl.UInt32))
        for place in ("entry", "line")
    )
    whole = pl.lit(None).alias("allocated"), pl.lit(None).alias("charge")
    return _Written(ids, _as_members(members.with_columns(whole)))


def _pair_texts(pairs: pl.DataFrame, sheet: _Sheet) -> pl.DataFrame:
    """A row a pair: the `text` that its id is of."""
    entries, lines = sheet.told[pairs["entry"]], sheet.told["member_id"].gather(pairs["line"])
    # both labels begin with the account, which is put in words once for all its pairs
    accounts = measured(sheet.accounts, "account_id").select(
        on_bank=pl.concat_str(*account_parts("bank")),
        in_ledger=pl.concat_str(pl.lit(","), *account_parts("ledger")),
    )
    ids = measured(entries.select("member_id", lines.alias("line_id")), "member_id", "line_id")
    endings = sheet.claims["ending"].gather(pairs["claim"]).to_frame()
    parts = pl.concat(
        [pairs.select("claim"), ids, accounts[entries["account"]], endings], how="horizontal"
    )
    text = pl.concat_str(
        *("on_bank", *member_parts("member_id")),
        *("in_ledger", *member_parts("line_id")),
        "ending",
    )
    return parts.select("claim", text=text)


def _groups(claims: Sequence[tuple[int, Claim]], sheet: _Sheet) -> _Written:
    """Matches of any other shape, decisions first: those of one row come before all others."""
    parts = [
        _placed(found, number, place)
        for number, claim in claims
        for found, place in (
            (claim.found.bank, pl.col("row")),
            (claim.found.ledger, pl.col("row") + sheet.first_line),
        )
    ]
    ordered = pl.concat(parts).sort("claim", "group", "place")
    numbered = ordered.with_columns(match=pl.struct("claim", "group").rle_id())
    members = numbered.with_columns(lead=pl.col("place").first().over("match"))
    charges = [
        _charges(claim.adjustments, members.filter(pl.col("claim") == number), sheet.first_line)
        for number, claim in claims
        if claim.adjustments is not None
    ]
    return _Written(_group_ids(members, sheet), pl.concat([_as_members(members), *charges]))


def _placed(found: pl.DataFrame, claim: int, place: pl.Expr) -> pl.DataFrame:
    """The members of one side, perhaps with the name of the decision that made their match."""
    decided = "allocated" in found.columns
    return found.select(
        pl.col("group").cast(pl.UInt32),
        claim=pl.lit(claim, dtype=pl.UInt32),
        place=place.cast(pl.UInt32),
        allocated="allocated" if decided else pl.lit(None, dtype=pl.Int64),
        decision="name" if decided else pl.lit(None, dtype=pl.String),
        charge=pl.lit(None, dtype=pl.String),
    )


def _charges(adjustments: pl.DataFrame, members: pl.DataFrame, first_line: int) -> pl.DataFrame:
    """What evens groups out, each at its entry."""
    entries = members.filter(pl.col("place") < first_line)
    met = entries.join(adjustments, on="group")
    return _as_members(met.with_columns(allocated="amount", charge="name"))


def _as_members(members: pl.DataFrame) -> pl.DataFrame:
    return members.select(pl.col(name).cast(dtype) for name, dtype in _MEMBERS.items())


def _group_ids(members: pl.DataFrame, sheet: _Sheet) -> pl.DataFrame:
    """Of each match its id, which is of the labels of all members."""
    on_bank = pl.col("place") < sheet.first_line
    told = sheet.told[members["place"]]
    known = pl.concat([members, told, sheet.accounts[told["account"]]], how="horizontal")
    labelled = measured(known, "account_id", "member_id").with_columns(
        label=pl.when(on_bank).then(label("bank")).otherwise(label("ledger"))
    )
    matches = labelled.group_by("match", maintain_order=True).agg(
        pl.col("claim", "decision").first(), pl.col("label").str.join(",")
    )
    ending = sheet.claims["ending"].gather(matches["claim"])
    text = pl.concat_str("label", ending, pl.col("decision").fill_null(""))
    return matches.select(match_id=digest(text), claim="claim")


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
    parts: list[pl.DataFrame] = []
    for side in _SIDES:
        mine = searches.filter(pl.col("side") == side)
        told = getattr(rows, side).select("account_id", "member_id")[mine["row"]]
        parts.append(pl.concat([mine, told], how="horizontal"))
    whole = pl.concat(parts).sort("side", "account_id", "member_id")
    return whole.select(
        "side",
        "account_id",
        "member_id",
        *(name for name in searches.columns if name not in ("side", "row")),
    )
