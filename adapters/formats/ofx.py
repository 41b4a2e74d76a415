"""OFX and QFX statements of bank accounts and cards, versions 1 (SGML) and 2 (XML).

In version 1 a value's end tag may be left out, so a file is no XML and nothing but the names
tells an aggregate from an empty value. This reader knows the few aggregates that hold what it
wants and takes every other tag for a value: however deep a file nests, it keeps no stack of it.
"""

import re
import sys
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from adapters.amounts import AmountError, to_minor
from adapters.formats.bounds import Findings
from adapters.formats.entries import Identities, check_balances
from adapters.model import Balance, Entry, Parsed, ParseError, Statement

_MARK: Final = re.compile(rb"(?i)\A\s{0,64}OFXHEADER\s{0,8}:|<\?OFX[\s?]|<OFX>")
_HEAD_BYTES: Final = 4096
_TOKEN: Final = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9._]{0,63})[^<>]{0,64}?(?P<empty>/?)>"
    r"(?:<!\[CDATA\[(?P<literal>[^\]]{0,4096})\]\]>|(?P<text>[^<]{0,4096}))"
)
"""A tag, and the text behind it; a longer text is cut and its rest belongs to no tag."""
_TEXT_LIMIT: Final = 4096
_STATEMENTS: Final = frozenset({"STMTRS", "CCSTMTRS"})
_ACCOUNTS: Final = frozenset({"BANKACCTFROM", "CCACCTFROM"})
_PAYEES: Final = frozenset({"BANKACCTTO", "CCACCTTO"})
_TRANSACTION: Final = "STMTTRN"
_LEDGER: Final = "LEDGERBAL"
_AGGREGATES: Final = (
    _STATEMENTS
    | _ACCOUNTS
    | _PAYEES
    | frozenset({_TRANSACTION, _LEDGER, "AVAILBAL", "CURRENCY", "ORIGCURRENCY", "PAYEE"})
    | frozenset({"BANKTRANLIST", "BALLIST", "BAL", "STATUS", "FI", "OFX"})
)
_DEEPEST: Final = 16
_MOST_VALUES: Final = 200
"""Different values inside one aggregate."""
_DECLARED: Final = re.compile(
    rb"(?i)(?:CHARSET|encoding)\s{0,4}[:=]\s{0,4}[\"']?([A-Z0-9._-]{1,20}?)(?=COMPRESSION|[\"'\s?])"
)
_CHINESE: Final = frozenset({"936", "CP936", "GBK", "GB2312", "GB18030"})
_ENTITY: Final = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});")
_NAMED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " "}
_AMOUNT: Final = re.compile(r"([+-]?)([0-9]*)(?:[.,]([0-9]*))?")
_DAY: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[0-9]{2}.*)?", re.DOTALL)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


@dataclass(slots=True)
class _Frame:
    """An open aggregate that matters: its first value by name."""

    name: str
    line: int
    values: dict[str, str] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)
    """Names that were given two different values."""

    @property
    def location(self) -> str:
        return f"line {self.line}"

    def text(self, *names: str) -> str:
        """The first of these that is given, line breaks and padding folded."""
        return next((v for name in names if (v := " ".join(self.values.get(name, "").split()))), "")


@dataclass(slots=True)
class _Open:
    """One statement while it is read."""

    frame: _Frame
    account: str = ""
    closing: Balance | None = None
    entries: list[Entry] = field(default_factory=list)
    identities: Identities = field(default_factory=Identities)

    @property
    def currency(self) -> str:
        return self.frame.text("CURDEF")


def is_ofx(content: bytes) -> bool:
    """Whether the first bytes of a file say that it is OFX."""
    return bool(_MARK.search(content[:_HEAD_BYTES]))


def parse(content: bytes) -> Parsed:
    """All statements of a file, in its order.

    OFX has no opening balance, so every statement has the warning that says so.

    Raises:
        ParseError: `format_unknown`, `doctype_refused`, `nul_byte`, `nesting_too_deep`,
            `values_too_many`, `findings_too_many`.
    """
    findings = Findings()
    text = _decoded(content, findings)
    reader = _Reader(findings)
    line, at, closed = 1, 0, False
    for token in _TOKEN.finditer(text):
        line += text.count("\n", at, token.start())
        at = token.start()
        name = token["name"].upper()
        closed = closed or (bool(token["close"]) and name == "OFX")
        reader.read(name, token, line)
    if not reader.seen:
        raise ParseError("format_unknown", "no statement in the file")
    reader.end(closed)
    return Parsed("OFX", tuple(reader.statements), findings.all())


def _decoded(content: bytes, findings: Findings) -> str:
    """UTF-8 if it is that, else what the file declares; a doubt is told."""
    head = content[:_HEAD_BYTES]
    if (at := content.find(b"\0")) >= 0:
        raise ParseError("nul_byte", "a NUL byte in a text file", f"byte {at}")
    if re.search(rb"(?i)<!(?:DOCTYPE|ENTITY)", head):
        raise ParseError("doctype_refused", "a bank file carries no DOCTYPE", "line 1")
    declared = {name.decode("ascii").upper() for name in _DECLARED.findall(head)}
    for encoding in ("utf-8-sig", "gb18030" if declared & _CHINESE else "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "cp1252":
            _doubt(findings)
        return text
    _doubt(findings)
    return content.decode("latin-1")


def _doubt(findings: Findings) -> None:
    message = "not UTF-8, read as Western European: letters of names may be wrong"
    findings.warning("encoding_doubtful", message, "byte 0")


class _Reader:
    """Follows the tags; what a closed aggregate said goes to the statement it stands in."""

    def __init__(self, findings: Findings) -> None:
        self.statements: list[Statement] = []
        self.seen = False
        self._findings = findings
        self._stack: list[_Frame] = []
        self._open: _Open | None = None

    def read(self, name: str, token: re.Match[str], line: int) -> None:
        """One tag with the text behind it."""
        if token["close"]:
            if name in _AGGREGATES:
                self._close(name, line)
        elif name in _AGGREGATES and not token["empty"]:
            self._enter(name, line)
        elif self._stack:
            self._value(name, token, line)

    def end(self, closed: bool) -> None:
        """What is still open ends with the file, which was cut then."""
        if not closed:
            self._findings.error("file_cut", "the file ends without </OFX>", "line 1")
        while self._stack:
            self._leave(self._stack.pop())

    def _value(self, name: str, token: re.Match[str], line: int) -> None:
        literal, text = token["literal"], token["text"]
        value = literal if literal is not None else _unescaped(text or "")
        if len(value) >= _TEXT_LIMIT:
            message = f"{name} has {_TEXT_LIMIT} characters or more"
            self._findings.error("text_too_long", message, f"line {line}")
        value, frame = value.strip(), self._stack[-1]
        known = frame.values.get(name)
        if not known:
            if len(frame.values) == _MOST_VALUES:
                raise ParseError("values_too_many", f"inside one {frame.name}", f"line {line}")
            frame.values[name] = value
        elif value and value != known:
            frame.unclear.add(name)

    def _enter(self, name: str, line: int) -> None:
        if name in _STATEMENTS or name == _TRANSACTION:
            self._leave_unclosed(name)
        if len(self._stack) == _DEEPEST:
            raise ParseError("nesting_too_deep", "too many open aggregates", f"line {line}")
        frame = _Frame(name, line)
        self._stack.append(frame)
        if name in _STATEMENTS:
            self.seen = True
            self._open = _Open(frame)

    def _leave_unclosed(self, name: str) -> None:
        """A statement or transaction never stands inside another: the one before is over."""
        ends = _STATEMENTS if name in _STATEMENTS else {_TRANSACTION}
        while any(frame.name in ends for frame in self._stack):
            frame = self._stack.pop()
            message = f"{frame.name} has no end tag"
            self._findings.error("aggregate_unclosed", message, frame.location)
            self._leave(frame)

    def _close(self, name: str, line: int) -> None:
        if not any(frame.name == name for frame in self._stack):
            if name != "OFX":
                self._findings.warning("tag_misplaced", f"</{name}> closes nothing", f"line {line}")
            return
        while (frame := self._stack.pop()).name != name:
            self._leave(frame)
        self._leave(frame)

    def _leave(self, frame: _Frame) -> None:
        opened = self._open
        if opened is None:
            return
        parent = self._stack[-1].name if self._stack else ""
        if frame.name in _STATEMENTS:
            self._finish(opened)
        elif frame.name in _ACCOUNTS and parent in _STATEMENTS:
            opened.account = frame.text("ACCTID")
        elif frame.name == _LEDGER:
            opened.closing = self._ledger(frame, opened.currency)
        elif frame.name == _TRANSACTION:
            self._transaction(frame, opened)
        elif parent == _TRANSACTION:
            prefixed = {f"{frame.name}/{name}": value for name, value in frame.values.items()}
            self._stack[-1].values.update(prefixed)

    def _finish(self, opened: _Open) -> None:
        self._open = None
        here = opened.frame.location
        if not opened.account:
            self._findings.error("account_missing", "the statement names no account", here)
        if not _CURRENCY.fullmatch(opened.currency):
            self._findings.error("currency_missing", "the statement names no currency", here)
        total_minor = sum(entry.amount_minor for entry in opened.entries)
        self._findings.extend(check_balances(None, opened.closing, total_minor, here))
        self.statements.append(
            Statement(
                statement_id="",
                account=opened.account,
                currency=opened.currency,
                opening=None,
                closing=opened.closing,
                entries=tuple(opened.entries),
            )
        )

    def _ledger(self, frame: _Frame, currency: str) -> Balance | None:
        on = _day(frame.text("DTASOF"))
        amount_minor = self._minor(frame, "BALAMT", currency)
        if on is None:
            self._findings.warning("date_missing", "a balance without a date", frame.location)
        return None if on is None or amount_minor is None else Balance(on, amount_minor)

    def _transaction(self, frame: _Frame, opened: _Open) -> None:
        here = frame.location
        for name in sorted(frame.unclear & {"TRNAMT", "DTPOSTED", "FITID"}):
            self._findings.error("field_repeated", f"{name} is given two values", here)
        if frame.text("CORRECTFITID"):
            self._findings.error("correction", "it replaces or deletes an earlier entry", here)
        currency = frame.text("CURRENCY/CURSYM") or opened.currency
        if currency != opened.currency:
            self._findings.error("currency_differs", f"an entry in {currency[:3]}", here)
        amount_minor = self._minor(frame, "TRNAMT", currency)
        posted = _day(frame.text("DTPOSTED"))
        if posted is None:
            self._findings.error("date_missing", "DTPOSTED is no date", here)
        if amount_minor is None or posted is None:
            return
        entry = _entry(frame, replace(_NOTHING, booking_date=posted), amount_minor, currency)
        named, repeated = opened.identities.name(entry, here)
        self._findings.extend(repeated)
        opened.entries.append(named)

    def _minor(self, frame: _Frame, name: str, currency: str) -> int | None:
        try:
            return _minor(frame.values.get(name, ""), currency)
        except AmountError as wrong:
            self._findings.error("amount_invalid", f"{name}: {wrong}", frame.location)
            return None


_NOTHING: Final = Entry("", date.min, date.min, 0, "")


def _entry(frame: _Frame, dated: Entry, amount_minor: int, currency: str) -> Entry:
    return replace(
        dated,
        entry_id=frame.text("FITID"),
        value_date=_day(frame.text("DTAVAIL")) or dated.booking_date,
        amount_minor=amount_minor,
        currency=currency,
        reference=frame.text("CHECKNUM", "CHKNUM", "REFNUM"),
        counterparty_name=frame.text("NAME", "PAYEE/NAME"),
        counterparty_account=frame.text("BANKACCTTO/ACCTID", "CCACCTTO/ACCTID"),
        text=frame.text("MEMO"),
    )


def _minor(text: str, currency: str) -> int:
    """Minor units of an OFX amount: point or comma before the decimals, no thousands separator.

    Raises:
        AmountError: No such amount, or `2,000` where the comma could group thousands.
    """
    found = _AMOUNT.fullmatch("".join(text.split()))
    if found is None:
        raise AmountError("not a decimal number with one separator at most")
    sign, whole, fraction = found[1], found[2], found[3] or ""
    if "," in text and len(fraction) == len("000"):
        raise AmountError("three digits behind a comma: decimals or thousands")
    return to_minor(f"{sign}{whole}.{fraction}", currency)


def _day(text: str) -> date | None:
    """The day as the bank wrote it, in the bank's own time zone."""
    found = _DAY.fullmatch(text.strip())
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None


def _unescaped(text: str) -> str:
    """The references that banks write; an unknown one stays as it is."""
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(found: re.Match[str]) -> str:
    """The character of a reference; one that cannot be printed stays a reference."""
    name = found[1]
    if not name.startswith("#"):
        return _NAMED[name]
    digits, base = (name[2:], 16) if name[1] == "x" else (name[1:], 10)
    code = int(digits, base)
    return chr(code) if code <= sys.maxunicode and chr(code).isprintable() else found[0]
