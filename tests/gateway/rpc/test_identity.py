"""Who is calling, looked up for all that wait at one moment, and anew for each moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Identity
from gateway.rpc.identity import Proof, Register
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.support import CHAIR, FIRM, NOW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.store import Store
    from tests.gateway.support import Who


async def _proof(store: Store, who: Who) -> Proof:
    table = t.certificates
    query = sa.select(table.c.fingerprint).where(
        table.c.party_id == who.party_id, table.c.person_id == who.person_id
    )
    async with store.transaction(GATEWAY) as conn:
        fingerprint = (await conn.execute(query)).scalar_one()
    return Proof(fingerprint, Identity(who.party_id, who.person_id))


class _Counted(Register):
    """Counts its queries."""

    queries = 0

    async def _rows(self, proofs: set[Proof]) -> Mapping[Proof, Any]:
        self.queries += 1
        return await super()._rows(proofs)


async def test_calls_that_wait_together_share_a_query(store: Store) -> None:
    register = _Counted(store, lambda: NOW)
    chair, firm = await _proof(store, CHAIR), await _proof(store, FIRM)

    callers = await asyncio.gather(*(register.caller(each) for each in (chair, firm) * 20))

    assert {caller.actor for caller in callers} == {CHAIR.name, FIRM.name}
    assert register.queries == 1


async def test_a_revocation_is_seen_by_the_next_look(store: Store) -> None:
    register = Register(store, lambda: NOW)
    chair = await _proof(store, CHAIR)
    await register.caller(chair)
    async with store.transaction(GATEWAY) as conn:
        await conn.execute(
            t.certificates.update()
            .where(t.certificates.c.fingerprint == chair.fingerprint)
            .values(revoked_at=NOW)
        )

    with pytest.raises(GatewayError) as refused:
        await register.caller(chair)
    assert refused.value.reason is Reason.CERTIFICATE_REVOKED


async def test_a_store_that_fails_fails_those_who_wait_and_nobody_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = Register(store, lambda: NOW)
    chair = await _proof(store, CHAIR)

    async def fail(_self: Register, _proofs: set[Proof]) -> Any:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(Register, "_rows", fail)
        answers = await asyncio.gather(
            *(register.caller(chair) for _ in range(3)), return_exceptions=True
        )
    assert all(isinstance(each, OSError) for each in answers)
    assert (await register.caller(chair)).actor == CHAIR.name
