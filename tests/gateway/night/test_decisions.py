"""What persons decided is never computed again; a rule that they take back too often is demoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import GATEWAY
from gateway.store import tables as t
from reconciliation.rules import RuleRecord, Rules
from tests.gateway.night.world import DAY, NOW, TODAY

if TYPE_CHECKING:
    from tests.gateway.night.world import World

ID_ONLY = Rules(automatic=("own_id",))


async def _ids(world: World, table: Any, name: str) -> list[str]:
    return [str(row[name]) for row in await world.rows(table)]


async def test_what_a_decision_left_of_a_row_is_open_and_nothing_else(world: World) -> None:
    await world.fund()
    line = await world.line("f1", 60, TODAY)
    (entry,) = await world.statement("f1", TODAY, [{"amount_minor": 100, "text": "物业费"}])
    await world.decide("f1", {"bank": {entry: 60}, "ledger": {str(line.line_number): 60}})

    run = await world.reconcile()

    (case,) = await world.rows(t.cases)
    assert (case["kind"], case["amount_minor"], case["weight_minor"]) == (
        "missing_in_ledger",
        40,
        40,
    )
    assert [match["status"] for match in await world.rows(t.matches)] == ["decided"]
    assert (run.counts.matched_line_count, run.counts.case_count) == (0, 1)
    proof = await world.one(t.balance_proofs)
    assert (proof["open_bank_minor"], proof["difference_minor"], proof["proved"]) == (40, 0, True)


async def test_the_rest_of_a_row_is_matched_by_a_later_line(world: World) -> None:
    await world.fund()
    line = await world.line("f1", 60, TODAY)
    more = {"counterparty_name": "王芳"}
    (entry,) = await world.statement("f1", TODAY, [{"amount_minor": 100, **more}])
    await world.decide("f1", {"bank": {entry: 60}, "ledger": {str(line.line_number): 60}})
    rest = await world.line("f1", 40, TODAY, **more)

    await world.reconcile()

    members = await world.rows(t.match_members)
    automatic = [row for row in members if row["made_by"].startswith("run-")]
    assert {(row["side"], row["member_id"], row["allocated_minor"]) for row in automatic} == {
        ("bank", entry, 40),
        ("ledger", str(rest.line_number), 40),
    }
    assert (await world.one(t.bank_entries))["match_id"] == automatic[0]["match_id"]
    assert (await world.one(t.balance_proofs))["difference_minor"] == 0


async def test_a_partner_that_other_decisions_had_a_part_of_is_no_open_item_again(
    world: World,
) -> None:
    await world.fund()
    line = await world.line("f1", 100, TODAY)
    first, second = await world.statement("f1", TODAY, [{"amount_minor": 40}, {"amount_minor": 90}])
    number = str(line.line_number)
    await world.decide("f1", {"bank": {first: 40}, "ledger": {number: 40}}, "d1")
    await world.decide("f1", {"bank": {second: 60}, "ledger": {number: 60}}, "d2")

    await world.reconcile()

    (case,) = await world.rows(t.cases)
    assert case["amount_minor"] == 30
    assert (await world.one(t.balance_proofs))["difference_minor"] == 0


async def test_rows_that_a_resolution_keeps_apart_are_never_paired(world: World) -> None:
    await world.fund()
    line = await world.line("f1", 500, TODAY, reference="R1")
    (entry,) = await world.statement("f1", TODAY, [{"amount_minor": 500, "reference": "R1"}])
    await world.keep_apart("f1", {"bank": entry, "ledger": str(line.line_number)})

    await world.reconcile()

    assert await world.rows(t.matches) == []
    found = [case for case in await world.rows(t.cases) if case["open"]]
    assert len(found) == 2


async def test_only_what_the_match_settled_is_noted_as_settled_by_it(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY, reference="R1")
    await world.line("f1", 700, TODAY, reference="R2")
    async with world.store.transaction(GATEWAY) as conn:
        already = t.disclosed_lines.c.amount_minor == 700
        await conn.execute(
            t.disclosed_lines.update()
            .where(already)
            .values(settled=True, bank_value_date=TODAY - DAY)
        )
        await conn.execute(t.books.update().values(pending_in_minor=500))
    entries = [{"amount_minor": 500, "reference": "R1"}, {"amount_minor": 700, "reference": "R2"}]
    await world.statement("f1", TODAY, entries)

    await world.reconcile()

    members = await world.rows(t.match_members, side="ledger")
    assert {row["member_id"]: row["settled_here"] for row in members} == {"1": True, "2": False}
    lines = await world.rows(t.disclosed_lines)
    days = {row["line_number"]: row["bank_value_date"] for row in lines}
    assert days == {1: TODAY, 2: TODAY - DAY}
    assert {book["pending_in_minor"] for book in await world.rows(t.books, book="COMMON")} == {0}


async def test_each_turn_of_a_case_is_on_record(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY - 6 * DAY, reference="R1")
    first = await world.reconcile(TODAY - DAY)
    second = await world.reconcile(TODAY)
    (entry,) = await world.statement("f1", TODAY, [{"amount_minor": 500, "reference": "R1"}])
    third = await world.reconcile(TODAY)
    async with world.store.transaction(GATEWAY) as conn:
        await conn.execute(t.matches.update().values(undone_at=NOW, kept_apart=True))
        for table in (t.bank_entries, t.disclosed_lines):
            await conn.execute(table.update().values(match_id="", match_date=None))
    fourth = await world.reconcile(TODAY)

    line_case = (await world.rows(t.case_members, side="ledger"))[0]["case_id"]
    events = [
        (row["kind"], row["actor"], row["detail"])
        for row in await world.rows(t.case_events, case_id=line_case)
    ]
    actors = [f"reconciliationRuns/{run.run_id}" for run in (first, second, third, fourth)]
    renamed = "timing/in_transit → missing_in_bank/overdue"
    assert events == [
        ("FOUND", actors[0], ""),
        ("RENAMED", actors[1], renamed),
        ("CLOSED", actors[2], ""),
        ("REOPENED", actors[3], ""),
    ]
    case = await world.one(t.cases, case_id=line_case)
    assert (case["open"], case["closed_at"], case["closed_by"]) == (True, None, "")
    assert entry


async def test_what_a_person_noted_on_a_case_outlives_the_night(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY - 6 * DAY)
    await world.reconcile(TODAY - DAY)
    noted = {"assignee": "parties/p/persons/q", "due_date": TODAY, "at_bank": True}
    async with world.store.transaction(GATEWAY) as conn:
        await conn.execute(t.cases.update().values(**noted, wait_until=TODAY + DAY))
    before = await world.one(t.cases)

    await world.reconcile(TODAY)

    after = await world.one(t.cases)
    kept = ("case_id", "opened_at", "assignee", "due_date", "at_bank", "wait_until")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["kind"], after["open"]) == ("missing_in_bank", True)
    assert after["version"] == before["version"] + 1


# --- rules that are wrong too often ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "reversed_", "fallen"),
    [(1_000_000, 100, False), (1_000_000, 101, True), (2, 1, False), (3, 2, True), (0, 0, False)],
)
def test_a_rule_falls_above_its_limit_and_never_by_one_reversal(
    made: int, reversed_: int, fallen: bool
) -> None:
    demoted = Rules().demoted([RuleRecord("1", "reference", made, reversed_)])
    assert demoted == (("reference",) if fallen else ())


@given(
    st.lists(
        st.builds(
            RuleRecord,
            st.just("1"),
            st.sampled_from(["own_id", "returns", "pin"]),
            *[st.integers(0, 99)] * 2,
        )
    )
)
def test_what_falls_was_automatic_and_is_no_longer(records: list[RuleRecord]) -> None:
    rules = Rules()
    demoted = rules.demoted(records)
    assert set(demoted) <= set(rules.automatic)
    left = rules.without_automatic(demoted)
    assert set(left.automatic) == set(rules.automatic) - set(demoted)
    assert left.demoted(records) == ()


async def _reference_pairs(world: World, day: Any, count: int) -> None:
    entries = []
    for number in range(count):
        reference = f"R{day}{number}"
        await world.line("f1", 500 + number, day, reference=reference)
        entries.append({"amount_minor": 500 + number, "reference": reference})
    await world.statement("f1", day, entries)


async def test_a_rule_that_persons_took_back_twice_only_proposes_from_then_on(
    world: World,
) -> None:
    await world.fund()
    await _reference_pairs(world, TODAY - DAY, 3)
    first = await world.reconcile(TODAY - DAY)
    async with world.store.transaction(GATEWAY) as conn:
        some = t.matches.c.match_id.in_((await _ids(world, t.matches, "match_id"))[:2])
        await conn.execute(t.matches.update().where(some).values(kept_apart=True, undone_at=NOW))
    await _reference_pairs(world, TODAY, 1)

    second = await world.reconcile(TODAY)

    assert (first.demoted_rules, second.demoted_rules) == ((), ("reference",))
    assert second.counts.matched_line_count == 0
    assert "proposed_reference" in await _ids(world, t.cases, "cause")
    assert first.rules_version == second.rules_version


async def test_new_rules_begin_with_a_clean_record(world: World) -> None:
    await world.fund()
    await _reference_pairs(world, TODAY - DAY, 3)
    await world.reconcile(TODAY - DAY)
    async with world.store.transaction(GATEWAY) as conn:
        await conn.execute(t.matches.update().values(kept_apart=True, undone_at=NOW))

    run = await world.nights(rules=Rules(version="new")).run(TODAY, "new")

    assert run.demoted_rules == ()


async def test_a_sum_is_written_with_what_its_search_saw(world: World) -> None:
    await world.fund()
    for amount in (1_237, 2_291, 4_583):
        await world.line("f1", amount, TODAY)
    await world.statement("f1", TODAY, [{"amount_minor": 1_237 + 2_291 + 4_583}])

    await world.reconcile()

    case_or_match = [*await world.rows(t.matches), *await world.rows(t.cases)]
    (told,) = [row for row in case_or_match if row["states"]]
    assert told["ledger_candidates"] == 3
    assert told["expected_accidents"] != ""
