"""One `Ntry` of a camt file as plain texts, and the entry those texts mean.

What is read of an entry is listed here once, as paths below its own element; the two ways of
reading (element by element, or by a known shape) both fill a `Record`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache, partial
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from adapters.amounts import AmountError, to_minor
from adapters.formats import xml
from adapters.formats.entries import UNSTATED_REASON
from adapters.model import Balance, Entry, Finding, warning

NOT_PROVIDED: Final = "NOTPROVIDED"

GROUP, BATCH, DETAIL = "NtryDtls", "Btch", "TxDtls"
REMITTANCE: Final = "RmtInf/Ustrd"
"""The only text of which all occurrences are kept, joined by a space."""
CURRENCY: Final = "@Ccy"
"""Ends the path of an amount's currency: `Amt@Ccy`."""


class Own(NamedTuple):
    """What an entry says of itself; an absent text is empty."""

    status: str
    direction: str
    amount: str
    currency: str
    booked: str
    valued: str
    entry_id: str
    text: str
    reversal: str


class Detail(NamedTuple):
    """What one `TxDtls` says."""

    entry_id: str
    reference: str
    end_to_end_id: str
    batch_id: str
    direction: str
    amount: str
    currency: str
    instructed: str
    instructed_currency: str
    debtor_name: str
    debtor_account: str
    creditor_name: str
    creditor_account: str
    remittance: str
    text: str
    return_reason: str | None
    """None when nothing was returned; empty when no reason is given."""


class Batch(NamedTuple):
    """What one `Btch` says; its total is None when it states none."""

    payment_batch: str
    message: str
    payment_count: str
    direction: str
    total: str | None
    currency: str


class _Balance(NamedTuple):
    code: str
    direction: str
    amount: str
    currency: str
    on: str


class Group(NamedTuple):
    """One `NtryDtls`: its batches and its single payments."""

    batches: tuple[Batch, ...]
    details: tuple[Detail, ...]


class Place(NamedTuple):
    """A place in a file, whose line is only counted when someone asks."""

    line: int
    """Of `start`, from 1."""
    text: str = ""
    start: int = 0
    end: int = 0
    """Of the part of the text that lies between that line and the place."""


class Record(NamedTuple):
    """One `Ntry`."""

    own: Own
    groups: tuple[Group, ...]
    place: Place

    @property
    def location(self) -> str:
        """The line on which it starts, for a finding."""
        line, text, start, end = self.place
        return f"line {line + text.count(chr(10), start, end)}"


T = TypeVar("T", Own, Detail, Batch, _Balance)


@dataclass(frozen=True, slots=True, eq=False)
class Texts(Generic[T]):
    """Where the texts of one kind of element stand.

    Attributes:
        make: The texts in the order of `paths` as a tuple with names.
        paths: For each text the paths where it may stand; the first with any text counts. A path
            in brackets says only that the element is there: without it the text is None.
    """

    make: Callable[[Iterable[str | None]], T]
    paths: tuple[tuple[str, ...], ...]

    def read(self, found: Mapping[str, str]) -> T:
        """The texts out of all that were found, by path."""
        return self.make([_chosen(paths, found) for paths in self.paths])


def _chosen(paths: tuple[str, ...], found: Mapping[str, str]) -> str | None:
    for path in paths:
        if path[0] == "(":
            return "" if path[1:-1] in found else None
        if text := found.get(path):
            return text
    return ""


OWN: Final[Texts[Own]] = Texts(
    partial(tuple.__new__, Own),
    (
        ("Sts/Cd", "Sts"),
        ("CdtDbtInd",),
        ("Amt",),
        ("Amt@Ccy",),
        ("BookgDt/Dt", "BookgDt/DtTm"),
        ("ValDt/Dt", "ValDt/DtTm"),
        ("AcctSvcrRef", "NtryRef"),
        ("AddtlNtryInf",),
        ("RvslInd",),
    ),
)
DETAILS: Final[Texts[Detail]] = Texts(
    partial(tuple.__new__, Detail),
    (
        ("Refs/AcctSvcrRef",),
        ("RmtInf/Strd/CdtrRefInf/Ref", "Refs/InstrId", "Refs/TxId"),
        ("Refs/EndToEndId",),
        ("Refs/PmtInfId",),
        ("CdtDbtInd",),
        ("Amt",),
        ("Amt@Ccy",),
        ("AmtDtls/TxAmt/Amt",),
        ("AmtDtls/TxAmt/Amt@Ccy",),
        ("RltdPties/Dbtr/Pty/Nm", "RltdPties/Dbtr/Nm"),
        ("RltdPties/DbtrAcct/Id/IBAN", "RltdPties/DbtrAcct/Id/Othr/Id"),
        ("RltdPties/Cdtr/Pty/Nm", "RltdPties/Cdtr/Nm"),
        ("RltdPties/CdtrAcct/Id/IBAN", "RltdPties/CdtrAcct/Id/Othr/Id"),
        (REMITTANCE,),
        ("AddtlTxInf",),
        ("RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry", "(RtrInf)"),
    ),
)
BATCHES: Final[Texts[Batch]] = Texts(
    partial(tuple.__new__, Batch),
    (
        ("PmtInfId",),
        ("MsgId",),
        ("NbOfTxs",),
        ("CdtDbtInd",),
        ("TtlAmt", "(TtlAmt)"),
        ("TtlAmt@Ccy",),
    ),
)
_BALANCES: Final[Texts[_Balance]] = Texts(
    partial(tuple.__new__, _Balance),
    (
        ("Tp/CdOrPrtry/Cd", "Tp/Cd"),
        ("CdtDbtInd",),
        ("Amt",),
        ("Amt@Ccy",),
        ("Dt/Dt", "Dt/DtTm"),
    ),
)


class UnusableError(Exception):
    """An element without what an entry or a balance must have."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Step:
    """What to do at a child: keep its text under a path, go down, or both."""

    path: str
    below: "_Steps"


_Steps: TypeAlias = dict[object, _Step]
"""By qualified name; what is no element, such as an entity, has another kind of tag."""


def of_element(element: xml.Element) -> Record:
    """The record of a finished `Ntry` element."""
    groups = tuple(map(_group, xml.every(element, GROUP)))
    # The oldest version, .001.01, has no `NtryDtls`: what it would hold stands in the entry itself.
    oldest = _group(element)
    if oldest.batches or oldest.details:
        groups = (oldest, *groups)
    return Record(_read(element, OWN), groups, Place(element.sourceline or 1))


def _group(element: xml.Element) -> Group:
    return Group(
        tuple(_read(one, BATCHES) for one in xml.every(element, BATCH)),
        tuple(_read(one, DETAILS) for one in xml.every(element, DETAIL)),
    )


def _read(element: xml.Element, texts: Texts[T]) -> T:
    found: dict[str, str] = {}
    _collect(element, _steps(xml.namespace_of(element), texts), found)
    return texts.read(found)


@lru_cache(maxsize=64)
def _steps(namespace: str, texts: Texts[T]) -> _Steps:
    """The paths as a tree of qualified names, so that one walk finds them all."""
    top: _Steps = {}
    for path in sorted(element_paths(texts)):  # a path before those that it begins
        below = top
        # lxml names an element without a namespace by its bare name.
        *way, last = (f"{{{namespace}}}{n}" if namespace else n for n in path.split("/"))
        for tag in way:
            below = below.setdefault(tag, _Step("", {})).below
        below[last] = _Step(path, {})
    return top


@lru_cache(maxsize=8)
def element_paths(texts: Texts[T]) -> frozenset[str]:
    """The paths of all elements with a text that is read, or whose presence is."""
    every = [path.strip("()") for paths in texts.paths for path in paths]
    return frozenset(path.removesuffix(CURRENCY) for path in every)


def _collect(element: xml.Element, steps: _Steps, found: dict[str, str]) -> None:
    """Of several elements at a path the first one counts."""
    for child in element:
        step = steps.get(child.tag)
        if step is None:
            continue
        if step.path and (step.path not in found or step.path == REMITTANCE):
            _keep(child, step.path, found)
        if step.below:
            _collect(child, step.below, found)


def _keep(element: xml.Element, path: str, found: dict[str, str]) -> None:
    text = (element.text or "").strip()
    found[path] = f"{found[path]} {text}" if path in found else text
    currency = element.get("Ccy")
    if currency is not None:
        found[path + CURRENCY] = currency


def _signed(direction: str, amount: str, currency: str) -> int:
    """Minor units, credit positive. RvslInd changes no sign: CdtDbtInd is what happened.

    Raises:
        UnusableError: `direction_missing`, `amount_invalid`.
    """
    if direction not in {"CRDT", "DBIT"}:
        raise UnusableError("direction_missing", "neither credit nor debit")
    if not currency:
        # Without its currency the decimals of an amount mean nothing.
        raise UnusableError("amount_invalid", "no amount, or one without a currency")
    try:
        amount_minor = to_minor(amount, currency)
    except AmountError as wrong:
        raise UnusableError("amount_invalid", str(wrong)) from wrong
    if amount_minor < 0:
        raise UnusableError("amount_invalid", "a negative amount beside a direction")
    return amount_minor if direction == "CRDT" else -amount_minor


def balance_of(element: xml.Element) -> tuple[str, Balance]:
    """The code of a `Bal` element (`OPBD`, `CLBD`, ...) and the balance.

    Raises:
        UnusableError: It has no usable amount or no date.
    """
    code, direction, amount, currency, written = _read(element, _BALANCES)
    amount_minor = _signed(direction, amount, currency)
    on = xml.day(written)
    if on is None:
        raise UnusableError("date_missing", "a balance without a date")
    return code, Balance(on, amount_minor)


def whole(record: Record) -> Entry:
    """The entry as a whole, with the ids of its detail if it has exactly one.

    Raises:
        UnusableError: It lacks what an entry must have.
    """
    own, groups, _ = record
    booked, valued = xml.day(own.booked), xml.day(own.valued)
    booking_date, value_date = booked or valued, valued or booked
    if booking_date is None or value_date is None:
        raise UnusableError("date_missing", "neither booking nor value date")
    amount_minor = _signed(own.direction, own.amount, own.currency)
    if len(groups) == 1 and len(groups[0].details) == 1:
        detail = groups[0].details[0]
        batch_id = detail.batch_id or (_batch_id(groups) if groups[0].batches else "")
        return _single(own, detail, batch_id, booking_date, value_date, amount_minor)
    return _several(own, groups, booking_date, value_date, amount_minor)


def _several(
    own: Own, groups: tuple[Group, ...], booking_date: date, value_date: date, amount_minor: int
) -> Entry:
    """An entry whose groups hold no detail, many, or one among them."""
    found = [(detail, group) for group in groups for detail in group.details]
    if len(found) == 1:
        detail, group = found[0]
        batch_id = detail.batch_id or _batch_id((group,)) or _batch_id(groups)
        return _single(own, detail, batch_id, booking_date, value_date, amount_minor)
    return Entry(
        own.entry_id,
        booking_date,
        value_date,
        amount_minor,
        own.currency,
        batch_id=_batch_id(groups),
        text=own.text,
        reversal=own.reversal in _TRUE,
    )


def _batch_id(groups: tuple[Group, ...]) -> str:
    """The batch named beside details: one entry may stand for several batches."""
    batches = [batch for group in groups for batch in group.batches]
    by_payments = next((batch.payment_batch for batch in batches if batch.payment_batch), "")
    return by_payments or next((batch.message for batch in batches if batch.message), "")


_TRUE: Final = frozenset({"true", "1"})


def _single(
    own: Own,
    detail: Detail,
    batch_id: str,
    booking_date: date,
    value_date: date,
    amount_minor: int,
) -> Entry:
    """The entry with what one of its details says."""
    reversal = own.reversal in _TRUE
    returned = detail.return_reason is not None
    name, account = _counterparty(detail, amount_minor >= 0, reversal or returned)
    return Entry(
        own.entry_id or detail.entry_id,
        booking_date,
        value_date,
        amount_minor,
        own.currency,
        detail.reference,
        "" if detail.end_to_end_id == NOT_PROVIDED else detail.end_to_end_id,
        batch_id,
        name,
        account,
        detail.remittance or detail.text or own.text,
        reversal,
        (detail.return_reason or UNSTATED_REASON) if returned else "",
    )


def _counterparty(detail: Detail, credit: bool, undoes: bool) -> tuple[str, str]:
    """The other side: who paid a credit, who got a debit; the first roles stay in a return."""
    payer = credit is not undoes
    found = _debtor(detail) if payer else _creditor(detail)
    if undoes and not any(found):
        return _creditor(detail) if payer else _debtor(detail)
    return found


def _debtor(detail: Detail) -> tuple[str, str]:
    return detail.debtor_name, detail.debtor_account


def _creditor(detail: Detail) -> tuple[str, str]:
    return detail.creditor_name, detail.creditor_account


def detailed(entry: Entry, record: Record) -> tuple[tuple[Entry, ...], tuple[Finding, ...]]:
    """The entry, or its details in its place when all have amounts and these add up."""
    groups = record.groups
    if not groups or (len(groups) == 1 and not groups[0].batches and len(groups[0].details) == 1):
        return (entry,), ()
    findings = _batch_findings(entry, record)
    details = [(detail, group) for group in groups for detail in group.details]
    if len(details) < 2:  # noqa: PLR2004 - one detail already gave the entry its ids
        return (entry,), findings
    amounts_minor = [_detail_minor(entry, detail) for detail, _ in details]
    known_minor = [amount for amount in amounts_minor if amount is not None]
    if len(known_minor) < len(details):
        odd = warning(
            "detail_without_amount", "kept whole: a detail has no amount", record.location
        )
        return (entry,), (*findings, odd)
    if sum(known_minor) != entry.amount_minor:
        odd = warning(
            "batch_sum_differs", "kept whole: its details do not add up to it", record.location
        )
        return (entry,), (*findings, odd)
    parts = zip(details, known_minor, strict=True)
    return tuple(
        _part(entry, record.own, detail, group, part_minor, number)
        for number, ((detail, group), part_minor) in enumerate(parts, 1)
    ), findings


def _part(
    entry: Entry, own: Own, detail: Detail, group: Group, part_minor: int, number: int
) -> Entry:
    """One payment of a lump entry, under the entry's id and its own number, from 1."""
    batch_id = detail.batch_id or _batch_id((group,)) or entry.batch_id
    part = _single(own, detail, batch_id, entry.booking_date, entry.value_date, part_minor)
    return replace(part, entry_id=f"{entry.entry_id}/{number}")


def _detail_minor(entry: Entry, detail: Detail) -> int | None:
    direction = detail.direction or _direction(entry)
    amounts = ((detail.amount, detail.currency), (detail.instructed, detail.instructed_currency))
    for amount, currency in amounts:
        if currency == entry.currency:
            try:
                return _signed(direction, amount, currency)
            except UnusableError:
                return None
    return None


def _batch_findings(entry: Entry, record: Record) -> tuple[Finding, ...]:
    """Whether the totals that the bank states for a batch agree with what it booked."""
    if not any(group.batches for group in record.groups):
        return ()
    return (*_count_findings(record), *_total_findings(entry, record))


def _count_findings(record: Record) -> Iterator[Finding]:
    for batches, details in record.groups:
        stated = next((batch.payment_count for batch in batches if batch.payment_count), "")
        if stated and details and stated.lstrip("0") != str(len(details)):
            message = f"{len(details)} details, not as many as stated"
            yield warning("batch_count_differs", message, record.location)


def _total_findings(entry: Entry, record: Record) -> Iterator[Finding]:
    """Only when every group states a total: else the sum says nothing."""
    stated = [
        [batch for batch in group.batches if batch.total is not None] for group in record.groups
    ]
    if not all(stated):
        return
    try:
        total_minor = sum(
            _signed(batch.direction or _direction(entry), batch.total or "", batch.currency)
            for group in record.groups
            for batch in group.batches
        )
    except UnusableError as wrong:
        yield warning(wrong.code, f"batch total: {wrong}", record.location)
        return
    if total_minor != entry.amount_minor:
        yield warning("batch_sum_differs", "the batch total is not the entry", record.location)


def _direction(entry: Entry) -> str:
    return "CRDT" if entry.amount_minor >= 0 else "DBIT"
