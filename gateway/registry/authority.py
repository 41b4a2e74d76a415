"""What signing needs to know of the register, as domain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from gateway.domain.errors import Reason, not_found, precondition
from gateway.domain.party import Mandate, Person, PublicKey, Role, person_name
from gateway.domain.policy import SigningPolicy, Tier
from gateway.store import bulk
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.errors import GatewayError
    from gateway.store import Row

Ids: TypeAlias = tuple[str, str]
"""A person: party and id within it."""


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
        raise not_found(person_name(party_id, person_id))
    return _person(row)


async def load_persons(conn: AsyncConnection, ids: Collection[Ids]) -> Mapping[Ids, Person]:
    """Persons with the roles of this moment, by party and person; who is not there is missing."""
    query = """
        SELECT p.* FROM persons p
        JOIN unnest($1::text[], $2::text[]) AS n(party_id, person_id) USING (party_id, person_id)
    """
    rows = await bulk.fetch(conn, query, *_columns(ids))
    return {(row.party_id, row.person_id): _person(row) for row in rows}


async def load_keys(
    conn: AsyncConnection, key_ids: Collection[str]
) -> Mapping[str, tuple[str, PublicKey]]:
    """The party whose person has a key, and the key, in force or not, by key id."""
    query = "SELECT * FROM public_keys WHERE key_id = ANY($1::text[])"
    rows = await bulk.fetch(conn, query, list(key_ids))
    return {
        row.key_id: (
            row.party_id,
            PublicKey(
                key_id=row.key_id,
                person_id=row.person_id,
                raw=row.ed25519,
                valid_from=row.starts_at,
                valid_until=row.expires_at,
                revoked_at=row.revoked_at,
            ),
        )
        for row in rows
    }


async def load_mandates(
    conn: AsyncConnection, ids: Collection[Ids]
) -> Mapping[Ids, tuple[Mandate, ...]]:
    """All mandates of persons, those out of force included, by party and person."""
    query = """
        SELECT m.* FROM mandates m
        JOIN unnest($1::text[], $2::text[]) AS n(party_id, person_id) USING (party_id, person_id)
        ORDER BY m.mandate_id
    """
    found: dict[Ids, list[Mandate]] = {each: [] for each in ids}
    for row in await bulk.fetch(conn, query, *_columns(ids)):
        found[row.party_id, row.person_id].append(_mandate(row))
    return {person: tuple(mandates) for person, mandates in found.items()}


async def load_policies(
    conn: AsyncConnection, versions: Collection[tuple[str, int]]
) -> Mapping[tuple[str, int], SigningPolicy]:
    """Versions of signing policies, in force or not, by fund and version."""
    query = """
        SELECT p.* FROM signing_policies p
        JOIN unnest($1::text[], $2::bigint[]) AS n(fund_id, version) USING (fund_id, version)
    """
    rows = await bulk.fetch(conn, query, *_columns(versions))
    return {(row.fund_id, row.version): policy_of(row) for row in rows}


def no_policy(fund_id: str) -> GatewayError:
    """The refusal of what needs a signing policy where there is none."""
    return precondition(
        Reason.POLICY_MISSING, f"funds/{fund_id}", "the fund has no signing policy yet"
    )


def no_key() -> GatewayError:
    """The refusal of a key that nobody registered."""
    # The id came with the caller's envelope and may be anything: it is not repeated.
    return precondition(Reason.KEY_UNKNOWN, "", "the key is not registered")


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


async def appointed_parties(conn: AsyncConnection, estate_id: str) -> frozenset[str]:
    """Parties appointed to an estate at this moment.

    Row-level security shows a party its own appointment only, and a signature must not depend on
    who asks: the database answers this one question for everybody (function ``appointed_parties``).
    """
    query = sa.select(sa.func.appointed_parties(estate_id))
    return frozenset((await conn.scalars(query)).all())


async def load_appointed(
    conn: AsyncConnection, fund_ids: Collection[str]
) -> Mapping[str, frozenset[str]]:
    """Parties appointed to the estates of funds at this moment, by fund, as `appointed_parties`."""
    query = "SELECT fund_id, party_id FROM appointed($1::text[])"
    found: dict[str, set[str]] = {each: set() for each in fund_ids}
    for row in await bulk.fetch(conn, query, list(fund_ids)):
        found[row.fund_id].add(row.party_id)
    return {fund_id: frozenset(parties) for fund_id, parties in found.items()}


def _columns(rows: Collection[tuple[Any, ...]]) -> list[list[Any]]:
    """Pairs as two lists, of no pair too."""
    return [[row[place] for row in rows] for place in (0, 1)]


def _person(row: Row) -> Person:
    return Person(row.person_id, row.party_id, row.natural_person, frozenset(map(Role, row.roles)))


def policy_of(row: Row) -> SigningPolicy:
    """The policy in a row."""
    return SigningPolicy(row.version, tuple(map(_tier, row.tiers)))


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
