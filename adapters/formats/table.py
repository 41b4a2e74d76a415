"""Statements that a bank hands out as a table: CSV or .xlsx, read by a column map.

A map is data (`adapters/banks/columns/*.toml`): which column holds what, how it writes dates
and signs. Rows before the header name the account; every row behind it is an entry, a total that
must agree, or an error: none is left out in silence.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from importlib import resources
from itertools import islice, pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.amounts import AmountError, to_minor
from adapters.formats import sheet
from adapters.formats.bounds import Findings
from adapters.formats.entries import Identities, check_balances
from adapters.formats.sheet import Row
from adapters.model import Balance, Entry, Parsed, ParseError, Statement

_HEADER_ROWS: Final = 60
"""The header stands within these."""
_MASK: Final = re.compile(r"[*xX•＊]")
_FULL_ACCOUNT: Final = 8
"""Shorter is the end of a number, not a number."""
_CURRENCY_SIGNS: Final = re.compile(r"[¥￥$€£]|RMB|[A-Z]{3}|元")
_GROUPED: Final = {
    ".": re.compile(r"[+-]?(?:[0-9]{1,18}|[0-9]{1,3}(?:[,'][0-9]{3}){1,5})?(?:\.[0-9]{0,18})?"),
    ",": re.compile(r"[+-]?(?:[0-9]{1,18}|[0-9]{1,3}(?:[.'][0-9]{3}){1,5})?(?:,[0-9]{0,18})?"),
}
_DEBIT_MARK, _CREDIT_MARK = -1, 1
_NUMERIC: Final = re.compile(r"[+-][-+ 0-9.,'¥￥]*")
"""A cell that a spreadsheet would read as a number rather than as a formula."""
_LOWEST_YEAR, _HIGHEST_YEAR = 1990, 2100
"""No statement is of another time: a date outside is a wrong format."""

_Label = Annotated[str, Field(min_length=1, max_length=40)]
_Labels = tuple[_Label, ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Frozen):
    """The header of each column that is read; the empty string where a bank has none.

    The amount is one signed column, or one column and a direction, or one for each side.
    """

    date: _Label
    value_date: str = ""
    amount: str = ""
    direction: str = ""
    credit: str = ""
    """Money in: 贷方, 收入."""
    debit: str = ""
    """Money out: 借方, 支出."""
    balance: str = ""
    currency: str = ""
    own_account: str = ""
    entry_id: str = ""
    reference: str = ""
    counterparty_name: str = ""
    counterparty_account: str = ""
    text: _Labels = ()

    @model_validator(mode="after")
    def _one_way_to_an_amount(self) -> Self:
        if bool(self.amount) == bool(self.credit and self.debit):
            raise ValueError("either amount, or credit and debit")
        if self.direction and not self.amount:
            raise ValueError("a direction needs an amount")
        return self

    @property
    def required(self) -> tuple[str, ...]:
        """Headers that a file of this map has, each once."""
        single = (getattr(self, name) for name in type(self).model_fields if name != "text")
        return tuple(dict.fromkeys(label for label in (*single, *self.text) if label))


class ColumnMap(_Frozen):
    """How one export of one bank is read."""

    id: Annotated[str, Field(pattern=r"[a-z0-9][a-z0-9-]{0,39}")]
    name_zh: _Label
    name_en: _Label
    columns: Columns
    delimiter: Literal[",", ";", "\t", "|"] = ","
    date_formats: Annotated[_Labels, Field(min_length=1)]
    decimal: Literal[".", ","] = "."
    """Before the decimals; the other one and `'` group thousands."""
    order: Literal["oldest_first", "newest_first"]
    signs: Literal["signed", "reversal", "ignored", "inverse"] = "signed"
    """Of an amount: as written; in a side's column a minus reverses the side; the side alone
    counts; or a plus is money out."""
    currency: Annotated[str, Field(pattern=r"[A-Z]{3}")] = "CNY"
    """Where no column tells it."""
    currency_names: Mapping[str, str] = {}
    blank: _Labels = ()
    """What the bank writes into a cell that has nothing."""
    credit_marks: _Labels = ("贷", "贷方", "收入", "C")
    debit_marks: _Labels = ("借", "借方", "支出", "D")
    account_pattern: str = ""
    """Finds the account in a cell above the header, as its first group."""
    total_labels: _Labels = ()
    opening_labels: _Labels = ()
    closing_labels: _Labels = ()

    @model_validator(mode="after")
    def _signs_fit(self) -> Self:
        sided = bool(self.columns.direction or self.columns.credit)
        if self.signs in {"reversal", "ignored"} and not sided:
            raise ValueError("these signs need a direction or a column for each side")
        if self.columns.direction and self.signs in {"signed", "inverse"}:
            raise ValueError("with a direction, signs are a reversal or ignored")
        if self.account_pattern and re.compile(self.account_pattern).groups != 1:
            raise ValueError("account_pattern needs one group")
        return self


def list_maps() -> tuple[str, ...]:
    """The ids of the column maps that come with the gateway, sorted."""
    files = (resources.files("adapters.banks") / "columns").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


@cache
def load_map(map_id: str) -> ColumnMap:
    """The column map of this id.

    Raises:
        LookupError: There is none.
        pydantic.ValidationError: Its file breaks the schema.
    """
    if map_id not in list_maps():
        raise LookupError(f"no column map {map_id!r}")
    file = resources.files("adapters.banks") / "columns" / f"{map_id}.toml"
    return ColumnMap.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))


def find_map(content: bytes) -> ColumnMap:
    """The one map whose header a file has.

    Raises:
        ParseError: `format_unknown`: no map's, `map_ambiguous`: several maps', named.
    """
    maps = [load_map(map_id) for map_id in list_maps()]
    heads = {
        delimiter: _first_rows(content, delimiter) for delimiter in {m.delimiter for m in maps}
    }
    fitting = [m for m in maps if any(not _missing(row, m) for row in heads[m.delimiter])]
    if not fitting:
        raise ParseError("format_unknown", "neither a bank format nor a table of a known header")
    widest = max(len(one.columns.required) for one in fitting)
    best = [one for one in fitting if len(one.columns.required) == widest]
    if len(best) > 1:
        raise ParseError("map_ambiguous", f"fits {', '.join(one.id for one in best)}: name one")
    return best[0]


def _first_rows(content: bytes, delimiter: str) -> list[Row]:
    """The rows in which a header may stand; up to where the file is no table of this kind."""
    found: list[Row] = []
    try:
        for row in islice(sheet.rows(content, delimiter), _HEADER_ROWS):
            found.append(row)  # noqa: PERF402 - what was read before an error is kept
    except ParseError as wrong:
        if wrong.code not in {"csv_malformed", "columns_too_many", "cell_too_long"}:
            raise
    return found


def parse(content: bytes, by: ColumnMap, account: str = "") -> Parsed:
    """The statements in a table: one for each currency, entries oldest first.

    Args:
        content: CSV or .xlsx.
        by: How its columns are read.
        account: The account it is of, where the table does not tell it or masks it.

    Raises:
        ParseError: `header_missing`, `column_repeated`, `findings_too_many`, or as
            `sheet.rows`.
    """
    rows = sheet.rows(content, by.delimiter)
    head = _head(rows, by)
    table = _Table(by, head)
    for row in rows:
        table.read(row)
    _whole(content, table)
    statements = table.statements(_account(table, account))
    return Parsed("table", statements, table.findings.all())


def _whole(content: bytes, table: "_Table") -> None:
    """What of the file may be missing here: its end, or the sheets behind the first."""
    if sheet.is_workbook(content):
        if others := sheet.sheet_count(content) - 1:
            message = f"{others} more sheets: only the first is read"
            table.findings.warning("sheets_ignored", message, "line 1")
    elif not content.endswith((b"\n", b"\r")):
        table.findings.warning("end_missing", "no line break at the end: cut?", table.location)


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands above the first entry: the title rows, and where each column is."""

    titles: tuple[Row, ...]
    at: Mapping[str, int]
    header: Row


def _folded(label: str) -> str:
    """A label as compared: full-width forms, case and all spaces make no difference."""
    return "".join(unicodedata.normalize("NFKC", label).casefold().split())


def _missing(row: Row, by: ColumnMap) -> tuple[str, ...]:
    found = {_folded(cell) for cell in row.cells}
    return tuple(label for label in by.columns.required if _folded(label) not in found)


def _head(rows: Iterator[Row], by: ColumnMap) -> _Head:
    titles: list[Row] = []
    nearest = by.columns.required
    for row in islice(rows, _HEADER_ROWS):
        missing = _missing(row, by)
        if not missing:
            return _Head(tuple(titles), _positions(row, by), row)
        nearest = min(nearest, missing, key=len)
        titles.append(row)
    named = "、".join(nearest)
    raise ParseError("header_missing", f"no header row of {by.id}; missing {named}", "line 1")


def _positions(header: Row, by: ColumnMap) -> Mapping[str, int]:
    folded = [_folded(cell) for cell in header.cells]
    positions = {}
    for label in by.columns.required:
        if folded.count(_folded(label)) > 1:
            raise ParseError("column_repeated", f"two columns {label}", header.location)
        positions[label] = folded.index(_folded(label))
    return positions


@dataclass(frozen=True, slots=True)
class _Line:
    """One entry with the balance behind it."""

    entry: Entry
    balance_minor: int | None
    location: str


@dataclass(slots=True)
class _Table:
    """Reads row after row into lines, in the file's order."""

    by: ColumnMap
    head: _Head
    findings: Findings = field(default_factory=Findings)
    lines: list[_Line] = field(default_factory=list)
    accounts: dict[str, str] = field(default_factory=dict)
    """Accounts named, each with where first."""
    stated: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Opening and closing balance of a labelled row, and totals of a side."""
    sums_minor: Counter[str] = field(default_factory=Counter)
    """Of every column of amounts, as written."""
    location: str = "line 1"
    _formulas: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Read what the title rows say."""
        for row in self.head.titles:
            self._formula(row)
            self._labelled(row)
            for cell in row.cells if self.by.account_pattern else ():
                if found := re.search(self.by.account_pattern, cell):
                    self.accounts.setdefault(found[1], row.location)

    def read(self, row: Row) -> None:
        """A row behind the header: an entry, a labelled row, or an error."""
        self.location = row.location
        self._formula(row)
        on = self._day(self._text(row, self.by.columns.date))
        if (on is None or not self._moves(row)) and self._labelled(row):
            return
        if any(row.cells[len(self.head.header.cells) :]):
            self.findings.error("row_longer", "more cells than the header has", row.location)
            return
        if on is None:
            self.findings.error("date_invalid", self._named("no date in", "date"), row.location)
            return
        if len(row.cells) <= max(self.head.at.values()):
            self.findings.warning("row_shorter", "fewer cells than the header has", row.location)
        self._entry(row, on)

    def _moves(self, row: Row) -> bool:
        """Whether a column of amounts has anything: with a date too, no label makes it a total."""
        columns = self.by.columns
        return any(self._text(row, one) for one in (columns.amount, columns.credit, columns.debit))

    def _named(self, what: str, column: str) -> str:
        return f"{what} {getattr(self.by.columns, column)}"

    def _text(self, row: Row, label: str) -> str:
        at = self.head.at.get(label, sheet.MAX_COLUMNS)
        cell = row.cells[at] if at < len(row.cells) else ""
        return "" if cell in self.by.blank else cell

    def _formula(self, row: Row) -> None:
        """One warning a column: what a spreadsheet would run stays a text here."""
        for index, cell in enumerate(row.cells):
            if cell[:1] in {"=", "@"} or (cell[:1] in {"+", "-"} and not self._harmless(cell)):
                header = self.head.header.cells
                column = header[index] if index < len(header) else f"column {index + 1}"
                if column not in self._formulas:
                    self._formulas.add(column)
                    message = f"a formula in {column[:40]}, here or below too; kept as text"
                    self.findings.warning("formula_text", message, row.location)

    def _harmless(self, cell: str) -> bool:
        return cell in self.by.blank or bool(_NUMERIC.fullmatch(cell))

    def _labelled(self, row: Row) -> bool:
        """Whether the row is a total or a balance; keeps what it states."""
        kinds = {
            "total": self.by.total_labels,
            "opening": self.by.opening_labels,
            "closing": self.by.closing_labels,
        }
        cells = [_folded(cell) for cell in row.cells]
        for kind, labels in kinds.items():
            marks = tuple(_folded(label) for label in labels)
            if marks and any(cell.startswith(marks) or cell.endswith(marks) for cell in cells):
                self._state(kind, row)
                return True
        return False

    def _state(self, kind: str, row: Row) -> None:
        if kind == "total":
            for side in ("credit", "debit"):
                label = getattr(self.by.columns, side)
                if label and (text := self._text(row, label)):
                    self._keep(side, text, row)
            message = "a total, not an entry"
            self.findings.warning("row_ignored", message, row.location)
            return
        amounts = [cell for cell in row.cells[1:] if _is_amount(cell, self.by.decimal)]
        if len(amounts) != 1:
            message = f"{kind} balance: {len(amounts)} amounts where one is wanted"
            self.findings.error("balance_invalid", message, row.location)
            return
        self._keep(kind, amounts[0], row)

    def _keep(self, kind: str, text: str, row: Row) -> None:
        try:
            amount_minor = _minor(text, self.by.currency, self.by.decimal)
        except AmountError as wrong:
            self.findings.error("amount_invalid", f"{kind}: {wrong}", row.location)
            return
        if kind in self.stated and self.stated[kind][0] != amount_minor:
            self.findings.error("balance_invalid", f"two different: {kind}", row.location)
        self.stated[kind] = amount_minor, row.location

    def _day(self, text: str) -> date | None:
        for pattern in (*self.by.date_formats, "%Y-%m-%d"):
            try:
                on = datetime.strptime(text, pattern).date()  # noqa: DTZ007 - a bank's own day
            except ValueError:
                continue
            if _LOWEST_YEAR <= on.year <= _HIGHEST_YEAR:
                return on
        return None

    def _entry(self, row: Row, on: date) -> None:
        columns = self.by.columns
        currency = self._currency(row)
        try:
            amount_minor = self._amount(row, currency)
        except AmountError as wrong:
            self.findings.error("amount_invalid", str(wrong), row.location)
            return
        if own := self._text(row, columns.own_account):
            self.accounts.setdefault(own, row.location)
        value_text = self._text(row, columns.value_date)
        valued = self._day(value_text) if value_text else on
        if valued is None:
            self.findings.error(
                "date_invalid", self._named("no date in", "value_date"), row.location
            )
        entry = Entry(
            entry_id=self._text(row, columns.entry_id),
            booking_date=on,
            value_date=valued or on,
            amount_minor=amount_minor,
            currency=currency,
            reference=self._text(row, columns.reference),
            counterparty_name=self._text(row, columns.counterparty_name),
            counterparty_account=self._text(row, columns.counterparty_account),
            text=" ".join(text for label in columns.text if (text := self._text(row, label))),
        )
        self.lines.append(_Line(entry, self._balance(row, currency), row.location))

    def _currency(self, row: Row) -> str:
        written = self._text(row, self.by.columns.currency)
        currency = self.by.currency_names.get(written, written) or self.by.currency
        if not re.fullmatch(r"[A-Z]{3}", currency):
            self.findings.error("currency_unknown", "no currency of the map", row.location)
            return self.by.currency
        return currency

    def _balance(self, row: Row, currency: str) -> int | None:
        text = self._text(row, self.by.columns.balance)
        if not text:
            return None
        try:
            return _minor(text, currency, self.by.decimal)
        except AmountError as wrong:
            self.findings.error("balance_invalid", str(wrong), row.location)
            return None

    def _amount(self, row: Row, currency: str) -> int:
        """Minor units, credit positive.

        Raises:
            AmountError: No amount, no direction, or two of them; the message names the column.
        """
        columns = self.by.columns
        if columns.amount:
            amount_minor = self._minor_of(row, columns.amount, currency)
            if amount_minor is None:
                raise AmountError(f"nothing in {columns.amount}")
            return self._signed(amount_minor, self._direction(row))
        credit_minor = self._minor_of(row, columns.credit, currency)
        debit_minor = self._minor_of(row, columns.debit, currency)
        if credit_minor and debit_minor:
            raise AmountError(f"both in {columns.credit} and in {columns.debit}")
        if credit_minor is None and debit_minor is None:
            raise AmountError(f"neither in {columns.credit} nor in {columns.debit}")
        if debit_minor:
            return self._signed(debit_minor, _DEBIT_MARK)
        return self._signed(credit_minor or 0, _CREDIT_MARK)

    def _signed(self, amount_minor: int, side: int) -> int:
        match self.by.signs:
            case "reversal":
                return side * amount_minor
            case "ignored":
                return side * abs(amount_minor)
            case "inverse":
                return -amount_minor
            case "signed":
                return amount_minor

    def _direction(self, row: Row) -> int:
        label = self.by.columns.direction
        if not label:
            return _CREDIT_MARK
        mark = self._text(row, label)
        if (mark in self.by.credit_marks) is (mark in self.by.debit_marks):
            raise AmountError(f"neither credit nor debit in {label}")
        return _CREDIT_MARK if mark in self.by.credit_marks else _DEBIT_MARK

    def _minor_of(self, row: Row, label: str, currency: str) -> int | None:
        text = self._text(row, label)
        try:
            amount_minor = _minor(text, currency, self.by.decimal) if text else None
        except AmountError as wrong:
            raise AmountError(f"{label}: {wrong}") from wrong
        self.sums_minor[label] += amount_minor or 0
        return amount_minor

    def statements(self, account: str) -> tuple[Statement, ...]:
        """One for each currency, in the order in which they first appear."""
        lines = self.lines if self.by.order == "oldest_first" else self.lines[::-1]
        currencies = tuple(dict.fromkeys(line.entry.currency for line in self.lines))
        self._totals(currencies)
        return tuple(
            self._statement(
                account, currency, [one for one in lines if one.entry.currency == currency]
            )
            for currency in currencies or (self.by.currency,)
        )

    def _statement(self, account: str, currency: str, lines: Sequence[_Line]) -> Statement:
        for before, after in pairwise(lines):
            if after.entry.booking_date < before.entry.booking_date:
                message = f"rows are not {self.by.order.replace('_', ' ')}"
                self.findings.error("rows_out_of_order", message, after.location)
                break
        entries = tuple(self._identified(lines))
        opening, closing = self._ends(lines, currency)
        total_minor = sum(entry.amount_minor for entry in entries)
        self.findings.extend(check_balances(opening, closing, total_minor, self.location))
        days = sorted(entry.booking_date for entry in entries)
        statement_id = f"{days[0].isoformat()}/{days[-1].isoformat()}" if days else ""
        return Statement(statement_id, account, currency, opening, closing, entries)

    def _identified(self, lines: Sequence[_Line]) -> Iterator[Entry]:
        identities = Identities()
        for line in lines:
            entry, repeated = identities.name(line.entry, line.location)
            self.findings.extend(repeated)
            yield entry

    def _ends(self, lines: Sequence[_Line], currency: str) -> tuple[Balance | None, Balance | None]:
        """Opening and closing: as labelled rows state them, else out of the balance column."""
        if not lines:
            return None, None
        first, last = lines[0], lines[-1]
        self._running(lines)
        opening_minor = closing_minor = None
        if first.balance_minor is not None:
            opening_minor = first.balance_minor - first.entry.amount_minor
        closing_minor = last.balance_minor
        if currency == self.by.currency:
            opening_minor = self._agreed("opening", opening_minor)
            closing_minor = self._agreed("closing", closing_minor)
        opening_day, closing_day = first.entry.booking_date, last.entry.booking_date
        return (
            None if opening_minor is None else Balance(opening_day, opening_minor),
            None if closing_minor is None else Balance(closing_day, closing_minor),
        )

    def _agreed(self, kind: str, derived_minor: int | None) -> int | None:
        if kind not in self.stated:
            return derived_minor
        stated_minor, location = self.stated[kind]
        if derived_minor is not None and derived_minor != stated_minor:
            message = f"the {kind} balance is not that of the balance column"
            self.findings.error("balance_differs", message, location)
        return stated_minor

    def _running(self, lines: Sequence[_Line]) -> None:
        """Every balance must be the one before it plus the entry: names the first that is not."""
        wrong = [
            after
            for before, after in pairwise(lines)
            if before.balance_minor is not None
            and after.balance_minor is not None
            and before.balance_minor + after.entry.amount_minor != after.balance_minor
        ]
        if wrong:
            message = f"{len(wrong)} running balances do not follow from the row before, from here"
            self.findings.error("balance_differs", message, wrong[0].location)

    def _totals(self, currencies: Sequence[str]) -> None:
        """The bank's totals of a column against its rows; not where currencies are mixed."""
        for side in ("credit", "debit"):
            if side not in self.stated or len(currencies) > 1:
                continue
            stated_minor, location = self.stated[side]
            label = getattr(self.by.columns, side)
            if stated_minor != self.sums_minor[label]:
                message = f"the total of {label} is not that of its rows"
                self.findings.error("total_differs", message, location)


def _is_amount(cell: str, decimal: str) -> bool:
    try:
        _minor(cell, "", decimal)
    except AmountError:
        return False
    return True


def _minor(cell: str, currency: str, decimal: str) -> int:
    """Minor units of an amount as people write it: signs of currencies, grouped thousands.

    Raises:
        AmountError: Anything else, a wrong group of thousands included.
    """
    if isinstance(cell, sheet.Number):
        return to_minor(cell, currency)
    text = unicodedata.normalize("NFKC", cell.removeprefix("'")).replace("\u2212", "-")
    text = _CURRENCY_SIGNS.sub("", "".join(text.split()))
    if not _GROUPED[decimal].fullmatch(text):
        raise AmountError("no amount, or thousands not in groups of three")
    other = "," if decimal == "." else "."
    return to_minor(text.replace(other, "").replace("'", "").replace(decimal, "."), currency)


def _account(table: _Table, given: str) -> str:
    """The account: as given, which must agree with what the table says; else as the table says."""
    findings, named = table.findings, list(table.accounts.items())
    for one, location in named:
        if (given and not _same(one, given)) or one != named[0][0]:
            findings.error("account_differs", "the table names another account", location)
    account = given or (named[0][0] if named else "")
    if not account:
        findings.error("account_missing", "neither the table nor the caller names it", "line 1")
    elif _MASK.search(account) or len(account) < _FULL_ACCOUNT:
        findings.warning("account_masked", "digits of the account are hidden", "line 1")
    return account


def _same(shown: str, account: str) -> bool:
    """Whether a number that may be masked, or its last digits alone, can be this account."""
    first, *pieces = re.split(r"\*+", _MASK.sub("*", shown))
    if not pieces:
        return account.endswith(shown)
    *middle, last = pieces
    at = len(first) if account.startswith(first) else -1
    for piece in middle:
        at = account.find(piece, at) + len(piece) if at >= 0 and piece in account[at:] else -1
    return at >= 0 and len(account) - at >= len(last) and account.endswith(last)
