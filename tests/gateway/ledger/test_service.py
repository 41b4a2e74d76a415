"""LedgerService over a real database: what may be booked, what is refused, what it adds up to."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import common_pb2
from xinyi.v1 import ledger_service_pb2 as pb

from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Role
from gateway.payments.vouchers import Voucher, store_voucher
from gateway.rpc.convert import day
from gateway.rpc.errors import StoredRefusal
from gateway.rpc.ledger import LedgerServicer
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.night.world import DAY, NOW, TODAY

if TYPE_CHECKING:
    from tests.gateway.night.world import World


@pytest.fixture
async def service(world: World) -> LedgerServicer:
    await world.fund("f1", opening_minor=1_000)
    world.calls(Role.TRUSTEE_MAKER)
    return LedgerServicer(world.store, world.clock)


def _entry(amount_minor: int, **fields: Any) -> pb.EntryDraft:
    fields.setdefault("amount", common_pb2.Money(amount_minor=amount_minor, currency="CNY"))
    fields.setdefault("bank_account", "funds/f1/bankAccounts/main")
    fields.setdefault("book", common_pb2.BOOK_COMMON)
    fields.setdefault("category", "停车费")
    fields.setdefault("summary", "十一月停车费")
    fields.setdefault("effective_date", day(TODAY))
    return pb.EntryDraft(**fields)


async def _post(
    service: LedgerServicer, entry: pb.EntryDraft, request_id: str = "r1"
) -> pb.PostEntryResponse:
    request = pb.PostEntryRequest(parent="funds/f1", entry=entry, request_id=request_id)
    return await service.PostEntry(request, None)


async def _refused(world: World, service: LedgerServicer, entry: pb.EntryDraft) -> GatewayError:
    """The refusal, after a look that nothing was booked."""
    before = (await world.rows(t.disclosed_lines), await world.rows(t.books))
    with pytest.raises(GatewayError) as refused:
        await _post(service, entry, "refused")
    assert (await world.rows(t.disclosed_lines), await world.rows(t.books)) == before
    return refused.value


async def test_a_receipt_moves_its_book_against_transit(service: LedgerServicer) -> None:
    answer = await _post(service, _entry(250, reference="R1"))

    assert answer.disclosed_line == "funds/f1/lines/2"
    moved = [(line.account_kind, line.amount.amount_minor, line.category) for line in answer.lines]
    assert moved == [
        (pb.ACCOUNT_KIND_TRANSIT, 250, ""),
        (pb.ACCOUNT_KIND_BOOK, -250, "停车费"),
    ]
    assert {line.disclosed_line for line in answer.lines} == {"funds/f1/lines/2"}


async def test_the_same_request_books_once_and_answers_the_same(
    world: World, service: LedgerServicer
) -> None:
    first = await _post(service, _entry(250))
    second = await _post(service, _entry(250))

    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert len(await world.rows(t.disclosed_lines)) == 2


async def test_a_refusal_is_told_again_though_it_would_pass_now(
    world: World, service: LedgerServicer
) -> None:
    await _refused(world, service, _entry(-5_000))
    await world.line("f1", 9_000, TODAY)

    with pytest.raises(StoredRefusal):
        await _post(service, _entry(-5_000), "refused")


async def test_a_payment_made_outside_needs_what_is_available(
    world: World, service: LedgerServicer
) -> None:
    await world.line("f1", 500, TODAY)  # a receipt that the bank has not confirmed

    refused = await _refused(world, service, _entry(-1_001))

    assert refused.reason is Reason.BALANCE_INSUFFICIENT
    assert refused.metadata["available_minor"] == "1000"
    assert (await _post(service, _entry(-1_000))).disclosed_line == "funds/f1/lines/3"


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        (
            {"amount": common_pb2.Money(amount_minor=1, currency="USD")},
            Reason.CURRENCY_MISMATCH,
            "entry.amount.currency",
        ),
        (
            {"amount": common_pb2.Money(amount_minor=0, currency="CNY")},
            Reason.AMOUNT_OUT_OF_RANGE,
            "entry.amount.amount_minor",
        ),
        (
            {"bank_account": "funds/f2/bankAccounts/main"},
            Reason.ENTRY_CROSSES_FUNDS,
            "entry.bank_account",
        ),
        (
            {"vouchers": [f"funds/f2/vouchers/{'a' * 64}"]},
            Reason.ENTRY_CROSSES_FUNDS,
            "entry.vouchers[0]",
        ),
        (
            {"vouchers": [f"funds/f1/vouchers/{'a' * 64}"]},
            Reason.VOUCHER_MISSING,
            "entry.vouchers[0]",
        ),
        ({"corrects": "funds/f2/lines/1"}, Reason.ENTRY_CROSSES_FUNDS, "entry.corrects"),
        (
            {"effective_date": day(TODAY + DAY)},
            Reason.FIELD_INVALID,
            "entry.effective_date",
        ),
        (
            {"effective_date": day(TODAY - 31 * DAY)},
            Reason.FIELD_INVALID,
            "entry.effective_date",
        ),
        (
            {"effective_date": {"year": 2026, "month": 11, "day": 31}},
            Reason.FIELD_INVALID,
            "entry.effective_date",
        ),
    ],
)
async def test_a_draft_that_cannot_be_booked_is_refused_by_its_field(
    world: World, service: LedgerServicer, fields: dict[str, Any], reason: Reason, path: str
) -> None:
    refused = await _refused(world, service, _entry(100, **fields))

    assert (refused.reason, refused.violations[0].field) == (reason, path)


async def test_an_account_that_the_fund_does_not_have_is_not_found(
    world: World, service: LedgerServicer
) -> None:
    refused = await _refused(
        world, service, _entry(100, bank_account="funds/f1/bankAccounts/other")
    )

    assert refused.reason is Reason.RESOURCE_NOT_FOUND


async def test_another_partys_fund_is_not_found(world: World, service: LedgerServicer) -> None:
    await world.fund("f2", party_id="other")
    for call in (
        service.GetBalance(pb.GetBalanceRequest(parent="funds/f2"), None),
        service.ListLines(pb.ListLinesRequest(parent="funds/f2"), None),
        service.PostEntry(
            pb.PostEntryRequest(parent="funds/f2", entry=_entry(1), request_id="r"), None
        ),
    ):
        with pytest.raises(GatewayError) as refused:
            await call
        assert refused.value.reason is Reason.RESOURCE_NOT_FOUND


async def test_an_uploaded_voucher_stands_on_the_line(
    world: World, service: LedgerServicer
) -> None:
    digest = sha256(b"x").hexdigest()
    async with world.store.transaction(GATEWAY) as conn:
        await store_voucher(conn, "f1", Voucher(digest, "a", "text/plain", 1, b"x"), NOW)

    await _post(service, _entry(100, vouchers=[f"funds/f1/vouchers/{digest}"]))

    assert (await world.one(t.disclosed_lines, line_number=2))["vouchers"] == [digest]


async def test_a_correction_takes_an_unconfirmed_line_back_and_closes_both(
    world: World, service: LedgerServicer
) -> None:
    await _post(service, _entry(250))

    await _post(service, _entry(-250, corrects="funds/f1/lines/2", summary="重复入账"), "r2")

    wrong, back = (await world.rows(t.disclosed_lines))[1:]
    assert (wrong["corrected_by"], back["corrects"]) == (3, 2)
    assert (back["summary"], back["correction_reason"]) == ("重复入账", "重复入账")
    assert wrong["match_id"] == back["match_id"] != ""
    book = await world.one(t.books, book="COMMON")
    assert (book["total_minor"], book["pending_in_minor"], book["pending_out_minor"]) == (
        1_000,
        0,
        0,
    )


async def test_a_line_is_corrected_once(world: World, service: LedgerServicer) -> None:
    await _post(service, _entry(250))
    await _post(service, _entry(-250, corrects="funds/f1/lines/2"), "r2")

    refused = await _refused(world, service, _entry(-250, corrects="funds/f1/lines/2"))

    assert refused.reason is Reason.LINE_ALREADY_CORRECTED


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"category": "广告费"}, "entry.category"),
        ({"book": common_pb2.BOOK_MAINTENANCE}, "entry.book"),
        ({"bank_account": "funds/f1/bankAccounts/second"}, "entry.bank_account"),
        (
            {"amount": common_pb2.Money(amount_minor=-249, currency="CNY")},
            "entry.amount.amount_minor",
        ),
    ],
)
async def test_a_correction_is_the_line_with_its_sign_turned(
    world: World, service: LedgerServicer, fields: dict[str, Any], path: str
) -> None:
    await world.account("f1", "second")
    await _post(service, _entry(250))

    refused = await _refused(world, service, _entry(-250, corrects="funds/f1/lines/2", **fields))

    assert refused.violations[0].field == path


async def test_the_line_of_a_payment_is_not_corrected_by_hand(
    world: World, service: LedgerServicer
) -> None:
    await world.line("f1", -250, TODAY, category="停车费", payment_id="p1")

    refused = await _refused(world, service, _entry(250, corrects="funds/f1/lines/2"))

    assert refused.violations[0].field == "entry.corrects"


async def test_journal_lines_come_newest_first_page_by_page(
    world: World, service: LedgerServicer
) -> None:
    for number in range(3):
        await world.line("f1", number + 1, TODAY)
    await world.statement("f1", TODAY, [{"amount_minor": 7}])
    token, seen = "", []
    for _ in range(10):
        request = pb.ListLinesRequest(parent="funds/f1", page_size=3, page_token=token)
        page = await service.ListLines(request, None)
        seen += [(line.entry_number, line.account_kind) for line in page.lines]
        token = page.next_page_token
        if not token:
            break

    assert len(seen) == len(set(seen)) == 12
    assert [number for number, _ in seen] == sorted((number for number, _ in seen), reverse=True)


async def test_journal_lines_of_one_kind_of_account(world: World, service: LedgerServicer) -> None:
    (entry,) = await world.statement("f1", TODAY, [{"amount_minor": 7}])

    request = pb.ListLinesRequest(parent="funds/f1", account_kind=pb.ACCOUNT_KIND_BANK)
    newest, opening = (await service.ListLines(request, None)).lines

    assert newest.bank_account == "funds/f1/bankAccounts/main"
    assert newest.bank_entry == f"funds/f1/bankEntries/{entry}"
    assert (newest.amount.amount_minor, opening.amount.amount_minor) == (7, 1_000)


async def _balance(service: LedgerServicer, **fields: Any) -> dict[str, Any]:
    answer = await service.GetBalance(pb.GetBalanceRequest(parent="funds/f1", **fields), None)
    common = next(book for book in answer.books if book.book == common_pb2.BOOK_COMMON)
    book = {
        name: getattr(common, name).amount_minor
        for name in ("total", "settled", "pending", "held", "available")
    }
    return {
        "bank": answer.bank.amount_minor,
        "transit": answer.transit.amount_minor,
        **book,
    }


async def test_a_balance_shows_pending_and_settled_apart(
    world: World, service: LedgerServicer
) -> None:
    await world.line("f1", 300, TODAY)
    await world.line("f1", -200, TODAY)

    assert await _balance(service) == {
        "bank": 1_000,
        "transit": 100,
        "total": 1_100,
        "settled": 1_000,
        "pending": 100,
        "held": 0,
        "available": 800,
    }


async def test_a_balance_of_a_past_day_is_what_stood_then(
    world: World, service: LedgerServicer
) -> None:
    await world.line("f1", 300, TODAY - DAY, reference="R1")
    await world.line("f1", -200, TODAY)
    await world.statement("f1", TODAY, [{"amount_minor": 300, "reference": "R1"}])
    await world.reconcile()

    assert await _balance(service, as_of_date=day(TODAY - DAY)) == {
        "bank": 1_000,
        "transit": 300,
        "total": 1_300,
        "settled": 1_000,
        "pending": 300,
        "held": 0,
        "available": 0,
    }
    assert (await _balance(service, as_of_date=day(TODAY)))["settled"] == 1_300
