from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters.formats import pain002
from adapters.model import Outcome, ParseError, Status, StatusReport
from adapters.read import is_status, parse_status
from tests.adapters.samples import NOW, identifiers

VERSIONS = ["03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14"]


def message(body: str, version: str = "10") -> bytes:
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.{version}">'
        "<CstmrPmtStsRpt><GrpHdr><MsgId>R1</MsgId><CreDtTm>2026-03-02T10:30:00+08:00</CreDtTm>"
        f"</GrpHdr>{body}</CstmrPmtStsRpt></Document>"
    ).encode()


def group(code: str = "", reason: str = "") -> str:
    status = f"<GrpSts>{code}</GrpSts>" if code else ""
    why = f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" if reason else ""
    return f"<OrgnlGrpInfAndSts><OrgnlMsgId>M1</OrgnlMsgId>{status}{why}</OrgnlGrpInfAndSts>"


def batch(*inner: str, code: str = "") -> str:
    status = f"<PmtInfSts>{code}</PmtInfSts>" if code else ""
    parts = f"<OrgnlPmtInfId>B1</OrgnlPmtInfId>{status}{''.join(inner)}"
    return f"<OrgnlPmtInfAndSts>{parts}</OrgnlPmtInfAndSts>"


def transaction(reference: str, code: str) -> str:
    status = f"<TxSts>{code}</TxSts>" if code else ""
    inner = f"<OrgnlEndToEndId>{reference}</OrgnlEndToEndId>{status}"
    return f"<TxInfAndSts>{inner}</TxInfAndSts>"


def read(*body: str) -> list[tuple[str, str, str, Outcome]]:
    report = parse_status(message("".join(body)))
    return [(s.end_to_end_id, s.batch_id, s.code, s.outcome) for s in report.statuses]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_reads_the_same(version: str) -> None:
    report = parse_status(message(group() + batch(transaction("P1", "ACSC")), version))
    assert report.message_id == "R1"
    assert report.original_message_id == "M1"
    assert report.created_at == NOW
    assert [s.outcome for s in report.statuses] == [Outcome.SETTLED]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        *((code, Outcome.RECEIVED) for code in ("RCVD", "ACTC", "ACFC", "PDNG", "PATC", "PRES")),
        *((code, Outcome.ACCEPTED) for code in ("ACCP", "ACWC", "ACSP", "ACWP", "ACPD", "ACIS")),
        *((code, Outcome.SETTLED) for code in ("ACSC", "ACCC", "CPUC")),
        ("RJCT", Outcome.REJECTED),
        *((code, Outcome.UNKNOWN) for code in ("PART", "BLCK", "CANC")),
        ("anything", Outcome.UNKNOWN),
    ],
)
def test_a_code_means_one_outcome_and_an_unknown_code_never_failure(
    code: str, outcome: Outcome
) -> None:
    assert read(batch(transaction("P1", code)))[0][3] is outcome


def test_a_group_status_alone_speaks_for_all() -> None:
    assert read(group("ACTC")) == [("", "", "ACTC", Outcome.RECEIVED)]


def test_a_batch_status_alone_speaks_for_its_batch() -> None:
    assert read(group(), batch(code="ACCP")) == [("", "B1", "ACCP", Outcome.ACCEPTED)]


def test_a_partial_group_says_nothing_itself() -> None:
    body = (group("PART"), batch(transaction("P1", "ACSC"), transaction("P2", "RJCT"), code="PART"))
    assert read(*body) == [
        ("P1", "B1", "ACSC", Outcome.SETTLED),
        ("P2", "B1", "RJCT", Outcome.REJECTED),
    ]


def test_an_accepting_group_does_not_speak_for_payments_it_does_not_name() -> None:
    named = batch(transaction("P1", "RJCT"))
    assert read(group("ACCP"), named) == [("P1", "B1", "RJCT", Outcome.REJECTED)]


def test_a_rejecting_group_rejects_also_what_it_does_not_name() -> None:
    rows = read(group("RJCT", "FF01"), batch(transaction("P1", "RJCT")))
    assert ("", "", "RJCT", Outcome.REJECTED) in rows


def test_a_payment_without_its_own_code_takes_that_of_its_batch() -> None:
    named = batch(transaction("P1", ""), code="ACSP")
    assert read(named) == [("P1", "B1", "ACSP", Outcome.ACCEPTED)]


def test_a_payment_without_an_id_is_refused_for_it_would_speak_for_all() -> None:
    with pytest.raises(ParseError) as refused:
        read(batch("<TxInfAndSts><TxSts>RJCT</TxSts></TxInfAndSts>"))
    assert refused.value.code == "status_unidentified"


codes = st.sampled_from(sorted(pain002.OUTCOMES))


@given(
    st.lists(
        st.builds(
            lambda reference, code, reason: pain002.status(
                code, end_to_end_id=reference, batch_id="B1", reason=reason
            ),
            identifiers,
            codes,
            st.sampled_from(["", "AC04"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_rendered_report_is_valid_and_reads_back_as_itself(
    pain002_schema: etree.XMLSchema, statuses: list[Status]
) -> None:
    report = StatusReport("R1", "M1", NOW, tuple(statuses))
    content = pain002.render(report, "pain.001.001.09")
    pain002_schema.assertValid(etree.fromstring(content))
    assert parse_status(content) == report


def test_a_rejected_message_is_rendered_valid_and_reads_back(
    pain002_schema: etree.XMLSchema,
) -> None:
    rejected = pain002.status("RJCT", reason="DU01", text="used before")
    report = StatusReport("R1", "M1", NOW, (rejected,))
    content = pain002.render(report, "pain.001.001.09")
    pain002_schema.assertValid(etree.fromstring(content))
    assert parse_status(content) == report


def test_status_files_of_other_programs_name_as_many_payments_as_xpath_finds(files: Path) -> None:
    found = [*files.glob("**/pain.002.001.10*.xml"), *files.glob("**/test-sepa-pain-unpaid.xml")]
    assert len(found) == 4
    for path in found:
        content = path.read_bytes()
        assert is_status(content)
        count = len(etree.fromstring(content).findall(".//{*}TxInfAndSts"))
        assert len([s for s in parse_status(content).statuses if s.end_to_end_id]) == count


def test_a_report_cut_anywhere_is_refused() -> None:
    content = message(group() + batch(transaction("P1", "ACSC")))
    for cut in range(len(content)):
        with pytest.raises(ParseError):
            parse_status(content[:cut])
