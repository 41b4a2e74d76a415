"""Lost answers, repeated files, statements with holes: nothing is paid twice, nothing is lost."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.payments.deadlines import lose_track
from gateway.store import tables as t
from tests.gateway.counterparty.bridge import CLOSED
from tests.gateway.counterparty.scene import id_of, to_account
from tests.gateway.payments.desk import ask
from tests.gateway.support import OPENING_MINOR, TODAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.counterparty.scene import Scene

MONDAY = TODAY + timedelta(days=3)
_ANSWER_DUE = timedelta(hours=4)


@asynccontextmanager
async def deliveries_unrecorded(database_url: str) -> AsyncIterator[None]:
    """What goes out inside the block goes out, but that it did cannot be written down."""
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(
            """CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql
               AS $$ BEGIN RAISE EXCEPTION 'the database is gone'; END $$;
               CREATE TRIGGER lost BEFORE UPDATE ON transmissions FOR EACH ROW
               WHEN (NEW.delivered_at IS NOT NULL) EXECUTE FUNCTION lost()"""
        )
        yield
        await owner.execute("DROP TRIGGER lost ON transmissions; DROP FUNCTION lost()")
    finally:
        await owner.close()


async def _lost_delivery(scene: Scene, database_url: str, amount_minor: int) -> str:
    """A payment whose file the bank has, though nothing here says so."""
    name = await scene.desk.released(amount_minor)
    async with deliveries_unrecorded(database_url):
        assert await scene.desk.gateway.sender.send_all() == 0
    assert await scene.desk.state(name) == "RELEASED"
    assert scene.bank.take() == ["ACCP"]
    return name


async def test_what_a_silent_bank_was_given_is_unknown_and_never_sent_again(scene: Scene) -> None:
    desk, bank = scene.desk, scene.bank
    bank.behave("silent")
    names = [await desk.released(1_000), *await scene.pay_together([ask(100), ask(200)])]
    await scene.go_round()
    assert await desk.states(names) == ["SENT"] * 3

    desk.clock.moment += _ANSWER_DUE + timedelta(seconds=1)
    assert await lose_track(desk.store, desk.clock()) == 3

    assert await desk.states(names) == ["UNKNOWN"] * 3
    assert await scene.go_round() == []
    assert await desk.budget() == (0, 1_300)
    await scene.next_day()
    assert await desk.states(names) == ["SETTLED"] * 3
    assert bank.debits() == dict.fromkeys(map(id_of, names), 1)
    await scene.agrees()
    await scene.all_matched(TODAY)


async def test_what_a_silent_bank_never_booked_stays_unknown_and_open(scene: Scene) -> None:
    """Not to be in a statement is not to be rejected: a person must ask the bank."""
    desk, bank = scene.desk, scene.bank
    bank.behave("silent")
    name = (await scene.pay_together([to_account(CLOSED, 1_000)]))[0]
    assert await scene.go_round() == ["RJCT"]

    await scene.next_day(4)

    assert bank.debits() == {}
    assert (await desk.state(name), await scene.lines(name)) == ("UNKNOWN", [(-1_000, "")])
    assert await desk.budget() == (0, 1_000)
    run = await scene.reconcile(TODAY)
    (case,) = await scene.rows(t.cases, run_id=run.run_id, open=True)
    assert (case.cause, abs(case.amount_minor)) == ("in_transit", 1_000)


async def test_a_statement_that_is_read_before_the_answer_settles_all_the_same(
    scene: Scene,
) -> None:
    desk, bank = scene.desk, scene.bank
    names = await scene.pay_together([ask(100), to_account(CLOSED, 200)])
    await desk.gateway.work()
    bank.take()
    bank.days_pass()

    brought = bank.bring()
    await desk.gateway.work()

    kinds = [name[:8] for name in sorted(brought) if "wutong" in name]
    assert kinds == ["camt.053", "camt.054", "pain.002"], "the order in which they are read"
    assert await desk.states(names) == ["SETTLED", "REJECTED"]
    await scene.agrees()
    # The red line is of the day on which the rejection was read, a Saturday.
    await scene.next_day(3)
    await scene.all_matched(MONDAY)


async def test_a_file_that_the_bank_reads_twice_is_paid_once_and_not_rejected(
    scene: Scene,
) -> None:
    desk, bank = scene.desk, scene.bank
    name = await desk.released(1_000)
    assert await scene.go_round() == ["ACCP"]
    transmission = await desk.transmission(name)

    bank.repeat(f"{transmission.transmission_id}.xml")
    assert await scene.go_round() == ["RJCT DUPL"]

    assert await desk.state(name) == "ACCEPTED"
    await scene.next_day()
    assert (await desk.state(name), await scene.lines(name)) == ("SETTLED", [(-1_000, "")])
    await scene.agrees()
    await scene.all_matched(TODAY)


async def test_a_sender_that_dies_after_handing_over_does_not_hand_over_again(
    scene: Scene, database_url: str
) -> None:
    desk, bank = scene.desk, scene.bank
    name = await _lost_delivery(scene, database_url, 1_000)

    scene.desk.clock.moment += timedelta(minutes=11)  # another process goes on
    assert await scene.go_round() == []

    file_name = f"{(await desk.transmission(name)).transmission_id}.xml"
    copies = (bank.inbox / "processed", bank.folder / "audit")
    assert not (bank.inbox / "failed" / file_name).exists()
    assert len({(folder / file_name).read_bytes() for folder in copies}) == 1
    assert await desk.state(name) == "ACCEPTED"
    await scene.next_day()
    assert (await desk.state(name), await scene.lines(name)) == ("SETTLED", [(-1_000, "")])
    assert bank.debits() == {id_of(name): 1}
    await scene.agrees()


async def test_a_delivery_that_was_not_recorded_is_not_repeated_once_the_bank_has_answered(
    scene: Scene, database_url: str
) -> None:
    desk, bank = scene.desk, scene.bank
    name = await _lost_delivery(scene, database_url, 1_000)
    bank.bring()
    await desk.gateway.inbox.take_all()

    assert await scene.go_round() == []

    assert await desk.state(name) == "ACCEPTED"
    await scene.next_day()
    assert (await desk.state(name), await scene.lines(name)) == ("SETTLED", [(-1_000, "")])
    assert bank.debits() == {id_of(name): 1}
    await scene.agrees()


@pytest.mark.parametrize("bank", [{"allow_duplicates": True}], indirect=True)
async def test_a_bank_that_pays_a_repeated_file_twice_is_found_out_by_the_night(
    scene: Scene,
) -> None:
    desk, bank = scene.desk, scene.bank
    name = await desk.released(1_000)
    await scene.go_round()
    bank.repeat(f"{(await desk.transmission(name)).transmission_id}.xml")
    assert await scene.go_round() == ["ACCP"]

    await scene.next_day()

    assert bank.debits() == {id_of(name): 2}
    assert await scene.entries(name) == [-1_000, -1_000]
    assert (await desk.state(name), await scene.lines(name)) == ("SETTLED", [(-1_000, "")])
    run = await scene.reconcile(TODAY)
    (case,) = await scene.rows(t.cases, run_id=run.run_id, open=True)
    assert (case.kind, abs(case.amount_minor)) == ("duplicate_bank", 1_000)
    (_, proof) = await scene.rows(t.balance_proofs, run_id=run.run_id)
    assert (proof.open_bank_minor, proof.difference_minor) == (-1_000, 0)


async def test_a_statement_with_a_hole_is_set_aside_whole_and_the_gap_is_named(
    scene: Scene,
) -> None:
    desk, bank = scene.desk, scene.bank
    bank.behave("statement-gap")
    names = [await desk.released(1_000), await desk.released(2_000)]
    await scene.go_round()
    await scene.next_day()

    assert (await scene.set_aside())["camt.053 wutong"] == "STATEMENT_INCONSISTENT"
    assert await desk.states(names) == ["ACCEPTED"] * 2
    run = await scene.reconcile(TODAY)
    assert (run.counts.case_count, run.counts.unproved_account_count) == (2, 1)
    bank.behave("accept")
    await scene.next_day(3)

    (statement,) = await scene.rows(t.statements, fund_id="wutong")
    gap = "statement_gap: -3000 minor units are not explained since 2026-11-19"
    assert statement.findings == [gap]
    run = await scene.reconcile(MONDAY)
    (_, proof) = await scene.rows(t.balance_proofs, run_id=run.run_id)
    assert (proof.proved, proof.fund_id) == (False, "wutong")
    assert [finding.partition(":")[0] for finding in proof.findings] == ["discontinuous"]
    assert await desk.states(names) == ["ACCEPTED"] * 2
    assert bank.balance_minor() == OPENING_MINOR - 3_000


async def test_a_report_during_the_day_does_not_stand_in_the_way_of_the_days_statement(
    scene: Scene,
) -> None:
    """The bank tells of the day so far, on request, and in the evening of all of it."""
    desk, bank = scene.desk, scene.bank
    first = await desk.released(1_000)
    await scene.go_round()
    bank.ask("POST", "/_mock/accounts/wutong/report")
    bank.bring()
    await desk.gateway.work()
    second = await desk.released(2_000)
    await scene.go_round()

    await scene.next_day()

    assert await desk.states([first, second]) == ["SETTLED"] * 2
    assert [await scene.entries(name) for name in (first, second)] == [[-1_000], [-2_000]]
    await scene.agrees()
    await scene.all_matched(TODAY)
