"""PartyService: the register over the wire."""

# ruff: noqa: N802, ARG002, D102 - names and words are the contract's; the edge uses the context

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from xinyi.v1 import party_service_pb2 as pb
from xinyi.v1 import party_service_pb2_grpc

from gateway.domain.errors import not_found
from gateway.domain.party import Mandate, Role, party_name, person_name
from gateway.registry import parties as register
from gateway.registry.changes import Subject
from gateway.registry.funds import get_fund
from gateway.rpc.caller import Caller, current_caller
from gateway.rpc.convert import (
    fund_id_of,
    masked_paths,
    moment,
    moment_of,
    money,
    role_number,
    role_of,
    roles_of,
    split_name,
)
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.proposal import Proposal, propose, record_end
from gateway.store import GATEWAY

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.store import Row, Store

_READ_ALL: Final = frozenset(
    {Role.OPERATOR, Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER, Role.SUPERVISOR}
)
"""Roles that read the register of every party."""

READERS: Final = frozenset({Role.SUPERVISOR, Role.OWNER})
"""Roles that only read: whom a certificate lets in for them decides nothing."""

_PARTY, _PERSON = "parties/{}", "parties/{}/persons/{}"


class PartyServicer(party_service_pb2_grpc.PartyServiceServicer):
    """Who the parties are, and what identifies and empowers their persons."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def GetCaller(
        self, request: pb.GetCallerRequest, context: object
    ) -> pb.GetCallerResponse:
        caller = current_caller()
        async with self._store.transaction(caller.scope) as conn:
            party = await register.get_party(conn, caller.party_id)
            person = await register.get_person(conn, caller.party_id, caller.person_id)
        return pb.GetCallerResponse(party=_party(party), person=_person(person))

    # --- parties ---

    async def CreateParty(
        self, request: pb.CreatePartyRequest, context: object
    ) -> pb.CreatePartyResponse:
        async def work(conn: AsyncConnection) -> pb.CreatePartyResponse:
            row = await register.create_party(
                conn,
                request.party_id,
                display_name=request.party.display_name,
                social_credit_code=request.party.social_credit_code,
                now=self._clock(),
            )
            return pb.CreatePartyResponse(party=_party(row))

        return await once(self._store, current_caller(), request, pb.CreatePartyResponse, work)

    async def GetParty(self, request: pb.GetPartyRequest, context: object) -> pb.GetPartyResponse:
        caller = current_caller()
        (party_id,) = split_name(request.name, _PARTY)
        _require_readable(caller, party_id, _READ_ALL)
        async with self._store.transaction(caller.scope) as conn:
            row = await register.get_party(conn, party_id)
        return pb.GetPartyResponse(party=_party(row))

    async def ListParties(
        self, request: pb.ListPartiesRequest, context: object
    ) -> pb.ListPartiesResponse:
        key = "ListParties"
        page = page_of(request, key)
        async with self._store.transaction(current_caller().scope) as conn:
            rows = await register.list_parties(conn, after=page.after_id, limit=page.fetch)
        return pb.ListPartiesResponse(
            parties=map(_party, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.party_id,)),
        )

    async def UpdateParty(
        self, request: pb.UpdatePartyRequest, context: object
    ) -> pb.UpdatePartyResponse:
        async def work(conn: AsyncConnection) -> pb.UpdatePartyResponse:
            masked_paths(request.update_mask, {"display_name"})
            (party_id,) = split_name(request.party.name, _PARTY, "party.name")
            row = await register.rename_party(
                conn, party_id, display_name=request.party.display_name, etag=request.party.etag
            )
            return pb.UpdatePartyResponse(party=_party(row))

        return await once(self._store, current_caller(), request, pb.UpdatePartyResponse, work)

    # --- persons ---

    async def CreatePerson(
        self, request: pb.CreatePersonRequest, context: object
    ) -> pb.CreatePersonResponse:
        async def work(conn: AsyncConnection) -> pb.CreatePersonResponse:
            (party_id,) = split_name(request.parent, _PARTY)
            row = await register.create_person(
                conn,
                party_id,
                request.person_id,
                display_name=request.person.display_name,
                natural_person=request.person.natural_person,
                roles=roles_of(request.person.roles),
                now=self._clock(),
            )
            return pb.CreatePersonResponse(person=_person(row))

        return await once(self._store, current_caller(), request, pb.CreatePersonResponse, work)

    async def ListPersons(
        self, request: pb.ListPersonsRequest, context: object
    ) -> pb.ListPersonsResponse:
        caller = current_caller()
        key = f"ListPersons/{request.parent}"
        page = page_of(request, key)
        (party_id,) = split_name(request.parent, _PARTY)
        _require_readable(caller, party_id, _READ_ALL)
        async with self._store.transaction(caller.scope) as conn:
            rows = await register.list_persons(
                conn, party_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListPersonsResponse(
            persons=map(_person, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.person_id,)),
        )

    # --- certificates ---

    async def CreateCertificate(
        self, request: pb.CreateCertificateRequest, context: object
    ) -> pb.CreateCertificateResponse:
        return await propose(
            self._store, self._clock, CERTIFICATE, request, pb.CreateCertificateResponse
        )

    async def RevokeCertificate(
        self, request: pb.RevokeCertificateRequest, context: object
    ) -> pb.RevokeCertificateResponse:
        async def work(conn: AsyncConnection) -> pb.RevokeCertificateResponse:
            ids, now = split_name(request.name, f"{_PERSON}/certificates/{{}}"), self._clock()
            row = await register.revoke_certificate(conn, *ids, now=now)
            await _record_end(conn, request.name, row, now)
            return pb.RevokeCertificateResponse(certificate=_certificate(row))

        return await once(
            self._store, current_caller(), request, pb.RevokeCertificateResponse, work
        )

    async def ListCertificates(
        self, request: pb.ListCertificatesRequest, context: object
    ) -> pb.ListCertificatesResponse:
        caller = current_caller()
        key = f"ListCertificates/{request.parent}"
        page = page_of(request, key)
        party_id, person_id = split_name(request.parent, _PERSON)
        _require_readable(caller, party_id, frozenset({Role.OPERATOR}))
        async with self._store.transaction(caller.scope) as conn:
            rows = await register.list_certificates(
                conn, party_id, person_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListCertificatesResponse(
            certificates=map(_certificate, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.fingerprint,)),
        )

    # --- public keys ---

    async def CreatePublicKey(
        self, request: pb.CreatePublicKeyRequest, context: object
    ) -> pb.CreatePublicKeyResponse:
        return await propose(
            self._store, self._clock, PUBLIC_KEY, request, pb.CreatePublicKeyResponse
        )

    async def RevokePublicKey(
        self, request: pb.RevokePublicKeyRequest, context: object
    ) -> pb.RevokePublicKeyResponse:
        caller = current_caller()
        party_id, person_id, digest = split_name(request.name, f"{_PERSON}/publicKeys/{{}}")
        own = (caller.party_id, caller.person_id) == (party_id, person_id)
        if not own and Role.OPERATOR not in caller.roles:
            raise not_found(request.name)

        async def work(conn: AsyncConnection) -> pb.RevokePublicKeyResponse:
            now = self._clock()
            row = await register.revoke_public_key(conn, party_id, person_id, digest, now=now)
            await _record_end(conn, request.name, row, now)
            return pb.RevokePublicKeyResponse(public_key=_public_key(row))

        return await once(self._store, caller, request, pb.RevokePublicKeyResponse, work)

    async def ListPublicKeys(
        self, request: pb.ListPublicKeysRequest, context: object
    ) -> pb.ListPublicKeysResponse:
        caller = current_caller()
        key = f"ListPublicKeys/{request.parent}"
        page = page_of(request, key)
        party_id, person_id = split_name(request.parent, _PERSON)
        _require_readable(caller, party_id, _READ_ALL)
        async with self._store.transaction(caller.scope) as conn:
            rows = await register.list_public_keys(
                conn, party_id, person_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListPublicKeysResponse(
            public_keys=map(_public_key, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.key_id,)),
        )

    # --- mandates ---

    async def CreateMandate(
        self, request: pb.CreateMandateRequest, context: object
    ) -> pb.CreateMandateResponse:
        return await propose(self._store, self._clock, MANDATE, request, pb.CreateMandateResponse)

    async def RevokeMandate(
        self, request: pb.RevokeMandateRequest, context: object
    ) -> pb.RevokeMandateResponse:
        async def work(conn: AsyncConnection) -> pb.RevokeMandateResponse:
            ids, now = split_name(request.name, f"{_PERSON}/mandates/{{}}"), self._clock()
            row = await register.revoke_mandate(conn, *ids, now=now)
            await _record_end(conn, request.name, row, now)
            return pb.RevokeMandateResponse(mandate=_mandate(row))

        return await once(self._store, current_caller(), request, pb.RevokeMandateResponse, work)

    async def ListMandates(
        self, request: pb.ListMandatesRequest, context: object
    ) -> pb.ListMandatesResponse:
        caller = current_caller()
        key = f"ListMandates/{request.parent}"
        page = page_of(request, key)
        party_id, person_id = split_name(request.parent, _PERSON)
        _require_readable(caller, party_id, _READ_ALL)
        async with self._store.transaction(caller.scope) as conn:
            rows = await register.list_mandates(
                conn, party_id, person_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListMandatesResponse(
            mandates=map(_mandate, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.mandate_id,)),
        )


# --- what another party confirms ---


async def _of_person(conn: AsyncConnection, parent: str) -> tuple[Row, Subject]:
    """A person, and a change about them wherever they act."""
    person = await register.get_person(conn, *split_name(parent, _PERSON, "parent"))
    return person, Subject(party_id=person.party_id, beneficiary=person.natural_person)


async def _certificate_subject(
    conn: AsyncConnection, request: pb.CreateCertificateRequest
) -> Subject | None:
    person, subject = await _of_person(conn, request.parent)
    return None if READERS.issuperset(map(Role, person.roles)) else subject


async def _add_certificate(
    conn: AsyncConnection, request: pb.CreateCertificateRequest, now: datetime
) -> pb.Certificate:
    ids = split_name(request.parent, _PERSON, "parent")
    row = await register.create_certificate(conn, *ids, pem=request.certificate.pem, now=now)
    return _certificate(row)


async def _key_subject(conn: AsyncConnection, request: pb.CreatePublicKeyRequest) -> Subject:
    return (await _of_person(conn, request.parent))[1]


async def _add_key(
    conn: AsyncConnection, request: pb.CreatePublicKeyRequest, now: datetime
) -> pb.PublicKey:
    key = request.public_key
    row = await register.create_public_key(
        conn,
        *split_name(request.parent, _PERSON, "parent"),
        raw=key.ed25519,
        starts_at=moment_of(key.start_time, "public_key.start_time"),
        expires_at=moment_of(key.expire_time, "public_key.expire_time"),
        now=now,
    )
    return _public_key(row)


async def _mandate_subject(conn: AsyncConnection, request: pb.CreateMandateRequest) -> Subject:
    """For one fund its estate decides, otherwise as of anything about a person."""
    _, subject = await _of_person(conn, request.parent)
    if not request.mandate.fund:
        return subject
    fund = await get_fund(conn, GATEWAY, fund_id_of(request.mandate.fund))
    return replace(subject, estate_id=fund.estate_id)


async def _add_mandate(
    conn: AsyncConnection, request: pb.CreateMandateRequest, now: datetime
) -> pb.Mandate:
    party_id, person_id = split_name(request.parent, _PERSON, "parent")
    mandate = _asked_mandate(person_id, request.mandate_id, request.mandate)
    return _mandate(await register.create_mandate(conn, party_id, mandate, now=now))


CERTIFICATE: Final = Proposal(
    pb.CreateCertificateRequest, "certificate", _certificate_subject, _add_certificate
)
PUBLIC_KEY: Final = Proposal(pb.CreatePublicKeyRequest, "public_key", _key_subject, _add_key)
MANDATE: Final = Proposal(pb.CreateMandateRequest, "mandate", _mandate_subject, _add_mandate)


async def _record_end(conn: AsyncConnection, name: str, row: Row, now: datetime) -> None:
    """Leaves the end of a right in the history, unless it had ended before."""
    if row.revoked_at == now:
        await record_end(conn, name, Subject(party_id=row.party_id), now)


def _require_readable(caller: Caller, party_id: str, readers: frozenset[Role]) -> None:
    """Passes for the caller's own party, and for roles that read all of them.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    if caller.party_id != party_id and caller.roles.isdisjoint(readers):
        raise not_found(party_name(party_id))


def _party(row: Row) -> pb.Party:
    return pb.Party(
        name=party_name(row.party_id),
        display_name=row.display_name,
        social_credit_code=row.social_credit_code,
        create_time=moment(row.created_at),
        etag=str(row.version),
    )


def _person(row: Row) -> pb.Person:
    return pb.Person(
        name=person_name(row.party_id, row.person_id),
        display_name=row.display_name,
        natural_person=row.natural_person,
        roles=sorted(role_number(Role(role)) for role in row.roles),
    )


def _certificate(row: Row) -> pb.Certificate:
    person = person_name(row.party_id, row.person_id)
    return pb.Certificate(
        name=f"{person}/certificates/{row.fingerprint}",
        pem=row.pem,
        expire_time=moment(row.expires_at),
        revoke_time=moment(row.revoked_at),
    )


def _public_key(row: Row) -> pb.PublicKey:
    person = person_name(row.party_id, row.person_id)
    return pb.PublicKey(
        name=f"{person}/publicKeys/{row.key_id}",
        ed25519=row.ed25519,
        start_time=moment(row.starts_at),
        expire_time=moment(row.expires_at),
        revoke_time=moment(row.revoked_at),
    )


def _asked_mandate(person_id: str, mandate_id: str, asked: pb.Mandate) -> Mandate:
    return Mandate(
        mandate_id=mandate_id,
        person_id=person_id,
        role=role_of(asked.role),
        fund_id=asked.fund.removeprefix("funds/"),
        limit_minor=asked.limit.amount_minor,
        currency=asked.limit.currency,
        valid_from=moment_of(asked.start_time, "mandate.start_time"),
        valid_until=moment_of(asked.expire_time, "mandate.expire_time"),
    )


def _mandate(row: Row) -> pb.Mandate:
    person = person_name(row.party_id, row.person_id)
    return pb.Mandate(
        name=f"{person}/mandates/{row.mandate_id}",
        role=role_number(Role(row.role)),
        fund=f"funds/{row.fund_id}" if row.fund_id else "",
        limit=money(row.limit_minor, row.currency),
        start_time=moment(row.starts_at),
        expire_time=moment(row.expires_at),
        revoke_time=moment(row.revoked_at),
    )
