"""The night over a real database: what it pairs, names, proves, and leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.domain.errors import GatewayError, Reason
from gateway.night import record, writing
from gateway.night.outcome import Counts
from gateway.night.record import Lease
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.night.world import DAY, NOW, TODAY, World

if TYPE_CHECKING:
    from datetime import date


_KEPT = (
    t.matches,
    t.match_members,
    t.cases,
    t.case_members,
    t.disclosed_lines,
    t.bank_entries,
    t.books,
)


async def _state(world: World) -> dict[str, Any]:
    """All that runs change, but for which run it was and what that one had before it."""
    rows = {table.name: await world.rows(table) for table in _KEPT}
    for row in rows["cases"]:
        for name in ("run_id", "bank_candidates", "ledger_candidates", "runner_up"):
            del row[name]
    return rows


async def test_a_receipt_and_its_entry_are_matched_and_the_line_is_settled(world: World) -> None:
    await world.fund()
    line = await world.line("f1", 500, TODAY, reference="R1")
    (entry,) = await world.statement("f1", TODAY, [{"amount_minor": 500, "reference": "r-1"}])

    run = await world.reconcile()

    booked = await world.one(t.disclosed_lines, line_number=line.line_number)
    seen = await world.one(t.bank_entries, bank_entry_id=entry)
    assert booked["match_id"] == seen["match_id"] != ""
    assert booked["match_date"] == seen["match_date"] == TODAY
    assert (booked["settled"], booked["bank_value_date"]) == (True, TODAY)
    assert [row["rule"] for row in await world.rows(t.matches)] == ["reference"]
    assert (await world.one(t.books, book="COMMON"))["pending_in_minor"] == 0
    assert run.state == "DONE"
    assert run.counts == Counts(1, 1, 1, 1, 0, 1, 0)


async def test_the_banks_own_value_date_is_the_lines(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY, reference="R1")
    entry = {"amount_minor": 500, "reference": "R1", "value_date": TODAY - DAY}
    await world.statement("f1", TODAY, [entry])

    await world.reconcile()

    assert (await world.one(t.disclosed_lines))["bank_value_date"] == TODAY - DAY


async def _busy_fund(world: World) -> None:
    """Each kind of item: matched, batch, fee, unknown receipt, repeat, in transit, void, tie."""
    await world.fund("f1", opening_minor=100_000)
    for payment in ("p1", "p2"):
        await world.line("f1", -300, TODAY, payment_id=payment, batch_id="b1")
    await world.line("f1", -700, TODAY, payment_id="p3")
    voided = await world.line("f1", 55, TODAY)
    await world.line("f1", -55, TODAY, corrects=voided.line_number, void=True)
    await world.line("f1", 900, TODAY, reference="late")
    for _ in range(2):
        await world.line("f1", 20, TODAY)
    repeated = {"amount_minor": -700, "end_to_end_id": "p3"}
    await world.statement(
        "f1",
        TODAY,
        [
            {"amount_minor": -600, "batch_id": "b1"},
            repeated,
            repeated,
            {"amount_minor": -5, "text": "手续费"},
            {"amount_minor": 123, "reference": "who"},
            {"amount_minor": 20},
            {"amount_minor": 20},
        ],
    )


async def test_each_open_item_is_in_one_open_case_and_the_proof_is_zero(world: World) -> None:
    await _busy_fund(world)

    run = await world.reconcile()

    cases = await world.rows(t.cases)
    assert sorted((case["kind"], case["cause"]) for case in cases) == [
        ("ambiguous", "proposed_equal_amounts"),
        ("duplicate_bank", "repeated_entry"),
        ("missing_in_ledger", "bank_fee"),
        ("missing_in_ledger", "unidentified_receipt"),
        ("timing", "in_transit"),
    ]
    members = sorted((row["side"], row["member_id"]) for row in await world.rows(t.case_members))
    open_lines = [
        ("ledger", str(row["line_number"]))
        for row in await world.rows(t.disclosed_lines, match_id="")
    ]
    open_entries = [
        ("bank", row["bank_entry_id"]) for row in await world.rows(t.bank_entries, match_id="")
    ]
    assert members == sorted(open_lines + open_entries)
    proof = await world.one(t.balance_proofs)
    assert (proof["difference_minor"], proof["proved"], proof["findings"]) == (0, True, [])
    assert run.counts.case_count == len(cases)


async def test_a_second_run_changes_nothing(world: World) -> None:
    await _busy_fund(world)
    first = await world.reconcile()
    before = await _state(world)

    second = await world.reconcile()
    third = await world.reconcile(TODAY)

    assert await _state(world) == before
    assert second.counts.matched_bank_entry_count == 0
    assert second.counts.case_count == first.counts.case_count
    assert second.input_digest == third.input_digest != first.input_digest


async def test_a_repeat_that_comes_a_night_later_is_known_as_one(world: World) -> None:
    await world.fund()
    await world.line("f1", -700, TODAY - DAY, payment_id="p3")
    await world.statement("f1", TODAY - DAY, [{"amount_minor": -700, "end_to_end_id": "p3"}])
    await world.reconcile(TODAY - DAY)
    await world.statement("f1", TODAY, [{"amount_minor": -700, "end_to_end_id": "p3"}])

    await world.reconcile()

    assert (await world.one(t.cases))["kind"] == "duplicate_bank"


async def test_a_return_is_matched_with_the_correction_line(world: World) -> None:
    await world.fund("f1", opening_minor=1_000)
    paid = await world.line("f1", -700, TODAY - DAY, payment_id="p3")
    await world.statement("f1", TODAY - DAY, [{"amount_minor": -700, "end_to_end_id": "p3"}])
    await world.reconcile(TODAY - DAY)
    back = {"amount_minor": 700, "end_to_end_id": "p3", "reversal": True}
    await world.statement("f1", TODAY, [back])
    await world.line("f1", 700, TODAY, payment_id="p3", corrects=paid.line_number)

    await world.reconcile()

    assert await world.rows(t.cases) == []
    assert (await world.one(t.balance_proofs, date=TODAY))["proved"]


async def test_nothing_is_paired_across_funds(world: World) -> None:
    await world.fund("f1")
    await world.fund("f2")
    await world.line("f1", 500, TODAY, payment_id="p1", reference="R1")
    await world.statement(
        "f2", TODAY, [{"amount_minor": 500, "end_to_end_id": "p1", "reference": "R1"}]
    )

    await world.reconcile()

    assert await world.rows(t.matches) == []
    cases = await world.rows(t.cases)
    assert [(case["fund_id"], case["kind"], case["amount_minor"]) for case in cases] == [
        ("f1", "wrong_account", -500),
        ("f2", "wrong_account", 500),
    ]
    members = await world.rows(t.case_members)
    assert [(row["fund_id"], row["side"]) for row in members] == [("f1", "ledger"), ("f2", "bank")]


async def test_what_counts_for_a_later_day_is_left_alone(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY, reference="R1")
    await world.statement("f1", TODAY - DAY)
    await world.statement("f1", TODAY, [{"amount_minor": 500, "reference": "R1"}])

    run = await world.reconcile(TODAY - DAY)

    assert (run.counts.bank_entry_count, run.counts.line_count) == (0, 0)
    assert (await world.one(t.balance_proofs))["ledger_minor"] == 0


async def test_a_line_that_ages_out_of_transit_stays_the_same_case(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY - 6 * DAY)
    await world.reconcile(TODAY - DAY)
    young = await world.one(t.cases)

    await world.reconcile(TODAY)

    old = await world.one(t.cases)
    assert (young["kind"], old["kind"]) == ("timing", "missing_in_bank")
    assert old["case_id"] == young["case_id"]
    assert old["run_id"] != young["run_id"]


async def test_a_case_closes_when_its_partner_comes_and_stays_on_record(world: World) -> None:
    await world.fund()
    await world.line("f1", 500, TODAY - DAY, reference="R1")
    await world.reconcile(TODAY - DAY)
    await world.statement("f1", TODAY, [{"amount_minor": 500, "reference": "R1"}])

    await world.reconcile(TODAY)

    assert (await world.one(t.cases))["open"] is False


async def test_a_day_without_a_statement_is_not_proved(world: World) -> None:
    await world.fund("f1", opening_minor=100)
    await world.statement("f1", TODAY - DAY)

    await world.reconcile()

    proof = await world.one(t.balance_proofs)
    assert (proof["bank_closing_minor"], proof["difference_minor"]) == (100, 0)
    assert not proof["proved"]
    assert [finding.split(":")[0] for finding in proof["findings"]] == ["statement_missing"]


async def test_an_account_without_any_statement_is_not_proved(world: World) -> None:
    await world.fund("f1", opening_minor=100)

    run = await world.reconcile()

    proof = await world.one(t.balance_proofs)
    assert (proof["bank_closing_minor"], proof["proved"]) == (100, False)
    assert (run.counts.proved_account_count, run.counts.unproved_account_count) == (0, 1)


async def test_a_statement_that_does_not_follow_on_the_one_before_is_found(world: World) -> None:
    await world.fund("f1", opening_minor=100)
    await world.statement("f1", TODAY - DAY)
    await world.statement("f1", TODAY, opening_minor=130, closing_minor=130)

    await world.reconcile()

    proof = await world.one(t.balance_proofs)
    assert proof["difference_minor"] == 30
    assert [finding.split(":")[0] for finding in proof["findings"]] == ["discontinuous"]


async def test_a_statement_that_got_in_twice_is_found(world: World) -> None:
    await world.fund("f1", opening_minor=100)
    once = {"opening_minor": 100, "closing_minor": 105}
    for _ in range(2):
        await world.statement("f1", TODAY, [{"amount_minor": 5}], **once)

    await world.reconcile()

    proof = await world.one(t.balance_proofs)
    assert not proof["proved"]
    assert f"duplicate_statement: the statement to {TODAY} is there twice" in proof["findings"]


async def test_entries_that_do_not_make_the_closing_balance_are_found(world: World) -> None:
    await world.fund("f1", opening_minor=100)
    await world.statement("f1", TODAY, [{"amount_minor": 5}], closing_minor=100)

    await world.reconcile()

    proof = await world.one(t.balance_proofs)
    assert (proof["difference_minor"], proof["proved"]) == (-5, False)
    assert [finding.split(":")[0] for finding in proof["findings"]] == ["inconsistent"]


async def test_a_day_before_a_reconciled_one_is_refused(world: World) -> None:
    await world.reconcile(TODAY)

    with pytest.raises(GatewayError) as refused:
        await world.reconcile(TODAY - DAY)

    assert refused.value.reason is Reason.FIELD_INVALID
    assert [run["state"] for run in await world.rows(t.runs)] == ["DONE"]


async def test_a_day_that_has_not_come_is_refused(world: World) -> None:
    with pytest.raises(GatewayError) as refused:
        await world.reconcile(TODAY + DAY)

    assert refused.value.violations[0].field == "date"
    assert await world.rows(t.runs) == []


async def test_a_second_runner_is_refused_while_the_first_one_runs(world: World) -> None:
    async with record.only_runner(world.store):
        with pytest.raises(GatewayError) as refused:
            await world.reconcile()

    assert refused.value.reason is Reason.RUN_IN_PROGRESS
    assert (await world.reconcile()).state == "DONE"


async def test_a_run_that_left_no_input_behind_is_marked_failed_by_the_next(world: World) -> None:
    await _left_behind(world, "dead", TODAY)

    await world.reconcile(run_id="next")

    states = {run["run_id"]: run["state"] for run in await world.rows(t.runs)}
    assert states == {"dead": "FAILED", "next": "DONE"}


async def _left_behind(world: World, run_id: str, day: date) -> None:
    async with world.store.transaction(GATEWAY) as conn:
        await record.begin(
            conn,
            Lease(run_id, "gone"),
            day=day,
            rules_version="v",
            engine="local",
            demoted=(),
            now=NOW,
        )


async def test_a_run_that_breaks_off_leaves_only_its_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _busy_fund(world)
    before = await _state(world)
    real = writing.write

    async def write_then_break(*given: Any) -> None:
        await real(*given)
        raise ConnectionError("gone")

    monkeypatch.setattr(writing, "write", write_then_break)
    with pytest.raises(ConnectionError):
        await world.reconcile()

    assert await _state(world) == before
    assert [run["state"] for run in await world.rows(t.runs)] == ["FAILED"]
    assert await world.rows(t.balance_proofs) == []


async def test_a_line_closed_while_the_run_reads_is_left_to_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.fund()
    line = await world.line("f1", 500, TODAY, reference="R1")
    await world.line("f1", 70, TODAY, reference="R2")
    entries = [{"amount_minor": 500, "reference": "R1"}, {"amount_minor": 70, "reference": "R2"}]
    await world.statement("f1", TODAY, entries)
    real = writing.write

    async def void_first(*given: Any) -> None:
        await world.line("f1", -500, TODAY, corrects=line.line_number, void=True)
        await real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(writing, "write", void_first)
        run = await world.reconcile()

    assert (run.state, run.counts.matched_line_count) == ("DONE", 1)
    assert len(await world.rows(t.matches)) == 1
    assert (await world.one(t.run_shards))["counts"]["left_out"] == 1
    await world.reconcile()
    assert [case["kind"] for case in await world.rows(t.cases)] == ["missing_in_ledger"]


async def test_a_run_whose_owner_was_taken_over_writes_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _busy_fund(world)
    before = await _state(world)
    real = writing.write

    async def lose_it_first(*given: Any) -> None:
        async with world.store.transaction(GATEWAY) as conn:
            await conn.execute(t.runs.update().values(owner="another"))
        await real(*given)

    monkeypatch.setattr(writing, "write", lose_it_first)
    with pytest.raises(GatewayError) as refused:
        await world.reconcile()

    assert refused.value.reason is Reason.RUN_IN_PROGRESS
    assert await _state(world) == before
    assert (await world.one(t.runs))["state"] == "RUNNING"
