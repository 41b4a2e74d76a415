"""The simulated bank: orders in `in/`, answers and statements in `out/`, read orders in `done/`.

The caller gives every date and time; days are counted as in China (UTC+8). Randomness only
dresses up the bank's serials and comes from the seed, so the same calls give the same files.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Final, Self

from adapters.calendar import Calendar, add_working_days
from adapters.formats import camt053, pain001, pain002
from adapters.model import (
    Balance,
    Batch,
    Entry,
    ParseError,
    Payment,
    Statement,
    Status,
    StatusReport,
)
from adapters.profile import load_profile
from adapters.simulator.state import Account, Answered, Behaviour, Due, Posting, State, load, save
from adapters.transports.directory import collect, place

CHINA: Final = timezone(timedelta(hours=8))
_ACCOUNT: Final = re.compile(r"[0-9A-Za-z-]{1,34}")
_STATEMENT_TIME: Final = time(6, 0, tzinfo=CHINA)
"""Statements of a day are made the next morning."""
_ORDINARY: Final = Behaviour()

# Reason codes of ISO 20022 (external status reason code list).
_INVALID_FILE: Final = "FF01"
_DUPLICATE_MESSAGE: Final = "DU01"
_DUPLICATE_PAYMENT: Final = "AM05"
_NO_DEBTOR_ACCOUNT: Final = "AC02"
_WRONG_CURRENCY: Final = "AM03"
_NOT_POSITIVE: Final = "AM12"
_NO_FUNDS: Final = "AM04"


class SimulatedBank:
    """A bank in a directory. Every call that changes something is on disk when it returns."""

    def __init__(self, directory: Path, state: State, calendar: Calendar) -> None:
        self._directory = directory
        self._state = state
        self._calendar = calendar

    @classmethod
    def open(cls, directory: Path, seed: int = 0, calendar: Calendar | None = None) -> Self:
        """The bank in a directory, founded there if it is new; only then the seed counts.

        Args:
            directory: Where it keeps its state and its files.
            seed: Of its serials.
            calendar: The days on which it returns payments; those of the profile `demo` if none is
                given. It books and states every day all the same.
        """
        for folder in ("in", "out", "done"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        worked = calendar or load_profile("demo").calendar
        return cls(directory, load(directory / "bank.json", seed), worked)

    @property
    def inbox(self) -> Path:
        """Where orders (pain.001) arrive."""
        return self._directory / "in"

    @property
    def outbox(self) -> Path:
        """Where answers (pain.002) and statements (camt.053) lie."""
        return self._directory / "out"

    def balance_minor(self, account: str) -> int:
        """The booked balance, signed minor units."""
        return self._account(account).balance_minor

    def open_account(
        self, account: str, name: str, opening_minor: int, currency: str, on: date
    ) -> None:
        """Open an account; its opening balance stands on the first statement.

        Raises:
            ValueError: The account exists, or its number is not 1 to 34 letters and digits.
        """
        if account in self._state.accounts or not _ACCOUNT.fullmatch(account):
            raise ValueError("an account number is new, 1 to 34 letters, digits or hyphens")
        self._state.accounts[account] = Account(
            name=name,
            currency=currency,
            balance_minor=opening_minor,
            stated=Balance(on, opening_minor),
        )
        self._save()

    def behave(self, key: str, behaviour: Behaviour) -> None:
        """Treat payments so, by their `end_to_end_id` or, less specific, their payee account."""
        self._state.behaviours[key] = behaviour
        self._save()

    def lump(self, account: str) -> None:
        """Book every batch from this account as one debit, whatever the order asks for."""
        self._account(account).lump = True
        self._save()

    def omit_day(self, account: str, on: date) -> None:
        """Issue no statement of this day: the money moves, the next statement has a gap before."""
        self._account(account).omitted_days.add(on)
        self._save()

    def receive(  # noqa: PLR0913 - what an entry says, each by its name
        self,
        account: str,
        amount_minor: int,
        on: date,
        counterparty_name: str,
        counterparty_account: str,
        *,
        reference: str = "",
        text: str = "",
        end_to_end_id: str = "",
    ) -> str:
        """Money from outside (below zero: to outside); returns the bank's serial."""
        paid_in = replace(
            _draft(on, amount_minor, self._account(account).currency),
            counterparty_name=counterparty_name,
            counterparty_account=counterparty_account,
            reference=reference,
            text=text,
            end_to_end_id=end_to_end_id,
        )
        return self._book_now(account, paid_in)

    def charge_fee(self, account: str, amount_minor: int, on: date, text: str) -> str:
        """The bank takes a fee, given above zero; returns its serial.

        Raises:
            ValueError: The fee is not above zero.
        """
        if amount_minor <= 0:
            raise ValueError("a fee is above zero")
        fee = _draft(on, -amount_minor, self._account(account).currency)
        return self._book_now(account, replace(fee, text=text))

    def repeat_entry(self, account: str, key: str, on: date) -> str:
        """Book an entry a second time, by its serial or `end_to_end_id`; returns the new serial.

        The money really moves again and balances agree; only the serial is a new one, as when a
        bank's operator posts a voucher twice.

        Raises:
            LookupError: The account has no such entry.
        """
        held = self._account(account)
        for posting in (*held.postings, *held.history):
            if key and key in {posting.entry.entry_id, posting.entry.end_to_end_id}:
                again = replace(posting.entry, booking_date=on)
                return self._book_now(account, again, posting.lump_count)
        raise LookupError("no such entry on this account")

    def process(self, now: datetime) -> list[Path]:
        """Take the orders in `in/`, move money, write the answers; returns the answers written."""
        return [
            answer for path in collect(self.inbox) if (answer := self._take(path, now)) is not None
        ]

    def close_day(self, on: date) -> list[Path]:
        """Book what falls due, then state the day: one camt.053 an account.

        Closing the last closed day again gives the same files and books nothing.

        Raises:
            ValueError: A later day is closed already.
        """
        closed = self._state.closed_on
        if closed is not None and on < closed:
            raise ValueError(f"{closed} is closed already")
        if on != closed:
            self._book_due(on)
            for account in sorted(self._state.accounts):
                self._state_day(account, on)
            self._state.closed_on = on
            self._save()
        return sorted(self.outbox.glob(f"camt053_*_{on}.xml"))

    # The order's way: file, batch, a verdict for each payment, money, answer.

    def _take(self, path: Path, now: datetime) -> Path | None:
        answered = self._answered(path.read_bytes(), now)
        self._save()  # before the answer leaves: after a crash it answers again and pays once
        written = None
        if answered.answer:
            written = place(answered.answer.encode(), self.outbox / answered.name)
        path.replace(self._directory / "done" / path.name)
        return written

    def _answered(self, content: bytes, now: datetime) -> Answered:
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            batch = pain001.parse(content)
        except ParseError:
            return self._refusal(pain001.NOT_PROVIDED, _INVALID_FILE, sha256, now)
        before = self._state.answered.get(batch.message_id)
        if before is None:
            answered = self._answer(batch.message_id, self._pay(batch, now), sha256, now)
            if any(self._behaviour(payment).silent for payment in batch.payments):
                answered = Answered(sha256=sha256, name=answered.name, answer="")
            self._state.answered[batch.message_id] = answered
            return answered
        if before.sha256 == sha256:
            return before
        return self._refusal(batch.message_id, _DUPLICATE_MESSAGE, sha256, now)

    def _refusal(self, message_id: str, reason: str, sha256: str, now: datetime) -> Answered:
        refused = pain002.status(pain002.REJECTED, reason=reason)
        return self._answer(message_id, [refused], sha256, now)

    def _answer(
        self, message_id: str, statuses: list[Status], sha256: str, now: datetime
    ) -> Answered:
        report = StatusReport(f"S{sha256[:24]}", message_id, now, tuple(statuses))
        answer = pain002.render(report, pain001.VERSION).decode()
        return Answered(sha256=sha256, name=f"pain002_{sha256[:24]}.xml", answer=answer)

    def _pay(self, batch: Batch, now: datetime) -> list[Status]:
        """Verdicts in the order of the payments; money moves for those that pass."""
        verdicts = []
        taken: list[Payment] = []
        for payment in batch.payments:
            reason = self._objection(batch, payment, taken)
            if not reason:
                taken.append(payment)
                self._state.paid.add(_once(batch, payment))
            verdicts.append(self._verdict(batch, payment, reason))
        if taken:
            self._move(batch, taken, self._open_day(now.astimezone(CHINA).date()))
        return verdicts

    def _objection(self, batch: Batch, payment: Payment, taken: list[Payment]) -> str:
        """The reason code for which the bank will not pay, or empty."""
        account = self._state.accounts.get(batch.debtor_account)
        if account is None:
            return _NO_DEBTOR_ACCOUNT
        if payment.amount_minor <= 0:
            return _NOT_POSITIVE
        if payment.currency != account.currency:
            return _WRONG_CURRENCY
        if _once(batch, payment) in self._state.paid:
            return _DUPLICATE_PAYMENT
        if reason := self._behaviour(payment).reject_code:
            return reason
        committed_minor = sum(one.amount_minor for one in taken) + payment.amount_minor
        return _NO_FUNDS if committed_minor > self._available_minor(batch.debtor_account) else ""

    def _available_minor(self, account: str) -> int:
        """The balance less what the bank has promised to pay out."""
        promised_minor = sum(
            due.entry.amount_minor
            for due in self._state.due
            if due.account == account and due.entry.amount_minor < 0
        )
        return self._account(account).balance_minor + promised_minor

    def _verdict(self, batch: Batch, payment: Payment, reason: str) -> Status:
        accepted = "ACSP" if self._behaviour(payment).book_next_day else "ACSC"
        return pain002.status(
            pain002.REJECTED if reason else accepted,
            end_to_end_id=payment.end_to_end_id,
            batch_id=batch.batch_id,
            reason=reason,
        )

    def _move(self, batch: Batch, taken: list[Payment], on: date) -> None:
        today = [one for one in taken if not self._behaviour(one).book_next_day]
        if today and (batch.batch_booking or self._account(batch.debtor_account).lump):
            self._book(batch.debtor_account, _lump(batch, today, on), on, len(today))
        else:
            for payment in today:
                self._book(batch.debtor_account, _debit(batch, payment, on), on)
        for payment in taken:
            self._state.due.extend(self._later(batch, payment, on))

    def _later(self, batch: Batch, payment: Payment, on: date) -> Iterator[Due]:
        """What an accepted payment brings on later days: its debit, its return."""
        behaviour = self._behaviour(payment)
        if behaviour.book_next_day:
            on += timedelta(days=1)
            yield Due(account=batch.debtor_account, on=on, entry=_debit(batch, payment, on))
        if behaviour.return_after_days:
            on = add_working_days(on, behaviour.return_after_days, self._calendar)
            back = replace(
                _debit(batch, payment, on),
                amount_minor=payment.amount_minor,
                return_reason=behaviour.return_reason,
            )
            yield Due(account=batch.debtor_account, on=on, entry=back)

    def _behaviour(self, payment: Payment) -> Behaviour:
        known = self._state.behaviours
        return known.get(payment.end_to_end_id) or known.get(payment.payee_account) or _ORDINARY

    # Booking and stating.

    def _account(self, account: str) -> Account:
        try:
            return self._state.accounts[account]
        except KeyError:
            raise LookupError(f"no account {account} at this bank") from None

    def _open_day(self, on: date) -> date:
        """The day itself, or the first after the last closed one: a stated day stays as it is."""
        closed = self._state.closed_on
        return on if closed is None or on > closed else closed + timedelta(days=1)

    def _book_now(self, account: str, entry: Entry, lump_count: int | None = None) -> str:
        serial = self._book(account, entry, self._open_day(entry.booking_date), lump_count)
        self._save()
        return serial

    def _book(self, account: str, entry: Entry, on: date, lump_count: int | None = None) -> str:
        held = self._account(account)
        serial = self._serial(on)
        booked = replace(entry, entry_id=serial, booking_date=on, value_date=on)
        held.postings.append(Posting(entry=booked, lump_count=lump_count))
        held.balance_minor += entry.amount_minor
        return serial

    def _serial(self, on: date) -> str:
        self._state.serial += 1
        number = self._state.serial
        dressing = random.Random(f"{self._state.seed}/{number}").randrange(10_000)  # noqa: S311 - looks, not secrets
        return f"{on:%Y%m%d}{number:08d}{dressing:04d}"

    def _book_due(self, on: date) -> None:
        falling = [due for due in self._state.due if due.on <= on]
        self._state.due = [due for due in self._state.due if due.on > on]
        for due in sorted(falling, key=lambda one: one.on):
            self._book(due.account, due.entry, self._open_day(due.on))

    def _state_day(self, account: str, on: date) -> None:
        """Move the day's postings onto its statement; an omitted day is closed unstated."""
        held = self._account(account)
        stated = [one for one in held.postings if one.entry.booking_date <= on]
        held.postings = [one for one in held.postings if one.entry.booking_date > on]
        held.history += stated
        opening_minor = held.stated.amount_minor
        held.stated = Balance(on, opening_minor + sum(one.entry.amount_minor for one in stated))
        if on not in held.omitted_days:
            self._publish_statement(account, Balance(on, opening_minor), stated)

    def _publish_statement(self, account: str, opening: Balance, stated: list[Posting]) -> None:
        held = self._account(account)
        on = held.stated.date
        statement = Statement(
            statement_id=f"{on:%Y%m%d}-{account[-24:]}",
            account=account,
            currency=held.currency,
            opening=opening,
            closing=held.stated,
            entries=tuple(one.entry for one in stated),
        )
        content = camt053.render(
            statement,
            message_id=statement.statement_id,
            created_at=datetime.combine(on + timedelta(days=1), _STATEMENT_TIME),
            batch_counts={
                one.entry.entry_id: one.lump_count for one in stated if one.lump_count is not None
            },
        )
        place(content, self.outbox / f"camt053_{account}_{on}.xml")

    def _save(self) -> None:
        save(self._state, self._directory / "bank.json")


def _once(batch: Batch, payment: Payment) -> str:
    """What makes a payment the same payment again at this bank: account and reference."""
    return f"{batch.debtor_account}/{payment.end_to_end_id}"


def _draft(on: date, amount_minor: int, currency: str) -> Entry:
    """An entry that still waits for its serial."""
    return Entry("", on, on, amount_minor, currency)


def _debit(batch: Batch, payment: Payment, on: date) -> Entry:
    return replace(
        _draft(on, -payment.amount_minor, payment.currency),
        end_to_end_id=payment.end_to_end_id,
        batch_id=batch.batch_id,
        counterparty_name=payment.payee_name,
        counterparty_account=payment.payee_account,
        text=payment.purpose,
    )


def _lump(batch: Batch, payments: list[Payment], on: date) -> Entry:
    total_minor = sum(payment.amount_minor for payment in payments)
    return replace(_draft(on, -total_minor, payments[0].currency), batch_id=batch.batch_id)
