"""What two rows, or two sides of a group, say of each other: field by field, in words and figures.

Both sides are brought to the form in which they are compared: identifiers as they are, references,
names and texts without width, case and punctuation. A group's side of several rows counts as one
row: its amounts are added, its other values listed, and of its dates the longest delay counts.

Evidence holds what the rows hold, names of persons included. It is for operators; nothing of it is
for publishing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from reconciliation.frames import normalise
from reconciliation.matching.core import folded, in_window, known, plain_reference
from reconciliation.matching.fees import explains

if TYPE_CHECKING:
    from reconciliation.frames import Side
    from reconciliation.rules import Rules

Outcome = Literal["agrees", "close", "differs", "unknown"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one field says.

    Attributes:
        field: "own_id" (end-to-end id and payment id), "reference", "batch_id", "amount",
            "account" and "currency" (only where they differ), "date", "counterparty_account",
            "counterparty_name" or "text".
        bank_value: the bank's value as it was compared; amounts in fen; None if it has none.
        ledger_value: the ledger's, likewise.
        comparator: "equal", "sum" (several rows added), "window" (days) or "likeness" (of words).
        result: "unknown" where a side has no value. "close" is an amount that a charge explains,
            or words that are cut short or alike in part. A date agrees within the window.
        detail: "difference_minor=…" (bank less ledger, fen), "charge=…" (a line of the tariff),
            "days=…" (bank less ledger), "equal", "cut", "shared"; empty where there is no more
            to say.
    """

    field: str
    bank_value: str | None
    ledger_value: str | None
    comparator: str
    result: Outcome
    detail: str


def read_evidence(text: str) -> tuple[Evidence, ...]:
    """Evidence out of its JSON, as `evidence_json` writes it."""
    return tuple(Evidence(**item) for item in json.loads(text))


def evidence_of(bank: pl.DataFrame, ledger: pl.DataFrame, rules: Rules) -> tuple[Evidence, ...]:
    """What two sides of one group say of each other; nothing where one of them has no row.

    Args:
        bank: its entries, columns as `frames.BANK`.
        ledger: its lines, columns as `frames.LEDGER`.
        rules: the window and the tariff.

    Raises:
        InputError: a frame does not fit its side.
    """
    group = pl.lit(0, dtype=pl.UInt32).alias("group")
    left = as_one(comparable(bank, "bank", rules).with_columns(group), "bank")
    right = as_one(comparable(ledger, "ledger", rules).with_columns(group), "ledger")
    told = evidence_json(compared(left.join(right, on="group", suffix="_ledger"), rules))
    return read_evidence(told[0]) if len(told) else ()


# --- rows as they are compared -------------------------------------------------------------------

_NAMES: Final[dict[Side, tuple[str, str, str]]] = {
    "bank": ("entry_id", "booking_date", "end_to_end_id"),
    "ledger": ("line_id", "effective_date", "payment_id"),
}
VALUES: Final = ("own", "ref", "batch", "number", "name", "text", "said")
"""Columns of text that are compared; `said` is the bank's text as it came, for the tariff."""


def comparable(frame: pl.DataFrame, side: Side, rules: Rules) -> pl.DataFrame:
    """Rows in the form in which they are compared, numbered in their fixed order.

    Columns: row, account_id, currency, member_id, amount (fen), date, and `VALUES`.

    Raises:
        InputError: the frame does not fit its side.
    """
    member, day, own = _NAMES[side]
    rows = normalise(frame, side).with_row_index("row")
    return rows.select(
        "row",
        "account_id",
        "currency",
        member_id=member,
        amount="amount_minor",
        date=day,
        own=known(rows[own], rules),
        ref=plain_reference(rows["reference"], rules),
        batch=known(rows["batch_id"], rules),
        number=folded(rows["counterparty_account"]),
        name=_worded_once(rows["counterparty_name"]),
        text=_worded_once(rows["text"]),
        said="text",
    )


def _worded_once(texts: pl.Series) -> pl.Series:
    """`_worded` of a column that says the same many times."""
    column = texts.to_frame("said")
    worded = column.unique().with_columns(worded=_worded(pl.col("said")))
    return column.join(worded, on="said", how="left", maintain_order="left")["worded"]


def _worded(text: pl.Expr) -> pl.Expr:
    """Words alone, of whatever width and case; null if there are none.

    A run of Chinese characters is a word, and so is what stands between two of them.
    """
    wide = text.str.normalize("NFKC").str.to_uppercase().str.replace_all(r"\p{Han}+", " $0 ")
    plain = wide.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars(" ")
    return pl.when(plain != "").then(plain)


def as_one(members: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The members of each `group`, all of one side, as one row; `rows` says how many they are.

    The bank's date is its last, the ledger's its first, so that the longest delay is compared.
    """
    counted = members.with_columns(rows=pl.len().over("group"))
    single = counted.filter(pl.col("rows") == 1)
    date = pl.col("date").max() if side == "bank" else pl.col("date").min()
    several = (
        counted.filter(pl.col("rows") > 1)
        .group_by("group")
        .agg(
            *(_listed(name) for name in ("account_id", "currency", "member_id", *VALUES)),
            pl.col("row", "rows").first(),
            pl.col("amount").sum(),
            date,
        )
    )
    return pl.concat([single, several.select(single.columns)])


def _listed(name: str) -> pl.Expr:
    """The different values in order, or null if there are none."""
    listed = pl.col(name).drop_nulls().unique().sort().str.join(", ")
    return pl.when(listed != "").then(listed).alias(name)


def side_by_side(bank: pl.DataFrame, ledger: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The rows that `pairs` (columns `bank` and `ledger`) names, as `compared` takes them.

    `bank` and `ledger` are as `comparable` gives them.
    """
    entries = bank.select(pl.all(), rows=pl.lit(1, dtype=pl.UInt32))
    lines = ledger.select(pl.all().name.suffix("_ledger"))
    left = pairs.join(entries, left_on="bank", right_on="row", how="left", maintain_order="left")
    met = left.join(
        lines, left_on="ledger", right_on="row_ledger", how="left", maintain_order="left"
    )
    return met.with_columns(rows_ledger=pl.lit(1, dtype=pl.UInt32))


# --- comparing -----------------------------------------------------------------------------------

_LEAST_ALIKE: Final = 2
_FAR_PERMILLE: Final = 1_000_000


def compared(pairs: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Pairs of rows (the ledger's columns end in `_ledger`) with what comparing them gives.

    Added: `own_same`, `ref_same`, `batch_same`, `number_same` (null where a side has no value);
    `difference` (bank less ledger, fen), `permille` (its size in thousandths of the ledger's
    amount), `charge` (the line of the tariff that explains it), `days` (bank less ledger),
    `in_window`; `name_like` and `text_like` ("equal", "cut", "shared", "differs", null).
    """
    same = [
        (pl.col(name) == pl.col(f"{name}_ledger")).alias(f"{name}_same")
        for name in ("own", "ref", "batch", "number")
    ]
    difference = pl.col("amount") - pl.col("amount_ledger")
    # 128 bits: a thousand times a large amount is no 64-bit number
    size = difference.abs().cast(pl.Int128) * 1_000
    permille = size // pl.max_horizontal(pl.col("amount_ledger").abs(), 1)
    found = pairs.with_columns(
        *same,
        difference=difference,
        permille=pl.min_horizontal(permille, _FAR_PERMILLE).cast(pl.Int64),
        days=(pl.col("date") - pl.col("date_ledger")).dt.total_days(),
        in_window=in_window(pl.col("date"), pl.col("date_ledger"), rules),
        name_like=_like("name"),
        text_like=_like("text"),
    )
    return _with_charge(found, rules)


def _with_charge(pairs: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """`charge`: the first line of the tariff that explains the difference of the amounts."""
    if not rules.fees:
        return pairs.with_columns(charge=pl.lit(None, dtype=pl.String))
    asked = pairs.select(paid="amount", due="amount_ledger", text="said")
    named = [pl.when(explains(fee)).then(pl.lit(fee.name)) for fee in rules.fees]
    return pairs.with_columns(asked.select(charge=pl.coalesce(named)).to_series())


def _like(name: str) -> pl.Expr:
    """How alike two texts are; a space more or less is no difference."""
    mine, theirs = (
        pl.col(column).str.replace_all(" ", "", literal=True) for column in (name, f"{name}_ledger")
    )
    long_enough = pl.min_horizontal(mine.str.len_chars(), theirs.str.len_chars()) >= _LEAST_ALIKE
    cut = mine.str.starts_with(theirs) | theirs.str.starts_with(mine)
    alike = mine.str.head(_LEAST_ALIKE) == theirs.str.head(_LEAST_ALIKE)
    return (
        pl.when(mine == theirs)
        .then(pl.lit("equal"))
        .when(cut & long_enough)
        .then(pl.lit("cut"))
        .when((alike & long_enough) | (common_words(name).list.len() > 0))
        .then(pl.lit("shared"))
        .when(mine.is_not_null() & theirs.is_not_null())
        .then(pl.lit("differs"))
    )


def common_words(name: str) -> pl.Expr:
    """The words that both sides' texts have, as a list."""
    mine, theirs = (words_of(pl.col(column)) for column in (name, f"{name}_ledger"))
    return mine.list.set_intersection(theirs)


def words_of(text: pl.Expr) -> pl.Expr:
    """The words of a text in the form in which texts are compared."""
    return text.str.split(" ")


# --- saying it -----------------------------------------------------------------------------------

_LIKENESS: Final = {"equal": "agrees", "cut": "close", "shared": "close", "differs": "differs"}


def evidence_json(pairs: pl.DataFrame) -> pl.Series:
    """The evidence of compared pairs: a JSON array of what `Evidence` holds, one text a pair.

    Fields that neither side has are left out.
    """
    fields = (
        _exact("own_id", "own"),
        _exact("reference", "ref"),
        _exact("batch_id", "batch"),
        _amount(),
        _place("account", "account_id"),
        _place("currency", "currency"),
        _date(),
        _exact("counterparty_account", "number"),
        _likeness("counterparty_name", "name"),
        _likeness("text", "text"),
    )
    listed = pl.concat_str(*fields, separator=",", ignore_nulls=True)
    return pairs.select(evidence=pl.format("[{}]", listed)).to_series()


def _told(
    field: str, name: str, comparator: str | pl.Expr, result: pl.Expr, detail: pl.Expr | None = None
) -> pl.Expr:
    """One field's evidence as a JSON object; null where neither side has a value."""
    mine, theirs = (pl.col(column).cast(pl.String) for column in (name, f"{name}_ledger"))
    told = pl.struct(
        field=pl.lit(field),
        bank_value=mine,
        ledger_value=theirs,
        comparator=pl.lit(comparator) if isinstance(comparator, str) else comparator,
        result=result,
        detail=pl.lit("") if detail is None else detail,
    )
    return pl.when(mine.is_not_null() | theirs.is_not_null()).then(told.struct.json_encode())


def _exact(field: str, name: str) -> pl.Expr:
    return _told(field, name, "equal", _outcome(pl.col(f"{name}_same")))


def _outcome(same: pl.Expr) -> pl.Expr:
    said = pl.when(same).then(pl.lit("agrees")).otherwise(pl.lit("differs"))
    return pl.when(same.is_null()).then(pl.lit("unknown")).otherwise(said)


def _amount() -> pl.Expr:
    added = (pl.col("rows") > 1) | (pl.col("rows_ledger") > 1)
    comparator = pl.when(added).then(pl.lit("sum")).otherwise(pl.lit("equal"))
    charged = pl.col("charge").is_not_null()
    result = pl.when(charged).then(pl.lit("close")).otherwise(_outcome(pl.col("difference") == 0))
    minor = pl.format("difference_minor={}", pl.col("difference").fill_null(0))
    detail = pl.when(charged).then(pl.format("charge={}", pl.col("charge").fill_null("")))
    return _told("amount", "amount", comparator, result, detail.otherwise(minor))


def _place(field: str, name: str) -> pl.Expr:
    """Account or currency: all that is compared shares them, but for what is named a break."""
    apart = pl.col(name) != pl.col(f"{name}_ledger")
    return pl.when(apart).then(_told(field, name, "equal", pl.lit("differs")))


def _date() -> pl.Expr:
    days = pl.format("days={}", pl.col("days").fill_null(0))
    return _told("date", "date", "window", _outcome(pl.col("in_window")), days)


def _likeness(field: str, name: str) -> pl.Expr:
    like = pl.col(f"{name}_like")
    result = like.replace_strict(_LIKENESS, default="unknown", return_dtype=pl.String)
    return _told(field, name, "likeness", result, like.fill_null(""))
