"""Anything in any order: bookings, nights, and people who decide and change their minds.

After every step bank, books, lines, matches and open items must agree to the fen.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway.cases.actor import Actor
from gateway.cases.approve import approve, reject
from gateway.cases.even import Part
from gateway.cases.plan import Ask, Posting
from gateway.cases.policy import CasePolicy
from gateway.cases.propose import Read, propose, withdraw
from gateway.cases.rows import Key
from gateway.cases.undo import undo_match, undo_resolution, undo_run
from gateway.domain.errors import GatewayError
from gateway.domain.party import Role
from gateway.ledger.writer import LineDraft, lock_fund, post_line, void_line
from gateway.registry import parties
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.cases.desk import check_books
from tests.gateway.night.world import DAY, NOW, TODAY, World, copy_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_FUND: Final = "f1"
_POLICY: Final = CasePolicy()

_WHICH = st.integers(0, 1_000)
_AMOUNTS = st.sampled_from([-500, -300, 301, 300, 500, 501, None])
_BOOKED = st.lists(
    st.tuples(_AMOUNTS, _AMOUNTS, st.sampled_from(["", "R1", "R2", "R3"])), min_size=1, max_size=4
)
_SCENE: Final = [
    *((300, 300, "R1"), (501, 500, "R2"), (-301, -300, "R3"), (-500, None, "")),
    *((500, 300, ""), (None, 500, ""), (300, None, ""), (300, 501, "")),
]
"""What a machine begins with: a match, differences, a charge, and rows that may be anything."""
_MINDS = st.sampled_from(
    ["A_PART", "A_PART", "MATCH", "ADJUST", "WRITE_OFF", "KEEP_APART", "WAIT", "SEND_BACK"]
)


def _person(person_id: str, *roles: Role) -> Actor:
    return Actor("trustee", person_id, person_id, frozenset(roles), NOW)


MAKER: Final = _person("maker", Role.TRUSTEE_MAKER)
CHECKER: Final = _person("checker", Role.TRUSTEE_CHECKER)


class Machine(RuleBasedStateMachine):
    """One fund, one account, two persons."""

    def __init__(self, template_url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.voided: set[Key] = set()
        self.world: World = self.runner.run(self.stack.enter_async_context(copy_of(template_url)))

    @initialize()
    def begin(self) -> None:
        self.runner.run(self.world.fund(_FUND, opening_minor=100_000))
        for actor in (MAKER, CHECKER):
            self._do(
                partial(
                    parties.create_person,
                    party_id="trustee",
                    person_id=actor.person_id,
                    display_name="某人",
                    natural_person=actor.natural_person,
                    roles=sorted(actor.roles),
                    now=NOW,
                )
            )
        self.book(_SCENE)
        self.runner.run(self.world.reconcile())

    def _do(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """In one transaction; a refusal is an answer like any other, a defect is not."""

        async def transact() -> Any:
            try:
                async with self.world.store.transaction(GATEWAY) as conn:
                    return await work(conn)
            except GatewayError:
                return None

        return self.runner.run(transact())

    def _rows(self, table: Any, **equal: Any) -> list[dict[str, Any]]:
        return self.runner.run(self.world.rows(table, fund_id=_FUND, **equal))

    def _pick(self, rows: list[dict[str, Any]], which: int) -> dict[str, Any] | None:
        return rows[which % len(rows)] if rows else None

    # --- bank and ledger ------------------------------------------------------------------------

    @rule(booked=_BOOKED)
    def book(self, booked: list[tuple[int | None, int | None, str]]) -> None:
        """Entries and lines, some of which belong together and some of which do not."""
        entries = []
        for entry_minor, line_minor, reference in booked:
            if entry_minor is not None:
                entries.append({"amount_minor": entry_minor, "reference": reference})
            if line_minor is not None:
                line = self.world.line(_FUND, line_minor, TODAY, reference=reference)
                self.runner.run(line)
        self.runner.run(self.world.statement(_FUND, TODAY, entries))

    @rule(which=_WHICH)
    def correct_by_hand(self, which: int) -> None:
        """As PostEntry does it."""
        lines = [x for x in self._rows(t.disclosed_lines) if x["corrected_by"] is None]
        line = self._pick([x for x in lines if x["match_id"] != "opening"], which)
        if line is None or line["corrects"] is not None:
            return
        draft = LineDraft(
            line["account_id"],
            line["book"],
            line["category"],
            line["summary"],
            amount_minor=-line["amount_minor"],
            effective_date=TODAY,
            corrects=line["line_number"],
            correction_reason="更正",
        )

        async def work(conn: Any) -> None:
            await lock_fund(conn, _FUND)
            await (post_line if line["settled"] else void_line)(conn, _FUND, draft, NOW)
            self.voided.add(Key("ledger", str(line["line_number"])))

        self._do(work)

    @rule()
    def night(self) -> None:
        before = self._decided()
        run = self.runner.run(self.world.reconcile())
        assert self._decided() == before
        self._each_open_row_is_in_one_case()
        proofs = self._rows(t.balance_proofs, run_id=run.run_id)
        assert {proof["difference_minor"] for proof in proofs} == {0}
        apart = {m["match_id"] for m in self._rows(t.matches, kept_apart=True)}
        made = self._rows(t.matches, made_by=run.run_id)
        assert apart.isdisjoint(match["match_id"] for match in made)

    def _decided(self) -> list[Any]:
        """All that people decided: matches, and their members."""
        matches = self._rows(t.matches, status="decided")
        return [matches, [self._rows(t.match_members, made_by=m["made_by"]) for m in matches]]

    def _each_open_row_is_in_one_case(self) -> None:
        cases = {case["case_id"] for case in self._rows(t.cases, open=True)}
        found = Counter(
            (row["side"], row["member_id"])
            for row in self._rows(t.case_members)
            if row["case_id"] in cases
        )
        for side, member_id in self._open_keys():
            assert found[side, member_id] == 1

    def _open_keys(self) -> list[Key]:
        entries = self._rows(t.bank_entries, match_id="")
        lines = self._rows(t.disclosed_lines, match_id="")
        return [
            *(Key("bank", row["bank_entry_id"]) for row in entries),
            *(Key("ledger", str(row["line_number"])) for row in lines),
        ]

    # --- people ---------------------------------------------------------------------------------

    @rule(which=_WHICH, mind=_MINDS, most=st.integers(1, 500), approved=st.booleans())
    def decide(self, which: int, mind: str, most: int, *, approved: bool) -> None:
        """About a case as it is, or about a part of one of its rows and a row of the other side."""
        case = self._pick(self._rows(t.cases, open=True), which)
        if case is None:
            return
        ask = self._pair(case, which, most) if mind == "A_PART" else self._ask(mind)
        read = Read(_FUND, case["case_id"], str(case["version"]))
        proposed = self._do(lambda conn: propose(conn, _POLICY, read, ask, MAKER))
        if approved and proposed is not None:
            self._approve(proposed.resolution_id)

    def _ask(self, action: str) -> Ask:
        posts = action == "ADJUST"
        posting = Posting("COMMON", "银行手续费", "手续费") if posts else None
        until = TODAY + DAY if action == "WAIT" else None
        return Ask(action, "so it was", posting=posting, wait_until=until)

    def _pair(self, case: dict[str, Any], which: int, most_minor: int) -> Ask:
        open_keys = self._open_keys()
        own = next((key for key in self._members(case["case_id"]) if key in open_keys), None)
        if own is None:
            return self._ask("MATCH")
        partners = [
            key
            for key in open_keys
            if key.side != own.side and self._open_minor(key) * self._open_minor(own) > 0
        ]
        pair = [own, partners[which % len(partners)]] if partners else [own]
        size = min(most_minor, *(abs(self._open_minor(key)) for key in pair))
        return Ask("MATCH", "a part of it", tuple(self._parts(pair, size)))

    def _parts(self, keys: list[Key], most_minor: int) -> list[Part]:
        rows = {key: self._open_minor(key) for key in keys}
        parts = []
        for key, open_minor in rows.items():
            size = min(abs(open_minor), most_minor)
            parts.append(Part(key, size if open_minor > 0 else -size, "CNY"))
        return parts

    def _open_minor(self, key: Key) -> int:
        if key.side == "bank":
            (row,) = self._rows(t.bank_entries, bank_entry_id=key.member_id)
        else:
            (row,) = self._rows(t.disclosed_lines, line_number=int(key.member_id))
        return int(row["amount_minor"] - row["taken_minor"])

    def _members(self, case_id: str) -> list[Key]:
        rows = self._rows(t.case_members, case_id=case_id)
        return [Key(row["side"], row["member_id"]) for row in rows]

    def _resolution(self, which: int, state: str) -> str:
        row = self._pick(self._rows(t.resolutions, state=state), which)
        return "" if row is None else str(row["resolution_id"])

    def _approve(self, resolution_id: str) -> None:
        self._do(lambda conn: approve(conn, _POLICY, _FUND, resolution_id, "", CHECKER))

    @rule(which=_WHICH, answer=st.sampled_from(["approve", "reject", "withdraw"]))
    def answer_a_proposal(self, which: int, answer: str) -> None:
        found = self._resolution(which, "PROPOSED")
        if found and answer == "approve":
            self._approve(found)
        elif found and answer == "reject":
            self._do(lambda conn: reject(conn, _FUND, found, "no", CHECKER))
        elif found:
            self._do(lambda conn: withdraw(conn, _FUND, found, MAKER))

    @rule(which=_WHICH)
    def undo_a_resolution(self, which: int) -> None:
        found = self._resolution(which, "APPROVED")
        if found:
            self._do(lambda conn: undo_resolution(conn, _FUND, found, "wrong", CHECKER))
            (row,) = self._rows(t.resolutions, resolution_id=found)
            assert row["state"] == "UNDONE"
            self._stand_again(found)

    @rule(which=_WHICH, whole_run=st.booleans())
    def undo_what_a_run_matched(self, which: int, *, whole_run: bool) -> None:
        match = self._pick(self._rows(t.matches, status="automatic", undone_at=None), which)
        if match is None:
            return
        match_id, made_by = match["match_id"], match["made_by"]
        if whole_run:
            self.runner.run(undo_run(self.world.store, made_by, "wrong", CHECKER))
        else:
            self._do(lambda conn: undo_match(conn, _FUND, match_id, made_by, "wrong", CHECKER))
            self._stand_again(made_by, match_id)

    def _stand_again(self, made_by: str, match_id: str = "") -> None:
        """Every open row of what was undone is in an open case at once."""
        open_keys = set(self._open_keys())
        cases = [case["case_id"] for case in self._rows(t.cases, open=True)]
        covered = {key for case_id in cases for key in self._members(case_id)}
        for row in self._rows(t.match_members, made_by=made_by):
            key = Key(row["side"], row["member_id"])
            if match_id in ("", row["match_id"]) and key in open_keys:
                assert key in covered

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        if self._rows(t.books):
            self.runner.run(check_books(self.world.store, _FUND))

    @invariant()
    def a_case_weighs_what_is_open_in_it(self) -> None:
        """But for lines that were taken back by hand: of those the next night tells."""
        for case in self._rows(t.cases, open=True):
            keys = self._members(case["case_id"])
            if self.voided.isdisjoint(keys):
                signed = [self._still_open(key) * (1 if key.side == "bank" else -1) for key in keys]
                assert case["amount_minor"] == sum(signed)

    def _still_open(self, key: Key) -> int:
        return self._open_minor(key) if key in self._open_keys() else 0

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()


def test_bank_books_and_cases_agree_whatever_people_decide_in_whatever_order(
    template_url: str,
) -> None:
    run_state_machine_as_test(
        lambda: Machine(template_url),  # type: ignore[arg-type]
        settings=settings(
            max_examples=8,
            # A failure names its steps; making them fewer would take minutes with a database.
            phases=[Phase.explicit, Phase.generate],
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
