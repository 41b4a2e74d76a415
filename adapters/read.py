"""One door for everything a bank sends: the format is known by the content, not by the name."""

import zipfile
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import Any, Final

from adapters.formats import bai2, camt053, mt940, ofx, pain002, sheet, table, xml
from adapters.formats.bounds import check_lines
from adapters.model import MAX_FILE_BYTES, Balance, Entry, Finding, Parsed, ParseError, StatusReport

_ZIP_MARKS: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""Of an archive, and of an empty one."""
_ZIP_MEMBERS: Final = 100
_ZIP_BYTES: Final = 1 << 26
"""Of all members together."""
_TEXT_BYTES: Final = 1 << 27
"""Of a format that is decoded whole."""
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
_STATEMENT_FORMATS: Final = ("camt.052", "camt.053", "camt.054")


def parse(content: bytes, name: str = "", map_id: str | None = None, account: str = "") -> Parsed:
    """The statements in a file: camt.052/053/054, MT940/942, BAI2, OFX, CSV, .xlsx, or a zip.

    Args:
        content: The file's bytes.
        name: The file's name, only to say in an error which file it was.
        map_id: The column map of a table, see `formats.table.list_maps`; without it the one map
            whose header the table has. With it the file is a table, whatever it looks like.
        account: The account a table is of, where the table does not tell or masks it.

    Raises:
        ParseError: The file cannot be used at all; with code and location.
        LookupError: There is no such column map.
    """
    by = None if map_id is None else table.load_map(map_id)
    try:
        _check_size(content)
        if content.startswith(_ZIP_MARKS) and not sheet.is_workbook(content):
            return _unzipped(content, by, account)
        return _single(content, by, account)
    except ParseError as wrong:
        if name:
            wrong.add_note(f"in {name}")
        raise


def parse_status(content: bytes) -> StatusReport:
    """The status report in a pain.002 file.

    Raises:
        ParseError: The file cannot be used at all; with code and location.
    """
    _check_size(content)
    return pain002.parse(content)


def is_status(content: bytes) -> bool:
    """Whether a file is a pain.002, for `parse_status`, rather than statements, for `parse`."""
    return _message(content).startswith("pain.002")


def _check_size(content: bytes) -> None:
    if not content.strip():
        raise ParseError("file_empty", "nothing in the file")
    if len(content) > MAX_FILE_BYTES:
        raise ParseError("file_too_large", f"more than {MAX_FILE_BYTES} bytes")


def _message(content: bytes) -> str:
    """The ISO 20022 message of an XML file, for example `camt.053.001.08`; else empty."""
    if not _is_xml(content):
        return ""
    try:
        namespace = xml.namespace_of_document(BytesIO(content))
    except ParseError:
        return ""
    return namespace.rpartition(":")[2]


def _is_xml(content: bytes) -> bool:
    start = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith((b"<", *_UTF16_MARKS))


def _single(content: bytes, by: table.ColumnMap | None, account: str) -> Parsed:
    if by is not None:
        return table.parse(content, by, account)
    if ofx.is_ofx(content):
        _check_text(content)
        return ofx.parse(content)
    return _message_parsed(content) if _is_xml(content) else _fields(content, account)


def _message_parsed(content: bytes) -> Parsed:
    message = xml.namespace_of_document(BytesIO(content)).rpartition(":")[2]
    if message.startswith(_STATEMENT_FORMATS):
        return camt053.parse(content)
    if message.startswith("pain.002"):
        raise ParseError("format_not_statement", "a status report, not a statement", "line 1")
    raise ParseError("format_unknown", "XML of no message known here", "line 1")


def _fields(content: bytes, account: str) -> Parsed:
    """A format without tags: known by how it begins, by a field, or by a table's header."""
    if sheet.is_workbook(content):
        return table.parse(content, table.find_map(content), account)
    if bai2.MARK.match(content):
        _check_text(content)
        return bai2.parse(content)
    check_lines(content)
    _check_text(content)
    if mt940.MARK.search(mt940.decode(content)):
        return mt940.parse(content)
    return table.parse(content, table.find_map(content), account)


def _check_text(content: bytes) -> None:
    if len(content) > _TEXT_BYTES:
        raise ParseError("file_too_large", f"more than {_TEXT_BYTES} bytes")


def _unzipped(content: bytes, by: table.ColumnMap | None, account: str) -> Parsed:
    """What the members say together, in the archive's order; a broken one refuses the archive."""
    members = [_single(member, by, account) for member in _members(content)]
    if not members:
        raise ParseError("file_empty", "no file in the archive")
    return Parsed(
        format="+".join(dict.fromkeys(one.format for one in members)),
        statements=tuple(statement for one in members for statement in one.statements),
        findings=tuple(finding for one in members for finding in one.findings),
    )


def _members(content: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            left_bytes = _ZIP_BYTES
            for info in _files(archive):
                member = _member(archive, info, left_bytes)
                left_bytes -= len(member)
                yield member
    except ParseError:
        raise
    except Exception as wrong:
        raise ParseError("zip_malformed", "the archive cannot be read") from wrong


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    files = [info for info in archive.infolist() if not info.is_dir()]
    if len(files) > _ZIP_MEMBERS:
        raise ParseError("zip_too_large", f"more than {_ZIP_MEMBERS} members")
    return files


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, left_bytes: int) -> bytes:
    with archive.open(info) as file:
        # The bound is on what comes out, whatever the archive says of its sizes.
        member = file.read(left_bytes + 1)
    if len(member) > left_bytes:
        raise ParseError("zip_too_large", f"more than {_ZIP_BYTES} bytes in the archive")
    _check_size(member)
    return member


def to_json(parsed: Parsed) -> dict[str, Any]:
    """What `xinyi bank parse --json` prints: dates in ISO form, amounts signed minor units."""
    return {
        "statements": [
            {
                "statement_id": statement.statement_id,
                "account": statement.account,
                "currency": statement.currency,
                "opening": _balance_json(statement.opening),
                "closing": _balance_json(statement.closing),
                "entries": [_entry_json(entry) for entry in statement.entries],
            }
            for statement in parsed.statements
        ],
        "findings": [_finding_json(finding) for finding in parsed.findings],
    }


def _balance_json(balance: Balance | None) -> dict[str, Any] | None:
    if balance is None:
        return None
    return {"date": balance.date.isoformat(), "amount_minor": balance.amount_minor}


def _entry_json(entry: Entry) -> dict[str, Any]:
    values = ((name, getattr(entry, name)) for name in Entry.__dataclass_fields__)
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values}


def _finding_json(finding: Finding) -> dict[str, str]:
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "message": finding.message,
        "location": finding.location,
    }
