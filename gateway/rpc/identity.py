"""Who is calling: the person behind the client certificate, as the register has it now.

Calls that wait at one moment are looked up in one query, begun after each of them came in: as fresh
as a query a call, and cheap however many there are. Nothing of an answer is kept.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.party import Identity, Role, parse_identity_uri
from gateway.rpc.caller import Caller
from gateway.store import GATEWAY, bulk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.clock import Clock
    from gateway.store import Row, Store

AT_ONCE: Final = 500
"""Certificates that one query looks up; calls are bounded by the server."""

_QUERY: Final = """
    SELECT c.fingerprint, c.expires_at, c.revoked_at, p.*
    FROM unnest($1::text[], $2::text[], $3::text[]) AS n(fingerprint, party_id, person_id)
    JOIN certificates c USING (fingerprint)
    JOIN persons p ON p.party_id = n.party_id AND p.person_id = n.person_id
"""


class Proof(NamedTuple):
    """What TLS has proved: whom the certificate names, and its SHA-256 in hexadecimal."""

    fingerprint: str
    identity: Identity


def proved(context: Mapping[str, Sequence[bytes]]) -> Proof:
    """What the peer's certificate says.

    Raises:
        GatewayError: CERTIFICATE_UNKNOWN unless it names exactly one person.
    """
    uris, pems = context.get("peer_uri", ()), context.get("x509_pem_cert", ())
    if len(uris) != 1 or len(pems) != 1:
        raise _unknown()
    return _proof(uris[0], pems[0])


@lru_cache(maxsize=4096)
def _proof(uri: bytes, pem: bytes) -> Proof:
    der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
    return Proof(sha256(der).hexdigest(), parse_identity_uri(uri.decode("utf-8", "replace")))


class Register:
    """Looks callers up, all that wait in one query."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: list[tuple[Proof, asyncio.Future[Row | None]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def caller(self, proof: Proof) -> Caller:
        """The caller as the register has it at this moment, so that a revocation works at once.

        Raises:
            GatewayError: CERTIFICATE_UNKNOWN, CERTIFICATE_REVOKED.
        """
        found: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((proof, found))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="identities")
        row = await found
        if row is None:
            raise _unknown()
        if row.revoked_at is not None or row.expires_at < self._clock():
            message = "the certificate is revoked or out of its time"
            raise _refused(Reason.CERTIFICATE_REVOKED, message)
        roles = frozenset(map(Role, row.roles))
        return Caller(row.party_id, row.person_id, row.natural_person, roles)

    async def _read(self) -> None:
        """Reads until nobody waits; what goes wrong is told to those who waited for it."""
        while self._waiting:
            asked, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                rows = await self._rows({proof for proof, _ in asked})
            except Exception as error:  # noqa: BLE001 - each caller is told
                _fail(asked, error)
                continue
            for proof, found in asked:
                if not found.done():
                    found.set_result(rows.get(proof))
        self._reading = None

    async def _rows(self, proofs: set[Proof]) -> Mapping[Proof, Row]:
        ordered = sorted(proofs)
        async with self._store.transaction(GATEWAY) as conn:
            rows = await bulk.fetch(
                conn,
                _QUERY,
                [proof.fingerprint for proof in ordered],
                [proof.identity.party_id for proof in ordered],
                [proof.identity.person_id for proof in ordered],
            )
        return {Proof(row.fingerprint, Identity(row.party_id, row.person_id)): row for row in rows}


def _fail(asked: Sequence[tuple[Proof, asyncio.Future[Row | None]]], error: Exception) -> None:
    for _, found in asked:
        if not found.done():
            found.set_exception(error)


def _unknown() -> GatewayError:
    return _refused(Reason.CERTIFICATE_UNKNOWN, "the certificate is not registered")


def _refused(reason: Reason, message: str) -> GatewayError:
    return GatewayError(Kind.UNAUTHENTICATED, reason, message)
