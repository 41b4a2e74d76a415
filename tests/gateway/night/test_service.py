"""ReconciliationService over a real database: runs, proofs and cases, each to its own party."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Role
from gateway.rpc.convert import day
from gateway.rpc.reconciliation import ReconciliationServicer
from gateway.store import tables as t
from tests.gateway.night.world import DAY, TODAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateway.night.world import World

_TODAY = day(TODAY)


@pytest.fixture
async def service(world: World) -> ReconciliationServicer:
    """Two funds of two parties, each with a case or more; the caller runs the gateway."""
    await world.fund("f1", opening_minor=1_000)
    await world.fund("f2", party_id="other")
    await world.line("f1", -300, TODAY - DAY, payment_id="p1")
    await world.statement("f1", TODAY, [{"amount_minor": -301, "end_to_end_id": "p1"}])
    await world.line("f1", 40, TODAY - 9 * DAY)
    await world.line("f2", 50, TODAY, counterparty_name="某业主")
    world.calls(Role.OPERATOR, party_id="gateway")
    return ReconciliationServicer(world.store, world.clock, world.nights())


async def _start(service: ReconciliationServicer, request_id: str = "r1") -> pb.Run:
    request = pb.StartRunRequest(date=_TODAY, request_id=request_id)
    return (await service.StartRun(request, None)).run


async def _cases(
    service: ReconciliationServicer, kinds: Sequence[pb.CaseKind.ValueType] = (), **fields: Any
) -> pb.ListCasesResponse:
    fields.setdefault("parent", "funds/-")
    chosen = pb.CaseFilter(kinds=kinds)
    return await service.ListCases(pb.ListCasesRequest(filter=chosen, **fields), None)


async def test_a_run_started_twice_by_one_request_is_one_run(
    world: World, service: ReconciliationServicer
) -> None:
    first, second = await _start(service), await _start(service)

    assert first == second
    assert first.state == pb.RUN_STATE_DONE
    assert (first.bank_entry_count, first.line_count, first.case_count) == (1, 3, 3)
    assert len(await world.rows(t.runs)) == 1


async def test_the_latest_run_is_found_by_that_name(
    world: World, service: ReconciliationServicer
) -> None:
    await _start(service)
    world.now += timedelta(minutes=1)
    run = await _start(service, "r2")

    latest = await service.GetRun(pb.GetRunRequest(name="reconciliationRuns/latest"), None)
    named = await service.GetRun(pb.GetRunRequest(name=run.name), None)

    assert latest.run == named.run
    assert latest.run.date == _TODAY


async def test_a_run_that_never_was_is_not_found(service: ReconciliationServicer) -> None:
    with pytest.raises(GatewayError) as refused:
        await service.GetRun(pb.GetRunRequest(name="reconciliationRuns/latest"), None)

    assert refused.value.reason is Reason.RESOURCE_NOT_FOUND


async def test_cases_come_oldest_first_page_by_page(service: ReconciliationServicer) -> None:
    run = await _start(service)
    first = await _cases(service, page_size=2)
    second = await _cases(service, page_size=2, page_token=first.next_page_token)

    cases = [*first.cases, *second.cases]
    assert [case.kind for case in cases] == [
        pb.CASE_KIND_MISSING_IN_BANK,
        pb.CASE_KIND_AMOUNT_DIFFERS,
        pb.CASE_KIND_TIMING,
    ]
    assert [case.bank_account.split("/")[1] for case in cases] == ["f1", "f1", "f2"]
    assert {case.run for case in cases} == {run.name}
    assert second.next_page_token == ""


async def test_cases_are_chosen_by_fund_and_kind(service: ReconciliationServicer) -> None:
    await _start(service)

    by_kind = await _cases(service, kinds=[pb.CASE_KIND_TIMING, pb.CASE_KIND_RETURNED])
    by_fund = await _cases(service, parent="funds/f1")

    assert [case.kind for case in by_kind.cases] == [pb.CASE_KIND_TIMING]
    assert {case.name.split("/")[1] for case in by_fund.cases} == {"f1"}


async def test_a_closed_case_is_no_longer_listed_but_can_be_read(
    world: World, service: ReconciliationServicer
) -> None:
    await _start(service)
    (case,) = (await _cases(service, parent="funds/f2")).cases
    receipt = {"amount_minor": 50, "counterparty_name": "某业主"}
    await world.statement("f2", TODAY, [receipt])
    await _start(service, "r2")

    assert list((await _cases(service, parent="funds/f2")).cases) == []
    read = await service.GetCase(pb.GetCaseRequest(name=case.name), None)
    assert read.case.kind == pb.CASE_KIND_TIMING


async def test_a_case_is_read_with_both_its_sides(service: ReconciliationServicer) -> None:
    await _start(service)
    (listed,) = (await _cases(service, kinds=[pb.CASE_KIND_AMOUNT_DIFFERS])).cases

    case = (await service.GetCase(pb.GetCaseRequest(name=listed.name), None)).case

    assert case.amount.amount_minor == -1
    bank, line = case.members
    assert (bank.side, bank.amount.amount_minor, bank.reference) == (
        pb.CASE_SIDE_BANK,
        -301,
        "p1",
    )
    assert (line.side, line.name, line.reference) == (
        pb.CASE_SIDE_LEDGER,
        "funds/f1/lines/2",
        "p1",
    )
    assert line.text == "十一月物业费"


async def test_proofs_come_by_account_and_the_unproved_alone_on_request(
    service: ReconciliationServicer,
) -> None:
    await _start(service)

    async def proofs(**fields: Any) -> pb.ListBalanceProofsResponse:
        request = pb.ListBalanceProofsRequest(parent="reconciliationRuns/latest", **fields)
        return await service.ListBalanceProofs(request, None)

    first = await proofs(page_size=1)
    second = await proofs(page_size=1, page_token=first.next_page_token)
    (proved,), (unproved,) = first.proofs, second.proofs
    assert (proved.bank_account, proved.proved) == ("funds/f1/bankAccounts/main", True)
    terms = (proved.bank_closing, proved.ledger_balance, proved.open_bank, proved.open_ledger)
    assert [term.amount_minor for term in terms] == [699, 740, -301, -260]
    assert unproved.findings[0].startswith("statement_missing")
    assert list((await proofs(only_unproved=True)).proofs) == [unproved]


async def test_the_next_page_of_the_latest_run_is_of_the_same_run(
    world: World,
    service: ReconciliationServicer,
) -> None:
    await _start(service)
    request = pb.ListBalanceProofsRequest(parent="reconciliationRuns/latest", page_size=1)
    request.page_token = (await service.ListBalanceProofs(request, None)).next_page_token
    second = await service.ListBalanceProofs(request, None)

    world.now += timedelta(minutes=1)
    await _start(service, "r2")

    assert await service.ListBalanceProofs(request, None) == second


async def test_a_supervisor_sees_only_its_own_estates(
    world: World, service: ReconciliationServicer
) -> None:
    await _start(service)
    (foreign,) = (await _cases(service, parent="funds/f2")).cases
    world.calls(Role.SUPERVISOR)

    assert {case.name.split("/")[1] for case in (await _cases(service)).cases} == {"f1"}
    request = pb.ListBalanceProofsRequest(parent="reconciliationRuns/latest")
    proofs = (await service.ListBalanceProofs(request, None)).proofs
    assert [proof.bank_account for proof in proofs] == ["funds/f1/bankAccounts/main"]
    for call in (
        service.GetCase(pb.GetCaseRequest(name=foreign.name), None),
        _cases(service, parent="funds/f2"),
    ):
        with pytest.raises(GatewayError) as refused:
            await call
        assert refused.value.reason is Reason.RESOURCE_NOT_FOUND
