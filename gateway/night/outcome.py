"""What a run writes of one shard: a pure function of what it was given and what the kernel made."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.shards import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciliation.shards import Files

_MEMBER: Final = ["side", "fund_id", "account_id", "member_id"]
_UNSEEN: Final = {
    "bank_candidates": 0,
    "ledger_candidates": 0,
    "runner_up": "",
    "expected_accidents": "",
    "states": 0,
    "search_limit": "",
}
"""What is kept of an explanation, and what it is where there is none. Evidence is not kept: it is a
function of rows that never change."""
_SAW: Final = list(_UNSEEN)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a run had before it, and what it made of it."""

    bank_entry_count: int
    line_count: int
    matched_bank_entry_count: int
    matched_line_count: int
    case_count: int
    proved_account_count: int
    unproved_account_count: int

    def __add__(self, other: Counts) -> Counts:
        """Those of both together."""
        return Counts(
            *(getattr(self, each.name) + getattr(other, each.name) for each in fields(Counts))
        )


ZERO: Final = Counts(0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run writes of one shard.

    Attributes:
        matches: one row a match: fund_id, match_id, account_id, rule, and what a search saw.
        cases: one row a case of a fund: fund_id, case_id, account_id, kind, cause, detail,
            amount_minor (bank less ledger), weight_minor (both together without signs),
            oldest_date, and what a search saw.
        members: one row a member of either: kind ("match" or "case"), fund_id, id, side,
            account_id, member_id, amount_minor (what was open of it), value_date (of a match: the
            latest day among its bank entries).
    """

    matches: pl.DataFrame
    cases: pl.DataFrame
    members: pl.DataFrame

    def without(self, stale: pl.DataFrame) -> Outcome:
        """All but the matches and cases named (columns kind, fund_id, id)."""
        if stale.is_empty():
            return self
        fallen = {kind: stale.filter(kind=kind) for kind in ("match", "case")}
        return Outcome(
            _lacking(self.matches, fallen["match"], "match_id"),
            _lacking(self.cases, fallen["case"], "case_id"),
            self.members.join(stale, on=["kind", "fund_id", "id"], how="anti"),
        )

    def made_by_rule(self) -> dict[str, int]:
        """How many matches each rule made."""
        return dict(self.matches.group_by("rule").len().sort("rule").iter_rows())

    def open_minor(self) -> dict[tuple[str, str, str], int]:
        """What is left open, fen, by fund, account and side."""
        left = self.members.filter(kind="case")
        sums = left.group_by("fund_id", "account_id", "side").agg(pl.col("amount_minor").sum())
        return {(fund, account, side): total for fund, account, side, total in sums.iter_rows()}

    def counts(self) -> Counts:
        """The figures, of accounts none yet."""
        matched_bank, matched_lines = self._by_side("match")
        open_bank, open_lines = self._by_side("case")
        return replace(
            ZERO,
            bank_entry_count=matched_bank + open_bank,
            line_count=matched_lines + open_lines,
            matched_bank_entry_count=matched_bank,
            matched_line_count=matched_lines,
            case_count=self.cases.height,
        )

    def _by_side(self, kind: str) -> tuple[int, int]:
        members = self.members.filter(kind=kind)
        on_bank = members.filter(side="bank").height
        return on_bank, members.height - on_bank


def _lacking(rows: pl.DataFrame, stale: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.join(stale, left_on=["fund_id", name], right_on=["fund_id", "id"], how="anti")


def decide(given: Mapping[str, pl.DataFrame], made: Files) -> Outcome:
    """What is written of a shard.

    Args:
        given: ``bank`` and ``ledger``, as the kernel had them.
        made: what `shards.solve` gave.
    """
    result = {name: unpacked(content) for name, content in made.items()}
    dates = _dates(given)
    # What a person decided stands already.
    agreed = result["matches"].filter(pl.col("status") == "automatic", pl.col("rule") != "pin")
    open_ = pl.concat([result["cases"], proposals(result["matches"])])
    matched = _dated(_by_fund(agreed), dates)
    left = _dated(_by_fund(open_), dates)
    saw = result["explanations"].select("id", *_SAW)
    return Outcome(
        matches=_with_sight(_matches(matched), "match_id", saw),
        cases=_with_sight(_cases(left), "case_id", saw),
        members=pl.concat(
            [
                _members(matched, "match", "match_id", "allocated_minor"),
                _members(left, "case", "case_id", "amount_minor"),
            ]
        ),
    )


def proposals(matches: pl.DataFrame) -> pl.DataFrame:
    """Proposed matches as cases for a person: nothing of them is matched until somebody says so."""
    members = matches.filter(pl.col("status") == "proposed", pl.col("side") != "adjustment")
    count = pl.len().over("match_id")
    differs = pl.col("rule") == "fee_adjustment"
    sentence = pl.format(
        "{} entries and lines fit together by {}; a person may accept it",
        count,
        pl.col("rule").str.replace_all("_", " "),
    )
    return members.select(
        pl.col("match_id").alias("case_id"),
        pl.when(differs)
        .then(pl.lit("amount_differs"))
        .otherwise(pl.lit("ambiguous"))
        .alias("kind"),
        pl.concat_str(pl.lit("proposed_"), "rule").alias("cause"),
        "side",
        "account_id",
        "currency",
        "member_id",
        pl.col("allocated_minor").alias("amount_minor"),
        sentence.alias("detail"),
    )


def _by_fund(frame: pl.DataFrame) -> pl.DataFrame:
    """``fund/account`` taken apart again."""
    parts = pl.col("account_id").str.split_exact("/", 1)
    return frame.with_columns(
        fund_id=parts.struct.field("field_0"), account_id=parts.struct.field("field_1")
    )


def _dates(given: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The day of every row, and the bank's value date where there is one."""
    bank = given["bank"].select(
        "account_id",
        side=pl.lit("bank"),
        member_id="entry_id",
        date="booking_date",
        value_date=pl.coalesce("value_date", "booking_date"),
    )
    ledger = given["ledger"].select(
        "account_id",
        side=pl.lit("ledger"),
        member_id="line_id",
        date="effective_date",
        value_date=pl.lit(None, dtype=pl.Date),
    )
    return _by_fund(pl.concat([bank, ledger]))


def _dated(members: pl.DataFrame, dates: pl.DataFrame) -> pl.DataFrame:
    return members.join(dates, on=_MEMBER, how="left", maintain_order="left")


def _matches(members: pl.DataFrame) -> pl.DataFrame:
    return members.select("fund_id", "match_id", "account_id", "rule").unique(maintain_order=True)


def _members(rows: pl.DataFrame, kind: str, name: str, amount: str) -> pl.DataFrame:
    return rows.select(
        "fund_id",
        "side",
        "account_id",
        "member_id",
        pl.lit(kind).alias("kind"),
        pl.col(name).alias("id"),
        pl.col(amount).alias("amount_minor"),
        pl.col("value_date").max().over("fund_id", name),
    )


def _cases(members: pl.DataFrame) -> pl.DataFrame:
    """One row a case; of a case that reaches over two funds each fund has its own members only."""
    amount = pl.col("amount_minor")
    signed = pl.when(pl.col("side") == "bank").then(amount).otherwise(-amount)
    first = [pl.col(name).first() for name in ("account_id", "kind", "cause", "detail")]
    return members.group_by("fund_id", "case_id", maintain_order=True).agg(
        *first,
        amount_minor=signed.sum(),
        weight_minor=amount.abs().sum(),
        oldest_date=pl.col("date").min(),
    )


def _with_sight(rows: pl.DataFrame, name: str, saw: pl.DataFrame) -> pl.DataFrame:
    """With what the search saw, where there was one."""
    told = saw.select("id", *_UNSEEN)
    joined = rows.join(told, left_on=name, right_on="id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(each).fill_null(none) for each, none in _UNSEEN.items())
