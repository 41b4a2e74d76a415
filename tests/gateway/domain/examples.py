"""One sound payment and its people, from which the tests deviate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.keys import key_id
from gateway.domain.party import Mandate, Person, PublicKey, Role
from gateway.domain.payload import PaymentPayload
from gateway.domain.policy import Signer, Slots, facts_of

NOW = datetime(2024, 5, 31, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SLOTS: Slots = (
    frozenset({Role.OWNERS_COMMITTEE, Role.PROPERTY_FIRM}),
    frozenset({Role.TRUSTEE_CHECKER}),
)
FIELDS: dict[str, object] = {
    "schema": "xinyi.payment/v1",
    "environment": "test",
    "estate": "estates/e1",
    "fund": "funds/f1",
    "payment": "funds/f1/payments/p1",
    "payee_name": "成都某某电梯有限公司",
    "payee_account": "6222020000000001",
    "payee_bank_code": "102651000018",
    "amount_minor": "140950",
    "currency": "CNY",
    "purpose": "五月电梯维修",
    "budget_line": "funds/f1/budgetLines/lift",
    "vouchers": ("ab" * 32, "cd" * 32),
    "policy_version": "1",
    "nonce": "0123456789abcdef" * 2,
    "not_before": "2024-05-31T08:00:00Z",
    "expires": "2024-06-07T08:00:00Z",
    "required_roles": (
        (Role.OWNERS_COMMITTEE, Role.PROPERTY_FIRM),
        (Role.TRUSTEE_CHECKER,),
    ),
}


def payload(**changes: object) -> PaymentPayload:
    return PaymentPayload.model_validate({**FIELDS, **changes})


FACTS = facts_of(payload(), ["firm", "committee", "trustee"])


def private_key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(seed.encode()).digest())


def public_key(person_id: str, seed: str, revoked_at: datetime | None = None) -> PublicKey:
    key = private_key(seed).public_key()
    raw = key.public_bytes_raw()
    return PublicKey(key_id(key), person_id, raw, NOW - DAY, NOW + 30 * DAY, revoked_at)


def mandate(person_id: str, role: Role, fund_id: str = "f1", limit_minor: int = 10**6) -> Mandate:
    return Mandate(
        "m1", person_id, role, fund_id, limit_minor, "CNY", NOW - DAY, NOW + 30 * DAY, None
    )


def signer(person_id: str, party_id: str, role: Role) -> Signer:
    person = Person(person_id, party_id, f"human-{person_id}", frozenset({role}))
    return Signer(person, public_key(person_id, person_id), (mandate(person_id, role),))


WANG = signer("wang", "committee", Role.OWNERS_COMMITTEE)
LI = signer("li", "trustee", Role.TRUSTEE_CHECKER)
