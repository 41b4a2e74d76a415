"""What a call leaves in the audit log, over a real socket."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from xinyi.v1 import audit_service_pb2 as pb
from xinyi.v1 import fund_service_pb2 as fund
from xinyi.v1 import ledger_service_pb2 as ledger
from xinyi.v1 import party_service_pb2 as party

from gateway.audit.log import append
from gateway.client import stubs
from gateway.rpc.access import METHODS
from gateway.rpc.trail import DISCLOSING, changes
from gateway.store import GATEWAY, Scope
from gateway.store import tables as t
from tests.gateway.audit.scene import an_entry
from tests.gateway.payments.conftest import bank, desk
from tests.gateway.payments.desk import CONTENT, Bank, Desk, ask
from tests.gateway.rpc.test_access import DESCRIBED
from tests.gateway.support import (
    CHAIR,
    FIRM,
    MAKER,
    NOW,
    OPERATOR,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    Callers,
    failure,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.store import Row, Store

__all__ = ["bank", "desk"]


async def entries(gateway: Gateway, **equal: str) -> list[Row]:
    """Entries in the order in which they were written, those noted afterwards too."""
    await gateway.recorder.flush()
    query = sa.select(t.audit_entries).order_by(t.audit_entries.c.entry_id)
    for name, value in equal.items():
        query = query.where(t.audit_entries.c[name] == value)
    async with gateway.store.transaction(GATEWAY) as conn:
        return list((await conn.execute(query)).all())


def create(party_id: str, request: str = "") -> party.CreatePartyRequest:
    named = party.Party(display_name="新公司")
    return party.CreatePartyRequest(
        party_id=party_id, party=named, request_id=request or request_id()
    )


async def test_a_change_leaves_who_what_when_from_where_and_how_it_ended(
    gateway: Gateway, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    request = create("new", "r-1")
    await operator.parties.CreateParty(request)

    (entry,) = await entries(gateway)
    assert (entry.party_id, entry.person_id) == ("gateway", "operator")
    async with gateway.store.transaction(GATEWAY) as conn:
        known = sa.select(t.certificates.c.fingerprint).where(
            t.certificates.c.person_id == "operator"
        )
        assert entry.fingerprint == await conn.scalar(known)
    assert entry.at == NOW
    assert entry.peer.startswith("ipv4:127.0.0.1:")
    assert entry.method == "/xinyi.v1.PartyService/CreateParty"
    assert (entry.resource, entry.request_id) == ("parties/new", "r-1")
    assert entry.request_digest == sha256(request.SerializeToString()).hexdigest()
    assert (entry.code, entry.reason) == ("OK", "")


async def test_a_change_that_is_undone_leaves_no_entry_of_its_own(
    gateway: Gateway, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies, so to say, before the commit: only the failed call is on record."""

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.rpc.once.record", broken)
    operator = await callers.as_(OPERATOR)
    await failure(operator.parties.CreateParty(create("new")))
    (entry,) = await entries(gateway)
    assert (entry.code, entry.reason) == ("INTERNAL", "INTERNAL")
    refused = await refusal(operator.parties.GetParty(party.GetPartyRequest(name="parties/new")))
    assert refused.reason == "RESOURCE_NOT_FOUND"


async def test_a_request_repeated_is_on_record_as_what_changed_nothing(
    gateway: Gateway, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    request = create("new")
    await operator.parties.CreateParty(request)
    await operator.parties.CreateParty(request)
    ends = [(entry.code, entry.reason) for entry in await entries(gateway)]
    assert ends == [("OK", ""), ("OK", "UNCHANGED")]


async def test_every_kind_of_no_is_on_record(gateway: Gateway, callers: Callers) -> None:
    operator, owner = await callers.as_(OPERATOR), await callers.as_(OWNER)
    await operator.parties.CreateParty(create("new"))
    await failure(operator.parties.CreateParty(create("new")))  # taken
    await failure(operator.parties.CreateParty(create("NO GOOD ID")))  # malformed
    await failure(owner.parties.CreateParty(create("other")))  # denied
    foreign = ledger.GetBalanceRequest(parent="funds/jinjiang")
    await failure((await callers.as_(CHAIR)).ledger.GetBalance(foreign))  # not theirs to see
    stranger = stubs(await callers.channel(callers.pki.issue(FIRM)))
    await failure(stranger.parties.GetCaller(party.GetCallerRequest()))  # not registered

    seen = [(e.person_id, e.code, e.reason) for e in (await entries(gateway))[1:]]
    assert seen == [
        ("operator", "ALREADY_EXISTS", "RESOURCE_EXISTS"),
        ("operator", "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("owner", "PERMISSION_DENIED", "ROLE_NOT_ALLOWED"),
        ("chair", "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        ("cashier", "UNAUTHENTICATED", "CERTIFICATE_UNKNOWN"),
    ]


async def test_reads_leave_nothing_but_those_that_hand_out_files(
    gateway: Gateway, callers: Callers
) -> None:
    before = len(await entries(gateway))
    operator = await callers.as_(OPERATOR)
    await operator.funds.ListFunds(fund.ListFundsRequest())
    await operator.parties.GetCaller(party.GetCallerRequest())
    assert len(await entries(gateway)) == before

    await operator.audit.ListAuditEntries(pb.ListAuditEntriesRequest())
    (read,) = (await entries(gateway))[before:]
    assert (read.method, read.code) == ("/xinyi.v1.AuditService/ListAuditEntries", "OK")


async def test_no_request_of_any_length_or_content_breaks_the_log(
    gateway: Gateway, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    wild = party.UpdatePartyRequest(party=party.Party(name="\0" * 100_000), request_id="\0" * 64)
    await failure(operator.parties.UpdateParty(wild))
    await failure(operator.parties.CreateParty(create("new", "\0")))
    first, second = await entries(gateway)
    assert len(first.resource) == 256
    assert second.request_id == "\ufffd"


async def test_no_personal_data_is_in_any_entry(gateway: Gateway, desk: Desk) -> None:
    asked = await desk.submit(ask(purpose="付王小明劳务费"))
    await desk.sign_by_both(asked.name)
    for entry in await entries(gateway):
        told = str(tuple(entry))
        for secret in ("王小明", "锐达", "6222020000000001", "信托财产专户", CONTENT.decode()):
            assert secret not in told


async def test_what_the_gateway_does_by_itself_is_on_record(
    gateway: Gateway, desk: Desk, bank: Bank
) -> None:
    asked = await desk.submit()
    await desk.sign_by_both(asked.name)
    await gateway.work()
    bank.take()
    bank.bring()
    await gateway.work()
    own = {(e.method, e.resource.split("/")[0]) for e in await entries(gateway, party_id="")}
    assert {
        ("gateway.FileSending", "funds"),
        ("gateway.FileSent", "funds"),
        ("gateway.FileTakenIn", ""),
    } <= own
    sent = (await entries(gateway, method="gateway.FileSent"))[0]
    transmission = await desk.transmission(asked.name)
    assert sent.request_digest == transmission.file_sha256
    assert sent.resource.endswith(transmission.transmission_id)


async def test_a_party_reads_its_own_calls_and_what_touched_its_funds(
    gateway: Gateway, callers: Callers, desk: Desk
) -> None:
    await desk.submit()
    operator = await callers.as_(OPERATOR)
    await operator.parties.CreateParty(create("new"))
    await failure((await callers.as_(OTHER_FIRM)).parties.CreateParty(create("x")))
    await gateway.recorder.flush()

    async def read(who: Any, **chosen: Any) -> list[pb.AuditEntry]:
        request = pb.ListAuditEntriesRequest(**chosen)
        return list((await (await callers.as_(who)).audit.ListAuditEntries(request)).entries)

    assert {e.method.rpartition("/")[2] for e in await read(SUPERVISOR)} == {
        "UploadVoucher",
        "SubmitPayment",
    }
    assert {e.person for e in await read(OPERATOR)} >= {OPERATOR.name, FIRM.name, OTHER_FIRM.name}
    refused = await refusal(
        (await callers.as_(FIRM)).audit.ListAuditEntries(pb.ListAuditEntriesRequest())
    )
    assert refused.reason == "ROLE_NOT_ALLOWED"


async def test_entries_are_chosen_by_party_method_time_and_outcome(
    gateway: Gateway, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    await operator.parties.CreateParty(create("a"))
    await failure(operator.parties.CreateParty(create("a")))
    await failure((await callers.as_(MAKER)).parties.CreateParty(create("b")))
    await gateway.recorder.flush()
    await gateway.keeper.keep()

    async def ends(**chosen: Any) -> list[tuple[str, str]]:
        request = pb.ListAuditEntriesRequest(method="CreateParty", **chosen)
        answer = await operator.audit.ListAuditEntries(request)
        return [(entry.person, entry.code) for entry in answer.entries]

    newest_first = [
        (MAKER.name, "PERMISSION_DENIED"),
        (OPERATOR.name, "ALREADY_EXISTS"),
        (OPERATOR.name, "OK"),
    ]
    assert await ends() == newest_first
    assert await ends(party="parties/trust") == newest_first[:1]
    assert await ends(outcome="AUDIT_OUTCOME_DONE") == newest_first[2:]
    assert await ends(outcome="AUDIT_OUTCOME_REFUSED") == newest_first[:2]
    assert await ends(resource="parties/a") == newest_first[2:]
    assert await ends(start_time=NOW) == newest_first
    assert await ends(end_time=NOW) == []
    answer = await operator.audit.ListAuditEntries(
        pb.ListAuditEntriesRequest(method="CreateParty", page_size=2)
    )
    rest = await operator.audit.ListAuditEntries(
        pb.ListAuditEntriesRequest(
            method="CreateParty", page_size=2, page_token=answer.next_page_token
        )
    )
    numbers = [entry.sequence for page in (answer, rest) for entry in page.entries]
    assert numbers == sorted(numbers, reverse=True)
    assert all(numbers)
    assert len(numbers) == 3


@pytest.mark.parametrize("table", ["audit_entries", "audit_links", "rollback_assents"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
async def test_the_log_only_grows_for_its_owner_too(store: Store, table: str, change: str) -> None:
    column = list(t.metadata.tables[table].c)[1].name
    async with store.engine.connect() as conn:
        with pytest.raises(DBAPIError, match="only grows"):
            await conn.execute(sa.text(change.format(table, column, column)))


async def test_nobody_writes_under_another_party_s_name(store: Store) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        async with store.transaction(Scope("anju")) as conn:
            await append(conn, [an_entry(party_id="hexin")])


def test_every_method_that_takes_a_request_id_counts_as_a_change() -> None:
    """So that no new method is left out of the log by its name."""
    for name, method in DESCRIBED.items():
        inner = [field.message_type for field in method.input_type.fields if field.message_type]
        told = any("request_id" in kind.fields_by_name for kind in (method.input_type, *inner))
        assert told is changes(name), name
    assert set(METHODS) >= DISCLOSING
