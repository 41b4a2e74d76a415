"""What a group of orders is decided on: loaded at once, kept in memory, changed by each decision.

The funds are locked before anything else is read, in the order of their ids, and until the
transaction ends: statements, nights and cases go through the same lock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from gateway.domain.errors import GatewayError, not_found
from gateway.domain.party import person_name
from gateway.domain.payment import State
from gateway.ledger.holds import Purse, hold_and_spend
from gateway.payments.record import event_row
from gateway.payments.release import disclose, spent
from gateway.payments.resend import load_evidence, record_again
from gateway.payments.signatures import Papers, load_papers
from gateway.payments.submit import Ask, Means
from gateway.payments.transmissions import queue
from gateway.registry.authority import no_policy, policy_of
from gateway.store import bulk
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.domain.envelope import Envelope
    from gateway.domain.policy import SigningPolicy
    from gateway.domain.resend import Evidence
    from gateway.payments.record import Change
    from gateway.payments.release import Release
    from gateway.payments.resend import Again
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class By:
    """The person who orders something."""

    party_id: str
    person_id: str

    @property
    def actor(self) -> str:
        """The person's resource name."""
        return person_name(self.party_id, self.person_id)


@dataclass(frozen=True, slots=True)
class Asking:
    """Payments asked for: one, or all of a batch."""

    fund_id: str
    by: By
    asks: tuple[Ask, ...]
    is_batch: bool


@dataclass(frozen=True, slots=True)
class Signing:
    """A signature on a payment: the envelope as sent, and read, or why it is none."""

    fund_id: str
    by: By
    payment_id: str
    sent: bytes
    envelope: Envelope | GatewayError


@dataclass(frozen=True, slots=True)
class BatchSigning:
    """One signature on all payments of a batch that the envelope lists; as `Signing`."""

    fund_id: str
    by: By
    batch_id: str
    sent: bytes
    envelope: Envelope | GatewayError


Key: TypeAlias = tuple[str, str]
"""A fund, and the id of something of it."""

UNSIGNED: Final = frozenset({State.HELD, State.PARTLY_SIGNED})
"""States of payments that the rest of their batch waits for."""

Order: TypeAlias = Asking | Signing | BatchSigning


def weight(order: Order) -> int:
    """How many payments an order is about, roughly: what a group is bounded by."""
    return len(order.asks) if isinstance(order, Asking) else 1


@dataclass(slots=True)
class Effects:
    """What the decisions of a group come to, written at its end.

    Attributes:
        payments: new rows.
        batches: new rows.
        signatures: new rows, in order, by payment id.
        envelopes: new rows, by fund and digest.
        events: new rows, in order.
        moves: columns that changed of payments that were there before, by payment id.
        releases: what goes to the bank.
        again: payments that go to it once more.
    """

    payments: list[dict[str, Any]] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    signatures: defaultdict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    envelopes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    moves: dict[str, dict[str, Any]] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)


@dataclass(slots=True)
class Docket:
    """Everything that the orders of one group are about.

    Attributes:
        banks: what each bank wants.
        accounts: by fund, the paying one first.
        payments: rows of those to sign or to release, by fund and id.
        members: of batches that are signed: all their payments in brief, by fund and batch.
        papers: what the signatures stand on.
        evidence: why payments may be sent again, by payment id.
        funds: locked rows, by id.
        appointed: parties appointed to the funds' estates, by fund.
        policies: in force, by fund.
        budget: rows of budget lines, by fund and id.
        books: rows, by fund.
        vouchers: digests that were uploaded, by fund.
        means: what each fund can still give, as far as it was asked.
        effects: what was decided so far.
    """

    banks: Banks
    accounts: Mapping[str, Sequence[Row]]
    payments: Mapping[Key, Row]
    members: Mapping[Key, Sequence[Row]]
    papers: Papers
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    funds: Mapping[str, Row] = field(default_factory=dict)
    appointed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    policies: Mapping[str, SigningPolicy] = field(default_factory=dict)
    budget: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)
    books: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    vouchers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    means: dict[str, Means] = field(default_factory=dict)
    effects: Effects = field(default_factory=Effects)
    _payee_totals: dict[Key, Counter[Key]] = field(default_factory=dict)

    def means_of(self, order: Asking) -> Means:
        """What the fund of an order can still give.

        Raises:
            GatewayError: RESOURCE_NOT_FOUND without such a fund of the caller's, or an account;
                POLICY_MISSING.
        """
        fund_id = order.fund_id
        fund = self.fund_of(order)
        if not self.accounts[fund_id]:
            raise not_found(f"funds/{fund_id}/bankAccounts/-")
        if fund_id not in self.policies:
            raise no_policy(fund_id)
        if fund_id not in self.means:
            self.means[fund_id] = self._means(fund)
        return self.means[fund_id]

    def fund_of(self, order: Order) -> Row:
        """The fund of an order, if it is of an estate to which the caller's party is appointed.

        Raises:
            GatewayError: RESOURCE_NOT_FOUND.
        """
        fund = self.funds.get(order.fund_id)
        if fund is None or order.by.party_id not in self.appointed[order.fund_id]:
            raise not_found(f"funds/{order.fund_id}")
        return fund

    def payment(self, fund_id: str, payment_id: str) -> Row:
        """A payment of a fund.

        Raises:
            GatewayError: RESOURCE_NOT_FOUND.
        """
        found = self.payments.get((fund_id, payment_id))
        if found is None:
            raise not_found(f"funds/{fund_id}/payments/{payment_id}")
        return found

    def view(self, payment: Row) -> Row:
        """A payment as it stands after what was decided so far."""
        moved = self.effects.moves.get(payment.payment_id)
        return bulk.row_of(moved) if moved else payment

    def given(self, payment: Row, attempt: int) -> list[Row]:
        """The signatures on an attempt, those that were decided before included, in order."""
        decided = self.effects.signatures.get(payment.payment_id, ())
        new = [bulk.row_of(row) for row in decided if row["attempt"] == attempt]
        return [*self.papers.given(payment, attempt), *new]

    def move(self, payment: Row, state: State, change: Change, **also: str) -> None:
        """Notes a move that the state machine allows, with its event."""
        moved = self.effects.moves.setdefault(payment.payment_id, payment._asdict())
        moved.update(state=state.value, **also)
        self.effects.events.append(event_row(payment.fund_id, payment.payment_id, state, change))

    def unit(self, payment: Row) -> Sequence[Row]:
        """The payments that are released together with this one, in brief."""
        if not payment.batch_id:
            return [payment]
        return self.members[payment.fund_id, payment.batch_id]

    def account(self, payment: Row) -> Row:
        """The account that pays."""
        accounts = self.accounts[payment.fund_id]
        return next(each for each in accounts if each.account_id == payment.account_id)

    def payee_total_minor(self, payment: Row) -> int:
        """What the payment's whole batch gives its payee, whatever became of its payments."""
        batch = (payment.fund_id, payment.batch_id)
        if batch not in self._payee_totals:
            totals = self._payee_totals[batch] = Counter()
            for each in self.unit(payment):
                totals[each.payee_account, each.payee_bank_code] += each.amount_minor
        return self._payee_totals[batch][payment.payee_account, payment.payee_bank_code]

    def _means(self, fund: Row) -> Means:
        account = self.accounts[fund.fund_id][0]
        budget = self.budget.get(fund.fund_id, {})
        return Means(
            fund=fund,
            account=account,
            profile=self.banks.profile(account.profile_id),
            policy=self.policies[fund.fund_id],
            budget=budget,
            vouchers=self.vouchers.get(fund.fund_id, frozenset()),
            budget_left={
                name: line.limit_minor - line.held_minor - line.spent_minor
                for name, line in budget.items()
            },
            # Receipts that the bank has not confirmed are not there to be spent.
            book_left={
                book.book: book.total_minor - book.held_minor - book.pending_in_minor
                for book in self.books.get(fund.fund_id, ())
            },
        )


# --- reading ----------------------------------------------------------------------------------


async def load(conn: AsyncConnection, orders: Sequence[Order], banks: Banks) -> Docket:
    """Locks the funds of these orders and reads what is needed to decide them."""
    fund_ids = sorted({order.fund_id for order in orders})
    funds = {row.fund_id: row for row in await bulk.fetch(conn, _LOCK_FUNDS, fund_ids)}
    payments = await _payments(conn, orders)
    members = await _members(conn, orders, payments)
    await _complete(conn, payments, members)
    plain = await _plain(conn, orders, fund_ids)
    papers = await _papers(conn, orders, tuple(payments.values()), plain["appointed"])
    evidence = await _evidence(conn, papers, payments, banks)
    return Docket(
        banks=banks,
        funds=funds,
        payments=payments,
        members=members,
        papers=papers,
        evidence=evidence,
        **plain,
    )


async def _plain(
    conn: AsyncConnection, orders: Sequence[Order], fund_ids: Sequence[str]
) -> dict[str, Any]:
    """What nothing else depends on, in one round trip."""
    asks = [(each.fund_id, ask) for each in orders if isinstance(each, Asking) for ask in each.asks]
    asked = sorted({fund_id for fund_id, _ in asks})
    lines = {(fund_id, ask.budget_line_id) for fund_id, ask in asks}
    digests = {(fund_id, digest) for fund_id, ask in asks for digest in ask.vouchers}
    appointed, accounts, policies, books, budget, vouchers = await bulk.fetch_plain(
        conn,
        bulk.Query(_APPOINTED, (fund_ids,)),
        bulk.Query(_ACCOUNTS, (fund_ids,)),
        bulk.Query(_NEWEST_POLICIES, (asked,)),
        bulk.Query(_BOOKS, (asked,)),
        bulk.Query(_BUDGET_LINES, _columns(lines)),
        bulk.Query(_VOUCHERS, _columns(digests)),
    )
    return {
        "appointed": {
            fund_id: frozenset(row.party_id for row in rows)
            for fund_id, rows in _by_fund(appointed, fund_ids).items()
        },
        "accounts": _by_fund(accounts, fund_ids),
        "policies": {row.fund_id: policy_of(row) for row in policies},
        "books": _by_fund(books, asked),
        "budget": {
            fund_id: {row.budget_line_id: _budget_line(row) for row in rows}
            for fund_id, rows in _by_fund(budget).items()
        },
        "vouchers": {
            fund_id: frozenset(row.sha256 for row in rows)
            for fund_id, rows in _by_fund(vouchers).items()
        },
    }


def _budget_line(row: Any) -> Row:  # noqa: ANN401 - a row whose days are texts
    row.start_date = date.fromisoformat(row.start_date)
    row.end_date = date.fromisoformat(row.end_date)
    return cast("Row", row)


async def load_for_release(conn: AsyncConnection, payment: Row, banks: Banks) -> Docket:
    """What is needed to decide whether the batch of a payment goes now; the fund is locked."""
    batch = (payment.fund_id, payment.batch_id)
    members = {batch: await _matching(conn, _MEMBERS, [batch])}
    payments: dict[Key, Row] = {}
    await _complete(conn, payments, members)
    papers = await load_papers(conn, tuple(payments.values()))
    accounts = _by_fund(await bulk.fetch(conn, _ACCOUNTS, [payment.fund_id]))
    return Docket(banks=banks, accounts=accounts, payments=payments, members=members, papers=papers)


async def _payments(conn: AsyncConnection, orders: Sequence[Order]) -> dict[Key, Row]:
    """The payments that are signed: one by one, or all that a batch's envelope may list."""
    single = [(each.fund_id, each.payment_id) for each in orders if isinstance(each, Signing)]
    batches = [(each.fund_id, each.batch_id) for each in orders if isinstance(each, BatchSigning)]
    rows = [
        *(await _matching(conn, _PAYMENTS, single)),
        *(await _matching(conn, _BATCH_PAYMENTS, batches)),
    ]
    return {(row.fund_id, row.payment_id): row for row in rows}


async def _members(
    conn: AsyncConnection, orders: Sequence[Order], payments: Mapping[Key, Row]
) -> dict[Key, Sequence[Row]]:
    """In brief, the payments of every batch of which something is signed."""
    batches = {(row.fund_id, row.batch_id) for row in payments.values() if row.batch_id}
    batches |= {(each.fund_id, each.batch_id) for each in orders if isinstance(each, BatchSigning)}
    found: dict[Key, list[Row]] = {batch: [] for batch in batches}
    for row in await _matching(conn, _MEMBERS, batches):
        found[row.fund_id, row.batch_id].append(row)
    return {batch: tuple(rows) for batch, rows in found.items()}


async def _complete(
    conn: AsyncConnection, payments: dict[Key, Row], members: Mapping[Key, Sequence[Row]]
) -> None:
    """Adds the rest of each batch that these orders may complete: it would be released too."""
    missing = []
    for rows in members.values():
        rest = [row for row in rows if (row.fund_id, row.payment_id) not in payments]
        if not any(State(row.state) in UNSIGNED for row in rest):
            missing += [(row.fund_id, row.payment_id) for row in rest if row.state == State.SIGNED]
    for row in await _matching(conn, _PAYMENTS, missing):
        payments[row.fund_id, row.payment_id] = row


async def _papers(
    conn: AsyncConnection,
    orders: Sequence[Order],
    payments: Sequence[Row],
    appointed: Mapping[str, frozenset[str]],
) -> Papers:
    signing = [order for order in orders if not isinstance(order, Asking)]
    if not signing and not payments:
        return Papers()
    people = {(order.by.party_id, order.by.person_id) for order in signing}
    keys = {
        each.keyid
        for order in signing
        if not isinstance(order.envelope, GatewayError)
        for each in order.envelope.signatures
    }
    return await load_papers(conn, payments, people, keys, appointed)


async def _evidence(
    conn: AsyncConnection, papers: Papers, payments: Mapping[Key, Row], banks: Banks
) -> dict[str, Evidence]:
    """Of the few payments that are signed to be sent again."""
    return {
        payment.payment_id: await load_evidence(conn, payment, banks)
        for payment in payments.values()
        if payment.payment_id in papers.resends and payment.state == State.UNKNOWN
    }


async def _matching(conn: AsyncConnection, query: str, keys: Collection[Key]) -> Sequence[Row]:
    """The rows of pairs of fund and id; no query for none."""
    if not keys:
        return ()
    return await bulk.fetch(conn, query, *_columns(keys))


def _columns(keys: Collection[Key]) -> tuple[list[str], list[str]]:
    """Pairs as two lists, of no pair too."""
    return [first for first, _ in keys], [second for _, second in keys]


def _by_fund(rows: Sequence[Row], fund_ids: Sequence[str] = ()) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {fund_id: [] for fund_id in fund_ids}
    for row in rows:
        found.setdefault(row.fund_id, []).append(row)
    return found


_LOCK_FUNDS: Final = """
    SELECT * FROM funds WHERE fund_id = ANY($1::text[]) ORDER BY fund_id FOR UPDATE
"""
_APPOINTED: Final = "SELECT fund_id, party_id FROM appointed($1::text[])"
_ACCOUNTS: Final = """
    SELECT fund_id, account_id, profile_id FROM bank_accounts
    WHERE fund_id = ANY($1::text[]) ORDER BY fund_id, account_id
"""
_NEWEST_POLICIES: Final = """
    SELECT DISTINCT ON (fund_id) fund_id, version, tiers FROM signing_policies
    WHERE fund_id = ANY($1::text[]) ORDER BY fund_id, version DESC
"""
_BOOKS: Final = """
    SELECT fund_id, book, total_minor, held_minor, pending_in_minor FROM books
    WHERE fund_id = ANY($1::text[])
"""
_BUDGET_LINES: Final = """
    SELECT l.fund_id, l.budget_line_id, l.book, l.category, l.limit_minor, l.held_minor,
        l.spent_minor, l.start_date, l.end_date
    FROM budget_lines l
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, budget_line_id)
        USING (fund_id, budget_line_id)
"""
_VOUCHERS: Final = """
    SELECT v.fund_id, v.sha256 FROM vouchers v
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, sha256) USING (fund_id, sha256)
"""
_PAYMENTS: Final = """
    SELECT p.* FROM payments p
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, payment_id) USING (fund_id, payment_id)
"""
_BATCH_PAYMENTS: Final = """
    SELECT p.* FROM payments p
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, batch_id) USING (fund_id, batch_id)
    WHERE p.state IN ('HELD', 'PARTLY_SIGNED', 'SIGNED')
"""
_MEMBERS: Final = """
    SELECT p.fund_id, p.batch_id, p.payment_id, p.state, p.amount_minor,
        p.payee_account, p.payee_bank_code
    FROM payments p
    JOIN unnest($1::text[], $2::text[]) AS n(fund_id, batch_id) USING (fund_id, batch_id)
    ORDER BY p.fund_id, p.payment_id
"""


# --- writing ----------------------------------------------------------------------------------


async def store(conn: AsyncConnection, docket: Docket, now: datetime) -> None:
    """Writes what was decided, in a few statements however many orders there were."""
    effects = docket.effects
    asked: Counter[Purse] = Counter()
    for row in effects.payments:
        asked[Purse(row["fund_id"], row["budget_line_id"], row["book"])] += row["amount_minor"]
    signatures = [row for rows in effects.signatures.values() for row in rows]
    await bulk.write(
        conn,
        bulk.insertion(t.batches, effects.batches),
        bulk.insertion(t.payments, effects.payments),
        bulk.insertion(t.batch_envelopes, tuple(effects.envelopes.values())),
        bulk.insertion(t.payment_signatures, signatures),
        *hold_and_spend(asked, spent(effects.releases)),
    )
    numbers = await disclose(conn, effects.releases, docket.papers.names, now)
    moves = [
        {column: moved[column] for column in _MOVED}
        | {"line_number": numbers.get(payment_id, moved["line_number"])}
        for payment_id, moved in effects.moves.items()
    ]
    files = [*(each.file for each in effects.releases), *(each.file for each in effects.again)]
    await bulk.write(
        conn,
        bulk.update(t.payments, ("fund_id", "payment_id"), moves),
        *queue(files, now),
        bulk.insertion(t.payment_events, effects.events),
    )
    for each in effects.again:
        await record_again(conn, each, now)


_MOVED: Final = ("fund_id", "payment_id", "state", "transmission_id", "line_number")
