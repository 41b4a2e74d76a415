"""A bank-enterprise XML channel (银企直联) in the style of ICBC: an order, a query, the replies.

The shape is `CMS/eb/pub` with `in` or `out`, amounts in the profile's unit, one `rd` for each
instruction. Our reference is both `iSeqno` and `ERPSqn`, so the bank's answer names it. The layout
follows public third-party contracts; codes, lengths and the meaning of each status are settings of
the profile.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo

from lxml import etree

from adapters.calendar import local
from adapters.formats import xml
from adapters.model import Batch, Outcome, ParseError, Payment, Status, StatusReport
from adapters.profile import BankProfile, Channel, Customer, same_city

_ROOT: Final = "CMS"
_MAX_BYTES: Final = 1 << 26
_ONLINE: Final = "1"


def render(batch: Batch, profile: BankProfile) -> bytes:
    """The order for a batch; the same bytes for the same batch.

    Check `violations` first: this writes what it is given.

    Raises:
        ValueError: A text holds a control character or what the charset cannot write; or the
            profile has no channel.
    """
    channel, customer = _settings(profile)
    root, order = _request(
        channel.payment_code, batch.message_id, batch.created_at, customer, profile
    )
    lump = profile.asks_lump(batch)
    xml.put(order, "OnlBatF", _ONLINE)
    xml.put(order, "SettleMode", channel.settle_mode_lump if lump else channel.settle_mode_single)
    xml.put(order, "TotalNum", str(len(batch.payments)))
    currency = batch.payments[0].currency
    xml.put(order, "TotalAmt", profile.amount_text(batch.total_minor, currency))
    xml.put(order, "SignTime", f"{local(batch.created_at, profile.calendar):%Y%m%d%H%M%S}000")
    for payment in batch.payments:
        _put_payment(xml.put(order, "rd"), payment, batch, profile, channel)
    return _written(root, profile)


def render_query(batch: Batch, profile: BankProfile, query_id: str, at: datetime) -> bytes:
    """The question what became of a batch, asked by our own references.

    Args:
        batch: What was sent.
        profile: The bank.
        query_id: The question's own number, never used before at this bank.
        at: When it is asked, aware.

    Raises:
        ValueError: As `render`.
    """
    channel, customer = _settings(profile)
    root, question = _request(channel.query_code, query_id, at, customer, profile)
    xml.put(question, "QryfSeqno", batch.message_id)
    for payment in batch.payments:
        asked = xml.put(question, "rd")
        xml.put(asked, "iSeqno", payment.end_to_end_id)
        xml.put(asked, "QryiSeqno", payment.end_to_end_id)
    return _written(root, profile)


def _settings(profile: BankProfile) -> tuple[Channel, Customer]:
    if profile.channel is None or profile.customer is None:
        raise ValueError(f"{profile.id} has no channel")
    return profile.channel, profile.customer


def _request(
    code: str, sequence: str, at: datetime, customer: Customer, profile: BankProfile
) -> tuple[xml.Element, xml.Element]:
    root = etree.Element(_ROOT)
    body = etree.SubElement(root, "eb")
    public = etree.SubElement(body, "pub")
    moment = local(at, profile.calendar)
    for name, value in (
        ("TransCode", code),
        ("CIS", customer.id),
        ("BankCode", profile.own_bank_code),
        ("ID", customer.certificate_id),
        ("TranDate", f"{moment:%Y%m%d}"),
        ("TranTime", f"{moment:%H%M%S}000000"),
        ("fSeqno", sequence),
    ):
        etree.SubElement(public, name).text = value
    return root, etree.SubElement(body, "in")


def _put_payment(
    row: xml.Element, payment: Payment, batch: Batch, profile: BankProfile, channel: Channel
) -> None:
    code = payment.payee_bank_code
    for name, value in (
        ("iSeqno", payment.end_to_end_id),
        ("StartDate", _start(batch, profile)),
        ("PayType", channel.priority),
        ("PayAccNo", batch.debtor_account),
        ("PayAccNameCN", batch.debtor_name),
        ("RecAccNo", payment.payee_account),
        ("RecAccNameCN", payment.payee_name),
        ("SysIOFlg", "1" if profile.is_own_bank(code) else "2"),
        ("IsSameCity", "1" if same_city(code, batch.debtor_bank_code) else "2"),
        ("Prop", channel.payee_kind),
        ("RecCityName", profile.city_name(code)),
        ("RecBankNo", code),
        ("RecBankName", profile.bank_name(code)),
        ("CurrType", profile.currency_code(payment.currency)),
        ("PayAmt", profile.amount_text(payment.amount_minor, payment.currency)),
        ("UseCN", payment.purpose),
        ("ERPSqn", payment.end_to_end_id),
    ):
        xml.put(row, name, value)


def _start(batch: Batch, profile: BankProfile) -> str:
    """The day on which the bank should begin; empty for the day of the order itself."""
    today = local(batch.created_at, profile.calendar).date()
    return f"{batch.execution_date:%Y%m%d}" if batch.execution_date > today else ""


def _written(root: xml.Element, profile: BankProfile) -> bytes:
    """Strictly in the charset: lxml by itself would write `&#...;` for what does not fit."""
    text = etree.tostring(root, encoding="unicode")
    head = f'<?xml version="1.0" encoding="{profile.declared}"?>\n'
    return (head + text).encode(profile.charset)


def parse(content: bytes, profile: BankProfile) -> Batch:
    """The batch of an order, as the bank reads it.

    Raises:
        ParseError: No such order, a missing field, or totals that are not the sum.
    """
    public, order = _parts(content, "in")
    if order is None:
        raise ParseError("field_missing", "no in", xml.line(public))
    created_at = _created_at(public, profile)
    rows = xml.every(order, "rd")
    if not rows:
        raise ParseError("count_differs", "no rd", xml.line(order))
    payments = tuple(_payment(row, profile) for row in rows)
    batch = Batch(
        message_id=_required(public, "fSeqno"),
        batch_id=_required(public, "fSeqno"),
        debtor_name=xml.text(rows[0], "PayAccNameCN"),
        debtor_account=_required(rows[0], "PayAccNo"),
        debtor_bank_code="",
        created_at=created_at,
        execution_date=_execution_date(rows[0], created_at, profile),
        payments=payments,
        batch_booking=_lump(order, profile),
    )
    _check_order(order, rows, batch, profile)
    return batch


def _lump(order: xml.Element, profile: BankProfile) -> bool:
    channel, _ = _settings(profile)
    return _required(order, "SettleMode") == channel.settle_mode_lump


def _payment(row: xml.Element, profile: BankProfile) -> Payment:
    code = _required(row, "CurrType")
    currencies = [iso for iso, own in profile.currencies.items() if own == code]
    currency = currencies[0] if currencies else code
    return Payment(
        end_to_end_id=_required(row, "iSeqno"),
        payee_name=xml.text(row, "RecAccNameCN"),
        payee_account=_required(row, "RecAccNo"),
        payee_bank_code=xml.text(row, "RecBankNo"),
        amount_minor=profile.amount_minor(_required(row, "PayAmt"), currency, xml.line(row)),
        currency=currency,
        purpose=xml.text(row, "UseCN"),
    )


def _check_order(
    order: xml.Element, rows: list[xml.Element], batch: Batch, profile: BankProfile
) -> None:
    here = xml.line(order)
    if xml.text(order, "TotalNum") != str(len(rows)):
        raise ParseError("count_differs", "TotalNum is not the count", here)
    total = profile.amount_minor(_required(order, "TotalAmt"), batch.payments[0].currency, here)
    if total != batch.total_minor:
        raise ParseError("sum_differs", "TotalAmt is not the sum", here)
    payers = {(xml.text(row, "PayAccNo"), xml.text(row, "StartDate")) for row in rows}
    if len(payers) > 1:
        raise ParseError("batch_not_single", "more than one account or day in an order", here)


def _created_at(public: xml.Element, profile: BankProfile) -> datetime:
    written = xml.text(public, "TranDate") + xml.text(public, "TranTime")[:6]
    try:
        naive = datetime.strptime(written, "%Y%m%d%H%M%S")  # noqa: DTZ007 - the zone follows
        return naive.replace(tzinfo=ZoneInfo(profile.calendar.time_zone)).astimezone(UTC)
    except (ValueError, OverflowError) as wrong:
        where = xml.line(public)
        raise ParseError("date_invalid", "TranDate, TranTime is no moment", where) from wrong


def _execution_date(row: xml.Element, created_at: datetime, profile: BankProfile) -> date:
    written = xml.text(row, "StartDate")
    if not written:
        return local(created_at, profile.calendar).date()
    if found := xml.day(written):
        return found
    raise ParseError("date_invalid", "StartDate is no date", xml.line(row))


def parse_reply(
    content: bytes,
    profile: BankProfile,
    batch: Batch,
    received_at: datetime,
    query_id: str = "",
) -> StatusReport:
    """What the bank says of a batch, after the order or a query.

    A code that the profile does not know is UNKNOWN, of an instruction as of the whole reply. That
    of the whole reply is reported where no instruction is listed, and when it is a refusal of the
    order; that of a query speaks of the question and decides nothing, but may say NOT_FOUND.

    Args:
        content: The reply.
        profile: The bank.
        batch: What was sent or asked for: what the reply shows must be of it.
        received_at: When the reply came; the bank's own clock is not trusted.
        query_id: The number of the query that it answers; empty after an order.

    Raises:
        ParseError: No such reply, or one to another order, or of other payments.
    """
    channel, _ = _settings(profile)
    public, answer = _parts(content, "out")
    _check_reply(public, answer, {batch.message_id, query_id})
    rows = [] if answer is None else xml.every(answer, "rd")
    code = _required(public, "RetCode")
    ordered = _required(public, "TransCode") == channel.payment_code
    missed = dict.fromkeys(channel.not_found_codes, Outcome.NOT_FOUND)
    outcome = (channel.return_outcomes if ordered else missed).get(code, Outcome.UNKNOWN)
    wide = Status("", batch.batch_id, code, "", xml.text(public, "RetMsg"), outcome)
    speaks = not rows or outcome is Outcome.REJECTED
    statuses = (*((wide,) if speaks else ()), *_statuses(rows, batch, profile))
    return StatusReport(_required(public, "fSeqno"), batch.message_id, received_at, statuses)


def _check_reply(public: xml.Element, answer: xml.Element | None, ours: set[str]) -> None:
    """A reply names the order or, where it knows none, the question alone."""
    asked = "" if answer is None else xml.text(answer, "QryfSeqno")
    if (asked or _required(public, "fSeqno")) not in ours - {""}:
        raise ParseError("reply_mismatch", "an answer to another order", xml.line(public))


def _statuses(rows: list[xml.Element], batch: Batch, profile: BankProfile) -> Iterator[Status]:
    sent = {payment.end_to_end_id: payment for payment in batch.payments}
    for row in rows:
        reference = xml.text(row, "QryiSeqno", "iSeqno")
        payment = sent.pop(reference, None)
        if payment is None:
            raise ParseError("reply_mismatch", "a row that was not sent, or twice", xml.line(row))
        _check_row(row, payment, profile)
        # Without a status of its own an instruction is undecided, whatever its return code says.
        code = xml.text(row, "Result")
        reason, text = xml.text(row, "iRetCode"), xml.text(row, "iRetMsg")
        yield Status(reference, batch.batch_id, code, reason, text, profile.outcome(code))


def _check_row(row: xml.Element, payment: Payment, profile: BankProfile) -> None:
    here = xml.line(row)
    written = xml.text(row, "PayAmt")
    if written and profile.amount_minor(written, payment.currency, here) != payment.amount_minor:
        raise ParseError("reply_mismatch", "PayAmt is not what was sent", here)
    account = xml.text(row, "RecAccNo")
    if account and account != payment.payee_account:
        raise ParseError("reply_mismatch", "RecAccNo is not what was sent", here)


def is_channel(content: bytes) -> bool:
    """Whether a file begins like a message of this channel."""
    try:
        return xml.name_of(xml.root_of_document(BytesIO(content))) == _ROOT
    except ParseError:
        return False


def _parts(content: bytes, section: str) -> tuple[xml.Element, xml.Element | None]:
    """`pub`, and the section if there is one."""
    if len(content) > _MAX_BYTES:
        raise ParseError("file_too_large", f"more than {_MAX_BYTES} bytes")
    xml.Held().add(content)
    found = list(xml.elements(BytesIO(content), "eb"))
    if not is_channel(content) or len(found) != 1:
        raise ParseError("format_unknown", "not one message of the channel", "line 1")
    public = xml.first(found[0], "pub")
    if public is None:
        raise ParseError("field_missing", "no pub", xml.line(found[0]))
    return public, xml.first(found[0], section)


def _required(element: xml.Element, path: str) -> str:
    if value := xml.text(element, path):
        return value
    raise ParseError("field_missing", f"no {path}", xml.line(element))
