"""What signing needs to know of the register, as domain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.domain.errors import Reason, not_found, precondition
from gateway.domain.party import Mandate, Person, PublicKey, Role
from gateway.domain.policy import SigningPolicy, Tier
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row


async def load_person(conn: AsyncConnection, party_id: str, person_id: str) -> Person:
    """The person with the roles of this moment.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.persons).where(
        t.persons.c.party_id == party_id, t.persons.c.person_id == person_id
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"parties/{party_id}/persons/{person_id}")
    return Person(row.person_id, row.party_id, row.natural_person, frozenset(map(Role, row.roles)))


async def load_key(conn: AsyncConnection, key_id: str) -> tuple[str, PublicKey]:
    """The party whose person has this key, and the key, in force or not.

    Raises:
        GatewayError: KEY_UNKNOWN.
    """
    query = sa.select(t.public_keys).where(t.public_keys.c.key_id == key_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        # The id came with the caller's envelope and may be anything: it is not repeated.
        raise precondition(Reason.KEY_UNKNOWN, "", "the key is not registered")
    return row.party_id, PublicKey(
        key_id=row.key_id,
        person_id=row.person_id,
        raw=row.ed25519,
        valid_from=row.starts_at,
        valid_until=row.expires_at,
        revoked_at=row.revoked_at,
    )


async def load_mandates(
    conn: AsyncConnection, party_id: str, person_id: str
) -> tuple[Mandate, ...]:
    """All mandates of a person, those out of force included."""
    mandates = t.mandates
    query = (
        sa.select(mandates)
        .where(mandates.c.party_id == party_id, mandates.c.person_id == person_id)
        .order_by(mandates.c.mandate_id)
    )
    return tuple(_mandate(row) for row in await conn.execute(query))


async def load_policy(conn: AsyncConnection, fund_id: str) -> SigningPolicy:
    """The fund's signing policy in force.

    Raises:
        GatewayError: POLICY_MISSING.
    """
    return policy_of(await latest_policy(conn, fund_id), fund_id)


async def load_policy_version(conn: AsyncConnection, fund_id: str, version: int) -> SigningPolicy:
    """One version of the fund's signing policy, in force or not.

    Raises:
        GatewayError: POLICY_MISSING.
    """
    policies = t.signing_policies
    query = sa.select(policies).where(policies.c.fund_id == fund_id, policies.c.version == version)
    return policy_of((await conn.execute(query)).one_or_none(), fund_id)


async def latest_policy(conn: AsyncConnection, fund_id: str) -> Row | None:
    """The row of the signing policy in force."""
    policies = t.signing_policies
    query = (
        sa.select(policies)
        .where(policies.c.fund_id == fund_id)
        .order_by(policies.c.version.desc())
        .limit(1)
    )
    return (await conn.execute(query)).one_or_none()


def policy_of(row: Row | None, fund_id: str) -> SigningPolicy:
    """The policy in a row.

    Raises:
        GatewayError: POLICY_MISSING without a row.
    """
    if row is None:
        raise precondition(
            Reason.POLICY_MISSING, f"funds/{fund_id}", "the fund has no signing policy yet"
        )
    return SigningPolicy(row.version, tuple(map(_tier, row.tiers)))


async def appointed_parties(conn: AsyncConnection, estate_id: str) -> frozenset[str]:
    """Parties appointed to an estate at this moment.

    Row-level security shows a party its own appointment only, and a signature must not depend on
    who asks: the database answers this one question for everybody (function ``appointed_parties``).
    """
    query = sa.select(sa.func.appointed_parties(estate_id))
    return frozenset((await conn.scalars(query)).all())


def _mandate(row: Row) -> Mandate:
    return Mandate(
        mandate_id=row.mandate_id,
        person_id=row.person_id,
        role=Role(row.role),
        fund_id=row.fund_id,
        limit_minor=row.limit_minor,
        currency=row.currency,
        valid_from=row.starts_at,
        valid_until=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _tier(stored: Mapping[str, Any]) -> Tier:
    first, second = (frozenset(map(Role, slot)) for slot in stored["slots"])
    return Tier(stored["up_to_minor"], (first, second))
