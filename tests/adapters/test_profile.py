import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.model import Batch, Severity
from adapters.profile import (
    BankProfile,
    ProfileError,
    ReferenceState,
    card_warnings,
    is_bank_code,
    is_social_credit_code,
    list_profiles,
    load_profile,
    profile_schema,
    read_profile,
    reference_violations,
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


# More than one bank


def test_the_packaged_schema_is_that_of_the_code() -> None:
    published = resources.files("adapters.banks") / "profile.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == profile_schema()


def test_profiles_of_a_folder_are_found_beside_the_packaged_ones(tmp_path: Path) -> None:
    write(tmp_path, "own-bank", "batch_maximum = 7")
    assert {"own-bank", "demo"} <= set(list_profiles(tmp_path))
    assert load_profile("own-bank", tmp_path).batch_maximum == 7
    assert "own-bank" not in list_profiles()


def test_other_files_of_a_folder_are_not_profiles(tmp_path: Path) -> None:
    for name in ("icbc.csv.toml", "Demo.toml", "x.json", ".hidden.toml", ".toml"):
        (tmp_path / name).write_text("")
    assert list_profiles(tmp_path) == list_profiles()
    assert list_profiles(tmp_path / "missing") == list_profiles()


def test_a_folder_never_hides_a_packaged_profile(tmp_path: Path) -> None:
    write(tmp_path, "demo", "batch_maximum = 7")
    with pytest.raises(ProfileError, match="hides"):
        load_profile("demo", tmp_path)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("batch_maximum = 7.0", "batch_maximum"),
        ("batch_maximum = 0", "batch_maximum"),
        ('batch_maximum = "7"', "batch_maximum"),
        ("cutoff = 17", "cutoff"),
        ('charset = "BIG5"', "charset"),
        ('outbound_format = "channel-xml"', "needs own_bank_code"),
        ('outbound_format = "batch-cmb"', "needs own_bank_code"),
        ('own_bank_code = "30"', "own_bank_code"),
        ("[[windows]]\nname='a'\n[[windows]]\nname='b'", "windows must grow"),
        ("[[windows]]\nname='a'\nup_to_minor=2\n[[windows]]\nname='b'\nup_to_minor=1", "must grow"),
        ("[[windows]]\nname='a'\ncut_off='17:15:00+08:00'", "cut_off"),
        ('[calendar]\ntime_zone = "Nowhere"', "time_zone"),
        ('[customer]\nid = "1"\nsocial_credit_code = "91110000600037341X"', "social_credit_code"),
        ("batch_maximum = ", "no TOML"),
        ("x = " + "[" * 20_000, "no TOML"),
        ("#" * 70_000, "larger than"),
        ('id = "another"', "not the file's name"),
    ],
)
def test_a_profile_that_cannot_be_used_names_the_setting(
    tmp_path: Path, setting: str, told: str
) -> None:
    write(tmp_path, "own-bank", setting)
    with pytest.raises(ProfileError) as refused:
        load_profile("own-bank", tmp_path)
    assert told in str(refused.value)
    assert "own-bank.toml" in str(refused.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_profile_or_a_named_error(content: bytes) -> None:
    with pytest.raises(ProfileError):
        read_profile(content, "own-bank.toml")


def write(folder: Path, profile_id: str, setting: str) -> None:
    """The demo's profile under another id with one setting replaced or added."""
    packaged = (resources.files("adapters.banks") / "demo.toml").read_text(encoding="utf-8")
    lines = packaged.replace('id = "demo"', f'id = "{profile_id}"').splitlines()
    name = setting.partition(" =")[0]
    table = setting if setting.startswith("[") else ""
    kept = [line for line in lines if not line.startswith(f"{name} =") or table]
    if table.startswith("[calendar]"):
        kept = kept[: kept.index("[calendar]")]
    text = "\n".join([*(() if table else (setting,)), *kept, table])
    (folder / f"{profile_id}.toml").write_text(text, encoding="utf-8")


# What a bank may ask beyond the demo's


def with_settings(**settings: object) -> BankProfile:
    return BankProfile.model_validate({**DEMO.model_dump(), **settings})


@pytest.mark.parametrize(
    ("settings", "one", "code"),
    [
        ({"required": ("purpose",)}, batch(payment(purpose="")), "text_empty"),
        ({"required": ("payee_bank_code",)}, batch(payment(payee_bank_code="")), "field_required"),
        ({"required": ("payee_bank_name",)}, batch(), "bank_name_unknown"),
        ({"required": ("payee_city_name",)}, batch(), "city_name_unknown"),
        ({"forbidden_characters": "|"}, batch(payment(payee_name="甲|乙")), "character_forbidden"),
        ({"forbidden_characters": "|"}, batch(payment("P|1")), "character_forbidden"),
        ({"allowed_characters": "ABC"}, batch(payment(payee_name="ABD")), "character_not_allowed"),
        ({"currencies": {"EUR": "EUR"}}, batch(), "currency_refused"),
        ({"amounts": {"payment_maximum_minor": 12344}}, batch(), "amount_too_high"),
        ({"amounts": {"payment_minimum_minor": 12346}}, batch(), "amount_too_low"),
        ({"amounts": {"batch_maximum_minor": 12344}}, batch(), "batch_amount_too_high"),
        ({"reference": {"characters": "digits"}}, batch(), "id_alphabet"),
        ({"reference": {"characters": "letters_digits"}}, batch(payment("P-1")), "id_alphabet"),
        ({"reference": {"minimum_bytes": 3}}, batch(), "id_too_short"),
        ({"iso": {"account_scheme": "iban"}}, batch(), "iban_invalid"),
        ({"iso": {"bank_code_scheme": "bic"}}, batch(), "bank_code_invalid"),
    ],
)
def test_each_wish_of_a_bank_is_checked(settings: dict[str, object], one: Batch, code: str) -> None:
    assert code not in codes(one)
    assert code in codes(one, with_settings(**settings))


def test_a_payee_inside_the_bank_needs_no_names() -> None:
    own = with_settings(required=("payee_bank_name", "payee_city_name"), own_bank_code="102")
    assert codes(batch(), own) == []
    assert codes(batch(payment(payee_bank_code="")), own) == []


@pytest.mark.parametrize(
    ("unique", "state", "allowed"),
    [
        ("for_ever", "failed", False),
        ("for_ever", "open", False),
        ("while_open_or_paid", "failed", True),
        ("while_open_or_paid", "open", False),
        ("while_open_or_paid", "paid", False),
    ],
)
def test_a_reference_is_free_again_only_as_the_bank_says(
    unique: str, state: str, allowed: bool
) -> None:
    bank = with_settings(reference={"unique": unique})
    found = list(reference_violations(batch(), bank, {"P1": ReferenceState(state)}))
    assert (found == []) is allowed
    assert list(reference_violations(batch(), bank, {"P2": ReferenceState.PAID})) == []


# The first is the example in the documentation of python-stdnum.
@pytest.mark.parametrize(
    ("code", "valid"),
    [
        ("91110000600037341L", True),
        ("91110000600037341K", False),
        ("91110000600037341l", False),
        ("9111 0000600037341L", False),
        ("", False),
    ],
)
def test_a_social_credit_code_has_its_check_character(code: str, valid: bool) -> None:
    assert is_social_credit_code(code) is valid


def test_an_odd_card_number_is_a_warning_and_never_stops_a_payment() -> None:
    odd = payment(payee_account="6222021234567890")
    assert codes(batch(odd)) == []
    assert [f.severity for f in card_warnings((odd,))] == [Severity.WARNING]
    assert list(card_warnings((payment(payee_account="6222021234567894"),))) == []
    assert list(card_warnings((payment(payee_account="4402000100000000001"),))) == []


@given(st.text(max_size=60), st.integers(-5, 10**18))
@pytest.mark.parametrize("profile_id", list_profiles())
def test_any_text_gets_findings_and_never_a_crash(
    profile_id: str, text: str, amount_minor: int
) -> None:
    one = payment(
        text, amount_minor, payee_name=text, payee_account=text, payee_bank_code=text, currency=text
    )
    found = violations(replace(batch(one), debtor_bank_code=text), load_profile(profile_id))
    assert all(finding.code and finding.message and finding.location for finding in found)
