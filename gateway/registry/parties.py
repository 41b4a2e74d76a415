"""Parties, their persons, and the certificates, keys and mandates of each person."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from stdnum.cn import uscc

from gateway.domain.errors import Reason, invalid
from gateway.domain.keys import key_id, public_key_from_raw
from gateway.domain.party import Role, identity_uri, party_name, person_name
from gateway.registry.rows import change_one, end_once, insert_new, one_of, require_version
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.party import Mandate
    from gateway.store import Row


# --- parties ----------------------------------------------------------------------------------


async def create_party(
    conn: AsyncConnection,
    party_id: str,
    *,
    display_name: str,
    social_credit_code: str = "",
    now: datetime,
) -> Row:
    """Registers a party.

    Args:
        conn: a transaction.
        party_id: last segment of its resource name.
        display_name: full registered name.
        social_credit_code: 统一社会信用代码; empty for a body without one.
        now: UTC.

    Raises:
        GatewayError: FIELD_INVALID if the code's check character is wrong, RESOURCE_EXISTS.
    """
    if social_credit_code and not uscc.is_valid(social_credit_code):
        raise invalid(
            Reason.FIELD_INVALID, "party.social_credit_code", "has a wrong check character"
        )
    values = {
        "party_id": party_id,
        "display_name": display_name,
        "social_credit_code": social_credit_code,
        "created_at": now,
    }
    return await insert_new(conn, t.parties, party_name(party_id), values)


async def get_party(conn: AsyncConnection, party_id: str) -> Row:
    """One party.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.parties).where(t.parties.c.party_id == party_id)
    return await one_of(conn, query, party_name(party_id))


async def list_parties(conn: AsyncConnection, *, after: str, limit: int) -> Sequence[Row]:
    """Parties by id, behind `after`; at most `limit`."""
    parties = t.parties
    query = (
        sa.select(parties)
        .where(parties.c.party_id > after)
        .order_by(parties.c.party_id)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


async def rename_party(
    conn: AsyncConnection, party_id: str, *, display_name: str, etag: str
) -> Row:
    """Changes a party's name.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
    """
    parties, name = t.parties, party_name(party_id)
    this = parties.c.party_id == party_id
    row = await one_of(conn, sa.select(parties).where(this).with_for_update(), name)
    require_version(row, etag, name)
    return await change_one(conn, parties, this, {"display_name": display_name})


# --- persons ----------------------------------------------------------------------------------


async def create_person(
    conn: AsyncConnection,
    party_id: str,
    person_id: str,
    *,
    display_name: str,
    natural_person: str,
    roles: Iterable[Role],
    now: datetime,
) -> Row:
    """Registers a natural person who acts for a party.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a party, RESOURCE_EXISTS.
    """
    await get_party(conn, party_id)
    values = {
        "party_id": party_id,
        "person_id": person_id,
        "display_name": display_name,
        "natural_person": natural_person,
        "roles": sorted(roles),
        "created_at": now,
    }
    return await insert_new(conn, t.persons, person_name(party_id, person_id), values)


async def get_person(conn: AsyncConnection, party_id: str, person_id: str) -> Row:
    """One person.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.persons).where(_of_person(t.persons, party_id, person_id))
    return await one_of(conn, query, person_name(party_id, person_id))


async def list_persons(
    conn: AsyncConnection, party_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Persons of a party by id.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a party.
    """
    await get_party(conn, party_id)
    persons = t.persons
    query = (
        sa.select(persons)
        .where(persons.c.party_id == party_id, persons.c.person_id > after)
        .order_by(persons.c.person_id)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


# --- certificates -----------------------------------------------------------------------------


async def create_certificate(
    conn: AsyncConnection, party_id: str, person_id: str, *, pem: str, now: datetime
) -> Row:
    """Registers a client certificate under the SHA-256 of its DER bytes.

    Raises:
        GatewayError: FIELD_INVALID if it is no certificate, or does not name just this person;
            RESOURCE_NOT_FOUND without such a person; RESOURCE_EXISTS.
    """
    await get_person(conn, party_id, person_id)
    certificate = _certificate(pem)
    if _uris(certificate) != [identity_uri(party_id, person_id)]:
        raise invalid(Reason.FIELD_INVALID, "certificate.pem", "does not name this person")
    fingerprint = sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
    values = {
        "fingerprint": fingerprint,
        "party_id": party_id,
        "person_id": person_id,
        "pem": certificate.public_bytes(Encoding.PEM).decode("ascii"),
        "expires_at": certificate.not_valid_after_utc,
        "created_at": now,
    }
    name = f"{person_name(party_id, person_id)}/certificates/{fingerprint}"
    return await insert_new(conn, t.certificates, name, values)


async def revoke_certificate(
    conn: AsyncConnection, party_id: str, person_id: str, fingerprint: str, *, now: datetime
) -> Row:
    """Ends a certificate; one that had ended keeps its moment.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    table = t.certificates
    this = sa.and_(_of_person(table, party_id, person_id), table.c.fingerprint == fingerprint)
    name = f"{person_name(party_id, person_id)}/certificates/{fingerprint}"
    return await end_once(conn, table.c.revoked_at, this, name, now)


async def list_certificates(
    conn: AsyncConnection, party_id: str, person_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Certificates of a person by fingerprint, revoked ones included.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a person.
    """
    key = t.certificates.c.fingerprint
    return await _list_of_person(conn, key, (party_id, person_id), after, limit)


# --- public keys ------------------------------------------------------------------------------


async def create_public_key(
    conn: AsyncConnection,
    party_id: str,
    person_id: str,
    *,
    raw: bytes,
    starts_at: datetime,
    expires_at: datetime,
    now: datetime,
) -> Row:
    """Registers a signing key under its `key_id`.

    Args:
        conn: a transaction.
        party_id: the person's party.
        person_id: whose key it is.
        raw: 32 bytes of an Ed25519 public key.
        starts_at: first moment it may sign, UTC.
        expires_at: last moment, UTC.
        now: UTC.

    Raises:
        GatewayError: FIELD_INVALID for a weak key, or times out of order; RESOURCE_NOT_FOUND
            without such a person; RESOURCE_EXISTS where anybody has this key.
    """
    await get_person(conn, party_id, person_id)
    require_order(starts_at, expires_at, "public_key.expire_time")
    digest = key_id(public_key_from_raw(raw))
    values = {
        "key_id": digest,
        "party_id": party_id,
        "person_id": person_id,
        "ed25519": raw,
        "starts_at": starts_at,
        "expires_at": expires_at,
        "created_at": now,
    }
    name = f"{person_name(party_id, person_id)}/publicKeys/{digest}"
    return await insert_new(conn, t.public_keys, name, values)


async def revoke_public_key(
    conn: AsyncConnection, party_id: str, person_id: str, digest: str, *, now: datetime
) -> Row:
    """Ends a key: what it signed no longer releases money.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    table = t.public_keys
    this = sa.and_(_of_person(table, party_id, person_id), table.c.key_id == digest)
    name = f"{person_name(party_id, person_id)}/publicKeys/{digest}"
    return await end_once(conn, table.c.revoked_at, this, name, now)


async def list_public_keys(
    conn: AsyncConnection, party_id: str, person_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Keys of a person by id, revoked ones included.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a person.
    """
    key = t.public_keys.c.key_id
    return await _list_of_person(conn, key, (party_id, person_id), after, limit)


# --- mandates ---------------------------------------------------------------------------------


async def create_mandate(
    conn: AsyncConnection, party_id: str, mandate: Mandate, *, now: datetime
) -> Row:
    """Gives a person the right to sign.

    Raises:
        GatewayError: FIELD_INVALID if the person does not hold the role, or the times are out of
            order; AMOUNT_OUT_OF_RANGE for a limit that permits nothing; CURRENCY_MISMATCH;
            RESOURCE_NOT_FOUND without such a person or fund; RESOURCE_EXISTS.
    """
    person = await get_person(conn, party_id, mandate.person_id)
    if mandate.role not in person.roles:
        raise invalid(Reason.FIELD_INVALID, "mandate.role", "is not a role of this person")
    if mandate.limit_minor <= 0:
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, "mandate.limit.amount_minor", "is not above zero")
    require_order(mandate.valid_from, mandate.valid_until, "mandate.expire_time")
    if mandate.fund_id:
        await _require_currency(conn, mandate)
    values = {
        "party_id": party_id,
        "person_id": mandate.person_id,
        "mandate_id": mandate.mandate_id,
        "role": mandate.role,
        "fund_id": mandate.fund_id,
        "limit_minor": mandate.limit_minor,
        "currency": mandate.currency,
        "starts_at": mandate.valid_from,
        "expires_at": mandate.valid_until,
        "created_at": now,
    }
    name = f"{person_name(party_id, mandate.person_id)}/mandates/{mandate.mandate_id}"
    return await insert_new(conn, t.mandates, name, values)


async def revoke_mandate(
    conn: AsyncConnection, party_id: str, person_id: str, mandate_id: str, *, now: datetime
) -> Row:
    """Ends a mandate, for signatures already given too.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    table = t.mandates
    this = sa.and_(_of_person(table, party_id, person_id), table.c.mandate_id == mandate_id)
    name = f"{person_name(party_id, person_id)}/mandates/{mandate_id}"
    return await end_once(conn, table.c.revoked_at, this, name, now)


async def list_mandates(
    conn: AsyncConnection, party_id: str, person_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Mandates of a person by id, ended ones included.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a person.
    """
    key = t.mandates.c.mandate_id
    return await _list_of_person(conn, key, (party_id, person_id), after, limit)


# --- shared -----------------------------------------------------------------------------------


def require_order(first: Any, last: Any, path: str) -> None:  # noqa: ANN401 - days or moments
    """Passes if a span of time does not end before it begins.

    Raises:
        GatewayError: FIELD_INVALID.
    """
    if last < first:
        raise invalid(Reason.FIELD_INVALID, path, "is before the beginning")


async def _list_of_person(
    conn: AsyncConnection, key: sa.Column[Any], person: tuple[str, str], after: str, limit: int
) -> Sequence[Row]:
    await get_person(conn, *person)
    query = (
        sa.select(key.table)
        .where(_of_person(key.table, *person), key > after)
        .order_by(key)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


def _of_person(table: sa.FromClause, party_id: str, person_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.party_id == party_id, table.c.person_id == person_id)


async def _require_currency(conn: AsyncConnection, mandate: Mandate) -> None:
    query = sa.select(t.funds.c.currency).where(t.funds.c.fund_id == mandate.fund_id)
    fund = await one_of(conn, query, f"funds/{mandate.fund_id}")
    if fund.currency != mandate.currency:
        raise invalid(
            Reason.CURRENCY_MISMATCH, "mandate.limit.currency", f"must be {fund.currency}"
        )


def _certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise invalid(
            Reason.FIELD_INVALID, "certificate.pem", "is not a certificate in PEM"
        ) from None


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)
