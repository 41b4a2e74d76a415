"""Before all passes but the second: ids of ours that bank and ledger have on two accounts.

This is the one question that reaches over accounts, so it is asked early and of few rows: those
whose id and amount the other side does not have on the same account. Pass 2 pairs only rows that
are not among them, so it may come first. Once the question is answered every account can be matched
for itself, in any division of the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import Found, Sides, sharing

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE: Final = ("account", "amount", "own")
_ANYWHERE: Final = ("currency", "amount", "own")
_COMPARED: Final = ("row", "account", "date", *_ANYWHERE)


def stranded(opened: Sides) -> Sides:
    """Rows with an id of ours that the other side has not on this account with this amount."""
    bank, ledger = (
        side.select(_COMPARED).drop_nulls("own") for side in (opened.bank, opened.ledger)
    )
    return Sides(_lacking(bank, ledger), _lacking(ledger, bank))


def _lacking(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(~pl.col("row").is_in(sharing(rows, others, _HERE)["row"].implode()))


def find(alone: Sides) -> Found:
    """Of stranded rows the pairs that share id, amount and currency with one other account only.

    Where an account has several such rows, the first is the one; the rest repeat it.
    """
    entries = sharing(alone.bank, alone.ledger, _ANYWHERE)
    lines = sharing(alone.ledger, entries, _ANYWHERE)
    shared = _on_one_account(entries).join(_on_one_account(lines), on=_ANYWHERE, suffix="_ledger")
    pairs = shared.select(group="row", row="row", ledger="row_ledger").sort("group")
    return Found(pairs.select("group", "row"), pairs.select("group", row="ledger"))


def _on_one_account(rows: pl.DataFrame) -> pl.DataFrame:
    first: Sequence[str] = ("date", "row")
    groups = rows.group_by(_ANYWHERE).agg(
        pl.col("account").n_unique(), pl.col("row").sort_by(first).first()
    )
    return groups.filter(pl.col("account") == 1).drop("account")
