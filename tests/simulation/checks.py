"""What must hold after every step, and when a day is over and everything has arrived."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.domain.payment import TERMINAL, State
from tests.gateway.payments.desk import RULES

if TYPE_CHECKING:
    from tests.simulation.banks import Courier
    from tests.simulation.trace import Trace

_BROKEN: Final = " UNION ALL ".join(
    f"SELECT $${rule}$$ AS rule WHERE EXISTS ({query})" for rule, query in RULES.items()
)
_LINES: Final = """
    SELECT fund_id, line_number, running_minor, amount_minor, account_id, book, category, summary,
        effective_date, disclosed_at, payment_id, batch_id, reference, counterparty_name,
        counterparty_account, vouchers, signatures, corrects, correction_reason
    FROM disclosed_lines ORDER BY disclosed_at, fund_id, line_number"""
_EVENTS: Final = """
    SELECT sequence, payment_id, state, actor, detail FROM payment_events ORDER BY sequence"""
_HELD_FILES: Final = """
    SELECT file_name, reason, detail FROM quarantined_files WHERE replayed_at IS NULL"""
_ENTRIES: Final = """
    SELECT account_number, entry_id, amount_minor
    FROM bank_entries JOIN bank_accounts USING (fund_id, account_id)"""
_BALANCES: Final = "SELECT account_number, bank_minor FROM bank_accounts"
_NAMELESS: Final = """
    SELECT fund_id, side, member_id FROM (
        SELECT fund_id, 'bank' AS side, bank_entry_id AS member_id FROM bank_entries
        WHERE match_id = ''
        UNION ALL
        SELECT fund_id, 'ledger', line_number::text FROM disclosed_lines WHERE match_id = '') o
    WHERE NOT EXISTS (SELECT FROM case_members m JOIN cases c USING (fund_id, case_id)
        WHERE c.open AND (m.fund_id, m.side, m.member_id) = (o.fund_id, o.side, o.member_id))"""
_LINE: Final = "SELECT * FROM disclosed_lines WHERE (fund_id, line_number) = ($1, $2)"
_RESENT: Final = "SELECT payment_id FROM resends WHERE released_at IS NOT NULL"
_ORDER: Final = "PAYENT"


class BrokenError(AssertionError):
    """Something does not hold."""


def require(holds: object, what: str, *found: object) -> None:
    """Stops the simulation unless it holds."""
    if not holds:
        raise BrokenError(f"{what}: {', '.join(map(str, found))}")


@dataclass(slots=True)
class Watch:
    """Looks past the gateway at what it stores, and at what the banks got.

    Attributes:
        owner: a connection that sees everything.
        courier: with both banks.
        trace: told what becomes of payments.
        states: of each payment, by its id.
    """

    owner: Any
    courier: Courier
    trace: Trace
    states: dict[str, str] = field(default_factory=dict)
    _lines: list[Any] = field(default_factory=list)
    _events: list[Any] = field(default_factory=list)

    async def look(self) -> None:
        """After every step."""
        broken = [row[0] for row in await self.owner.fetch(_BROKEN)]
        require(not broken, "money or states", *broken)
        lines = await self.owner.fetch(_LINES)
        require(lines[: len(self._lines)] == self._lines, "what was disclosed has changed")
        events = await self.owner.fetch(_EVENTS)
        require(events[: len(self._events)] == self._events, "what was acknowledged has changed")
        for event in events[len(self._events) :]:
            self.states[event["payment_id"]] = event["state"]
            self.trace.say(f"    {event['payment_id']} {event['state']} {event['detail']}".rstrip())
        self._lines, self._events = lines, events
        await self._nothing_is_ordered_twice()

    async def _nothing_is_ordered_twice(self) -> None:
        again = Counter(row[0] for row in await self.owner.fetch(_RESENT))
        orders = Counter(
            reference
            for message in self.courier.city.received
            if message.code == _ORDER
            for reference in message.references
        )
        orders.update({each: len(digests) for each, digests in self.courier.read.items()})
        twice = {each: times for each, times in orders.items() if times > 1 + again[each]}
        require(not twice, "ordered more often than released", twice)

    async def line(self, fund_id: str, number: int) -> Any:
        """A disclosed line, or None."""
        return await self.owner.fetchrow(_LINE, fund_id, number)

    async def look_back(self, *, reconciled: bool) -> None:
        """When everything has arrived: what the banks did is known, or a case names it."""
        held = await self.owner.fetch(_HELD_FILES)
        require(not held, "files in quarantine", *held)
        known = {(row[0], row[1]): row[2] for row in await self.owner.fetch(_ENTRIES)}
        require(
            known == self.courier.stated, "entries", known.items() ^ self.courier.stated.items()
        )
        for account, minor in await self.owner.fetch(_BALANCES):
            at_bank = self.courier.balance_minor(account)
            require(minor == at_bank, "balance", account, minor, at_bank)
        self._payments_have_ended()
        if reconciled:
            nameless = await self.owner.fetch(_NAMELESS)
            require(not nameless, "open, and in no case", *nameless)

    def _payments_have_ended(self) -> None:
        """All but those of which nobody knows, and these the bank has not paid."""
        open_ = {each: state for each, state in self.states.items() if State(state) not in TERMINAL}
        paid = self.courier.paid()
        wrong = {
            each: state for each, state in open_.items() if state != State.UNKNOWN or each in paid
        }
        require(not wrong, "never ended", wrong)
