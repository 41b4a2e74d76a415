"""Whatever is booked, imported and reconciled: nothing is lost and nothing is made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.balances import fund_balance
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.ledger.sums import check_sums
from tests.gateway.night.world import DAY, TODAY, World, copy_of

_AMOUNTS = st.sampled_from([-900, -300, -1, 1, 300, 500, 999])
_BOOKS = st.sampled_from(["COMMON", "MAINTENANCE"])
_REFERENCES = st.sampled_from(["", "R1", "R2", "r-1"])
_DAYS = st.integers(0, 8)


@dataclass(frozen=True)
class Booked:
    """A line; where `taken_back`, its correction follows at once."""

    amount_minor: int
    book: str
    reference: str
    age_days: int
    taken_back: bool


@dataclass(frozen=True)
class Imported:
    """A statement of one day with entries of these amounts and references."""

    entries: list[tuple[int, str]]


@dataclass(frozen=True)
class Night:
    """A run up to today."""


_EVENTS = st.lists(
    st.one_of(
        st.builds(Booked, _AMOUNTS, _BOOKS, _REFERENCES, _DAYS, st.booleans()),
        st.builds(Imported, st.lists(st.tuples(_AMOUNTS, _REFERENCES), max_size=4)),
        st.builds(Night),
    ),
    max_size=12,
)


async def _apply(world: World, fund_id: str, event: Booked | Imported | Night) -> None:
    match event:
        case Booked():
            more: dict[str, Any] = {"book": event.book, "reference": event.reference}
            day = TODAY - event.age_days * DAY
            posted = await world.line(fund_id, event.amount_minor, day, **more)
            if event.taken_back:
                more |= {"corrects": posted.line_number, "void": True}
                await world.line(fund_id, -event.amount_minor, TODAY, **more)
        case Imported():
            entries = [{"amount_minor": a, "reference": r} for a, r in event.entries]
            await world.statement(fund_id, TODAY, entries)
        case Night():
            await world.reconcile()


async def _check(world: World, fund_id: str) -> None:
    """The invariants of the ledger, then those of the disclosed book."""
    lines = await world.rows(t.disclosed_lines, fund_id=fund_id)
    postings = await world.rows(t.postings, fund_id=fund_id)
    entries = await world.rows(t.entries, fund_id=fund_id)
    kinds = {
        kind: sum(row["amount_minor"] for row in postings if row["account_kind"] == kind)
        for kind in ("BANK", "TRANSIT", "BOOK")
    }
    disclosed = sum(line["amount_minor"] for line in lines)
    async with world.store.transaction(GATEWAY) as conn:
        now = await fund_balance(conn, fund_id, None)
        then = await fund_balance(conn, fund_id, TODAY)
    assert kinds["BANK"] + kinds["TRANSIT"] == -kinds["BOOK"] == disclosed
    assert (now.bank_minor, now.transit_minor) == (kinds["BANK"], kinds["TRANSIT"])
    assert (then.bank_minor, then.transit_minor) == (now.bank_minor, now.transit_minor)
    assert [(b.book, b.total_minor, b.pending_minor) for b in then.books] == [
        (b.book, b.total_minor, b.pending_minor) for b in now.books
    ]
    assert [line["line_number"] for line in lines] == list(range(1, len(lines) + 1))
    assert [entry["entry_number"] for entry in entries] == list(range(1, len(entries) + 1))
    sums = accumulate(line["amount_minor"] for line in lines)
    assert [line["running_minor"] for line in lines] == list(sums)
    await check_sums(world.store)


async def _check_night(world: World, fund_id: str) -> None:
    """Every open item is in one open case, every match adds up, every proof is zero."""
    run = await world.reconcile()
    cases = await world.rows(t.cases, fund_id=fund_id, open=True)
    found = {case["case_id"] for case in cases}
    members = [
        (row["side"], row["member_id"])
        for row in await world.rows(t.case_members, fund_id=fund_id)
        if row["case_id"] in found
    ]
    lines = await world.rows(t.disclosed_lines, fund_id=fund_id, match_id="")
    entries = await world.rows(t.bank_entries, fund_id=fund_id, match_id="")
    expected = [("ledger", str(line["line_number"])) for line in lines]
    expected += [("bank", entry["bank_entry_id"]) for entry in entries]
    assert sorted(members) == sorted(expected)
    assert {case["run_id"] for case in cases} <= {run.run_id}
    signs = {"bank": 1, "ledger": -1}
    sums: dict[str, int] = {}
    for row in await world.rows(t.match_members, fund_id=fund_id):
        moved = signs[row["side"]] * row["allocated_minor"]
        sums[row["match_id"]] = sums.get(row["match_id"], 0) + moved
    assert set(sums.values()) <= {0}
    proof = await world.one(t.balance_proofs, fund_id=fund_id, run_id=run.run_id)
    if await world.rows(t.statements, fund_id=fund_id):
        assert proof["difference_minor"] == 0


@settings(max_examples=12, deadline=None)
@given(_EVENTS)
def test_books_bank_and_cases_agree_after_any_day(
    template_url: str, events: list[Booked | Imported | Night]
) -> None:
    async def live() -> None:
        async with copy_of(template_url) as world:
            await world.fund("f1", opening_minor=700)
            for event in events:
                await _apply(world, "f1", event)
                await _check(world, "f1")
            await _check_night(world, "f1")
            await _check(world, "f1")

    asyncio.run(live())


@settings(max_examples=8, deadline=None)
@given(_EVENTS, _EVENTS)
def test_new_data_never_undoes_a_match(
    template_url: str,
    before: list[Booked | Imported | Night],
    after: list[Booked | Imported | Night],
) -> None:
    async def live() -> None:
        async with copy_of(template_url) as world:
            await world.fund("f1", opening_minor=700)
            for event in before:
                await _apply(world, "f1", event)
            await world.reconcile()
            kept = await world.rows(t.match_members)
            for event in after:
                await _apply(world, "f1", event)
            await world.reconcile()
            later = await world.rows(t.match_members)
            assert [row for row in later if row in kept] == kept

    asyncio.run(live())
