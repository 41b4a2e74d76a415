"""Pass 8: id or reference agree, the amounts do not, and the bank's tariff explains the difference.

The match is proposed together with the ledger posting that would make it even. The pass runs
before such pairs become cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import Found, as_found, says, sharing

if TYPE_CHECKING:
    from reconciliation.matching.core import Scene
    from reconciliation.rules import Fee

_WAY: Final = pl.col("amount").sign().alias("way")
_REFERENCE: Final = ("account", "ref")
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Pairs that a charge makes even.

    Attributes:
        found: the pairs.
        adjustments: one row a pair: `group`, `name` of the charge, `amount` (fen) as the ledger
            would book it. Entry = line + adjustment.
    """

    found: Found
    adjustments: pl.DataFrame


def find(scene: Scene) -> Adjusted:
    """Pairs by id, else by reference, whose difference a line of the tariff explains to the fen."""
    pairs = pl.concat([id_pairs(scene), reference_pairs(scene)]).unique(
        "bank", keep="first", maintain_order=True
    )
    explained = _explained(_with_amounts(pairs, scene), scene.rules.fees)
    found = scene.unless_rejected(as_found(explained))
    adjustments = explained.select("name", "amount", group="bank")
    return Adjusted(found, adjustments.join(found.bank, on="group", how="semi"))


def id_pairs(scene: Scene) -> pl.DataFrame:
    """Open pairs (`bank`, `ledger`) that share an id of ours, the only ones of their account."""
    key = ["account", "own", "way"]
    bank, ledger = (
        side.drop_nulls("own").with_columns(_WAY).filter(pl.len().over(key) == 1)
        for side in (scene.open.bank, scene.open.ledger)
    )
    return bank.join(ledger, on=key, suffix="_ledger").select(bank="row", ledger="row_ledger")


def reference_pairs(scene: Scene) -> pl.DataFrame:
    """Open pairs that share a reference, the only rows of their account that ever had it."""
    opened = (_referring(scene.open.bank), _referring(scene.open.ledger))
    met = sharing(opened[0], opened[1], _REFERENCE)
    bank = _sole(met, scene.every.bank)
    ledger = _sole(sharing(opened[1], met, _REFERENCE), scene.every.ledger)
    pairs = bank.join(ledger, on=[*_REFERENCE, "way"], suffix="_ledger")
    agreeing = pairs.filter((pl.col("own") == pl.col("own_ledger")).fill_null(value=True))
    return agreeing.select(bank="row", ledger="row_ledger")


def _referring(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*_REFERENCE, _WAY, "own", "row").drop_nulls("ref")


def _sole(rows: pl.DataFrame, every: pl.DataFrame) -> pl.DataFrame:
    """Rows whose reference no other row of the whole side has."""
    counts = sharing(every.select(_REFERENCE), rows, _REFERENCE).group_by(_REFERENCE).len()
    return rows.join(counts.filter(pl.col("len") == 1), on=_REFERENCE, how="semi")


def _with_amounts(pairs: pl.DataFrame, scene: Scene) -> pl.DataFrame:
    bank = scene.open.bank.select("text", bank="row", paid="amount")
    ledger = scene.open.ledger.select(ledger="row", due="amount")
    return pairs.join(bank, on="bank").join(ledger, on="ledger").sort("bank")


def _explained(pairs: pl.DataFrame, fees: tuple[Fee, ...]) -> pl.DataFrame:
    """The pairs that a charge explains, with its name and the adjustment."""
    named = [pl.when(explains(fee)).then(pl.lit(fee.name)) for fee in fees]
    name = pl.coalesce(*named, pl.lit(None, dtype=pl.String))
    adjusted = pairs.with_columns(name=name, amount=pl.col("paid") - pl.col("due"))
    return adjusted.drop_nulls("name")


def explains(fee: Fee) -> pl.Expr:
    """Whether the bank's amount is the line's less the charge, either way the money goes."""
    # 128 bits: the rate of a large amount is no 64-bit number before it is divided
    due = pl.col("due").cast(pl.Int128)
    ways = {"out": due < 0, "in": due > 0, "both": pl.lit(value=True)}
    exact = due - pl.col("paid").cast(pl.Int128) == _charge(fee, due.abs())
    said = says(pl.col("text"), fee.words) if fee.words else pl.lit(value=True)
    return exact & ways[fee.direction] & said


def _charge(fee: Fee, amount: pl.Expr) -> pl.Expr:
    if fee.per_million is None:
        return pl.lit(fee.fixed_minor, dtype=pl.Int128)
    rounded = (amount * fee.per_million + _MILLION // 2) // _MILLION
    charge = pl.max_horizontal(rounded, pl.lit(fee.min_minor, dtype=pl.Int128))
    if fee.max_minor is None:
        return charge
    return pl.min_horizontal(charge, pl.lit(fee.max_minor, dtype=pl.Int128))
