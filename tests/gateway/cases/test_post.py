"""Differences that a line explains: posted and matched by two persons, and taken back in red."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xinyi.v1 import common_pb2, ledger_service_pb2
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.cases.actor import Actor
from gateway.cases.plan import Ask
from gateway.cases.policy import CasePolicy
from gateway.cases.propose import Read, propose
from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Role
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, adjustment, yuan
from tests.gateway.support import (
    CHECKER,
    MAKER,
    NOW,
    OPENING_MINOR,
    OPERATOR,
    TODAY,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from typing import Any

    from tests.gateway.cases.desk import Desk


async def _fee(desk: Desk) -> pb.Case:
    await desk.entry(-500, text="手续费", reference="F1")
    await desk.night()
    return await desk.only_case()


async def _lines(desk: Desk) -> list[dict[str, Any]]:
    """The fund's lines behind the opening one."""
    return (await desk.world.rows(t.disclosed_lines, fund_id=FUND))[1:]


async def test_a_fee_is_booked_and_matched_at_once(desk: Desk) -> None:
    case = await _fee(desk)

    proposed = await desk.propose(case, "ADJUST", adjustment=adjustment())

    assert proposed.adjustment.amount == yuan(-500)
    assert proposed.adjustment.effective_date == day(TODAY)
    assert await _lines(desk) == []
    approved = await desk.approve(proposed)

    (line,) = await _lines(desk)
    assert approved.line == f"funds/{FUND}/lines/{line['line_number']}"
    assert (line["amount_minor"], line["reference"], line["settled"]) == (-500, "F1", True)
    assert line["match_id"] == approved.match.split("/")[3]
    assert [(mark["party_name"], mark["role"]) for mark in line["signatures"]] == [
        ("trust机构", "TRUSTEE_MAKER"),
        ("trust机构", "TRUSTEE_CHECKER"),
    ]
    assert await desk.listed() == []
    await desk.check()
    await desk.night()
    assert await desk.listed() == []


async def test_an_undone_adjustment_is_taken_back_by_a_linked_red_line(desk: Desk) -> None:
    case = await _fee(desk)
    approved = await desk.decide(case, "ADJUST", adjustment=adjustment())

    await desk.undo(approved)

    line, red = await _lines(desk)
    assert (red["amount_minor"], red["corrects"]) == (500, line["line_number"])
    assert line["corrected_by"] == red["line_number"]
    assert red["correction_reason"] == "it was wrong"
    assert [mark["role"] for mark in red["signatures"]] == ["TRUSTEE_CHECKER"]
    assert {row["match_id"] for row in (line, red)} == {f"void-{red['line_number']}"}
    assert (await desk.only_case()).name == case.name
    assert await desk.pending() == 0
    await desk.check()
    await desk.night()
    assert [each.name for each in await desk.listed()] == [case.name]
    proof = await desk.world.rows(t.balance_proofs, fund_id=FUND)
    assert {row["difference_minor"] for row in proof} == {0}


async def test_a_posted_line_corrected_by_hand_is_not_taken_back_twice(desk: Desk) -> None:
    case = await _fee(desk)
    approved = await desk.decide(case, "ADJUST", adjustment=adjustment())
    maker = await desk.callers.as_(MAKER)
    entry = ledger_service_pb2.EntryDraft(
        bank_account=f"funds/{FUND}/bankAccounts/main",
        book=common_pb2.BOOK_COMMON,
        category="银行手续费",
        amount=yuan(500),
        summary="更正",
        effective_date=day(TODAY),
        corrects=approved.line,
    )
    await maker.ledger.PostEntry(
        ledger_service_pb2.PostEntryRequest(
            parent=f"funds/{FUND}", entry=entry, request_id=request_id()
        )
    )
    _, by_hand = await _lines(desk)
    assert [mark["role"] for mark in by_hand["signatures"]] == ["TRUSTEE_MAKER"]
    await desk.check()
    await desk.night()

    await desk.undo(approved)

    assert len(await _lines(desk)) == 2
    assert {row["match_id"] for row in await _lines(desk)} == {"void-3"}
    assert [each.name for each in await desk.listed()] == [case.name]


async def test_an_adjustment_explains_what_is_left_beside_a_line(desk: Desk) -> None:
    entry = await desk.entry(-1_005, reference="P1")
    line = await desk.line(-1_000, reference="P1")
    await desk.night()
    case = await desk.case_with(entry)

    await desk.decide(case, "ADJUST", adjustment=adjustment(amount=yuan(-5)))

    assert await desk.listed() == []
    matched = await desk.world.one(
        t.disclosed_lines, fund_id=FUND, line_number=int(line.split("/")[-1])
    )
    assert matched["settled"]
    assert [row["amount_minor"] for row in await _lines(desk)] == [-1_000, -5]


async def test_a_line_the_bank_never_books_is_no_adjustment(desk: Desk) -> None:
    await desk.line(-300)
    await desk.night()
    case = await desk.only_case()

    refused = await refusal(desk.proposing(case, "ADJUST", adjustment=adjustment()))

    assert refused.reason == "MATCH_UNEVEN"
    assert "PostEntry" in refused.message


async def test_what_may_not_be_posted_is_refused_with_its_reason(desk: Desk) -> None:
    case = await _fee(desk)
    tomorrow = TODAY.replace(day=TODAY.day + 1)
    missing = f"funds/{FUND}/vouchers/{'0' * 64}"
    wrong = [
        ("MATCH_UNEVEN", adjustment(amount=yuan(-400))),
        (
            "CURRENCY_MISMATCH",
            adjustment(amount=common_pb2.Money(amount_minor=-500, currency="USD")),
        ),
        ("FIELD_INVALID", adjustment(category="")),
        ("FIELD_INVALID", adjustment(book=common_pb2.BOOK_UNSPECIFIED)),
        ("FIELD_INVALID", adjustment(effective_date=day(tomorrow))),
        ("FIELD_INVALID", adjustment(effective_date=day(TODAY.replace(year=2025)))),
        ("VOUCHER_MISSING", adjustment(vouchers=[missing])),
        ("FIELD_INVALID", None),
    ]

    for reason, asked in wrong:
        call = desk.proposing(case, "ADJUST", adjustment=asked)
        assert (await refusal(call)).reason == reason
    assert await _lines(desk) == []


async def test_a_book_without_the_money_cannot_bear_an_adjustment(desk: Desk) -> None:
    await desk.entry(-(OPENING_MINOR + 1))
    await desk.night()
    case = await desk.only_case()

    call = desk.proposing(case, "ADJUST", adjustment=adjustment())

    assert (await refusal(call)).reason == "BALANCE_INSUFFICIENT"


async def test_only_the_trustees_checker_lets_a_line_be_posted_or_taken_back(desk: Desk) -> None:
    case = await _fee(desk)
    proposed = await desk.propose(case, "ADJUST", adjustment=adjustment())

    assert (await refusal(desk.approve(proposed, OPERATOR))).reason == "ROLE_NOT_ALLOWED"
    approved = await desk.approve(proposed, CHECKER)
    assert (await refusal(desk.undo(approved, OPERATOR))).reason == "ROLE_NOT_ALLOWED"


# --- writing off --------------------------------------------------------------------------------


async def _small(desk: Desk, difference_minor: int, reference: str) -> pb.Case:
    """A case of an entry and a line that differ by a little."""
    entry = await desk.entry(10_000 + difference_minor, reference=reference)
    await desk.line(10_000, reference=reference)
    await desk.night()
    return await desk.case_with(entry)


async def test_a_small_difference_is_written_off_within_the_limit(desk: Desk) -> None:
    case = await _small(desk, 100, "W1")

    approved = await desk.decide(case, "WRITE_OFF")

    line = (await _lines(desk))[-1]
    assert (line["amount_minor"], line["category"], line["book"]) == (100, "尾差核销", "COMMON")
    assert line["summary"] == "尾差核销 #2"
    assert await desk.listed() == []
    await desk.check()
    await desk.undo(approved)
    assert [each.name for each in await desk.listed()] == [case.name]
    await desk.check()


async def test_a_write_off_is_of_the_book_of_its_lines_unless_told(desk: Desk) -> None:
    await desk.decide(await _small(desk, 100, "W1"), "WRITE_OFF", adjustment=pb.Adjustment())

    assert (await _lines(desk))[-1]["book"] == "COMMON"


async def test_more_than_the_limit_is_never_written_off(desk: Desk) -> None:
    case = await _small(desk, 101, "W1")

    assert (await refusal(desk.proposing(case, "WRITE_OFF"))).reason == "AMOUNT_OUT_OF_RANGE"


async def test_a_difference_needs_both_sides_to_be_written_off(desk: Desk) -> None:
    await desk.entry(50)
    await desk.night()

    call = desk.proposing(await desk.only_case(), "WRITE_OFF")

    assert (await refusal(call)).reason == "MATCH_UNEVEN"


async def test_what_a_fund_writes_off_in_a_month_is_bounded(desk: Desk) -> None:
    await desk.decide(await _small(desk, 90, "W1"), "WRITE_OFF")
    case = await _small(desk, -60, "W2")
    undone = await desk.decide(await _small(desk, 50, "W3"), "WRITE_OFF")
    await desk.undo(undone)

    assert await _write_off(desk, case, limit_minor=149) is Reason.AMOUNT_OUT_OF_RANGE
    assert await _write_off(desk, case, limit_minor=150) is None


async def _write_off(desk: Desk, case: pb.Case, limit_minor: int) -> Reason | None:
    """Why it cannot be proposed under such a limit of the month."""
    read = Read(FUND, case.name.split("/")[-1], case.etag)
    policy = CasePolicy(write_off_month_minor=limit_minor)
    maker = Actor("trust", "maker", "np", frozenset({Role.TRUSTEE_MAKER}), NOW)
    try:
        async with desk.store.transaction(GATEWAY) as conn, conn.begin_nested() as rehearsal:
            await propose(conn, policy, read, Ask("WRITE_OFF", "too small to look for"), maker)
            await rehearsal.rollback()
    except GatewayError as refused:
        return refused.reason
    return None
