"""The balance proof: bank closing − ledger balance − Σ open items = 0, per account and day.

What is open on a day is counted as of that day: a pair whose second half came later was open until
then. So any past day can be proved again from the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.frames import BANK, LEDGER, Shape, conform
from reconciliation.matching.core import PURSE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from reconciliation.matching.kernel import Result

BALANCES: Final = Shape(
    columns={
        "account_id": pl.String(),
        "currency": pl.String(),
        "date": pl.Date(),
        "opening_minor": pl.Int64(),
        "closing_minor": pl.Int64(),
    },
    required=frozenset({"account_id", "currency", "date", "opening_minor", "closing_minor"}),
    key=("account_id", "currency", "date"),
)
"""What statements say: one row an account, currency and day, fen."""

OPENINGS: Final = Shape(
    columns={
        "account_id": pl.String(),
        "currency": pl.String(),
        "opening_minor": pl.Int64(),
    },
    required=frozenset({"account_id", "currency", "opening_minor"}),
    key=("account_id", "currency"),
)
"""The ledger's balance of an account before the first line given, fen."""

FINDINGS: Final = (
    "statement_missing",
    "inconsistent",
    "discontinuous",
    "unclassified",
    "difference",
)
"""Why a day is not proved: no statement for a day that should have one; opening + movements is not
the closing balance; the opening balance is not the closing one before; a row is neither matched nor
a case; the proof's difference is not zero."""

_DAY: Final = [*PURSE, "date"]
_MOVES: Final = ("bank", "ledger_balance_minor", "open_bank_minor", "open_ledger_minor", "stray")


def proof(
    balances: pl.DataFrame,
    bank: pl.DataFrame,
    ledger: pl.DataFrame,
    result: Result,
    *,
    openings: pl.DataFrame | None = None,
    expected_dates: Sequence[date] = (),
) -> pl.DataFrame:
    """The proof of each account and day that has a statement, or should have one.

    Args:
        balances: columns as `BALANCES`.
        bank: all entries since the first statement, as given to `match`.
        ledger: all lines (since `openings`, if given), as given to `match`.
        result: what `match` made of them.
        openings: ledger balances before the first line, columns as `OPENINGS`; zero if absent.
        expected_dates: days for which every account should have a statement, from its first
            statement, entry or line on.

    Returns:
        One row an account, currency and date, sorted: bank_opening_minor, bank_closing_minor,
        ledger_balance_minor, open_bank_minor, open_ledger_minor, difference_minor (all fen; the
        bank's and the difference null where the statement is missing), status ("proved" or
        "not_proved") and findings, names from `FINDINGS`.

    Raises:
        InputError: a frame does not fit its shape.
    """
    stated = conform(balances, BALANCES, "balances")
    moves = _moves(conform(bank, BANK, "bank"), conform(ledger, LEDGER, "ledger"), result)
    carried = OPENINGS_NONE if openings is None else conform(openings, OPENINGS, "openings")
    days = pl.concat([_with_previous(stated), _missing_days(stated, moves, expected_dates)])
    return _judged(_as_of(days, moves, carried))


OPENINGS_NONE: Final = pl.DataFrame(schema=dict(OPENINGS.columns))


def _moves(bank: pl.DataFrame, ledger: pl.DataFrame, result: Result) -> pl.DataFrame:
    """What each day adds to each term of the equation, summed since the beginning."""
    entries = _dated(bank, result, "bank", "entry_id", "booking_date")
    lines = _dated(ledger, result, "ledger", "line_id", "effective_date")
    complete = pl.concat([entries, lines]).group_by("match_id").agg(done=pl.col("date").max())
    events = [
        _events(entries, complete, "bank", "open_bank_minor"),
        _events(lines, complete, "ledger_balance_minor", "open_ledger_minor"),
    ]
    daily = pl.concat(events, how="diagonal").group_by(_DAY).agg(pl.col(_MOVES).sum())
    return daily.sort(_DAY).with_columns(pl.col(_MOVES).cum_sum().over(PURSE))


def _dated(rows: pl.DataFrame, result: Result, side: str, member: str, day: str) -> pl.DataFrame:
    """Rows with their match, if any, and whether the result forgot them."""
    plain = rows.select(*PURSE, "amount_minor", member_id=member, date=day)
    key = ["account_id", "member_id"]
    members = result.matches.filter(pl.col("side") == side)
    matched = members.filter(status="automatic").select(*key, "match_id")
    # What is only proposed is named, and open until a person accepts it.
    offered = members.filter(status="proposed").select(key)
    named = pl.concat([result.cases.filter(pl.col("side") == side).select(key), offered])
    cased = named.unique().with_columns(cased=pl.lit(value=True))
    joined = plain.join(matched, on=key, how="left").join(cased, on=key, how="left")
    known = pl.col("match_id").is_not_null() | pl.col("cased").fill_null(value=False)
    return joined.with_columns(stray=(~known).cast(pl.Int64))


def _events(rows: pl.DataFrame, complete: pl.DataFrame, balance: str, open_: str) -> pl.DataFrame:
    """A row counts, and is open, from its day on; it is closed on the day its match is complete."""
    amount = pl.col("amount_minor")
    booked = rows.select(*_DAY, "stray", amount.alias(balance), amount.alias(open_))
    closed = rows.join(complete, on="match_id").select(
        *PURSE, pl.col("done").alias("date"), (-amount).alias(open_)
    )
    every = pl.concat([booked, closed], how="diagonal")
    missing = [pl.lit(None, dtype=pl.Int64).alias(n) for n in _MOVES if n not in every.columns]
    return every.with_columns(missing)


def _with_previous(stated: pl.DataFrame) -> pl.DataFrame:
    """Statements with the closing balance and date of the statement before."""
    return stated.sort(_DAY).select(
        *_DAY,
        "opening_minor",
        "closing_minor",
        before=pl.col("closing_minor").shift().over(PURSE),
        before_date=pl.col("date").shift().over(PURSE),
    )


def _missing_days(
    stated: pl.DataFrame, moves: pl.DataFrame, expected_dates: Sequence[date]
) -> pl.DataFrame:
    """Expected days without a statement, from each account's first sign of life on."""
    seen = pl.concat([stated.select(_DAY), moves.select(_DAY)])
    first = seen.group_by(PURSE).agg(first=pl.col("date").min())
    expected = pl.DataFrame({"date": sorted(set(expected_dates))}, schema={"date": pl.Date})
    due = first.join(expected, how="cross").filter(pl.col("date") >= pl.col("first"))
    absent = due.join(stated, on=_DAY, how="anti").select(_DAY)
    empty = [pl.lit(None, dtype=pl.Int64).alias(n) for n in ("opening_minor", "closing_minor")]
    before = (pl.lit(None, dtype=pl.Int64).alias("before"), _NO_DATE.alias("before_date"))
    return absent.with_columns(*empty, *before)


_NO_DATE: Final = pl.lit(None, dtype=pl.Date)


def _as_of(days: pl.DataFrame, moves: pl.DataFrame, carried: pl.DataFrame) -> pl.DataFrame:
    """Each day with every term as it stood that evening."""
    evening = _latest(days, moves, "date")
    morning = _latest(days.drop_nulls("before_date"), moves, "before_date")
    known = evening.join(
        morning.select(*_DAY, bank_before="bank"), on=_DAY, how="left", maintain_order="left"
    ).join(
        carried.rename({"opening_minor": "carried"}), on=PURSE, how="left", maintain_order="left"
    )
    balance = pl.col("ledger_balance_minor") + pl.col("carried").fill_null(0)
    return known.with_columns(pl.col("bank_before").fill_null(0), ledger_balance_minor=balance)


def _latest(days: pl.DataFrame, moves: pl.DataFrame, day: str) -> pl.DataFrame:
    """The running sums as of the evening of `day`; zero before the first move."""
    running = moves.rename({"date": "moved"}).sort("moved")
    joined = days.sort(day).join_asof(
        running, left_on=day, right_on="moved", by=list(PURSE), check_sortedness=False
    )
    return joined.with_columns(pl.col(_MOVES).fill_null(0)).sort(_DAY)


def _judged(days: pl.DataFrame) -> pl.DataFrame:
    """The equation and the findings of each day."""
    open_ = pl.col("open_bank_minor") - pl.col("open_ledger_minor")
    difference = pl.col("closing_minor") - pl.col("ledger_balance_minor") - open_
    moved = pl.col("bank") - pl.col("bank_before")
    findings = {
        "statement_missing": pl.col("closing_minor").is_null(),
        "inconsistent": pl.col("opening_minor") + moved != pl.col("closing_minor"),
        "discontinuous": pl.col("opening_minor") != pl.col("before"),
        "unclassified": pl.col("stray") > 0,
        "difference": pl.col("difference_minor") != 0,
    }
    named = [pl.when(holds).then(pl.lit(name)) for name, holds in findings.items()]
    listed = days.with_columns(difference_minor=difference).with_columns(
        findings=pl.concat_list(named).list.drop_nulls()
    )
    proved = pl.col("findings").list.len() == 0
    return listed.select(
        *_DAY,
        bank_opening_minor="opening_minor",
        bank_closing_minor="closing_minor",
        ledger_balance_minor="ledger_balance_minor",
        open_bank_minor="open_bank_minor",
        open_ledger_minor="open_ledger_minor",
        difference_minor="difference_minor",
        status=pl.when(proved).then(pl.lit("proved")).otherwise(pl.lit("not_proved")),
        findings="findings",
    )


def balances_from_entries(bank: pl.DataFrame, ledger: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Balances for want of statements: each account from zero to the sum of its entries so far.

    Such balances prove that nothing was lost between entries and lines; that the bank agrees, only
    its own statement can prove.
    """
    so_far = bank.filter(pl.col("booking_date") <= as_of)
    sums = so_far.group_by(PURSE).agg(closing_minor=pl.col("amount_minor").sum())
    accounts = pl.concat([bank.select(PURSE), ledger.select(PURSE)]).unique()
    return accounts.join(sums, on=PURSE, how="left").select(
        *PURSE,
        pl.lit(as_of).alias("date"),
        pl.lit(0, dtype=pl.Int64).alias("opening_minor"),
        pl.col("closing_minor").fill_null(0),
    )
