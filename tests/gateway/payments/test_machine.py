"""Anything in any order: payments, signatures, crashes, the bank's files late, lost and doubled.

After every step all money must be where the states say, and at the end the bank must agree.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import asyncpg
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapters.formats import pain001
from adapters.reach import Banks
from adapters.simulator import Behaviour
from adapters.transports.directory import collect
from gateway.audit.keeper import Keeper
from gateway.bank.inbox import Inbox
from gateway.domain.errors import GatewayError
from gateway.domain.payment import Event
from gateway.payments.approve import Ending, end, read_envelope
from gateway.payments.deadlines import expire, lose_track
from gateway.payments.docket import Asking, By, Signing
from gateway.payments.group import Done, carry_out
from gateway.payments.outbox import Sender
from gateway.payments.record import load
from gateway.payments.resend import Preparing, prepare
from gateway.payments.signatures import load_subject
from gateway.payments.submit import Ask, Terms
from gateway.payments.vouchers import Voucher, store_voucher
from gateway.store import GATEWAY, Store, open_store
from gateway.store import tables as t
from tests.gateway.conftest import database
from tests.gateway.payments.desk import CONTENT, DIGEST, check_conserved, envelope, open_bank
from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    BANK_CODE,
    CHAIR,
    CHECKER,
    FIRM,
    OPENING_MINOR,
    OTHER_CHAIR,
    OTHER_FIRM,
    StillClock,
    Who,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.payments.docket import Order
    from tests.gateway.payments.desk import Bank

_COPIES = count(1)
_FIRMS = {"wutong": FIRM, "jinjiang": OTHER_FIRM}
_BEHAVIOURS = {
    "6222020000000001": Behaviour(),
    "6222020000000002": Behaviour(reject_code="AC04"),
    "6222020000000003": Behaviour(silent=True),
    "6222020000000004": Behaviour(return_after_days=1),
    "6222020000000005": Behaviour(book_next_day=True),
    "6222020000000006": Behaviour(silent=True, return_after_days=2),
}
"""The payees' accounts, and what the bank does with payments to them."""

_which = st.integers(0, 1_000)
_amounts_minor = st.integers(1, 300_000)
_asks = st.tuples(_amounts_minor, st.sampled_from(sorted(_BEHAVIOURS)))
_answered = [account for account, said in sorted(_BEHAVIOURS.items()) if not said.silent]
# Of a batch paid in one sum and in part, in silence, nobody but the bank knows what it paid.
_batch_asks = st.tuples(_amounts_minor, st.sampled_from(_answered))


class Crash(BaseException):
    """The process dies."""


class DyingSender(Sender):
    """Dies after the file lies with the bank, before that is recorded."""

    async def _record_delivery(self, *_: object) -> None:
        raise Crash


class Machine(RuleBasedStateMachine):
    """Two funds at one bank."""

    def __init__(self, postgres_url: str, template: str, directory: Path) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.admin, self.name = postgres_url, f"machine_{next(_COPIES)}"
        self._admin(f"CREATE DATABASE {self.name} TEMPLATE {template}")
        self.store: Store = open_store(database(postgres_url, self.name), pool_size=2)
        self.clock = StillClock()
        banks = Banks(directory / self.name / "banks")
        folder = banks.folder("demo")
        self.bank: Bank = open_bank(directory / self.name / "bank", folder, self.clock)
        for account, behaviour in _BEHAVIOURS.items():
            self.bank.simulated.behave(account, behaviour)
        answer_due = timedelta(hours=4)
        (directory / self.name).mkdir(exist_ok=True)
        secure = Keeper(self.store, (directory / self.name,), self.clock).secure
        self.sender = Sender(self.store, self.clock, banks, answer_due, secure)
        self.dying = DyingSender(self.store, self.clock, banks, answer_due, secure)
        self.inbox = Inbox(self.store, self.clock, banks)
        self.banks = banks
        self.payments: list[tuple[str, str]] = []
        self.repeated_minor = dict.fromkeys(ACCOUNT_NUMBERS, 0)
        self.kept: list[tuple[str, bytes]] = []
        self.lost: set[str] = set()

    def _admin(self, statement: str) -> None:
        async def execute() -> None:
            conn = await asyncpg.connect(self.admin)
            await conn.execute(statement)
            await conn.close()

        self.runner.run(execute())

    def _do(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """In one transaction; a refusal is an answer like any other, a defect is not."""

        async def transact() -> Any:
            try:
                async with self.store.transaction(GATEWAY) as conn:
                    return await work(conn)
            except GatewayError:
                return None

        return self.runner.run(transact())

    def _pick(self, which: int) -> tuple[str, str]:
        return self.payments[which % len(self.payments)]

    # --- people -------------------------------------------------------------------------------

    @initialize()
    def vouchers(self) -> None:
        voucher = Voucher(DIGEST, "f.pdf", "application/pdf", len(CONTENT), CONTENT)
        for fund_id in _FIRMS:
            self._do(partial(store_voucher, fund_id=fund_id, voucher=voucher, now=self.clock()))

    def _order(self, order: Order) -> Done | None:
        """What became of an order that comes alone; None if it was refused."""
        terms = Terms("demo", timedelta(days=2), self.clock(), self.banks)
        (outcome,) = self._do(lambda conn: carry_out(conn, (order,), terms))
        return outcome if isinstance(outcome, Done) else None

    def _ask(self, amount_minor: int, account: str) -> Ask:
        return Ask(
            payee_name="某公司",
            payee_account=account,
            payee_bank_code=BANK_CODE,
            amount_minor=amount_minor,
            currency="CNY",
            purpose="维修",
            budget_line_id="cleaning",
            vouchers=(DIGEST,),
        )

    @rule(fund_id=st.sampled_from(sorted(_FIRMS)), asked=_asks)
    def submit(self, fund_id: str, asked: tuple[int, str]) -> None:
        self._submit(fund_id, [asked], is_batch=False)

    @rule(
        fund_id=st.sampled_from(sorted(_FIRMS)), asked=st.lists(_batch_asks, min_size=2, max_size=3)
    )
    def submit_batch(self, fund_id: str, asked: list[tuple[int, str]]) -> None:
        self._submit(fund_id, asked, is_batch=True)

    def _submit(self, fund_id: str, asked: list[tuple[int, str]], *, is_batch: bool) -> None:
        firm = _FIRMS[fund_id]
        asks = tuple(self._ask(*each) for each in asked)
        held = self._order(Asking(fund_id, By(firm.party_id, firm.person_id), asks, is_batch))
        if held:
            self.payments += [(fund_id, row.payment_id) for row in held.payments]

    def _sign(self, fund_id: str, payment_id: str, who: Who) -> None:
        async def payload(conn: Any) -> bytes:
            return (await load_subject(conn, await load(conn, fund_id, payment_id))).payload

        sent = envelope(self._do(payload), who)
        by = By(who.party_id, who.person_id)
        self._order(Signing(fund_id, by, payment_id, sent, read_envelope(sent)))

    @precondition(lambda self: self.payments)
    @rule(which=_which, who=st.sampled_from([CHAIR, OTHER_CHAIR, CHECKER, FIRM]))
    def sign_one(self, which: int, who: Who) -> None:
        self._sign(*self._pick(which), who)

    @precondition(lambda self: self.payments)
    @rule()
    def sign_everything(self) -> None:
        for fund_id, payment_id in self.payments:
            for who in (CHAIR if fund_id == "wutong" else OTHER_CHAIR, CHECKER):
                self._sign(fund_id, payment_id, who)

    @precondition(lambda self: self.payments)
    @rule(which=_which, event=st.sampled_from([Event.REFUSE, Event.WITHDRAW, Event.EXPIRE]))
    def end_one(self, which: int, event: Event) -> None:
        fund_id, payment_id = self._pick(which)
        ending = Ending(event, CHECKER.name, "x", self.clock())
        self._do(lambda conn: end(conn, fund_id, payment_id, ending, self.banks))

    @precondition(lambda self: self.lost)
    @rule()
    def prepare_to_send_again(self) -> None:
        """Whatever is not UNKNOWN, or not proved to be lost, is refused."""
        for fund_id, payment_id in self.payments:
            preparing = Preparing(CHECKER.name, timedelta(days=2), self.clock())
            self._do(partial(self._prepare, fund_id, payment_id, preparing))

    async def _prepare(
        self, fund_id: str, payment_id: str, preparing: Preparing, conn: Any
    ) -> None:
        await prepare(conn, fund_id, payment_id, preparing, self.banks)

    # --- time and machinery -------------------------------------------------------------------

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.clock.moment += timedelta(hours=hours)
        self.runner.run(expire(self.store, self.banks, self.clock()))
        self.runner.run(lose_track(self.store, self.clock()))

    @rule()
    def send(self) -> None:
        self.runner.run(self.sender.send_all())

    @rule()
    def die_while_sending(self) -> None:
        try:
            self.runner.run(self.dying.send_all())
        except Crash:
            return

    # --- the bank -----------------------------------------------------------------------------

    @rule()
    def bank_works(self) -> None:
        self.bank.take()

    @rule()
    def the_courier_loses_everything(self) -> None:
        for path in collect(self.bank.folder / "out"):
            order = pain001.parse(path.read_bytes())
            self.lost.update(each.end_to_end_id for each in order.payments)
            path.unlink()

    @rule(late=st.booleans())
    def bank_answers(self, late: bool) -> None:
        """Its files, some status reports only later; statements in their order."""
        for path in collect(self.bank.simulated.outbox):
            content = path.read_bytes()
            self.kept.append((path.name, content))
            if not (late and path.name.startswith("pain002")):
                self.bank.leave(path.name, content)
            path.unlink()
        self._take_in()

    @precondition(lambda self: self.kept)
    @rule(which=_which)
    def bank_repeats_a_file(self, which: int) -> None:
        name, content = self.kept[which % len(self.kept)]
        if name.startswith("pain002") or self._was_taken(content):
            self.bank.leave(f"again-{which}-{name}", content)
            self._take_in()

    def _was_taken(self, content: bytes) -> bool:
        return any(
            path.read_bytes() == content for path in (self.bank.folder / "done").glob("*camt053*")
        )

    def _take_in(self) -> None:
        self.runner.run(self.inbox.take_all())
        assert collect(self.bank.folder / "in") == []

    @rule()
    def bank_closes_the_day(self) -> None:
        day = (self.clock() + timedelta(hours=8)).date()
        self.bank.simulated.close_day(day)
        self.clock.moment = datetime.combine(day, datetime.min.time(), self.clock().tzinfo)
        self.clock.moment += timedelta(hours=17)

    @precondition(lambda self: self.payments)
    @rule(which=_which)
    def bank_debits_twice(self, which: int) -> None:
        fund_id, payment_id = self._pick(which)
        account = ACCOUNT_NUMBERS[fund_id]
        before = self.bank.simulated.balance_minor(account)
        try:
            day = (self.clock() + timedelta(hours=8)).date()
            self.bank.simulated.repeat_entry(account, payment_id, day)
        except LookupError:
            return
        self.repeated_minor[fund_id] += self.bank.simulated.balance_minor(account) - before

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def money_is_conserved(self) -> None:
        self.runner.run(check_conserved(self.store))

    @invariant()
    def a_payment_is_in_one_order_for_each_release(self) -> None:
        orders = Counter(
            payment.end_to_end_id
            for order in (self.bank.folder / "audit").glob("*.xml")
            for payment in pain001.parse(order.read_bytes()).payments
        )
        again = sa.select(t.resends.c.payment_id).where(t.resends.c.released_at.is_not(None))
        released = Counter(self._do(lambda conn: conn.scalars(again)))
        assert {each for each, times in orders.items() if times > 1 + released[each]} == set()
        assert set(released) <= self.lost

    def _spent_minor(self) -> dict[str, int]:
        query = sa.text(
            "SELECT f.fund_id, coalesce(sum(p.amount_minor), 0)::bigint FROM funds f"
            " LEFT JOIN payments p ON p.fund_id = f.fund_id AND p.state"
            " IN ('RELEASED', 'SENT', 'ACCEPTED', 'UNKNOWN', 'SETTLED') GROUP BY 1"
        )
        return {row[0]: row[1] for row in self._do(lambda conn: conn.execute(query))}

    @invariant()
    def what_is_disclosed_is_the_opening_less_what_is_spent(self) -> None:
        query = sa.select(t.funds.c.fund_id, t.funds.c.running_minor)
        running = {row[0]: row[1] for row in self._do(lambda conn: conn.execute(query))}
        spent = self._spent_minor()
        assert running == {fund_id: OPENING_MINOR - spent[fund_id] for fund_id in running}

    def teardown(self) -> None:
        try:
            self._settle_everything()
            self._bank_agrees()
        finally:
            self.runner.run(self.store.close())
            self._admin(f"DROP DATABASE {self.name} WITH (FORCE)")
            self.runner.close()

    def _settle_everything(self) -> None:
        """Everything that is on its way arrives."""
        for _ in range(4):
            self.send()
            self.bank_works()
            self.wait(hours=5)
            self.bank_closes_the_day()
            self.bank_answers(late=False)
        for number, (name, content) in enumerate(self.kept):
            if name.startswith("pain002"):
                self.bank.leave(f"{number:06d}-{name}", content)
        self._take_in()
        self.money_is_conserved()

    def _bank_agrees(self) -> None:
        """Each payment is paid at most once, and the books are what the bank has."""
        spent = self._spent_minor()
        for fund_id, account in ACCOUNT_NUMBERS.items():
            paid_minor = OPENING_MINOR - self.bank.simulated.balance_minor(account)
            lost_minor = self._unknown_minor(fund_id)
            assert paid_minor + self.repeated_minor[fund_id] + lost_minor == spent[fund_id]
        states = self._do(lambda conn: conn.execute(sa.select(t.payments.c.state).distinct()))
        unfinished = {"RELEASED", "SENT", "ACCEPTED"}
        assert not unfinished & {row.state for row in states}

    def _unknown_minor(self, fund_id: str) -> int:
        """What is still believed to be on its way; only what the courier lost may be."""
        table = t.payments
        query = sa.select(table.c.payment_id, table.c.amount_minor).where(
            table.c.fund_id == fund_id, table.c.state == "UNKNOWN"
        )
        found = {row.payment_id: row.amount_minor for row in self._do(lambda c: c.execute(query))}
        assert set(found) <= self.lost
        return sum(found.values())


def test_money_is_conserved_whatever_happens_in_whatever_order(
    postgres_url: str, world_template: str, tmp_path: Path
) -> None:
    run_state_machine_as_test(
        lambda: Machine(postgres_url, world_template, tmp_path),  # type: ignore[arg-type]
        settings=settings(
            max_examples=20,
            # A failure names its steps; making them fewer would take minutes with a database.
            phases=[Phase.explicit, Phase.generate],
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
