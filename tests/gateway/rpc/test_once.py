"""One meaning for a request id, for ever: told on the wire, and tried against the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from xinyi.v1 import fund_service_pb2 as fund
from xinyi.v1 import party_service_pb2 as pb

from gateway.domain.errors import GatewayError, Kind, Reason, denied
from gateway.domain.party import Role
from gateway.registry.funds import create_estate
from gateway.rpc.caller import Caller
from gateway.rpc.once import LASTING, once, once_for
from gateway.rpc.trail import Trail, begin
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.support import (
    FIRM,
    NOW,
    OPERATOR,
    OTHER_FIRM,
    Callers,
    details,
    failure,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Store

CALLER = Caller("gateway", "operator", "0" * 64, frozenset({Role.OPERATOR}))


def _create(party_id: str, name: str, request: str) -> pb.CreatePartyRequest:
    return pb.CreatePartyRequest(
        party_id=party_id, party=pb.Party(display_name=name), request_id=request
    )


def _begin() -> None:
    """A call begins, as the edge would have it."""
    begin(Trail("/xinyi.v1.PartyService/CreateParty", "test", NOW, "gateway", "operator"))


async def _count(store: Store, table: sa.Table) -> int:
    async with store.transaction(GATEWAY) as conn:
        return (await conn.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()


# --- on the wire ---


async def test_same_bytes_again_give_the_same_answer_and_no_second_effect(
    callers: Callers, store: Store
) -> None:
    operator = await callers.as_(OPERATOR)
    request = _create("new", "新公司", request_id())
    first = await operator.parties.CreateParty(request)
    after_first = await _count(store, t.parties)
    again = await operator.parties.CreateParty(request)
    assert again.SerializeToString() == first.SerializeToString()
    assert await _count(store, t.parties) == after_first


async def test_answer_is_told_again_as_it_was_then(callers: Callers) -> None:
    """The party has another name by now; the request still means what it meant."""
    operator = await callers.as_(OPERATOR)
    request = _create("new", "旧名", request_id())
    first = await operator.parties.CreateParty(request)
    renamed = pb.Party(name="parties/new", display_name="新名")
    await operator.parties.UpdateParty(
        pb.UpdatePartyRequest(
            party=renamed, update_mask=FieldMask(paths=["display_name"]), request_id=request_id()
        )
    )
    assert await operator.parties.CreateParty(request) == first


async def test_refusal_is_told_again_byte_for_byte_even_when_its_cause_is_gone(
    callers: Callers,
) -> None:
    operator = await callers.as_(OPERATOR)
    request = fund.CreateAppointmentRequest(
        parent="estates/wutong",
        appointment=fund.Appointment(party="parties/late"),
        request_id=request_id(),
    )
    first = await failure(operator.funds.CreateAppointment(request))
    await operator.parties.CreateParty(_create("late", "后来", request_id()))
    again = await failure(operator.funds.CreateAppointment(request))
    assert (again.code(), again.details()) == (first.code(), first.details())
    assert details(again) == details(first)


async def test_other_bytes_under_the_same_id_are_refused(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    used = request_id()
    await operator.parties.CreateParty(_create("one", "甲", used))
    refused = await refusal(operator.parties.CreateParty(_create("one", "乙", used)))
    assert refused.reason == "REQUEST_ID_REUSED"


async def test_another_method_under_the_same_id_is_refused(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    used = request_id()
    await operator.parties.CreateParty(_create("one", "甲", used))
    estate = fund.CreateEstateRequest(
        estate_id="one", estate=fund.Estate(display_name="甲"), request_id=used
    )
    assert (await refusal(operator.funds.CreateEstate(estate))).reason == "REQUEST_ID_REUSED"


async def test_ids_of_two_parties_never_meet(callers: Callers) -> None:
    used = request_id()
    for who in (FIRM, OTHER_FIRM):
        firm = await callers.as_(who)
        refused = await refusal(
            firm.parties.RevokePublicKey(
                pb.RevokePublicKeyRequest(name=f"{who.name}/publicKeys/{'0' * 64}", request_id=used)
            )
        )
        assert refused.reason == "RESOURCE_NOT_FOUND"


async def test_many_at_once_have_one_effect_and_one_answer(callers: Callers, store: Store) -> None:
    operator = await callers.as_(OPERATOR)
    request = _create("new", "新公司", request_id())
    before = await _count(store, t.parties)
    answers = await asyncio.gather(*(operator.parties.CreateParty(request) for _ in range(20)))
    assert len({answer.SerializeToString() for answer in answers}) == 1
    assert await _count(store, t.parties) == before + 1


# --- against the store ---


@pytest.mark.parametrize("kind", list(Kind))
async def test_refusal_undoes_the_work_and_is_kept_if_its_kind_lasts(
    kind: Kind, store: Store
) -> None:
    _begin()

    async def work(conn: AsyncConnection) -> pb.CreatePartyResponse:
        await create_estate(conn, "gone", display_name="x", group="", now=NOW)
        raise GatewayError(kind, Reason.STATE_FORBIDS, "no")

    with pytest.raises(GatewayError):
        await once(store, CALLER, _create("p", "x", "r"), pb.CreatePartyResponse, work)
    assert await _count(store, t.requests) == (1 if kind in LASTING else 0)
    async with store.transaction(GATEWAY) as conn:
        query = sa.select(t.estates).where(t.estates.c.estate_id == "gone")
        assert (await conn.execute(query)).one_or_none() is None


async def test_refusal_that_passes_leaves_the_id_free(store: Store) -> None:
    """Who is denied today may be allowed tomorrow, with the same request."""
    _begin()
    request = _create("p", "x", "r")

    async def forbidden(_: AsyncConnection) -> pb.CreatePartyResponse:
        raise denied(Reason.ROLE_NOT_ALLOWED, "not today")

    async def allowed(_: AsyncConnection) -> pb.CreatePartyResponse:
        return pb.CreatePartyResponse(party=pb.Party(name="parties/p"))

    with pytest.raises(GatewayError):
        await once(store, CALLER, request, pb.CreatePartyResponse, forbidden)
    answer = await once(store, CALLER, request, pb.CreatePartyResponse, allowed)
    assert answer.party.name == "parties/p"


async def test_defect_leaves_nothing_behind(store: Store) -> None:
    _begin()

    async def broken(conn: AsyncConnection) -> pb.CreatePartyResponse:
        await create_estate(conn, "gone", display_name="x", group="", now=NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await once(store, CALLER, _create("p", "x", "r"), pb.CreatePartyResponse, broken)
    assert await _count(store, t.requests) == 0


async def test_stream_is_known_by_the_digest_of_its_content(store: Store) -> None:
    _begin()

    async def work(_: AsyncConnection) -> pb.CreatePartyResponse:
        return pb.CreatePartyResponse(party=pb.Party(name="parties/p"))

    async def run(digest: bytes) -> pb.CreatePartyResponse:
        return await once_for(
            store,
            CALLER,
            method="Upload",
            request_id="r",
            content_digest=digest,
            response_type=pb.CreatePartyResponse,
            work=work,
        )

    assert await run(b"1" * 32) == await run(b"1" * 32)
    with pytest.raises(GatewayError) as caught:
        await run(b"2" * 32)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
