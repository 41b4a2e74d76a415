from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.formats import camt053
from adapters.model import Balance, Entry, Parsed, ParseError, Severity, Statement
from tests.adapters.samples import DAY, NOW, statements

OPENING, CLOSING = ("OPBD", "1000.00"), ("CLBD", "900.00")


def amount(value: str, direction: str = "CRDT") -> str:
    return f'<Amt Ccy="CNY">{value}</Amt><CdtDbtInd>{direction}</CdtDbtInd>'


def balance(code: str, value: str) -> str:
    kind = f"<Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
    return f"<Bal>{kind}{amount(value)}<Dt><Dt>2026-03-02</Dt></Dt></Bal>"


def entry(value: str, direction: str = "DBIT", inner: str = "", serial: str = "E1") -> str:
    dates = "<BookgDt><Dt>2026-03-02</Dt></BookgDt><ValDt><Dt>2026-03-02</Dt></ValDt>"
    reference = f"<AcctSvcrRef>{serial}</AcctSvcrRef>" if serial else ""
    return f"<Ntry>{amount(value, direction)}<Sts>BOOK</Sts>{dates}{reference}{inner}</Ntry>"


def detail(reference: str, value: str, inner: str = "") -> str:
    money = f'<AmtDtls><TxAmt><Amt Ccy="CNY">{value}</Amt></TxAmt></AmtDtls>' if value else ""
    ids = f"<Refs><EndToEndId>{reference}</EndToEndId></Refs>"
    return f"<TxDtls>{ids}{money}{inner}</TxDtls>"


def file(
    *entries: str,
    version: str = "053.001.02",
    holder: str = "Stmt",
    balances: tuple[tuple[str, str], ...] = (OPENING, CLOSING),
) -> bytes:
    held = "".join(balance(*one) for one in balances) + "".join(entries)
    account = "<Id>S1</Id><Acct><Id><Othr><Id>44020001</Id></Othr></Id><Ccy>CNY</Ccy></Acct>"
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{version}"><Message>'
        f"<{holder}>{account}{held}</{holder}></Message></Document>"
    ).encode()


def only(parsed: Parsed) -> Statement:
    assert len(parsed.statements) == 1
    return parsed.statements[0]


def codes(parsed: Parsed) -> list[str]:
    return [finding.code for finding in parsed.findings]


@given(statements())
def test_a_rendered_statement_reads_back_as_itself(one: Statement) -> None:
    parsed = camt053.parse(camt053.render(one, "M1", NOW))
    assert parsed == Parsed("camt.053", (one,), ())


@given(statements())
def test_every_statement_renders_valid_by_the_schema(
    camt053_schema: etree.XMLSchema, one: Statement
) -> None:
    lumps = {e.entry_id: 2 for e in one.entries if e.batch_id and not e.end_to_end_id}
    camt053_schema.assertValid(etree.fromstring(camt053.render(one, "M1", NOW, lumps)))


@pytest.mark.parametrize("version", [f"053.001.{number:02}" for number in range(1, 14)])
def test_every_version_reads_the_same(version: str) -> None:
    parsed = camt053.parse(file(entry("100.00"), version=version))
    assert only(parsed).entries[0].amount_minor == -10000
    assert parsed.findings == ()


@pytest.mark.parametrize(("number", "holder"), [("052", "Rpt"), ("054", "Ntfctn")])
def test_a_report_without_balances_is_no_fault(number: str, holder: str) -> None:
    content = file(entry("5.00"), version=f"{number}.001.08", holder=holder, balances=())
    parsed = camt053.parse(content)
    assert parsed.format == f"camt.{number}"
    assert only(parsed).opening is None
    assert parsed.findings == ()


def test_entries_that_do_not_lead_to_the_closing_balance_are_an_error() -> None:
    parsed = camt053.parse(file(entry("99.99")))
    assert codes(parsed) == ["statement_inconsistent"]
    assert parsed.findings[0].severity is Severity.ERROR


def test_a_statement_without_a_balance_says_so() -> None:
    assert codes(camt053.parse(file(entry("1.00"), balances=(OPENING,)))) == ["balance_missing"]


@pytest.mark.parametrize(
    "balances",
    [
        (("PRCD", "1000.00"), CLOSING),
        (OPENING, ("ITBD", "900.00")),
        (("ITBD", "1000.00"), ("ITBD", "900.00")),
        (("ITBD", "1000.00"), CLOSING),
    ],
)
def test_pages_of_a_statement_are_held_together_by_interim_balances(
    balances: tuple[tuple[str, str], ...],
) -> None:
    parsed = camt053.parse(file(entry("100.00"), balances=balances))
    assert only(parsed).opening == Balance(DAY, 100000)
    assert only(parsed).closing == Balance(DAY, 90000)
    assert parsed.findings == ()


def test_details_that_add_up_stand_in_place_of_their_entry() -> None:
    lump = "<NtryDtls><Btch><PmtInfId>B1</PmtInfId><NbOfTxs>2</NbOfTxs></Btch>{}</NtryDtls>"
    details = detail("P1", "60.00") + detail("P2", "40.00")
    parsed = camt053.parse(file(entry("100.00", inner=lump.format(details))))
    rows = [(e.entry_id, e.end_to_end_id, e.batch_id, e.amount_minor) for e in only(parsed).entries]
    assert rows == [("E1/1", "P1", "B1", -6000), ("E1/2", "P2", "B1", -4000)]
    assert parsed.findings == ()


def test_details_keep_the_batch_they_stand_in() -> None:
    groups = "".join(
        f"<NtryDtls><Btch><PmtInfId>{batch}</PmtInfId></Btch>{inner}</NtryDtls>"
        for batch, inner in (("B1", detail("P1", "50.00")), ("B2", detail("P2", "50.00")))
    )
    parsed = camt053.parse(file(entry("100.00", inner=groups)))
    assert [(e.batch_id, e.end_to_end_id) for e in only(parsed).entries] == [
        ("B1", "P1"),
        ("B2", "P2"),
    ]


@pytest.mark.parametrize(("stated", "expected"), [("2", []), ("3", ["batch_count_differs"])])
def test_the_count_of_a_batch_is_checked(stated: str, expected: list[str]) -> None:
    details = detail("P1", "60.00") + detail("P2", "40.00")
    lump = f"<NtryDtls><Btch><NbOfTxs>{stated}</NbOfTxs></Btch>{details}</NtryDtls>"
    assert codes(camt053.parse(file(entry("100.00", inner=lump)))) == expected


@pytest.mark.parametrize(
    ("second", "code"), [("40.01", "batch_sum_differs"), ("", "detail_without_amount")]
)
def test_details_that_do_not_add_up_leave_the_entry_whole(second: str, code: str) -> None:
    details = f"<NtryDtls>{detail('P1', '60.00')}{detail('P2', second)}</NtryDtls>"
    parsed = camt053.parse(file(entry("100.00", inner=details)))
    assert [e.amount_minor for e in only(parsed).entries] == [-10000]
    assert codes(parsed) == [code]


@pytest.mark.parametrize(("total", "expected"), [("100.00", []), ("99.00", ["batch_sum_differs"])])
def test_a_lump_without_details_keeps_its_batch_and_its_total_is_checked(
    total: str, expected: list[str]
) -> None:
    lump = f'<Btch><PmtInfId>B1</PmtInfId><TtlAmt Ccy="CNY">{total}</TtlAmt></Btch>'
    parsed = camt053.parse(file(entry("100.00", inner=f"<NtryDtls>{lump}</NtryDtls>")))
    assert [(e.batch_id, e.end_to_end_id) for e in only(parsed).entries] == [("B1", "")]
    assert codes(parsed) == expected


def test_a_return_keeps_its_reason_its_reference_and_the_payee() -> None:
    parties = "<RltdPties><Cdtr><Nm>王师傅</Nm></Cdtr></RltdPties>"
    reason = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
    inner = f"<NtryDtls>{detail('P1', '5.00', parties + reason)}</NtryDtls>"
    back = only(camt053.parse(file(entry("5.00", "CRDT", inner)))).entries[0]
    assert (back.amount_minor, back.return_reason) == (500, "AC04")
    assert (back.end_to_end_id, back.counterparty_name) == ("P1", "王师傅")


def test_a_return_without_a_reason_is_still_a_return() -> None:
    inner = f"<NtryDtls>{detail('P1', '5.00', '<RtrInf/>')}</NtryDtls>"
    assert only(camt053.parse(file(entry("5.00", "CRDT", inner)))).entries[0].return_reason


def test_a_serial_used_twice_is_named_and_both_entries_stay() -> None:
    parsed = camt053.parse(file(entry("60.00"), entry("40.00")))
    assert [e.entry_id for e in only(parsed).entries] == ["E1", "E1~2"]
    assert codes(parsed) == ["entry_repeated"]


def test_equal_rows_without_a_serial_are_two_entries_with_lasting_ids() -> None:
    rows = (entry("50.00", serial=""), entry("50.00", serial=""))
    first, second = only(camt053.parse(file(*rows))).entries
    assert first.entry_id != second.entry_id
    assert only(camt053.parse(file(*rows, rows[0]))).entries[:2] == (first, second)


def test_an_entry_that_is_not_booked_is_left_out_and_named() -> None:
    pending = entry("5.00", serial="E2").replace("BOOK", "PDNG")
    parsed = camt053.parse(file(entry("100.00"), pending))
    assert [e.entry_id for e in only(parsed).entries] == ["E1"]
    assert codes(parsed) == ["entry_not_booked"]


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (entry("100.001"), "amount_invalid"),
        (entry("-100.00"), "amount_invalid"),
        (entry("1e2"), "amount_invalid"),
        (entry("100.00").replace(' Ccy="CNY"', ""), "amount_invalid"),
        (entry("100.00", "BOTH"), "direction_missing"),
        (entry("100.00").replace("2026-03-02", "2026-02-30"), "date_missing"),
        (entry("100.00").replace("CNY", "USD"), "currency_differs"),
    ],
)
def test_an_entry_that_cannot_be_booked_is_an_error(broken: str, code: str) -> None:
    found = [f for f in camt053.parse(file(broken)).findings if f.code == code]
    assert [f.severity for f in found] == [Severity.ERROR]


def test_a_comment_cannot_cut_an_amount_in_two() -> None:
    content = file(entry("1<!-- -->00.00"))
    assert only(camt053.parse(content)).entries[0].amount_minor == -10000


@pytest.mark.parametrize(
    "subset",
    [
        "",
        '[<!ENTITY x "y">]',
        '[<!ENTITY x SYSTEM "file:///etc/hostname">]',
        "["
        '<!ENTITY a0 "aaaaaaaaaa">'
        + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
        + "]",
    ],
)
def test_a_doctype_is_refused_whatever_it_holds(subset: str) -> None:
    content = f"<!DOCTYPE Document {subset}>".encode() + file(entry("100.00"))
    with pytest.raises(ParseError) as refused:
        camt053.parse(content.replace(b"E1", b"&a8;"))
    assert refused.value.code == "doctype_refused"


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(ParseError) as refused:
        camt053.parse(file("<a>" * 100_000))
    assert refused.value.code == "xml_malformed"


def test_a_chinese_file_is_read_as_gb18030_whatever_kind_it_declares() -> None:
    inner = f"<NtryDtls>{detail('P1', '100.00', '<AddtlTxInf>堃镕㐂</AddtlTxInf>')}</NtryDtls>"
    body = file(entry("100.00", inner=inner)).decode()
    content = '<?xml version="1.0" encoding="GB2312"?>' + body
    assert only(camt053.parse(content.encode("gb18030"))).entries[0].text == "堃镕㐂"


def test_a_utf16_file_is_read() -> None:
    content = '<?xml version="1.0" encoding="UTF-16"?>' + file(entry("100.00")).decode()
    assert only(camt053.parse(content.encode("utf-16"))).entries[0].amount_minor == -10000


@settings(max_examples=20)
@given(st.data())
def test_a_file_cut_anywhere_is_refused_and_never_half_booked(data: st.DataObject) -> None:
    content = camt053.render(data.draw(statements()), "M1", NOW).rstrip()
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ParseError):
        camt053.parse(content[:cut])


def test_a_stream_gives_the_head_first_and_then_every_entry_in_order() -> None:
    rows = tuple(Entry(f"E{n}", DAY, DAY, -n, "CNY") for n in range(1, 3000))
    opening, closing = Balance(DAY, 0), Balance(DAY, sum(row.amount_minor for row in rows))
    whole = Statement("S", "A", "CNY", opening, closing, rows)
    head, *entries = camt053.stream(BytesIO(camt053.render(whole, "M1", NOW)))
    assert isinstance(head, camt053.Head)
    assert (head.statement_id, head.opening, head.closing) == ("S", opening, closing)
    assert tuple(entries) == rows


def pages(*held: str, message_page: str = "") -> bytes:
    """Statements of one file, each with its own balances and entries already written."""
    head = f"<GrpHdr><MsgId>M</MsgId>{message_page}</GrpHdr>"
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><Message>'
        f"{head}{''.join(held)}</Message></Document>"
    ).encode()


def page(number: int, last: bool, *held: str, statement: str = "S1") -> str:
    place = f"<PgNb>{number}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd>"
    account = "<Acct><Id><Othr><Id>44020001</Id></Othr></Id><Ccy>CNY</Ccy></Acct>"
    return (
        f"<Stmt><Id>{statement}</Id><StmtPgntn>{place}</StmtPgntn>{account}{''.join(held)}</Stmt>"
    )


FIRST = (balance("OPBD", "1000.00"), balance("ITBD", "900.00"), entry("100.00"))
SECOND = (balance("ITBD", "900.00"), balance("CLBD", "860.00"), entry("40.00", serial="E2"))


def test_pages_of_one_file_are_one_statement() -> None:
    parsed = camt053.parse(pages(page(1, False, *FIRST), page(2, True, *SECOND)))
    statement = only(parsed)
    assert [e.entry_id for e in statement.entries] == ["E1", "E2"]
    assert (statement.opening, statement.closing) == (Balance(DAY, 100000), Balance(DAY, 86000))
    assert parsed.findings == ()


def test_pages_without_interim_balances_are_checked_as_a_whole() -> None:
    first = page(1, False, balance("OPBD", "1000.00"), entry("100.00"))
    assert codes(camt053.parse(pages(first, page(2, True, *SECOND[1:])))) == []
    wrong = page(2, True, SECOND[1], entry("39.99", serial="E2"))
    assert codes(camt053.parse(pages(first, wrong))) == ["statement_inconsistent"]


def test_an_id_used_again_on_the_next_page_is_named() -> None:
    again = (*SECOND[:2], entry("40.00"))
    parsed = camt053.parse(pages(page(1, False, *FIRST), page(2, True, *again)))
    assert [e.entry_id for e in only(parsed).entries] == ["E1", "E1~2"]
    assert codes(parsed) == ["entry_repeated"]


def test_a_page_that_does_not_open_where_the_last_one_closed_is_an_error() -> None:
    moved = (balance("ITBD", "901.00"), balance("CLBD", "861.00"), SECOND[2])
    parsed = camt053.parse(pages(page(1, False, *FIRST), page(2, True, *moved)))
    assert codes(parsed) == ["pages_inconsistent"]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ((page(1, False, balance("OPBD", "1.00")),), ["statement_continues"]),
        ((page(2, True, balance("CLBD", "1.00")),), ["statement_continued"]),
        ((page(1, False, *FIRST),), []),
        ((page(2, True, *SECOND),), []),
        (
            (page(1, False, balance("OPBD", "1.00")), page(3, True, balance("CLBD", "1.00"))),
            ["statement_continues", "statement_continued"],
        ),
        (
            (
                page(1, False, balance("OPBD", "1.00")),
                page(2, True, balance("CLBD", "1.00"), statement="S2"),
            ),
            ["statement_continues", "statement_continued"],
        ),
    ],
)
def test_a_page_alone_says_what_it_lacks(held: tuple[str, ...], expected: list[str]) -> None:
    parsed = camt053.parse(pages(*held))
    assert codes(parsed) == expected
    assert len(parsed.statements) == len(held)


def test_the_page_of_the_message_stands_for_its_statement() -> None:
    whole = file(balances=(OPENING,)).decode().partition("<Message>")[2].partition("</Message>")[0]
    place = "<MsgPgntn><PgNb>1</PgNb><LastPgInd>false</LastPgInd></MsgPgntn>"
    assert codes(camt053.parse(pages(whole, message_page=place))) == ["statement_continues"]
    assert codes(camt053.parse(pages(whole))) == ["balance_missing"]


def test_statements_that_state_no_page_are_never_joined() -> None:
    one = file(entry("100.00")).decode().partition("<Message>")[2].partition("</Message>")[0]
    parsed = camt053.parse(pages(one, one))
    assert [len(statement.entries) for statement in parsed.statements] == [1, 1]
    assert parsed.findings == ()
