"""The gateway and a bank that answers at once: time passes, and the two are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.clock import BANK_ZONE, bank_date
from gateway.store import tables as t
from tests.gateway.support import MAKER, refusal, request_id
from tests.gateway.wires.city_bank import Door

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from gateway.night import Run
    from gateway.store import Row
    from tests.gateway.payments.desk import Desk
    from tests.gateway.wires.city_bank import CityBank

MORNING: Final = time(9)
LEASE: Final = timedelta(minutes=11)
"""After this another process goes on with what one that died has begun."""
_AT_BANK: Final = {"SENT", "ACCEPTED", "UNKNOWN", "SETTLED", "REJECTED", "RETURNED"}


def id_of(name: str) -> str:
    """The end-to-end id of a payment."""
    return name.rpartition("/")[2]


@dataclass(slots=True)
class Stage:
    """Both sides, and what a test asks of them.

    Attributes:
        desk: firms, signers and the gateway.
        city: the bank.
    """

    desk: Desk
    city: CityBank
    _runs: count[int] = field(default_factory=lambda: count(1))

    # --- time -------------------------------------------------------------------------------------

    async def work(self, pause: timedelta = timedelta()) -> None:
        """Time passes, then one round of what the gateway does between calls."""
        self.desk.clock.moment += pause
        await self.desk.gateway.work()

    async def until(self, hour: int, minute: int = 0) -> None:
        """It becomes this time of the bank's day."""
        moment = self.desk.clock.moment.astimezone(BANK_ZONE)
        self.desk.clock.moment = moment.replace(hour=hour, minute=minute)
        await self.desk.gateway.work()

    async def next_morning(self, *, stated: bool = True) -> None:
        """The bank closes the day, with statements or without, and the next morning comes."""
        today = bank_date(self.desk.clock())
        if stated:
            self.city.state(today)
        tomorrow = datetime.combine(today + timedelta(days=1), MORNING, BANK_ZONE)
        self.desk.clock.moment = tomorrow
        await self.desk.gateway.work()

    async def mornings(self, days: int) -> None:
        """Some days pass, all of them stated."""
        for _ in range(days):
            await self.next_morning()

    async def reconcile(self) -> Run:
        """The night's run up to the end of yesterday."""
        day = bank_date(self.desk.clock()) - timedelta(days=1)
        run_id = f"night-{next(self._runs)}"
        return await self.desk.gateway.nights.run(day, run_id)

    # --- sending again ----------------------------------------------------------------------------

    async def lost(self, amount_minor: int = 1_000) -> str:
        """A payment whose order the bank never read."""
        self.city.doors.append(Door.CLOSED)
        name = await self.desk.released(amount_minor)
        await self.work()
        assert await self.desk.state(name) == "UNKNOWN"
        return name

    async def against(self, name: str) -> tuple[set[str], str]:
        """Why a payment may not be sent again yet, and on how many days it was missed."""
        refused = await refusal(self.prepare(name))
        assert refused.reason == "RESEND_TOO_EARLY"
        told = refused.metadata
        return set(told["blockers"].split(",")), told["missed_count"]

    async def prepare(self, name: str) -> pb.Payment:
        """Asks for the bytes to sign that a payment be sent again."""
        request = pb.PrepareResendRequest(name=name, request_id=request_id())
        return (await (await self.desk.stub(MAKER)).PrepareResend(request)).payment  # type: ignore[no-any-return]

    # --- what is found ----------------------------------------------------------------------------

    async def missed(self, name: str) -> list[date]:
        """Days on which an answer of the bank did not know a payment."""
        table = t.inquiries
        query = (
            sa.select(table.c.answered_at)
            .where(sa.literal(id_of(name)) == sa.any_(table.c.missing))
            .order_by(table.c.inquiry_id)
        )
        return [bank_date(row.answered_at) for row in await self.desk.rows(query)]

    async def lines(self, name: str) -> list[tuple[int, str]]:
        """The disclosed lines of a payment: amount and why it corrects another, in order."""
        table = t.disclosed_lines
        query = (
            sa.select(table.c.amount_minor, table.c.correction_reason)
            .where(table.c.payment_id == id_of(name))
            .order_by(table.c.line_number)
        )
        return [(row.amount_minor, row.correction_reason) for row in await self.desk.rows(query)]

    async def holds(self) -> None:
        """Paid at most once, under numbers of their own, and the history names what carried it."""
        assert max(self.city.debits.values(), default=0) <= 1
        numbers = [message.number for message in self.city.received]
        assert len(numbers) == len(set(numbers))
        for payment in await self._payments():
            await self._carried(payment)
        await self.desk.conserved()

    async def settled(self, name: str, amount_minor: int = 1_000) -> None:
        """Paid exactly once, and after the day's statement all sides say so."""
        await self.next_morning()
        assert await self.desk.state(name) == "SETTLED"
        assert self.city.debits == {id_of(name): 1}
        assert await self.lines(name) == [(-amount_minor, "")]
        run = await self.reconcile()
        assert (run.counts.case_count, run.counts.unproved_account_count) == (0, 0)
        accounts, books = t.bank_accounts, t.books
        (account,) = await self.desk.rows(sa.select(accounts).where(accounts.c.fund_id == "wutong"))
        common = (books.c.fund_id == "wutong", books.c.book == "COMMON")
        (book,) = await self.desk.rows(sa.select(books).where(*common))
        assert account.bank_minor == book.total_minor == self.city.balance_minor

    async def _payments(self) -> Sequence[Row]:
        return await self.desk.rows(sa.select(t.payments))

    async def _carried(self, payment: Row) -> None:
        """Each order that the bank read is named, with the hash of the very bytes sent."""
        events = t.payment_events
        query = sa.select(events.c.detail).where(events.c.payment_id == payment.payment_id)
        details = [row.detail for row in await self.desk.rows(query)]
        named = [detail for detail in details if " sha256:" in detail]
        if payment.state in _AT_BANK:
            assert named, payment.state
        for number in self.city.orders(payment.payment_id):
            assert [detail for detail in named if detail.startswith(f"{number}.xml ")], number
