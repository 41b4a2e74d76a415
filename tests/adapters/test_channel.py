"""The bank-enterprise XML channel: what is written, and what an answer means."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.formats import channel_xml
from adapters.model import Batch, Outcome, ParseError, StatusReport
from adapters.profile import load_profile, violations
from tests.adapters.samples import NOW, amounts_minor, batch, identifiers, payment

ICBC = load_profile("icbc-channel")
LUMP = ICBC.model_copy(update={"batch_booking": "lump"})
ASKED = datetime(2026, 3, 3, 1, 0, tzinfo=UTC)

orders = st.builds(
    lambda references, amount: batch(*(payment(one, amount) for one in references)),
    st.lists(identifiers, min_size=1, max_size=4, unique=True),
    amounts_minor,
)


def xpath(content: bytes, path: str) -> str:
    return str(etree.fromstring(content).xpath(f"string({path})"))


def reply(*rows: str, code: str = "0", asked: str = "", kind: str = "PAYENT") -> bytes:
    """An answer written by hand, not by our renderer."""
    told = "".join(f"<rd>{row}</rd>" for row in rows)
    return (
        '<?xml version="1.0" encoding="GBK"?><CMS><eb><pub>'
        f"<TransCode>{kind}</TransCode><fSeqno>{'Q1' if asked else 'M1'}</fSeqno>"
        f"<RetCode>{code}</RetCode><RetMsg>说明</RetMsg></pub>"
        f"<out><QryfSeqno>{asked}</QryfSeqno>{told}</out></eb></CMS>"
    ).encode("gbk")


def row(reference: str = "P1", result: str = "7", more: str = "") -> str:
    return f"<iSeqno>{reference}</iSeqno><Result>{result}</Result>{more}"


def read(content: bytes, one: Batch | None = None) -> StatusReport:
    return channel_xml.parse_reply(content, ICBC, one or batch(), NOW)


def code_of(call: Callable[..., object], *given: object) -> str:
    with pytest.raises(ParseError) as refused:
        call(*given)
    return refused.value.code


def test_an_order_says_what_the_bank_asks_for() -> None:
    content = channel_xml.render(batch(payment("P1"), payment("P2", 77)), ICBC)
    assert violations(batch(), ICBC) == ()
    expected = {
        "//pub/TransCode": "PAYENT",
        "//pub/fSeqno": "M1",
        "//pub/TranDate": "20260302",
        "//pub/TranTime": "103000000000",
        "//in/TotalNum": "2",
        "//in/TotalAmt": "12422",
        "//in/SettleMode": "0",
        "//rd[2]/iSeqno": "P2",
        "//rd[2]/ERPSqn": "P2",
        "//rd[2]/PayAmt": "77",
        "//rd[1]/CurrType": "001",
        "//rd[1]/RecBankName": "中国工商银行",
        "//rd[1]/SysIOFlg": "1",
    }
    assert {path: xpath(content, path) for path in expected} == expected


def test_the_wire_declares_what_the_bank_wants_and_holds_its_charset() -> None:
    content = channel_xml.render(batch(payment(payee_name="镕堃喆")), ICBC)
    assert content.startswith(b'<?xml version="1.0" encoding="GB2312"?>')
    assert "镕堃喆".encode("gbk") in content
    assert channel_xml.parse(content, ICBC).payments[0].payee_name == "镕堃喆"


def test_what_the_charset_cannot_write_is_refused_and_never_replaced() -> None:
    rare = batch(payment(payee_name="𠮷野"))
    assert [f.code for f in violations(rare, ICBC)] == ["character_refused"]
    with pytest.raises(UnicodeEncodeError):
        channel_xml.render(rare, ICBC)


@pytest.mark.parametrize(
    ("wish", "profile", "mode"),
    [(True, LUMP, "2"), (False, LUMP, "0"), (True, ICBC, "0"), (False, ICBC, "0")],
)
def test_a_lump_debit_is_asked_for_only_where_the_bank_agreed(
    wish: bool, profile: object, mode: str
) -> None:
    content = channel_xml.render(batch(batch_booking=wish), profile)  # type: ignore[arg-type] # two profiles
    assert xpath(content, "//SettleMode") == mode


@given(orders)
def test_an_order_reads_back_and_is_the_same_bytes_each_time(one: Batch) -> None:
    content = channel_xml.render(one, ICBC)
    assert content == channel_xml.render(replace(one), ICBC)
    known = replace(one, batch_id=one.message_id, debtor_bank_code="")
    assert channel_xml.parse(content, ICBC) == known


def test_a_later_day_is_asked_for_by_name() -> None:
    later = replace(batch(), execution_date=date(2026, 3, 5))
    content = channel_xml.render(later, ICBC)
    assert xpath(content, "//StartDate") == "20260305"
    assert channel_xml.parse(content, ICBC).execution_date == date(2026, 3, 5)


def test_a_query_asks_by_our_own_references() -> None:
    content = channel_xml.render_query(batch(), ICBC, "Q1", ASKED)
    assert xpath(content, "//pub/TransCode") == "QPAYENT"
    assert xpath(content, "//pub/fSeqno") == "Q1"
    assert xpath(content, "//QryfSeqno") == "M1"
    assert xpath(content, "//QryiSeqno") == "P1"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"<TotalNum>1", b"<TotalNum>2", "count_differs"),
        (b"<TotalAmt>12345", b"<TotalAmt>12346", "sum_differs"),
        (b"<PayAmt>12345", b"<PayAmt>123.45", "amount_invalid"),
        (b"<TranDate>20260302", b"<TranDate>20260230", "date_invalid"),
        (b"<StartDate>", b"<StartDate>soon", "date_invalid"),
        (b"<fSeqno>M1</fSeqno>", b"", "field_missing"),
        (b"<iSeqno>P1</iSeqno>", b"", "field_missing"),
        (b"CMS>", b"CMT>", "format_unknown"),
        (b"</CMS>", b"", "xml_malformed"),
        (b"in>", b"inn>", "field_missing"),
    ],
)
def test_a_damaged_order_is_refused_by_name(old: bytes, new: bytes, code: str) -> None:
    damaged = channel_xml.render(batch(), ICBC).replace(old, new)
    assert code_of(channel_xml.parse, damaged, ICBC) == code


# Codes as third-party contracts list them: only 6, 7, 8 and 11 are final.
@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        *((str(code), Outcome.REJECTED) for code in (6, 8, 11)),
        ("7", Outcome.SETTLED),
        *((str(code), Outcome.RECEIVED) for code in (0, 2, 3, 4, 5, 10)),
        *((str(code), Outcome.ACCEPTED) for code in (1, 9)),
        *((code, Outcome.UNKNOWN) for code in ("12", "07", "-1", "A", "")),
    ],
)
def test_a_status_code_is_final_only_where_the_profile_says_so(
    result: str, outcome: Outcome
) -> None:
    told = read(reply(row(result=result, more="<iRetMsg>原因</iRetMsg>"))).statuses
    assert [(s.end_to_end_id, s.outcome, s.reason_text) for s in told] == [("P1", outcome, "原因")]


def test_a_failed_return_code_of_one_payment_alone_decides_nothing() -> None:
    told = read(reply("<iSeqno>P1</iSeqno><iRetCode>B0116</iRetCode>")).statuses
    assert [s.outcome for s in told] == [Outcome.UNKNOWN]


@pytest.mark.parametrize("code", ["B9999", "1", "-"])
def test_a_reply_with_a_code_that_nobody_told_us_of_is_unknown(code: str) -> None:
    told = read(reply(code=code)).statuses
    assert [(s.end_to_end_id, s.code, s.outcome) for s in told] == [("", code, Outcome.UNKNOWN)]


def test_a_receipt_without_payments_speaks_for_the_batch() -> None:
    told = read(reply()).statuses
    assert [(s.end_to_end_id, s.outcome) for s in told] == [("", Outcome.RECEIVED)]


def test_a_refused_question_says_nothing_of_the_payments() -> None:
    channel = ICBC.channel
    assert channel is not None
    known = channel.model_copy(update={"return_outcomes": {"E1": Outcome.REJECTED}})
    profile = ICBC.model_copy(update={"channel": known})
    ordered = channel_xml.parse_reply(reply(code="E1"), profile, batch(), NOW)
    assert [s.outcome for s in ordered.statuses] == [Outcome.REJECTED]
    question = reply(code="E1", asked="M1", kind="QPAYENT")
    asked = channel_xml.parse_reply(question, profile, batch(), NOW)
    assert [s.outcome for s in asked.statuses] == [Outcome.UNKNOWN]


def test_a_bank_that_knows_no_such_order_may_name_the_question_alone() -> None:
    channel = ICBC.channel
    assert channel is not None
    known = channel.model_copy(update={"not_found_codes": ("B0001",)})
    profile = ICBC.model_copy(update={"channel": known})
    content = reply(code="B0001", kind="QPAYENT").replace(b"<fSeqno>M1", b"<fSeqno>Q1")
    told = channel_xml.parse_reply(content, profile, batch(), NOW, "Q1")
    assert [(s.end_to_end_id, s.outcome) for s in told.statuses] == [("", Outcome.NOT_FOUND)]
    with pytest.raises(ParseError, match="reply_mismatch"):
        channel_xml.parse_reply(content, profile, batch(), NOW, "Q2")


def test_a_payment_that_is_not_listed_has_no_status() -> None:
    two = batch(payment("P1"), payment("P2"))
    told = read(reply(row("P2", "6")), two).statuses
    assert [(s.end_to_end_id, s.outcome) for s in told] == [("P2", Outcome.REJECTED)]


@pytest.mark.parametrize(
    "content",
    [
        reply(row("P9")),
        reply(row("P1"), row("P1")),
        reply("<Result>7</Result>"),
        reply(row(more="<PayAmt>12346</PayAmt>")),
        reply(row(more="<RecAccNo>1</RecAccNo>")),
        reply(row(), asked="M2", kind="QPAYENT"),
        reply(row()).replace(b"<fSeqno>M1", b"<fSeqno>M2"),
    ],
)
def test_an_answer_about_something_else_is_refused(content: bytes) -> None:
    assert code_of(read, content) == "reply_mismatch"


def test_an_answer_cut_anywhere_is_refused() -> None:
    content = reply(row())
    for cut in range(len(content)):
        code_of(read, content[:cut])


HOSTILE = [
    b"",
    b"\0" * 100,
    b"<CMS/>",
    b"<CMS><eb/></CMS>",
    b"<CMS><eb/><eb/></CMS>",
    b'<!DOCTYPE CMS [<!ENTITY a "b">]><CMS><eb>&a;</eb></CMS>',
    b'<?xml version="1.0" encoding="GBK"?><CMS>\xff\xff</CMS>',
    b"<a>" * 100_000,
    reply().replace(b"<RetCode>0</RetCode>", b""),
    reply().replace(b"<TransCode>PAYENT</TransCode>", b""),
]


@pytest.mark.parametrize("content", HOSTILE)
def test_a_hostile_answer_is_a_named_error(content: bytes) -> None:
    assert code_of(read, content)


@given(st.binary(max_size=200).map(lambda b: b"<CMS><eb>" + b + b"</eb></CMS>"))
def test_any_bytes_are_an_answer_or_a_named_error(content: bytes) -> None:
    assert code_of(read, content)
