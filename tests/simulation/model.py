"""What a fund is, in plain sums: the reference that payments and ledger are compared with.

Nothing is kept that can be added up. Every method answers with the reason for which it refuses, or
with an empty text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

BOOKS = ("COMMON", "MAINTENANCE")
HOLDING = ("HELD", "PARTLY_SIGNED")
AT_BANK = ("RELEASED", "SENT", "ACCEPTED", "UNKNOWN")


@dataclass(slots=True)
class Line:
    """A disclosed line; `closed_on` is the day from which the bank has nothing to do with it."""

    amount_minor: int
    day: date
    book: str
    category: str = "物业费"
    payment_id: str = ""
    closed_on: date | None = None
    corrected: bool = False


@dataclass(slots=True)
class Payment:
    """A payment, who signed it first, and its line once it is released."""

    amount_minor: int
    budget: str
    expires: datetime
    state: str = "HELD"
    first: str = ""
    line: int = 0
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """What a book shows."""

    total_minor: int
    pending_minor: int
    held_minor: int = 0
    available_minor: int = 0


@dataclass(slots=True)
class Fund:
    """One fund at one bank account; its budget lines are all of the common book.

    Attributes:
        opening: the first line: what was taken over.
        budgets: limit of each budget line.
        ttl: how long a payment waits for its signatures.
        answer_due: how long the bank may take to answer.
        lines: all of them, numbered from 1 in this order.
        payments: by id.
        bank: what the bank stated, by day.
    """

    opening: Line
    budgets: dict[str, int]
    ttl: timedelta
    answer_due: timedelta
    lines: list[Line] = field(default_factory=list)
    payments: dict[str, Payment] = field(default_factory=dict)
    bank: list[tuple[date, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines.append(self.opening)
        self.bank.append((self.opening.day, self.opening.amount_minor))

    # --- sums ---------------------------------------------------------------------------------

    def held(self, budget: str) -> int:
        """What payments that wait for signatures keep from others."""
        waiting = [one for one in self.payments.values() if one.state in HOLDING]
        return sum(one.amount_minor for one in waiting if one.budget == budget)

    def spent(self, budget: str) -> int:
        """What went out, or may go out, and has not come back."""
        gone = [one for one in self.payments.values() if one.state in (*AT_BANK, "SETTLED")]
        return sum(one.amount_minor for one in gone if one.budget == budget)

    def bank_minor(self, until: date) -> int:
        """What is in the account at the end of a day."""
        return sum(minor for day, minor in self.bank if day <= until)

    def book(self, name: str, until: date) -> Book:
        """A book at the end of a past day, when nothing is held any more."""
        lines = [one for one in self.lines if one.book == name and one.day <= until]
        pending = [one for one in lines if one.closed_on is None or one.closed_on > until]
        return Book(_sum(lines), _sum(pending))

    def book_now(self, name: str) -> Book:
        """A book at this moment."""
        lines = [one for one in self.lines if one.book == name]
        pending = [one for one in lines if one.closed_on is None]
        held = sum(map(self.held, self.budgets)) if name == "COMMON" else 0
        to_come = _sum([one for one in pending if one.amount_minor > 0])
        total = _sum(lines)
        return Book(total, _sum(pending), held, total - held - to_come)

    # --- people -------------------------------------------------------------------------------

    def refuses(self, amount_minor: int, budget: str) -> str:
        """Why a payment cannot be asked for."""
        if budget not in self.budgets:
            return "RESOURCE_NOT_FOUND"
        if amount_minor > self.budgets[budget] - self.held(budget) - self.spent(budget):
            return "BUDGET_EXCEEDED"
        if amount_minor > self.book_now("COMMON").available_minor:
            return "BALANCE_INSUFFICIENT"
        return ""

    def sign(self, payment_id: str, who: str, role: str, now: datetime) -> str:
        """A signature over the right bytes; the second one releases."""
        one = self.payments[payment_id]
        if one.state not in HOLDING:
            return "STATE_FORBIDS"
        if now > one.expires:
            return "PAYMENT_EXPIRED"
        if who == one.first:
            return "SAME_PERSON"
        if role not in ("OWNERS_COMMITTEE", "TRUSTEE_CHECKER"):
            return "ROLE_NOT_REQUIRED"
        if not one.first:
            one.state, one.first = "PARTLY_SIGNED", who
            return ""
        one.state = "RELEASED"
        self.lines.append(Line(-one.amount_minor, _day(now), "COMMON", payment_id=payment_id))
        one.line = len(self.lines)
        return ""

    def end(self, payment_id: str, state: str) -> str:
        """Refused or withdrawn."""
        one = self.payments[payment_id]
        if one.state not in HOLDING:
            return "STATE_FORBIDS"
        one.state = state
        return ""

    def post(self, line: Line, corrects: int, today: date) -> str:
        """A line by hand: a receipt, a payment made outside, or a correction."""
        if line.amount_minor == 0:
            return "AMOUNT_OUT_OF_RANGE"
        if not self.opening.day <= line.day <= today:
            return "FIELD_INVALID"
        if corrects:
            return self._correct(line, corrects)
        if -line.amount_minor > max(self.book_now(line.book).available_minor, 0):
            return "BALANCE_INSUFFICIENT"
        self.lines.append(line)
        return ""

    def _correct(self, line: Line, number: int) -> str:
        if number > len(self.lines):
            return "RESOURCE_NOT_FOUND"
        wrong = self.lines[number - 1]
        if wrong.payment_id:
            return "FIELD_INVALID"
        if line.amount_minor != -wrong.amount_minor:
            return "AMOUNT_OUT_OF_RANGE"
        if wrong.corrected:
            return "LINE_ALREADY_CORRECTED"
        self._take_back(wrong, line, void=wrong.closed_on is None)
        return ""

    def _take_back(self, wrong: Line, line: Line, *, void: bool) -> None:
        """What the bank never confirmed it never will: both are closed together."""
        wrong.corrected = True
        self.lines.append(line)
        if void:
            wrong.closed_on = line.closed_on = line.day

    # --- time and the bank --------------------------------------------------------------------

    def look_at_the_clock(self, now: datetime) -> None:
        """What is not signed in time expires, and of what is not answered in time nobody knows."""
        for one in self.payments.values():
            if one.state in HOLDING and one.expires < now:
                one.state = "EXPIRED"
            if one.state == "SENT" and one.due is not None and one.due < now:
                one.state = "UNKNOWN"

    def send(self, now: datetime) -> None:
        """All that is released goes to the bank."""
        for one in self.payments.values():
            if one.state == "RELEASED":
                one.state, one.due = "SENT", now + self.answer_due

    def news(self, payment_id: str, said: str, now: datetime) -> None:
        """The bank's answer; what was final before it stays as it is."""
        one = self.payments[payment_id]
        if one.state in AT_BANK:
            one.state = said
            if said == "REJECTED":
                self._back(one, _day(now), void=True)

    def state_entry(self, payment_id: str, minor: int, day: date) -> None:
        """An entry of a statement that names a payment, or none."""
        self.bank.append((day, minor))
        one = self.payments.get(payment_id)
        if one is None:
            return
        if minor < 0 and one.state in AT_BANK:
            one.state = "SETTLED"
        elif minor > 0 and one.state == "SETTLED":
            one.state = "RETURNED"
            self._back(one, day, void=False)

    def _back(self, one: Payment, day: date, *, void: bool) -> None:
        wrong = self.lines[one.line - 1]
        line = Line(one.amount_minor, day, "COMMON", payment_id=wrong.payment_id)
        self._take_back(wrong, line, void=void)


def _sum(lines: list[Line]) -> int:
    return sum(one.amount_minor for one in lines)


def _day(moment: datetime) -> date:
    """The bank's day, eight hours ahead of UTC."""
    return (moment + timedelta(hours=8)).date()
