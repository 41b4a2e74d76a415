"""What one bank wants, as data; and what in a batch this bank would refuse."""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from stdnum.iso7064 import mod_11_10

from adapters.model import Batch, Finding, Payment, error

_BANK_CODE = re.compile(r"[0-9]{12}")
_PROFILE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that a person cannot see in a field: controls, directions, breaks, unassigned."""
_Bytes = Annotated[int, Field(gt=0, le=4000)]


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


class BankProfile(_Frozen):
    """One bank connection's settings; every bank rule is here, none in code."""

    id: Annotated[str, Field(pattern=_PROFILE_ID.pattern)]
    name_zh: Annotated[str, Field(min_length=1, max_length=80)]
    name_en: Annotated[str, Field(min_length=1, max_length=80)]
    outbound_format: Literal["pain.001.001.09"]
    charset: Literal["UTF-8", "GB2312", "GBK", "GB18030"]
    unit: Literal["yuan", "fen"]
    """The unit of amounts in formats of the bank's own; ISO 20022 always writes decimals."""
    batch_booking: Literal["single", "lump"]
    """逐笔 or 并笔."""
    batch_maximum: Annotated[int, Field(gt=0, le=100_000)]
    unlisted_transaction: Literal["unknown", "as_group"]
    """What a payment is that a status report on its batch does not name."""
    limit_bytes: FieldLimits


def list_profiles() -> tuple[str, ...]:
    """The ids of the profiles that come with the gateway, sorted."""
    files = resources.files("adapters.banks").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


@cache
def load_profile(profile_id: str) -> BankProfile:
    """The profile of this id.

    Raises:
        LookupError: There is none.
        pydantic.ValidationError: Its file breaks the schema.
    """
    if profile_id not in list_profiles():
        raise LookupError(f"no bank profile {profile_id!r}")
    file = resources.files("adapters.banks") / f"{profile_id}.toml"
    return BankProfile.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))


def is_bank_code(code: str) -> bool:
    """Whether a 联行号 has 12 digits and the ISO 7064 MOD 11,10 check digit."""
    return bool(_BANK_CODE.fullmatch(code)) and mod_11_10.is_valid(code)


def violations(batch: Batch, profile: BankProfile) -> tuple[Finding, ...]:
    """Everything the bank would refuse in a batch; empty means it may be rendered.

    Nothing is ever replaced or cut: a name that the charset cannot write is a finding that names
    the characters.
    """
    return (
        *_batch_violations(batch, profile),
        *(
            finding
            for number, payment in enumerate(batch.payments, 1)
            for finding in payment_violations(payment, profile, f"payment {number}")
        ),
    )


def _batch_violations(batch: Batch, profile: BankProfile) -> Iterator[Finding]:
    limits, here = profile.limit_bytes, "batch"
    yield from _text("message_id", batch.message_id, limits.message_id, profile, here)
    yield from _text("batch_id", batch.batch_id, limits.batch_id, profile, here)
    yield from _text("debtor_name", batch.debtor_name, limits.name, profile, here)
    yield from _text("debtor_account", batch.debtor_account, limits.account, profile, here)
    yield from _bank_code("debtor_bank_code", batch.debtor_bank_code, here)
    if not 0 < len(batch.payments) <= profile.batch_maximum:
        message = f"{len(batch.payments)} payments, 1 to {profile.batch_maximum} allowed"
        yield error("batch_size", message, here)
    if len({payment.currency for payment in batch.payments}) > 1:
        yield error("currency_mixed", "more than one currency", here)
    counted = Counter(payment.end_to_end_id for payment in batch.payments)
    for repeated in (reference for reference, times in counted.items() if times > 1):
        yield error("reference_repeated", f"end_to_end_id {repeated} more than once", here)


def payment_violations(payment: Payment, profile: BankProfile, here: str) -> Iterator[Finding]:
    """Everything the bank would refuse in one payment; a message begins with the field's name."""
    limits = profile.limit_bytes
    yield from _text("end_to_end_id", payment.end_to_end_id, limits.end_to_end_id, profile, here)
    yield from _text("payee_name", payment.payee_name, limits.name, profile, here)
    yield from _text("payee_account", payment.payee_account, limits.account, profile, here)
    if payment.purpose:
        yield from _text("purpose", payment.purpose, limits.purpose, profile, here)
    yield from _bank_code("payee_bank_code", payment.payee_bank_code, here)
    if payment.amount_minor <= 0:
        yield error("amount_not_positive", "amount_minor must be above zero", here)


def _text(
    field: str, value: str, limit_bytes: int, profile: BankProfile, here: str
) -> Iterator[Finding]:
    if not value.strip():
        yield error("text_empty", f"{field} is empty", here)
    elif value != value.strip():
        yield error("text_padded", f"{field} has spaces at an end", here)
    refused = sorted({character for character in value if not _fits(character, profile.charset)})
    if refused:
        named = " ".join(
            f"{c} (U+{ord(c):04X})" if c.isprintable() else f"U+{ord(c):04X}" for c in refused
        )
        yield error("character_refused", f"{field} has {named}, not in {profile.charset}", here)
    elif (size := len(value.encode(profile.charset))) > limit_bytes:
        yield error("text_too_long", f"{field} is {size} bytes, {limit_bytes} allowed", here)


def _fits(character: str, charset: str) -> bool:
    if unicodedata.category(character) in _UNSEEN:
        return False
    try:
        character.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _bank_code(field: str, code: str, here: str) -> Iterator[Finding]:
    if code and not is_bank_code(code):
        yield error("bank_code_invalid", f"{field} fails its check digit", here)
