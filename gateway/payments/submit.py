"""Asking for payments: pure decisions over what a fund can still give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from adapters.profile import payment_violations, together_violations
from gateway.clock import bank_date
from gateway.domain.errors import (
    FieldViolation,
    GatewayError,
    Reason,
    invalid,
    not_found,
    precondition,
)
from gateway.domain.money import format_minor
from gateway.domain.payload import SCHEMA, PaymentPayload, canonical_bytes, payload_refusal, stamp
from gateway.domain.payment import State
from gateway.domain.policy import slots_for
from gateway.ids import new_id, new_nonce
from gateway.payments.record import bank_order

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime, timedelta

    from adapters.profile import BankProfile
    from adapters.reach import Banks
    from gateway.domain.party import Role
    from gateway.domain.policy import SigningPolicy
    from gateway.store import Row


_PATHS: Final = {
    "payee_name": "payee.display_name",
    "payee_account": "payee.account_number",
    "payee_bank_code": "payee.bank_code",
    "amount_minor": "amount.amount_minor",
}
"""Where the fields of the bank and of the signed bytes stand in the request."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One payment asked for.

    Attributes:
        payee_name: holder of the payee's account.
        payee_account: its number.
        payee_bank_code: 联行号, 12 digits.
        amount_minor: minor units, above zero.
        currency: ISO 4217 code.
        purpose: what for.
        budget_line_id: what pays.
        vouchers: SHA-256 of each voucher, at least one.
    """

    payee_name: str
    payee_account: str
    payee_bank_code: str
    amount_minor: int
    currency: str
    purpose: str
    budget_line_id: str
    vouchers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for everything that is decided at one moment.

    Attributes:
        environment: stands in the signed bytes.
        ttl: how long payments may wait for their signatures.
        now: UTC.
        banks: what each bank wants.
    """

    environment: str
    ttl: timedelta
    now: datetime
    banks: Banks


@dataclass(slots=True)
class Means:
    """What a fund can still give while asks are decided, one after the other.

    Attributes:
        fund: its row.
        account: the row of the account that pays.
        profile: what its bank wants.
        policy: the signing policy in force.
        budget: rows of its budget lines, by id.
        vouchers: SHA-256 of those that were uploaded.
        budget_left: minor units that each budget line has left.
        book_left: minor units that each book has left.
    """

    fund: Row
    account: Row
    profile: BankProfile
    policy: SigningPolicy
    budget: Mapping[str, Row]
    vouchers: Collection[str]
    budget_left: dict[str, int]
    book_left: dict[str, int]

    def on_trial(self) -> Means:
        """The same means, from which taking takes nothing here."""
        return replace(self, budget_left=dict(self.budget_left), book_left=dict(self.book_left))


def decide_one(means: Means, ask: Ask, submitter_id: str, terms: Terms) -> dict[str, Any]:
    """The row of a payment with the bytes to sign, its money counted as given.

    Raises:
        GatewayError: the rule that refuses: FIELD_INVALID, CURRENCY_MISMATCH, AMOUNT_OUT_OF_RANGE,
            VOUCHER_MISSING, BUDGET_LINE_CLOSED, BUDGET_EXCEEDED, BALANCE_INSUFFICIENT,
            RESOURCE_NOT_FOUND.
    """
    row = _decide(means, ask, "payment", terms, new_id("p", terms.now))
    return row | {"submitter_party_id": submitter_id}


def decide_batch(
    means: Means, asks: Sequence[Ask], submitter_id: str, terms: Terms
) -> list[dict[str, Any]]:
    """The rows of all payments of a batch, in their order, or a refusal and nothing given.

    Raises:
        GatewayError: of the first item's rule, with a violation for every refused item.
    """
    _require_size(means, len(asks))
    trial = means.on_trial()
    rows, refusals = [], []
    # Sorted, so that the batch keeps its order in lists, on the bank's file and in the book.
    ids = sorted(new_id("p", terms.now) for _ in asks)
    for index, (ask, payment_id) in enumerate(zip(asks, ids, strict=True)):
        try:
            rows.append(_decide(trial, ask, f"payments[{index}]", terms, payment_id))
        except GatewayError as refusal:
            refusals.append((index, refusal))
    if refusals:
        raise _all_refused(refusals, len(asks))
    _require_together(rows, means.profile)
    means.budget_left, means.book_left = trial.budget_left, trial.book_left
    same = {"batch_id": new_id("b", terms.now), "submitter_party_id": submitter_id}
    return [row | same for row in rows]


def _require_size(means: Means, count: int) -> None:
    most = means.profile.batch_maximum
    if count > most:
        message = f"the fund's bank takes at most {most} payments in a batch"
        raise invalid(Reason.LIMIT_EXCEEDED, "header.payment_count", message)


def _require_together(rows: Sequence[Mapping[str, Any]], profile: BankProfile) -> None:
    """Refuses what the bank would of the payments taken together, such as their sum."""
    for finding in together_violations(tuple(bank_order(row) for row in rows), profile):
        raise invalid(Reason.LIMIT_EXCEEDED, "payments", finding.message)


def _all_refused(refusals: Sequence[tuple[int, GatewayError]], count: int) -> GatewayError:
    first = refusals[0][1]
    return GatewayError(
        first.kind,
        first.reason,
        f"{len(refusals)} of {count} payments were refused, so none was held",
        {"refused": str(len(refusals)), "count": str(count)},
        tuple(
            FieldViolation(f"payments[{index}]", f"{refusal.reason}: {refusal.message}")
            for index, refusal in refusals
        ),
        first.subject,
    )


def _decide(means: Means, ask: Ask, path: str, terms: Terms, payment_id: str) -> dict[str, Any]:
    """The payment's row if the fund can give this, counted as given; refuses otherwise."""
    _require_sound(means, ask, path)
    line = _require_open_line(means, ask, bank_date(terms.now))
    row = _row(means, ask, line, terms) | {
        "payment_id": payment_id,
        "payload": _payload(means, ask, payment_id, terms, path),
    }
    _require_fit(row, means.profile, path)
    left = means.budget_left[line.budget_line_id]
    name = f"funds/{line.fund_id}/budgetLines/{line.budget_line_id}"
    _require_left(ask, left, Reason.BUDGET_EXCEEDED, name, "the budget line")
    left = means.book_left[line.book]
    name = f"funds/{line.fund_id}"
    _require_left(ask, left, Reason.BALANCE_INSUFFICIENT, name, f"the {line.book} book")
    means.budget_left[line.budget_line_id] -= ask.amount_minor
    means.book_left[line.book] -= ask.amount_minor
    return row


def _require_open_line(means: Means, ask: Ask, today: date) -> Row:
    line = means.budget.get(ask.budget_line_id)
    if line is None:
        raise not_found(f"funds/{means.fund.fund_id}/budgetLines/{ask.budget_line_id}")
    name = f"funds/{line.fund_id}/budgetLines/{line.budget_line_id}"
    if not line.start_date <= today <= line.end_date:
        raise precondition(
            Reason.BUDGET_LINE_CLOSED,
            name,
            f"the budget line runs from {line.start_date} to {line.end_date}",
            start_date=str(line.start_date),
            end_date=str(line.end_date),
        )
    return line


def _require_sound(means: Means, ask: Ask, path: str) -> None:
    if ask.amount_minor <= 0:
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, f"{path}.amount.amount_minor", "must be above 0")
    if ask.currency != means.fund.currency:
        raise invalid(
            Reason.CURRENCY_MISMATCH,
            f"{path}.amount.currency",
            f"the fund's currency is {means.fund.currency}",
        )
    missing = [digest for digest in ask.vouchers if digest not in means.vouchers]
    if missing or not ask.vouchers:
        raise precondition(
            Reason.VOUCHER_MISSING,
            f"funds/{means.fund.fund_id}",
            f"{len(missing)} of {len(ask.vouchers)} vouchers were never uploaded to this fund",
            missing=",".join(missing),
        )


def _require_fit(row: Mapping[str, Any], profile: BankProfile, path: str) -> None:
    """Refuses what the bank would: better now than after two people have signed it."""
    for finding in payment_violations(bank_order(row), profile, path):
        where = _path(path, finding.message.partition(" ")[0])
        raise invalid(Reason.FIELD_INVALID, where, finding.message)


def _of_request(refusal: GatewayError, path: str) -> GatewayError:
    """What is wrong with the bytes to sign, told of the fields that were asked for."""
    violations = tuple(
        replace(each, field=_path(path, each.field.removeprefix("payload.")))
        for each in refusal.violations
    )
    return replace(refusal, violations=violations)


def _path(path: str, field_name: str) -> str:
    return f"{path}.{_PATHS.get(field_name, field_name)}"


def _require_left(ask: Ask, left_minor: int, reason: Reason, subject: str, what: str) -> None:
    if ask.amount_minor > left_minor:
        raise precondition(
            reason,
            subject,
            f"{what} has {format_minor(left_minor, ask.currency)} left,"
            f" {format_minor(ask.amount_minor, ask.currency)} were asked for",
            left_minor=str(left_minor),
            asked_minor=str(ask.amount_minor),
        )


def _row(means: Means, ask: Ask, line: Row, terms: Terms) -> dict[str, Any]:
    """The stored payment, but for its id and the bytes to sign."""
    return {
        "fund_id": means.fund.fund_id,
        "batch_id": "",
        "transmission_id": "",
        "account_id": means.account.account_id,
        "payee_name": ask.payee_name,
        "payee_account": ask.payee_account,
        "payee_bank_code": ask.payee_bank_code,
        "amount_minor": ask.amount_minor,
        "currency": ask.currency,
        "purpose": ask.purpose,
        "budget_line_id": ask.budget_line_id,
        "book": line.book,
        "category": line.category,
        "vouchers": list(ask.vouchers),
        "state": State.HELD.value,
        "policy_version": means.policy.version,
        "created_at": terms.now,
        "expires_at": terms.now.replace(microsecond=0) + terms.ttl,
    }


def _payload(means: Means, ask: Ask, payment_id: str, terms: Terms, path: str) -> bytes:
    """The exact bytes that two persons will sign."""
    slots = slots_for(means.policy, ask.amount_minor)
    fund = f"funds/{means.fund.fund_id}"
    start = terms.now.replace(microsecond=0)
    try:
        payload = PaymentPayload(
            schema=SCHEMA,
            environment=terms.environment,
            estate=f"estates/{means.fund.estate_id}",
            fund=fund,
            payment=f"{fund}/payments/{payment_id}",
            payee_name=ask.payee_name,
            payee_account=ask.payee_account,
            payee_bank_code=ask.payee_bank_code,
            amount_minor=str(ask.amount_minor),
            currency=ask.currency,
            purpose=ask.purpose,
            budget_line=f"{fund}/budgetLines/{ask.budget_line_id}",
            vouchers=ask.vouchers,
            policy_version=str(means.policy.version),
            nonce=new_nonce(),
            not_before=stamp(start),
            expires=stamp(start + terms.ttl),
            required_roles=(_roles(slots[0]), _roles(slots[1])),
        )
    except ValidationError as error:
        raise _of_request(payload_refusal(error), path) from None
    return canonical_bytes(payload)


def _roles(slot: frozenset[Role]) -> tuple[Role, ...]:
    return tuple(sorted(slot))
