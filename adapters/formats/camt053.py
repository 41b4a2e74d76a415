"""camt.053, the statement (and camt.052, camt.054 where they say the same), versions 1 to 13.

`stream` reads with bounded memory; `parse` gathers what it yields; `render` writes .001.08 for
the simulator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from io import BytesIO
from typing import BinaryIO, Final, TypeAlias

from adapters.amounts import AmountError, to_minor, to_text
from adapters.formats import xml
from adapters.formats.entries import UNSTATED_REASON, Identities, check_balances
from adapters.model import (
    Balance,
    Entry,
    Finding,
    Parsed,
    ParseError,
    Statement,
    error,
    warning,
)

VERSION: Final = "camt.053.001.08"
NOT_PROVIDED: Final = "NOTPROVIDED"

_STATEMENTS: Final = ("Stmt", "Rpt", "Ntfctn")
_ROOTS: Final = {"Stmt": "camt.053", "Rpt": "camt.052", "Ntfctn": "camt.054"}
_BOOKED: Final = frozenset({"BOOK", ""})


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a statement before its first entry; its entries follow it."""

    format: str
    statement_id: str
    account: str
    currency: str
    opening: Balance | None
    closing: Balance | None
    location: str


Item: TypeAlias = Head | Entry | Finding


def parse(content: bytes) -> Parsed:
    """All statements of a file.

    Raises:
        ParseError: The file is malformed, hostile, or no statement at all.
    """
    heads: list[tuple[Head, list[Entry]]] = []
    findings: list[Finding] = []
    for item in stream(BytesIO(content)):
        if isinstance(item, Head):
            heads.append((item, []))
        elif isinstance(item, Entry):
            heads[-1][1].append(item)
        else:
            findings.append(item)
    if not heads:
        raise ParseError("statement_missing", "the file holds no statement")
    statements = tuple(_statement(head, entries) for head, entries in heads)
    return Parsed(heads[0][0].format, statements, tuple(findings))


def _statement(head: Head, entries: list[Entry]) -> Statement:
    return Statement(
        head.statement_id, head.account, head.currency, head.opening, head.closing, tuple(entries)
    )


def stream(source: BinaryIO) -> Iterator[Item]:
    """The statements of a file piece by piece; memory does not grow with the file.

    Raises:
        ParseError: When the reading comes to what cannot be read.
    """
    reader: _Reader | None = None
    for element in xml.elements(source, "Ntry", *_STATEMENTS):
        entry = xml.name_of(element) == "Ntry"
        holder = element.getparent() if entry else element
        if holder is None or xml.name_of(holder) not in _STATEMENTS:
            continue
        if reader is None:
            reader = _Reader(holder)
            yield from reader.start()
        if entry:
            yield from reader.entry(element)
        else:
            yield from reader.end()
            reader = None
        xml.release(element)


class _Reader:
    """Reads one statement; holds its running sum and the ids it has seen."""

    def __init__(self, holder: xml.Element) -> None:
        self._findings: list[Finding] = []
        balances = list(self._balances(holder))
        opening, closing = _ends(balances)
        self._head = Head(
            format=_ROOTS[xml.name_of(holder)],
            statement_id=xml.text(holder, "Id"),
            account=xml.text(holder, "Acct/Id/IBAN", "Acct/Id/Othr/Id", "Acct/Id/PrtryAcct/Id"),
            currency=_currency(holder),
            opening=opening,
            closing=closing,
            location=xml.line(holder),
        )
        self._sum_minor = 0
        self._identities = Identities()

    def start(self) -> Iterator[Item]:
        """The head, and what was odd in it."""
        yield self._head
        yield from self._findings
        if not self._head.account:
            yield error("account_missing", "the statement names no account", self._head.location)

    def end(self) -> Iterator[Finding]:
        """Whether the entries lead from one balance to the other."""
        head = self._head
        if head.format == _ROOTS["Stmt"] or (head.opening and head.closing):
            yield from check_balances(head.opening, head.closing, self._sum_minor, head.location)

    def entry(self, element: xml.Element) -> Iterator[Item]:
        """One booked movement, or one for each of its details where the bank gives them all."""
        here = xml.line(element)
        if xml.text(element, "Sts/Cd", "Sts") not in _BOOKED:
            yield warning("entry_not_booked", "left out: it is not booked", here)
            return
        try:
            entry = _entry(element)
        except _UnusableError as wrong:
            yield error(wrong.code, str(wrong), here)
            return
        self._sum_minor += entry.amount_minor
        if entry.currency != self._head.currency:
            yield error("currency_differs", f"an entry in {entry.currency}", here)
        entry, repeated = self._identities.name(entry, here)
        yield from repeated
        yield from _with_details(entry, element, here)

    def _balances(self, holder: xml.Element) -> Iterator[tuple[str, Balance]]:
        for element in xml.every(holder, "Bal"):
            on = xml.day(xml.text(element, "Dt/Dt", "Dt/DtTm"))
            try:
                amount_minor = _signed(element, "Amt")
            except _UnusableError as wrong:
                self._findings.append(error(wrong.code, str(wrong), xml.line(element)))
                continue
            if on is None:
                message = "a balance without a date"
                self._findings.append(error("date_missing", message, xml.line(element)))
                continue
            yield xml.text(element, "Tp/CdOrPrtry/Cd", "Tp/Cd"), Balance(on, amount_minor)


def _ends(balances: list[tuple[str, Balance]]) -> tuple[Balance | None, Balance | None]:
    """Opening and closing; on a page of a longer statement the interim balances (ITBD)."""
    by_code: dict[str, list[Balance]] = {}
    for code, balance in balances:
        by_code.setdefault(code, []).append(balance)
    interim = by_code.get("ITBD", [])
    opening = [*by_code.get("OPBD", []), *by_code.get("PRCD", [])]
    closing = by_code.get("CLBD", [])
    if not opening and interim:
        opening = [interim.pop(0)]
    if not closing and interim:
        closing = [interim[-1]]
    return next(iter(opening), None), next(iter(closing), None)


def _currency(holder: xml.Element) -> str:
    """The account's currency, else that of its first amount."""
    if stated := xml.text(holder, "Acct/Ccy"):
        return stated
    for path in ("Bal/Amt", "Ntry/Amt"):
        amount = xml.first(holder, path)
        if amount is not None:
            return amount.get("Ccy", "")
    return ""


class _UnusableError(Exception):
    """An element without what an entry or a balance must have."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _signed(element: xml.Element, path: str, otherwise: str = "") -> int:
    """Minor units, credit positive. RvslInd changes no sign: CdtDbtInd is what happened."""
    direction = xml.text(element, "CdtDbtInd") or otherwise
    if direction not in {"CRDT", "DBIT"}:
        raise _UnusableError("direction_missing", "neither credit nor debit")
    amount = xml.first(element, path)
    currency = "" if amount is None else amount.get("Ccy", "")
    if not currency:
        # Without its currency the decimals of an amount mean nothing.
        raise _UnusableError("amount_invalid", "no amount, or one without a currency")
    try:
        amount_minor = to_minor(xml.text(element, path), currency)
    except AmountError as wrong:
        raise _UnusableError("amount_invalid", str(wrong)) from wrong
    if amount_minor < 0:
        raise _UnusableError("amount_invalid", "a negative amount beside a direction")
    return amount_minor if direction == "CRDT" else -amount_minor


def _amount_currency(element: xml.Element) -> str:
    amount = xml.first(element, "Amt")
    return "" if amount is None else amount.get("Ccy", "")


def _entry(element: xml.Element) -> Entry:
    """The entry as a whole, with the ids of its detail if it has exactly one."""
    booked = xml.day(xml.text(element, "BookgDt/Dt", "BookgDt/DtTm"))
    valued = xml.day(xml.text(element, "ValDt/Dt", "ValDt/DtTm"))
    booking_date, value_date = booked or valued, valued or booked
    if booking_date is None or value_date is None:
        raise _UnusableError("date_missing", "neither booking nor value date")
    amount_minor = _signed(element, "Amt")
    entry = Entry(
        entry_id=xml.text(element, "AcctSvcrRef", "NtryRef"),
        booking_date=booking_date,
        value_date=value_date,
        amount_minor=amount_minor,
        currency=_amount_currency(element),
        batch_id=xml.text(element, "NtryDtls/Btch/PmtInfId", "NtryDtls/Btch/MsgId"),
        text=xml.text(element, "AddtlNtryInf"),
        reversal=xml.text(element, "RvslInd") in {"true", "1"},
    )
    details = xml.every(element, "NtryDtls/TxDtls")
    return _detailed(entry, details[0]) if len(details) == 1 else entry


def _detailed(entry: Entry, detail: xml.Element) -> Entry:
    """The entry with what one of its details says."""
    end_to_end_id = xml.text(detail, "Refs/EndToEndId")
    return_reason = _return_reason(detail)
    name, account = _counterparty(
        detail, entry.amount_minor >= 0, entry.reversal or bool(return_reason)
    )
    return replace(
        entry,
        entry_id=entry.entry_id or xml.text(detail, "Refs/AcctSvcrRef"),
        reference=xml.text(detail, "RmtInf/Strd/CdtrRefInf/Ref", "Refs/InstrId", "Refs/TxId"),
        end_to_end_id="" if end_to_end_id == NOT_PROVIDED else end_to_end_id,
        batch_id=xml.text(detail, "Refs/PmtInfId") or _batch_id(detail) or entry.batch_id,
        counterparty_name=name,
        counterparty_account=account,
        text=_remittance(detail) or xml.text(detail, "AddtlTxInf") or entry.text,
        return_reason=return_reason,
    )


def _batch_id(detail: xml.Element) -> str:
    """The batch named beside a detail: one entry may stand for several batches."""
    group = detail.getparent()
    return "" if group is None else xml.text(group, "Btch/PmtInfId", "Btch/MsgId")


def _remittance(detail: xml.Element) -> str:
    return " ".join((part.text or "").strip() for part in xml.every(detail, "RmtInf/Ustrd"))


def _return_reason(detail: xml.Element) -> str:
    if xml.first(detail, "RtrInf") is None:
        return ""
    return xml.text(detail, "RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry") or UNSTATED_REASON


def _counterparty(detail: xml.Element, credit: bool, undoes: bool) -> tuple[str, str]:
    """The other side: who paid a credit, who got a debit; the first roles stay in a return."""
    role = "Dbtr" if credit is not undoes else "Cdtr"
    found = _party(detail, role)
    if undoes and not any(found):
        return _party(detail, "Cdtr" if role == "Dbtr" else "Dbtr")
    return found


def _party(detail: xml.Element, role: str) -> tuple[str, str]:
    account = f"RltdPties/{role}Acct/Id"
    name = xml.text(detail, f"RltdPties/{role}/Pty/Nm", f"RltdPties/{role}/Nm")
    return name, xml.text(detail, f"{account}/IBAN", f"{account}/Othr/Id")


def _with_details(entry: Entry, element: xml.Element, here: str) -> Iterator[Item]:
    """The entry, or its details in its place when all have amounts and these add up."""
    yield from _batch_findings(entry, element, here)
    details = xml.every(element, "NtryDtls/TxDtls")
    if len(details) < 2:  # noqa: PLR2004 - one detail already gave the entry its ids
        yield entry
        return
    amounts_minor = [_detail_minor(entry, detail) for detail in details]
    known_minor = [amount for amount in amounts_minor if amount is not None]
    if len(known_minor) < len(details):
        yield warning("detail_without_amount", "kept whole: a detail has no amount", here)
        yield entry
    elif sum(known_minor) != entry.amount_minor:
        yield warning("batch_sum_differs", "kept whole: its details do not add up to it", here)
        yield entry
    else:
        for number, (detail, amount_minor) in enumerate(zip(details, known_minor, strict=True), 1):
            part = replace(entry, entry_id=f"{entry.entry_id}/{number}", amount_minor=amount_minor)
            yield _detailed(part, detail)


def _detail_minor(entry: Entry, detail: xml.Element) -> int | None:
    for path in ("Amt", "AmtDtls/TxAmt/Amt"):
        amount = xml.first(detail, path)
        if amount is not None and amount.get("Ccy") == entry.currency:
            try:
                return _signed(detail, path, _direction(entry))
            except _UnusableError:
                return None
    return None


def _batch_findings(entry: Entry, element: xml.Element, here: str) -> Iterator[Finding]:
    """Whether the totals that the bank states for a batch agree with what it booked."""
    groups = xml.every(element, "NtryDtls")
    for group in groups:
        stated, given = xml.text(group, "Btch/NbOfTxs"), len(xml.every(group, "TxDtls"))
        if stated and given and stated.lstrip("0") != str(given):
            yield warning("batch_count_differs", f"{given} details, not as many as stated", here)
    if groups and all(xml.first(group, "Btch/TtlAmt") is not None for group in groups):
        yield from _batch_total_findings(entry, groups, here)


def _batch_total_findings(entry: Entry, groups: list[xml.Element], here: str) -> Iterator[Finding]:
    direction = _direction(entry)
    batches = [batch for group in groups for batch in xml.every(group, "Btch")]
    try:
        total_minor = sum(_signed(batch, "TtlAmt", direction) for batch in batches)
    except _UnusableError as wrong:
        yield warning(wrong.code, f"batch total: {wrong}", here)
        return
    if total_minor != entry.amount_minor:
        yield warning("batch_sum_differs", "the batch total is not the entry", here)


def _direction(entry: Entry) -> str:
    return "CRDT" if entry.amount_minor >= 0 else "DBIT"


def render(
    statement: Statement,
    message_id: str,
    created_at: datetime,
    batch_counts: Mapping[str, int] | None = None,
) -> bytes:
    """A statement as camt.053.001.08.

    Args:
        statement: Needs both balances.
        message_id: At most 35 characters.
        created_at: Aware.
        batch_counts: Payments in a lump entry, by entry id: such an entry gets no details.

    Raises:
        ValueError: A balance is missing.
    """
    if statement.opening is None or statement.closing is None:
        raise ValueError("a statement needs both balances")
    root = xml.document(VERSION)
    message = xml.put(root, "BkToCstmrStmt")
    header = xml.put(message, "GrpHdr")
    xml.put(header, "MsgId", message_id)
    xml.put(header, "CreDtTm", xml.moment(created_at))
    holder = xml.put(message, "Stmt")
    xml.put(holder, "Id", statement.statement_id)
    xml.put(holder, "CreDtTm", xml.moment(created_at))
    _put_account(holder, statement)
    _put_balance(holder, "OPBD", statement.opening, statement.currency)
    _put_balance(holder, "CLBD", statement.closing, statement.currency)
    for entry in statement.entries:
        _put_entry(holder, entry, (batch_counts or {}).get(entry.entry_id))
    return xml.written(root)


def _put_account(holder: xml.Element, statement: Statement) -> None:
    account = xml.put(holder, "Acct")
    xml.put(account, "Id/Othr/Id", statement.account)
    xml.put(account, "Ccy", statement.currency)


def _put_balance(holder: xml.Element, code: str, balance: Balance, currency: str) -> None:
    element = xml.put(holder, "Bal")
    xml.put(element, "Tp/CdOrPrtry/Cd", code)
    _put_amount(element, "Amt", balance.amount_minor, currency)
    _put_date(element, "Dt", balance.date)


def _put_amount(element: xml.Element, name: str, amount_minor: int, currency: str) -> None:
    """The amount without its sign, and the sign as a direction."""
    xml.put(element, name, to_text(abs(amount_minor), currency)).set("Ccy", currency)
    xml.put(element, "CdtDbtInd", "CRDT" if amount_minor >= 0 else "DBIT")


def _put_date(element: xml.Element, name: str, on: date) -> None:
    xml.put(element, f"{name}/Dt", on.isoformat())


def _put_entry(holder: xml.Element, entry: Entry, lump_count: int | None) -> None:
    element = xml.put(holder, "Ntry")
    _put_amount(element, "Amt", entry.amount_minor, entry.currency)
    if entry.reversal:
        xml.put(element, "RvslInd", "true")
    xml.put(element, "Sts/Cd", "BOOK")
    _put_date(element, "BookgDt", entry.booking_date)
    _put_date(element, "ValDt", entry.value_date)
    xml.put(element, "AcctSvcrRef", entry.entry_id)
    xml.put(element, "BkTxCd/Prtry/Cd", "NTRF")
    if lump_count is None:
        _put_detail(xml.put(element, "NtryDtls/TxDtls"), entry)
        return
    batch = xml.put(element, "NtryDtls/Btch")
    xml.put(batch, "PmtInfId", entry.batch_id)
    xml.put(batch, "NbOfTxs", str(lump_count))
    _put_amount(batch, "TtlAmt", entry.amount_minor, entry.currency)
    xml.put_some(element, "AddtlNtryInf", entry.text)


def _put_detail(detail: xml.Element, entry: Entry) -> None:
    references = xml.put(detail, "Refs")
    xml.put_some(references, "PmtInfId", entry.batch_id)
    xml.put(references, "EndToEndId", entry.end_to_end_id or NOT_PROVIDED)
    _put_amount(detail, "Amt", entry.amount_minor, entry.currency)
    _put_counterparty(detail, entry)
    if entry.text or entry.reference:
        remittance = xml.put(detail, "RmtInf")
        xml.put_some(remittance, "Ustrd", entry.text)
        xml.put_some(remittance, "Strd/CdtrRefInf/Ref", entry.reference)
    xml.put_some(detail, "RtrInf/Rsn/Prtry", entry.return_reason)


def _put_counterparty(detail: xml.Element, entry: Entry) -> None:
    if not (entry.counterparty_name or entry.counterparty_account):
        return
    undoes = entry.reversal or bool(entry.return_reason)
    role = "Dbtr" if (entry.amount_minor >= 0) is not undoes else "Cdtr"
    parties = xml.put(detail, "RltdPties")
    xml.put_some(parties, f"{role}/Pty/Nm", entry.counterparty_name)
    xml.put_some(parties, f"{role}Acct/Id/Othr/Id", entry.counterparty_account)
