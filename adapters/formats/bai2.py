"""BAI2 balance reports (BAI Cash Management Balance Reporting, version 2).

A file is groups, a group is accounts, an account is balances and entries; each level ends in a
trailer with a control total and counts, and all of them are checked. Amounts are whole minor
units without a decimal point, as the specification says.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import Final

from adapters.formats.bounds import Findings, check_lines, lines
from adapters.formats.entries import Identities, check_balances
from adapters.formats.mt940 import decode
from adapters.model import (
    Balance,
    Entry,
    Finding,
    Parsed,
    ParseError,
    Statement,
    error,
)

MARK: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,16}01,")
"""How a file begins."""

_CODES: Final = ("01", "02", "03", "16", "49", "88", "98", "99")
_BLOCKED: Final = re.compile(r"/[ \t]+(?=(?:01|02|03|16|49|88|98|99),)")
"""Where one record ends and the next begins in a file that writes several on one line."""
_AMOUNT: Final = re.compile(r"[+-]?[0-9]{1,18}")
_TYPE: Final = re.compile(r"[0-9]{1,3}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_GROUP_STATUS: Final = {"2": "a deletion", "3": "a correction", "4": "a test"}
_UPDATE: Final = "1"
_INTERIM: Final = frozenset({"1", "3"})
"""As-of-date modifiers of a day that is not over."""
_DEFAULT_CURRENCY: Final = "USD"
"""The specification's own, for a group that names none."""
_WRAPS: Final = 10
"""Lines without a code that one record may have."""
_OPENING_LEDGER, _CLOSING_LEDGER = 10, 15
_TOTAL_CREDITS, _TOTAL_DEBITS = 100, 400
_CREDITS: Final = range(100, 400)
_DEBITS: Final = range(400, 700)
_CUSTOM_CREDITS: Final = range(920, 960)
_CUSTOM_DEBITS: Final = range(960, 1000)
_NOT_MONEY: Final = 890


@dataclass(frozen=True, slots=True)
class _Record:
    """One logical record: its own line and the 88s behind it."""

    code: str
    lines: tuple[str, ...]
    """Without the record code, in order."""
    line: int
    physical: int
    """How many records the trailers count it as."""
    wrapped: int
    """How many of its lines begin with no record code."""

    @property
    def location(self) -> str:
        return f"line {self.line}"

    @property
    def fields(self) -> list[str]:
        return [value.strip() for line in self.lines for value in _bare(line).split(",")]


@dataclass(slots=True)
class _Level:
    """What a trailer must agree with: of one account, one group or the file."""

    total_minor: int = 0
    parts: int = 0
    records: int = 0


@dataclass(slots=True)
class _Group:
    """What an account takes from its group."""

    as_of: date | None = None
    currency: str = _DEFAULT_CURRENCY


@dataclass(slots=True)
class _Account:
    """One account while it is read."""

    record: _Record
    account: str
    currency: str
    amounts: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Amount and item count by type code, for balances and summaries."""
    entries: list[Entry] = field(default_factory=list)
    identities: Identities = field(default_factory=Identities)


def parse(content: bytes) -> Parsed:
    """All accounts of a file, in its order.

    Raises:
        ParseError: `format_unknown`: no BAI2 file header; `nul_byte`; `version_unknown`;
            `line_too_long`; `findings_too_many`.
    """
    check_lines(content)
    records = _logical(_physical(decode(content)))
    header = next(records, None)
    if header is None or header.code != "01":
        raise ParseError("format_unknown", "no BAI2 file header", "line 1")
    if _at(header.fields, 7) != "2":
        raise ParseError("version_unknown", "not version 2 of the format", header.location)
    reader = _Reader()
    for record in chain((header,), records):
        reader.read(record)
    reader.end()
    return Parsed("BAI2", tuple(reader.statements), reader.findings.all())


def _physical(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a file of several records a line is taken apart.

    Only when its first line shows that it is such a file: in any other, what looks like a record
    inside a line is a payer's text.
    """
    blocked = bool(_BLOCKED.search(next(lines(text), "")))
    for number, line in enumerate(lines(text), 1):
        parts = _BLOCKED.sub("/\n", line).split("\n") if blocked else [line]
        yield from ((number, part.strip()) for part in parts if part.strip())


def _logical(physical: Iterator[tuple[int, str]]) -> Iterator[_Record]:
    """Records with their continuations; what has no known code is a record of its own.

    A line without a code behind one that did not end is the rest of it: some banks wrap lines.
    """
    code, first, parts, wrapped = "", 0, [""], 0
    for number, text in physical:
        known = text[:2] if text[2:3] == "," and text[:2] in _CODES else ""
        if known == "88" and code:
            parts.append(text[3:])
        elif not known and code and wrapped < _WRAPS and not parts[-1].endswith("/"):
            parts[-1] += f" {text}"
            wrapped += 1
        else:
            if code:
                yield _Record(code, tuple(parts), first, len(parts), wrapped)
            code, first, parts, wrapped = known or "?", number, [text[3:]], 0
    if code:
        yield _Record(code, tuple(parts), first, len(parts), wrapped)


def _bare(line: str) -> str:
    """A record's line without the slash that ends it."""
    return line.rstrip().removesuffix("/")


def _at(fields: Sequence[str], index: int) -> str:
    return fields[index] if index < len(fields) else ""


def _amount(text: str) -> int | None:
    return int(text) if _AMOUNT.fullmatch(text) else None


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%y%m%d").date() if len(text) == 6 else None  # noqa: DTZ007, PLR2004 - a bank's day, YYMMDD
    except ValueError:
        return None


class _Reader:
    """Reads record after record; knows the open group and account and the three sums."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.findings = Findings()
        self._file, self._group_level, self._account_level = _Level(), _Level(), _Level()
        self._group: _Group | None = None
        self._account: _Account | None = None
        self._closed = False
        self._readers = {
            "01": self._open_file,
            "02": self._open_group,
            "03": self._open_account,
            "16": self._detail,
            "49": self._close_account,
            "98": self._close_group,
            "99": self._close_file,
        }

    def read(self, record: _Record) -> None:
        """One record; its numbers count before its trailer is compared."""
        if self._closed:
            self._error("record_misplaced", "a record behind the file trailer", record)
            return
        for level in (self._file, self._group_level, self._account_level):
            level.records += record.physical
        if record.wrapped:
            message = f"{record.wrapped} lines without a code taken as the rest of this record"
            self.findings.warning("record_wrapped", message, record.location)
        self._readers.get(record.code, self._unknown)(record)

    def _unknown(self, record: _Record) -> None:
        self._error("record_unknown", "no record code of the format", record)

    def end(self) -> None:
        """The file must have ended in its trailer: else it was cut."""
        if self._account is not None:
            self._finish_account()
        if not self._closed:
            self.findings.error("trailer_missing", "no file trailer: cut?", "line 1")

    def _error(self, code: str, message: str, record: _Record) -> None:
        self.findings.error(code, message, record.location)

    def _open_file(self, record: _Record) -> None:
        if self._file.records > record.physical:
            self._error("record_misplaced", "a second file header", record)

    def _open_group(self, record: _Record) -> None:
        if self._group is not None:
            self._error("trailer_missing", "the group before has no trailer", record)
            self._leave_group()
        self._group_level = _Level(records=record.physical)
        fields = record.fields
        status, modifier = _at(fields, 2), _at(fields, 6)
        if status != _UPDATE:
            what = _GROUP_STATUS.get(status, "of unknown status")
            self._error("group_not_update", f"the group is {what}", record)
        if modifier in _INTERIM:
            message = "the day of these balances is not over"
            self.findings.warning("statement_interim", message, record.location)
        as_of = _day(_at(fields, 3))
        if as_of is None:
            self._error("date_invalid", "as-of date is not YYMMDD", record)
        self._group = _Group(as_of, _at(fields, 5) or _DEFAULT_CURRENCY)

    def _open_account(self, record: _Record) -> None:
        if self._account is not None:
            self._error("trailer_missing", "the account before has no trailer", record)
            self._finish_account()
        if self._group is None:
            self._error("record_misplaced", "an account outside any group", record)
            self._group = _Group()
        self._account_level = _Level(records=record.physical)
        fields = record.fields
        currency = _at(fields, 1) or self._group.currency
        if not _CURRENCY.fullmatch(currency):
            self._error("currency_invalid", "currency is not three letters", record)
        self._account = _Account(record, _at(fields, 0), currency)
        if not self._account.account:
            self._error("account_missing", "the account record names none", record)
        self._summaries(self._account, fields[2:], record)

    def _summaries(self, account: _Account, fields: Sequence[str], record: _Record) -> None:
        """Type, amount, item count, funds type and what this one carries, again and again."""
        at = 0
        while at < len(fields):
            if not fields[at]:
                at += 1  # padding: some banks leave a whole balance out, or end in a comma more
                continue
            kind, amount, count = fields[at], _at(fields, at + 1), _at(fields, at + 2)
            at += 3 + _funds_width(fields, at + 3)
            amount_minor = _amount(amount) if amount else 0
            if not _TYPE.fullmatch(kind) or amount_minor is None:
                self._error("amount_invalid", "a balance is not a type and an amount", record)
                return
            self._account_level.total_minor += amount_minor
            if amount:
                account.amounts.setdefault(int(kind), (amount_minor, count))

    def _detail(self, record: _Record) -> None:
        account, group = self._account, self._group
        if account is None or group is None:
            self._error("record_misplaced", "an entry outside any account", record)
            return
        fields = _bare(record.lines[0]).split(",")
        kind, amount = _at(fields, 0).strip(), _at(fields, 1).strip()
        amount_minor = _amount(amount) if amount else 0
        if amount_minor is None or amount_minor < 0:
            self._error("amount_invalid", "the entry's amount is not digits", record)
            return
        self._account_level.total_minor += amount_minor
        sign = _sign(kind)
        if sign is None:
            self._error("direction_unknown", "no credit or debit by its type code", record)
        elif group.as_of is None:
            self._error("date_missing", "left out: its group has no date", record)
        elif sign:
            self._append(account, _entry(fields, record, account, group.as_of, sign), record)

    def _append(self, account: _Account, entry: Entry, record: _Record) -> None:
        named, repeated = account.identities.name(entry, record.location)
        self.findings.extend(repeated)
        account.entries.append(named)

    def _close_account(self, record: _Record) -> None:
        if self._account is None:
            self._error("record_misplaced", "an account trailer without its account", record)
            return
        self._compare(record, self._account_level, counts=(1,))
        self._group_level.total_minor += self._account_level.total_minor
        self._group_level.parts += 1
        self._finish_account()

    def _finish_account(self) -> None:
        account, group = self._account, self._group
        self._account = None
        if account is None or group is None:
            return
        opening = _balance(account, _OPENING_LEDGER, group.as_of)
        closing = _balance(account, _CLOSING_LEDGER, group.as_of)
        here = account.record.location
        total_minor = sum(entry.amount_minor for entry in account.entries)
        self.findings.extend(check_balances(opening, closing, total_minor, here))
        self.findings.extend(_summary_findings(account))
        statement_id = group.as_of.isoformat() if group.as_of else ""
        entries = tuple(account.entries)
        self.statements.append(
            Statement(statement_id, account.account, account.currency, opening, closing, entries)
        )

    def _close_group(self, record: _Record) -> None:
        if self._group is None:
            self._error("record_misplaced", "a group trailer without its group", record)
            return
        if self._account is not None:
            self._error("trailer_missing", "the account before has no trailer", record)
            self._finish_account()
        self._compare(record, self._group_level, counts=(1, 2))
        self._leave_group()

    def _leave_group(self) -> None:
        if self._account is not None:
            self._finish_account()
        self._file.total_minor += self._group_level.total_minor
        self._file.parts += 1
        self._group = None

    def _close_file(self, record: _Record) -> None:
        if self._group is not None:
            self._error("trailer_missing", "the group before has no trailer", record)
            self._leave_group()
        self._compare(record, self._file, counts=(1, 2))
        self._closed = True

    def _compare(self, record: _Record, level: _Level, counts: tuple[int, ...]) -> None:
        """A trailer's total and counts against what was read; the last count is of records."""
        fields = record.fields
        stated = _at(fields, 0)
        if not stated:
            message = "the trailer states no control total"
            self.findings.warning("control_total_missing", message, record.location)
        elif _amount(stated) != level.total_minor:
            message = f"control total differs from the {level.total_minor} that was read"
            self._error("control_total_differs", message, record)
        *parts, records = counts
        read = [*((index, level.parts) for index in parts), (records, level.records)]
        for index, number in read:
            if _amount(_at(fields, index)) != number:
                message = f"count {index} of the trailer is not the {number} read"
                self._error("control_count_differs", message, record)


def _funds_width(fields: Sequence[str], at: int) -> int:
    """How many fields a funds type and what it carries take."""
    match _at(fields, at):
        case "S":
            return 4
        case "V":
            return 3
        case "D":
            count = _at(fields, at + 1)
            return 2 + 2 * (int(count) if re.fullmatch(r"[0-9]{1,3}", count) else 0)
        case _:
            return 1


def _sign(kind: str) -> int | None:
    """Of a type code: 1 credit, -1 debit, 0 no money, None not known."""
    code = int(kind) if _TYPE.fullmatch(kind) else -1
    if code in _CREDITS or code in _CUSTOM_CREDITS:
        return 1
    if code in _DEBITS or code in _CUSTOM_DEBITS:
        return -1
    return 0 if code == _NOT_MONEY else None


def _entry(
    fields: Sequence[str], record: _Record, account: _Account, as_of: date, sign: int
) -> Entry:
    """The entry of a detail record; the text is what follows the references, with every 88."""
    references = 2 + _funds_width([value.strip() for value in fields], 2)
    first = ",".join(fields[references + 2 :])
    text = " ".join(" ".join((first, *(_bare(line) for line in record.lines[1:]))).split())
    valued = _day(_at(fields, 3).strip()) if _at(fields, 2).strip() == "V" else None
    return Entry(
        entry_id=_at(fields, references).strip(),
        booking_date=as_of,
        value_date=valued or as_of,
        amount_minor=sign * int(_at(fields, 1).strip() or "0"),
        currency=account.currency,
        reference=_at(fields, references + 1).strip(),
        text=text,
    )


def _balance(account: _Account, kind: int, as_of: date | None) -> Balance | None:
    found = account.amounts.get(kind)
    return None if found is None or as_of is None else Balance(as_of, found[0])


def _summary_findings(account: _Account) -> Iterator[Finding]:
    """The bank's own totals of credits and debits against the entries."""
    for kind, sign in ((_TOTAL_CREDITS, 1), (_TOTAL_DEBITS, -1)):
        if kind not in account.amounts:
            continue
        stated_minor, count = account.amounts[kind]
        amounts = [sign * e.amount_minor for e in account.entries if sign * e.amount_minor > 0]
        wrong_count = bool(count) and _amount(count) != len(amounts)
        if stated_minor != sum(amounts) or wrong_count:
            message = f"summary {kind} differs from the {len(amounts)} entries of its side"
            yield error("summary_differs", message, account.record.location)
