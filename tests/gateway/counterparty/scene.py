"""The gateway and mock-bank on one stage: files go round, days pass, and the two are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.store import tables as t
from tests.gateway.payments.desk import ask, batch
from tests.gateway.support import BANK_CODE, OPENING_MINOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from gateway.night import Run
    from gateway.store import Row
    from tests.gateway.counterparty.bridge import MockBank
    from tests.gateway.payments.desk import Desk


@dataclass(slots=True)
class Scene:
    """Both sides, and what a test asks of them.

    Attributes:
        desk: firms, signers and the gateway.
        bank: mock-bank and the courier.
    """

    desk: Desk
    bank: MockBank
    _runs: count[int] = field(default_factory=lambda: count(1))

    async def go_round(self) -> list[str]:
        """Orders to the bank, answers back; returns what the bank made of each file."""
        await self.desk.gateway.work()
        made = self.bank.take()
        self.bank.bring()
        await self.desk.gateway.work()
        return made

    async def next_day(self, days: int = 1) -> None:
        """The bank closes its days and the gateway reads the statements, day by day."""
        for _ in range(days):
            self.bank.days_pass()
            await self.go_round()

    async def reconcile(self, day: date) -> Run:
        """The night's run up to the end of a day."""
        run_id = f"night-{next(self._runs)}"
        return await self.desk.gateway.nights.run(day, run_id)

    async def pay_together(self, payments: Sequence[pb.Payment]) -> list[str]:
        """A batch, asked for at once and signed payment by payment."""
        names = list((await self.desk.submit_all(batch(payments))).payments)
        for name in names:
            await self.desk.sign_by_both(name)
        return names

    # --- what is found ------------------------------------------------------------------------

    async def lines(self, name: str) -> list[tuple[int, str]]:
        """The disclosed lines of a payment: amount and why it corrects another, in order."""
        lines = t.disclosed_lines
        query = (
            sa.select(lines.c.amount_minor, lines.c.correction_reason)
            .where(lines.c.payment_id == id_of(name))
            .order_by(lines.c.line_number)
        )
        return [(row.amount_minor, row.correction_reason) for row in await self.desk.rows(query)]

    async def entries(self, name: str) -> list[int]:
        """What the statements booked for a payment, in order."""
        entries = t.bank_entries
        query = (
            sa.select(entries.c.amount_minor)
            .where(entries.c.end_to_end_id == id_of(name))
            .order_by(entries.c.booking_date, entries.c.bank_entry_id)
        )
        return [row.amount_minor for row in await self.desk.rows(query)]

    async def rows(self, table: sa.Table, **equal: Any) -> Sequence[Row]:
        """Rows of a table in which these columns have these values."""
        query = sa.select(table).order_by(*table.primary_key)
        for name, value in equal.items():
            query = query.where(table.c[name] == value)
        return await self.desk.rows(query)

    async def set_aside(self) -> dict[str, str]:
        """The files in quarantine: message and account, for example ``camt.053 wutong``, to why."""
        held = await self.rows(t.quarantined_files)
        return {_short(row.file_name): row.reason for row in held}

    async def agrees(self) -> None:
        """Paid at most once; ledger and disclosed lines say what is in the account at the bank.

        To be asked when no statement is outstanding.
        """
        assert set(self.bank.debits().values()) <= {1}
        (account,) = await self.rows(t.bank_accounts, fund_id="wutong")
        (book,) = await self.rows(t.books, fund_id="wutong", book="COMMON")
        assert account.bank_minor == book.total_minor == self.bank.balance_minor()
        lines = await self.rows(t.disclosed_lines, fund_id="wutong")
        assert sum(line.amount_minor for line in lines) == self.bank.balance_minor()
        await self.desk.conserved()

    async def all_matched(self, day: date) -> None:
        """The night leaves nothing open and proves both accounts."""
        run = await self.reconcile(day)
        counts = run.counts
        assert counts.matched_bank_entry_count == counts.bank_entry_count
        assert counts.matched_line_count == counts.line_count
        assert (counts.case_count, counts.unproved_account_count) == (0, 0)
        proofs = await self.rows(t.balance_proofs, run_id=run.run_id)
        closing = {proof.fund_id: proof.bank_closing_minor for proof in proofs}
        assert closing == {"wutong": self.bank.balance_minor(), "jinjiang": OPENING_MINOR}
        assert {(proof.proved, proof.difference_minor) for proof in proofs} == {(True, 0)}


def id_of(name: str) -> str:
    """The end-to-end id of a payment."""
    return name.rpartition("/")[2]


def to_account(number: str, amount_minor: int = 1_000) -> pb.Payment:
    """A payment to a payee whose account is there."""
    payee = pb.Payee(
        display_name="锐达电梯工程有限公司", account_number=number, bank_code=BANK_CODE
    )
    return ask(amount_minor, payee=payee)


def _short(file_name: str) -> str:
    kind, account = file_name.split("-")[:2]
    return f"{kind[:8]} {account}"
