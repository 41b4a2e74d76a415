"""A batch of payments as a workbook, for banks where a person uploads one.

Every cell is text, amounts included, and marked so that no office program takes one for a formula,
also after it was edited. A workbook with a formula is refused when read.
"""

import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import Final

import python_calamine
import xlsxwriter  # type: ignore[import-untyped] # it carries no types
from lxml import etree

from adapters.formats import xml
from adapters.model import Batch, ParseError, Payment
from adapters.profile import BankProfile

_SHEET: Final = "付款"
_HEADING: Final = (
    *("序号", "收款账号", "收款人名称", "收款银行行号", "收款行名称", "金额", "用途", "备注"),
)
_CREATED: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands in every workbook, so that the same batch gives the same bytes."""
_PACKAGE: Final = b"PK\x03\x04"
_UNPACKED_BYTES: Final = 1 << 26
_MEMBERS: Final = 100
_PLACE: Final = re.compile(r"[A-Z]([0-9]{1,6})")
_COLUMNS: Final = 26


def render(batch: Batch, profile: BankProfile) -> bytes:
    """The workbook of a batch; the same bytes for the same batch. Check `violations` first."""
    written = BytesIO()
    # Nothing here may be turned into a formula, a link or a number on the way.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(written, options)
    book.set_properties({"created": _CREATED.replace(tzinfo=None)})
    text = book.add_format({"num_format": "@", "quote_prefix": True})
    sheet = book.add_worksheet(_SHEET)
    rows = [_HEADING, *(_row(*one, profile) for one in enumerate(batch.payments, 1))]
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.write_string(number, column, value, text)
    book.close()
    return written.getvalue()


def _row(number: int, payment: Payment, profile: BankProfile) -> tuple[str, ...]:
    return (
        str(number),
        payment.payee_account,
        payment.payee_name,
        payment.payee_bank_code,
        profile.bank_name(payment.payee_bank_code),
        profile.amount_text(payment.amount_minor, payment.currency),
        payment.purpose,
        payment.end_to_end_id,
    )


def parse(content: bytes, profile: BankProfile) -> tuple[Payment, ...]:
    """The payments of a workbook; who pays is not in it.

    Raises:
        ParseError: No workbook, too large when unpacked, a formula or a number in a cell, another
            heading, rows out of order, or an amount that is none.
    """
    rows = _cells(_repacked(content, profile))
    if not rows or tuple(rows[0]) != _HEADING:
        raise ParseError("format_unknown", "the first row is not the heading", "line 1")
    if len(rows) > profile.batch_maximum + 1:
        raise ParseError("batch_size", f"more than {profile.batch_maximum} rows")
    return tuple(_payment(number, row, profile) for number, row in enumerate(rows[1:], 1))


def _repacked(content: bytes, profile: BankProfile) -> bytes:
    """The same members in a package of our own, so that the reader opens what was checked here.

    Two readers may find two directories in one damaged package. And this one lays a sheet out
    whole: a single cell at the far corner, in a member not looked at, would take all memory.
    """
    if not content.startswith(_PACKAGE):
        raise ParseError("format_unknown", "no workbook")
    left_bytes, names = _UNPACKED_BYTES, set[str]()
    checked = BytesIO()
    with zipfile.ZipFile(checked, "w") as package:
        for name, member in _members(content):
            left_bytes -= len(member)
            if left_bytes < 0 or len(names) == _MEMBERS:
                most = f"more than {_UNPACKED_BYTES} bytes or {_MEMBERS} members in the workbook"
                raise ParseError("zip_too_large", most)
            if name in names:
                raise ParseError("zip_malformed", "two members of one name")
            names.add(name)
            _check_member(member, profile.batch_maximum + 1)
            package.writestr(name, member)
    return checked.getvalue()


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(BytesIO(content)) as package:
            for info in package.infolist():
                with package.open(info) as file:
                    yield info.filename, file.read(_UNPACKED_BYTES + 1)
    except ParseError:
        raise
    except Exception as wrong:  # zipfile raises many kinds for a damaged package
        raise ParseError("zip_malformed", "the workbook cannot be unpacked") from wrong


def _check_member(member: bytes, most_rows: int) -> None:
    """Every member is XML without a DOCTYPE; no formula, and no cell beyond column Z or the rows.

    Names and namespaces are not trusted: the reader looks at neither.
    """
    xml.Held().add(member)
    xml.namespace_of_document(BytesIO(member))  # refuses what is not XML, and a DOCTYPE
    cells = etree.iterparse(BytesIO(member), tag=("{*}c", "{*}f"), resolve_entities=False)
    with xml.refusing():
        for count, (_, element) in enumerate(cells, 1):
            _check_cell(element, count, most_rows)
            element.clear()


def _check_cell(element: xml.Element, count: int, most_rows: int) -> None:
    where = xml.line(element)
    if xml.name_of(element) == "f":
        raise ParseError("formula_refused", "a cell has a formula", where)
    place = _PLACE.fullmatch(element.get("r", "A1"))
    if place is None or int(place[1]) > most_rows or count > most_rows * _COLUMNS:
        raise ParseError("sheet_too_large", "a cell lies outside the table", where)


def _cells(content: bytes) -> list[list[str]]:
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(BytesIO(content))
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except Exception as wrong:  # calamine raises many kinds for a damaged workbook
        raise ParseError("xlsx_malformed", "the workbook cannot be read") from wrong
    return [[_text(cell, f"line {number}") for cell in row] for number, row in enumerate(rows, 1)]


def _text(cell: object, here: str) -> str:
    if not isinstance(cell, str):
        # A number has passed through binary fractions: what was meant is not known any more.
        raise ParseError("cell_not_text", "a cell is not text", here)
    return cell


def _payment(number: int, row: list[str], profile: BankProfile) -> Payment:
    here = f"line {number + 1}"
    if row[0] != str(number):
        raise ParseError("row_number", f"序号 is not {number}", here)
    return Payment(
        end_to_end_id=row[7],
        payee_name=row[2],
        payee_account=row[1],
        payee_bank_code=row[3],
        amount_minor=profile.amount_minor(row[5], profile.currency(), here),
        currency=profile.currency(),
        purpose=row[6],
    )
