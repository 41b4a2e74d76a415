"""What the demo shows at its end, read through the services: funds and expectations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from rich.table import Table
from xinyi.v1 import disclosure_service_pb2 as disclosure_pb
from xinyi.v1 import ledger_service_pb2 as ledger_pb
from xinyi.v1 import reconciliation_service_pb2 as reconciliation_pb

from gateway.client import LONG_TIMEOUT_S, MAX_ITEMS, CallRefused, call, collect, receive
from gateway.demo import world
from gateway.demo.people import refusal
from gateway.domain.money import format_minor
from gateway.ledger.writer import OPENING_CATEGORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.client import Stubs
    from gateway.demo.checks import Expectations
    from gateway.demo.people import People


@dataclass(frozen=True, slots=True)
class FundSummary:
    """One fund after the demo; amounts in fen.

    Attributes:
        name: of the estate.
        opening_minor: what the account held before.
        in_minor: receipts, less corrections of receipts.
        out_minor: payments, less those that were rejected or came back; below zero.
        closing_minor: the two books together.
        bank_minor: the bank's balance.
        transit_minor: between book and bank.
        matched: lines matched to the bank.
        lines: all lines.
        numbers: the lines' numbers.
        cases: open cases, each with its kind and cause.
        proved: whether the balance proof is zero with everything named.
    """

    name: str
    opening_minor: int
    in_minor: int
    out_minor: int
    closing_minor: int
    bank_minor: int
    transit_minor: int
    matched: int
    lines: int
    numbers: tuple[int, ...]
    cases: Counter[str]
    proved: bool


async def summarise(people: People) -> Sequence[FundSummary]:
    """Every fund, as the trust supervisor sees it."""
    supervisor = await people.calls(
        next(person for person in world.PEOPLE if person.party == world.SUPERVISOR)
    )
    proofs = await call(
        supervisor.reconciliation.ListBalanceProofs,
        reconciliation_pb.ListBalanceProofsRequest(
            parent="reconciliationRuns/latest", page_size=1000
        ),
    )
    proved = {proof.bank_account.split("/")[1]: proof.proved for proof in proofs.proofs}
    return [
        await _fund(supervisor, estate, proved=proved.get(estate.estate_id, False))
        for estate in world.ESTATES
    ]


async def _fund(calls: Stubs, estate: world.Estate, *, proved: bool) -> FundSummary:
    parent = f"funds/{estate.estate_id}"
    lines = (
        await collect(
            calls.disclosure.ListDisclosedLines,
            disclosure_pb.ListDisclosedLinesRequest(parent=parent),
            MAX_ITEMS,
        )
    ).lines
    cases = await call(
        calls.reconciliation.ListCases,
        reconciliation_pb.ListCasesRequest(parent=parent, page_size=1000),
    )
    balance = await call(calls.ledger.GetBalance, ledger_pb.GetBalanceRequest(parent=parent))
    opening = _sum(line for line in lines if line.category == OPENING_CATEGORY)
    received = _sum(line for line in lines if line.amount.amount_minor > 0 and not line.corrects)
    return FundSummary(
        name=estate.display_name,
        opening_minor=opening,
        in_minor=received - opening,
        out_minor=_sum(lines) - received,
        closing_minor=sum(book.total.amount_minor for book in balance.books),
        bank_minor=balance.bank.amount_minor,
        transit_minor=balance.transit.amount_minor,
        matched=sum(line.HasField("match_date") for line in lines),
        lines=len(lines),
        numbers=tuple(line.number for line in lines),
        cases=Counter(_kind(case) for case in cases.cases),
        proved=proved,
    )


def _sum(lines: Iterable[disclosure_pb.DisclosedLine]) -> int:
    return sum(line.amount.amount_minor for line in lines)


def _kind(case: reconciliation_pb.Case) -> str:
    kind = reconciliation_pb.CaseKind.Name(case.kind).removeprefix("CASE_KIND_").lower()
    return f"{kind} ({case.cause})"


async def check(people: People, funds: Sequence[FundSummary], expect: Expectations) -> None:
    """What must hold of the whole."""
    cases = {fund.name: dict(fund.cases) for fund in funds if fund.cases}
    wanted = {
        "梧桐苑": {"missing_in_ledger (unidentified_receipt)": 1},
        "锦江花园": {"duplicate_bank (repeated_entry)": 1},
        "向阳小区": {"missing_in_ledger (bank_fee)": 1},
        "东风院落 1 号院": {"timing (in_transit)": 1},
    }
    expect.equal("差异不多不少，各有其名 · each mismatch found and named", cases, wanted)
    for fund in funds:
        expect.equal(f"{fund.name}余额证明为零 · proof", fund.proved, wanted=True)
        expect.equal(
            f"{fund.name}银行 + 在途 = 账簿 = 公示 · bank + transit = books = lines",
            fund.bank_minor + fund.transit_minor,
            fund.opening_minor + fund.in_minor + fund.out_minor,
        )
        expect.equal(
            f"{fund.name}期初 + 收入 − 支出 = 期末 · opening + in + out = closing",
            fund.opening_minor + fund.in_minor + fund.out_minor,
            fund.closing_minor,
        )
        expect.equal(
            f"{fund.name}公示编号无缺号 · line numbers have no gaps",
            fund.numbers,
            tuple(range(1, fund.lines + 1)),
        )
    await _check_owner(people, expect)


async def _check_owner(people: People, expect: Expectations) -> None:
    owner = await people.calls(
        next(person for person in world.PEOPLE if person.party == "wutong-owners")
    )
    own = disclosure_pb.ListDisclosedLinesRequest(parent="funds/wutong", page_size=1000)
    lines = (await call(owner.disclosure.ListDisclosedLines, own)).lines
    expect.at_least("业主可查本小区明细 · an owner reads the lines", len(lines), 1)
    other = disclosure_pb.ListDisclosedLinesRequest(parent="funds/jinjiang")
    reason = await refusal(owner.disclosure.ListDisclosedLines, other)
    expect.equal("业主看不到别的小区 · and no other estate's", reason, "RESOURCE_NOT_FOUND")
    await _check_voucher(owner, lines, expect)


async def _check_voucher(
    owner: Stubs, lines: Iterable[disclosure_pb.DisclosedLine], expect: Expectations
) -> None:
    """The owner reads the public copy of the lift's voucher, and no original."""
    (lift,) = (line for line in lines if line.summary == "电梯维修")
    (voucher,) = lift.vouchers
    rendition, content = disclosure_pb.VoucherRendition(), b""
    request = disclosure_pb.GetVoucherRenditionRequest(name=voucher)
    async for part in receive(owner.disclosure.GetVoucherRendition, request, LONG_TIMEOUT_S):
        rendition.MergeFrom(part.rendition)
        content += part.content
    expect.equal(
        "业主看到遮盖后的凭证 · an owner sees the masked voucher",
        sha256(content).hexdigest(),
        rendition.sha256,
    )
    reason = await _refused_original(owner, voucher)
    expect.equal("业主看不到原件 · and not the original", reason, "ROLE_NOT_ALLOWED")


async def _refused_original(owner: Stubs, voucher: str) -> str:
    """The reason for which the owner gets no original; empty if there is one."""
    request = disclosure_pb.GetVoucherRequest(name=voucher)
    try:
        await anext(receive(owner.disclosure.GetVoucher, request, LONG_TIMEOUT_S))
    except CallRefused as refused:
        return refused.reason
    return ""


def table_of_funds(funds: Sequence[FundSummary]) -> Table:
    """A row a fund."""
    table = Table(title="各基金结果 · funds (元 yuan)", title_justify="left")
    table.add_column("基金 fund", no_wrap=True)
    for heading in ("期初 opening", "收入 in", "支出 out", "期末 closing", "银行 bank"):
        table.add_column(heading, justify="right")
    table.add_column("已核对 matched", justify="right")
    table.add_column("差异 open cases")
    table.add_column("证明 proof")
    for fund in funds:
        amounts = (
            fund.opening_minor,
            fund.in_minor,
            fund.out_minor,
            fund.closing_minor,
            fund.bank_minor,
        )
        table.add_row(
            fund.name,
            *map(format_minor, amounts),
            f"{fund.matched}/{fund.lines}",
            "\n".join(f"{count} {kind}" for kind, count in sorted(fund.cases.items())) or "—",
            "0.00" if fund.proved else "未证 not proved",
        )
    return table


def table_of_expectations(expect: Expectations) -> Table:
    """A row an expectation."""
    table = Table(title="应见与所见 · what had to be seen", title_justify="left")
    table.add_column("")
    table.add_column("应见 expected")
    table.add_column("所见 seen", overflow="fold")
    for item in expect.items:
        table.add_row("✓" if item.held else "✗", item.what, "" if item.held else item.seen)
    return table
