"""The two shapes that reconciliation knows, and the gate that every input passes.

Bank entries and ledger lines are Polars frames. `normalise` refuses what does not fit, naming
side, column and row, and puts the rest into one order, so that everything after it is a function
of the content and never of the order in which rows arrived.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Side = Literal["bank", "ledger"]

MAX_ROWS: Final = 100_000_000
MAX_TOTAL_MINOR: Final = 2**60
"""Bound on the sum of absolute amounts of one input: no later sum can leave 64 bits."""

_TEXT: Final = pl.String()
_DATE: Final = pl.Date()
_MINOR: Final = pl.Int64()
_FLAG: Final = pl.Boolean()


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of one kind of input.

    Attributes:
        columns: every column allowed, with its type, in output order.
        required: columns that must exist and have a value in every row.
        key: columns that together identify a row.
    """

    columns: Mapping[str, pl.DataType]
    required: frozenset[str]
    key: tuple[str, ...]


BANK: Final = Shape(
    columns={
        "account_id": _TEXT,
        "entry_id": _TEXT,
        "booking_date": _DATE,
        "value_date": _DATE,
        "amount_minor": _MINOR,
        "currency": _TEXT,
        "reference": _TEXT,
        "end_to_end_id": _TEXT,
        "batch_id": _TEXT,
        "counterparty_name": _TEXT,
        "counterparty_account": _TEXT,
        "text": _TEXT,
        "reversal": _FLAG,
        "return_reason": _TEXT,
    },
    required=frozenset({"account_id", "entry_id", "booking_date", "amount_minor", "currency"}),
    key=("account_id", "entry_id"),
)
"""Entries of bank statements; `amount_minor` is signed fen, a credit is positive."""

LEDGER: Final = Shape(
    columns={
        "account_id": _TEXT,
        "line_id": _TEXT,
        "effective_date": _DATE,
        "amount_minor": _MINOR,
        "currency": _TEXT,
        "payment_id": _TEXT,
        "batch_id": _TEXT,
        "reference": _TEXT,
        "counterparty_name": _TEXT,
        "counterparty_account": _TEXT,
        "text": _TEXT,
    },
    required=frozenset({"account_id", "line_id", "effective_date", "amount_minor", "currency"}),
    key=("account_id", "line_id"),
)
"""Lines of the disclosed ledger, signed as the bank's: what raises the account is positive."""

SHAPES: Final[Mapping[Side, Shape]] = {"bank": BANK, "ledger": LEDGER}


class InputError(ValueError):
    """An input that cannot be reconciled.

    Attributes:
        source: which input, such as "bank", "ledger" or "pins".
        column: the column at fault, or None if the fault is not in one column.
        row: the row at fault, 1 is the first row of data, or None if no single row is at fault.
    """

    def __init__(
        self, source: str, problem: str, *, column: str | None = None, row: int | None = None
    ) -> None:
        self.source = source
        self.column = column
        self.row = row
        place = [source]
        place += [f"column {column}"] if column is not None else []
        place += [f"row {row}"] if row is not None else []
        super().__init__(f"{', '.join(place)}: {problem}")


def normalise(frame: pl.DataFrame, side: Side) -> pl.DataFrame:
    """The frame with every column of its side, typed, blanks as null, sorted by account and id.

    Raises:
        InputError: unknown or missing column, wrong type, blank required value, duplicate id,
            malformed currency, amounts beyond bounds.
    """
    return conform(frame, SHAPES[side], side)


def conform(frame: pl.DataFrame, shape: Shape, source: str) -> pl.DataFrame:
    """`normalise` for any shape; `source` is the name that errors use.

    Raises:
        InputError: as `normalise`.
    """
    fitting = checked(frame, shape, source)
    refuse_repeats(fitting, shape, source)
    return fitting.sort(shape.key)


def checked(frame: pl.DataFrame, shape: Shape, source: str) -> pl.DataFrame:
    """`conform` for who puts the rows in order: as they came, and nobody has looked for repeats.

    Raises:
        InputError: as `normalise`, but for duplicate ids.
    """
    _check_columns(frame, shape, source)
    columns = [_typed(frame, name, kind, source) for name, kind in shape.columns.items()]
    # a file is read in pieces, and Polars would join them anew for most of what is asked of them
    typed = pl.DataFrame(columns).rechunk()
    filled = typed.with_columns(_blank_as_null(typed[name]) for name in _text_columns(shape))
    for column in sorted(shape.required):
        _refuse_first(filled[column].is_null(), source, column, "a value is required")
    if "currency" in shape.columns:
        _check_currency(filled, source)
    _check_amounts(filled, shape, source)
    return filled


def refuse_repeats(frame: pl.DataFrame, shape: Shape, source: str) -> None:
    """Names the first row that has the key of an earlier one.

    Raises:
        InputError: there is such a row.
    """
    repeated = ~pl.struct(shape.key).is_first_distinct()
    label = f"repeats the {' and '.join(shape.key)} of an earlier row"
    _refuse_rows(frame, repeated, source, shape.key[-1], label)


def _check_columns(frame: pl.DataFrame, shape: Shape, source: str) -> None:
    """Every column is known, every required one is there, rows are within bounds."""
    for column in frame.columns:
        if column not in shape.columns:
            raise InputError(source, "unknown column", column=column)
    for column in shape.columns:
        if column in shape.required and column not in frame.columns:
            raise InputError(source, "the column is required", column=column)
    if frame.height > MAX_ROWS:
        raise InputError(source, f"more than {MAX_ROWS} rows")


def _typed(frame: pl.DataFrame, name: str, kind: pl.DataType, source: str) -> pl.Series:
    """The column in its type; a missing or all-null one is null throughout."""
    if name not in frame.columns or frame.schema[name] == pl.Null():
        return pl.Series(name, [None], dtype=kind).new_from_index(0, frame.height)
    column = frame.get_column(name)
    if column.dtype == kind:
        return column
    if kind == _MINOR and column.dtype.is_integer():
        return _cast(column, kind, source)
    if kind == _DATE and column.dtype == pl.String():
        return parse_text(column, kind, source)
    if kind == _DATE and column.dtype == pl.Datetime(time_zone=None):
        return _midnights(column, source)
    raise InputError(source, f"must be {kind}, is {column.dtype}", column=name)


def _cast(column: pl.Series, kind: pl.DataType, source: str) -> pl.Series:
    """The column in another type, every value kept."""
    cast = column.cast(kind, strict=False)
    _refuse_first(cast.is_null() & column.is_not_null(), source, column.name, f"not a {kind}")
    return cast


def _midnights(column: pl.Series, source: str) -> pl.Series:
    """Dates that another tool wrote as instants; an instant within a day is refused."""
    dates = column.cast(_DATE)
    _refuse_first(dates.cast(column.dtype) != column, source, column.name, "has a time of day")
    return dates


_TEXT_FORMS: Final[Mapping[pl.DataType, tuple[str, str]]] = {
    _DATE: (r"^\d{4}-\d{2}-\d{2}$", "not a date such as 2026-01-31"),
    _MINOR: (r"^[+-]?\d{1,18}$", "not a whole number of minor units"),
    _FLAG: (r"^(?:true|false)$", "not true or false"),
}


def parse_text(column: pl.Series, kind: pl.DataType, source: str) -> pl.Series:
    """Text as values of `kind`, exactly; empty text is null.

    Raises:
        InputError: a text that is not such a value.
    """
    filled = column.set(column.str.strip_chars() == "", None)
    form, problem = _TEXT_FORMS[kind]
    fits = filled.str.contains(form)
    _refuse_first(~fits, source, column.name, problem)
    values = _from_text(filled, kind)
    _refuse_first(values.is_null() & filled.is_not_null(), source, column.name, problem)
    return values.alias(column.name)


def _from_text(text: pl.Series, kind: pl.DataType) -> pl.Series:
    """Text of the right form as values; null where there is no such value, as 31 February."""
    if kind == _DATE:
        return text.str.to_date("%Y-%m-%d", strict=False)
    return text == "true" if kind == _FLAG else text.str.to_integer(strict=False)


def _text_columns(shape: Shape) -> list[str]:
    return [name for name, kind in shape.columns.items() if kind == _TEXT]


def _blank_as_null(text: pl.Series) -> pl.Series:
    """Text of nothing but spaces says nothing."""
    # whatever begins with a space of any kind sorts here, and hardly a text does
    spaced = (text < "!") | text.is_between("\x7f", "\u3001")
    return text.set(text.str.strip_chars() == "", None) if spaced.any() else text


def _check_currency(frame: pl.DataFrame, source: str) -> None:
    codes = frame["currency"].unique()
    wrong = codes.filter(~codes.str.contains(r"^[A-Z]{3}$"))
    if len(wrong) > 0:
        at_fault = pl.col("currency").is_in(wrong.implode())
        _refuse_rows(frame, at_fault, source, "currency", "not a currency code such as CNY")


def _check_amounts(frame: pl.DataFrame, shape: Shape, source: str) -> None:
    """The sum of absolute amounts is within bounds, so that no later sum can overflow."""
    for name, kind in shape.columns.items():
        # 128 bits: the absolute value of the smallest 64-bit number is no 64-bit number
        if kind == _MINOR and frame[name].cast(pl.Int128).abs().sum() > MAX_TOTAL_MINOR:
            raise InputError(source, "amounts are too large to add up", column=name)


def _refuse_rows(
    frame: pl.DataFrame, at_fault: pl.Expr, source: str, column: str, why: str
) -> None:
    _refuse_first(frame.select(at_fault.alias(column)).to_series(), source, column, why)


def _refuse_first(at_fault: pl.Series, source: str, column: str, why: str) -> None:
    """Names the first row at fault, if there is one."""
    rows = at_fault.arg_true()
    if len(rows) > 0:
        raise InputError(source, why, column=column, row=rows[0] + 1)


def read(path: Path, side: Side) -> pl.DataFrame:
    """Reads a Parquet or CSV file (by its suffix) and normalises it.

    Raises:
        InputError: unreadable file, unknown suffix, or anything that `normalise` refuses.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(side, f"{path.name}: the name must end in .parquet or .csv")
    try:
        frame = reader(path, side)
    except (OSError, csv.Error, pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputError(side, f"{path.name} cannot be read: {_first_line(error)}") from error
    return normalise(frame, side)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _read_parquet(path: Path, _side: Side) -> pl.DataFrame:
    return pl.read_parquet(path, hive_partitioning=False, glob=False)


def _read_csv(path: Path, side: Side) -> pl.DataFrame:
    """Everything as text first: no guessing of types, each value parsed to what its column is."""
    _refuse_ragged(path, side)
    frame = pl.read_csv(path, infer_schema=False, glob=False)
    kinds = SHAPES[side].columns
    parsed = [name for name in frame.columns if kinds.get(name, _TEXT) != _TEXT]
    return frame.with_columns(parse_text(frame[name], kinds[name], side) for name in parsed)


def _refuse_ragged(path: Path, side: Side) -> None:
    """A row with too few or too many cells would shift values into foreign columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        header = next(rows, [])
        for number, cells in enumerate(rows, start=1):
            if cells and len(cells) != len(header):
                problem = f"{len(cells)} cells where the header has {len(header)}"
                raise InputError(side, problem, row=number)


_READERS: Final[Mapping[str, Callable[[Path, Side], pl.DataFrame]]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
