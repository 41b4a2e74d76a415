from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.domain.canonical import canonical_json
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.payload import (
    MAX_PAYLOAD_BYTES,
    canonical_bytes,
    instant,
    parse_payload,
    payload_refusal,
    stamp,
)
from tests.gateway.domain.examples import FIELDS, payload

BYTES = canonical_bytes(payload())
TEXT = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)


def altered(**changes: object) -> bytes:
    """Canonically written bytes in which single fields are changed, or dropped by None."""
    fields = {**json.loads(BYTES), **changes}
    kept = {name: value for name, value in fields.items() if value is not None}
    text = json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def test_the_bytes_are_sorted_compact_utf_8_json_that_any_reader_understands() -> None:
    assert altered() == BYTES
    assert "成都".encode() in BYTES
    assert set(json.loads(BYTES)) == set(FIELDS)


@given(
    st.recursive(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text("abcXYZ_19", max_size=6), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_texts_are_written_as_the_rfc_s_own_library_writes_them(document: Any) -> None:
    assert canonical_json({"said": document}) == rfc8785.dumps({"said": document})


def test_parsing_gives_back_the_payload() -> None:
    assert parse_payload(BYTES) == payload()


@given(TEXT, TEXT, st.integers(1, 10**15))
def test_whatever_a_payload_says_survives_its_bytes(
    payee: str, purpose: str, amount_minor: int
) -> None:
    try:
        said = payload(payee_name=payee, purpose=purpose, amount_minor=str(amount_minor))
    except ValidationError as error:
        assert {each["loc"][0] for each in error.errors()} <= {"payee_name", "purpose"}  # noqa: PT017 - either outcome is right
    else:
        assert parse_payload(canonical_bytes(said)) == said


@pytest.mark.parametrize(
    "data",
    [
        BYTES + b"\n",
        b" " + BYTES,
        b"\xef\xbb\xbf" + BYTES,
        BYTES.replace(b'":"', b'": "', 1),
        json.dumps(json.loads(BYTES), sort_keys=True, separators=(",", ":")).encode(),
        BYTES.replace(b'"currency"', b'"curr\\u0065ncy"'),
        b'{"zzz":1,' + BYTES[1:],
        b'{"amount_minor":"1",' + BYTES[1:],
        BYTES.replace(b'"amount_minor":"140950",', b'"amount_minor":"140950","amount_minor":"1",'),
        BYTES[:-1],
        b"",
        b"null",
        b"[]",
        b"[" * 5000,
        b"\xff" + BYTES,
    ],
    ids=range(15),
)
def test_bytes_that_are_not_the_canonical_ones_are_refused(data: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_payload(data)
    assert (refused.value.kind, refused.value.reason) == (Kind.INVALID, Reason.FIELD_INVALID)


@given(st.permutations(sorted(FIELDS)))
def test_fields_in_any_other_order_are_refused(order: list[str]) -> None:
    fields = json.loads(BYTES)
    shuffled = {name: fields[name] for name in order}
    data = json.dumps(shuffled, ensure_ascii=False, separators=(",", ":")).encode()
    if data != BYTES:
        with pytest.raises(GatewayError, match="canonical"):
            parse_payload(data)


@given(st.integers(0, len(BYTES) * 8 - 1))
def test_a_flipped_bit_never_leaves_the_same_payload(bit: int) -> None:
    data = bytearray(BYTES)
    data[bit // 8] ^= 1 << bit % 8
    try:
        said = parse_payload(bytes(data))
    except GatewayError as refused:
        assert refused.reason is Reason.FIELD_INVALID  # noqa: PT017 - either outcome is right
    else:
        assert said != payload()


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(GatewayError) as refused:
        parse_payload(b"[" * (MAX_PAYLOAD_BYTES + 1))
    assert refused.value.reason is Reason.LIMIT_EXCEEDED


def test_the_largest_payload_there_is_fits() -> None:
    long_name = "funds/" + "f" * 63
    said = payload(
        payee_name="长" * 256,
        amount_minor=str(10**15),
        purpose="\U00020000" * 256,
        fund=long_name,
        payment=f"{long_name}/payments/{'p' * 63}",
        budget_line=f"{long_name}/budgetLines/{'b' * 63}",
        vouchers=tuple(f"{number:064x}" for number in range(64)),
    )
    assert parse_payload(canonical_bytes(said)) == said


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_no_field_may_be_missing(field: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_payload(altered(**{field: None}))
    assert [each.field for each in refused.value.violations] == [f"payload.{field}"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "xinyi.payment/v2"),
        ("environment", "Prod"),
        ("estate", "e1"),
        ("fund", "funds/"),
        ("fund", "funds/f1\n"),
        ("payment", "funds/f1/payments/../p1"),
        ("payee_name", ""),
        ("payee_name", " 李"),
        ("payee_name", "李\u202e四"),
        ("payee_name", "李\u200b四"),
        ("payee_name", "李\ufe00四"),
        ("payee_name", "李四\u3164"),
        ("purpose", "修\n理"),
        ("purpose", "修\x1b[2J理"),
        ("purpose", "x" * 257),
        ("payee_account", "6222 0200"),
        ("payee_account", "６２２２"),
        ("payee_bank_code", "12345678901"),
        ("amount_minor", 140950),
        ("amount_minor", 1409.5),
        ("amount_minor", "0"),
        ("amount_minor", "-1"),
        ("amount_minor", "01"),
        ("amount_minor", "1.5"),
        ("amount_minor", "1e3"),
        ("amount_minor", "١"),
        ("amount_minor", "1000000000000001"),
        ("currency", "XXX"),
        ("currency", "cny"),
        ("vouchers", ["AB" * 32]),
        ("vouchers", ["ab" * 32, "ab" * 32]),
        ("vouchers", [f"{number:064x}" for number in range(65)]),
        ("policy_version", "0"),
        ("nonce", "0" * 31),
        ("not_before", "2024-05-31 08:00:00Z"),
        ("not_before", "2024-05-31T08:00:00+00:00"),
        ("not_before", "2024-05-31T08:00:00.5Z"),
        ("not_before", "2024-5-31T08:00:00Z"),
        ("expires", "2024-06-31T08:00:00Z"),
        ("required_roles", [["TRUSTEE_CHECKER"]]),
        ("required_roles", [["TRUSTEE_CHECKER"], []]),
        ("required_roles", [["TRUSTEE_CHECKER"], ["OPERATOR"]]),
        ("required_roles", [["TRUSTEE_CHECKER"], ["NOBODY"]]),
        ("required_roles", [["PROPERTY_FIRM", "OWNERS_COMMITTEE"], ["TRUSTEE_CHECKER"]]),
        ("required_roles", [["TRUSTEE_CHECKER", "TRUSTEE_CHECKER"], ["PROPERTY_FIRM"]]),
        ("required_roles", [["TRUSTEE_CHECKER"]] * 3),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_without_its_value(field: str, value: object) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_payload(altered(**{field: value}))
    assert all(each.field.startswith(f"payload.{field}") for each in refused.value.violations)
    assert refused.value.violations
    said = str(refused.value) + "".join(each.description for each in refused.value.violations)
    assert not (isinstance(value, str) and len(value) > 4) or value not in said


@pytest.mark.parametrize(
    "changes",
    [
        {"payment": "funds/f2/payments/p1"},
        {"payment": "funds/f11/payments/p1"},
        {"budget_line": "funds/f2/budgetLines/lift"},
        {"expires": FIELDS["not_before"]},
        {"expires": "2024-05-30T08:00:00Z"},
    ],
)
def test_fields_that_contradict_each_other_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_payload(altered(**changes))
    assert refused.value.reason is Reason.FIELD_INVALID


def test_a_payload_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        payload().amount_minor = "1"


def test_a_complaint_of_the_model_becomes_a_refusal_without_the_payee() -> None:
    with pytest.raises(ValidationError) as broken:
        payload(payee_name="王\u200b五", nonce="short")
    refusal = payload_refusal(broken.value)
    assert [each.field for each in refusal.violations] == ["payload.payee_name", "payload.nonce"]
    assert "王" not in str(refusal.violations) + str(refusal) + str(broken.value)


def test_many_complaints_are_cut_short() -> None:
    with pytest.raises(GatewayError) as refused:
        parse_payload(json.dumps({f"{number}" * 100: 1 for number in range(10, 30)}).encode())
    assert len(refused.value.violations) == 10
    assert int(refused.value.metadata["violations"]) > 10
    assert max(len(each.field) for each in refused.value.violations) <= 100


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001 - made aware below
def test_moments_survive_their_text_to_the_second(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC)
    assert instant(stamp(moment)) == moment.replace(microsecond=0)


def test_moments_are_written_in_utc() -> None:
    beijing = datetime(2024, 5, 31, 16, 0, tzinfo=timezone(timedelta(hours=8)))
    assert stamp(beijing) == "2024-05-31T08:00:00Z"
