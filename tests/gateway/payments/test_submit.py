"""Asking for payments: held against budget and balance, or refused with nothing changed."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.domain.payload import parse_payload
from gateway.ledger.writer import LineDraft, post_line
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.payments.desk import (
    DIGEST,
    FUND,
    OTHER_FUND,
    PAYEE,
    ask,
    batch,
    cny,
)
from tests.gateway.support import (
    BANK_CODE,
    FIRM,
    NOW,
    OPENING_MINOR,
    OTHER_FIRM,
    TODAY,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from gateway.client import CallRefused
    from tests.gateway.payments.desk import Desk

BUDGET_MINOR = 800_000
"""Limit of the line that the asks draw on."""


def _payee(**fields: str) -> dict[str, Any]:
    fine = {"display_name": "某公司", "account_number": PAYEE, "bank_code": BANK_CODE}
    return {"payee": pb.Payee(**{**fine, **fields})}


async def _refused(desk: Desk, payment: pb.Payment) -> CallRefused:
    """The refusal, after a look that nothing is held and no payment is kept."""
    refused = await refusal(desk.submit(payment))
    assert await desk.rows(sa.select(t.payments.c.payment_id)) == []
    assert await desk.budget() == (0, 0)
    return refused


async def test_a_payment_is_held_and_comes_back_with_the_bytes_to_sign(desk: Desk) -> None:
    payment = await desk.submit(ask(12_345))

    assert pb.PaymentState.Name(payment.state) == "PAYMENT_STATE_HELD"
    assert await desk.budget() == (12_345, 0)
    said = parse_payload(payment.signing_payload)
    assert (said.payment, said.amount_minor, said.payee_account) == (payment.name, "12345", PAYEE)
    history = (await desk.get(payment.name)).history
    assert [pb.PaymentState.Name(each.state) for each in history] == [
        "PAYMENT_STATE_SUBMITTED",
        "PAYMENT_STATE_HELD",
    ]


BROKEN: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"amount": cny(0)}, "AMOUNT_OUT_OF_RANGE", "payment.amount.amount_minor"),
    ({"amount": cny(-1)}, "AMOUNT_OUT_OF_RANGE", "payment.amount.amount_minor"),
    ({"amount": cny(1, "USD")}, "CURRENCY_MISMATCH", "payment.amount.currency"),
    ({"amount": None}, "FIELD_INVALID", "payment.amount"),
    (_payee(bank_code="105651000010"), "FIELD_INVALID", "payment.payee.bank_code"),
    (_payee(bank_code="10565100001"), "FIELD_INVALID", "payment.payee.bank_code"),
    (_payee(display_name="某\x07公司"), "FIELD_INVALID", "payment.payee.display_name"),
    (_payee(display_name="某\u202e公司"), "FIELD_INVALID", "payment.payee.display_name"),
    (_payee(display_name="某\x00公司"), "FIELD_INVALID", "payment.payee.display_name"),
    (_payee(display_name="某公司 "), "FIELD_INVALID", "payment.payee.display_name"),
    (_payee(display_name="长" * 41), "FIELD_INVALID", "payment.payee.display_name"),
    (_payee(account_number="62 22"), "FIELD_INVALID", "payment.payee.account_number"),
    ({"purpose": "维修\n电梯"}, "FIELD_INVALID", "payment.purpose"),
    ({"purpose": ""}, "FIELD_INVALID", "payment.purpose"),
    ({"purpose": "修\u3164"}, "FIELD_INVALID", "payment.purpose"),
    (
        {"budget_line": f"{OTHER_FUND}/budgetLines/cleaning"},
        "FIELD_INVALID",
        "payment.budget_line",
    ),
    ({"vouchers": []}, "FIELD_INVALID", "payment.vouchers"),
    (
        {"vouchers": [f"{OTHER_FUND}/vouchers/{DIGEST}"]},
        "FIELD_INVALID",
        "payment.vouchers[0]",
    ),
    ({"vouchers": [f"{FUND}/vouchers/{DIGEST}"] * 2}, "FIELD_INVALID", "payment.vouchers"),
    ({"vouchers": [f"{FUND}/vouchers/{'0' * 64}"]}, "VOUCHER_MISSING", FUND),
    (
        {"budget_line": f"{FUND}/budgetLines/none"},
        "RESOURCE_NOT_FOUND",
        "",
    ),
)
"""What is wrong with the ask, the refusal, and the field at fault."""


async def test_a_payment_that_breaks_a_rule_is_refused_by_its_field(desk: Desk) -> None:
    for fields, reason, path in BROKEN:
        refused = await _refused(desk, ask(**fields))

        assert refused.reason == reason, fields
        assert [each.field for each in refused.violations] == ([path] if path else []), fields


async def test_a_refusal_never_repeats_what_was_asked(desk: Desk) -> None:
    refused = await _refused(desk, ask(**_payee(display_name="赵钱孙\x07")))

    assert "赵钱孙" not in str(refused) + str(refused.violations) + str(refused.metadata)


async def test_an_amount_of_the_largest_int64_is_refused(desk: Desk) -> None:
    refused = await _refused(desk, ask((1 << 63) - 1))

    assert refused.reason in {"AMOUNT_OUT_OF_RANGE", "FIELD_INVALID", "BUDGET_EXCEEDED"}


async def test_a_budget_line_gives_its_limit_and_not_a_fen_more(desk: Desk) -> None:
    await desk.submit(ask(BUDGET_MINOR - 1))

    refused = await refusal(desk.submit(ask(2)))
    await desk.submit(ask(1))

    assert (refused.reason, refused.metadata["left_minor"]) == ("BUDGET_EXCEEDED", "1")
    assert refused.violations[0].field == f"{FUND}/budgetLines/cleaning"
    assert await desk.budget() == (BUDGET_MINOR, 0)


async def _limit(desk: Desk, limit_minor: int) -> None:
    await desk.execute(
        t.budget_lines.update()
        .where(t.budget_lines.c.fund_id == "wutong")
        .values(limit_minor=limit_minor)
    )


async def test_a_book_gives_its_balance_and_not_a_fen_more(desk: Desk) -> None:
    await _limit(desk, 2 * OPENING_MINOR)
    await desk.submit(ask(OPENING_MINOR - 1))

    refused = await refusal(desk.submit(ask(2)))
    await desk.submit(ask(1))

    assert (refused.reason, refused.metadata["left_minor"]) == ("BALANCE_INSUFFICIENT", "1")


async def test_a_receipt_that_the_bank_has_not_confirmed_is_not_spent(desk: Desk) -> None:
    await _limit(desk, 2 * OPENING_MINOR)
    draft = LineDraft("main", "COMMON", "停车费", "停车费", 500, TODAY)
    async with desk.store.transaction(GATEWAY) as conn:
        await post_line(conn, "wutong", draft, NOW)

    refused = await _refused(desk, ask(OPENING_MINOR + 1))

    assert refused.reason == "BALANCE_INSUFFICIENT"
    assert refused.metadata["left_minor"] == str(OPENING_MINOR)


@pytest.mark.parametrize(
    ("start", "end"),
    [(date(2026, 1, 1), date(2026, 11, 19)), (date(2026, 11, 21), date(2026, 12, 31))],
)
async def test_a_budget_line_pays_only_within_its_days(desk: Desk, start: date, end: date) -> None:
    # The application may not move a budget line's days: a line of other days is another line.
    async with desk.store.transaction(GATEWAY) as conn:
        await conn.execute(
            t.budget_lines.insert().values(
                fund_id="wutong",
                budget_line_id="past",
                book="COMMON",
                category="清洁",
                display_name="清洁",
                limit_minor=10_000,
                start_date=start,
                end_date=end,
                created_at=NOW,
            )
        )

    refused = await _refused(desk, ask(budget_line=f"{FUND}/budgetLines/past"))

    assert refused.reason == "BUDGET_LINE_CLOSED"


async def test_another_estates_firm_asks_in_vain(desk: Desk) -> None:
    refused = await refusal(desk.submit(ask(), who=OTHER_FIRM))

    assert refused.reason == "RESOURCE_NOT_FOUND"


async def test_the_same_request_holds_once_and_answers_the_same_bytes(desk: Desk) -> None:
    first = await desk.submit(ask(), request="again")
    second = await desk.submit(ask(), request="again")

    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert await desk.budget() == (1_000, 0)


async def test_the_same_request_id_for_another_payment_is_refused(desk: Desk) -> None:
    await desk.submit(ask(1_000), request="again")

    refused = await refusal(desk.submit(ask(1_001), request="again"))

    assert refused.reason == "REQUEST_ID_REUSED"
    assert await desk.budget() == (1_000, 0)


async def test_a_refusal_is_told_again_though_it_would_pass_now(desk: Desk) -> None:
    first = await refusal(desk.submit(ask(BUDGET_MINOR + 1), request="again"))
    await _limit(desk, BUDGET_MINOR + 1)

    second = await refusal(desk.submit(ask(BUDGET_MINOR + 1), request="again"))

    assert (first.reason, second.message) == ("BUDGET_EXCEEDED", first.message)
    assert await desk.budget() == (0, 0)


# --- batches ----------------------------------------------------------------------------------


async def test_a_batch_is_held_whole_and_named_in_its_order(desk: Desk) -> None:
    held = await desk.submit_all(batch([ask(100), ask(200), ask(300)]))

    amounts = [(await desk.get(name)).amount.amount_minor for name in held.payments]
    assert amounts == [100, 200, 300]
    assert {(await desk.get(name)).batch_id for name in held.payments} == {held.batch_id}
    assert await desk.budget() == (600, 0)


async def test_one_bad_payment_holds_none_and_every_bad_one_is_named(desk: Desk) -> None:
    payments = [
        ask(100),
        ask(BUDGET_MINOR),
        ask(100, vouchers=[f"{FUND}/vouchers/{'0' * 64}"]),
        ask(100),
        ask(0),
    ]

    refused = await refusal(desk.submit_all(batch(payments)))

    assert refused.reason == "BUDGET_EXCEEDED"
    named = {each.field: each.description.partition(":")[0] for each in refused.violations}
    assert {path: named[path] for path in named if path.startswith("payments")} == {
        "payments[1]": "BUDGET_EXCEEDED",
        "payments[2]": "VOUCHER_MISSING",
        "payments[4]": "AMOUNT_OUT_OF_RANGE",
    }
    assert await desk.budget() == (0, 0)
    assert await desk.rows(sa.select(t.batches.c.batch_id)) == []


async def test_the_payments_of_a_batch_share_what_is_left(desk: Desk) -> None:
    payments = [ask(BUDGET_MINOR // 2), ask(BUDGET_MINOR // 2), ask(1)]

    refused = await refusal(desk.submit_all(batch(payments)))

    assert [each.field for each in refused.violations if "payments" in each.field] == [
        "payments[2]"
    ]
    assert await desk.budget() == (0, 0)


@pytest.mark.parametrize("count", [1, 3])
async def test_a_batch_has_as_many_payments_as_it_announced(desk: Desk, count: int) -> None:
    refused = await refusal(desk.submit_all(batch([ask(), ask()], count=count)))

    assert refused.violations[0].field == "header.payment_count"
    assert await desk.budget() == (0, 0)


@pytest.mark.parametrize("count", [0, -1, 5_001])
async def test_a_batch_announces_between_one_and_five_thousand(desk: Desk, count: int) -> None:
    refused = await refusal(desk.submit_all(batch([ask()], count=count)))

    assert (refused.reason, refused.violations[0].field) == (
        "FIELD_INVALID",
        "header.payment_count",
    )


async def test_a_batch_larger_than_the_bank_takes_is_refused(desk: Desk) -> None:
    refused = await refusal(desk.submit_all(batch([ask(1)] * 1_001)))

    assert (refused.reason, refused.violations[0].field) == (
        "LIMIT_EXCEEDED",
        "header.payment_count",
    )
    assert await desk.budget() == (0, 0)


@pytest.mark.parametrize("order", ["none", "last", "twice"])
async def test_a_batch_has_one_header_and_it_comes_first(desk: Desk, order: str) -> None:
    header, payment = batch([ask()])
    parts = {"none": [payment], "last": [payment, header], "twice": [header, header, payment]}

    refused = await refusal(desk.submit_all(parts[order]))

    assert (refused.reason, refused.violations[0].field) == ("FIELD_INVALID", "header")


async def test_a_batch_sent_again_is_the_same_batch(desk: Desk) -> None:
    parts = batch([ask(100), ask(200)])

    first, second = await desk.submit_all(parts), await desk.submit_all(parts)

    assert first == second
    assert await desk.budget() == (300, 0)


async def test_a_batch_with_the_id_of_another_is_refused(desk: Desk) -> None:
    request = request_id()
    await desk.submit_all(batch([ask(100), ask(200)], request=request))

    refused = await refusal(desk.submit_all(batch([ask(200), ask(100)], request=request)))

    assert refused.reason == "REQUEST_ID_REUSED"
    assert await desk.budget() == (300, 0)


async def test_the_id_of_a_single_payment_is_taken_for_a_batch_too(desk: Desk) -> None:
    await desk.submit(ask(100), request="taken")

    refused = await refusal(desk.submit_all(batch([ask(100)], request="taken")))

    assert refused.reason == "REQUEST_ID_REUSED"


async def test_only_the_firm_asks(desk: Desk) -> None:
    people = desk.callers.pki.people

    for who in people:
        if who.role is not FIRM.role:
            refused = await refusal(desk.submit(ask(), who=who))
            assert refused.reason == "ROLE_NOT_ALLOWED"
    assert await desk.budget() == (0, 0)
