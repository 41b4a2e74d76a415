"""Pass 1: what operators decided, taken as it is and never computed again.

An accepted group is a match. It may take a part of a row; what remains of the row stays open under
the same name. A rejected group is never matched again with the same members, by any pass; of a
rejected pair no pass makes a case either, so that each half is named for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.frames import InputError, Shape, conform
from reconciliation.matching.core import Found, Members, Sides, members_of

if TYPE_CHECKING:
    from collections.abc import Iterable

PINS: Final = Shape(
    columns={
        "decision": pl.String(),
        "group": pl.String(),
        "side": pl.String(),
        "account_id": pl.String(),
        "member_id": pl.String(),
        "allocated_minor": pl.Int64(),
    },
    required=frozenset({"decision", "group", "side", "account_id", "member_id"}),
    key=("group", "side", "account_id", "member_id"),
)
"""Operators' decisions, one row a member: `decision` is "accepted" or "rejected", `group` names the
decision, `allocated_minor` is the signed fen of the row that an accepted group takes (all of it if
null)."""

_WORDS: Final = {"decision": ("accepted", "rejected"), "side": ("bank", "ledger")}


@dataclass(frozen=True, slots=True)
class Pinned:
    """Decisions in terms of rows.

    Attributes:
        found: accepted groups, with columns `allocated` (fen) and `name` (the decision's).
        rejected: rejected groups whose rows are all in the input.
    """

    found: Found
    rejected: frozenset[Members]


def read_pins(pins: pl.DataFrame, opened: Sides) -> Pinned:
    """The decisions, checked against the rows that are open.

    Raises:
        InputError: a decision that does not fit `PINS`, names an entry or line that is not open,
            reaches over two accounts or currencies, takes more of a row than it is, or does not
            add up to the same on both sides.
    """
    typed = conform(pins, PINS, "pins")
    for column, words in _WORDS.items():
        _refuse(
            typed.filter(~pl.col(column).is_in(words)), f"{column!s} must be {' or '.join(words)}"
        )
    mixed = (
        typed.group_by("group").agg(pl.col("decision").n_unique()).filter(pl.col("decision") > 1)
    )
    _refuse(mixed, "is both accepted and rejected")
    numbered = typed.with_columns(number=(pl.col("group").rank("dense") - 1).cast(pl.UInt32))
    found = _found(numbered.filter(pl.col("decision") == "accepted"), opened)
    rejected = _rejected(numbered.filter(pl.col("decision") == "rejected"), opened)
    return Pinned(found, rejected)


def _refuse(rows: pl.DataFrame, why: str) -> None:
    """Names the first group at fault, if there is one."""
    if rows.height:
        raise InputError("pins", f"group {rows['group'].min()!s}: {why}", column="group")


def _placed(members: pl.DataFrame, opened: Sides) -> pl.DataFrame:
    """Members with the rows that they stand for; null where there is no such open row."""
    parts = []
    for side, rows in (("bank", opened.bank), ("ledger", opened.ledger)):
        known = rows.select("account_id", "member_id", "row", "account", "amount")
        mine = members.filter(pl.col("side") == side)
        parts.append(mine.join(known, on=["account_id", "member_id"], how="left"))
    return pl.concat(parts)


def _found(members: pl.DataFrame, opened: Sides) -> Found:
    placed = _placed(members, opened).with_columns(
        allocated=pl.coalesce("allocated_minor", "amount")
    )
    _refuse(placed.filter(pl.col("row").is_null()), "names an entry or line that is not open")
    _check_taken(placed)
    _check_sums(placed)
    bank, ledger = (
        placed.filter(pl.col("side") == side)
        .sort("number", "row")
        .select("row", "allocated", group="number", name="group")
        for side in ("bank", "ledger")
    )
    return Found(bank, ledger)


def _check_taken(placed: pl.DataFrame) -> None:
    """No row is taken twice over, or against its sign."""
    total = pl.col("allocated").sum().over("side", "row")
    sign = pl.col("amount").sign()
    wrong = (pl.col("allocated").sign() != sign) | (total.abs() > pl.col("amount").abs())
    _refuse(placed.filter(wrong), "takes more of an entry or line than there is")


def _check_sums(placed: pl.DataFrame) -> None:
    """One account and currency a group, and the same sum on both sides."""
    on_bank = pl.col("side") == "bank"
    signed = pl.when(on_bank).then("allocated").otherwise(-pl.col("allocated"))
    groups = placed.group_by("group").agg(
        pl.col("account").n_unique(), difference=signed.sum(), lone=pl.len() == 1
    )
    _refuse(groups.filter(pl.col("account") > 1), "reaches over two accounts or currencies")
    wrong = (pl.col("difference") != 0) | pl.col("lone")
    _refuse(groups.filter(wrong), "does not come to the same on both sides")


def _rejected(members: pl.DataFrame, opened: Sides) -> frozenset[Members]:
    """Groups of which every row is here and open; a lone row is no group."""
    placed = _placed(members, opened).select("side", "row", group="number")
    here = placed.filter(
        pl.col("row").is_not_null().all().over("group"), pl.len().over("group") > 1
    )
    found = Found(here.filter(pl.col("side") == "bank"), here.filter(pl.col("side") == "ledger"))
    return frozenset(members_of(found).values())


def remaining(opened: Sides, found: Found) -> Sides:
    """The open rows with what accepted groups left of them; rows used up are gone."""
    return Sides(_reduced(opened.bank, [found.bank]), _reduced(opened.ledger, [found.ledger]))


def _reduced(rows: pl.DataFrame, taken: Iterable[pl.DataFrame]) -> pl.DataFrame:
    sums = pl.concat(taken).group_by("row").agg(pl.col("allocated").sum())
    if sums.is_empty():
        return rows
    joined = rows.join(sums, on="row", how="left", maintain_order="left")
    left = joined.with_columns(amount=pl.col("amount") - pl.col("allocated").fill_null(0))
    used_up = (pl.col("amount") == 0) & pl.col("allocated").is_not_null()
    return left.filter(~used_up).drop("allocated")
