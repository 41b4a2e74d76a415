"""Reads a file of cases that a person has filled in."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from adapters.formats import sheet
from adapters.model import ParseError
from gateway.cases.sheet.columns import COLUMNS, ETAG, LISTS, RISKY, plain
from gateway.cases.sheet.rows import SheetRow
from gateway.domain import case_words as words
from gateway.domain.errors import GatewayError
from gateway.domain.money import parse_minor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.cases.sheet.columns import Format

MAX_ROWS: Final = 10_000
"""Rows below the heading that are read; more may be written."""
MAX_FILE_BYTES: Final = 3 << 20
"""Of a file that is read."""
MAX_ALLOCATIONS: Final = 200
"""In one cell."""

_HEADING_SHOWN: Final = 40
"""Characters of a heading that nobody knows."""
_ETAG_CHARACTERS: Final = 64
"""As the contract bounds it."""
_CASE: Final = re.compile(r"(funds/[a-z0-9][a-z0-9-]{0,62})/cases/[0-9a-f]{32}")
_ALLOCATION: Final = re.compile(r"([^=\s]+)\s*(?:=\s*(.+))?", re.DOTALL)
_MEMBER: Final = re.compile(r"([EL]):([a-zA-Z0-9._:-]{1,200})")
_MEMBER_NAME: Final = re.compile(r"funds/[a-z0-9-]+/(?:bankEntries|lines)/[a-zA-Z0-9._:-]{1,200}")
_SIGNED: Final = re.compile(r"([+-]?)\s*(.*)", re.DOTALL)
_DAY: Final = re.compile(
    r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?(?: 0?0:00(?::00)?)?"
    r"|([0-9]{4})([0-9]{2})([0-9]{2})"
)
_SERIAL: Final = re.compile(r"[1-9][0-9]{4}")
_EPOCH: Final = date(1899, 12, 30)
"""From which spreadsheets count days (since March 1900)."""
_COLLECTIONS: Final = {"E": "bankEntries", "L": "lines"}
_KEYS: Final = {heading: each.key for each in COLUMNS for heading in (each.zh, each.en)}
_TO_FILL: Final = tuple(each.key for each in COLUMNS if each.fill)
_NEEDED: Final = ("case", "action", "reason", "etag")
_LONGEST: Final = {"category": 60, "summary": 140, "bank_reference": 64, "reason": 500}
"""As the contract bounds them."""


@dataclass
class SheetError(Exception):
    """What keeps a filled-in file from being read.

    Attributes:
        row: as a spreadsheet counts; 0 if it is the file as a whole.
        column: its heading in the file; empty if it is the row as a whole.
        problem: one English sentence, without its full stop.
    """

    row: int
    column: str
    problem: str

    def __str__(self) -> str:
        """The row, the column and the sentence."""
        row = f"row {self.row}" if self.row else ""
        column = f"column {self.column}" if self.column else ""
        place = ", ".join(filter(None, (row, column)))
        return f"{place}: {self.problem}" if place else self.problem


def read(content: bytes, format: Format) -> tuple[SheetRow, ...]:  # noqa: A002 - the contract's word
    """What a filled-in file says is to be done, one a row that has something to do.

    Read is what Excel and WPS make of an export: columns in another order or left out, rows left
    out or added empty, dates as days or as numbers, CSV in UTF-8 or GB18030, with or without a
    mark. Only the columns to fill in, the case and its version are looked at.

    Raises:
        SheetError: the first fault; names the row and the column.
    """
    if len(content) > MAX_FILE_BYTES:
        raise SheetError(0, "", f"the file is larger than {MAX_FILE_BYTES:,} bytes")
    table = _table(content, format)
    number, heading = next(table, (0, ()))
    if not heading:
        raise SheetError(0, "", "the file has no rows")
    headings = _headings(number, heading)
    found: dict[str, SheetRow] = {}
    for count, (number, cells) in enumerate(table):
        if count == MAX_ROWS:
            raise SheetError(number, "", f"more than {MAX_ROWS:,} rows")
        reading = _Reading(number, headings, dict(zip(headings, cells, strict=False)))
        if any(map(reading.text, _TO_FILL)):
            _add(found, reading.row(), headings["case"])
    return tuple(found.values())


def _add(found: dict[str, SheetRow], row: SheetRow, heading: str) -> None:
    if row.case in found:
        before = found[row.case].row
        raise SheetError(row.row, heading, f"row {before} already says what to do about this case")
    found[row.case] = row


def _headings(number: int, cells: tuple[str, ...]) -> dict[str, str]:
    """The headings in the order of the columns, by key; of columns without one the place."""
    headings: dict[str, str] = {}
    for place, heading in enumerate(cells):
        key = _KEYS.get(heading) if heading else f"{place}"
        if key is None:
            raise SheetError(number, plain(heading[:_HEADING_SHOWN]), "no such column")
        if key in headings:
            raise SheetError(number, heading, "this column is there twice")
        headings[key] = heading
    for column in COLUMNS:
        if column.key in _NEEDED and column.key not in headings:
            raise SheetError(number, f"{column.zh} / {column.en}", "this column is missing")
    return headings


def _table(content: bytes, format: Format) -> Iterator[tuple[int, tuple[str, ...]]]:  # noqa: A002 - the contract's word
    """The rows that are not blank, each with its number."""
    if sheet.is_workbook(content) != (format == "xlsx"):
        raise SheetError(0, "", f"the file is not {'a workbook' if format == 'xlsx' else 'text'}")
    return _workbook_rows(content) if format == "xlsx" else _csv_rows(content)


def _workbook_rows(content: bytes) -> Iterator[tuple[int, tuple[str, ...]]]:
    try:
        for row in sheet.rows(content, ","):
            yield row.number, row.cells
    except ParseError as wrong:
        line = re.fullmatch(r"line ([0-9]{1,7})", wrong.location)
        raise SheetError(int(line[1]) if line else 0, "", wrong.message) from None


def _csv_rows(content: bytes) -> Iterator[tuple[int, tuple[str, ...]]]:
    """A record is a row, however many lines it has; what was quoted as no formula is unquoted."""
    reader = csv.reader(io.StringIO(_decoded(content), newline=""), strict=True)
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            bare = tuple(cell.strip() for cell in cells)
            if any(bare):
                yield number, tuple(cell[_quoted(cell) :] for cell in bare)
    except csv.Error as wrong:
        raise SheetError(number + 1, "", str(wrong)) from None


def _quoted(cell: str) -> int:
    """1 where a single quote was put before the text."""
    return int(cell.startswith("'") and RISKY.match(cell) is not None)


def _decoded(content: bytes) -> str:
    for charset in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(charset)
        except UnicodeDecodeError:
            continue
    raise SheetError(0, "", "the file is neither UTF-8 nor GB18030")


@dataclass(frozen=True, slots=True)
class _Reading:
    """One row under its headings."""

    number: int
    headings: Mapping[str, str]
    cells: Mapping[str, str]

    def text(self, key: str) -> str:
        """A cell's text; empty where there is no such cell or column."""
        return self.cells.get(key, "")

    def row(self) -> SheetRow:
        """What the row says is to be done."""
        case, etag = self.text("case"), self.text("etag").removeprefix(ETAG)
        found = _CASE.fullmatch(case)
        if found is None:
            raise self.wrong("case", "is no case as it was exported")
        if not etag.isprintable() or not 0 < len(etag) <= _ETAG_CHARACTERS:
            raise self.wrong("etag", "is not as it was exported")
        return SheetRow(
            row=self.number,
            case=case,
            etag=etag,
            action=self._one_of("action") or self._missing("action"),
            allocations=tuple(self._allocations(found[1]).items()),
            book=self._one_of("book"),
            category=self._bounded("category"),
            summary=self._bounded("summary"),
            wait_until=self._day("wait_until"),
            bank_reference=self._bounded("bank_reference"),
            reason=self._bounded("reason") or self._missing("reason"),
        )

    def wrong(self, key: str, problem: str) -> SheetError:
        """The error that names this row and this column."""
        return SheetError(self.number, self.headings.get(key, key), problem)

    def _missing(self, key: str) -> str:
        raise self.wrong(key, "is empty, though the row says what to do")

    def _one_of(self, key: str) -> str:
        text, names = self.text(key), LISTS[key]
        name = words.named(names, text) if text else ""
        if name is None:
            known = ", ".join(f"{each} {zh}" for each, zh in names.items())
            raise self.wrong(key, f"is not one of {known}")
        return name

    def _bounded(self, key: str) -> str:
        text = self.text(key)
        if len(text) > _LONGEST[key]:
            raise self.wrong(key, f"is longer than {_LONGEST[key]} characters")
        if plain(text) != text:
            raise self.wrong(key, "has a control character")
        return text

    def _day(self, key: str) -> date | None:
        text = self.text(key)
        if not text:
            return None
        if _SERIAL.fullmatch(text):
            return _EPOCH + timedelta(days=int(text))
        found = _DAY.fullmatch(text)
        try:
            # Without a match these are no three numbers either.
            return date(*(int(each) for each in (found.groups() if found else ()) if each))
        except (ValueError, TypeError):
            raise self.wrong(key, "is not a day as in 2026-11-23") from None

    def _allocations(self, fund: str) -> dict[str, int | None]:
        """What of which row, as in ``E:ID=12.00; L:12``."""
        text = unicodedata.normalize("NFKC", self.text("allocations"))
        taken: dict[str, int | None] = {}
        for each in filter(None, map(str.strip, re.split("[;\n]", text))):
            found = _ALLOCATION.fullmatch(each)
            name = _member_name(found[1], fund) if found else None
            if found is None or name is None:
                raise self.wrong("allocations", "is not as in E:ID=12.00; L:12")
            if name in taken:
                raise self.wrong("allocations", f"names {found[1]} twice")
            taken[name] = self._signed(found[2]) if found[2] else None
        if len(taken) > MAX_ALLOCATIONS:
            raise self.wrong("allocations", f"names more than {MAX_ALLOCATIONS} rows")
        return taken

    def _signed(self, text: str) -> int:
        found = _SIGNED.fullmatch(text)
        try:
            amount_minor = parse_minor(found[2], self.text("currency") or "CNY") if found else 0
        except GatewayError as error:
            raise self.wrong("allocations", f"{error.violations[0].description}") from None
        if not amount_minor:
            raise self.wrong("allocations", "an amount is zero")
        return -amount_minor if found and found[1] == "-" else amount_minor


def _member_name(text: str, fund: str) -> str | None:
    short = _MEMBER.fullmatch(text)
    if short is not None:
        return f"{fund}/{_COLLECTIONS[short[1]]}/{short[2]}"
    return text if _MEMBER_NAME.fullmatch(text) else None
