"""Writes cases as a workbook or a CSV file that a person fills in.

One row a case. What a cell cannot hold of it goes on in rows below, numbered in the column "Part":
nothing is cut. No text is ever a formula: in a workbook it is of the type text, in a CSV file a
single quote stands before what a spreadsheet would compute (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, Final

import xlsxwriter  # type: ignore[import-untyped] # it carries no types

from gateway.cases.sheet.columns import COLUMNS, ETAG, LISTS, RISKY, plain
from gateway.domain import case_words as words
from gateway.domain.money import LIMIT_MINOR, exponent, format_minor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.cases.sheet.columns import Column, Format
    from gateway.cases.sheet.rows import SheetCase, SheetMember
    from gateway.domain.describe import Language

Cell = str | int | Decimal | date | None

_CELL_CHARACTERS: Final = 3500
"""Less than `adapters.formats.sheet` reads of a cell, and than the 32,767 that Excel holds."""
_CELL_LINES: Final = 100
"""Excel holds 253."""
_CHUNK_BYTES: Final = 1 << 18
_CSV_ROWS: Final = 500
"""In one part of what is written."""
_CREATED: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands in every workbook, so that the same cases give the same bytes."""
_MARK: Final = "\ufeff"


def write(cases: Iterable[SheetCase], format: Format, language: Language) -> Iterator[bytes]:  # noqa: A002 - the contract's word
    """A file of cases with empty columns for what to do about them, in parts.

    Args:
        cases: in the order in which they are listed.
        format: ``xlsx``, or ``csv`` in UTF-8 with a byte order mark.
        language: of the headings and of what kinds, causes, states and actions are called.
    """
    headings = tuple(each.heading(language) for each in COLUMNS)
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
            "etag": ETAG + case.etag,
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
    for piece in _pieces(plain(text)):
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


def _csv(headings: tuple[str, ...], rows: Iterable[Mapping[str, Cell]]) -> Iterator[bytes]:
    table = (tuple(_written(row.get(each.key)) for each in COLUMNS) for row in rows)
    yield _MARK.encode() + _encoded([headings])
    while part := list(islice(table, _CSV_ROWS)):
        yield _encoded(part)


def _encoded(rows: Iterable[tuple[str, ...]]) -> bytes:
    held = io.StringIO(newline="")
    csv.writer(held).writerows(rows)
    return held.getvalue().encode()


def _written(cell: Cell) -> str:
    if isinstance(cell, str):
        text = plain(cell)
        return f"'{text}" if RISKY.match(text) else text
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
    for number, column in enumerate(COLUMNS):
        page.set_column(number, number, column.width, _fill_format(column, formats))


def _fill_format(column: Column, formats: _Formats) -> Any:  # noqa: ANN401 - as above
    if not column.fill:
        return None
    return formats.fill_day if column.key == "wait_until" else formats.fill


def _write_row(page: Any, number: int, row: Mapping[str, Cell], formats: _Formats) -> None:  # noqa: ANN401 - as above
    for place, column in enumerate(COLUMNS):
        cell = row.get(column.key)
        if isinstance(cell, str):
            page.write_string(number, place, plain(cell), formats.text)
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
    page.autofilter(0, 0, last, len(COLUMNS) - 1)
    for place, column in enumerate(COLUMNS):
        if last and column.fill:
            page.data_validation(1, place, last, place, _guide(column, language))


def _guide(column: Column, language: Language) -> dict[str, object]:
    """What a spreadsheet says of a cell; what its list lacks is asked about, not refused."""
    said: dict[str, object] = {"validate": "any", "input_message": column.hint(language)}
    if names := LISTS.get(column.key):
        choice = [words.word(names, name, language) for name in names]
        said |= {"validate": "list", "source": choice, "error_type": "warning"}
    return said
