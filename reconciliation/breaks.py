"""What did not match, by kind: each classifier takes the open rows that it can name.

Evidence comes first (an id that agrees), then the lack of it (a tie), then absence, so that each
row gets the most telling name there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching import crossing, equal_sets, fees
from reconciliation.matching.amount_window import candidates, crowds
from reconciliation.matching.cases import as_cases, found_cases
from reconciliation.matching.core import EQUAL, Found, as_found, says, sharing
from reconciliation.matching.declared_batch import BATCH, batched, members, totals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciliation.matching.core import Scene
    from reconciliation.rules import Rules

KINDS: Final = (
    "missing_in_bank",
    "missing_in_ledger",
    "timing",
    "amount_differs",
    "duplicate_bank",
    "duplicate_ledger",
    "returned",
    "wrong_account",
    "ambiguous",
    "search_limited",
)
"""Every kind of case that this release can name."""

_WAY: Final = pl.col("amount").sign().alias("way")
_PAYMENT: Final = ("account", "own", "way")


def same_id(scene: Scene) -> pl.DataFrame:
    """Own ids agree and amounts do not; or the amounts agree too, several times over."""
    bank = scene.open.bank.with_columns(_WAY).drop_nulls("own")
    ledger = scene.open.ledger.with_columns(_WAY).drop_nulls("own")
    sums = _payment_sums(bank).join(_payment_sums(ledger), on=_PAYMENT, suffix="_ledger")
    equal = bank.join(ledger, on=[*_PAYMENT, "amount"], how="semi").select(_PAYMENT).unique()
    tied = sums.join(equal, on=_PAYMENT, how="semi")
    rest = sums.join(equal, on=_PAYMENT, how="anti")
    in_parts = pl.col("sum") == pl.col("sum_ledger")
    named = (
        (tied, "ambiguous", "same_id"),
        (rest.filter(in_parts), "amount_differs", "split"),
        (rest.filter(~in_parts), "amount_differs", "amount"),
    )
    return pl.concat(
        found_cases(_sharing(_PAYMENT, rows, bank, ledger), kind, cause)
        for rows, kind, cause in named
    )


def _payment_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """What each payment comes to; `group` is its first row."""
    return rows.group_by(_PAYMENT).agg(sum=pl.col("amount").sum(), group=pl.col("row").min())


def _sharing(
    key: Iterable[str], groups: pl.DataFrame, bank: pl.DataFrame, ledger: pl.DataFrame
) -> Found:
    """The rows of both sides that share a key with a group."""
    named = groups.select(*key, "group")
    return Found(
        bank.join(named, on=list(key)).select("group", "row"),
        ledger.join(named, on=list(key)).select("group", "row"),
    )


def other_currency(scene: Scene) -> pl.DataFrame:
    """Own id and account agree, the currency does not."""
    pairs = _id_pairs(scene, ["account_id", "own"])
    return found_cases(as_found(pairs), "amount_differs", "currency")


def _id_pairs(scene: Scene, key: list[str]) -> pl.DataFrame:
    """Open pairs that share the key and nothing else has it."""
    bank, ledger = (
        side.drop_nulls("own").filter(pl.struct(key).is_unique())
        for side in (scene.open.bank, scene.open.ledger)
    )
    return bank.join(ledger, on=key).select(bank="row", ledger="row_right")


def wrong_account(scene: Scene) -> pl.DataFrame:
    """Own id, amount and currency agree, the account does not."""
    return found_cases(
        crossing.find(crossing.stranded(scene.open)), "wrong_account", "other_account"
    )


def returned_by_id(scene: Scene) -> pl.DataFrame:
    """A payment that came back, by its id; the ledger has no correction line for it."""
    back = _credits(scene).drop_nulls("own")
    sent = _opposites(scene, back, "own")
    rows = back.filter(pl.col("returned") | _among(sent))
    return _returned(rows)


def returned(scene: Scene) -> pl.DataFrame:
    """Money that came back as the bank's flag, its words or the reference of a debit tell."""
    back = _credits(scene)
    words = says(pl.col("text"), scene.rules.return_words)
    sent = _opposites(scene, back.drop_nulls("ref"), "ref")
    return _returned(back.filter(pl.col("returned") | words | _among(sent)))


def _credits(scene: Scene) -> pl.DataFrame:
    return scene.open.bank.filter(pl.col("amount") > 0)


def _opposites(scene: Scene, rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Of `rows`, those that undo a debit of the same key, not later than themselves."""
    shared = ["account", "amount", key]
    negated = rows.select("account", "date", "row", key, amount=-pl.col("amount"))
    # only the first debit of a key: many of each would multiply
    sent = sharing(scene.every.bank, negated, shared)
    met = negated.join(sent.group_by(shared).agg(first=pl.col("date").min()), on=shared)
    return met.filter(pl.col("first") <= pl.col("date")).select("row")


def _among(rows: pl.DataFrame) -> pl.Expr:
    return pl.col("row").is_in(rows["row"].implode())


def _returned(rows: pl.DataFrame) -> pl.DataFrame:
    return as_cases(rows.with_columns(group="row"), "bank", "returned", "no_correction_line")


def same_reference(scene: Scene) -> pl.DataFrame:
    """References agree and are the only ones of their account; amounts do not agree."""
    return found_cases(as_found(fees.reference_pairs(scene)), "amount_differs", "amount")


def batch_total(scene: Scene) -> pl.DataFrame:
    """Both sides name the batch, one of them in one sum, and the sums differ."""
    bank, ledger = batched(scene.open.bank), batched(scene.open.ledger)
    both = _lumps(bank).join(_lumps(ledger), on=BATCH, suffix="_ledger")
    one_sum = ((pl.col("count") == 1) & pl.col("lump")) | (
        (pl.col("count_ledger") == 1) & pl.col("lump_ledger")
    )
    found = members(both.filter(one_sum).select(*BATCH, "group"), bank, ledger)
    return found_cases(found, "amount_differs", "batch_total")


def _lumps(rows: pl.DataFrame) -> pl.DataFrame:
    """Totals, and whether the rows could stand for the batch rather than for one payment of it."""
    single = (pl.col("own") != pl.col("batch")).fill_null(value=False)
    lumps = rows.group_by(BATCH).agg(lump=~single.any())
    return totals(rows).join(lumps, on=BATCH)


def tied(scene: Scene) -> pl.DataFrame:
    """Equal amounts that could pair in more than one way, one case for each run of days."""
    runs = equal_sets.runs(scene, candidates(scene))
    return found_cases(runs, "ambiguous", "equal_amounts")


def crowded(scene: Scene) -> pl.DataFrame:
    """Equal amounts in such numbers that no search was begun, one case for each amount."""
    full = crowds(scene)
    bank = scene.open.bank.join(full, on=EQUAL, how="semi")
    first = bank.group_by(EQUAL).agg(group=pl.col("row").min())
    found = _sharing(EQUAL, first, bank, scene.open.ledger)
    return found_cases(found, "ambiguous", "too_many_candidates")


def in_transit(scene: Scene) -> pl.DataFrame:
    """Ledger lines young enough for their bank entry to be still on its way."""
    age = (pl.lit(scene.as_of) - pl.col("date")).dt.total_days()
    young = scene.open.ledger.filter(age <= scene.rules.transit_days)
    return as_cases(young.with_columns(group="row"), "ledger", "timing", "in_transit")


def search_limited(searches: pl.DataFrame, scene: Scene) -> pl.DataFrame:
    """Rows that may be the sum of others, which no search has been able to tell.

    What the bank's words explain, and what is young enough to be in transit, needs no such search.
    """
    stopped = searches.drop_nulls("limit").select("side", "row")
    bank, ledger = (
        rows.join(stopped.filter(pl.col("side") == side), on="row", how="semi").with_columns(
            group="row"
        )
        for side, rows in (("bank", scene.open.bank), ("ledger", scene.open.ledger))
    )
    unexplained = bank.filter(~_cause(scene.rules).is_in(["bank_fee", "bank_interest"]))
    return pl.concat(
        [
            as_cases(unexplained, "bank", "search_limited", "entry_sum"),
            as_cases(ledger, "ledger", "search_limited", "line_sum"),
        ]
    )


def missing_in_bank(scene: Scene) -> pl.DataFrame:
    """Ledger lines that the bank should have booked by now."""
    rows = scene.open.ledger.with_columns(group="row")
    return as_cases(rows, "ledger", "missing_in_bank", "overdue")


def missing_in_ledger(scene: Scene) -> pl.DataFrame:
    """Bank entries that nobody disclosed, by what they look like."""
    rows = scene.open.bank.with_columns(group="row")
    return as_cases(rows, "bank", "missing_in_ledger", _cause(scene.rules))


def _cause(rules: Rules) -> pl.Expr:
    """What a lone bank entry looks like."""
    small_debit = pl.col("amount").is_between(-rules.fee_max_minor, -1)
    said = pl.concat_str("text", "counterparty_name", separator=" ", ignore_nulls=True)
    return (
        pl.when(small_debit & says(said, rules.fee_words))
        .then(pl.lit("bank_fee"))
        .when((pl.col("amount") > 0) & says(said, rules.interest_words))
        .then(pl.lit("bank_interest"))
        .when(pl.col("amount") > 0)
        .then(pl.lit("unidentified_receipt"))
        .otherwise(pl.lit("unexplained_debit"))
    )
