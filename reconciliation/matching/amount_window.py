"""Pass 6: nothing but the amount and the time, where only one pair is possible.

Equal amounts that could pair in more than one way are left alone: a pair chosen by chance would
look like a proof. Of an only pair, too, amount and time are no proof: it is automatic if the
counterparty agrees and nothing else of that counterparty is left nearby; otherwise it is proposed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import EQUAL, Found, as_found, folded, in_window, sharing

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene, Sides

_PARTY: Final = ("counterparty_name", "counterparty_account")
_COMPARED: Final = (*EQUAL, "row", "date", "own", "ref", "batch", "returned", *_PARTY)
_LEAST_PREFIX: Final = 2
_NOTED: Final = ("pairs", EQUAL)


@dataclass(frozen=True, slots=True)
class Judged:
    """Only pairs, by what speaks for them.

    Attributes:
        sure: the counterparty agrees, and nothing else of it is open nearby.
        doubtful: nothing but amount and time speaks for them.
    """

    sure: Found
    doubtful: Found


def find(scene: Scene) -> Judged:
    """Pairs of equal amount in the window, where neither row has another candidate."""
    pairs = candidates(scene)
    alone = pl.col("bank").is_unique() & pl.col("ledger").is_unique()
    only = pairs.filter(alone)
    agreeing = only.filter("agrees")
    sure = agreeing.join(_in_company(agreeing, only, scene), on="bank", how="anti")
    doubtful = only.join(sure, on="bank", how="anti")
    return Judged(
        as_found(sure.select("bank", "ledger")), as_found(doubtful.select("bank", "ledger"))
    )


def candidates(scene: Scene) -> pl.DataFrame:
    """All pairs (rows `bank`, `ledger`) that amount, time, names and operators allow; no crowds.

    `agrees` says whether the counterparty is the same on both sides.
    """
    noted = scene.noted.get(_NOTED)
    if noted is not None:
        return _among(noted, scene.open)
    full = crowds(scene)
    pairs = _compared(scene, full)
    # the fewer rows are open, the fewer pairs, unless a crowd breaks up
    if full.is_empty():
        scene.noted[_NOTED] = pairs
    return pairs


def _among(pairs: pl.DataFrame, opened: Sides) -> pl.DataFrame:
    """The pairs of rows that are open."""
    on_bank, in_ledger = (rows["row"].implode() for rows in (opened.bank, opened.ledger))
    return pairs.filter(pl.col("bank").is_in(on_bank), pl.col("ledger").is_in(in_ledger))


def _compared(scene: Scene, full: pl.DataFrame) -> pl.DataFrame:
    bank, ledger = _elsewhere(scene, full)
    joined = bank.join(ledger, on=EQUAL, suffix="_ledger")
    near = joined.filter(
        in_window(pl.col("date"), pl.col("date_ledger"), scene.rules), _compatible()
    )
    known = near.with_columns(_same_number(), _same_name())
    pairs = known.filter(~_contradicts()).select(
        *EQUAL, bank="row", ledger="row_ledger", agrees=_agrees()
    )
    if scene.rejected:
        pairs = pairs.join(scene.rejected_pairs(), on=["bank", "ledger"], how="anti")
    return pairs.sort("bank", "ledger")


def crowds(scene: Scene) -> pl.DataFrame:
    """Accounts and amounts with so many possible pairs that the search is not begun."""
    sides, limit = scene.open, scene.rules.candidate_limit
    if _most(sides.bank) * _most(sides.ledger) <= limit:
        return sides.bank.select(EQUAL).clear()
    bank, ledger = sides.bank.group_by(EQUAL).len(), sides.ledger.group_by(EQUAL).len()
    pairs = pl.col("len").cast(pl.Int64) * pl.col("len_ledger").cast(pl.Int64)
    return bank.join(ledger, on=EQUAL, suffix="_ledger").filter(pairs > limit).select(EQUAL)


def _most(rows: pl.DataFrame) -> int:
    """How many rows the largest account has: no amount has more."""
    return rows["account"].unique_counts().max() or 0  # type: ignore[return-value]  # of counts


def _elsewhere(scene: Scene, full: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Open rows whose amount the other side has; `placed` if with their reference, open or not.

    Such a row belongs there, or repeats what does, and to no row without that reference.
    """
    bank, ledger = (
        rows.select(_COMPARED)
        .join(others.select(EQUAL), on=EQUAL, how="semi", maintain_order="left")
        .join(full, on=EQUAL, how="anti", maintain_order="left")
        for rows, others in (
            (scene.open.bank, scene.open.ledger),
            (scene.open.ledger, scene.open.bank),
        )
    )
    return _folded(_placed(bank, scene.every.ledger)), _folded(_placed(ledger, scene.every.bank))


def _placed(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    key = [*EQUAL, "ref"]
    asked = rows.select("row", *key).drop_nulls("ref")
    placed = sharing(asked, others, key)["row"]
    return rows.with_columns(placed=pl.col("row").is_in(placed.implode()))


def _folded(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their counterparties as they are compared: once a row, not once a pair."""
    return rows.with_columns(folded(rows[name]).alias(name) for name in _PARTY)


def _compatible() -> pl.Expr:
    """Ids do not contradict, and a return pairs only with a correction, which has a payment id."""
    same_own = (pl.col("own") == pl.col("own_ledger")).fill_null(value=True)
    same_batch = (pl.col("batch") == pl.col("batch_ledger")).fill_null(value=True)
    same_ref = (pl.col("ref") == pl.col("ref_ledger")).fill_null(value=False)
    unplaced = ~(pl.col("placed") | pl.col("placed_ledger"))
    correction = pl.col("own").is_null() & pl.col("own_ledger").is_not_null()
    returned = ~pl.col("returned") | correction
    return same_own & same_batch & (same_ref | unplaced) & returned


def _same_number() -> pl.Expr:
    """Whether the counterparty's account is the same; null where a side does not know it."""
    same = pl.col("counterparty_account") == pl.col("counterparty_account_ledger")
    return same.alias("same_number")


def _same_name() -> pl.Expr:
    """Whether the counterparty's name is the same, or cut short by the bank; null as above."""
    mine, theirs = pl.col("counterparty_name"), pl.col("counterparty_name_ledger")
    cut = theirs.str.starts_with(mine) & (mine.str.len_chars() >= _LEAST_PREFIX)
    return ((mine == theirs) | cut).alias("same_name")


def _agrees() -> pl.Expr:
    """The same account, or the same name and no other account."""
    by_name = pl.col("same_name").fill_null(value=False) & pl.col("same_number").is_null()
    return pl.col("same_number").fill_null(value=False) | by_name


def _contradicts() -> pl.Expr:
    """Another account, and no name that is the same: somebody else."""
    other = ~pl.col("same_number").fill_null(value=True)
    return other & ~pl.col("same_name").fill_null(value=False)


def _in_company(sure: pl.DataFrame, only: pl.DataFrame, scene: Scene) -> pl.DataFrame:
    """Pairs whose counterparty has other open rows nearby: the pair may be part of a sum."""
    bank, ledger = (
        rows.select("account", "date", "row", folded(rows["counterparty_name"]).alias("who"))
        for rows in (scene.open.bank, scene.open.ledger)
    )
    left = pl.concat(
        [
            bank.join(only, left_on="row", right_on="bank", how="anti"),
            ledger.join(only, left_on="row", right_on="ledger", how="anti"),
        ]
    ).drop("row")
    pairs = pl.concat(
        [
            sure.join(bank.drop("account"), left_on="bank", right_on="row"),
            sure.join(ledger.drop("account"), left_on="ledger", right_on="row"),
        ]
    )
    met = pairs.join(left, on=["account", "who"], suffix="_left")
    apart = (pl.col("date") - pl.col("date_left")).dt.total_days().abs()
    rules = scene.rules
    return met.filter(apart <= rules.window_days_before + rules.window_days_after).select("bank")
