"""What one bank wants, as data; and what in a batch this bank would refuse."""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from stdnum import bic, iban, luhn
from stdnum.cn import uscc
from stdnum.iso7064 import mod_11_10

from adapters.amounts import AmountError, to_minor, to_text
from adapters.calendar import Calendar, ClearingWindow, timing_violations
from adapters.model import Batch, Finding, Outcome, ParseError, Payment, error, warning

_BANK_CODE = re.compile(r"[0-9]{12}")
_PROFILE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_CARD = re.compile(r"62[0-9]{14,17}")
"""A UnionPay card number: 16 to 19 digits."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that a person cannot see in a field: controls, directions, breaks, unassigned."""
_WHOLE = re.compile(r"[0-9]{1,18}")
_PROFILE_BYTES: Final = 1 << 16
_MOST_DOTS: Final = 40
"""On one line: tomllib takes a minute for one key of thirty thousand parts."""
_MOST_PROFILES: Final = 1000

_Bytes = Annotated[int, Field(strict=True, gt=0, le=4000)]
_Minor = Annotated[int, Field(strict=True, gt=0, lt=10**18)]
_Code = Annotated[str, Field(min_length=1, max_length=40)]
_Label = Annotated[str, Field(min_length=1, max_length=80)]
_Charset = Literal["UTF-8", "GB2312", "GBK", "GB18030"]
_OwnBank = Annotated[str, Field(pattern=r"^([0-9]{3})?$")]
_CLASS_DIGITS: Final = 3
"""A 联行号 begins with three digits of the bank, then four of the city."""
_CITY: Final = slice(3, 7)

_ALPHABETS: Final = {
    "any": re.compile(r".*", re.DOTALL),
    "digits": re.compile(r"[0-9]*"),
    "letters_digits": re.compile(r"[0-9A-Za-z]*"),
    "letters_digits_hyphen": re.compile(r"[0-9A-Za-z-]*"),
}
_NEEDED: Final = {
    "batch-cib": ("own_bank_code", "status_outcomes"),
    "batch-cmb": ("own_bank_code",),
    "channel-xml": ("own_bank_code", "status_outcomes", "channel", "customer"),
}
"""Settings that a format cannot be written or read without."""


class ProfileError(ValueError):
    """A profile's file that cannot be used; the message names the file and the setting."""


class ReferenceState(StrEnum):
    """What became of an earlier payment under a reference."""

    OPEN = "open"
    PAID = "paid"
    FAILED = "failed"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldLimits(_Frozen):
    """The longest a text may be, in bytes of the profile's charset."""

    message_id: _Bytes
    batch_id: _Bytes
    end_to_end_id: _Bytes
    name: _Bytes
    account: _Bytes
    purpose: _Bytes


class ReferenceRule(_Frozen):
    """What a bank asks of the references that we give it."""

    characters: Literal["any", "digits", "letters_digits", "letters_digits_hyphen"] = "any"
    minimum_bytes: _Bytes = 1
    unique: Literal["for_ever", "while_open_or_paid"] = "for_ever"
    """Whether the reference of a failed payment may be used once more."""


class AmountLimits(_Frozen):
    """What the bank takes, in minor units of the payment's currency; None is no limit."""

    payment_minimum_minor: _Minor = 1
    payment_maximum_minor: _Minor | None = None
    batch_maximum_minor: _Minor | None = None


class IsoSettings(_Frozen):
    """How this bank wants the optional parts of ISO 20022 messages."""

    account_scheme: Literal["other", "iban"] = "other"
    bank_code_scheme: Literal["cnaps", "bic"] = "cnaps"
    service_level: Literal["", "SEPA", "URGP", "NURG"] = ""
    charge_bearer: Literal["", "SLEV", "SHAR", "DEBT", "CRED"] = ""


class Customer(_Frozen):
    """Who we are in the bank's books."""

    id: _Code
    """The number under which the bank keeps the customer, for example 集团 CIS 号."""
    certificate_id: Annotated[str, Field(max_length=40)] = ""
    social_credit_code: str = ""
    """统一社会信用代码 of the account holder; empty where the bank does not ask for it."""

    @field_validator("social_credit_code")
    @classmethod
    def _checked(cls, code: str) -> str:
        if code and not is_social_credit_code(code):
            raise ValueError("no 统一社会信用代码: its check character is wrong")
        return code


class Channel(_Frozen):
    """A bank-enterprise XML channel (银企直联): its codes, and how long to ask."""

    payment_code: _Code
    query_code: _Code
    settle_mode_single: _Code
    settle_mode_lump: _Code
    priority: _Code
    payee_kind: _Code
    """对公对私标志 sent for every payee."""
    return_outcomes: dict[_Code, Outcome]
    """What the code of a whole reply means; one that is not here is unknown, never a failure."""
    not_found_codes: tuple[_Code, ...] = ()
    """What a whole reply to a query says where the bank knows no such order."""
    poll_interval_s: Annotated[int, Field(strict=True, gt=0, le=86_400)]
    """Seconds between questions while an answer is near; later they are asked once a day."""
    poll_maximum_count: Annotated[int, Field(strict=True, gt=0, le=1000)]


class BankProfile(_Frozen):
    """One bank connection's settings; every bank rule is here, none in code."""

    id: Annotated[str, Field(pattern=rf"^{_PROFILE_ID.pattern}$")]
    name_zh: _Label
    name_en: _Label
    outbound_format: Literal[
        "pain.001.001.03",
        "pain.001.001.09",
        "batch-cib",
        "batch-cmb",
        "batch-xlsx",
        "channel-xml",
    ]
    charset: _Charset
    """What may be written; a character outside it is refused."""
    declared_charset: _Charset | None = None
    """What an XML file says of itself, where the bank wants another name than `charset`."""
    unit: Literal["yuan", "fen"]
    """The unit of amounts in formats of the bank's own; ISO 20022 always writes decimals."""
    batch_booking: Literal["single", "lump"]
    """逐笔 or 并笔."""
    batch_maximum: Annotated[int, Field(strict=True, gt=0, le=100_000)]
    unlisted_transaction: Literal["unknown", "as_group"]
    """What a payment is that a status report on its batch does not name."""
    repetition_codes: tuple[_Code, ...] = ()
    """Codes of the bank's own by which it refuses what it has already, beside those of ISO 20022;
    such a refusal says nothing of how the payment that it has will end."""
    return_window_working_days: Annotated[int, Field(strict=True, ge=0, le=60)] = 7
    """How long after a success a 退票 may still come."""
    misses_needed: Annotated[int, Field(strict=True, gt=0, le=30)] = 3
    """On how many days the bank must not have known a payment before two people may send it again:
    by an answer of its channel, or by a statement of the day that lacks it."""
    advance_maximum_days: Annotated[int, Field(strict=True, ge=0, le=366)] = 30
    required: tuple[
        Literal["purpose", "payee_bank_code", "payee_bank_name", "payee_city_name"], ...
    ] = ()
    """Optional fields that this bank insists on; names of bank and city for other banks only."""
    forbidden_characters: Annotated[str, Field(max_length=100)] = ""
    """Characters that no text may have, for example the delimiter of the file."""
    allowed_characters: Annotated[str, Field(max_length=400)] = ""
    """The only characters that names and purposes may have; empty is the whole charset."""
    own_bank_code: _OwnBank = ""
    """The first three digits of this bank's 联行号."""
    currencies: dict[Annotated[str, Field(pattern="^[A-Z]{3}$")], _Code] = {}
    """Currencies that the bank takes, with its own code of each; empty is any, by its ISO code."""
    bank_names: dict[Annotated[str, Field(pattern="^[0-9]{3}$")], _Label] = {}
    """Names by the first three digits of a 联行号."""
    city_names: dict[Annotated[str, Field(pattern="^[0-9]{4}$")], _Label] = {}
    """Names by the fourth to seventh digit of a 联行号."""
    status_outcomes: dict[_Code, Outcome] = {}
    """What the bank's own status codes mean; one that is not here is unknown, never final."""
    limit_bytes: FieldLimits
    reference: ReferenceRule = ReferenceRule()
    amounts: AmountLimits = AmountLimits()
    iso: IsoSettings = IsoSettings()
    customer: Customer | None = None
    channel: Channel | None = None
    calendar: Calendar = Calendar()
    windows: Annotated[tuple[ClearingWindow, ...], Field(max_length=20)] = ()
    """By amount, smallest first; none is a bank that takes payments at any time."""

    @model_validator(mode="after")
    def _complete(self) -> "BankProfile":
        for name in _NEEDED.get(self.outbound_format, ()):
            if not getattr(self, name):
                raise ValueError(f"{self.outbound_format} needs {name}")
        bounds = [window.up_to_minor for window in self.windows]
        finite = [bound for bound in bounds if bound is not None]
        if finite != sorted(set(finite)) or None in bounds[:-1]:
            raise ValueError("windows must grow, and only the last may be without up_to_minor")
        return self

    @property
    def declared(self) -> str:
        """The charset that an XML file names in its first line."""
        return self.declared_charset or self.charset

    def is_own_bank(self, bank_code: str) -> bool:
        """Whether a payee's 联行号, or none at all, stays inside this bank."""
        return not bank_code or bank_code[:_CLASS_DIGITS] == self.own_bank_code

    def bank_name(self, bank_code: str) -> str:
        """The name of the bank of a 联行号; empty if the profile does not list it."""
        return self.bank_names.get(bank_code[:_CLASS_DIGITS], "")

    def city_name(self, bank_code: str) -> str:
        """The city of a 联行号; empty if the profile does not list it."""
        return self.city_names.get(bank_code[_CITY], "")

    def outcome(self, code: str) -> Outcome:
        """What a status code of this bank means; UNKNOWN for one it never told us of."""
        return self.status_outcomes.get(code, Outcome.UNKNOWN)

    def asks_lump(self, batch: Batch) -> bool:
        """Whether one debit is asked for the whole batch: the bank agreed and the batch wants it.

        pain.001 carries the batch's wish alone; formats of the bank's own follow the agreement.
        """
        return batch.batch_booking and self.batch_booking == "lump"

    def currency(self) -> str:
        """The currency of a file that does not say: the first that the bank takes, or CNY."""
        return next(iter(self.currencies), "CNY")

    def currency_code(self, currency: str) -> str:
        """The bank's own code of a currency; the ISO code where the profile has none."""
        return self.currencies.get(currency, currency)

    def amount_text(self, amount_minor: int, currency: str) -> str:
        """An amount in the unit of the bank's own formats: `12.30` yuan or `1230` fen."""
        return str(amount_minor) if self.unit == "fen" else to_text(amount_minor, currency)

    def amount_minor(self, written: str, currency: str, location: str) -> int:
        """The minor units of an amount in the unit of the bank's own formats.

        Raises:
            ParseError: `amount_invalid`, with the location.
        """
        if self.unit == "fen" and _WHOLE.fullmatch(written):
            return int(written)
        if self.unit == "fen":
            raise ParseError("amount_invalid", "not whole minor units", location)
        try:
            return to_minor(written, currency)
        except AmountError as wrong:
            raise ParseError("amount_invalid", str(wrong), location) from wrong

    def decoded(self, content: bytes) -> str:
        """The text of a file of the bank; every Chinese charset is read as the widest, GB18030.

        Raises:
            ParseError: `encoding_invalid`, `nul_byte`: no bank writes one, and no database keeps
                one; with the byte.
        """
        if (at := content.find(b"\0")) >= 0:
            raise ParseError("nul_byte", "a NUL byte in a text file", f"byte {at}")
        codec = "utf-8-sig" if self.charset == "UTF-8" else "gb18030"
        try:
            return content.decode(codec)
        except UnicodeDecodeError as wrong:
            where = f"byte {wrong.start}"
            raise ParseError("encoding_invalid", f"not {self.charset}", where) from wrong


def same_city(one_code: str, other_code: str) -> bool:
    """Whether two 联行号 are of branches in one city; no code is the same branch as the other."""
    return not (one_code and other_code) or one_code[_CITY] == other_code[_CITY]


def list_profiles(folder: Path | None = None) -> tuple[str, ...]:
    """The ids of the profiles that come with the gateway and of those in a folder, sorted."""
    packaged = (file.name for file in resources.files("adapters.banks").iterdir())
    return tuple(sorted({*_ids(packaged), *_ids(_names(folder))}))


def _names(folder: Path | None) -> Iterator[str]:
    if folder is not None and folder.is_dir():
        yield from (path.name for path in islice(folder.iterdir(), _MOST_PROFILES))


def _ids(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        stem = name.removesuffix(".toml")
        if stem != name and _PROFILE_ID.fullmatch(stem):
            yield stem


@cache
def load_profile(profile_id: str, folder: Path | None = None) -> BankProfile:
    """The profile of this id.

    Args:
        profile_id: Its id, which is also its file's name without `.toml`.
        folder: Where else to look; a profile there may not have the id of one that comes along.

    Raises:
        LookupError: There is none.
        ProfileError: Its file breaks the schema, names another id, or hides another profile.
    """
    if profile_id not in list_profiles(folder):
        raise LookupError(f"no bank profile {profile_id!r}")
    name = f"{profile_id}.toml"
    packaged = resources.files("adapters.banks") / name
    if folder is None or not (folder / name).is_file():
        return read_profile(packaged.read_bytes(), name)
    if packaged.is_file():
        raise ProfileError(f"{name} in the folder hides the one that comes with the gateway")
    with (folder / name).open("rb") as file:
        return read_profile(file.read(_PROFILE_BYTES + 1), name)


def read_profile(content: bytes, name: str) -> BankProfile:
    """The profile in a TOML file.

    Args:
        content: The file's bytes.
        name: The file's name: the profile's id and `.toml`.

    Raises:
        ProfileError: Too large, no TOML, against the schema, or an id that is not the file's name.
    """
    if len(content) > _PROFILE_BYTES:
        raise ProfileError(f"{name} is larger than {_PROFILE_BYTES} bytes")
    if any(line.count(b".") > _MOST_DOTS for line in content.split(b"\n")):
        raise ProfileError(f"{name} has more than {_MOST_DOTS} dots on a line")
    try:
        profile = BankProfile.model_validate(tomllib.loads(content.decode("utf-8")))
    except ValidationError as wrong:
        told = "; ".join(_told(each) for each in wrong.errors(include_input=False))
        raise ProfileError(f"{name}: {told}") from wrong
    except (ValueError, RecursionError) as wrong:  # a number of 5,000 digits is a bare ValueError
        raise ProfileError(f"{name} is no TOML: {wrong}") from wrong
    if name != f"{profile.id}.toml":
        raise ProfileError(f"{name}: id: is {profile.id}, not the file's name")
    return profile


def _told(wrong: Mapping[str, Any]) -> str:
    where = ".".join(map(str, wrong["loc"])) or "profile"
    return f"{where}: {wrong['msg']}"


def profile_schema() -> dict[str, Any]:
    """The JSON schema of a profile, published beside the profiles as `profile.schema.json`."""
    return BankProfile.model_json_schema()


def is_bank_code(code: str) -> bool:
    """Whether a 联行号 has 12 digits and the ISO 7064 MOD 11,10 check digit."""
    return bool(_BANK_CODE.fullmatch(code)) and mod_11_10.is_valid(code)


def is_social_credit_code(code: str) -> bool:
    """Whether a 统一社会信用代码 (GB 32100) is written in full and its check character is right."""
    return uscc.is_valid(code) and uscc.compact(code) == code


def violations(batch: Batch, profile: BankProfile) -> tuple[Finding, ...]:
    """Everything the bank would refuse in a batch; empty means it may be rendered.

    Nothing is ever replaced or cut: a name that the charset cannot write is a finding that names
    the characters. What depends on the hour is for `timing`.
    """
    return (
        *_batch_violations(batch, profile),
        *together_violations(batch.payments, profile),
        *(
            finding
            for number, payment in enumerate(batch.payments, 1)
            for finding in payment_violations(payment, profile, f"payment {number}")
        ),
    )


def timing(batch: Batch, profile: BankProfile, at: datetime) -> tuple[Finding, ...]:
    """What the bank would refuse because of the day and the hour; `at` is when it is sent."""
    return timing_violations(
        batch, profile.calendar, profile.windows, profile.advance_maximum_days, at
    )


def _batch_violations(batch: Batch, profile: BankProfile) -> Iterator[Finding]:
    limits, here = profile.limit_bytes, "batch"
    yield from _id("message_id", batch.message_id, limits.message_id, profile, here)
    yield from _id("batch_id", batch.batch_id, limits.batch_id, profile, here)
    yield from _name("debtor_name", batch.debtor_name, limits.name, profile, here)
    yield from _account("debtor_account", batch.debtor_account, profile, here)
    yield from _bank_code("debtor_bank_code", batch.debtor_bank_code, profile, here)


def together_violations(
    payments: tuple[Payment, ...], profile: BankProfile, here: str = "batch"
) -> Iterator[Finding]:
    """What the bank would refuse in payments taken together: count, total, repetition."""
    if not 0 < len(payments) <= profile.batch_maximum:
        message = f"{len(payments)} payments, 1 to {profile.batch_maximum} allowed"
        yield error("batch_size", message, here)
    if len({payment.currency for payment in payments}) > 1:
        yield error("currency_mixed", "more than one currency", here)
    most = profile.amounts.batch_maximum_minor
    if most is not None and (total := sum(one.amount_minor for one in payments)) > most:
        yield error("batch_amount_too_high", f"{total} minor units, {most} allowed", here)
    counted = Counter(payment.end_to_end_id for payment in payments)
    for repeated in (reference for reference, times in counted.items() if times > 1):
        yield error("reference_repeated", f"end_to_end_id {repeated} more than once", here)


def reference_violations(
    batch: Batch, profile: BankProfile, known: Mapping[str, ReferenceState]
) -> Iterator[Finding]:
    """References that the bank would refuse because they were used before.

    Args:
        batch: The batch.
        profile: Says whether a failed payment frees its reference.
        known: Earlier references of the enterprise at this bank, with what became of them.
    """
    frees = profile.reference.unique == "while_open_or_paid"
    for number, payment in enumerate(batch.payments, 1):
        before = known.get(payment.end_to_end_id)
        if before is not None and not (frees and before is ReferenceState.FAILED):
            message = f"end_to_end_id was used before: {before.value}"
            yield error("reference_used", message, f"payment {number}")


def payment_violations(payment: Payment, profile: BankProfile, here: str) -> Iterator[Finding]:
    """Everything the bank would refuse in one payment; a message begins with the field's name."""
    longest = profile.limit_bytes.end_to_end_id
    yield from _id("end_to_end_id", payment.end_to_end_id, longest, profile, here)
    yield from content_violations(payment, profile, here)


def content_violations(payment: Payment, profile: BankProfile, here: str) -> Iterator[Finding]:
    """As `payment_violations`, without our reference, which not every file carries."""
    limits = profile.limit_bytes
    yield from _name("payee_name", payment.payee_name, limits.name, profile, here)
    yield from _account("payee_account", payment.payee_account, profile, here)
    if payment.purpose or "purpose" in profile.required:
        yield from _name("purpose", payment.purpose, limits.purpose, profile, here)
    yield from _bank_code("payee_bank_code", payment.payee_bank_code, profile, here)
    yield from _missing(payment, profile, here)
    yield from _amount(payment, profile, here)


def _missing(payment: Payment, profile: BankProfile, here: str) -> Iterator[Finding]:
    code = payment.payee_bank_code
    if not code and "payee_bank_code" in profile.required:
        yield error("field_required", "payee_bank_code is required by the bank", here)
    if profile.is_own_bank(code):
        return
    if "payee_bank_name" in profile.required and not profile.bank_name(code):
        message = f"payee_bank_code has a bank {code[:_CLASS_DIGITS]} that the profile cannot name"
        yield error("bank_name_unknown", message, here)
    if "payee_city_name" in profile.required and not profile.city_name(code):
        message = f"payee_bank_code has a city {code[_CITY]} that the profile cannot name"
        yield error("city_name_unknown", message, here)


def _amount(payment: Payment, profile: BankProfile, here: str) -> Iterator[Finding]:
    least, most = profile.amounts.payment_minimum_minor, profile.amounts.payment_maximum_minor
    if payment.amount_minor <= 0:
        yield error("amount_not_positive", "amount_minor must be above zero", here)
    elif payment.amount_minor < least:
        yield error("amount_too_low", f"amount_minor is below {least}", here)
    elif most is not None and payment.amount_minor > most:
        yield error("amount_too_high", f"amount_minor is above {most}", here)
    if profile.currencies and payment.currency not in profile.currencies:
        yield error("currency_refused", f"currency is not among {list(profile.currencies)}", here)


def card_warnings(payments: tuple[Payment, ...]) -> Iterator[Finding]:
    """Payee accounts that look like card numbers and fail the Luhn check: a person should look."""
    for number, payment in enumerate(payments, 1):
        account = payment.payee_account
        if _CARD.fullmatch(account) and not luhn.is_valid(account):
            message = "payee_account looks like a card number and fails its check digit"
            yield warning("card_number_odd", message, f"payment {number}")


def _id(
    field: str, value: str, limit_bytes: int, profile: BankProfile, here: str
) -> Iterator[Finding]:
    rule = profile.reference
    yield from _text(field, value, limit_bytes, profile, here)
    if not _ALPHABETS[rule.characters].fullmatch(value):
        yield error("id_alphabet", f"{field} has more than {rule.characters}", here)
    if 0 < len(value) < rule.minimum_bytes:
        yield error("id_too_short", f"{field} needs {rule.minimum_bytes} bytes", here)


def _name(
    field: str, value: str, limit_bytes: int, profile: BankProfile, here: str
) -> Iterator[Finding]:
    yield from _text(field, value, limit_bytes, profile, here)
    allowed = profile.allowed_characters
    if allowed and (outside := sorted(set(value) - set(allowed))):
        yield error("character_not_allowed", f"{field} has {_named(outside)}", here)


def _account(field: str, value: str, profile: BankProfile, here: str) -> Iterator[Finding]:
    yield from _text(field, value, profile.limit_bytes.account, profile, here)
    if profile.iso.account_scheme == "iban" and not (iban.is_valid(value) and value.isalnum()):
        yield error("iban_invalid", f"{field} fails the check digits of an IBAN", here)


def _text(
    field: str, value: str, limit_bytes: int, profile: BankProfile, here: str
) -> Iterator[Finding]:
    if not value.strip():
        yield error("text_empty", f"{field} is empty", here)
    elif value != value.strip():
        yield error("text_padded", f"{field} has spaces at an end", here)
    if forbidden := sorted(set(profile.forbidden_characters).intersection(value)):
        yield error("character_forbidden", f"{field} has {_named(forbidden)}", here)
    if refused := _refused(value, profile.charset):
        message = f"{field} has {_named(refused)}, not in {profile.charset}"
        yield error("character_refused", message, here)
    elif (size := len(value.encode(profile.charset))) > limit_bytes:
        yield error("text_too_long", f"{field} is {size} bytes, {limit_bytes} allowed", here)


def _named(characters: list[str]) -> str:
    return " ".join(
        f"{c} (U+{ord(c):04X})" if c.isprintable() else f"U+{ord(c):04X}" for c in characters
    )


def _refused(value: str, charset: str) -> list[str]:
    """The characters that a text in this charset must not have, each once."""
    # what is printable has none that is unseen: most texts need no look at each character
    if value.isprintable():
        with suppress(UnicodeEncodeError):
            value.encode(charset)
            return []
    return sorted({character for character in value if not _fits(character, charset)})


@lru_cache(maxsize=1 << 16)
def _fits(character: str, charset: str) -> bool:
    if unicodedata.category(character) in _UNSEEN:
        return False
    try:
        character.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _bank_code(field: str, code: str, profile: BankProfile, here: str) -> Iterator[Finding]:
    if profile.iso.bank_code_scheme == "bic":
        if code and not (bic.is_valid(code) and code.isalnum() and code.isupper()):
            yield error("bank_code_invalid", f"{field} is no BIC", here)
    elif code and not is_bank_code(code):
        yield error("bank_code_invalid", f"{field} fails its check digit", here)
