"""Rows that say again what another row of the same side has said.

Two equal payments are two payments: a row is a repeat only if it names the same payment, or agrees
with an earlier row in everything but its own name. Before matching by amount, repeats are set aside
where the other side has one partner to offer and the original is to have it; afterwards, what is
still open is compared with everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.amount_window import crowds
from reconciliation.matching.cases import NO_CASES, as_cases
from reconciliation.matching.core import EQUAL, in_window, sharing
from reconciliation.matching.declared_batch import BATCH, batched, totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciliation.frames import Side
    from reconciliation.matching.core import Scene

    _Finder = Callable[[Scene, Side], pl.DataFrame]

_ID: Final = ("account", "amount", "own")
_PRINT: Final = (
    *("account", "amount", "date", "own", "ref", "batch"),
    *("counterparty_name", "counterparty_account", "text"),
)
_BATCH_SUM: Final = ("account", "amount", "batch")
_KINDS: Final[tuple[tuple[Side, str, str], ...]] = (
    ("bank", "duplicate_bank", "repeated_entry"),
    ("ledger", "duplicate_ledger", "repeated_line"),
)


def before_amounts(scene: Scene) -> pl.DataFrame:
    """Repeats that can be told before amounts are compared, as cases."""
    return _both_sides(scene, _early)


def afterwards(scene: Scene) -> pl.DataFrame:
    """Open rows that repeat a matched row, or an earlier one, as cases."""
    return _both_sides(scene, _late)


def _both_sides(scene: Scene, find: _Finder) -> pl.DataFrame:
    cases = [NO_CASES]
    for side, kind, cause in _KINDS:
        rows = find(scene, side).unique("row", keep="first", maintain_order=True)
        cases.append(as_cases(rows.with_columns(group="row"), side, kind, cause))
    return pl.concat(cases)


def _early(scene: Scene, side: Side) -> pl.DataFrame:
    found = (_same_payment(scene, side), _same_batch_sum(scene, side), _same_print(scene, side))
    return pl.concat(found)


def _late(scene: Scene, side: Side) -> pl.DataFrame:
    rows = _of(scene, side)
    ids = _families(scene, side, rows["row"].filter(rows["own"].is_not_null()), _ID)
    prints = _families(scene, side, _telling(rows), _PRINT)
    return pl.concat([_echoes(ids), _echoes(prints)])


def _of(scene: Scene, side: Side) -> pl.DataFrame:
    return scene.open.bank if side == "bank" else scene.open.ledger


def _opposite(scene: Scene, side: Side) -> pl.DataFrame:
    return scene.open.ledger if side == "bank" else scene.open.bank


def _telling(rows: pl.DataFrame) -> pl.Series:
    """Rows whose agreement means something: date, amount and a stock text alone do not."""
    tells = pl.any_horizontal(
        pl.col("ref", "counterparty_name", "counterparty_account").is_not_null()
    )
    return rows.select(pl.col("row").filter(tells)).to_series()


def _families(scene: Scene, side: Side, rows: pl.Series, key: tuple[str, ...]) -> pl.DataFrame:
    """All rows of the side, closed ones too, that share a key with one of `rows` and another row.

    `is_open` tells them apart; `other` is the original: a closed row, else the earliest.
    """
    alike = scene.alike(side, key)
    asked = alike["family"].filter(alike["row"].is_in(rows.implode()))
    opened = _of(scene, side)["row"]
    shared = alike.filter(pl.col("family").is_in(asked.implode()))
    flagged = shared.with_columns(is_open=pl.col("row").is_in(opened.implode()))
    return flagged.sort("is_open", "date", "row").with_columns(
        other=pl.col("row").first().over("family"),
        closed=(~pl.col("is_open")).sum().over("family"),
    )


def _echoes(families: pl.DataFrame) -> pl.DataFrame:
    """The open members of each family but its original."""
    echoes = pl.col("is_open") & (pl.col("row") != pl.col("other"))
    return families.select(pl.col("row", "other").filter(echoes))


def _same_payment(scene: Scene, side: Side) -> pl.DataFrame:
    """The same id and amount again, where the other side has no second row for it.

    A payer may use one id for ever, so a credit counts only if the other side knows its id.
    """
    rows = _of(scene, side).drop_nulls("own")
    theirs = scene.every.ledger if side == "bank" else scene.every.bank
    known = sharing(rows.filter(pl.col("amount") >= 0), theirs, ("account", "own"))
    ours = pl.concat([rows["row"].filter(rows["amount"] < 0), known["row"]])
    offered = _opposite(scene, side).drop_nulls("own").group_by(_ID).len("offers")
    families = _families(scene, side, ours, _ID).join(offered, on=_ID, how="left")
    return _echoes(families.filter(_one_is_enough()))


def _one_is_enough() -> pl.Expr:
    """The other side has nothing left for the family, or one row, which the original takes."""
    offers = pl.col("offers").fill_null(0)
    return (offers == 0) | ((offers == 1) & (pl.col("closed") == 0))


def _same_batch_sum(scene: Scene, side: Side) -> pl.DataFrame:
    """A batch booked again as one sum: each row alone is all that the other side has of it."""
    sums = totals(batched(_opposite(scene, side))).select(*BATCH, amount="total")
    rows = batched(_of(scene, side)).join(sums, on=[*BATCH, "amount"], how="semi")
    return _echoes(_families(scene, side, rows["row"], _BATCH_SUM))


def _same_print(scene: Scene, side: Side) -> pl.DataFrame:
    """Rows alike in everything, where the other side has exactly one row that they could mean."""
    families = _families(scene, side, _telling(_of(scene, side)), _PRINT)
    repeated = families.filter(pl.len().over(_PRINT) > 1)
    alike = repeated.join(crowds(scene), on=EQUAL, how="anti")
    theirs = _opposite(scene, side).select("account", "amount", "date", "ref")
    met = alike.join(theirs, on=EQUAL, suffix="_other")
    dates = ("date", "date_other") if side == "bank" else ("date_other", "date")
    near = in_window(pl.col(dates[0]), pl.col(dates[1]), scene.rules)
    same = (pl.col("ref") == pl.col("ref_other")).fill_null(value=False)
    # a reference that agrees tells more than a day that is near
    offers = (
        met.group_by("row")
        .agg(same=same.sum(), near=(near & ~same).sum())
        .select("row", offers=pl.when(pl.col("same") > 0).then("same").otherwise("near"))
    )
    counted = alike.join(offers, on="row", how="inner")
    return _echoes(counted.filter(pl.col("offers") == 1, pl.col("closed") == 0))
