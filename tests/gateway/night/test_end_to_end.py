"""From a booked receipt to the owner's matched line, over mutual TLS and a real socket."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from xinyi.v1 import common_pb2, disclosure_service_pb2, ledger_service_pb2, payment_service_pb2
from xinyi.v1 import reconciliation_service_pb2 as night_pb

from gateway.rpc.convert import day
from tests.gateway.night.world import World
from tests.gateway.support import (
    CHAIR,
    FIRM,
    MAKER,
    OPENING_MINOR,
    OPERATOR,
    OWNER,
    SUPERVISOR,
    TODAY,
    Callers,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.app import Gateway

_VOUCHER = b"receipt " * 100_000
_VOUCHER_NAME = f"funds/wutong/vouchers/{sha256(_VOUCHER).hexdigest()}"


def _upload() -> Iterator[payment_service_pb2.UploadVoucherRequest]:
    pb = payment_service_pb2
    voucher = pb.Voucher(
        name=_VOUCHER_NAME,
        file_name="收据.pdf",
        media_type="application/pdf",
        size_bytes=len(_VOUCHER),
    )
    header = pb.UploadVoucherHeader(parent="funds/wutong", voucher=voucher, request_id=request_id())
    yield pb.UploadVoucherRequest(header=header)
    for start in range(0, len(_VOUCHER), 256 * 1024):
        yield pb.UploadVoucherRequest(content=_VOUCHER[start : start + 256 * 1024])


def _receipt(amount_minor: int, **fields: Any) -> ledger_service_pb2.PostEntryRequest:
    entry = ledger_service_pb2.EntryDraft(
        bank_account="funds/wutong/bankAccounts/main",
        book=common_pb2.BOOK_COMMON,
        category="停车费",
        amount=common_pb2.Money(amount_minor=amount_minor, currency="CNY"),
        summary="十一月停车费",
        effective_date=day(TODAY),
        **fields,
    )
    return ledger_service_pb2.PostEntryRequest(
        parent="funds/wutong", entry=entry, request_id=request_id()
    )


async def test_a_receipt_becomes_a_matched_line_that_its_owners_can_check(
    gateway: Gateway, callers: Callers
) -> None:
    firm, maker, operator = [await callers.as_(who) for who in (FIRM, MAKER, OPERATOR)]
    await firm.payments.UploadVoucher(_upload())
    posted = await maker.ledger.PostEntry(
        _receipt(5_000, reference="R1", vouchers=[_VOUCHER_NAME], counterparty_name="王小明")
    )
    await maker.ledger.PostEntry(_receipt(777, reference="not booked yet"))
    bank = World(gateway.store, gateway.clock(), gateway.nights.directory)
    await bank.statement("wutong", TODAY, [{"amount_minor": 5_000, "reference": "R1"}])

    request = night_pb.StartRunRequest(date=day(TODAY), request_id=request_id())
    run = (await operator.reconciliation.StartRun(request)).run

    assert run.state == night_pb.RUN_STATE_DONE
    assert (run.matched_line_count, run.case_count) == (1, 1)
    supervisor = await callers.as_(SUPERVISOR)
    every = night_pb.ListCasesRequest(parent="funds/-")
    (case,) = (await supervisor.reconciliation.ListCases(every)).cases
    assert (case.kind, case.amount.amount_minor) == (night_pb.CASE_KIND_TIMING, -777)
    owner = await callers.as_(OWNER)
    query = disclosure_service_pb2.ListDisclosedLinesRequest(parent="funds/wutong")
    _, line, _ = (await owner.disclosure.ListDisclosedLines(query)).lines
    assert line.name == posted.disclosed_line
    assert (line.match_date, line.counterparty) == (day(TODAY), "王*")
    assert line.running_balance.amount_minor == OPENING_MINOR + 5_000
    voucher = disclosure_service_pb2.GetVoucherRequest(name=line.vouchers[0])
    parts = [part async for part in supervisor.disclosure.GetVoucher(voucher)]
    assert b"".join(part.content for part in parts) == _VOUCHER


async def test_who_may_not_book_or_reconcile_is_refused_and_nothing_changes(
    callers: Callers,
) -> None:
    owner, firm, chair = [await callers.as_(who) for who in (OWNER, FIRM, CHAIR)]
    start = night_pb.StartRunRequest(date=day(TODAY), request_id=request_id())
    for answer in (
        firm.ledger.PostEntry(_receipt(1)),
        owner.ledger.GetBalance(ledger_service_pb2.GetBalanceRequest(parent="funds/wutong")),
        chair.reconciliation.StartRun(start),
        owner.reconciliation.ListCases(night_pb.ListCasesRequest(parent="funds/-")),
    ):
        assert (await refusal(answer)).reason == "ROLE_NOT_ALLOWED"
    balance = await chair.ledger.GetBalance(
        ledger_service_pb2.GetBalanceRequest(parent="funds/wutong")
    )
    assert (balance.bank.amount_minor, balance.transit.amount_minor) == (OPENING_MINOR, 0)


async def test_a_malformed_entry_is_refused_with_the_fields_at_fault(callers: Callers) -> None:
    maker = await callers.as_(MAKER)
    request = _receipt(1)
    request.entry.category = ""
    request.entry.bank_account = "nowhere"

    refused = await refusal(maker.ledger.PostEntry(request))

    assert refused.reason == "FIELD_INVALID"
    assert {each.field for each in refused.violations} == {"entry.category", "entry.bank_account"}
