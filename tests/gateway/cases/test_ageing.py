"""By when cases are due, and who hears of those that are late."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.cases.ageing import age_cases, deadlines, due_day
from gateway.cases.policy import CasePolicy, DueTier, PolicyError, load_policy
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from reconciliation.rules import Rules
from tests.gateway.cases.desk import FUND
from tests.gateway.support import NOW, TODAY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.cases.desk import Desk

_DAY = timedelta(days=1)
_POLICY = CasePolicy()


# --- pure ---------------------------------------------------------------------------------------


def test_working_days_are_those_of_the_state_council() -> None:
    # 2026-09-27 is a Sunday that is worked, 1 to 7 October are holidays.
    assert due_day(date(2026, 9, 25), 1) == date(2026, 9, 28)
    assert due_day(date(2026, 9, 30), 1) == date(2026, 10, 8)


def test_in_a_year_that_is_not_published_days_of_the_calendar_count() -> None:
    assert due_day(date(2090, 1, 6), 5) == date(2090, 1, 11)


@given(st.integers(0, 2**62), st.dates(date(2026, 1, 1), date(2026, 12, 1)))
def test_every_weight_has_one_deadline(weight_minor: int, found: date) -> None:
    (deadline,) = [
        each
        for each in deadlines(_POLICY, [found])
        if each.above_minor < weight_minor <= each.up_to_minor
    ]

    assert deadline.found == found
    assert deadline.due >= found


def test_a_policy_is_read_from_a_file_and_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("write_off_max_minor = 5\nescalation_days = [1, 2]\n", "utf-8")

    policy = load_policy(path)

    assert policy == CasePolicy(write_off_max_minor=5, escalation_days=(1, 2))


def test_a_policy_that_cannot_be_used_is_refused_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    wrong = {
        "write_off_max_minor = -1": "write_off_max_minor",
        "wait_most_days = 93": "wait_most_days",
        "surprise = 1": "surprise",
        "escalation_days = [3, 1]": "escalation_days",
        "due = [{working_days = 3}]": "due.0.up_to_minor",
        "due = ": "cannot be read",
    }

    for text, named in wrong.items():
        path.write_text(text, "utf-8")
        with pytest.raises(PolicyError, match=named):
            load_policy(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "none.toml")


def test_tiers_rise_and_cover_every_weight() -> None:
    some, any_ = DueTier(up_to_minor=5, working_days=1), DueTier(up_to_minor=None, working_days=1)
    for tiers in [(some,), (any_, any_), (any_, some), (some, some, any_)]:
        with pytest.raises(ValidationError):
            CasePolicy(due=tiers)


# --- on record ----------------------------------------------------------------------------------


async def _age(desk: Desk, now: datetime, policy: CasePolicy = _POLICY) -> int:
    async with desk.store.transaction(GATEWAY) as conn:
        return await age_cases(conn, policy, Rules(), now)


async def _weigh(desk: Desk, case: pb.Case, weight_minor: int) -> None:
    async with desk.store.transaction(GATEWAY) as conn:
        this = t.cases.c.case_id == case.name.split("/")[-1]
        await conn.execute(t.cases.update().where(this).values(weight_minor=weight_minor))


async def _receipt(desk: Desk) -> pb.Case:
    await desk.entry(300, text="来款")
    await desk.night()
    return await desk.only_case()


async def test_a_case_is_due_after_the_night_and_sooner_once_it_weighs_more(desk: Desk) -> None:
    case = await _receipt(desk)
    assert case.due_date == day(due_day(TODAY, 10))

    await _weigh(desk, case, 1_000_001)
    await _age(desk, NOW)

    assert (await desk.only_case()).due_date == day(due_day(TODAY, 2))
    await _weigh(desk, case, 1)
    await _age(desk, NOW)
    assert (await desk.only_case()).due_date == day(due_day(TODAY, 2))


async def test_a_line_in_transit_is_due_when_its_transit_ends(desk: Desk) -> None:
    await desk.line(-300)
    await desk.night()

    case = await desk.only_case()

    assert (case.kind, case.due_date) == (pb.CASE_KIND_TIMING, day(TODAY + 5 * _DAY))


async def test_a_late_case_is_escalated_level_by_level_and_says_so(desk: Desk) -> None:
    case = await _receipt(desk)
    due = due_day(TODAY, 10)

    levels = []
    for late in (0, 1, 1, 3, 4, 7, 8, 30):
        now = datetime(due.year, due.month, due.day, 4, tzinfo=UTC) + late * _DAY
        await _age(desk, now)
        desk.clock.moment = now
        levels.append((await desk.only_case()).escalation)

    assert levels == [0, 1, 1, 1, 2, 2, 3, 3]
    read = await desk.case(case.name)
    raised = [each for each in read.events if each.kind == "ESCALATED"]
    assert [each.actor for each in raised] == ["gateway"] * 3
    assert int(read.case.etag) == int(case.etag) + 3
    assert read.case.overdue
    assert [each.name for each in await desk.listed(min_escalation=3)] == [case.name]
    assert [each.name for each in await desk.listed(only_overdue=True)] == [case.name]


async def test_a_case_that_waits_is_not_late(desk: Desk) -> None:
    case = await _receipt(desk)
    await desk.decide(case, "WAIT", wait_until=day(TODAY + 60 * _DAY))

    assert await _age(desk, NOW + 50 * _DAY) == 0
    assert await _age(desk, NOW + 61 * _DAY) == 1


async def test_cases_aged_twice_at_one_moment_are_escalated_once(desk: Desk) -> None:
    await _receipt(desk)
    later = NOW + 60 * _DAY

    raised = await asyncio.gather(*(_age(desk, later) for _ in range(3)))

    assert sum(raised) <= 1
    await _age(desk, later)
    assert len(await desk.world.rows(t.case_events, fund_id=FUND, kind="ESCALATED")) == 1


async def test_who_works_on_a_case_is_not_held_up_by_its_ageing(desk: Desk) -> None:
    case = await _receipt(desk)
    later = NOW + 60 * _DAY
    async with desk.store.transaction(GATEWAY) as conn:
        busy = t.cases.c.case_id == case.name.split("/")[-1]
        await conn.execute(t.cases.update().where(busy).values(assignee="somebody"))

        assert await asyncio.wait_for(_age(desk, later), timeout=20) == 0
    assert await _age(desk, later) == 1
