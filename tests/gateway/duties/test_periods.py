"""Rules of disclosure and the periods they ask for, over the wire: due, done, late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from xinyi.v1 import common_pb2
from xinyi.v1 import duty_service_pb2 as pb
from xinyi.v1 import question_service_pb2 as question_pb

from gateway.disclosure.period import Period
from gateway.disclosure.summary import fund_summary
from gateway.domain.canonical import canonical_json
from gateway.duties.lapses import LapseWatch
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from gateway.transparency.checkpoint import parse_checkpoint
from gateway.transparency.note import parse_note
from tests.gateway.duties.people import (
    FUND,
    MONTHLY,
    TRANSIT_DAYS,
    periods,
    propose_rules,
    publish,
    rules,
    set_rules,
)
from tests.gateway.questions.people import ask
from tests.gateway.support import (
    CHECKER,
    FIRM,
    MAKER,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    Callers,
    StillClock,
    Who,
    confirm,
    refusal,
)

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.gateway.cases.desk import Desk

NOVEMBER = "monthly-2026-11"


def _morning(day_: date) -> datetime:
    return datetime(day_.year, day_.month, day_.day, 1, tzinfo=UTC)


# --- rules --------------------------------------------------------------------------------------


async def test_before_any_were_set_questions_are_answered_in_five_days_and_no_period_is_owed(
    callers: Callers,
) -> None:
    found = await rules(callers)
    assert (found.version, found.answer_working_days, len(found.clocks)) == (0, 5, 0)
    assert await periods(callers) == []


async def test_rules_are_in_force_once_another_party_has_confirmed_them(callers: Callers) -> None:
    proposed = await propose_rules(
        callers, clocks=[MONTHLY], answer_working_days=3, itemised_categories=["地面停车"]
    )
    assert proposed.waits
    assert (await rules(callers)).version == 0
    await confirm(callers, CHECKER, proposed.change)
    found = await rules(callers)
    assert (found.version, found.answer_working_days) == (1, 3)
    assert list(found.clocks) == [MONTHLY]
    assert found.itemised_categories == ["地面停车"]


async def test_rules_read_before_others_came_are_not_set(callers: Callers) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    assert (await refusal(propose_rules(callers, version=0))).reason == "ETAG_MISMATCH"
    assert (await set_rules(callers, version=1)).version == 2


@pytest.mark.parametrize("who", [FIRM, CHECKER, SUPERVISOR])
async def test_nobody_but_the_operator_proposes_rules(who: Who, callers: Callers) -> None:
    assert (await refusal(propose_rules(callers, who))).reason == "ROLE_NOT_ALLOWED"


async def test_one_cycle_twice_is_refused(callers: Callers) -> None:
    refused = await refusal(propose_rules(callers, clocks=[MONTHLY, MONTHLY]))
    assert refused.reason == "FIELD_INVALID"


async def test_an_answer_is_due_by_the_rules_of_the_day_it_was_asked(callers: Callers) -> None:
    await set_rules(callers, answer_working_days=1)
    question = await ask(callers, f"{FUND}/lines/1")
    assert question.due_date == day(date(2026, 11, 23))
    assert question.state == question_pb.QUESTION_STATE_OPEN


# --- periods ------------------------------------------------------------------------------------


async def test_a_period_runs_is_due_and_is_late(callers: Callers, clock: StillClock) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    (running,) = await periods(callers)
    assert (running.name, running.state) == (f"{FUND}/periods/{NOVEMBER}", pb.PERIOD_STATE_RUNNING)
    clock.moment = _morning(date(2026, 12, 10))
    _, due = await periods(callers)
    assert (due.state, due.late) == (pb.PERIOD_STATE_DUE, False)
    clock.moment = _morning(date(2026, 12, 11))
    _, late = await periods(callers)
    assert (late.name, late.state, late.late) == (running.name, pb.PERIOD_STATE_LATE, True)


async def test_disclosing_a_period_records_who_and_when_its_figures_and_the_tree(
    gateway: Gateway, desk: Desk, callers: Callers, clock: StillClock
) -> None:
    posted = pb.DisclosureClock(cycle=pb.DISCLOSURE_CYCLE_MONTHLY, due_day=10, posting_days=15)
    await set_rules(callers, clocks=[posted])
    await desk.line(-1234, category="清洁")
    await gateway.publisher.log_all()
    clock.moment = _morning(date(2026, 12, 5))
    done = await publish(callers, NOVEMBER)
    assert (done.publisher, done.publisher_role) == ("anju机构", common_pb2.ROLE_PROPERTY_FIRM)
    assert (done.state, done.late) == (pb.PERIOD_STATE_POSTED, False)
    assert done.post_until == day(date(2026, 12, 20))
    assert parse_checkpoint(parse_note(done.checkpoint).text).size >= 2
    assert done.figures_sha256 == await _figures_by_the_page(gateway)
    clock.moment = _morning(date(2026, 12, 21))
    assert {each.name: each.state for each in await periods(callers)}[done.name] == (
        pb.PERIOD_STATE_DONE
    )


async def _figures_by_the_page(gateway: Gateway) -> str:
    """The digest as docs/disclosure.md tells how to make it."""
    async with gateway.store.snapshot(GATEWAY) as conn:
        summary = await fund_summary(conn, "wutong", Period.of_months("2026-11", "2026-11"))
    common, maintenance = summary.books
    assert (common.opening_minor, common.cost_minor) == (86_500_000, 1234)
    zero = dict.fromkeys(("opening_minor", "income_minor", "cost_minor", "closing_minor"), "0")
    figures = {
        "schema": "xinyi.figures/v1",
        "fund": FUND,
        "first": "2026-11-01",
        "last": "2026-11-30",
        "currency": "CNY",
        "books": [
            {
                "book": "COMMON",
                "opening_minor": "86500000",
                "income_minor": "0",
                "cost_minor": "1234",
                "closing_minor": "86498766",
                "kinds": [{"category": "清洁", "income_minor": "0", "cost_minor": "1234"}],
            },
            {"book": maintenance.book, **zero, "kinds": []},
        ],
    }
    return sha256(canonical_json(figures)).hexdigest()


async def test_a_period_is_disclosed_once(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    await gateway.publisher.log_all()
    clock.moment = _morning(date(2026, 12, 5))
    await publish(callers, NOVEMBER, MAKER)
    assert (await refusal(publish(callers, NOVEMBER))).reason == "RESOURCE_EXISTS"


@pytest.mark.parametrize(
    ("period_id", "reason"),
    [
        ("monthly-2026-12", "STATE_FORBIDS"),
        ("monthly-2026-10", "STATE_FORBIDS"),
        ("quarterly-2026-07", "STATE_FORBIDS"),
        ("quarterly-2026-08", "FIELD_INVALID"),
    ],
)
async def test_what_is_not_over_or_not_owed_is_not_disclosed(
    period_id: str, reason: str, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    clock.moment = _morning(date(2026, 12, 5))
    assert (await refusal(publish(callers, period_id))).reason == reason


@pytest.mark.parametrize(
    ("who", "reason"), [(OTHER_FIRM, "RESOURCE_NOT_FOUND"), (OWNER, "ROLE_NOT_ALLOWED")]
)
async def test_only_the_estates_own_firm_and_trustee_disclose(
    who: Who, reason: str, callers: Callers
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    assert (await refusal(publish(callers, NOVEMBER, who))).reason == reason


async def test_a_period_waits_for_the_log_and_the_same_call_is_answered_then(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    clock.moment = _morning(date(2026, 12, 5))
    service = (await callers.as_(FIRM)).duties
    request = pb.PublishPeriodRequest(name=f"{FUND}/periods/{NOVEMBER}", request_id="the same")
    assert (await refusal(service.PublishPeriod(request))).reason == "NOT_LOGGED"
    await gateway.publisher.log_all()
    assert (await service.PublishPeriod(request)).period.state == pb.PERIOD_STATE_DONE


async def test_pages_of_periods_follow_each_other(callers: Callers, clock: StillClock) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    clock.moment = _morning(date(2027, 2, 3))
    service = (await callers.as_(OWNER)).duties
    request = pb.ListPeriodsRequest(parent=FUND, page_size=3)
    first = await service.ListPeriods(request)
    request.page_token = first.next_page_token
    second = await service.ListPeriods(request)
    months = [each.name[-7:] for each in [*first.periods, *second.periods]]
    assert months == ["2027-02", "2027-01", "2026-12", "2026-11"]
    assert second.next_page_token == ""


# --- lateness -----------------------------------------------------------------------------------


async def test_a_late_period_is_recorded_once_and_disclosing_it_does_not_take_that_back(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    await gateway.publisher.log_all()
    watch = LapseWatch(gateway.store, clock, TRANSIT_DAYS)
    clock.moment = _morning(date(2026, 12, 10))
    assert await watch.look() == 0
    clock.moment += timedelta(days=1)
    assert (await watch.look(), await watch.look()) == (1, 0)
    done = await publish(callers, NOVEMBER)
    assert (done.state, done.late) == (pb.PERIOD_STATE_DONE, True)
    assert done.HasField("overdue_time")
    clock.moment += timedelta(days=1)
    assert await watch.look() == 0
    async with gateway.store.transaction(GATEWAY) as conn:
        (lapse,) = (await conn.execute(sa.select(t.lapses))).all()
    assert (lapse.subject, lapse.due_date, lapse.firms) == (
        NOVEMBER,
        date(2026, 12, 10),
        [FIRM.party_id],
    )


async def test_lateness_that_nobody_saw_is_recorded_all_the_same(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    await gateway.publisher.log_all()
    clock.moment = _morning(date(2026, 12, 11))
    await publish(callers, NOVEMBER)
    clock.moment = _morning(date(2027, 1, 9))
    assert await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look() == 1


async def test_what_is_disclosed_in_time_is_no_lapse(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    await set_rules(callers, clocks=[MONTHLY])
    await gateway.publisher.log_all()
    clock.moment = _morning(date(2026, 12, 10))
    await publish(callers, NOVEMBER)
    clock.moment = _morning(date(2027, 1, 9))
    assert await LapseWatch(gateway.store, clock, TRANSIT_DAYS).look() == 0


async def test_a_share_in_common_bills_is_published_by_two_parties_and_every_version_kept(
    callers: Callers,
) -> None:
    share = pb.BillShare(basis=pb.SHARE_BASIS_AREA, weight=1_234_567)
    proposed = await propose_rules(callers, clocks=[MONTHLY], bill_share=share)
    assert not (await rules(callers)).HasField("bill_share")
    await confirm(callers, CHECKER, proposed.change)
    assert (await rules(callers)).bill_share == share
    without = await set_rules(callers, version=1, clocks=[MONTHLY])
    assert not without.HasField("bill_share")


async def test_equal_shares_have_no_weight_of_their_own(callers: Callers) -> None:
    share = pb.BillShare(basis=pb.SHARE_BASIS_EQUAL, weight=2)
    refused = await refusal(propose_rules(callers, bill_share=share))
    assert refused.reason == "FIELD_INVALID"
