"""What did not match, by kind: each classifier takes the open rows that it can name.

Evidence comes first (an id that agrees), then the lack of it (a tie), then absence, so that each
row gets the most telling name there is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.amount_window import EQUAL, candidates, crowds
from reconciliation.matching.cases import as_cases, found_cases
from reconciliation.matching.core import Found, as_found
from reconciliation.matching.declared_batch import BATCH, batched, members, totals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciliation.matching.core import Scene

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


def wrong_account(scene: Scene) -> pl.DataFrame:
    """Own id, amount and currency agree, the account does not."""
    pairs = _id_pairs(scene, ["currency", "amount", "own"])
    return found_cases(as_found(pairs), "wrong_account", "other_account")


def _id_pairs(scene: Scene, key: list[str]) -> pl.DataFrame:
    """Open pairs that share the key and nothing else has it."""
    bank, ledger = (
        side.drop_nulls("own").filter(pl.struct(key).is_unique())
        for side in (scene.open.bank, scene.open.ledger)
    )
    return bank.join(ledger, on=key).select(bank="row", ledger="row_right")


def returned_by_id(scene: Scene) -> pl.DataFrame:
    """A payment that came back, by its id; the ledger has no correction line for it."""
    back = _credits(scene).drop_nulls("own")
    sent = _opposites(scene, back, "own")
    rows = back.filter(pl.col("returned") | _among(sent))
    return _returned(rows)


def returned(scene: Scene) -> pl.DataFrame:
    """Money that came back as the bank's flag, its words or the reference of a debit tell."""
    back = _credits(scene)
    words = _says(pl.col("text"), scene.rules.return_words)
    sent = _opposites(scene, back.drop_nulls("ref"), "ref")
    return _returned(back.filter(pl.col("returned") | words | _among(sent)))


def _credits(scene: Scene) -> pl.DataFrame:
    return scene.open.bank.filter(pl.col("amount") > 0)


def _opposites(scene: Scene, rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Of `rows`, those that undo a debit of the same key, not later than themselves."""
    shared = ["account", "amount", key]
    negated = rows.select("account", "date", "row", key, amount=-pl.col("amount"))
    # only the first debit of a key: many of each would multiply
    sent = scene.every.bank.join(negated, on=shared, how="semi")
    met = negated.join(sent.group_by(shared).agg(first=pl.col("date").min()), on=shared)
    return met.filter(pl.col("first") <= pl.col("date")).select("row")


def _among(rows: pl.DataFrame) -> pl.Expr:
    return pl.col("row").is_in(rows["row"].implode())


def _returned(rows: pl.DataFrame) -> pl.DataFrame:
    return as_cases(rows.with_columns(group="row"), "bank", "returned", "no_correction_line")


def same_reference(scene: Scene) -> pl.DataFrame:
    """References agree and are the only ones of their account; amounts do not agree."""
    key = ["account", "ref"]
    bank, ledger = (
        _sole(open_, every, key)
        for open_, every in (
            (scene.open.bank, scene.every.bank),
            (scene.open.ledger, scene.every.ledger),
        )
    )
    pairs = bank.join(ledger, on=[*key, "way"], suffix="_ledger")
    agreeing = pairs.filter((pl.col("own") == pl.col("own_ledger")).fill_null(value=True))
    found = as_found(agreeing.select(bank="row", ledger="row_ledger"))
    return found_cases(found, "amount_differs", "amount")


def _sole(open_: pl.DataFrame, every: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Open rows whose key no other row of the whole side has."""
    rows = open_.drop_nulls("ref").select(*key, _WAY, "own", "row")
    counts = every.join(rows, on=key, how="semi").group_by(key).len()
    return rows.join(counts.filter(pl.col("len") == 1), on=key, how="semi")


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
    pairs = candidates(scene)
    bank = scene.open.bank.join(pairs, left_on="row", right_on="bank", how="semi")
    ledger = scene.open.ledger.join(pairs, left_on="row", right_on="ledger", how="semi")
    gap = max(scene.rules.window_days_before, scene.rules.window_days_after)
    return found_cases(_runs(bank, ledger, gap), "ambiguous", "equal_amounts")


def _runs(bank: pl.DataFrame, ledger: pl.DataFrame, gap: int) -> Found:
    """Rows of equal amount grouped so that no two groups are within `gap` days of each other."""
    both = pl.concat(
        side.select(*EQUAL, "date", "row", on_bank=pl.lit(on_bank))
        for side, on_bank in ((bank, True), (ledger, False))
    ).sort(*EQUAL, "date", "on_bank", "row")
    apart = (pl.col("date").diff().dt.total_days() > gap).fill_null(value=True).over(EQUAL)
    runs = both.with_columns(run=apart.cum_sum())
    first = pl.col("row").filter("on_bank").min().over("run")
    named = runs.with_columns(group=first)
    return Found(
        named.filter("on_bank").select("group", "row"),
        named.filter(~pl.col("on_bank")).select("group", "row"),
    )


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


def missing_in_bank(scene: Scene) -> pl.DataFrame:
    """Ledger lines that the bank should have booked by now."""
    rows = scene.open.ledger.with_columns(group="row")
    return as_cases(rows, "ledger", "missing_in_bank", "overdue")


def missing_in_ledger(scene: Scene) -> pl.DataFrame:
    """Bank entries that nobody disclosed, by what they look like."""
    rules = scene.rules
    small_debit = pl.col("amount").is_between(-rules.fee_max_minor, -1)
    said = pl.concat_str("text", "counterparty_name", separator=" ", ignore_nulls=True)
    cause = (
        pl.when(small_debit & _says(said, rules.fee_words))
        .then(pl.lit("bank_fee"))
        .when((pl.col("amount") > 0) & _says(said, rules.interest_words))
        .then(pl.lit("bank_interest"))
        .when(pl.col("amount") > 0)
        .then(pl.lit("unidentified_receipt"))
        .otherwise(pl.lit("unexplained_debit"))
    )
    rows = scene.open.bank.with_columns(group="row")
    return as_cases(rows, "bank", "missing_in_ledger", cause)


def _says(text: pl.Expr, words: Iterable[str]) -> pl.Expr:
    """Whether the text has one of the words; a Latin word only whole: no fee in a coffee."""
    listed = [re.escape(word) for word in words]
    edged = [rf"(?-u:\b){word}(?-u:\b)" if word.isascii() else word for word in listed]
    pattern = "(?i)" + "|".join(edged) if edged else r"[^\s\S]"
    return text.str.contains(pattern).fill_null(value=False)
