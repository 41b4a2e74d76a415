"""How right a reconciliation is, beside the truth that the books were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from benchmarks.truth import Books
    from reconciliation.matching.kernel import Result

_MEMBER: Final = ("side", "account_id", "member_id")
_PER: Final = 100_000
_EXAMPLES: Final = 12
_NEAR_DAYS: Final = (-3, 6)
"""Bank date less ledger date: what the generator's delays and weekends can make of one payment."""
_BARE: Final = (
    *("no_reference", "one_to_many", "many_to_one", "lump_undeclared"),
    *("missing_in_bank", "missing_in_ledger", "bank_interest", "bank_fee", "timing", "returned"),
)
"""Noise whose rows have no true partner that an id or a reference would lead to."""


def score(books: Books, result: Result) -> dict[str, Any]:
    """All figures of one run; shares are of 1, counts are whole numbers."""
    rows = found(books, result)
    bank = rows.filter(pl.col("side") == "bank")
    automatic = bank.filter(pl.col("status") == "automatic").height
    breaks = _breaks(rows, _doubtful(books))
    return {
        "bank_rows": bank.height,
        "ledger_rows": rows.height - bank.height,
        "automatic_share": round(automatic / bank.height, 5),
        **_falsehood(rows),
        "rules": _rules(rows),
        "recall": _recall(rows),
        "breaks_planted": breaks.height,
        "breaks_right_share": round(breaks["right"].sum() / max(1, breaks.height), 5),
        "breaks": _confusion(breaks),
        "false_examples": _examples(rows, books),
    }


def found(books: Books, result: Result) -> pl.DataFrame:
    """The truth with what became of every row.

    Added columns: `match_id`, `status`, `rule`, `whole` (the match is one group or several whole
    ones: nothing in it belongs to anything outside) or `case_id`, `case_kind`.
    """
    cases = result.cases.select(*_MEMBER, "case_id", case_kind="kind")
    matches = result.matches.select(*_MEMBER, "match_id", "status", "rule")
    rows = books.truth.join(matches, on=_MEMBER, how="left").join(cases, on=_MEMBER, how="left")
    return rows.join(_whole(rows), on="match_id", how="left")


def _whole(rows: pl.DataFrame) -> pl.DataFrame:
    """Whether each match is made of whole groups; a repeat may stand for its original."""
    sizes = rows.filter(~pl.col("copy")).group_by("group", "side").len("size")
    taken = rows.drop_nulls("match_id").group_by("match_id", "group", "side").len("taken")
    wanted = taken.select("match_id", "group").unique().join(sizes, on="group")
    met = wanted.join(taken, on=["match_id", "group", "side"], how="left")
    alone = sizes.group_by("group").len("sides")
    parts = met.join(alone, on="group").with_columns(
        fits=(pl.col("taken").fill_null(0) == pl.col("size")) & (pl.col("sides") == 2)  # noqa: PLR2004
    )
    return parts.group_by("match_id").agg(whole=pl.col("fits").all())


def _falsehood(rows: pl.DataFrame) -> dict[str, Any]:
    """Matches of either status, those that are false, and the rate of the automatic ones."""
    matches = rows.drop_nulls("match_id").unique("match_id")
    automatic = matches.filter(pl.col("status") == "automatic")
    proposed = matches.filter(pl.col("status") == "proposed")
    wrong = automatic.filter(~pl.col("whole")).height
    wrongly_proposed = proposed.filter(~pl.col("whole")).height
    return {
        "automatic": automatic.height,
        "automatic_false": wrong,
        "automatic_false_per_100000": round(wrong * _PER / max(1, automatic.height), 3),
        "proposed": proposed.height,
        "proposed_precision": round(1 - wrongly_proposed / max(1, proposed.height), 5),
    }


def _rules(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Matches by rule and status, how many are false, and how many of 100,000 that is."""
    matches = rows.drop_nulls("match_id").unique("match_id")
    counted = matches.group_by("rule", "status").agg(
        matches=pl.len(), false=(~pl.col("whole")).sum()
    )
    per = (pl.col("false") * _PER / pl.col("matches")).round(3).alias("false_per_100000")
    return counted.with_columns(per).sort("status", "rule").to_dicts()


def _recall(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """What became of the bank's rows that can be matched, by noise."""
    matchable = rows.filter(pl.col("kind").is_null(), pl.col("side") == "bank")
    whole = pl.col("whole").fill_null(value=False)
    automatic, proposed = (pl.col("status") == name for name in ("automatic", "proposed"))
    return (
        matchable.group_by("noise")
        .agg(
            bank_rows=pl.len(),
            automatic=(whole & automatic).mean().round(4),
            proposed=(whole & proposed).mean().round(4),
            falsely_matched=(~whole & (automatic | proposed)).sum(),
            cases=pl.col("case_kind").drop_nulls().value_counts(sort=True),
        )
        .sort("noise")
        .with_columns(pl.col("cases").map_elements(_tally, return_dtype=pl.String))
        .to_dicts()
    )


def _tally(counts: pl.Series) -> str:
    return ", ".join(f"{item['case_kind']} {item['count']}" for item in counts)


def _breaks(rows: pl.DataFrame, doubtful: pl.DataFrame) -> pl.DataFrame:
    """One row a planted break: what it was called, and whether that is right.

    Of a repeat and its original one is to be matched and the other named. A fee is as well proposed
    as a match with an adjustment. A row without any id beside others of its amount may be called
    ambiguous: nobody could say which of them is the one without a partner.
    """
    planted = rows.drop_nulls("kind")
    repeated = pl.col("kind").str.starts_with("duplicate")
    named = planted.filter(~(repeated & (pl.col("status") == "automatic").fill_null(value=False)))
    lost = planted.join(named, on="group", how="anti").unique("group")
    said = pl.concat([named, lost]).with_columns(
        found=pl.coalesce("case_kind", pl.col("status").fill_null("lost")),
    )
    marked = said.join(doubtful, on=_MEMBER, how="left")
    return (
        marked.group_by("group")
        .agg(
            pl.col("noise", "kind").first(),
            pl.col("found").unique().sort().str.join("+"),
            doubtful=pl.col("doubtful").any(),
            whole=pl.col("whole").all(),
            together=(pl.col("case_id").n_unique() == 1),
        )
        .with_columns(right=_right())
    )


def _right() -> pl.Expr:
    exact = (pl.col("found") == pl.col("kind")) & pl.col("together")
    adjusted = (pl.col("kind") == "amount_differs") & (pl.col("found") == "proposed")
    unclear = pl.col("doubtful").fill_null(value=False) & (pl.col("found") == "ambiguous")
    return exact | (adjusted & pl.col("whole")) | unclear


def _doubtful(books: Books) -> pl.DataFrame:
    """Planted rows without id beside a row of the other side of equal amount without id."""
    bare = books.truth.filter(pl.col("noise").is_in(_BARE))
    bank = bare.filter(pl.col("side") == "bank").join(
        books.bank.select("account_id", "amount_minor", member_id="entry_id", date="booking_date"),
        on=["account_id", "member_id"],
    )
    ledger = bare.filter(pl.col("side") == "ledger").join(
        books.ledger.select(
            "account_id", "amount_minor", member_id="line_id", date="effective_date"
        ),
        on=["account_id", "member_id"],
    )
    met = bank.join(ledger, on=["account_id", "amount_minor"], suffix="_ledger")
    days = (pl.col("date") - pl.col("date_ledger")).dt.total_days()
    near = met.filter(days.is_between(*_NEAR_DAYS), pl.col("group") != pl.col("group_ledger"))
    rows = [
        near.select("side", "account_id", "member_id"),
        near.select(side="side_ledger", account_id="account_id", member_id="member_id_ledger"),
    ]
    return pl.concat(rows).unique().with_columns(doubtful=pl.lit(value=True))


def _confusion(breaks: pl.DataFrame) -> list[dict[str, Any]]:
    """How many breaks of each noise were called what."""
    named = breaks.group_by("noise", "kind", "found", "right").len("count")
    return named.sort("noise", "right", "count", descending=[False, True, True]).to_dicts()


def _examples(rows: pl.DataFrame, books: Books) -> list[dict[str, Any]]:
    """Some false automatic matches with all that either side says of their members."""
    wrong = rows.filter(pl.col("status") == "automatic", ~pl.col("whole"))
    some = wrong.sort("rule", "match_id").filter(
        pl.col("match_id").rank("dense").over("rule") <= _EXAMPLES
    )
    fields = ("account_id", "amount_minor", "reference", "counterparty_name", "text")
    both = pl.concat(
        [
            books.bank.select(
                *fields, member_id="entry_id", date="booking_date", own="end_to_end_id"
            ),
            books.ledger.select(
                *fields, member_id="line_id", date="effective_date", own="payment_id"
            ),
        ]
    )
    told = some.join(both, on=["account_id", "member_id"], how="left")
    shown = told.select(
        "rule", "match_id", "side", "noise", "group", "member_id", "date", "own", *fields
    )
    return shown.with_columns(pl.col("date").cast(pl.String)).to_dicts()
