"""What stands in the log of a line: all of it public, and what may name a person only as a hash.

A leaf lasts for ever, personal data must not. So text that may name somebody stands as a commitment
under a salt of the line's own; whoever is shown the line is given the salt and makes the entry
again. Once the salt is erased nobody can tell from the entry what the text was, and every proof
still holds (Personal Information Protection Law art. 47).
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.domain.canonical import canonical_json
from gateway.domain.logged import Count, Logged, Minor

SCHEMA: Final = "xinyi.line/v1"
SALT_BYTES: Final = 16

_PRIVATE: Final = frozenset(
    {"summary", "counterparty", "counterparty_account", "correction_reason", "vouchers"}
)
"""Fields that may name a person, or lead to one."""


class Mark(Logged):
    """One signature behind a line, as owners see it.

    Attributes:
        party_name: the signing party, never a person.
        role: in which it signed.
        created_at: when, ISO 8601, UTC.
    """

    party_name: str
    role: str
    created_at: str


class Line(Logged):
    """A line as owners are shown it, and all of it that never changes.

    Attributes:
        schema_: of this record.
        fund: ``funds/{fund}``.
        number: of the line within the fund, from 1.
        book: ``COMMON`` or ``MAINTENANCE``.
        category: under which it counts.
        summary: what for.
        amount_minor: minor units; receipts above zero, payments below.
        running_minor: the fund's money after this line.
        currency: ISO 4217 code.
        effective_date: the day it counts for.
        disclosed_at: when it was disclosed, ISO 8601, UTC.
        counterparty: the other side, masked.
        counterparty_account: the last digits of its account.
        vouchers: SHA-256 of each.
        corrects: number of the line that this one takes back; 0 for none.
        correction_reason: why.
        signatures: who asked and who signed.
    """

    schema_: Literal["xinyi.line/v1"] = Field(default=SCHEMA, alias="schema")
    fund: str
    number: Count
    book: Literal["COMMON", "MAINTENANCE"]
    category: str
    summary: str
    amount_minor: Minor
    running_minor: Minor
    currency: str
    effective_date: str
    disclosed_at: str
    counterparty: str
    counterparty_account: str
    vouchers: Annotated[tuple[str, ...], Field(strict=False)]
    corrects: Count
    correction_reason: str
    signatures: Annotated[tuple[Mark, ...], Field(strict=False)]


def line_entry(line: Line, salt: bytes) -> bytes:
    """The line's entry in the log: canonical JSON (RFC 8785).

    Args:
        line: what owners are shown.
        salt: of this line alone, `SALT_BYTES` random bytes.
    """
    fields = line.model_dump(mode="json", by_alias=True)
    commitments = {name: _commitment(name, fields.pop(name), salt) for name in sorted(_PRIVATE)}
    return canonical_json({**fields, "commitments": commitments})


def is_openly(line: Line, entry: bytes) -> bool:
    """Whether an entry is the line's in all that is no commitment: all that is left to compare.

    Args:
        line: whose salt was erased.
        entry: of the log.
    """
    fields = line.model_dump(mode="json", by_alias=True)
    logged: dict[str, object] = json.loads(entry)
    del logged["commitments"]
    return logged == {name: value for name, value in fields.items() if name not in _PRIVATE}


def _commitment(name: str, value: object, salt: bytes) -> str:
    """What binds a field to its value and tells nobody what that is without the salt."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    said = name.encode() + b"\x00" + canonical_json(value)
    return hmac.new(salt, said, sha256).hexdigest()
