"""What is signed: one payment as canonical JSON (RFC 8785), from which everything else is read.

The gateway writes these bytes once, when the money is held. Both signers sign the same bytes, and
whoever reads them verifies first and then parses exactly them; nothing is ever serialised anew to
be verified.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from gateway.domain.canonical import canonical_json
from gateway.domain.errors import FieldViolation, GatewayError, Kind, Reason, invalid
from gateway.domain.money import EXPONENTS, LIMIT_MINOR
from gateway.domain.party import SIGNING_ROLES, Role

SCHEMA: Final = "xinyi.payment/v1"
MAX_PAYLOAD_BYTES = 16 * 1024
MAX_VOUCHERS = 64
MAX_DAYS = 100

_SEGMENT = "[A-Za-z][A-Za-z0-9-]{0,62}/[A-Za-z0-9][A-Za-z0-9._~-]{0,62}"
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that Unicode counts as printable though they draw nothing of their own."""
_VIOLATIONS_SHOWN = 10
_PATH_SHOWN = 100


def _visible(text: str) -> str:
    """Refuses what a signer could not see: controls, direction marks, zero widths, fillers."""
    shown = text.replace("\u3000", " ")  # the wide space is how Chinese input methods space
    if text != text.strip() or not shown.isprintable() or _UNSEEN.search(text):
        raise ValueError("has invisible characters, or spaces around it")
    return text


def _known_currency(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError("is not a currency the gateway knows")
    return code


def _payable(digits: str) -> str:
    if int(digits) > LIMIT_MINOR:
        raise ValueError(f"is beyond {LIMIT_MINOR} minor units")
    return digits


def _distinct(vouchers: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(vouchers)) != len(vouchers):
        raise ValueError("names a voucher twice")
    return vouchers


def _slot(roles: tuple[Role, ...]) -> tuple[Role, ...]:
    if roles != tuple(sorted(set(roles))) or not SIGNING_ROLES.issuperset(roles):
        raise ValueError("must be signing roles in alphabetical order, each once")
    return roles


def instant(text: str) -> datetime:
    """The moment that ``2024-05-31T08:00:00Z`` names, aware, UTC.

    Raises:
        ValueError: if it is written in any other way, or is no moment of the calendar.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    # It reads more ways to write a moment than one; only the one is taken.
    if moment is None or moment.tzinfo is None or stamp(moment) != text:
        raise ValueError("is not a moment as in 2024-05-31T08:00:00Z")
    return moment


def stamp(moment: datetime) -> str:
    """An aware moment as payloads write it: UTC, whole seconds, fractions dropped."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='seconds')}Z"


@lru_cache(maxsize=64)
def _moment(text: str) -> str:
    instant(text)
    return text


_Text = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_visible)]
_Name = Annotated[str, StringConstraints(pattern=f"^{_SEGMENT}(/{_SEGMENT})*$", max_length=255)]
_Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
_Day = Annotated[str, StringConstraints(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
_Moment = Annotated[str, StringConstraints(max_length=20), AfterValidator(_moment)]
_Slot = Annotated[tuple[Role, ...], Field(min_length=1, max_length=3), AfterValidator(_slot)]


class Resend(BaseModel):
    """Why a payment is signed once more: its bank never had it.

    Attributes:
        attempt: 2 for the first time that it is sent again, digits.
        payment_sha256: of the bytes that were signed for the first attempt.
        transmission: resource name of the file that was lost.
        missed_on: days on which the bank did not know the payment, such as ``2024-05-31``.
        stated_until: last day of the account's statements, which lack it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    attempt: Annotated[str, StringConstraints(pattern="^([2-9]|[1-9][0-9])$")]
    payment_sha256: _Digest
    transmission: _Name
    missed_on: Annotated[tuple[_Day, ...], Field(min_length=1, max_length=MAX_DAYS)]
    stated_until: _Day


class PaymentPayload(BaseModel):
    """The exact content of one payment, as both signers see and sign it.

    Attributes:
        schema_: always ``xinyi.payment/v1``; written as ``schema``.
        environment: where it is valid: a signature of a trial is worth nothing in production.
        estate: resource name of the estate.
        fund: resource name of the fund that pays.
        payment: resource name of the payment, under its fund.
        payee_name: the account holder, as the bank will be told.
        payee_account: the account that receives.
        payee_bank_code: 联行号 of the receiving bank, 12 digits.
        amount_minor: what is paid, minor units (fen), digits: JSON has no exact large integers.
        currency: ISO 4217 code.
        purpose: what it is for.
        budget_line: resource name of the budget line, under its fund.
        vouchers: SHA-256 of each voucher, hexadecimal.
        policy_version: version of the fund's signing policy, digits only.
        nonce: 32 hexadecimal digits; no two payments share one.
        not_before: first moment it may be signed and released, such as ``2024-05-31T08:00:00Z``.
        expires: last moment, likewise.
        required_roles: for each of the two signatures the roles that may give it, in
            alphabetical order.
        resend: why it is sent again; absent from the bytes of a payment's first attempt.

    Raises:
        pydantic.ValidationError: turn it into a refusal with `payload_refusal`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    schema_: Literal["xinyi.payment/v1"] = Field(alias="schema")
    environment: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9-]{0,31}$")]
    estate: _Name
    fund: _Name
    payment: _Name
    payee_name: _Text
    payee_account: Annotated[str, StringConstraints(pattern="^[0-9A-Za-z-]{1,34}$")]
    payee_bank_code: Annotated[str, StringConstraints(pattern="^[0-9]{12}$")]
    amount_minor: Annotated[
        str, StringConstraints(pattern="^[1-9][0-9]{0,15}$"), AfterValidator(_payable)
    ]
    currency: Annotated[str, AfterValidator(_known_currency)]
    purpose: _Text
    budget_line: _Name
    vouchers: Annotated[
        tuple[_Digest, ...], Field(max_length=MAX_VOUCHERS), AfterValidator(_distinct)
    ]
    policy_version: Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,9}$")]
    nonce: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
    not_before: _Moment
    expires: _Moment
    required_roles: tuple[_Slot, _Slot]
    resend: Resend | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        """The payment and its budget line are of the fund that pays, and there is time to sign."""
        if not all(name.startswith(f"{self.fund}/") for name in (self.payment, self.budget_line)):
            raise ValueError("payment and budget_line must be of the fund")
        # Written in one way only, moments sort as texts.
        if self.not_before >= self.expires:
            raise ValueError("not_before must be earlier than expires")
        return self


def canonical_bytes(payload: PaymentPayload) -> bytes:
    """The one way to write the payload (RFC 8785): the bytes to store and to sign."""
    return canonical_json(payload.model_dump(mode="json", by_alias=True, exclude_none=True))


@lru_cache(maxsize=4096)
def parse_payload(data: bytes) -> PaymentPayload:
    """The payment that these bytes say; verify the signature over them first.

    Raises:
        GatewayError: FIELD_INVALID if a field breaks its rule, or if the bytes are not exactly the
            canonical ones (order, spaces, escapes, a key given twice); LIMIT_EXCEEDED if too long.

    The same bytes always say the same, so the last ones read are remembered.
    """
    if len(data) > MAX_PAYLOAD_BYTES:
        raise invalid(Reason.LIMIT_EXCEEDED, "payload", f"is longer than {MAX_PAYLOAD_BYTES} bytes")
    try:
        payload = PaymentPayload.model_validate_json(data)
    except ValidationError as error:
        raise payload_refusal(error) from None
    if canonical_bytes(payload) != data:
        raise invalid(Reason.FIELD_INVALID, "payload", "is not canonical JSON (RFC 8785)")
    return payload


def payload_refusal(error: ValidationError) -> GatewayError:
    """The same complaint for a caller: the fields at fault, never their values."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    violations = tuple(
        FieldViolation(".".join(map(str, ("payload", *each["loc"])))[:_PATH_SHOWN], each["msg"])
        for each in details[:_VIOLATIONS_SHOWN]
    )
    return GatewayError(
        Kind.INVALID,
        Reason.FIELD_INVALID,
        f"the payload breaks {len(details)} rule(s) of {SCHEMA}",
        {"violations": str(len(details))},
        violations,
    )
