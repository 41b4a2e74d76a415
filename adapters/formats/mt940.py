"""MT940 and MT942 statements: the fields of SWIFT's customer statement message.

Banks stretch the format; what is accepted beyond it is what the `mt-940` library accepts with all
its options on, and the tests compare the two on that library's own files. Field 86 is read as
free text, or by its subfields (?20, ?31, ?32, ... and inside them EREF+, SVWZ+, ...) where it
starts with a three-digit code and a subfield.
"""

import calendar
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

from adapters.amounts import AmountError, to_minor
from adapters.formats.bounds import MAX_FINDINGS
from adapters.formats.entries import UNSTATED_REASON, Identities, check_balances
from adapters.model import (
    Balance,
    Entry,
    Finding,
    Parsed,
    ParseError,
    Severity,
    Statement,
    error,
)

MARK: Final = re.compile(r"(?m)^[ ]?(?:\{1:|:(?:20|25|28C?|60[FM]|61|62[FM]|64|86|NS):)")
"""How a file of this family is known."""

_ENCODINGS: Final = ("utf-8-sig", "gb18030", "latin-1")
"""Tried in this order; the last accepts anything: a name's letters never decide about money."""
_NO_REFERENCE: Final = frozenset({"NONREF", "NOTPROVIDED", "."})
_RETURNED_ITEM: Final = "RTI"
"""Transaction type of a returned item in field 61 (SWIFT MT940)."""
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

_FIELD: Final = re.compile(r"\n:((?:13|20|21|25|28|34|60|61|62|64|65|86|90|NS)[A-Z]?):")
"""What begins a field; the two figures and the letter are its tag."""
_NOTHING: Final = ("", "-")
"""Lines that belong to no field."""
_START: Final = "20"
_OPENINGS: Final = ("60F", "60M", "60")
_CLOSINGS: Final = ("62F", "62M", "62")
_BALANCES: Final = frozenset((*_OPENINGS, *_CLOSINGS, "64", "65"))
_CURRENCY_FROM: Final = ("60F", "60", "60M", "64", "65", "62F", "62", "62M")
"""Where the currency of a statement is looked for, then in the floor limits of field 34."""

_BALANCE: Final = re.compile(r"(?i)([DC])([0-9]{6})(.{3})([0-9,]{0,16})")
_FLOOR_LIMIT: Final = re.compile(r"(?i)([A-Z]{3})([DC ]?)([0-9,]{0,16})")
_NUMBER: Final = re.compile(r"([0-9]{1,5})/?\n?([0-9]{1,5})?")
"""Some banks wrap the number of a statement over two lines."""
_ENTRY: Final = re.compile(
    r"(?i)([0-9]{6})([0-9]{4}|\s{4}|\s{2})?(R?[DC])[A-Z]?[\n ]?([0-9,]{1,15})([A-Z][A-Z0-9 ]{3})?"
)
_REFERENCE_CHARS: Final = 16
_BANK_REFERENCE_CHARS: Final = 23
_TRANSACTION_REFERENCE_CHARS: Final = 16
_ACCOUNT_CHARS: Final = 35
_YEAR_END_DAYS: Final = 330
"""An entry date this far from its value date lies in the year before or after."""

_STRUCTURED: Final = re.compile(r"[0-9]{3}\?[0-9]{2}")
_KEYWORDS: Final = frozenset(
    (
        *("IBAN", "BIC ", "EREF", "MREF", "CRED", "PURP", "SVWZ", "MDAT", "ABWA"),
        *("ABWE", "SQTP", "ORCR", "ORMR", "DDAT", "KREF", "DEBT", "COAM", "OAMT"),
    )
)
"""Of the texts inside subfields ?20 to ?29, by the German banks' common convention."""
_KEYWORD_CHARS: Final = 4
_BARE_LABELS: Final = (" BIC", " IBAN")
"""What some banks leave at the end of a subfield without a value."""


class _Field(NamedTuple):
    """One field: its tag with its letter, its text without empty lines, and its line from 1."""

    tag: str
    text: str
    line: int
    details: list[str]
    """Of a field 61: the texts of the fields 86 that follow it."""

    @property
    def location(self) -> str:
        return f"line {self.line}"

    def malformed(self) -> ParseError:
        """Without the text of the field, which may name people."""
        return ParseError("mt940_malformed", f"field {self.tag} breaks its rule", self.location)


class _Money(NamedTuple):
    """A balance before its currency is looked at."""

    on: date
    debit: bool
    currency: str
    amount: str
    field: _Field


@dataclass(slots=True)
class _Block:
    """The fields of one statement and the line on which it starts."""

    line: int
    heads: list[_Field] = field(default_factory=list)
    rows: list[_Field] = field(default_factory=list)
    """The fields 61."""

    @property
    def location(self) -> str:
        return f"line {self.line}"

    def add(self, tag: str, text: str, line: int) -> None:
        """A field 86 belongs to the last field 61; before any it has nowhere to go."""
        if tag == "61":
            self.rows.append(_Field(tag, text, line, []))
        elif tag != "86":
            self.heads.append(_Field(tag, text, line, []))
        elif self.rows:
            self.rows[-1].details.append(text)


def decode(content: bytes) -> str:
    """The text of a file that declares no encoding, lines ended by a line feed.

    Raises:
        ParseError: `nul_byte`: no bank writes one.
    """
    if (at := content.find(b"\0")) >= 0:
        raise ParseError("nul_byte", "a NUL byte in a text file", f"byte {at}")
    for encoding in _ENCODINGS:
        try:
            return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def parse(content: bytes) -> Parsed:
    """All statements of a file, in its order.

    Raises:
        ParseError: No field of the format in it, a NUL byte, a field that breaks its rule, or
            `findings_too_many`: more errors than a file of a bank has.
    """
    statements: list[Statement] = []
    findings: list[Finding] = []
    for item in _bounded(_items(decode(content))):
        if isinstance(item, Statement):
            statements.append(item)
        else:
            findings.append(item)
    if not statements:
        raise ParseError("format_unknown", "no MT940 field in the file")
    return Parsed("MT940", tuple(statements), tuple(findings))


def _items(text: str) -> Iterator[Statement | Finding]:
    yield from _indented(text)
    for block in _blocks(text):
        statement, findings = _statement(block)
        yield statement
        yield from findings


def _bounded(items: Iterable[Statement | Finding]) -> Iterator[Statement | Finding]:
    """Warnings are not counted: a bank may use one serial for any number of entries."""
    errors = 0
    for item in items:
        if isinstance(item, Finding) and item.severity is Severity.ERROR:
            errors += 1
            if errors > MAX_FINDINGS:
                message = f"more than {MAX_FINDINGS} errors, the last is {item.code}"
                raise ParseError("findings_too_many", message, item.location)
        yield item


def _blocks(text: str) -> Iterator[_Block]:
    """One block a `:20:`; what stands before the first is one too if it has fields."""
    block: _Block | None = None
    for tag, content, line in _fields(text):
        if block is None or tag == _START:
            if block is not None:
                yield block
            block = _Block(line if tag == _START else 1)
        block.add(tag, content, line)
    if block is not None:
        yield block


def _fields(text: str) -> Iterator[tuple[str, str, int]]:
    """Tag, text and line of the fields known here; any other is part of the text before it.

    Empty lines, ends of lines and the `-` that ends a message are no part of a text.
    """
    ended = "\n".join(map(str.rstrip, _tags_unbroken(text).split("\n")))
    parts = iter(_FIELD.split(f"\n{ended}"))
    line = 1 + next(parts).count("\n")
    for mark, part in zip(parts, parts, strict=True):
        yield _tag(mark), _tidied(part), line
        line += 1 + part.count("\n")


def _tidied(text: str) -> str:
    """Without the lines that say nothing; but the first line is the field's, whatever it says."""
    if "\n\n" in text or "-\n" in text or text.endswith("-"):
        first, _, below = text.partition("\n")
        kept = (line for line in below.split("\n") if line.strip() not in _NOTHING)
        text = "\n".join([first, *kept])
    return text.strip()


def _tags_unbroken(text: str) -> str:
    """Some banks end the line after the first colon of a tag; the line count stays the same."""
    return text.replace("\n:\n", "\n\n:")


@lru_cache(maxsize=512)
def _tag(mark: str) -> str:
    """As it is written in a balance; otherwise a letter says nothing that is read here."""
    return mark if mark in _BALANCES else mark[:2]


def _indented(text: str) -> Iterator[Finding]:
    """A field 61 that does not start its line is not read as one."""
    if " :61:" not in text:
        return
    line, counted = 1, 0
    for found in re.finditer(r"(?m)^ {1,9}:61:", text):
        line += text.count("\n", counted, found.start())
        counted = found.start()
        yield error("entry_lost", "a field 61 does not start its line", f"line {line}")


def _statement(block: _Block) -> tuple[Statement, list[Finding]]:
    last = {one.tag: one.text for one in block.heads}
    money = {one.tag: _money(one) for one in block.heads if one.tag in _BALANCES}
    currency = _statement_currency(money, block.heads)
    findings: list[Finding] = []
    opening = _balance(money, _OPENINGS, findings)
    closing = _balance(money, _CLOSINGS, findings)
    entries = tuple(_entries(block, currency, findings))
    if entries and not currency:
        findings.append(error("currency_missing", "entries without a currency", block.location))
    total_minor = sum(entry.amount_minor for entry in entries)
    findings += check_balances(opening, closing, total_minor, block.location)
    account = _folded(last.get("25", "").partition("\n")[0][:_ACCOUNT_CHARS])
    if not account:
        findings.append(error("account_missing", "the statement names no account", block.location))
    return Statement(_statement_id(block), account, currency, opening, closing, entries), findings


def _statement_id(block: _Block) -> str:
    """Our reference of the message, the number of the statement and of its page."""
    reference, numbers = "", ("", "")
    for one in block.heads:
        if one.tag == _START:
            reference = one.text.partition("\n")[0][:_TRANSACTION_REFERENCE_CHARS]
        elif one.tag == "28":
            found = _NUMBER.fullmatch(one.text)
            if found is None:
                raise one.malformed()
            numbers = (found[1], found[2] or "")
    return "/".join(part for part in (_folded(reference), *numbers) if part)


def _folded(text: str) -> str:
    """With its line breaks and padding folded."""
    return " ".join(text.split()) if text else ""


def _money(one: _Field) -> _Money:
    found = _BALANCE.match(one.text)
    on = None if found is None else _day(found[2])
    if found is None or on is None or not found[4]:
        raise one.malformed()
    return _Money(on, found[1] in "Dd", found[3], found[4], one)


@lru_cache(maxsize=512)
def _day(written: str) -> date | None:
    """The date of YYMMDD."""
    try:
        return date(2000 + int(written[:2]), int(written[2:4]), int(written[4:]))
    except ValueError:
        return None


def _statement_currency(money: dict[str, _Money], fields: list[_Field]) -> str:
    for tag in _CURRENCY_FROM:
        if tag in money:
            return money[tag].currency
    limits = [_FLOOR_LIMIT.fullmatch(one.text) for one in fields if one.tag == "34"]
    return next((found[1] for found in limits if found is not None), "")


def _balance(
    money: dict[str, _Money], tags: tuple[str, ...], findings: list[Finding]
) -> Balance | None:
    found = next((money[tag] for tag in tags if tag in money), None)
    if found is None:
        return None
    if not _CURRENCY.fullmatch(found.currency):
        # Any three characters are taken: where a bank leaves the currency out, these are the
        # first digits of the amount.
        here = found.field.location
        findings.append(error("currency_missing", "a balance without a currency", here))
        return None
    amount_minor = _minor(found.amount, found.currency, found.field)
    return Balance(found.on, -amount_minor if found.debit else amount_minor)


def _minor(amount: str, currency: str, one: _Field) -> int:
    try:
        return to_minor(amount.replace(",", "."), currency)
    except AmountError as wrong:
        raise ParseError("amount_invalid", str(wrong), one.location) from wrong


def _entries(block: _Block, currency: str, findings: list[Finding]) -> Iterator[Entry]:
    identities = Identities(held=True)
    for row in block.rows:
        content = _content(row, currency, findings)
        entry_id = identities.id_of(content)
        findings.extend(identities.repeated(content[0], entry_id, row.location))
        yield Entry(entry_id, *content[1:])


def _content(row: _Field, currency: str, findings: list[Finding]) -> tuple[Any, ...]:
    """The values of an entry in the order of its fields; its id is the bank's or empty."""
    found = _ENTRY.match(row.text)
    if found is None:
        raise row.malformed()
    written, entry_day, mark, amount, kind = found.groups()
    if not kind:
        message = "a field 61 has no transaction type: it may have been cut"
        findings.append(error("entry_lost", message, row.location))
    days = _days(written, entry_day)
    if days is None:
        raise row.malformed()
    booking_date, value_date = days
    amount_minor = _minor(amount, currency, row)
    mark = mark.upper()
    reference, bank_reference, supplement = _references(row.text[found.end() :])
    details = _details(row.details)
    added = details.get("KREF", "")
    text = details.get(_PURPOSE) or details.get(_FREE) or supplement
    return (
        _given(bank_reference),
        booking_date,
        value_date,
        -amount_minor if mark in _DEBITS else amount_minor,
        currency,
        _given(f"{reference} {added}" if added else reference),
        _given(details.get("EREF", "")),
        "",
        _folded(details.get(_NAME, "")),
        _folded(details.get(_ACCOUNT) or details.get("IBAN", "")),
        _folded(text),
        mark in _REVERSALS,
        UNSTATED_REASON if kind and kind[1:].strip() == _RETURNED_ITEM else "",
    )


_DEBITS: Final = frozenset({"D", "RC"})
_REVERSALS: Final = frozenset({"RC", "RD"})


def _given(reference: str) -> str:
    found = " ".join(reference.split())
    return "" if found in _NO_REFERENCE else found


@lru_cache(maxsize=512)
def _days(written: str, entry_day: str | None) -> tuple[date, date] | None:
    """Booking and value date of YYMMDD and MMDD; None if one is no date."""
    value_date = _bounded_day(written)
    if value_date is None:
        return None
    booking_date = _booking_date(value_date, entry_day)
    return None if booking_date is None else (booking_date, value_date)


def _bounded_day(written: str) -> date | None:
    """The date of YYMMDD; a February of thirty days, which some banks count by, ends earlier."""
    if written[2:4] != "02":
        return _day(written)
    last = calendar.monthrange(2000 + int(written[:2]), 2)[1]
    return _day(f"{written[:4]}{min(int(written[4:]), last):02}")


def _booking_date(value_date: date, entry_day: str | None) -> date | None:
    """The date of MMDD in the year of the value date, or in the next or last one near its end."""
    if entry_day is None or not entry_day.strip():
        return value_date
    booked = _day(f"{value_date.year % 100:02}{entry_day}")
    if booked is None or abs((value_date - booked).days) < _YEAR_END_DAYS:
        return booked
    year = value_date.year + (1 if value_date > booked else -1)
    return _day(f"{year % 100:02}{entry_day}")


def _references(rest: str) -> tuple[str, str, str]:
    """What follows the transaction type: our reference, the bank's behind `//`, and the rest."""
    line, _, below = rest.partition("\n")
    ours, slashes, after = line.partition("//")
    if len(ours) > _REFERENCE_CHARS:
        return ours[:_REFERENCE_CHARS], "", f"{line[_REFERENCE_CHARS:]} {below}"
    if not slashes:
        return ours, "", below
    return ours, after[:_BANK_REFERENCE_CHARS], f"{after[_BANK_REFERENCE_CHARS:]} {below}"


_FREE, _PURPOSE, _NAME, _ACCOUNT = "free", "purpose", "name", "account"
_PURPOSE_LINE: Final = re.compile(r"\?(2[^?])([^?]*)")
_OTHER_SIDE: Final = re.compile(r"\?(3[123])([^?]*)")
"""Subfields by their two figures: ?31 the account, ?32 and ?33 the name."""


def _details(texts: list[str]) -> dict[str, str]:
    """The texts of an entry's fields 86 by what they are; one that comes again is added."""
    found = _detail_texts(texts[0]) if texts else {}
    for one in texts[1:]:
        for key, text in _detail_texts(one).items():
            before = found.get(key)
            found[key] = f"{before}\n{text.strip()}" if before else text
    return found


def _detail_texts(text: str) -> dict[str, str]:
    joined = text.replace("\n", "")
    if _STRUCTURED.match(joined) is None:
        return {_FREE: text}
    # In the order of their first coming; the last of a name counts.
    lines = dict(_PURPOSE_LINE.findall(joined))
    if " BIC" in joined or " IBAN" in joined:
        lines = {key: _unlabelled(key, line) for key, line in lines.items()}
    purpose = "".join(lines.values())
    other_side = dict(_OTHER_SIDE.findall(joined))
    texts = _keyworded(purpose) if "+" in purpose else {}
    if not texts:
        texts[_PURPOSE] = purpose.removesuffix(" BIC")
    texts[_NAME] = other_side.get("32", "") + other_side.get("33", "")
    texts[_ACCOUNT] = other_side.get("31", "")
    return texts


def _unlabelled(key: str, text: str) -> str:
    if not text.endswith(_BARE_LABELS) or key == "20":
        return text
    return text.rpartition(" ")[0].rstrip()


def _keyworded(purpose: str) -> dict[str, str]:
    """The texts behind keywords such as `EREF+`; none if there is no keyword."""
    texts: dict[str, str] = {}
    keyword, text = "", ""
    parts = purpose.split("+")
    last = parts.pop()
    for part in parts:
        if part[-_KEYWORD_CHARS:] in _KEYWORDS:
            texts[keyword] = text + part[:-_KEYWORD_CHARS]
            keyword, text = part[-_KEYWORD_CHARS:], ""
        else:
            text += f"{part}+"
    texts[keyword] = text + last
    del texts[""]  # what stands before the first keyword is part of no text
    if "SVWZ" in texts:
        texts[_PURPOSE] = texts.pop("SVWZ").removesuffix(" BIC")
    return texts
