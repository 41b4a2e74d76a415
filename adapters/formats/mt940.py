"""MT940 and MT942 statements, read with the `mt-940` library into the shapes of the model."""

import io
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import mt940

from adapters.amounts import AmountError, to_minor
from adapters.formats.entries import UNSTATED_REASON, Identities, check_balances
from adapters.model import Balance, Entry, Finding, Parsed, ParseError, Statement, error

# The library logs the fields it cannot read, with the names and accounts in them: never here.
logging.getLogger("mt940").setLevel(logging.CRITICAL + 1)

MARK: Final = re.compile(r"(?m)^[ ]?(?:\{1:|:(?:20|25|28C?|60[FM]|61|62[FM]|64|86|NS):)")
"""How a file of this family is known."""

_ENCODINGS: Final = ("utf-8-sig", "gb18030", "latin-1")
"""Tried in this order; the last accepts anything: a name's letters never decide about money."""
_OPENINGS: Final = ("final_opening_balance", "intermediate_opening_balance", "opening_balance")
_CLOSINGS: Final = ("final_closing_balance", "intermediate_closing_balance", "closing_balance")
_NO_REFERENCE: Final = frozenset({"NONREF", "NOTPROVIDED", "."})
_RETURNED_ITEM: Final = "RTI"
"""Transaction type of a returned item in field 61 (SWIFT MT940)."""
_STATEMENT_START: Final = re.compile(r"(?m)^(?=:20:)")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_WRAPPED_NUMBER: Final = re.compile(r"(?m)^(:28C?:[0-9]{1,5}/?)\n([0-9]{1,5})$")
"""Some banks wrap the statement number over two lines, which the library refuses."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The text of one statement and the line on which it starts."""

    text: str
    line: int

    @property
    def location(self) -> str:
        return f"line {self.line}"


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
        ParseError: No field of the format in it, a NUL byte, or a field that breaks its rule.
    """
    text = _WRAPPED_NUMBER.sub(r"\1\2", decode(content))
    read = [_statement(block) for block in _blocks(text)]
    if not read:
        raise ParseError("format_unknown", "no MT940 field in the file")
    statements = tuple(statement for statement, _ in read)
    return Parsed("MT940", statements, tuple(one for _, findings in read for one in findings))


def _blocks(text: str) -> Iterator[_Block]:
    """One block a `:20:`; what stands before the first is one too if it has fields."""
    line = 1
    for part in _STATEMENT_START.split(text):
        if part.startswith(":20:") or re.search(r"(?m)^:(?:[0-9]{2}|NS)[A-Z]?:", part):
            yield _Block(part, line)
        line += part.count("\n")


def _statement(block: _Block) -> tuple[Statement, list[Finding]]:
    read = _library(block)
    data = read.data
    findings: list[Finding] = []
    currency = read.currency or ""
    opening = _balance(data, _OPENINGS, block, findings)
    closing = _balance(data, _CLOSINGS, block, findings)
    entries = tuple(_entries(block, [one.data for one in read.transactions], currency, findings))
    if entries and not currency:
        findings.append(error("currency_missing", "entries without a currency", block.location))
    total_minor = sum(entry.amount_minor for entry in entries)
    findings += check_balances(opening, closing, total_minor, block.location)
    account = _text(data, "account_identification")
    if not account:
        findings.append(error("account_missing", "the statement names no account", block.location))
    return Statement(_statement_id(data), account, currency, opening, closing, entries), findings


def _library(block: _Block) -> Any:  # noqa: ANN401 - the library's own result, typed loosely there
    try:
        # A handle, never the text itself: the library opens a text that names a file.
        return mt940.parse(io.StringIO(block.text), options=mt940.Options.all())
    except Exception:  # noqa: BLE001 - whatever a library raises on hostile text
        # Without its cause, which repeats the field with the names and accounts in it.
        raise ParseError("mt940_malformed", "a field breaks its rule", block.location) from None


def _statement_id(data: Mapping[str, Any]) -> str:
    keys = ("transaction_reference", "statement_number", "sequence_number")
    return "/".join(part for key in keys if (part := _text(data, key)))


def _text(data: Mapping[str, Any], *keys: str) -> str:
    """The first of these texts that is given, with its line breaks and padding folded."""
    return next((text for key in keys if (text := " ".join(str(data.get(key) or "").split()))), "")


def _reference(data: Mapping[str, Any], key: str) -> str:
    found = _text(data, key)
    return "" if found in _NO_REFERENCE else found


def _minor(amount: Any, block: _Block) -> int:  # noqa: ANN401 - mt940.models.Amount
    try:
        return to_minor(format(amount.amount, "f"), amount.currency or "")
    except AmountError as wrong:
        raise ParseError("amount_invalid", str(wrong), block.location) from wrong


def _day(on: date) -> date:
    """A plain date: the library's own type carries more than a date should."""
    return date(on.year, on.month, on.day)


def _balance(
    data: Mapping[str, Any], keys: tuple[str, ...], block: _Block, findings: list[Finding]
) -> Balance | None:
    found = next((data[key] for key in keys if data.get(key)), None)
    if found is None or found.amount is None or found.date is None:
        return None
    if not _CURRENCY.fullmatch(found.amount.currency or ""):
        # The library takes any three characters: where a bank leaves the currency out, these are
        # the first digits of the amount.
        findings.append(error("currency_missing", "a balance without a currency", block.location))
        return None
    return Balance(_day(found.date), _minor(found.amount, block))


def _entries(
    block: _Block, rows: list[Mapping[str, Any]], currency: str, findings: list[Finding]
) -> Iterator[Entry]:
    marks = list(_entry_lines(block))
    rows = [row for row in rows if row.get("amount")]
    if len(rows) != len(marks):
        message = f"{len(marks)} lines of field 61, {len(rows)} read"
        findings.append(error("entry_lost", message, block.location))
        marks = [block.line] * len(rows)
    identities = Identities()
    for row, line in zip(rows, marks, strict=True):
        here = _Block("", line)
        entry, repeated = identities.name(_entry(row, currency, here), here.location)
        findings.extend(repeated)
        yield entry


def _entry_lines(block: _Block) -> Iterator[int]:
    for number, line in enumerate(block.text.split("\n"), block.line):
        if line.lstrip(" ").startswith(":61:"):
            yield number


def _entry(row: Mapping[str, Any], currency: str, here: _Block) -> Entry:
    value_date = _day(row["date"])
    return Entry(
        entry_id=_reference(row, "bank_reference"),
        booking_date=_day(row.get("entry_date") or value_date),
        value_date=value_date,
        amount_minor=_minor(row["amount"], here),
        currency=currency,
        reference=_reference(row, "customer_reference"),
        end_to_end_id=_reference(row, "end_to_end_reference"),
        counterparty_name=_text(row, "applicant_name"),
        counterparty_account=_text(row, "applicant_iban", "gvc_applicant_iban"),
        text=_text(row, "purpose", "transaction_details", "extra_details"),
        reversal=_text(row, "status").upper().startswith("R"),
        return_reason=UNSTATED_REASON if _text(row, "id")[1:] == _RETURNED_ITEM else "",
    )
