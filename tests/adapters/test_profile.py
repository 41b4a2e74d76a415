from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.model import Batch
from adapters.profile import (
    BankProfile,
    is_bank_code,
    list_profiles,
    load_profile,
    violations,
)
from tests.adapters.samples import BANK_CODE, batch, batches, payment

DEMO = load_profile("demo")
GBK = DEMO.model_copy(update={"charset": "GBK"})


def codes(one: Batch, profile: BankProfile = DEMO) -> list[str]:
    return [finding.code for finding in violations(one, profile)]


def test_every_profile_that_comes_along_is_valid_and_named_by_its_file() -> None:
    assert "demo" in list_profiles()
    assert [load_profile(one).id for one in list_profiles()] == list(list_profiles())


@pytest.mark.parametrize("profile_id", ["", "nobank", "../pyproject", "demo.toml"])
def test_an_unknown_profile_is_refused(profile_id: str) -> None:
    with pytest.raises(LookupError):
        load_profile(profile_id)


def test_a_setting_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValidationError):
        BankProfile.model_validate({**DEMO.model_dump(), "cutoff": "17:15"})


def test_an_ordinary_batch_has_no_violations() -> None:
    assert codes(batch()) == []


@pytest.mark.parametrize(
    ("damaged", "code"),
    [
        (batch(payment(amount_minor=0)), "amount_not_positive"),
        (batch(payment(amount_minor=-5)), "amount_not_positive"),
        (batch(payment("P1"), payment("P1")), "reference_repeated"),
        (batch(payment("P1"), payment("P2", currency="USD")), "currency_mixed"),
        (batch(payment(payee_bank_code="102100099997")), "bank_code_invalid"),
        (batch(payment(payee_bank_code="1021000999")), "bank_code_invalid"),
        (batch(payment(payee_name="")), "text_empty"),
        (batch(payment("P" * 36)), "text_too_long"),
        (batch(payment(payee_name="好\n好")), "character_refused"),
        (batch(payment(payee_name="好\u202e好")), "character_refused"),
        (batch(payment(payee_name="好 ")), "text_padded"),
        (replace(batch(), payments=()), "batch_size"),
        (replace(batch(), debtor_account=" "), "text_empty"),
        (replace(batch(), message_id="M" * 36), "text_too_long"),
    ],
)
def test_what_the_bank_would_refuse_is_found_before_it_is_sent(damaged: Batch, code: str) -> None:
    assert code in codes(damaged)


def test_a_batch_of_one_more_than_the_maximum_is_refused() -> None:
    small = DEMO.model_copy(update={"batch_maximum": 2})
    three = batch(*(payment(f"P{number}") for number in range(3)))
    assert codes(three, small) == ["batch_size"]


def test_length_counts_the_bytes_of_the_banks_own_charset() -> None:
    forty = batch(payment(payee_name="垃" * 41))
    assert codes(forty, DEMO) == ["text_too_long"]
    assert codes(forty, GBK) == []


def test_a_character_outside_the_charset_is_named_and_never_replaced() -> None:
    found = violations(batch(payment(payee_name="𠮷野")), GBK)
    assert [(f.code, f.location) for f in found] == [("character_refused", "payment 1")]
    assert "𠮷 (U+20BB7)" in found[0].message


@pytest.mark.parametrize("code", ["102100099996", "103100000026", "105100000017"])
def test_published_bank_codes_pass(code: str) -> None:
    assert is_bank_code(code)


@given(st.text("0123456789", min_size=11, max_size=11))
def test_exactly_one_check_digit_makes_a_bank_code(body: str) -> None:
    assert sum(is_bank_code(body + digit) for digit in "0123456789") == 1


@given(st.integers(0, 11), st.integers(1, 9))
def test_one_wrong_digit_breaks_a_bank_code(position: int, offset: int) -> None:
    digit = (int(BANK_CODE[position]) + offset) % 10
    assert not is_bank_code(BANK_CODE[:position] + str(digit) + BANK_CODE[position + 1 :])


@given(batches)
def test_any_batch_gets_findings_and_never_a_crash(one: Batch) -> None:
    found = codes(one, GBK)
    assert set(found) <= {"character_refused", "text_too_long"}


def test_the_same_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        setattr(DEMO, "charset", "GBK")  # noqa: B010 - mypy refuses the plain assignment too
