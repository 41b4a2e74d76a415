"""The demo's script: one whole working day through every real part, and two days of what follows.

Nothing here reaches behind the gateway: people call it over mutual TLS, the bank exchanges files
with it, and what is checked is what the services answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from xinyi.v1 import bank_service_pb2 as bank_pb
from xinyi.v1 import common_pb2 as common
from xinyi.v1 import disclosure_service_pb2 as disclosure_pb
from xinyi.v1 import ledger_service_pb2 as ledger_pb
from xinyi.v1 import reconciliation_service_pb2 as reconciliation_pb

from adapters.simulator import Behaviour
from gateway.client import LONG_TIMEOUT_S, call
from gateway.demo import world
from gateway.demo.desk import Desk
from gateway.demo.firm import Order
from gateway.demo.people import refusal, request_id
from gateway.demo.register import cny, day_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Gateway
    from gateway.demo.banking import Banking
    from gateway.demo.checks import Expectations
    from gateway.demo.clock import StageClock
    from gateway.demo.firm import Office

_WUTONG, _JINJIANG, _XIANGYANG, _DONGFENG, _DONGFENG_2 = world.ESTATES[:5]

_LIFT: Final = "6222020000000001"
_NAMES: Final = tuple(
    disclosure_pb.VoucherRegion(page=1, x=157, y=y, width=58, height=36) for y in (562, 624)
)
"""Where the lift's invoice names private persons."""

_REJECTED: Final = "6222020000000404"
_SILENT: Final = "6222020000000408"
_RETURNED: Final = "6222020000000409"
_NEXT_DAY: Final = "6222020000000410"
"""Payees' accounts to which the bank answers in its own ways."""

_FEE_MINOR: Final = 1_500
_STRAY_MINOR: Final = 123_456


@dataclass(slots=True)
class Day:
    """The stage and what has happened on it.

    Attributes:
        gateway: the running gateway.
        banking: the bank and its courier.
        office: the desks of firms and signers.
        clock: the stage's time.
        first: the first day.
        say: tells the audience.
        expect: what must be seen.
        names: payments to come back to, by what they are to show.
        wages: the payments of each estate's batch.
        serials: the bank's serial of each receipt, by reference.
        payment_count: how many were asked for and held.
    """

    gateway: Gateway
    banking: Banking
    office: Office
    clock: StageClock
    first: date
    say: Callable[[str], None]
    expect: Expectations
    names: dict[str, str] = field(default_factory=dict)
    wages: dict[str, list[str]] = field(default_factory=dict)
    serials: dict[str, str] = field(default_factory=dict)
    payment_count: int = 0

    async def play(self) -> None:
        """From eight in the morning to the third night's reconciliation."""
        self._open_bank()
        await self._receipts()
        await self._refusals()
        await self._mask_a_voucher()
        await self._ordinary_payments()
        await self._wages()
        await self._special_payments()
        await self._first_afternoon()
        await self._first_night()
        await self._close_a_case()
        await self._second_day()
        await self._third_day()

    # --- the first day ------------------------------------------------------------------------

    def _open_bank(self) -> None:
        bank = self.banking.bank
        for estate in world.ESTATES:
            bank.open_account(
                estate.account_number, estate.display_name, estate.opening_minor, "CNY", self.first
            )
        bank.behave(_REJECTED, Behaviour(reject_code="AC04"))
        bank.behave(_SILENT, Behaviour(silent=True))
        bank.behave(_RETURNED, Behaviour(return_after_days=2, return_reason="AC04"))
        bank.behave(_NEXT_DAY, Behaviour(book_next_day=True))

    async def _receipts(self) -> None:
        self.say("08:00 业主缴费、停车、广告收入入账 · receipts are booked")
        for estate in world.ESTATES:
            for category, summary, amount_minor, count in world.FEES:
                for number in range(1, count + 1):
                    await self._receipt(estate, category, f"{summary} {number:02d}", amount_minor)

    async def _receipt(
        self, estate: world.Estate, category: str, summary: str, amount_minor: int
    ) -> None:
        """The trustee books what the firm reports, and the owner's money reaches the bank."""
        reference = f"{estate.estate_id}-{summary}".upper().replace(" ", "-")
        payer = f"业主（{estate.display_name}）"
        account = "6217000000001234"
        draft = ledger_pb.EntryDraft(
            bank_account=f"funds/{estate.estate_id}/bankAccounts/main",
            book=common.BOOK_COMMON,
            category=category,
            amount=cny(amount_minor),
            summary=summary,
            effective_date=day_message(self.first),
            reference=reference,
            counterparty_name=payer,
            counterparty_account=account,
        )
        maker = await self.office.people.calls(world.MAKER)
        await call(
            maker.ledger.PostEntry,
            ledger_pb.PostEntryRequest(
                parent=f"funds/{estate.estate_id}", entry=draft, request_id=request_id()
            ),
        )
        self.serials[reference] = self.banking.bank.receive(
            estate.account_number, amount_minor, self.first, payer, account, reference=reference
        )

    async def _refusals(self) -> None:
        self.say("09:00 三次应被拒绝的操作 · three things that must be refused")
        await self._over_budget()
        paper = (files("gateway.demo") / "invoice.pdf").read_bytes()
        order = Order("upkeep", "电梯维修", "锐达电梯工程有限公司", _LIFT, 856_000, paper)
        name = await self._submit(_WUTONG, order)
        people = self.office.people
        chair = world.CHAIRS[_WUTONG.committee]

        calls = await people.calls(chair)
        request = await self.office.sign_request(chair, name, tampered=True)
        reason = await refusal(calls.payments.SignPayment, request)
        self.expect.equal("篡改付款内容的签名被拒 · tampered payload", reason, "PAYLOAD_MISMATCH")

        await self.office.sign(chair, name)
        calls = await people.calls(world.CHAIR_AS_CHECKER)
        request = await self.office.sign_request(world.CHAIR_AS_CHECKER, name)
        reason = await refusal(calls.payments.SignPayment, request)
        self.expect.equal("同一自然人第二次签名被拒 · same person twice", reason, "SAME_PERSON")
        await self.office.sign(world.CHECKER, name)

    async def _mask_a_voucher(self) -> None:
        """The firm blacks out names, the gateway numbers; owners read that and nothing else."""
        self.say("09:15 物业公司制作凭证的公开副本 · the public copy of a voucher")
        paper = (files("gateway.demo") / "invoice.pdf").read_bytes()
        voucher = f"funds/{_WUTONG.estate_id}/vouchers/{sha256(paper).hexdigest()}"
        made = await self.office.mask(_WUTONG, voucher, _NAMES)
        seen = (len(made.page_sizes), len(made.regions), made.numbers_masked)
        self.expect.equal(
            "凭证遮盖姓名两处、号码两个 · two names and two numbers blacked out", seen, (1, 2, 2)
        )

    async def _over_budget(self) -> None:
        order = Order("cleaning", "清洁用品", "锦蓉日杂用品有限公司", "6222020000000002", 900_000)
        request = await self.office.request(_WUTONG, order)
        cashier = await self.office.people.calls(world.CASHIERS[_WUTONG.firm])
        reason = await refusal(cashier.payments.SubmitPayment, request)
        self.expect.equal("超预算申请被拒 · over budget", reason, "BUDGET_EXCEEDED")

    async def _submit(self, estate: world.Estate, order: Order) -> str:
        payment = await self.office.submit(estate, order)
        self.payment_count += 1
        return payment.name

    async def _ordinary_payments(self) -> None:
        self.say("09:30 六个基金的日常付款 · ordinary payments of six funds")
        for estate in world.ESTATES:
            for number, (budget, purpose, payee, amount_minor) in enumerate(world.ORDINARY):
                account = f"62220200000001{number:02d}"
                order = Order(budget, purpose, payee, account, amount_minor)
                await self.office.sign_by_both(estate, await self._submit(estate, order))

    async def _wages(self) -> None:
        for estate in world.ESTATES:
            if not estate.employees:
                continue
            who = f"{estate.display_name} {estate.employees} 人"
            self.say(f"10:00 {who}工资一批 · wages, one batch")
            orders = [
                Order(
                    "wages",
                    f"工资 {number:02d}",
                    f"员工{number:02d}",
                    f"62170300000{number:05d}",
                    380_000 + 1_137 * number,
                )
                for number in range(1, estate.employees + 1)
            ]
            names = list(await self.office.submit_wages(estate, orders))
            self.payment_count += len(names)
            self.wages[estate.estate_id] = names
            for name in names:
                await self.office.sign_by_both(estate, name)

    async def _special_payments(self) -> None:
        for key, estate, account, purpose, amount_minor in (
            ("rejected", _JINJIANG, _REJECTED, "水泵配件", 73_300),
            ("silent", _XIANGYANG, _SILENT, "道闸维修", 64_210),
            ("returned", _DONGFENG, _RETURNED, "围墙修补", 58_800),
        ):
            order = Order("upkeep", purpose, "诚信维修服务有限公司", account, amount_minor)
            self.names[key] = await self._submit(estate, order)
            await self.office.sign_by_both(estate, self.names[key])

    async def _first_afternoon(self) -> None:
        self.clock.move_to(self.first, 11)
        await self._exchange()
        self.say("11:00 付款文件送银行，银行回执 · files to the bank, its answers back")
        state = await self.office.state(self.names["rejected"])
        self.expect.equal("银行拒绝一笔 · one bank rejection", state, "REJECTED")
        self.clock.move_to(self.first, 16)
        await self.gateway.work()
        state = await self.office.state(self.names["silent"])
        self.expect.equal("银行无回音的一笔转为未知 · silence becomes UNKNOWN", state, "UNKNOWN")

    async def _exchange(self) -> None:
        """Orders to the bank, the bank at work, its files back."""
        await self.gateway.work()
        self.banking.work(self.clock())
        await self.gateway.work()

    # --- the nights ---------------------------------------------------------------------------

    async def _first_night(self) -> None:
        bank = self.banking.bank
        repeated = f"{_JINJIANG.estate_id}-物业费 01".upper().replace(" ", "-")
        bank.repeat_entry(_JINJIANG.account_number, self.serials[repeated], self.first)
        for estate in (_XIANGYANG, _DONGFENG_2):
            bank.charge_fee(estate.account_number, _FEE_MINOR, self.first, "账户管理费")
        bank.receive(
            _WUTONG.account_number,
            _STRAY_MINOR,
            self.first,
            "不明付款人",
            "6217000000005678",
            text="转账",
        )
        self._leave_broken_file()
        await self._night(self.first)
        await self._check_quarantine()
        state = await self.office.state(self.names["silent"])
        self.expect.equal("未知的一笔由对账单确认 · resolved by the statement", state, "SETTLED")
        await self._check_paid_once()
        await self._check_wages()

    async def _close_a_case(self) -> None:
        self.clock.move_to(self.first + timedelta(days=1), 9)
        self.say("09:00 一项差异由两人处理 · two persons close a case")
        desk = Desk(self.office.people)
        proposal = await desk.propose_fee(_DONGFENG_2)
        reason = await desk.approval_refused(world.MAKER, proposal)
        self.expect.equal("提出人不能自己复核 · nobody approves alone", reason, "ROLE_NOT_ALLOWED")
        case = await desk.approve(proposal)
        self.expect.equal(
            "银行手续费经复核补记并匹配，差异已结 · a bank charge booked by two closes its case",
            (case.state, case.closed_by),
            (reconciliation_pb.CASE_STATE_CLOSED, proposal.name),
        )

    async def _second_day(self) -> None:
        second = self.first + timedelta(days=1)
        self.clock.move_to(second, 11)
        order = Order("power", "公共区域水费", "城市自来水有限公司", "6222020000000003", 41_275)
        await self.office.sign_by_both(_XIANGYANG, await self._submit(_XIANGYANG, order))
        await self._exchange()
        await self._night(second)

    async def _third_day(self) -> None:
        third = self.first + timedelta(days=2)
        self.clock.move_to(third, 15)
        order = Order("upkeep", "路灯更换", "明光照明工程有限公司", _NEXT_DAY, 88_000)
        self.names["in transit"] = await self._submit(_DONGFENG, order)
        await self.office.sign_by_both(_DONGFENG, self.names["in transit"])
        await self._exchange()
        await self._night(third)
        state = await self.office.state(self.names["returned"])
        self.expect.equal("退票一笔 · one payment returned", state, "RETURNED")

    async def _night(self, day: date) -> None:
        """The bank closes the day; next morning its statements come, and everything is matched."""
        self.banking.close_day(day)
        self.clock.move_to(day + timedelta(days=1), 6)
        await self.gateway.work()
        self.say(f"次日 06:00 {day} 的对账单入账并对账 · the night of {day}")
        operator = await self.office.people.calls(world.OPERATOR_PERSON)
        request = reconciliation_pb.StartRunRequest(date=day_message(day), request_id=request_id())
        run = (await call(operator.reconciliation.StartRun, request, LONG_TIMEOUT_S)).run
        self.say(
            f"      {run.matched_bank_entry_count}/{run.bank_entry_count} 笔银行流水已核对，"
            f"{run.case_count} 个差异 · bank entries matched, cases"
        )

    # --- what the first night must show -------------------------------------------------------

    def _leave_broken_file(self) -> None:
        broken = self.banking.gateway_dir / "in" / "broken.xml"
        broken.write_bytes(b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><Bk")

    async def _check_quarantine(self) -> None:
        operator = await self.office.people.calls(world.OPERATOR_PERSON)
        held = await call(
            operator.banks.ListQuarantinedFiles, bank_pb.ListQuarantinedFilesRequest()
        )
        reasons = [file.reason for file in held.files]
        self.expect.equal("残缺的银行文件被隔离 · broken file", reasons, ["FILE_UNREADABLE"])

    async def _check_paid_once(self) -> None:
        entries = await self._entries(_XIANGYANG)
        payment_id = self.names["silent"].rpartition("/")[2]
        debits = [entry for entry in entries if entry.end_to_end_id == payment_id]
        self.expect.equal("未知的一笔只付一次 · paid once", len(debits), 1)

    async def _check_wages(self) -> None:
        for estate in (_WUTONG, _JINJIANG):
            names = self.wages[estate.estate_id]
            states = {await self.office.state(name) for name in names}
            self.expect.equal(
                f"{estate.display_name}工资全部结清 · wages settled", states, {"SETTLED"}
            )
            lumps = [
                entry
                for entry in await self._entries(estate)
                if entry.batch_id and not entry.end_to_end_id
            ]
            seen = [
                (entry.amount.amount_minor < 0, entry.HasField("match_date")) for entry in lumps
            ]
            self.expect.equal(
                f"{estate.display_name}工资合并扣款一笔，已对上整批 · one debit for the batch",
                seen,
                [(True, True)],
            )

    async def _entries(self, estate: world.Estate) -> list[bank_pb.BankEntry]:
        operator = await self.office.people.calls(world.OPERATOR_PERSON)
        request = bank_pb.ListBankEntriesRequest(parent=f"funds/{estate.estate_id}", page_size=1000)
        return list((await call(operator.banks.ListBankEntries, request)).bank_entries)
