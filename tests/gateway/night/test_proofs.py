"""The proof of each account and day: a chain that shows any change and opens for what is new."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gateway.night.proofs import Account, Draft, Proof, digest_of, linked, verify
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.night.world import DAY, NOW, TODAY

if TYPE_CHECKING:
    from tests.gateway.night.world import World

_ACCOUNT = Account(
    fund_id="f1",
    account_id="main",
    day=TODAY,
    currency="CNY",
    opening_minor=0,
    ledger_minor=500,
    covered_until=TODAY,
    closing_minor=500,
    inconsistent=False,
    broken_on=None,
    repeated_on=None,
    open_bank_minor=0,
    open_ledger_minor=0,
    late_bank_minor=0,
    late_ledger_minor=0,
)


def _draft(day: date = TODAY, **fields: Any) -> Draft:
    return Draft(replace(_ACCOUNT, day=day, covered_until=day, **fields), 0, 0)


def _chain(nights: list[list[int]]) -> list[Proof]:
    """Nights, each of which proves its own day and perhaps earlier ones again."""
    chain: list[Proof] = []
    for number, back in enumerate(nights):
        day = TODAY + number * DAY
        days = {day, *(day - each * DAY for each in back)}
        last = chain[-1] if chain else None
        chain += linked([_draft(each) for each in days], f"r{number}", last, NOW)
    return chain


_NIGHTS = st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=5)


@given(_NIGHTS)
def test_a_chain_that_nobody_touched_holds(nights: list[list[int]]) -> None:
    chain = _chain(nights)
    assert verify(chain) == ""
    assert [each.created_at for each in chain] == sorted({each.created_at for each in chain})


@given(_NIGHTS, st.data())
def test_a_change_anywhere_in_a_chain_is_found(
    nights: list[list[int]], data: st.DataObject
) -> None:
    chain = _chain(nights)
    place = data.draw(st.integers(0, len(chain) - 1))
    changes = data.draw(
        st.sampled_from(
            [
                {"ledger_minor": 501},
                {"proved": False},
                {"findings": ("difference",)},
                {"date": date(2020, 1, 1)},
                {"created_at": datetime(2020, 1, 1, tzinfo=UTC)},
            ]
        )
    )
    changed = replace(chain[place], **changes)  # type: ignore[arg-type]
    assert "is not what it was" in verify([*chain[:place], changed, *chain[place + 1 :]])
    resealed = replace(changed, digest=digest_of(changed))
    if place < len(chain) - 1:
        broken = verify([*chain[:place], resealed, *chain[place + 1 :]])
        assert "does not follow" in broken


def test_a_link_taken_out_is_found() -> None:
    chain = _chain([[], [1], []])
    assert "does not follow" in verify([*chain[:1], *chain[2:]])


def test_a_statement_that_is_there_twice_stands_against_the_proof() -> None:
    (proof,) = linked([_draft(repeated_on=TODAY)], "r", None, NOW)
    assert not proof.proved
    assert proof.findings == (f"duplicate_statement: the statement to {TODAY} is there twice",)


# --- over a database ------------------------------------------------------------------------------


async def _proofs(world: World) -> list[Proof]:
    rows = await world.rows(t.balance_proofs)
    names = Proof.__slots__
    kept = [
        Proof(**{n: row[n] for n in names} | {"findings": tuple(row["findings"])}) for row in rows
    ]
    return sorted(kept, key=lambda each: each.created_at)


async def _next_day(world: World, day: date) -> None:
    """The clock goes on, and the night of a day is run."""
    world.now = datetime.combine(day + DAY, NOW.timetz())
    await world.reconcile(day)


async def _as_owner(world: World, statement: sa.Executable) -> None:
    """What no application may do: a test plays the owner of the database."""
    async with world.store.engine.begin() as conn:
        await conn.execute(sa.text("SELECT set_config('xinyi.party', '*', true)"))
        await conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await conn.execute(statement)


async def _three_days(world: World) -> None:
    world.now = NOW - 4 * DAY
    await world.fund("f1", opening_minor=1_000)
    for back in (3, 2, 1):
        await world.statement("f1", TODAY - back * DAY)
        await _next_day(world, TODAY - back * DAY)
    world.now += timedelta(minutes=1)


async def test_each_proof_of_an_account_follows_on_the_one_before(world: World) -> None:
    await _three_days(world)

    chain = await _proofs(world)

    assert [(each.date, each.proved) for each in chain] == [
        (TODAY - back * DAY, True) for back in (3, 2, 1)
    ]
    assert verify(chain) == ""


async def test_a_proof_that_was_changed_in_the_database_is_found_by_the_next_run(
    world: World,
) -> None:
    await _three_days(world)
    last = t.balance_proofs.c.date == TODAY - DAY
    await _as_owner(world, t.balance_proofs.update().where(last).values(ledger_minor=1))
    await world.statement("f1", TODAY)

    await _next_day(world, TODAY)

    newest = (await _proofs(world))[-1]
    assert not newest.proved
    assert [finding.split(":")[0] for finding in newest.findings] == ["chain_broken"]


async def test_a_line_for_a_proved_day_opens_it_again_and_says_so(world: World) -> None:
    await _three_days(world)
    await world.line("f1", 1_200, TODAY - 2 * DAY, reference="late")
    await world.statement("f1", TODAY)

    await _next_day(world, TODAY)

    chain = await _proofs(world)
    told = f"reopened: line 2 over 12.00 counting for {TODAY - 2 * DAY} was disclosed on {TODAY}"
    assert [(each.date, each.findings, each.ledger_minor) for each in chain[3:]] == [
        (TODAY - 2 * DAY, (told,), 2_200),
        (TODAY - DAY, (told,), 2_200),
        (TODAY, (), 2_200),
    ]
    assert all(each.proved and each.open_ledger_minor == 1_200 for each in chain[3:])
    assert verify(chain) == ""
    await world.statement("f1", TODAY + DAY)
    await _next_day(world, TODAY + DAY)
    assert len(await _proofs(world)) == 7  # what was told once is not told again


async def test_a_line_and_its_correction_open_a_day_again_though_its_sums_stay(
    world: World,
) -> None:
    await _three_days(world)
    line = await world.line("f1", 1_200, TODAY - DAY)
    await world.line("f1", -1_200, TODAY - DAY, corrects=line.line_number, void=True)
    await world.statement("f1", TODAY)

    await _next_day(world, TODAY)

    again = (await _proofs(world))[3]
    assert (again.date, again.proved, len(again.findings)) == (TODAY - DAY, True, 2)


async def test_a_statement_that_comes_late_opens_its_days_again_and_proves_them(
    world: World,
) -> None:
    await world.fund("f1", opening_minor=1_000)
    await _next_day(world, TODAY - DAY)
    world.now += timedelta(minutes=1)
    await world.statement("f1", TODAY - DAY)
    await world.statement("f1", TODAY)

    await _next_day(world, TODAY)

    first, again, own = await _proofs(world)
    assert [each.proved for each in (first, again, own)] == [False, True, True]
    day = TODAY - DAY
    assert again.findings == (f"reopened: a statement from {day} to {day} was taken in on {TODAY}",)


async def test_a_match_undone_opens_its_days_again(world: World) -> None:
    await world.fund("f1", opening_minor=1_000)
    day = TODAY - DAY
    await world.line("f1", 500, day, reference="R1")
    await world.statement("f1", day, [{"amount_minor": 500, "reference": "R1"}])
    await _next_day(world, day)
    undone_at = world.now + timedelta(minutes=1)
    async with world.store.transaction(GATEWAY) as conn:
        await conn.execute(t.matches.update().values(undone_at=undone_at, kept_apart=True))
        for table in (t.bank_entries, t.disclosed_lines):
            matched = table.c.match_id.not_in(["", "opening"])
            await conn.execute(table.update().where(matched).values(match_id="", match_date=None))
    await world.statement("f1", TODAY)

    await _next_day(world, TODAY)

    _, again, own = await _proofs(world)
    assert (again.date, again.open_bank_minor, again.open_ledger_minor) == (day, 500, 500)
    assert again.proved
    assert again.findings == (f"reopened: a match of rows from {day} on was undone on {TODAY}",)
    assert own.findings == ()
    # taken apart by a person, the two are never paired again
    assert sorted(case["kind"] for case in await world.rows(t.cases)) == [
        "missing_in_ledger",
        "timing",
    ]


async def test_a_pair_whose_second_half_counts_later_makes_no_difference(world: World) -> None:
    await world.fund("f1", opening_minor=1_000)
    day = TODAY - DAY
    voided = await world.line("f1", -300, day)
    await world.line("f1", 300, TODAY, corrects=voided.line_number, void=True)
    await world.statement("f1", day)
    world.now = NOW

    await world.reconcile(day)

    (proof,) = await _proofs(world)
    assert (proof.open_ledger_minor, proof.difference_minor, proof.proved) == (-300, 0, True)


@pytest.mark.parametrize("late", ["bank", "ledger"])
async def test_a_decision_over_a_later_day_leaves_the_earlier_half_open_that_evening(
    world: World, late: str
) -> None:
    await world.fund("f1", opening_minor=1_000)
    days = {"bank": TODAY, "ledger": TODAY} | {late: TODAY + DAY}
    line = await world.line("f1", 500, days["ledger"])
    await world.statement("f1", TODAY, [{"amount_minor": 500}] if late != "bank" else [])
    if late == "bank":
        await world.statement("f1", TODAY + DAY, [{"amount_minor": 500}])
    (entry,) = await world.rows(t.bank_entries)
    await world.decide(
        "f1", {"bank": {entry["bank_entry_id"]: 500}, "ledger": {str(line.line_number): 500}}
    )

    await world.reconcile(TODAY)

    (proof,) = await _proofs(world)
    open_minor = (proof.open_bank_minor, proof.open_ledger_minor)
    assert open_minor == ((0, 500) if late == "bank" else (500, 0))
    assert (proof.difference_minor, proof.proved) == (0, True)
