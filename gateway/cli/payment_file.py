"""A CSV file of payments: read whole, with every fault named by its line."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.cli.frame import Complaint
from gateway.client import CallRefused
from gateway.domain.errors import FieldViolation, GatewayError
from gateway.domain.money import parse_minor

COLUMNS: Final = (
    "payee_name",
    "payee_account",
    "payee_bank_code",
    "amount",
    "purpose",
    "budget_line",
)
MAX_PAYMENTS: Final = 5000
MAX_FILE_BYTES: Final = 16 << 20
_FAULTS_SHOWN = 20
_INDEXED = re.compile(r"payments\[([0-9]{1,4})\](.*)")


@dataclass(frozen=True, slots=True)
class Request:
    """One payment as the firm asks for it.

    Attributes:
        payee_name: holder of the receiving account.
        payee_account: its number.
        payee_bank_code: 联行号 of its bank.
        amount_minor: fen.
        purpose: what for.
        budget_line: id or resource name of the budget line.
        line: line of the file it begins on, counted from 1.
    """

    payee_name: str
    payee_account: str
    payee_bank_code: str
    amount_minor: int
    purpose: str
    budget_line: str
    line: int


def read_requests(file: Path) -> tuple[Request, ...]:
    """All payments of a file, in its order.

    Raises:
        Complaint: the file or some of its lines cannot be used; names the lines.
        OSError: it cannot be read.
    """
    rows = list(_rows(_text(file)))
    faults = [fault for line, row in rows for fault in _faults(line, row)]
    if faults:
        shown = faults[:_FAULTS_SHOWN]
        raise Complaint(f"{len(faults)} fault(s) in {file.name}", "文件有误，未提交", *shown)
    if not 0 < len(rows) <= MAX_PAYMENTS:
        raise Complaint(f"{file.name} has {len(rows)} payments, 1 to 5000 go", "笔数须为 1 至 5000")
    return tuple(_request(line, row) for line, row in rows)


def name_lines(refused: CallRefused, asked: tuple[Request, ...]) -> CallRefused:
    """The same refusal with the lines of the file in place of ``payments[i]``."""
    named = tuple(
        replace(each, field=_INDEXED.sub(lambda found: _line(found, asked), each.field))
        for each in refused.violations
    )
    return CallRefused(
        refused.code, refused.reason, refused.message, refused.message_zh, named, refused.metadata
    )


def _line(found: re.Match[str], asked: tuple[Request, ...]) -> str:
    index = int(found[1])
    return f"line {asked[index].line}{found[2]}" if index < len(asked) else found[0]


def _text(file: Path) -> str:
    """The file's text: UTF-8, or what Chinese spreadsheets save, which is never valid UTF-8."""
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise Complaint(f"{file.name} is above 16 MiB", "文件过大")
    for charset in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(charset)
        except UnicodeDecodeError:
            continue
    raise Complaint(f"{file.name} is neither UTF-8 nor GB18030", "文件编码无法识别")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line it begins on, its cells in the order of `COLUMNS`."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        if sorted(heading) != sorted(COLUMNS):
            raise Complaint(f"line 1: the columns must be {', '.join(COLUMNS)}", "列名不符")
        begins = reader.line_num + 1
        for row in reader:
            if any(cell.strip() for cell in row):
                yield begins, _ordered(begins, heading, row)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise Complaint(f"line {reader.line_num}: {error}", "不是有效的 CSV 文件") from None


def _ordered(line: int, heading: list[str], row: list[str]) -> list[str]:
    if len(row) != len(heading):
        raise Complaint(f"line {line}: {len(row)} cells, not {len(heading)}", "列数不符")
    cells = dict(zip(heading, row, strict=True))
    return [cells[name].strip() for name in COLUMNS]


def _faults(line: int, row: list[str]) -> Iterator[str]:
    for name, cell in zip(COLUMNS, row, strict=True):
        if violation := _violation(name, cell):
            yield f"line {line}, {violation.field}: {violation.description}"


def _violation(name: str, cell: str) -> FieldViolation | None:
    if not cell:
        return FieldViolation(name, "is empty / 不能为空")
    if name != "amount":
        return None
    try:
        positive = parse_minor(cell) > 0
    except GatewayError as error:
        return error.violations[0]
    return None if positive else FieldViolation(name, "must be above zero / 必须大于零")


def _request(line: int, row: list[str]) -> Request:
    name, account, bank_code, amount, purpose, budget_line = row
    return Request(name, account, bank_code, parse_minor(amount), purpose, budget_line, line)
