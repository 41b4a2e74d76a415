"""pain.002, the bank's word on an order: every version from .03 to .14 read, .12 written."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from adapters.formats import xml
from adapters.model import Outcome, ParseError, Status, StatusReport

VERSION: Final = "pain.002.001.12"
PARTIAL: Final = "PART"
REJECTED: Final = "RJCT"

OUTCOMES: Final = {
    **dict.fromkeys(("RCVD", "ACTC", "ACFC", "PDNG", "PATC", "PRES"), Outcome.RECEIVED),
    **dict.fromkeys(("ACCP", "ACWC", "ACSP", "ACWP", "ACPD", "ACIS"), Outcome.ACCEPTED),
    **dict.fromkeys(("ACSC", "ACCC", "CPUC"), Outcome.SETTLED),
    REJECTED: Outcome.REJECTED,
    **dict.fromkeys((PARTIAL, "BLCK", "CANC"), Outcome.UNKNOWN),
}
"""What each ISO 20022 external payment status code lets us conclude, and no more than that.

RECEIVED: seen, checked in form or in funds, waiting for more signatures (PATC) or shown to a debtor
(PRES). ACCEPTED: the bank will pay or is paying; with ACWP and ACPD the money is under way, with
ACIS a cheque is. SETTLED: the debtor's account was debited, or the payee fetched the cash (CPUC).
UNKNOWN: PART says nothing of one payment, BLCK holds the money at neither side, and CANC is the end
of a recall that we never send. Any code that is not here is UNKNOWN too, for a person to read.
"""


def status(
    code: str, *, end_to_end_id: str = "", batch_id: str = "", reason: str = "", text: str = ""
) -> Status:
    """A status with the outcome that its code means."""
    outcome = OUTCOMES.get(code, Outcome.UNKNOWN)
    return Status(end_to_end_id, batch_id, code, reason, text, outcome)


def parse(content: bytes) -> StatusReport:
    """The statuses a bank gave, most specific first to last as in the file.

    A message or batch status is reported where it speaks for payments that are not named: with no
    payment beneath it, or when it rejects everything. Otherwise what a payment that is not named
    means is for the bank's profile to say.

    Raises:
        ParseError: Not a pain.002, malformed, or a payment status without the payment's id.
    """
    message = xml.message(content, "pain.002", "CstmrPmtStsRpt")
    return StatusReport(
        message_id=xml.text(message, "GrpHdr/MsgId"),
        original_message_id=xml.text(message, "OrgnlGrpInfAndSts/OrgnlMsgId"),
        created_at=xml.instant(message, "GrpHdr/CreDtTm"),
        statuses=tuple(_statuses(message)),
    )


def _statuses(message: xml.Element) -> Iterator[Status]:
    batches = xml.every(message, "OrgnlPmtInfAndSts")
    loose = xml.every(message, "TxInfAndSts")
    group = xml.first(message, "OrgnlGrpInfAndSts")
    group_code = "" if group is None else xml.text(group, "GrpSts")
    if group is not None and _speaks_for_all(group_code, bool(batches or loose)):
        yield _wide(group, group_code, "")
    for batch in batches:
        yield from _batch_statuses(batch, group_code)
    for transaction in loose:
        yield _narrow(transaction, group_code, "")


def _speaks_for_all(code: str, names_parts: bool) -> bool:
    return bool(code) and code != PARTIAL and (code == REJECTED or not names_parts)


def _batch_statuses(batch: xml.Element, group_code: str) -> Iterator[Status]:
    batch_id = xml.text(batch, "OrgnlPmtInfId")
    code = xml.text(batch, "PmtInfSts") or group_code
    transactions = xml.every(batch, "TxInfAndSts")
    if _speaks_for_all(code, bool(transactions)):
        yield _wide(batch, code, batch_id)
    for transaction in transactions:
        yield _narrow(transaction, code, batch_id)


def _wide(element: xml.Element, code: str, batch_id: str) -> Status:
    return status(code, batch_id=batch_id, reason=_reason(element), text=_reason_text(element))


def _narrow(transaction: xml.Element, wider_code: str, batch_id: str) -> Status:
    end_to_end_id = xml.text(transaction, "OrgnlEndToEndId", "OrgnlInstrId")
    if not end_to_end_id:
        # Without an id it would read as the word on the whole batch.
        raise ParseError("status_unidentified", "a TxInfAndSts has no id", xml.line(transaction))
    return status(
        xml.text(transaction, "TxSts") or wider_code,
        end_to_end_id=end_to_end_id,
        batch_id=batch_id,
        reason=_reason(transaction),
        text=_reason_text(transaction),
    )


def _reason(element: xml.Element) -> str:
    return xml.text(element, "StsRsnInf/Rsn/Cd", "StsRsnInf/Rsn/Prtry")


def _reason_text(element: xml.Element) -> str:
    found = xml.every(element, "StsRsnInf/AddtlInf")
    return " ".join((part.text or "").strip() for part in found)


def render(report: StatusReport, original_format: str) -> bytes:
    """The message for a report; `original_format` names what it answers (`pain.001.001.09`)."""
    root = xml.document(VERSION)
    message = xml.put(root, "CstmrPmtStsRpt")
    xml.put(message, "GrpHdr/MsgId", report.message_id)
    xml.put(message[0], "CreDtTm", xml.moment(report.created_at))
    group = xml.put(message, "OrgnlGrpInfAndSts")
    xml.put(group, "OrgnlMsgId", report.original_message_id)
    xml.put(group, "OrgnlMsgNmId", original_format)
    batches: dict[str, list[Status]] = defaultdict(list)
    for given in report.statuses:
        if given.batch_id:
            batches[given.batch_id].append(given)
        else:
            _put_code(group, "GrpSts", given)
    for batch_id, statuses in batches.items():
        _put_batch(xml.put(message, "OrgnlPmtInfAndSts"), batch_id, statuses)
    return xml.written(root)


def _put_batch(batch: xml.Element, batch_id: str, statuses: list[Status]) -> None:
    xml.put(batch, "OrgnlPmtInfId", batch_id)
    for given in sorted(statuses, key=lambda one: bool(one.end_to_end_id)):
        if not given.end_to_end_id:
            _put_code(batch, "PmtInfSts", given)
            continue
        transaction = xml.put(batch, "TxInfAndSts")
        xml.put(transaction, "OrgnlEndToEndId", given.end_to_end_id)
        _put_code(transaction, "TxSts", given)


def _put_code(element: xml.Element, name: str, given: Status) -> None:
    xml.put(element, name, given.code)
    if given.reason_code:
        reason = xml.put(element, "StsRsnInf")
        xml.put(reason, "Rsn/Cd", given.reason_code)
        xml.put_some(reason, "AddtlInf", given.reason_text)
