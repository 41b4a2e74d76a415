"""pain.001, the order to pay: rendered as version .001.03 or .001.09, read in any version."""

from datetime import date
from typing import Final

from adapters.amounts import AmountError, to_minor, to_text
from adapters.formats import xml
from adapters.model import Batch, ParseError, Payment
from adapters.profile import BankProfile, Customer

VERSION: Final = "pain.001.001.09"
OLDER_VERSION: Final = "pain.001.001.03"
_VERSIONS: Final = (VERSION, OLDER_VERSION)
CLEARING_SYSTEM: Final = "CNAPS"
"""The clearing system of 联行号 in the external code list of ISO 20022."""
NOT_PROVIDED: Final = "NOTPROVIDED"


def render(batch: Batch, profile: BankProfile) -> bytes:
    """The message for a batch: valid by its XSD, and the same bytes for the same batch.

    Check `violations` first: this writes what it is given.

    Raises:
        ValueError: A text holds a control character, which XML cannot carry; or the profile's
            format is no version of this message.
    """
    if profile.outbound_format not in _VERSIONS:
        raise ValueError(f"{profile.outbound_format} is no version of pain.001 written here")
    root = xml.document(profile.outbound_format)
    message = xml.put(root, "CstmrCdtTrfInitn")
    _put_header(xml.put(message, "GrpHdr"), batch, profile)
    information = xml.put(message, "PmtInf")
    _put_information(information, batch, profile)
    for payment in batch.payments:
        _put_payment(xml.put(information, "CdtTrfTxInf"), payment, profile)
    return xml.written(root, profile.charset)


def _put_header(header: xml.Element, batch: Batch, profile: BankProfile) -> None:
    xml.put(header, "MsgId", batch.message_id)
    xml.put(header, "CreDtTm", xml.moment(batch.created_at))
    _put_totals(header, batch)
    party = xml.put(header, "InitgPty")
    xml.put(party, "Nm", batch.debtor_name)
    if profile.customer:
        _put_customer(xml.put(party, "Id/OrgId"), profile.customer)


def _put_customer(organisation: xml.Element, customer: Customer) -> None:
    xml.put(organisation, "Othr/Id", customer.id)
    if customer.social_credit_code:
        other = xml.put(organisation, "Othr")
        xml.put(other, "Id", customer.social_credit_code)
        xml.put(other, "SchmeNm/Prtry", "USCC")


def _put_totals(parent: xml.Element, batch: Batch) -> None:
    xml.put(parent, "NbOfTxs", str(len(batch.payments)))
    xml.put(parent, "CtrlSum", to_text(batch.total_minor, batch.payments[0].currency))


def _put_information(information: xml.Element, batch: Batch, profile: BankProfile) -> None:
    iso = profile.iso
    xml.put(information, "PmtInfId", batch.batch_id)
    xml.put(information, "PmtMtd", "TRF")
    xml.put(information, "BtchBookg", "true" if batch.batch_booking else "false")
    _put_totals(information, batch)
    xml.put_some(information, "PmtTpInf/SvcLvl/Cd", iso.service_level)
    # Version .03 knows a date only; later ones let the bank choose between date and date-time.
    older = profile.outbound_format == OLDER_VERSION
    execution = "ReqdExctnDt" if older else "ReqdExctnDt/Dt"
    xml.put(information, execution, batch.execution_date.isoformat())
    xml.put(information, "Dbtr/Nm", batch.debtor_name)
    _put_account(xml.put(information, "DbtrAcct"), batch.debtor_account, profile)
    agent = xml.put(information, "DbtrAgt/FinInstnId")
    if batch.debtor_bank_code:
        _put_bank(agent, batch.debtor_bank_code, profile)
    else:
        xml.put(agent, "Othr/Id", NOT_PROVIDED)
    xml.put_some(information, "ChrgBr", iso.charge_bearer)


def _put_account(account: xml.Element, number: str, profile: BankProfile) -> None:
    iban = profile.iso.account_scheme == "iban"
    xml.put(account, "Id/IBAN" if iban else "Id/Othr/Id", number)


def _put_bank(agent: xml.Element, bank_code: str, profile: BankProfile) -> None:
    if profile.iso.bank_code_scheme == "bic":
        older = profile.outbound_format == OLDER_VERSION
        xml.put(agent, "BIC" if older else "BICFI", bank_code)
        return
    member = xml.put(agent, "ClrSysMmbId")
    xml.put(member, "ClrSysId/Cd", CLEARING_SYSTEM)
    xml.put(member, "MmbId", bank_code)


def _put_payment(transfer: xml.Element, payment: Payment, profile: BankProfile) -> None:
    xml.put(transfer, "PmtId/EndToEndId", payment.end_to_end_id)
    amount = xml.put(transfer, "Amt/InstdAmt", to_text(payment.amount_minor, payment.currency))
    amount.set("Ccy", payment.currency)
    if payment.payee_bank_code:
        _put_bank(xml.put(transfer, "CdtrAgt/FinInstnId"), payment.payee_bank_code, profile)
    xml.put(transfer, "Cdtr/Nm", payment.payee_name)
    _put_account(xml.put(transfer, "CdtrAcct"), payment.payee_account, profile)
    xml.put_some(transfer, "RmtInf/Ustrd", payment.purpose)


def parse(content: bytes) -> Batch:
    """The batch of a message with one payment information.

    Raises:
        ParseError: Not a pain.001, malformed, more than one batch, or a total that is not the sum.
    """
    return _batch(xml.message(content, "pain.001", "CstmrCdtTrfInitn"))


def _batch(message: xml.Element) -> Batch:
    informations = xml.every(message, "PmtInf")
    if len(informations) != 1:
        raise ParseError("batch_not_single", f"{len(informations)} PmtInf", xml.line(message))
    information = informations[0]
    batch = Batch(
        message_id=_required(message, "GrpHdr/MsgId"),
        batch_id=_required(information, "PmtInfId"),
        debtor_name=xml.text(information, "Dbtr/Nm"),
        debtor_account=_required(information, "DbtrAcct/Id/Othr/Id", "DbtrAcct/Id/IBAN"),
        debtor_bank_code=_bank(information, "DbtrAgt"),
        created_at=xml.instant(message, "GrpHdr/CreDtTm"),
        execution_date=_execution_date(information),
        payments=tuple(map(_payment, xml.every(information, "CdtTrfTxInf"))),
        batch_booking=xml.text(information, "BtchBookg") in {"true", "1"},
    )
    _check_totals(message, batch)
    return batch


def _bank(element: xml.Element, agent: str) -> str:
    identified = f"{agent}/FinInstnId"
    names = ("ClrSysMmbId/MmbId", "BICFI", "BIC")
    return xml.text(element, *(f"{identified}/{name}" for name in names))


def _required(element: xml.Element, *paths: str) -> str:
    if value := xml.text(element, *paths):
        return value
    raise ParseError("field_missing", f"no {paths[0]}", xml.line(element))


def _execution_date(information: xml.Element) -> date:
    written = _required(information, "ReqdExctnDt/Dt", "ReqdExctnDt/DtTm", "ReqdExctnDt")
    if found := xml.day(written):
        return found
    raise ParseError("date_invalid", "ReqdExctnDt is no date", xml.line(information))


def _payment(transfer: xml.Element) -> Payment:
    amount = xml.first(transfer, "Amt/InstdAmt")
    currency = "" if amount is None else amount.get("Ccy", "")
    return Payment(
        end_to_end_id=_required(transfer, "PmtId/EndToEndId"),
        payee_name=xml.text(transfer, "Cdtr/Nm"),
        payee_account=_required(transfer, "CdtrAcct/Id/Othr/Id", "CdtrAcct/Id/IBAN"),
        payee_bank_code=_bank(transfer, "CdtrAgt"),
        amount_minor=_amount_minor(transfer, _required(transfer, "Amt/InstdAmt"), currency),
        currency=currency,
        purpose=xml.text(transfer, "RmtInf/Ustrd"),
    )


def _amount_minor(element: xml.Element, written: str, currency: str) -> int:
    try:
        return to_minor(written, currency)
    except AmountError as wrong:
        raise ParseError("amount_invalid", str(wrong), xml.line(element)) from wrong


def _check_totals(message: xml.Element, batch: Batch) -> None:
    count = xml.text(message, "GrpHdr/NbOfTxs")
    if not batch.payments or count != str(len(batch.payments)):
        raise ParseError("count_differs", "NbOfTxs is not the count", xml.line(message))
    control = xml.text(message, "GrpHdr/CtrlSum")
    total_minor = _amount_minor(message, control or "0", batch.payments[0].currency)
    if control and total_minor != batch.total_minor:
        raise ParseError("sum_differs", "CtrlSum is not the sum", xml.line(message))
