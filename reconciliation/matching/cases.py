"""The shape in which classifiers hand over what is open: one row a member of a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import Found

if TYPE_CHECKING:
    from reconciliation.frames import Side

CASES: Final = {
    "kind": pl.String(),
    "cause": pl.String(),
    "group": pl.UInt32(),
    "side": pl.String(),
    "row": pl.UInt32(),
    "other": pl.UInt32(),
}
"""`group` joins the members of one kind of case; `other` is the original of a repeat."""

NO_CASES: Final = pl.DataFrame(schema=CASES)


def as_cases(rows: pl.DataFrame, side: Side, kind: str, cause: str | pl.Expr) -> pl.DataFrame:
    """Rows of one side (columns `group`, `row`, perhaps `other`) as members of cases."""
    why = pl.lit(cause) if isinstance(cause, str) else cause
    other = pl.col("other") if "other" in rows.columns else pl.lit(None)
    said = {"kind": pl.lit(kind), "cause": why, "side": pl.lit(side), "other": other}
    columns = {"group": pl.col("group"), "row": pl.col("row"), **said}
    return rows.select(columns[name].cast(dtype).alias(name) for name, dtype in CASES.items())


def found_cases(found: Found, kind: str, cause: str) -> pl.DataFrame:
    """Groups of both sides as cases."""
    bank = as_cases(found.bank, "bank", kind, cause)
    return pl.concat([bank, as_cases(found.ledger, "ledger", kind, cause)])


def taken(cases: pl.DataFrame) -> Found:
    """The rows that the cases took."""
    groups = cases.select("group", "row")
    on_bank = cases["side"] == "bank"
    return Found(groups.filter(on_bank), groups.filter(~on_bank))
