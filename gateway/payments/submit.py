"""Asking for payments: every item is decided in memory, then all are held or none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
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
from gateway.domain.payment import Event, State
from gateway.domain.policy import slots_for
from gateway.ids import new_id, new_nonce
from gateway.ledger.holds import Purse, hold
from gateway.ledger.writer import lock_fund
from gateway.payments.record import Change, bank_order, event_row
from gateway.registry.authority import load_policy
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

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
    """What holds for every payment of one call.

    Attributes:
        environment: stands in the signed bytes.
        ttl: how long the payments may wait for their signatures.
        submitter_party_id: who asks.
        actor: which person asks.
        now: UTC.
        banks: what each bank wants.
    """

    environment: str
    ttl: timedelta
    submitter_party_id: str
    actor: str
    now: datetime
    banks: Banks


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was held: payment ids in the order asked, and the batch, empty for a single payment."""

    batch_id: str
    payment_ids: tuple[str, ...]


@dataclass(slots=True)
class _Means:
    """What the fund can still give while the items of one call are decided, one after the other."""

    fund: Row
    account: Row
    profile: BankProfile
    policy: SigningPolicy
    budget: Mapping[str, Row]
    vouchers: frozenset[str]
    budget_left: dict[str, int] = field(default_factory=dict)
    book_left: dict[str, int] = field(default_factory=dict)


async def submit_one(conn: AsyncConnection, fund_id: str, ask: Ask, terms: Terms) -> str:
    """Holds the money for one payment and stores the bytes to sign.

    Returns:
        The payment's id.

    Raises:
        GatewayError: the rule that refuses: FIELD_INVALID, CURRENCY_MISMATCH, AMOUNT_OUT_OF_RANGE,
            VOUCHER_MISSING, BUDGET_LINE_CLOSED, BUDGET_EXCEEDED, BALANCE_INSUFFICIENT,
            POLICY_MISSING, RESOURCE_NOT_FOUND.
    """
    means = await _load_means(conn, fund_id, (ask,), terms.banks)
    row = _decide(means, ask, "payment", terms, new_id("p", terms.now))
    await _store(conn, [row], terms)
    return str(row["payment_id"])


async def submit_batch(
    conn: AsyncConnection, fund_id: str, asks: Sequence[Ask], terms: Terms
) -> Submitted:
    """Holds the money for all payments of a batch, or for none.

    Raises:
        GatewayError: of the first item's rule, with a violation for every refused item.
    """
    means = await _load_means(conn, fund_id, asks, terms.banks)
    _require_size(means, len(asks))
    rows, refusals = [], []
    # Sorted, so that the batch keeps its order in lists, on the bank's file and in the book.
    ids = sorted(new_id("p", terms.now) for _ in asks)
    for index, (ask, payment_id) in enumerate(zip(asks, ids, strict=True)):
        try:
            rows.append(_decide(means, ask, f"payments[{index}]", terms, payment_id))
        except GatewayError as refusal:
            refusals.append((index, refusal))
    if refusals:
        raise _all_refused(refusals, len(asks))
    _require_together(rows, means.profile)
    batch_id = new_id("b", terms.now)
    await conn.execute(
        t.batches.insert().values(
            fund_id=fund_id, batch_id=batch_id, payment_count=len(rows), created_at=terms.now
        )
    )
    await _store(conn, [row | {"batch_id": batch_id} for row in rows], terms)
    return Submitted(batch_id, tuple(row["payment_id"] for row in rows))


def _require_size(means: _Means, count: int) -> None:
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


async def _load_means(
    conn: AsyncConnection, fund_id: str, asks: Sequence[Ask], banks: Banks
) -> _Means:
    fund = await lock_fund(conn, fund_id)
    budget = await _rows_by_id(
        conn, t.budget_lines, fund_id, "budget_line_id", {ask.budget_line_id for ask in asks}
    )
    wanted = {digest for ask in asks for digest in ask.vouchers}
    stored = await conn.execute(
        sa.select(t.vouchers.c.sha256).where(
            t.vouchers.c.fund_id == fund_id, t.vouchers.c.sha256.in_(wanted)
        )
    )
    account = await _paying_account(conn, fund_id)
    means = _Means(
        fund=fund,
        account=account,
        profile=banks.profile(account.profile_id),
        policy=await load_policy(conn, fund_id),
        budget=budget,
        vouchers=frozenset(stored.scalars()),
    )
    for line in budget.values():
        left = line.limit_minor - line.held_minor - line.spent_minor
        means.budget_left[line.budget_line_id] = left
    books = await conn.execute(sa.select(t.books).where(t.books.c.fund_id == fund_id))
    for book in books:
        # Receipts that the bank has not confirmed are not there to be spent.
        left = book.total_minor - book.held_minor - book.pending_in_minor
        means.book_left[book.book] = left
    return means


async def _rows_by_id(
    conn: AsyncConnection, table: sa.Table, fund_id: str, column: str, ids: set[str]
) -> dict[str, Row]:
    query = sa.select(table).where(table.c.fund_id == fund_id, table.c[column].in_(ids))
    return {getattr(row, column): row for row in await conn.execute(query)}


async def _paying_account(conn: AsyncConnection, fund_id: str) -> Row:
    """The account that pays: the fund's first, by id."""
    query = (
        sa.select(t.bank_accounts)
        .where(t.bank_accounts.c.fund_id == fund_id)
        .order_by(t.bank_accounts.c.account_id)
        .limit(1)
    )
    account = (await conn.execute(query)).one_or_none()
    if account is None:
        raise not_found(f"funds/{fund_id}/bankAccounts/-")
    return account


def _decide(means: _Means, ask: Ask, path: str, terms: Terms, payment_id: str) -> dict[str, Any]:
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


def _require_open_line(means: _Means, ask: Ask, today: date) -> Row:
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


def _require_sound(means: _Means, ask: Ask, path: str) -> None:
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


async def _store(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]], terms: Terms) -> None:
    await conn.execute(t.payments.insert(), rows)
    change = Change(Event.HOLD, terms.actor, terms.now)
    events = [
        event_row(row["fund_id"], row["payment_id"], state, change)
        for row in rows
        for state in (State.SUBMITTED, State.HELD)
    ]
    await conn.execute(t.payment_events.insert(), events)
    for purse, amount_minor in _totals(rows).items():
        await hold(conn, purse, amount_minor)


def _totals(rows: Sequence[Mapping[str, Any]]) -> dict[Purse, int]:
    totals: dict[Purse, int] = defaultdict(int)
    for row in rows:
        purse = Purse(row["fund_id"], row["budget_line_id"], row["book"])
        totals[purse] += row["amount_minor"]
    return totals


def _row(means: _Means, ask: Ask, line: Row, terms: Terms) -> dict[str, Any]:
    """The stored payment, but for its id and the bytes to sign."""
    return {
        "fund_id": means.fund.fund_id,
        "batch_id": "",
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
        "submitter_party_id": terms.submitter_party_id,
        "policy_version": means.policy.version,
        "created_at": terms.now,
        "expires_at": terms.now.replace(microsecond=0) + terms.ttl,
    }


def _payload(means: _Means, ask: Ask, payment_id: str, terms: Terms, path: str) -> bytes:
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
