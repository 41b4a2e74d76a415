"""One sentence a case, in plain English and with figures, and the id of the case.

A sentence names entries and lines by their ids, never a counterparty, and an account by its last
four characters. Sentences are put together for all cases of a kind at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from reconciliation.matching.core import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from reconciliation.rules import Rules

    Sentence = Callable[[Rules, date], pl.Expr]

_GROUP: Final = ("kind", "cause", "group")
_NAME: Final = ("kind", "cause")
_TOLD: Final = (
    *("side", "other_id", "account_id", "currency", "amount", "date", "own", "ref", "batch"),
    *("limit", "candidates", "states"),
)
"""What a sentence may say of a case's first member, the bank's if there is one."""
_TOLD_OF_LINE: Final = ("account_id", "currency", "amount", "date", "own", "ref")
"""What it may say of its first ledger line, too, as `line_<name>`."""


_NO_DETAIL: Final = pl.DataFrame(schema={"detail": pl.String()})


def described(members: pl.DataFrame, rules: Rules, as_of: date) -> pl.DataFrame:
    """The members with `case_id` and `detail`, given by kind, cause, group, side and row."""
    numbered = members.with_columns(case=pl.struct(_GROUP).rle_id())
    cases = _cases(numbered)
    parts = cases.partition_by(_NAME, as_dict=True)
    said = [_NO_DETAIL]
    said += [part.select(detail=_SENTENCES[name](rules, as_of)) for name, part in parts.items()]
    told = pl.concat([cases.select("case_id"), pl.concat(said)], how="horizontal")
    return pl.concat([members, told[numbered["case"]]], how="horizontal")


def _cases(members: pl.DataFrame) -> pl.DataFrame:
    """A row a case: its id, what each side comes to in how many rows, and its first members."""
    on_bank = pl.col("side") == "bank"
    sided = members.with_columns(
        paid=pl.when(on_bank).then("amount").otherwise(0),
        due=pl.when(on_bank).then(0).otherwise("amount"),
    )
    cases = sided.group_by("case", maintain_order=True).agg(
        _case_id(),
        pl.len().alias("rows"),
        pl.col("paid", "due").sum(),
        entries=on_bank.sum(),
    )
    first = pl.col("rows").cum_sum() - pl.col("rows")
    places = cases.select(
        first=first,
        line=pl.when(pl.col("entries") < pl.col("rows")).then(first + pl.col("entries")),
    )
    told = members.select(pl.col(*_NAME, *_TOLD).gather(places["first"]))
    lines = members.select(pl.col(_TOLD_OF_LINE).gather(places["line"]).name.prefix("line_"))
    return pl.concat([cases, told, lines], how="horizontal")


def _case_id() -> pl.Expr:
    """Of the members alone: the case keeps its id while its kind changes with age."""
    return digest(pl.concat_str(pl.lit("case|"), pl.col("label").str.join(","))).alias("case_id")


# --- figures --------------------------------------------------------------------------------------


def money(amount_minor: pl.Expr) -> pl.Expr:
    """Amounts in fen as people write them: -123456 is "-1,234.56"."""
    fen = amount_minor.abs()
    sign = pl.when(amount_minor < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.format(
        "{}{}.{}", sign, _grouped(fen // 100), (fen % 100).cast(pl.String).str.zfill(2)
    )


def _grouped(number: pl.Expr) -> pl.Expr:
    """A number, not negative, with a comma before every three digits."""
    backwards = number.cast(pl.String).str.reverse().str.replace_all(r"(\d{3})", "${1},")
    return backwards.str.strip_chars_end(",").str.reverse()


_AMOUNT: Final = pl.format("{} {}", money(pl.col("amount")), "currency")
_DIFFERENCE: Final = pl.format("{} {}", money(pl.col("paid") - pl.col("due")), "currency")


def _count(rows: pl.Expr, one: str, many: str) -> pl.Expr:
    return pl.format("{} {}", rows, pl.when(rows == 1).then(pl.lit(one)).otherwise(pl.lit(many)))


_BOTH: Final = pl.format(
    "{} and {}",
    _count(pl.col("entries"), "bank entry", "bank entries"),
    _count(pl.col("rows") - pl.col("entries"), "ledger line", "ledger lines"),
)
"""How many rows of each side a case has."""


def _tail(account_id: str) -> pl.Expr:
    return pl.format("…{}", pl.col(account_id).str.tail(4))


# --- sentences ------------------------------------------------------------------------------------


def _missing_in_bank(_rules: Rules, as_of: date) -> pl.Expr:
    age = (pl.lit(as_of) - pl.col("date")).dt.total_days()
    said = "The ledger line of {} over {} has no bank entry after {} days."
    return pl.format(said, "date", _AMOUNT, age)


def _missing_in_ledger(said: str) -> Sentence:
    return lambda _rules, _as_of: pl.format(f"The bank has {said}.", _AMOUNT, "date")


def _timing(rules: Rules, _as_of: date) -> pl.Expr:
    return pl.format(
        "The ledger line of {} over {} may still be on its way: the bank has {} days from then.",
        "date",
        _AMOUNT,
        pl.lit(rules.transit_days),
    )


def _other_amount(_rules: Rules, _as_of: date) -> pl.Expr:
    fields = pl.concat_str(
        pl.format("amount: {} / {}", money(pl.col("paid")), money(pl.col("due"))),
        _differing("reference", "ref"),
        _differing("date", "date"),
        separator="; ",
        ignore_nulls=True,
    )
    said = "Bank and ledger name the same {} and differ by {} ({})."
    return pl.format(said, _agreeing(), _DIFFERENCE, fields)


def _agreeing() -> pl.Expr:
    """What ties the two sides together."""
    return (
        pl.when(pl.col("own") == pl.col("line_own"))
        .then(pl.format("payment {}", "own"))
        .otherwise(pl.format("reference {}", "ref"))
    )


def _differing(name: str, column: str) -> pl.Expr:
    """Another field in which a pair differs, both values given; else null."""
    is_pair = (pl.col("entries") == 1) & (pl.col("rows") == 2)  # noqa: PLR2004 -- a pair
    differs = pl.col(column) != pl.col(f"line_{column}")
    return pl.when(is_pair & differs).then(
        pl.format(f"{name}: {{}} / {{}}", column, f"line_{column}")
    )


def _split(_rules: Rules, _as_of: date) -> pl.Expr:
    paid = pl.format("{} {}", money(pl.col("paid")), "currency")
    return pl.format("Payment {} is {} on both sides, but in {}.", "own", paid, _BOTH)


def _currency(_rules: Rules, _as_of: date) -> pl.Expr:
    return pl.format(
        "Bank and ledger name the same payment {} in two currencies (amount: {} / {} {}).",
        "own",
        _AMOUNT,
        money(pl.col("line_amount")),
        "line_currency",
    )


def _batch_total(_rules: Rules, _as_of: date) -> pl.Expr:
    return pl.format(
        "Batch {} is {} at the bank and {} in the ledger, in {}: a difference of {}.",
        "batch",
        money(pl.col("paid")),
        money(pl.col("due")),
        _BOTH,
        _DIFFERENCE,
    )


def _duplicate(name: str) -> Sentence:
    said = f"The {name} of {{}} over {{}} repeats {{}}."
    return lambda _rules, _as_of: pl.format(said, "date", _AMOUNT, "other_id")


def _returned(_rules: Rules, _as_of: date) -> pl.Expr:
    payment = pl.format("payment {}", pl.coalesce("own", "ref")).fill_null("a payment")
    said = "The bank returned {}: {} credited {}, and the ledger has no correction line."
    return pl.format(said, payment, _AMOUNT, "date")


def _wrong_account(_rules: Rules, _as_of: date) -> pl.Expr:
    return pl.format(
        "Payment {} over {} is on one account at the bank and on another in the ledger "
        "(account: {} / {}).",
        "own",
        _AMOUNT,
        _tail("account_id"),
        _tail("line_account_id"),
    )


def _ambiguous(why: str) -> Sentence:
    said = f"{{}} of {{}} each could pair in more than one way: {why}."
    return lambda _rules, _as_of: pl.format(said, _BOTH, _AMOUNT)


def _search_limited(name: str) -> Sentence:
    said = f"The {name} of {{}} over {{}} has no partner of its own, and may be a sum: {{}}."
    return lambda rules, _as_of: pl.format(said, "date", _AMOUNT, _stopped(rules))


def _stopped(rules: Rules) -> pl.Expr:
    """What was tried, and where it ended."""
    most, spent = rules.subset_candidates, f"{rules.subset_account_states:,}"
    many = f"more than {most} rows of the other side could be part of it, too many to search"
    account = f"its account had used up the {spent} steps that all its searches may take"
    tried = "of {} rows that could be part of it, {} partial sums were tried, not all there are"
    return (
        pl.when(pl.col("limit") == "candidates")
        .then(pl.lit(many))
        .when(pl.col("limit") == "account")
        .then(pl.lit(account))
        .otherwise(pl.format(tried, "candidates", _grouped(pl.col("states"))))
    )


_SENTENCES: Final[Mapping[tuple[object, ...], Sentence]] = {
    ("missing_in_bank", "overdue"): _missing_in_bank,
    ("missing_in_ledger", "bank_fee"): _missing_in_ledger(
        "a bank charge of {} booked {} that is not in the ledger"
    ),
    ("missing_in_ledger", "bank_interest"): _missing_in_ledger(
        "bank interest of {} booked {} that is not in the ledger"
    ),
    ("missing_in_ledger", "unidentified_receipt"): _missing_in_ledger(
        "a receipt of {} booked {} that no ledger line accounts for"
    ),
    ("missing_in_ledger", "unexplained_debit"): _missing_in_ledger(
        "a debit of {} booked {} that no ledger line accounts for"
    ),
    ("timing", "in_transit"): _timing,
    ("amount_differs", "amount"): _other_amount,
    ("amount_differs", "split"): _split,
    ("amount_differs", "currency"): _currency,
    ("amount_differs", "batch_total"): _batch_total,
    ("duplicate_bank", "repeated_entry"): _duplicate("bank entry"),
    ("duplicate_ledger", "repeated_line"): _duplicate("ledger line"),
    ("returned", "no_correction_line"): _returned,
    ("wrong_account", "other_account"): _wrong_account,
    ("ambiguous", "equal_amounts"): _ambiguous("nothing but amount and date to go by"),
    ("ambiguous", "same_id"): _ambiguous("all of them name the same payment"),
    ("ambiguous", "too_many_candidates"): _ambiguous("too many for a search"),
    ("search_limited", "entry_sum"): _search_limited("bank entry"),
    ("search_limited", "line_sum"): _search_limited("ledger line"),
}
"""What is said of cases, by kind and cause."""
