"""Cases as a workbook or a CSV file that a person fills in, and such a file read back.

One row a case. What a cell cannot hold of it goes on in rows below, numbered in the column "Part":
nothing is cut. No text is ever a formula: in a workbook it is of the type text, in a CSV file a
single quote stands before what a spreadsheet would compute (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal

import xlsxwriter  # type: ignore[import-untyped] # it carries no types

from adapters.formats import sheet
from adapters.model import ParseError
from gateway.cases.sheet_rows import SheetRow
from gateway.domain import case_words as words
from gateway.domain.errors import GatewayError
from gateway.domain.money import LIMIT_MINOR, exponent, format_minor, parse_minor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.cases.sheet_rows import SheetCase, SheetMember
    from gateway.domain.describe import Language

Format = Literal["xlsx", "csv"]
Cell = str | int | Decimal | date | None

MAX_ROWS: Final = 10_000
"""Rows below the heading that are read; more may be written."""
MAX_FILE_BYTES: Final = 3 << 20
"""Of a file that is read."""
MAX_ALLOCATIONS: Final = 200
"""In one cell."""

_CELL_CHARACTERS: Final = 3500
"""Less than `adapters.formats.sheet` reads of a cell, and than the 32,767 that Excel holds."""
_CELL_LINES: Final = 100
"""Excel holds 253."""
_HEADING_SHOWN: Final = 40
"""Characters of a heading that nobody knows."""
_CHUNK_BYTES: Final = 1 << 18
_CSV_ROWS: Final = 500
"""In one part of what is written."""
_CREATED: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands in every workbook, so that the same cases give the same bytes."""
_MARK: Final = "\ufeff"
_ETAG: Final = "v:"
"""Before every etag: alone it may look like a number, and a spreadsheet would make it one."""
_ETAG_CHARACTERS: Final = 64
"""As the contract bounds it."""
_RISKY: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
"""What a spreadsheet takes for a formula, and what was quoted because of that."""
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


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its headings, its width in characters; of one to fill in, what to write there."""

    key: str
    zh: str
    en: str
    width: int
    hint_zh: str = ""
    hint_en: str = ""

    @property
    def fill(self) -> bool:
        return bool(self.hint_zh)

    def heading(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def hint(self, language: Language) -> str:
        return self.hint_zh if language == "zh" else self.hint_en


_COLUMNS: Final = (
    _Column("case", "差异", "Case", 24),
    _Column("part", "续行", "Part", 6),
    _Column("kind", "种类", "Kind", 14),
    _Column("cause", "原因", "Cause", 18),
    _Column("detail", "说明", "Detail", 36),
    _Column("amount", "差额", "Amount", 16),
    _Column("weight", "未决金额", "Open amount", 16),
    _Column("currency", "币种", "Currency", 8),
    _Column("oldest", "最早日期", "Oldest day", 12),
    _Column("age", "天数", "Age in days", 8),
    _Column("due", "到期日", "Due", 12),
    _Column("state", "状态", "State", 10),
    _Column("assignee", "经办", "Assignee", 20),
    _Column("account", "账户", "Account", 24),
    _Column("bank", "银行侧", "Bank side", 60),
    _Column("ledger", "账上侧", "Ledger side", 60),
    _Column(
        *("action", "处理", "Action", 12),
        hint_zh="选一种做法；留空则不处理这一行",
        hint_en="Choose what to do; left empty, the row is left alone",
    ),
    _Column(
        *("allocations", "分配", "Allocations", 30),
        hint_zh="留空：差异中全部未决金额。部分匹配如 E:编号=-15.00; L:12，正负同原行",
        hint_en="Empty: all that is open. A part: E:ID=-15.00; L:12, signed as the row is",
    ),
    _Column(
        *("book", "账簿", "Book", 14),
        hint_zh="调账、核销时必填",
        hint_en="For adjust and write off",
    ),
    _Column(
        *("category", "科目", "Category", 16),
        hint_zh="调账时必填，如 银行手续费",
        hint_en="For adjust, such as 银行手续费",
    ),
    _Column(
        *("summary", "摘要", "Summary", 24),
        hint_zh="调账时必填；业主会看到，勿写个人姓名",
        hint_en="For adjust; the owners read it: no private names",
    ),
    _Column(
        *("wait_until", "等待至", "Wait until", 12),
        hint_zh="等待时必填，最多 92 天",
        hint_en="For wait, 92 days ahead at most",
    ),
    _Column(
        *("bank_reference", "银行查询号", "Bank reference", 16),
        hint_zh="退银行时可填银行的查询编号",
        hint_en="For send back, the bank's number of the inquiry, if there is one",
    ),
    _Column(
        *("reason", "理由", "Reason", 36),
        hint_zh="必填；复核人据此判断，勿写个人姓名",
        hint_en="Always; who approves it was not there. No private names",
    ),
    _Column("etag", "版本", "Version", 12),
)
_KEYS: Final = {heading: each.key for each in _COLUMNS for heading in (each.zh, each.en)}
_TO_FILL: Final = tuple(each.key for each in _COLUMNS if each.fill)
_NEEDED: Final = ("case", "action", "reason", "etag")
_LISTS: Final[Mapping[str, Mapping[str, str]]] = {
    "action": words.ACTIONS_ZH,
    "book": words.BOOKS_ZH,
}
_LONGEST: Final = {"category": 60, "summary": 140, "bank_reference": 64, "reason": 500}
"""As the contract bounds them."""


# --- writing -------------------------------------------------------------------------------------


def write(cases: Iterable[SheetCase], format: Format, language: Language) -> Iterator[bytes]:  # noqa: A002 - the contract's word
    """A file of cases with empty columns for what to do about them, in parts.

    Args:
        cases: in the order in which they are listed.
        format: ``xlsx``, or ``csv`` in UTF-8 with a byte order mark.
        language: of the headings and of what kinds, causes, states and actions are called.
    """
    headings = tuple(each.heading(language) for each in _COLUMNS)
    rows = (row for case in cases for row in _rows(case, language))
    return _workbook(headings, rows, language) if format == "xlsx" else _csv(headings, rows)


def _rows(case: SheetCase, language: Language) -> Iterator[Mapping[str, Cell]]:
    """The row of a case, and those in which it goes on: of these only names, so that sums hold."""
    sides = (_side(case, side, language) for side in ("bank", "ledger"))
    parts = zip_longest(_parts(_sentence(case, language)), *map(_parts, sides), fillvalue="")
    for part, (detail, bank, ledger) in enumerate(parts, 1):
        facts = _facts(case, language) if part == 1 else {}
        yield {
            **facts,
            "case": case.case,
            "part": part,
            "etag": _ETAG + case.etag,
            "detail": detail,
            "bank": bank,
            "ledger": ledger,
        }


def _sentence(case: SheetCase, language: Language) -> str:
    if language == "en":
        return case.detail
    amount, day = format_minor(abs(case.amount_minor)), str(case.oldest_date)
    return words.sentence_zh(case.kind.lower(), case.cause, amount, day) or case.detail


def _facts(case: SheetCase, language: Language) -> Mapping[str, Cell]:
    return {
        "kind": words.word(words.KINDS_ZH, case.kind, language),
        "cause": words.word(words.CAUSES_ZH, case.cause, language),
        "amount": _yuan(case.amount_minor, case.currency),
        "weight": _yuan(case.weight_minor, case.currency),
        "currency": case.currency,
        "oldest": case.oldest_date,
        "age": case.age_days,
        "due": case.due_date,
        "state": words.word(words.STATES_ZH, case.state, language),
        "assignee": case.assignee,
        "account": case.account,
    }


def _yuan(amount_minor: int, currency: str) -> Decimal | str:
    """The amount as an exact number; as text beyond the fifteen digits of a spreadsheet."""
    amount = Decimal(amount_minor).scaleb(-exponent(currency))
    return amount if abs(amount_minor) < LIMIT_MINOR else format(amount, "f")


def _side(case: SheetCase, side: str, language: Language) -> str:
    """The members of one side, one a line."""
    members = (each for each in case.members if each.side == side)
    return "\n".join(_line(each, case.currency, language) for each in members)


def _line(member: SheetMember, currency: str, language: Language) -> str:
    letter = "E" if member.side == "bank" else "L"
    row = f"{letter}:{member.name.rpartition('/')[2]}"
    parts = [f"{row} {member.date} {format_minor(member.amount_minor, currency)}"]
    if member.open_minor != member.amount_minor:
        still = "未决" if language == "zh" else "open"
        parts.append(f"{still} {format_minor(member.open_minor, currency)}")
    said = (member.reference, member.text, member.counterparty_name, member.counterparty_account)
    return " · ".join([*parts, *(each.replace("\n", " ") for each in said if each)])


def _parts(text: str) -> list[str]:
    """The text in as many cells as it needs, divided between lines where that goes."""
    parts, lines = [""], 0
    for piece in _pieces(_plain(text)):
        lines += piece.count("\n")
        if len(parts[-1]) + len(piece) > _CELL_CHARACTERS or lines >= _CELL_LINES:
            parts.append("")
            lines = 0
        parts[-1] += piece
    return [part.removesuffix("\n") for part in parts]


def _pieces(text: str) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), _CELL_CHARACTERS):
            yield line[start : start + _CELL_CHARACTERS]


def _plain(text: str) -> str:
    """The text with every control character but the line feed as a visible escape."""
    return "".join(
        ascii(each)[1:-1] if unicodedata.category(each) == "Cc" and each != "\n" else each
        for each in text
    )


def _csv(headings: tuple[str, ...], rows: Iterable[Mapping[str, Cell]]) -> Iterator[bytes]:
    table = (tuple(_written(row.get(each.key)) for each in _COLUMNS) for row in rows)
    yield _MARK.encode() + _encoded([headings])
    while part := list(islice(table, _CSV_ROWS)):
        yield _encoded(part)


def _encoded(rows: Iterable[tuple[str, ...]]) -> bytes:
    held = io.StringIO(newline="")
    csv.writer(held).writerows(rows)
    return held.getvalue().encode()


def _written(cell: Cell) -> str:
    if isinstance(cell, str):
        plain = _plain(cell)
        return f"'{plain}" if _RISKY.match(plain) else plain
    return format(cell, "f") if isinstance(cell, Decimal) else "" if cell is None else str(cell)


def _workbook(
    headings: tuple[str, ...], rows: Iterable[Mapping[str, Cell]], language: Language
) -> Iterator[bytes]:
    held = io.BytesIO()
    # Nothing here may be turned into a formula, a link or a number on the way.
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(held, options)
    book.set_properties({"created": _CREATED.replace(tzinfo=None)})
    page = book.add_worksheet("差异" if language == "zh" else "Cases")
    formats = _Formats(book)
    _lay_out(page, formats)
    for column, heading in enumerate(headings):
        page.write_string(0, column, heading, formats.heading)
    last = 0
    for last, row in enumerate(rows, 1):
        _write_row(page, last, row, formats)
    _finish(page, last, language)
    book.close()
    content = held.getvalue()
    return (content[at : at + _CHUNK_BYTES] for at in range(0, len(content), _CHUNK_BYTES))


class _Formats:
    """How cells look."""

    def __init__(self, book: Any) -> None:  # noqa: ANN401 - xlsxwriter has no types
        look = {"valign": "top", "text_wrap": True}
        self.heading = book.add_format({"bold": True, "bg_color": "#D9E2EC", "border": 1})
        self.text = book.add_format({**look, "num_format": "@", "quote_prefix": True})
        self.fill = book.add_format({**look, "num_format": "@", "bg_color": "#FFF8DC"})
        self.fill_day = book.add_format({**look, "num_format": "yyyy-mm-dd", "bg_color": "#FFF8DC"})
        self.day = book.add_format({"valign": "top", "num_format": "yyyy-mm-dd"})
        self.count = book.add_format({"valign": "top"})
        self._book = book
        self._money: dict[int, Any] = {}

    def money(self, decimals: int) -> Any:  # noqa: ANN401 - as above
        """With so many decimals."""
        if decimals not in self._money:
            shown = "#,##0" + (f".{'0' * decimals}" if decimals else "")
            self._money[decimals] = self._book.add_format({"valign": "top", "num_format": shown})
        return self._money[decimals]


def _lay_out(page: Any, formats: _Formats) -> None:  # noqa: ANN401 - as above
    page.freeze_panes(1, 1)
    for number, column in enumerate(_COLUMNS):
        page.set_column(number, number, column.width, _fill_format(column, formats))


def _fill_format(column: _Column, formats: _Formats) -> Any:  # noqa: ANN401 - as above
    if not column.fill:
        return None
    return formats.fill_day if column.key == "wait_until" else formats.fill


def _write_row(page: Any, number: int, row: Mapping[str, Cell], formats: _Formats) -> None:  # noqa: ANN401 - as above
    for place, column in enumerate(_COLUMNS):
        cell = row.get(column.key)
        if isinstance(cell, str):
            page.write_string(number, place, _plain(cell), formats.text)
        elif isinstance(cell, Decimal):
            # A Decimal is written with its own digits; a float might bring some of its own.
            decimals = -int(cell.as_tuple().exponent)
            page.write_number(number, place, cell, formats.money(decimals))
        elif isinstance(cell, date):
            page.write_datetime(number, place, cell, formats.day)
        elif cell is not None:
            page.write_number(number, place, cell, formats.count)
        elif column.fill:
            page.write_blank(number, place, None, _fill_format(column, formats))


def _finish(page: Any, last: int, language: Language) -> None:  # noqa: ANN401 - as above
    """Filters, and for each cell to fill in what goes there, or a list to choose from."""
    page.autofilter(0, 0, last, len(_COLUMNS) - 1)
    for place, column in enumerate(_COLUMNS):
        if last and column.fill:
            page.data_validation(1, place, last, place, _guide(column, language))


def _guide(column: _Column, language: Language) -> dict[str, object]:
    """What a spreadsheet says of a cell; what its list lacks is asked about, not refused."""
    said: dict[str, object] = {"validate": "any", "input_message": column.hint(language)}
    if names := _LISTS.get(column.key):
        choice = [words.word(names, name, language) for name in names]
        said |= {"validate": "list", "source": choice, "error_type": "warning"}
    return said


# --- reading -------------------------------------------------------------------------------------


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
            raise SheetError(number, _plain(heading[:_HEADING_SHOWN]), "no such column")
        if key in headings:
            raise SheetError(number, heading, "this column is there twice")
        headings[key] = heading
    for column in _COLUMNS:
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
            plain = tuple(cell.strip() for cell in cells)
            if any(plain):
                yield number, tuple(cell[_quoted(cell) :] for cell in plain)
    except csv.Error as wrong:
        raise SheetError(number + 1, "", str(wrong)) from None


def _quoted(cell: str) -> int:
    """1 where a single quote was put before the text."""
    return int(cell.startswith("'") and _RISKY.match(cell) is not None)


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
        case, etag = self.text("case"), self.text("etag").removeprefix(_ETAG)
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
        text, names = self.text(key), _LISTS[key]
        name = words.named(names, text) if text else ""
        if name is None:
            known = ", ".join(f"{each} {zh}" for each, zh in names.items())
            raise self.wrong(key, f"is not one of {known}")
        return name

    def _bounded(self, key: str) -> str:
        text = self.text(key)
        if len(text) > _LONGEST[key]:
            raise self.wrong(key, f"is longer than {_LONGEST[key]} characters")
        if _plain(text) != text:
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
