"""What is signed of a whole batch: every payment in it by the digest of its own stored bytes.

A signature on it stands for one on each of these payments: a digest names exactly the bytes that
would have been signed one by one. The gateway hands these bytes to nobody: signers make them from
the payments' own, so that they sign what they have seen.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from gateway.domain.canonical import canonical_json
from gateway.domain.errors import Reason, invalid
from gateway.domain.payload import parse_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA: Final = "xinyi.batch/v1"
MAX_PAYMENTS: Final = 5000

_ID: Final = "[a-z0-9][a-z0-9-]{0,62}"
_Digits = Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,18}$")]


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Listed(_Signed):
    """One payment of the batch.

    Attributes:
        payment: its id, the last segment of its resource name.
        sha256: of its stored bytes, hexadecimal.
    """

    payment: Annotated[str, StringConstraints(pattern=f"^{_ID}$")]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class BatchPayload(_Signed):
    """The exact content of one batch, as its signers sign it.

    Attributes:
        schema_: always ``xinyi.batch/v1``; written as ``schema``.
        environment: as in each of its payments.
        batch: resource name, such as ``funds/f1/batches/b1``.
        count: how many payments, digits.
        total_minor: their sum, minor units, digits.
        currency: ISO 4217 code, as in each of its payments.
        payments: all that are signed, by rising id.
    """

    schema_: Literal["xinyi.batch/v1"] = Field(alias="schema")
    environment: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9-]{0,31}$")]
    batch: Annotated[str, StringConstraints(pattern=f"^funds/{_ID}/batches/{_ID}$")]
    count: _Digits
    total_minor: _Digits
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
    payments: Annotated[tuple[Listed, ...], Field(min_length=1, max_length=MAX_PAYMENTS)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ids = [each.payment for each in self.payments]
        if ids != sorted(set(ids)) or self.count != str(len(ids)):
            raise ValueError("payments must be listed by rising id, each once, and counted")
        return self


def batch_bytes(batch: str, payloads: Sequence[bytes]) -> bytes:
    """The bytes to sign for payments of a batch.

    Args:
        batch: its resource name.
        payloads: the bytes of each of its payments that is to be signed, in any order.

    Raises:
        GatewayError: FIELD_INVALID unless they are payments of one environment, fund and currency;
            whatever `parse_payload` refuses.
    """
    said = {data: parse_payload(data) for data in payloads}
    shared = {(each.environment, each.fund, each.currency) for each in said.values()}
    if len(shared) != 1:
        raise invalid(Reason.FIELD_INVALID, "payments", "are of several funds, or there are none")
    environment, _, currency = shared.pop()
    listed = sorted(
        (each.payment.rpartition("/")[2], sha256(data).hexdigest()) for data, each in said.items()
    )
    return canonical_json(
        {
            "schema": SCHEMA,
            "environment": environment,
            "batch": batch,
            "count": str(len(listed)),
            "total_minor": str(sum(int(each.amount_minor) for each in said.values())),
            "currency": currency,
            "payments": [{"payment": name, "sha256": digest} for name, digest in listed],
        }
    )


@lru_cache(maxsize=16)
def parse_batch(data: bytes) -> BatchPayload:
    """The batch that these bytes say; verify the signature over them first.

    Raises:
        GatewayError: FIELD_INVALID if they are no batch's canonical bytes.
    """
    try:
        payload = BatchPayload.model_validate_json(data)
    except ValidationError:
        raise invalid(Reason.FIELD_INVALID, "envelope.payload", f"is not {SCHEMA}") from None
    if canonical_json(payload.model_dump(mode="json", by_alias=True)) != data:
        raise invalid(Reason.FIELD_INVALID, "envelope.payload", "is not canonical JSON (RFC 8785)")
    return payload


@lru_cache(maxsize=16)
def digests_in(data: bytes) -> dict[str, str]:
    """The digest of each payment that these bytes list, by its id; as `parse_batch`."""
    return {each.payment: each.sha256 for each in parse_batch(data).payments}
