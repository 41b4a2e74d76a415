"""Orders and status reports of other programs: what each is, and what is wrong with each."""

import re
from collections import Counter
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest
from lxml import etree

from adapters.connection import check_file
from adapters.formats import pain001
from adapters.model import Finding, ParseError
from adapters.read import parse_status

SAMPLES = "mock-bank/mock_bank-0.9.0/tests/samples"
EXTERNAL = f"{SAMPLES}/external"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank as those orders mean it: of euros, the newer version, with letters of German."""
    example = resources.files("adapters.banks").joinpath("sepa-example.toml").read_text("utf-8")
    changes = {
        'id = "sepa-example"': 'id = "theirs"',
        '"pain.001.001.03"': '"pain.001.001.09"',
        "'+ \"": "'+ öüß\"",
    }
    for old, new in changes.items():
        assert old in example
        example = example.replace(old, new)
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "theirs.toml").write_text(example, encoding="utf-8")
    return folder


def codes(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(one.code, one.location) for one in findings]


BROKEN: dict[str, list[tuple[str, str]]] = {
    "ctrlsum": [("sum_differs", "line 4")],
    "nboftxs": [("count_differs", "line 4")],
    "iban": [("iban_invalid", "payment 2")],
    "currency": [("currency_mixed", "batch"), ("currency_refused", "payment 3")],
    "duplicate_end_to_end_id": [("reference_repeated", "batch")],
    "empty_batch": [("batch_not_single", "line 4")],
    "namespace": [("field_missing", "line 112")],
    "unknown_message": [("format_unknown", "line 1")],
    "not_xml": [("format_unknown", "byte 0")],
    # When it is sent is not asked of a file; `validate` asks it of a batch that is to be sent.
    "past_date": [],
    # Fields are found by their names. What we send is written in the order of the schema.
    "order": [],
    # Behind the message and of another namespace: it neither adds to the order nor changes it.
    "signed": [],
}
"""By the part of the file's name that says what its author broke."""


def test_every_broken_order_shows_what_its_author_broke_and_nothing_else(
    files: Path, profiles: Path
) -> None:
    found = {
        path.stem.removeprefix("pain001_broken_"): codes(
            check_file("theirs", path.read_bytes(), profiles)
        )
        for path in (files / SAMPLES).glob("pain001_broken_*.xml")
    }
    assert found == BROKEN


def test_what_is_accepted_of_the_broken_ones_pays_what_the_whole_one_pays(files: Path) -> None:
    whole = pain001.parse((files / SAMPLES / "pain001_four_payments.xml").read_bytes())
    for name in ("past_date", "order", "signed"):
        broken = pain001.parse((files / SAMPLES / f"pain001_broken_{name}.xml").read_bytes())
        assert (broken.message_id, broken.payments) == (whole.message_id, whole.payments)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pain001_four_payments", {}),
        ("pain001_four_payments_001_03", {"format_differs": 1}),
        # Made for a bank of American account numbers.
        ("pain001_four_payments_usd", {"iban_invalid": 5, "bank_code_invalid": 5}),
        ("external/pain.001.001.09-de-sct-inst", {}),
        # Every element there is, with placeholders in them.
        ("external/pain.001.001.09-every-element", {"bank_code_invalid": 2}),
        ("external/pain.001.001.09-ultimate-debtor", {"text_empty": 1}),
        # It asks for the equivalent of an amount in another currency, which we never do.
        ("external/pain.001.001.09-remittance-parties", {"field_missing": 1}),
    ],
)
def test_a_whole_order_is_taken_but_for_what_this_bank_does_not_take(
    files: Path, profiles: Path, name: str, expected: dict[str, int]
) -> None:
    content = (files / SAMPLES / f"{name}.xml").read_bytes()
    counted = Counter(code for code, _ in codes(check_file("theirs", content, profiles)))
    if name.endswith("usd"):
        assert counted.pop("currency_refused") == 4
    assert counted == expected


@pytest.mark.parametrize("name", ["", "_001_03", "_usd"])
def test_an_order_has_the_count_and_the_sum_that_its_header_states(files: Path, name: str) -> None:
    content = (files / SAMPLES / f"pain001_four_payments{name}.xml").read_bytes()
    header = etree.fromstring(content).find(".//{*}GrpHdr")
    assert header is not None
    batch = pain001.parse(content)
    assert len(batch.payments) == int(header.findtext("{*}NbOfTxs", ""))
    assert Decimal(batch.total_minor) / 100 == Decimal(header.findtext("{*}CtrlSum", ""))


def test_an_order_to_collect_money_is_no_order_to_pay(files: Path) -> None:
    for path in (files / SAMPLES).glob("**/pain.008*.xml"):
        with pytest.raises(ParseError, match="format_unknown"):
            pain001.parse(path.read_bytes())


def test_every_status_is_the_one_that_xpath_finds(files: Path) -> None:
    found = [
        *files.glob(f"{EXTERNAL}/pain.002.001.10-*.xml"),
        *files.glob("**/test-sepa-pain-unpaid.xml"),
    ]
    assert len(found) == 4
    for path in found:
        shown = [
            (
                transaction.findtext("{*}OrgnlEndToEndId"),
                transaction.findtext("{*}TxSts"),
                transaction.findtext("{*}StsRsnInf/{*}Rsn/{*}Cd", ""),
            )
            for transaction in etree.parse(path).iterfind(".//{*}TxInfAndSts")
        ]
        report = parse_status(path.read_bytes())
        assert shown == [
            (one.end_to_end_id, one.code, one.reason_code)
            for one in report.statuses
            if one.end_to_end_id
        ], path


def test_the_reasons_of_unpaid_items_are_those_in_the_text_of_the_file(files: Path) -> None:
    (path,) = files.glob("**/test-sepa-pain-unpaid.xml")
    content = path.read_bytes()
    written = re.findall(rb"<Rsn>\s*<Cd>([A-Z0-9]{4})</Cd>", content)
    told = [one.reason_code.encode() for one in parse_status(content).statuses]
    assert told == written == [b"AC01", b"MS02", b"MD06", b"AM04"]
