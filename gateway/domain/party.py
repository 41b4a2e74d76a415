"""Who acts: persons for parties, the keys they sign with, what they are mandated to sign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.domain.errors import GatewayError, Kind, Reason, invalid
from gateway.domain.keys import key_id, public_key_from_raw

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ID = "[a-z0-9][a-z0-9-]{0,62}"
_IDENTITY = re.compile(f"xinyi://party/({_ID})/person/({_ID})")


class Role(StrEnum):
    """What a person may do for a party; named as in the contract, without the prefix."""

    PROPERTY_FIRM = "PROPERTY_FIRM"
    """物业公司: carries out the service and asks for payments."""
    OWNERS_COMMITTEE = "OWNERS_COMMITTEE"
    """业主委员会: signs for the owners."""
    TRUSTEE_MAKER = "TRUSTEE_MAKER"
    """受托人经办: books for the trustee."""
    TRUSTEE_CHECKER = "TRUSTEE_CHECKER"
    """受托人复核: signs for the trustee."""
    OPERATOR = "OPERATOR"
    """Runs the gateway; never signs."""
    SUPERVISOR = "SUPERVISOR"
    """信托监察人: reads everything of its estates."""
    OWNER = "OWNER"
    """业主: reads what is disclosed."""


ROLES_ZH: Final[Mapping[Role, str]] = MappingProxyType(
    {
        Role.PROPERTY_FIRM: "物业公司",
        Role.OWNERS_COMMITTEE: "业主委员会",
        Role.TRUSTEE_MAKER: "受托人经办",
        Role.TRUSTEE_CHECKER: "受托人复核",
        Role.OPERATOR: "运维",
        Role.SUPERVISOR: "信托监察人",
        Role.OWNER: "业主",
    }
)
"""What each role is called in Chinese."""

SIGNING_ROLES = frozenset({Role.PROPERTY_FIRM, Role.OWNERS_COMMITTEE, Role.TRUSTEE_CHECKER})
"""Roles a signing policy can ask for: who books for the trustee or runs the gateway never signs."""


def party_name(party_id: str) -> str:
    """Resource name of a party."""
    return f"parties/{party_id}"


def person_name(party_id: str, person_id: str) -> str:
    """Resource name of a person."""
    return f"{party_name(party_id)}/persons/{person_id}"


class Identity(NamedTuple):
    """Whom a client certificate names."""

    party_id: str
    person_id: str


@dataclass(frozen=True, slots=True)
class Person:
    """A natural person acting for one party.

    Attributes:
        person_id: last segment of the resource name, unique within the party.
        party_id: last segment of the party's resource name.
        natural_person: equal for the same human in every party; tells nothing else.
        roles: what the person may do for the party.
    """

    person_id: str
    party_id: str
    natural_person: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A registered signing key. It belongs to one person of one party.

    Attributes:
        key_id: `gateway.domain.keys.key_id` of the raw key.
        person_id: whose it is.
        raw: the 32 bytes of the Ed25519 public key.
        valid_from: first moment it may sign, UTC.
        valid_until: last moment it may sign, UTC.
        revoked_at: from this moment on nothing it signed releases money, UTC.

    Raises:
        GatewayError: FIELD_INVALID if the raw bytes are no sound key, or not the one the id names.
    """

    key_id: str
    person_id: str
    raw: bytes
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None = None

    def __post_init__(self) -> None:
        if key_id(self.verifier) != self.key_id:
            raise invalid(Reason.FIELD_INVALID, "public_key", "is not the key that its id names")

    @property
    def verifier(self) -> Ed25519PublicKey:
        """The key in the form that checks signatures."""
        return public_key_from_raw(self.raw)

    def in_force(self, now: datetime) -> bool:
        """Whether it may sign, or release what it signed, at this moment."""
        return _in_force(self, now)


@dataclass(frozen=True, slots=True)
class Mandate:
    """A person's right to sign payments, within bounds.

    Attributes:
        mandate_id: last segment of the resource name.
        person_id: who may sign.
        role: the role signed in.
        fund_id: the one fund it is for; empty means every fund of the estates that the party is
            appointed to.
        limit_minor: the largest payment, in minor units.
        currency: ISO 4217 code of the limit.
        valid_from: first moment, UTC.
        valid_until: last moment, UTC.
        revoked_at: when it was ended early, UTC; ends it for signatures already given too.
    """

    mandate_id: str
    person_id: str
    role: Role
    fund_id: str
    limit_minor: int
    currency: str
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it permits anything at this moment."""
        return _in_force(self, now)


def identity_uri(party_id: str, person_id: str) -> str:
    """The URI SAN of a person's client certificate: ``xinyi://party/{party}/person/{person}``.

    Raises:
        GatewayError: FIELD_INVALID if an id is not 1-63 lower-case letters, digits and hyphens.
    """
    for path, value in (("party_id", party_id), ("person_id", person_id)):
        if not re.fullmatch(_ID, value):
            raise invalid(Reason.FIELD_INVALID, path, "is not lower-case letters, digits, hyphens")
    return f"xinyi://party/{party_id}/person/{person_id}"


def parse_identity_uri(uri: str) -> Identity:
    """The party and the person that a certificate's URI SAN names.

    Raises:
        GatewayError: CERTIFICATE_UNKNOWN if it is not exactly what `identity_uri` writes.
    """
    match = _IDENTITY.fullmatch(uri)
    if not match:
        raise GatewayError(
            Kind.UNAUTHENTICATED,
            Reason.CERTIFICATE_UNKNOWN,
            "the certificate does not name a party and a person",
        )
    return Identity(match[1], match[2])


def _in_force(right: PublicKey | Mandate, now: datetime) -> bool:
    """First and last moment belong to it, the moment of revocation no longer does."""
    revoked = right.revoked_at is not None and right.revoked_at <= now
    return right.valid_from <= now <= right.valid_until and not revoked
