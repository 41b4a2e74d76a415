"""camt.053, the statement (and camt.052, camt.054 where they say the same), versions 1 to 13.

`stream` reads with bounded memory; `parse` gathers what it yields; `render` writes .001.08 for
the simulator.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from io import BytesIO
from typing import BinaryIO, Final, TypeAlias

from adapters.amounts import to_text
from adapters.formats import camt_stream, xml
from adapters.formats.bounds import MAX_FINDINGS
from adapters.formats.camt_record import (
    NOT_PROVIDED,
    Record,
    UnusableError,
    balance_of,
    detailed,
    whole,
)
from adapters.formats.entries import Identities, check_balances
from adapters.model import (
    Balance,
    Entry,
    Finding,
    Parsed,
    ParseError,
    Severity,
    Statement,
    error,
    warning,
)

VERSION: Final = "camt.053.001.08"

_FORMATS: Final = {"Stmt": "camt.053", "Rpt": "camt.052", "Ntfctn": "camt.054"}
_PAGINATIONS: Final = {"Stmt": "StmtPgntn", "Rpt": "RptPgntn", "Ntfctn": "NtfctnPgntn"}
_PAGE: Final = re.compile("[0-9]{1,5}")
_BOOKED: Final = frozenset({"BOOK", ""})


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a statement, or of one page of it, before its first entry.

    Its entries follow it. `page` counts from 1; `continues` says that the head before this one was
    of the page before, so that both are one statement.
    """

    format: str
    statement_id: str
    account: str
    currency: str
    opening: Balance | None
    closing: Balance | None
    location: str
    page: int = 1
    is_last: bool = True
    continues: bool = False


Item: TypeAlias = Head | Entry | Finding


def parse(content: bytes) -> Parsed:
    """All statements of a file.

    Raises:
        ParseError: The file is malformed, hostile, or no statement at all.
    """
    heads: list[tuple[Head, list[Entry]]] = []
    findings: list[Finding] = []
    for item in stream(BytesIO(content)):
        if isinstance(item, Head) and item.continues:
            first, entries = heads[-1]
            heads[-1] = (replace(first, closing=item.closing), entries)
        elif isinstance(item, Head):
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
        ParseError: When the reading comes to what cannot be read; `findings_too_many` when it has
            come to more errors than a file of a bank has.
    """
    errors = 0
    for item in _items(source):
        # Warnings are not counted: a report may have any number of entries that are not booked.
        if isinstance(item, Finding) and item.severity is Severity.ERROR:
            errors += 1
            if errors > MAX_FINDINGS:
                message = f"more than {MAX_FINDINGS} errors, the last is {item.code}"
                raise ParseError("findings_too_many", message, item.location)
        yield item


def _items(source: BinaryIO) -> Iterator[Item]:
    reader: _Reader | None = None
    pages: _Pages | None = None
    for holder, record in camt_stream.steps(source):
        if reader is None:
            reader = _Reader(holder, record, pages)
            if pages is not reader.pages:
                yield from pages.left_open() if pages else ()
            pages = reader.pages
            yield from reader.start()
        if record is not None:
            yield from reader.entry(record)
        else:
            yield from reader.end()
            reader = None
    if pages is not None:
        yield from pages.left_open()


@dataclass(slots=True)
class _Pages:
    """The pages of one statement, mostly one only: what they have in common."""

    first: Head
    last: Head
    sum_minor: int = 0
    identities: Identities = field(default_factory=Identities)

    def go_on_with(self, head: Head) -> bool:
        """Whether a page is the one after the last of these."""
        last = self.last
        same = (last.format, last.statement_id, last.account, last.currency) == (
            head.format,
            head.statement_id,
            head.account,
            head.currency,
        )
        return same and not last.is_last and head.page == last.page + 1

    def left_open(self) -> Iterator[Finding]:
        """The last page found is not the last, and no balance closes it."""
        last = self.last
        if _has_balances(last) and not last.is_last and last.closing is None:
            message = f"page {last.page} is not the last, and the next is not in this file"
            yield warning("statement_continues", message, last.location)


class _Reader:
    """Reads one page of a statement; holds its running sum."""

    def __init__(self, holder: xml.Element, record: Record | None, pages: _Pages | None) -> None:
        self._findings: list[Finding] = []
        opening, closing = _ends(list(self._balances(holder)))
        page, is_last = _page(holder)
        head = Head(
            format=_FORMATS[xml.name_of(holder)],
            statement_id=xml.text(holder, "Id"),
            account=xml.text(holder, "Acct/Id/IBAN", "Acct/Id/Othr/Id", "Acct/Id/PrtryAcct/Id"),
            currency=_currency(holder) or (record.own.currency if record else ""),
            opening=opening,
            closing=closing,
            location=xml.line(holder),
            page=page,
            is_last=is_last,
        )
        continues = pages is not None and pages.go_on_with(head)
        self._head = replace(head, continues=continues)
        self._before = pages.last if pages is not None and continues else None
        self.pages = pages if pages is not None and continues else _Pages(head, head)
        self.pages.last = self._head
        self._sum_minor = 0

    def start(self) -> Iterator[Item]:
        """The head, and what was odd in it."""
        head, before = self._head, self._before
        yield head
        yield from self._findings
        if not head.account:
            yield error("account_missing", "the statement names no account", head.location)
        if head.page > 1 and before is None and _has_balances(head) and head.opening is None:
            message = f"page {head.page}, and the one before it is not in this file"
            yield warning("statement_continued", message, head.location)
        if before and before.closing and head.opening and not _joins(before.closing, head.opening):
            message = f"page {head.page} does not open with what page {before.page} closes with"
            yield error("pages_inconsistent", message, head.location)

    def end(self) -> Iterator[Finding]:
        """Whether the entries lead from one balance to the other, on the page and over all."""
        head, first = self._head, self.pages.first
        self.pages.sum_minor += self._sum_minor
        inner = not head.is_last or head.page > 1
        if (head.opening and head.closing) or (_has_balances(head) and not inner):
            yield from check_balances(head.opening, head.closing, self._sum_minor, head.location)
        elif head.is_last and head.continues and first.page == 1 and _has_balances(head):
            total_minor = self.pages.sum_minor
            yield from check_balances(first.opening, head.closing, total_minor, first.location)

    def entry(self, record: Record) -> Sequence[Item]:
        """One booked movement, or one for each of its details where the bank gives them all."""
        if record.own.status not in _BOOKED:
            return (warning("entry_not_booked", "left out: it is not booked", record.location),)
        try:
            entry = whole(record)
        except UnusableError as wrong:
            return (error(wrong.code, str(wrong), record.location),)
        self._sum_minor += entry.amount_minor
        named = self.pages.identities.named(entry)
        entries, odd = detailed(named, record)
        if named is entry and entry.currency == self._head.currency:
            return (*odd, *entries)
        return (*self._oddities(entry, named, record.location), *odd, *entries)

    def _oddities(self, entry: Entry, named: Entry, location: str) -> Iterator[Finding]:
        if entry.currency != self._head.currency:
            yield error("currency_differs", f"an entry in {entry.currency}", location)
        yield from self.pages.identities.repeated(entry.entry_id, named.entry_id, location)

    def _balances(self, holder: xml.Element) -> Iterator[tuple[str, Balance]]:
        for element in xml.every(holder, "Bal"):
            try:
                yield balance_of(element)
            except UnusableError as wrong:
                self._findings.append(error(wrong.code, str(wrong), xml.line(element)))


def _joins(closing: Balance, opening: Balance) -> bool:
    return closing.amount_minor == opening.amount_minor


def _has_balances(head: Head) -> bool:
    """A report or a notification may do without."""
    return head.format == _FORMATS["Stmt"]


def _page(holder: xml.Element) -> tuple[int, bool]:
    """The number of the page and whether it is the last; the message's own where none is stated."""
    name = _PAGINATIONS[xml.name_of(holder)]
    message = holder.getparent()
    stated = xml.first(holder, name)
    if stated is None and message is not None:
        stated = xml.first(message, "GrpHdr/MsgPgntn")
    if stated is None:
        return 1, True
    number = xml.text(stated, "PgNb")
    page = int(number) if _PAGE.fullmatch(number) else 1
    return page, xml.text(stated, "LastPgInd") not in {"false", "0"}


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
    """The account's currency, else that of its first balance; the first entry may name it too."""
    amount = xml.first(holder, "Bal/Amt")
    return xml.text(holder, "Acct/Ccy") or ("" if amount is None else amount.get("Ccy", ""))


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
