"""A day and what follows, drawn from a seed: people, the gateway's rounds, banks, time, harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from structlog.testing import capture_logs
from xinyi.v1 import common_pb2
from xinyi.v1 import ledger_service_pb2 as ledger_pb
from xinyi.v1 import payment_service_pb2 as payment_pb
from xinyi.v1 import reconciliation_service_pb2 as cases_pb

from adapters.simulator import Behaviour, SimulatedBank
from gateway.clock import BANK_ZONE, bank_date
from gateway.domain.payment import State, in_flight
from gateway.ids import draw_from
from gateway.rpc.convert import day as day_message
from tests.gateway.payments.desk import DIGEST, cny, envelope
from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    BANK_CODE,
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    OPENING_MINOR,
    OPERATOR,
    OTHER_CHAIR,
    OTHER_FIRM,
    TODAY,
    StillClock,
)
from tests.gateway.wires.city_bank import ACCEPTED, PAID, RECEIVED, REFUSED, CityBank
from tests.simulation.banks import Courier, Wire, without_pauses
from tests.simulation.checks import Watch, require
from tests.simulation.people import Mortals
from tests.simulation.process import ANSWER_DUE, TTL, Process, WiredBanks
from tests.simulation.stage import CHANNEL_FUND, FILE_FUND
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.gateway.support import Who
    from tests.simulation.stage import Stage

FUNDS: Final = (CHANNEL_FUND, FILE_FUND)
_FIRMS: Final = {CHANNEL_FUND: FIRM, FILE_FUND: OTHER_FIRM}
_CHAIRS: Final = {CHANNEL_FUND: CHAIR, FILE_FUND: OTHER_CHAIR}
_PAYEES: Final = {
    "6222020000000001": Behaviour(),
    "6222020000000002": Behaviour(reject_code="AC04"),
    "6222020000000003": Behaviour(silent=True),
    "6222020000000004": Behaviour(return_after_days=1),
    "6222020000000005": Behaviour(book_next_day=True),
}
"""Payees' accounts, and what the bank of files does with payments to them."""
# Of a batch that is paid in part, in one sum and in silence, nobody but the bank knows what it
# paid.
_ANSWERED: Final = [payee for payee, said in _PAYEES.items() if not said.silent]
_LARGEST_MINOR: Final = 300_000
_STEPS: Final = (12, 26)
_HARM: Final = (0.0, 0.2, 0.5)
"""How likely something goes wrong, drawn for each kind of harm: many days know only some."""
_NIGHTS: Final = 0.1
"""How many of the days are reconciled: a night takes as long as the rest of its day."""
_EXPECTED: Final = frozenset({"transmission_not_delivered", "transmission_in_doubt"})
"""What a gateway may log as an error, where a bank cannot be reached."""
_MORNING: Final = time(8, 30)
_ROUNDS: Final = 2
"""Days after which all that is on its way has arrived: a payment's debit, and its return."""
_MORE_ROUNDS: Final = 3
"""Days more, where a payment is lost: until it is proved, signed and sent again."""
_LEASE: Final = timedelta(minutes=11)
"""After this another process goes on with what one that died has begun."""
_OWN_PROFILES: Final = Path(__file__).parents[1] / "gateway" / "wires" / "profiles"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that was acknowledged."""

    fund_id: str
    name: str
    batch: str = ""

    @property
    def payment_id(self) -> str:
        """The reference that the bank knows it by."""
        return self.name.rpartition("/")[2]


@dataclass(slots=True)
class Day:
    """Everything on the stage.

    Attributes:
        chance: draws all that is done; what the gateway draws comes from elsewhere.
        clock: of the gateway and the banks.
        trace: what happened.
        mortals: the gateway, and who calls it.
        wire: the way to the bank with a channel.
        courier: the banks, and the way of files.
        watch: what must hold.
        reconciled: whether days end with a night.
        payments: those acknowledged.
    """

    chance: Random
    clock: StillClock
    trace: Trace
    mortals: Mortals
    wire: Wire
    courier: Courier
    watch: Watch
    reconciled: bool
    payments: list[Payment] = field(default_factory=list)

    async def live(self) -> None:
        """Steps until the day has had enough of them; then everything arrives."""
        steps = _WEIGHTS | (_WITH_NIGHTS if self.reconciled else {})
        names, weights = zip(*steps.items(), strict=True)
        for _ in range(self.chance.randint(*_STEPS)):
            self.clock.moment += timedelta(seconds=self.chance.randint(1, 900))
            (step,) = self.chance.choices(names, weights)
            self.trace.say(step.__name__.strip("_").replace("_", " "))
            await step(self)
            if self.mortals.has_worked():
                await self.watch.look()
        await self._settle()

    def _amount_minor(self) -> int:
        return self.chance.randint(1, _LARGEST_MINOR)

    # --- firms and signers --------------------------------------------------------------------

    async def _a_firm_asks(self) -> None:
        fund_id = self.chance.choice(FUNDS)
        payment = self._payment(fund_id, list(_PAYEES))
        request = payment_pb.SubmitPaymentRequest(parent=f"funds/{fund_id}", payment=payment)
        told = await self.mortals.ask(_FIRMS[fund_id], "PaymentService/SubmitPayment", request)
        if told.message:
            self.payments.append(Payment(fund_id, told.message.payment.name))

    async def _a_firm_asks_for_a_batch(self) -> None:
        fund_id = self.chance.choice(FUNDS)
        size = self.chance.randint(2, 3)
        parts = [
            payment_pb.SubmitPaymentsRequest(payment=self._payment(fund_id, _ANSWERED))
            for _ in range(size)
        ]
        header = payment_pb.SubmitPaymentsHeader(parent=f"funds/{fund_id}", payment_count=size)
        stream = [payment_pb.SubmitPaymentsRequest(header=header), *parts]
        told = await self.mortals.ask(_FIRMS[fund_id], "PaymentService/SubmitPayments", stream)
        if told.message:
            batch = told.message.batch_id
            self.payments += [Payment(fund_id, name, batch) for name in told.message.payments]

    def _payment(self, fund_id: str, payees: list[str]) -> payment_pb.Payment:
        fund, payee = f"funds/{fund_id}", self.chance.choice(payees)
        line = self.chance.choice(["cleaning", "cleaning", "wages", "nowhere"])
        return payment_pb.Payment(
            payee=payment_pb.Payee(
                display_name="某公司", account_number=payee, bank_code=BANK_CODE
            ),
            amount=cny(self._amount_minor()),
            purpose="维修",
            budget_line=f"{fund}/budgetLines/{line}",
            vouchers=[f"{fund}/vouchers/{DIGEST}"],
        )

    def _some(self, *states: str) -> Payment | None:
        """A payment in one of these states."""
        found = [each for each in self.payments if self._state(each) in states]
        return self.chance.choice(found) if found else None

    def _state(self, payment: Payment) -> str:
        return self.watch.states[payment.payment_id]

    async def _both_sign(self) -> None:
        """A payment, or all of a batch."""
        payment = self._some("HELD", "PARTLY_SIGNED", "UNKNOWN")
        if payment:
            batch = [each for each in self.payments if each.batch and each.batch == payment.batch]
            for each in batch or [payment]:
                await self._sign_by_both(each)

    async def _sign_by_both(self, payment: Payment) -> None:
        payload, signers = await self._shown(payment), [_CHAIRS[payment.fund_id], CHECKER]
        self.chance.shuffle(signers)
        for who in signers:
            await self._sign(payment, payload, who)

    async def _anybody_signs(self) -> None:
        """Often somebody who may not, or what may not be signed any more."""
        if self.payments:
            who = self.chance.choice([CHAIR, OTHER_CHAIR, CHECKER])
            payment = self.chance.choice(self.payments)
            await self._sign(payment, await self._shown(payment), who)

    async def _shown(self, payment: Payment) -> bytes:
        """The bytes to sign."""
        asked = payment_pb.GetPaymentRequest(name=payment.name)
        shown = await self.mortals.read(CHECKER, "PaymentService/GetPayment", asked)
        payload: bytes = shown.payment.signing_payload
        return payload

    async def _sign(self, payment: Payment, payload: bytes, who: Who) -> None:
        if self.chance.random() < self.courier.trouble / 4:
            payload = payload.replace("维修".encode(), "装修".encode())
        request = payment_pb.SignPaymentRequest(name=payment.name, envelope=envelope(payload, who))
        await self.mortals.ask(who, "PaymentService/SignPayment", request)

    async def _a_signer_refuses(self) -> None:
        if self.payments:
            payment = self.chance.choice(self.payments)
            request = payment_pb.RefusePaymentRequest(name=payment.name, reason="单价过高")
            await self.mortals.ask(CHECKER, "PaymentService/RefusePayment", request)

    async def _a_firm_withdraws(self) -> None:
        if self.payments:
            payment = self.chance.choice(self.payments)
            request = payment_pb.WithdrawPaymentRequest(name=payment.name, reason="重复申请")
            who = _FIRMS[payment.fund_id]
            await self.mortals.ask(who, "PaymentService/WithdrawPayment", request)

    async def _a_lost_payment_is_sent_again(self) -> None:
        """If it is proved by now that its bank never had it."""
        payment = self._some("UNKNOWN")
        if payment:
            await self._send_again(payment)

    async def _send_again(self, payment: Payment) -> None:
        request = payment_pb.PrepareResendRequest(name=payment.name)
        told = await self.mortals.ask(MAKER, "PaymentService/PrepareResend", request)
        if told.message:
            await self._sign_by_both(payment)

    async def _an_old_call_again(self) -> None:
        await self.mortals.ask_again()

    # --- the trustee --------------------------------------------------------------------------

    async def _a_receipt_is_booked(self) -> None:
        """The money is at the bank, or will never be; there may be a little more or less of it."""
        fund_id, amount_minor = self.chance.choice(FUNDS), self._amount_minor()
        reference = f"R{self.chance.randrange(1_000)}"
        entry = self._entry(fund_id, amount_minor, "物业费", reference=reference)
        request = ledger_pb.PostEntryRequest(parent=f"funds/{fund_id}", entry=entry)
        await self.mortals.ask(MAKER, "LedgerService/PostEntry", request)
        more_minor = self.chance.choice([0, 0, 0, 1, -amount_minor])
        if amount_minor + more_minor:
            self._bank_books(fund_id, amount_minor + more_minor, reference=reference)

    async def _a_line_is_corrected(self) -> None:
        fund_id, number = self.chance.choice(FUNDS), self.chance.randint(1, 6)
        entry = self._entry(fund_id, self._amount_minor(), "更正")
        entry.corrects = f"funds/{fund_id}/lines/{number}"
        row = await self.watch.line(fund_id, number)
        if row:
            entry.amount.amount_minor = -row["amount_minor"]
            entry.book = common_pb2.Book.Value(f"BOOK_{row['book']}")
            entry.category = row["category"]
        request = ledger_pb.PostEntryRequest(parent=f"funds/{fund_id}", entry=entry)
        await self.mortals.ask(MAKER, "LedgerService/PostEntry", request)

    def _entry(
        self, fund_id: str, amount_minor: int, summary: str, reference: str = ""
    ) -> ledger_pb.EntryDraft:
        return ledger_pb.EntryDraft(
            bank_account=f"funds/{fund_id}/bankAccounts/main",
            book=common_pb2.BOOK_COMMON,
            category="本期物业费收入",
            amount=cny(amount_minor),
            summary=summary,
            effective_date=day_message(bank_date(self.clock())),
            reference=reference,
        )

    async def _a_case_is_worked_on(self) -> None:
        asked = cases_pb.ListCasesRequest(parent="funds/-")
        cases = (await self.mortals.read(MAKER, "ReconciliationService/ListCases", asked)).cases
        if not cases:
            return
        case = self.chance.choice(cases)
        request = cases_pb.ProposeResolutionRequest(
            parent=case.name, resolution=self._resolution(), etag=case.etag
        )
        told = await self.mortals.ask(MAKER, "ReconciliationService/ProposeResolution", request)
        if not told.message:
            return
        decided = cases_pb.ApproveResolutionRequest(name=told.message.resolution.name)
        await self.mortals.ask(CHECKER, "ReconciliationService/ApproveResolution", decided)

    def _resolution(self) -> cases_pb.Resolution:
        action = self.chance.choice(["MATCH", "ADJUST", "WRITE_OFF", "WAIT", "SEND_BACK"])
        resolution = cases_pb.Resolution(
            action=cases_pb.ResolutionAction.Value(f"RESOLUTION_ACTION_{action}"),
            reason="如此",
        )
        if action == "ADJUST":
            resolution.adjustment.book = common_pb2.BOOK_COMMON
            resolution.adjustment.category = "银行手续费"
            resolution.adjustment.summary = "手续费"
        if action == "WAIT":
            until = bank_date(self.clock()) + timedelta(days=2)
            resolution.wait_until.CopyFrom(day_message(until))
        return resolution

    # --- the gateway by itself ----------------------------------------------------------------

    async def _a_round_of_the_gateway(self) -> None:
        """As a gateway does every second; it may end anywhere."""
        await self.mortals.do(self._round)

    async def _round(self, process: Process) -> None:
        await process.sender.send_all()
        await process.inbox.take_all()
        await process.inquirer.ask_all()
        await process.look_at_the_clock()

    async def _orders_are_sent(self) -> None:
        await self.mortals.do(lambda process: process.sender.send_all())

    async def _files_are_taken_in(self) -> None:
        await self.mortals.do(lambda process: process.inbox.take_all())

    async def _a_night(self) -> None:
        """Until it is done: whatever died in it is finished by the next process."""
        yesterday = bank_date(self.clock()) - timedelta(days=1)
        request = cases_pb.StartRunRequest(date=day_message(yesterday))
        told = await self.mortals.ask(OPERATOR, "ReconciliationService/StartRun", request)
        if told.message:
            self.trace.say(f"  {told.message.run.case_count} cases")

    # --- banks and ways -----------------------------------------------------------------------

    async def _orders_reach_the_bank(self) -> None:
        self.courier.take_orders()
        self.courier.files.process(self.clock())

    async def _files_come_from_the_banks(self) -> None:
        self.courier.bring_files()

    async def _an_old_file_comes_again(self) -> None:
        self.courier.bring_again()

    async def _the_channel_bank_decides(self) -> None:
        """How what it has ends, and how it takes what comes next."""
        self._decide([PAID, PAID, REFUSED])
        self.courier.city.decides = self.chance.choice([PAID, PAID, ACCEPTED, RECEIVED, REFUSED])

    def _decide(self, results: list[str]) -> None:
        city = self.courier.city
        for instruction in city.instructions.values():
            if instruction.result in (RECEIVED, ACCEPTED):
                city.decide(instruction.reference, self.chance.choice(results))

    async def _a_bank_does_something_by_itself(self) -> None:
        """A fee, money from nobody, a payment that comes back."""
        fund_id = self.chance.choice(FUNDS)
        payment = self._some("SETTLED")
        if payment and payment.fund_id == CHANNEL_FUND and self.chance.random() < 0.5:
            given = self.courier.city.instructions[payment.payment_id]
            self._bank_books(
                CHANNEL_FUND,
                given.amount_minor,
                end_to_end_id=given.reference,
                return_reason="AC04",
            )
        else:
            amount_minor = self.chance.choice([-1_500, -1_500, self._amount_minor()])
            self._bank_books(fund_id, amount_minor)

    def _bank_books(self, fund_id: str, amount_minor: int, **said: str) -> None:
        self.trace.say(f"  the bank of {fund_id} books {amount_minor} {said or ''}")
        if fund_id == CHANNEL_FUND:
            self.courier.city.debit(-amount_minor, **said)
        else:
            account, today = ACCOUNT_NUMBERS[fund_id], bank_date(self.clock())
            self.courier.files.receive(account, amount_minor, today, "某人", "6217", **said)

    # --- time ---------------------------------------------------------------------------------

    async def _hours_pass(self) -> None:
        self.clock.moment += timedelta(hours=self.chance.randint(1, 8))

    async def _a_day_ends(self) -> None:
        self._close()
        if self.reconciled:
            await self._a_night()

    def _close(self) -> None:
        """Both banks state the day, and it is the next morning."""
        today = bank_date(self.clock())
        self.courier.city.state(today)
        self.courier.files.close_day(today)
        tomorrow = datetime.combine(today + timedelta(days=1), _MORNING, BANK_ZONE)
        self.clock.moment = tomorrow.astimezone(self.clock().tzinfo)

    # --- the end ------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Nothing more is lost and nobody dies; all that is on its way arrives."""
        self.trace.say("everything arrives")
        self.mortals.danger = self.courier.trouble = self.wire.trouble = 0.0
        self.clock.moment += _LEASE
        for _ in range(_ROUNDS):
            await self._a_whole_day()
        for left in reversed(range(_MORE_ROUNDS + _ROUNDS)):
            lost = [each for each in self.payments if self._state(each) == "UNKNOWN"]
            if left >= _ROUNDS:
                for payment in lost:
                    await self._send_again(payment)
            on_their_way = [each for each in self.payments if in_flight(State(self._state(each)))]
            if (lost and left >= _ROUNDS) or len(on_their_way) > len(lost):
                await self._a_whole_day()
        if self.reconciled:
            await self._a_night()
        self.clock.moment += TTL
        await self._a_round_of_the_gateway()
        await self.watch.look()
        await self.watch.look_back(reconciled=self.reconciled)

    async def _a_whole_day(self) -> None:
        """What is to be sent is sent, what the banks say of it is heard."""
        await self._a_round_of_the_gateway()
        await self._orders_reach_the_bank()
        self._decide([PAID])
        self.clock.moment += ANSWER_DUE
        self._close()
        self.courier.bring_mislaid()
        await self._files_come_from_the_banks()
        await self._a_round_of_the_gateway()
        await self.watch.look()


_WEIGHTS: Final[dict[Callable[[Day], Awaitable[None]], float]] = {
    Day._a_firm_asks: 4,
    Day._a_firm_asks_for_a_batch: 1,
    Day._both_sign: 7,
    Day._anybody_signs: 0.7,
    Day._a_signer_refuses: 0.4,
    Day._a_firm_withdraws: 0.4,
    Day._a_lost_payment_is_sent_again: 1,
    Day._an_old_call_again: 1,
    Day._a_receipt_is_booked: 1,
    Day._a_line_is_corrected: 0.6,
    Day._a_round_of_the_gateway: 4,
    Day._orders_are_sent: 3,
    Day._files_are_taken_in: 1.5,
    Day._orders_reach_the_bank: 3,
    Day._files_come_from_the_banks: 3,
    Day._an_old_file_comes_again: 0.5,
    Day._the_channel_bank_decides: 1,
    Day._a_bank_does_something_by_itself: 0.8,
    Day._hours_pass: 1.5,
    Day._a_day_ends: 1.5,
}
"""What can happen, and how often beside the others."""
_WITH_NIGHTS: Final[dict[Callable[[Day], Awaitable[None]], float]] = {
    Day._a_case_is_worked_on: 6,
    Day._a_day_ends: 3,
}
"""What happens besides, or more often, on days that are reconciled."""


async def simulate(stage: Stage, seed: int, also: Callable[[str], object]) -> Trace:
    """Lives through the day of a seed; the same seed gives the same trace, to the letter.

    Args:
        stage: where.
        seed: drives everything.
        also: told each line of the trace at once.

    Raises:
        BrokenError: something does not hold.
    """
    folder, chance, clock = await stage.clear(), Random(seed), StillClock()  # noqa: S311 - a plan
    draw_from(Random(f"{seed}/gateway").randbytes)  # noqa: S311 - as above
    trace = Trace(clock, also)
    files = SimulatedBank.open(folder / "bank", seed)
    account = ACCOUNT_NUMBERS[FILE_FUND]
    files.open_account(account, FILE_FUND, OPENING_MINOR, "CNY", TODAY - timedelta(days=1))
    for payee, behaviour in _PAYEES.items():
        files.behave(payee, behaviour)
    city = CityBank(clock, folder / "city", idle=())
    wire = Wire(city, stage.life, chance, chance.choice(_HARM), trace)
    courier = Courier(files, city, folder / "banks", chance, chance.choice(_HARM), trace)
    banks = WiredBanks(folder / "banks", _OWN_PROFILES, wire)

    def begin() -> Process:
        return Process.begin(stage.store, clock, banks, folder)

    mortals = Mortals(stage.life, begin, begin(), chance, chance.choice(_HARM), trace)
    watch = Watch(stage.owner, courier, trace)
    reconciled = chance.random() < _NIGHTS
    trace.say(
        f"seed {seed}: wire {wire.trouble}, courier {courier.trouble}, danger {mortals.danger}"
        f"{', with nights' if reconciled else ''}"
    )
    day = Day(chance, clock, trace, mortals, wire, courier, watch, reconciled)
    with without_pauses(), capture_logs() as logs:
        await day.live()
    errors = [log for log in logs if log["log_level"] == "error" and log["event"] not in _EXPECTED]
    require(not errors, "errors in the log", *errors)
    return trace
