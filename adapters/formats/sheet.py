"""Rows of text from a CSV file or an .xlsx workbook, under bounds; no cell is ever evaluated.

The workbook is read here, not by a library that builds a dense grid: a few bytes can claim a
grid of seventeen thousand million cells. Numbers stay the digits that the file holds.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import BinaryIO, Final

from lxml import etree

from adapters.formats.bounds import check_lines, lines
from adapters.formats.xml import PROLOG_BYTES, Element, Held, PullParser, pull_parser, release
from adapters.model import ParseError

MAX_FILE_BYTES: Final = 1 << 26
MAX_COLUMNS: Final = 256
MAX_ROWS: Final = 1 << 20
MAX_CELL_CHARACTERS: Final = 4000
MAX_CHARACTERS: Final = 1 << 27
"""Of all cells together: in a workbook many cells may share one text."""

_ZIP_MARK: Final = b"PK\x03\x04"
_OLE_MARK: Final = b"\xd0\xcf\x11\xe0"
_MEMBERS: Final = 200
_UNPACKED_BYTES: Final = 1 << 27
"""Of the parts that are read, whatever the archive says of their sizes."""
_CHUNK_BYTES: Final = 1 << 16
_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_RELATION: Final = "{http://schemas.openxmlformats.org/package/2006/relationships}"
_CELL: Final = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([Ee][+-]?[0-9]{1,2})?")
_DIGITS: Final = Context(prec=15)
"""What a spreadsheet keeps of a number; the sixteenth digit is its rounding."""
_DATE_FORMATS: Final = frozenset({*range(14, 18), 22, *range(27, 32), 36, 50, 51, *range(52, 59)})
"""Built-in number formats that show a day (ECMA-376, 18.8.30)."""
_FIRST_CUSTOM: Final = 164
_UNSHOWN: Final = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
_EPOCH_1900, _EPOCH_1904 = date(1899, 12, 30), date(1904, 1, 1)
_LEAP_BUG_DAYS: Final = 61
"""Below it the 1900 system counts a 29 February that never was."""


class Number(str):
    """The cell of a number: its decimals stand behind a point, in whatever language the sheet."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line of the file on which it ends, or its number in the sheet."""

    number: int
    cells: tuple[str, ...]

    @property
    def location(self) -> str:
        """For a finding."""
        return f"line {self.number}"


def is_workbook(content: bytes) -> bool:
    """Whether a file is a workbook, .xlsx or an old one, rather than text or a zip of files."""
    if content.startswith(_OLE_MARK):
        return True
    if not content.startswith(_ZIP_MARK):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except Exception:  # noqa: BLE001 - whatever zipfile raises on a damaged archive
        return False


def rows(content: bytes, delimiter: str) -> Iterator[Row]:
    """The rows of a file that are not blank, in order.

    Args:
        content: CSV in UTF-8 (with or without a mark) or GB18030, or an .xlsx workbook, of which
            the first sheet is read.
        delimiter: Between the cells of a CSV row.

    Raises:
        ParseError: `file_too_large`, `line_too_long`, `columns_too_many`, `rows_too_many`,
            `cell_too_long`, `nul_byte`, `encoding_invalid`, `csv_malformed`,
            `workbook_malformed`, `format_unsupported`.
    """
    if len(content) > MAX_FILE_BYTES:
        raise ParseError("file_too_large", f"a table of more than {MAX_FILE_BYTES} bytes")
    if content.startswith(_OLE_MARK):
        message = "an old .xls or an encrypted workbook; save it as .xlsx or CSV"
        raise ParseError("format_unsupported", message)
    found = _workbook(content) if is_workbook(content) else _csv(content, delimiter)
    return _bounded(found)


def sheet_count(content: bytes) -> int:
    """How many sheets an .xlsx workbook has.

    Raises:
        ParseError: `workbook_malformed`.
    """
    with _refusing(), zipfile.ZipFile(io.BytesIO(content)) as archive:
        book = _Parts(archive).open("xl/workbook.xml")
        if book is None:
            raise ParseError("workbook_malformed", "no list of sheets")
        return sum(1 for _ in _elements(book, "sheet"))


def _bounded(found: Iterator[Row]) -> Iterator[Row]:
    characters = 0
    for count, row in enumerate(found):
        if count == MAX_ROWS:
            raise ParseError("rows_too_many", f"more than {MAX_ROWS} rows", row.location)
        if len(row.cells) > MAX_COLUMNS:
            raise ParseError("columns_too_many", f"more than {MAX_COLUMNS} cells", row.location)
        longest = max(map(len, row.cells), default=0)
        characters += sum(map(len, row.cells))
        if longest > MAX_CELL_CHARACTERS or characters > MAX_CHARACTERS:
            raise ParseError("cell_too_long", "more text than a statement has", row.location)
        if any(row.cells):
            yield row


def _csv(content: bytes, delimiter: str) -> Iterator[Row]:
    check_lines(content)
    text = _decoded(content)
    if "\n" not in text:
        text = text.replace("\r", "\n")
    reader = csv.reader(lines(text), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield Row(reader.line_num, tuple(cell.strip() for cell in cells))
    except csv.Error as wrong:
        line = f"line {max(reader.line_num, 1)}"
        raise ParseError("csv_malformed", str(wrong), line) from wrong


def _decoded(content: bytes) -> str:
    """UTF-8 if it is that, else GB18030, which contains GBK and GB2312; nothing is replaced."""
    if (at := content.find(b"\0")) >= 0:
        raise ParseError("nul_byte", "a NUL byte in a text file", f"byte {at}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("gb18030")
    except UnicodeDecodeError as wrong:
        message = "neither UTF-8 nor GB18030"
        raise ParseError("encoding_invalid", message, f"byte {wrong.start}") from None


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn whatever an archive or its XML breaks into our own error."""
    try:
        yield
    except ParseError:
        raise
    except etree.XMLSyntaxError as broken:
        line = f"line {max(broken.lineno or 1, 1)}"
        raise ParseError("workbook_malformed", "a part is not XML", line) from None
    except Exception as wrong:
        raise ParseError("workbook_malformed", "the workbook cannot be read") from wrong


class _Parts:
    """The parts of a workbook, unpacked under one bound together."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left_bytes = _UNPACKED_BYTES
        self._names = frozenset(archive.namelist())
        if len(self._names) > _MEMBERS:
            raise ParseError("workbook_malformed", f"more than {_MEMBERS} parts")

    def open(self, name: str) -> BinaryIO | None:
        """A part's bytes, or None if there is no such part."""
        if name not in self._names:
            return None
        whole = io.BytesIO()
        with self._archive.open(name) as packed:
            while chunk := packed.read(_CHUNK_BYTES):
                self._left_bytes -= len(chunk)
                if self._left_bytes < 0:
                    message = f"more than {_UNPACKED_BYTES} bytes unpacked"
                    raise ParseError("zip_too_large", message)
                whole.write(chunk)
        whole.seek(0)
        return whole


def _workbook(content: bytes) -> Iterator[Row]:
    with _refusing(), zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = _Parts(archive)
        path, epoch = _first_sheet(parts)
        texts = _shared_texts(parts)
        days = _day_styles(parts)
        sheet = parts.open(path)
        if sheet is None:
            raise ParseError("workbook_malformed", "the first sheet is missing")
        for number, element in enumerate(_elements(sheet, "row"), 1):
            yield _row(element, number, _Reading(texts, days, epoch))


def _elements(source: BinaryIO, *names: str, namespace: str = _MAIN) -> Iterator[Element]:
    """Finished elements, each freed when the next is asked for."""
    _check_doctype(source)
    parser = pull_parser(tuple(namespace + name for name in names), None)
    held = Held()
    while chunk := source.read(_CHUNK_BYTES):
        held.add(chunk)
        parser.feed(chunk)
        yield from _finished(parser, held)
    parser.close()
    yield from _finished(parser, held)


def _finished(parser: PullParser, held: Held) -> Iterator[Element]:
    for _, element in parser.read_events():
        yield element
        release(element)
        held.forget()


def _check_doctype(source: BinaryIO) -> None:
    _, root = next(_starts(io.BytesIO(source.read(PROLOG_BYTES))))
    if root.getroottree().docinfo.doctype:
        raise ParseError("doctype_refused", "a workbook carries no DOCTYPE", "line 1")
    source.seek(0)


def _starts(source: BinaryIO) -> Iterator[tuple[str, Element]]:
    return etree.iterparse(
        source,
        events=("start",),
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )


def _first_sheet(parts: _Parts) -> tuple[str, date]:
    """The part of the first sheet, and the day from which the workbook counts."""
    book = parts.open("xl/workbook.xml")
    links = parts.open("xl/_rels/workbook.xml.rels")
    if book is None or links is None:
        raise ParseError("workbook_malformed", "no list of sheets")
    link, epoch = "", _EPOCH_1900
    for element in _elements(book, "workbookPr", "sheet"):
        if element.tag == f"{_MAIN}sheet":
            link = link or element.get(f"{_LINK}id", "")
        elif element.get("date1904") in {"1", "true"}:
            epoch = _EPOCH_1904
    for relation in _elements(links, "Relationship", namespace=_RELATION):
        if relation.get("Id") == link:
            target = relation.get("Target", "")
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}", epoch
    raise ParseError("workbook_malformed", "the first sheet is missing")


def _shared_texts(parts: _Parts) -> list[str]:
    source = parts.open("xl/sharedStrings.xml")
    return [] if source is None else [_text(element) for element in _elements(source, "si")]


def _text(element: Element) -> str:
    """A text of one or more runs, without the readings of characters beside it."""
    runs = element.findall(f"{_MAIN}t") + element.findall(f"{_MAIN}r/{_MAIN}t")
    return "".join(run.text or "" for run in runs).strip()


def _day_styles(parts: _Parts) -> frozenset[int]:
    """The numbers of the cell styles that show a day."""
    source = parts.open("xl/styles.xml")
    if source is None:
        return frozenset()
    shows_day: set[int] = set(_DATE_FORMATS)
    styles: set[int] = set()
    for element in _elements(source, "numFmt", "cellXfs"):
        if element.tag == f"{_MAIN}numFmt":
            shown = _UNSHOWN.sub("", element.get("formatCode", "")).lower()
            if "y" in shown or "d" in shown:
                shows_day.add(int(element.get("numFmtId", "0")))
        else:
            used = [int(one.get("numFmtId", "0")) for one in element]
            styles.update(number for number, used_id in enumerate(used) if used_id in shows_day)
    return frozenset(styles)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a cell needs of the rest of its workbook."""

    texts: list[str]
    days: frozenset[int]
    epoch: date


def _row(element: Element, counted: int, reading: _Reading) -> Row:
    number = element.get("r", str(counted))
    here = int(number) if number.isdecimal() and len(number) <= 7 else counted  # noqa: PLR2004 - seven digits, as a sheet has rows
    cells: list[str] = []
    for cell in element.iterfind(f"{_MAIN}c"):
        column = _column(cell.get("r", ""), len(cells))
        if not (value := _value(cell, reading, here)):
            continue  # formatted and empty, as whole rows of a sheet may be
        if not len(cells) <= column < MAX_COLUMNS:
            message = f"more than {MAX_COLUMNS} columns, or out of order"
            raise ParseError("columns_too_many", message, f"line {here}")
        cells.extend([""] * (column - len(cells)))
        cells.append(value)
    return Row(here, tuple(cells))


def _column(reference: str, following: int) -> int:
    """The index of a cell such as `AB12`; without a reference, the next."""
    found = _CELL.fullmatch(reference)
    if found is None:
        return following
    index = 0
    for letter in found[1]:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


def _value(cell: Element, reading: _Reading, line: int) -> str:
    """A cell's text; of a formula the formula itself, for its result is nobody's statement."""
    formula = cell.find(f"{_MAIN}f")
    if formula is not None:
        return f"={(formula.text or '').strip()}"
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        inline = cell.find(f"{_MAIN}is")
        return "" if inline is None else _text(inline)
    raw = cell.find(f"{_MAIN}v")
    text = "" if raw is None or raw.text is None else raw.text.strip()
    if kind == "s" and text:
        if not text.isdecimal() or int(text[:9]) >= len(reading.texts):
            raise ParseError("workbook_malformed", "no such shared text", f"line {line}")
        return reading.texts[int(text[:9])]
    if kind == "n" and text:
        return _number(text, int(cell.get("s", "0")) in reading.days, reading.epoch)
    return text


def _number(text: str, day: bool, epoch: date) -> str:
    """A number's decimal digits, or the day it stands for; what is neither stays as it is."""
    if not _NUMBER.fullmatch(text):
        return text
    try:
        number = _DIGITS.create_decimal(text)
    except InvalidOperation:
        return text
    return _serial_day(number, epoch) if day else Number(format(_plain(number), "f"))


def _plain(number: Decimal) -> Decimal:
    """Without the zeros that rounding to fifteen digits leaves behind the point."""
    return number.normalize(_DIGITS) if number else Decimal(0)


def _serial_day(number: Decimal, epoch: date) -> str:
    lowest = _LEAP_BUG_DAYS if epoch == _EPOCH_1900 else 0
    if not lowest <= number <= (date.max - epoch).days:
        return format(number, "f")
    return (epoch + timedelta(days=int(number))).isoformat()
