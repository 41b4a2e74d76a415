"""Payments and ledger answer as plain sums do, whatever is asked in whatever order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs
from xinyi.v1 import common_pb2
from xinyi.v1 import ledger_service_pb2 as ledger_pb
from xinyi.v1 import payment_service_pb2 as payment_pb

from adapters.formats import camt053, pain001, pain002
from adapters.model import Balance, Entry, Statement, StatusReport
from adapters.reach import Banks
from gateway.clock import bank_date
from gateway.domain.errors import GatewayError
from gateway.ledger.writer import OPENING_CATEGORY
from gateway.rpc.convert import day as day_message
from tests.gateway.payments.desk import DIGEST, cny, envelope
from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    BANK_CODE,
    BUDGETS,
    CHAIR,
    CHECKER,
    MAKER,
    OPENING_MINOR,
    OTHER_CHAIR,
    OTHER_FIRM,
    TODAY,
    StillClock,
    Who,
)
from tests.simulation import model
from tests.simulation.process import ANSWER_DUE, TTL, Process
from tests.simulation.stage import FILE_FUND as FUND

if TYPE_CHECKING:
    from tests.simulation.conftest import Theatre

_DAY: Final = timedelta(days=1)
_ACCOUNT: Final = ACCOUNT_NUMBERS[FUND]
_WHICH: Final = st.integers(0, 1_000)
_AMOUNTS: Final = st.sampled_from([1, 2_000, 300_000, 790_000, 5_000_000])
_BY_HAND: Final = st.sampled_from([0, 5, -5, 2_000, -2_000, -90_000_000, -86_000_000])
_CODES: Final = {"ACCEPTED": "ACSP", "SETTLED": "ACSC", "REJECTED": "RJCT"}
_BALANCES: Final = "SELECT bank_minor FROM bank_accounts WHERE fund_id = $1"
_BUDGETS: Final = """
    SELECT budget_line_id, held_minor, spent_minor FROM budget_lines WHERE fund_id = $1"""
_STATES: Final = "SELECT payment_id, state FROM payments WHERE fund_id = $1"
_SENT_AS: Final = "SELECT transmission_id FROM payments WHERE payment_id = $1"


class Machine(RuleBasedStateMachine):
    """The gateway and the model of one fund, asked the same."""

    def __init__(self, theatre: Theatre) -> None:
        super().__init__()
        self.theatre, self.clock = theatre, StillClock()
        self.folder = self._run(theatre.stage.clear())
        banks = Banks(self.folder / "banks")
        self.process = Process.begin(theatre.stage.store, self.clock, banks, self.folder)
        yesterday = TODAY - _DAY
        opening = model.Line(
            OPENING_MINOR, yesterday, "COMMON", OPENING_CATEGORY, closed_on=yesterday
        )
        limits = {budget_id: limit_minor for budget_id, _, limit_minor in BUDGETS}
        self.fund = model.Fund(opening, limits, TTL, ANSWER_DUE)
        self.numbers = count(1)
        self.stated_on = yesterday

    def _run(self, work: Any) -> Any:
        return self.theatre.run(work)

    def _rows(self, query: str, *given: object) -> list[Any]:
        rows: list[Any] = self._run(self.theatre.stage.owner.fetch(query, *given))
        return rows

    def _call(self, who: Who, method: str, request: Any) -> tuple[str, Any]:
        """The reason of a refusal, or the answer."""
        request.request_id = f"r{next(self.numbers)}"

        async def call() -> tuple[str, Any]:
            try:
                return "", await self.process.call(who, method, request)
            except GatewayError as refusal:
                return refusal.reason.value, None

        told: tuple[str, Any] = self._run(call())
        return told

    def _pick(self, which: int, *states: str) -> str:
        """A payment, of these states if any are named; empty if there is none."""
        found = [
            payment_id
            for payment_id, payment in self.fund.payments.items()
            if not states or payment.state in states
        ]
        return found[which % len(found)] if found else ""

    def _today(self) -> date:
        return bank_date(self.clock())

    # --- people -------------------------------------------------------------------------------

    @rule(amount_minor=_AMOUNTS, budget=st.sampled_from(["cleaning", "wages", "nowhere"]))
    def ask(self, amount_minor: int, budget: str) -> None:
        payment = payment_pb.Payment(
            payee=payment_pb.Payee(
                display_name="某公司", account_number="6222020000000001", bank_code=BANK_CODE
            ),
            amount=cny(amount_minor),
            purpose="维修",
            budget_line=f"funds/{FUND}/budgetLines/{budget}",
            vouchers=[f"funds/{FUND}/vouchers/{DIGEST}"],
        )
        request = payment_pb.SubmitPaymentRequest(parent=f"funds/{FUND}", payment=payment)
        refused, answer = self._call(OTHER_FIRM, "PaymentService/SubmitPayment", request)
        assert refused == self.fund.refuses(amount_minor, budget)
        if answer:
            expires = self.clock() + TTL
            payment_id = answer.payment.name.rpartition("/")[2]
            self.fund.payments[payment_id] = model.Payment(amount_minor, budget, expires)

    @precondition(lambda self: self.fund.payments)
    @rule(which=_WHICH, who=st.sampled_from([OTHER_CHAIR, CHECKER, OTHER_FIRM, CHAIR]))
    def sign(self, which: int, who: Who) -> None:
        self._sign(self._pick(which), who)

    @precondition(lambda self: self._pick(0, *model.HOLDING))
    @rule(which=_WHICH)
    def both_sign(self, which: int) -> None:
        payment_id = self._pick(which, *model.HOLDING)
        for who in (OTHER_CHAIR, CHECKER):
            self._sign(payment_id, who)

    def _sign(self, payment_id: str, who: Who) -> None:
        name = f"funds/{FUND}/payments/{payment_id}"
        shown = payment_pb.GetPaymentRequest(name=name)
        asked = self.process.call(CHECKER, "PaymentService/GetPayment", shown)
        signed = envelope(self._run(asked).payment.signing_payload, who)
        request = payment_pb.SignPaymentRequest(name=name, envelope=signed)
        refused, _ = self._call(who, "PaymentService/SignPayment", request)
        if who is CHAIR:
            assert refused == "RESOURCE_NOT_FOUND"
        else:
            now = self.clock()
            assert refused == self.fund.sign(payment_id, who.name, who.role.value, now)

    @precondition(lambda self: self.fund.payments)
    @rule(which=_WHICH)
    def refuse(self, which: int) -> None:
        payment_id = self._pick(which)
        request = payment_pb.RefusePaymentRequest(
            name=f"funds/{FUND}/payments/{payment_id}", reason="单价过高"
        )
        refused, _ = self._call(CHECKER, "PaymentService/RefusePayment", request)
        assert refused == self.fund.end(payment_id, "REFUSED")

    @precondition(lambda self: self.fund.payments)
    @rule(which=_WHICH)
    def withdraw(self, which: int) -> None:
        payment_id = self._pick(which)
        request = payment_pb.WithdrawPaymentRequest(
            name=f"funds/{FUND}/payments/{payment_id}", reason="重复申请"
        )
        refused, _ = self._call(OTHER_FIRM, "PaymentService/WithdrawPayment", request)
        assert refused == self.fund.end(payment_id, "WITHDRAWN")

    @rule(amount_minor=_BY_HAND, book=st.sampled_from(model.BOOKS), ago=st.integers(-1, 3))
    def post(self, amount_minor: int, book: str, ago: int) -> None:
        self._post(model.Line(amount_minor, self._today() - ago * _DAY, book), 0)

    @rule(which=_WHICH, beyond=st.booleans(), other_minor=st.sampled_from([0, 0, 0, 1]))
    def correct(self, which: int, *, beyond: bool, other_minor: int) -> None:
        number = 1 + which % len(self.fund.lines)
        wrong = self.fund.lines[number - 1]
        amount_minor = -wrong.amount_minor + other_minor
        line = model.Line(amount_minor, self._today(), wrong.book, wrong.category)
        self._post(line, number + len(self.fund.lines) if beyond else number)

    def _post(self, line: model.Line, corrects: int) -> None:
        entry = ledger_pb.EntryDraft(
            bank_account=f"funds/{FUND}/bankAccounts/main",
            book=common_pb2.Book.Value(f"BOOK_{line.book}"),
            category=line.category,
            amount=cny(line.amount_minor),
            summary="更正",
            effective_date=day_message(line.day),
            corrects=f"funds/{FUND}/lines/{corrects}" if corrects else "",
        )
        request = ledger_pb.PostEntryRequest(parent=f"funds/{FUND}", entry=entry)
        refused, answer = self._call(MAKER, "LedgerService/PostEntry", request)
        assert refused == self.fund.post(line, corrects, self._today())
        if answer:
            assert answer.disclosed_line == f"funds/{FUND}/lines/{len(self.fund.lines)}"

    # --- time and the bank --------------------------------------------------------------------

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.clock.moment += timedelta(hours=hours)
        self._run(self.process.look_at_the_clock())
        self.fund.look_at_the_clock(self.clock())

    @rule()
    def send(self) -> None:
        self._run(self.process.sender.send_all())
        self.fund.send(self.clock())

    @precondition(lambda self: self._pick(0, *model.AT_BANK, "SETTLED", "REJECTED"))
    @rule(which=_WHICH, said=st.sampled_from(sorted(_CODES)))
    def bank_answers(self, which: int, said: str) -> None:
        payment_id = self._pick(which, *model.AT_BANK, "SETTLED", "REJECTED")
        status = pain002.status(_CODES[said], end_to_end_id=payment_id, batch_id=payment_id)
        number = f"S{next(self.numbers)}"
        (sent,) = self._rows(_SENT_AS, payment_id)
        report = StatusReport(number, sent[0], self.clock().replace(microsecond=0), (status,))
        self._leave(f"{number}.xml", pain002.render(report, pain001.VERSION))
        self.fund.news(payment_id, said, self.clock())

    @rule(which=_WHICH, stray_minor=st.sampled_from([0, 700, -1_500]))
    def bank_states_a_day(self, which: int, stray_minor: int) -> None:
        """The debit of a payment, the return of another, something that no line explains."""
        day = max(self.stated_on + _DAY, self._today())
        self.clock.moment += day - self._today()
        debited, returned = self._pick(which, *model.AT_BANK), self._pick(which, "SETTLED")
        booked = [(debited, -self._minor(debited)), (returned, self._minor(returned))]
        booked = [each for each in (*booked, ("", stray_minor)) if each[1]]
        opening = self.fund.bank_minor(day)
        entries = tuple(
            replace(Entry(f"B{next(self.numbers)}", day, day, minor, "CNY"), end_to_end_id=name)
            for name, minor in booked
        )
        closing = opening + sum(minor for _, minor in booked)
        number = f"{day}-{next(self.numbers)}"
        balances = Balance(day, opening), Balance(day, closing)
        stated = Statement(number, _ACCOUNT, "CNY", *balances, entries)
        self._leave(f"{number}.xml", camt053.render(stated, number, self.clock()))
        for name, minor in booked:
            self.fund.state_entry(name, minor, day)
        self.stated_on = day

    def _minor(self, payment_id: str) -> int:
        return self.fund.payments[payment_id].amount_minor if payment_id else 0

    def _leave(self, name: str, content: bytes) -> None:
        folder = self.folder / "banks" / "demo" / "in"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        taken = self._run(self.process.inbox.take_all())
        assert taken == 1

    # --- both say the same --------------------------------------------------------------------

    @invariant()
    def states_are_the_same(self) -> None:
        states = {row["payment_id"]: row["state"] for row in self._rows(_STATES, FUND)}
        assert states == {name: one.state for name, one in self.fund.payments.items()}

    @invariant()
    def budgets_are_the_same(self) -> None:
        budgets = {row[0]: (row[1], row[2]) for row in self._rows(_BUDGETS, FUND)}
        told = {name: (self.fund.held(name), self.fund.spent(name)) for name in self.fund.budgets}
        assert budgets == told

    @invariant()
    def balances_are_the_same(self) -> None:
        bank_minor, books = self._balance(None)
        ever = max(date.max, self._today())
        assert bank_minor == self.fund.bank_minor(ever)
        assert books == {name: self.fund.book_now(name) for name in model.BOOKS}

    @invariant()
    def balances_of_past_days_are_the_same(self) -> None:
        for ago in (0, 1, 2):
            day = self._today() - ago * _DAY
            bank_minor, books = self._balance(day)
            assert bank_minor == self.fund.bank_minor(day)
            assert books == {name: self.fund.book(name, day) for name in model.BOOKS}

    def _balance(self, day: date | None) -> tuple[int, dict[str, model.Book]]:
        request = ledger_pb.GetBalanceRequest(parent=f"funds/{FUND}", as_of_date=day_message(day))
        told = self._run(self.process.call(CHECKER, "LedgerService/GetBalance", request))
        books = {
            common_pb2.Book.Name(book.book).removeprefix("BOOK_"): model.Book(
                book.total.amount_minor,
                book.pending.amount_minor,
                book.held.amount_minor,
                book.available.amount_minor,
            )
            for book in told.books
        }
        assert told.transit.amount_minor == sum(b.total_minor for b in books.values()) - (
            told.bank.amount_minor
        )
        return told.bank.amount_minor, books


def test_payments_and_ledger_answer_as_plain_sums_do(theatre: Theatre) -> None:
    with capture_logs():
        run_state_machine_as_test(
            lambda: Machine(theatre),  # type: ignore[arg-type]
            settings=settings(
                max_examples=20,
                # A failure names its steps; making them fewer would take minutes.
                phases=[Phase.explicit, Phase.generate],
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
