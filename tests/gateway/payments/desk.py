"""Firms and signers at work over the socket, the bank behind the gateway, and what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from xinyi.v1 import common_pb2
from xinyi.v1 import payment_service_pb2 as pb

from adapters.simulator import SimulatedBank
from adapters.transports.directory import collect
from gateway.domain.batch import batch_bytes
from gateway.domain.envelope import BATCH_TYPE, sign, to_json
from gateway.domain.party import Mandate, Role
from gateway.registry import parties
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    BANK_CODE,
    CHAIR,
    CHECKER,
    FIRM,
    LIMIT_MINOR,
    NOW,
    OPENING_MINOR,
    TODAY,
    YEAR,
    Callers,
    StillClock,
    Who,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.app import Gateway
    from gateway.store import Row, Store

FUND = "funds/wutong"
OTHER_FUND = "funds/jinjiang"
ACCOUNT = ACCOUNT_NUMBERS["wutong"]
PAYEE = "6222020000000001"
CONTENT = b"%PDF-1.7 invoice"
DIGEST = sha256(CONTENT).hexdigest()


def cny(amount_minor: int, currency: str = "CNY") -> common_pb2.Money:
    return common_pb2.Money(amount_minor=amount_minor, currency=currency)


def ask(amount_minor: int = 1_000, fund: str = FUND, **fields: Any) -> pb.Payment:
    """A payment that is fine but for what a test makes of it."""
    payee = pb.Payee(display_name="锐达电梯工程有限公司", account_number=PAYEE, bank_code=BANK_CODE)
    fine: dict[str, Any] = {
        "payee": payee,
        "amount": cny(amount_minor),
        "purpose": "电梯维修",
        "budget_line": f"{fund}/budgetLines/cleaning",
        "vouchers": [f"{fund}/vouchers/{DIGEST}"],
    }
    return pb.Payment(**{**fine, **fields})


def voucher_header(
    fund: str = FUND, content: bytes = CONTENT, **fields: Any
) -> pb.UploadVoucherRequest:
    fine: dict[str, Any] = {
        "name": f"{fund}/vouchers/{sha256(content).hexdigest()}",
        "file_name": "发票.pdf",
        "media_type": "application/pdf",
        "size_bytes": len(content),
    }
    header = pb.UploadVoucherHeader(
        parent=fund, voucher=pb.Voucher(**{**fine, **fields}), request_id=request_id()
    )
    return pb.UploadVoucherRequest(header=header)


def batch(
    payments: Sequence[pb.Payment], *, count: int | None = None, request: str = ""
) -> list[pb.SubmitPaymentsRequest]:
    header = pb.SubmitPaymentsHeader(
        parent=FUND,
        payment_count=len(payments) if count is None else count,
        request_id=request or request_id(),
    )
    parts = [pb.SubmitPaymentsRequest(payment=payment) for payment in payments]
    return [pb.SubmitPaymentsRequest(header=header), *parts]


def envelope(payload: bytes, who: Who) -> bytes:
    return to_json(sign(payload, who.signing_key))


@dataclass(slots=True)
class Desk:
    """Everybody's calls, and looks into the database that no caller has."""

    gateway: Gateway
    callers: Callers
    clock: StillClock

    @property
    def store(self) -> Store:
        return self.gateway.store

    async def stub(self, who: Who) -> Any:
        return (await self.callers.as_(who)).payments

    async def upload(self, fund: str = FUND, who: Who = FIRM) -> None:
        parts = [voucher_header(fund), pb.UploadVoucherRequest(content=CONTENT)]
        await (await self.stub(who)).UploadVoucher(parts)

    async def submit(self, payment: pb.Payment | None = None, **options: Any) -> pb.Payment:
        who = options.get("who", FIRM)
        request = pb.SubmitPaymentRequest(
            parent=options.get("fund", FUND),
            payment=payment or ask(),
            request_id=options.get("request", "") or request_id(),
        )
        return (await (await self.stub(who)).SubmitPayment(request)).payment  # type: ignore[no-any-return]

    async def submit_all(self, parts: list[pb.SubmitPaymentsRequest]) -> pb.SubmitPaymentsResponse:
        return await (await self.stub(FIRM)).SubmitPayments(parts)  # type: ignore[no-any-return]

    async def get(self, name: str, who: Who = CHECKER) -> pb.Payment:
        answer = await (await self.stub(who)).GetPayment(pb.GetPaymentRequest(name=name))
        return answer.payment  # type: ignore[no-any-return]

    async def state(self, name: str) -> str:
        return pb.PaymentState.Name((await self.get(name)).state).removeprefix("PAYMENT_STATE_")

    async def states(self, names: Sequence[str]) -> list[str]:
        return [await self.state(name) for name in names]

    async def sign(self, name: str, who: Who, envelope_json: bytes | None = None) -> pb.Payment:
        if envelope_json is None:
            envelope_json = envelope((await self.get(name)).signing_payload, who)
        request = pb.SignPaymentRequest(name=name, envelope=envelope_json, request_id=request_id())
        return (await (await self.stub(who)).SignPayment(request)).payment  # type: ignore[no-any-return]

    async def sign_batch(
        self, batch_id: str, names: Sequence[str], who: Who, envelope_json: bytes | None = None
    ) -> pb.SignBatchResponse:
        """One signature on these payments of a batch."""
        name = f"{FUND}/batches/{batch_id}"
        if envelope_json is None:
            payloads = [(await self.get(each)).signing_payload for each in names]
            signed = sign(batch_bytes(name, payloads), who.signing_key, BATCH_TYPE)
            envelope_json = to_json(signed)
        request = pb.SignBatchRequest(name=name, envelope=envelope_json, request_id=request_id())
        return await (await self.stub(who)).SignBatch(request)  # type: ignore[no-any-return]

    async def sign_by_both(self, name: str) -> pb.Payment:
        await self.sign(name, CHAIR)
        return await self.sign(name, CHECKER)

    async def released(self, amount_minor: int = 1_000, **fields: Any) -> str:
        """A payment that two persons have signed."""
        name = (await self.submit(ask(amount_minor, **fields))).name
        await self.sign_by_both(name)
        return name

    async def refuse(self, name: str, who: Who = CHAIR) -> pb.Payment:
        request = pb.RefusePaymentRequest(name=name, reason="单价过高", request_id=request_id())
        return (await (await self.stub(who)).RefusePayment(request)).payment  # type: ignore[no-any-return]

    async def withdraw(self, name: str, who: Who = FIRM) -> pb.Payment:
        request = pb.WithdrawPaymentRequest(name=name, reason="重复申请", request_id=request_id())
        return (await (await self.stub(who)).WithdrawPayment(request)).payment  # type: ignore[no-any-return]

    # --- the register -------------------------------------------------------------------------

    async def enrol(self, who: Who, *, human: str = "", appointed: str = "wutong") -> None:
        """A further person, with certificate, key and mandate; their party is appointed."""
        pair = self.callers.pki.issue(who)
        self.callers.pki.people[who] = pair
        async with self.store.transaction(GATEWAY) as conn:
            known = sa.select(t.parties.c.party_id).where(t.parties.c.party_id == who.party_id)
            if await conn.scalar(known) is None:
                await parties.create_party(
                    conn, who.party_id, display_name=f"{who.party_id}机构", now=NOW
                )
                appointment = {"estate_id": appointed, "party_id": who.party_id, "created_at": NOW}
                await conn.execute(t.appointments.insert().values(**appointment))
            ids = (who.party_id, who.person_id)
            await parties.create_person(
                conn,
                *ids,
                display_name="某某",
                natural_person=sha256((human or who.name).encode()).hexdigest(),
                roles=[who.role],
                now=NOW,
            )
            pem = pair.certificate_pem.decode()
            await parties.create_certificate(conn, *ids, pem=pem, now=NOW)
            raw = who.signing_key.public_key().public_bytes_raw()
            await parties.create_public_key(
                conn, *ids, raw=raw, starts_at=NOW - YEAR, expires_at=NOW + YEAR, now=NOW
            )
            if who.role in (Role.PROPERTY_FIRM, Role.OWNERS_COMMITTEE, Role.TRUSTEE_CHECKER):
                mandate = Mandate(
                    "m1", ids[1], who.role, "", LIMIT_MINOR, "CNY", NOW - YEAR, NOW + YEAR
                )
                await parties.create_mandate(conn, who.party_id, mandate, now=NOW)

    async def revoke(self, table: sa.Table, who: Who) -> None:
        """Revokes all of a person's keys, or mandates."""
        await self.execute(
            table.update()
            .where(table.c.party_id == who.party_id, table.c.person_id == who.person_id)
            .values(revoked_at=self.clock())
        )

    # --- looks inside -------------------------------------------------------------------------

    async def execute(self, statement: Any) -> None:
        async with self.store.transaction(GATEWAY) as conn:
            await conn.execute(statement)

    async def rows(self, query: Any) -> Sequence[Row]:
        async with self.store.transaction(GATEWAY) as conn:
            return (await conn.execute(query)).all()

    async def budget(self, budget_line_id: str = "cleaning") -> tuple[int, int]:
        """Held and spent, of the first fund."""
        lines = t.budget_lines
        query = sa.select(lines.c.held_minor, lines.c.spent_minor).where(
            lines.c.fund_id == "wutong", lines.c.budget_line_id == budget_line_id
        )
        return tuple((await self.rows(query))[0])

    def payment_row(self, name: str) -> Any:
        """A query for the row of a payment."""
        return sa.select(t.payments).where(t.payments.c.payment_id == name.rpartition("/")[2])

    async def transmission(self, name: str) -> Row:
        """The transmission of a payment."""
        transmission = (await self.get(name)).transmission.rpartition("/")[2]
        table = t.transmissions
        return (await self.rows(sa.select(table).where(table.c.transmission_id == transmission)))[0]

    async def conserved(self) -> None:
        """Every invariant of money, over all funds."""
        await check_conserved(self.store)


@dataclass(slots=True)
class Bank:
    """The simulated bank, and the courier between it and the gateway's directories."""

    simulated: SimulatedBank
    folder: Path
    clock: StillClock
    seen: list[Path] = field(default_factory=list)

    def take(self) -> int:
        """Carries orders to the bank and lets it work; returns how many."""
        files = collect(self.folder / "out")
        for file in files:
            file.rename(self.simulated.inbox / file.name)
        self.simulated.process(self.clock())
        return len(files)

    def bring(self) -> int:
        """Carries the bank's files to the gateway; returns how many."""
        (self.folder / "in").mkdir(parents=True, exist_ok=True)
        files = collect(self.simulated.outbox)
        for file in files:
            file.rename(self.folder / "in" / file.name)
        return len(files)

    def leave(self, name: str, content: bytes) -> Path:
        """A file of the bank that this test wrote itself."""
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def close(self, on: date) -> None:
        """The day's statements, brought the next morning."""
        self.simulated.close_day(on)
        self.clock.moment = datetime.combine(
            on + timedelta(days=1), datetime.min.time(), tzinfo=NOW.tzinfo
        )
        self.bring()


def open_bank(directory: Path, folder: Path, clock: StillClock, seed: int = 0) -> Bank:
    """A bank that has both funds' accounts with what the ledger believes is in them."""
    simulated = SimulatedBank.open(directory, seed)
    for fund_id, account in ACCOUNT_NUMBERS.items():
        simulated.open_account(account, fund_id, OPENING_MINOR, "CNY", TODAY - timedelta(days=1))
    return Bank(simulated, folder, clock)


def stranger_key() -> Ed25519PrivateKey:
    """A key that nobody registered."""
    return Ed25519PrivateKey.from_private_bytes(sha256(b"stranger").digest())


# --- what must hold at every moment -----------------------------------------------------------

RULES = {
    "bank and transit are the books and the disclosed lines": """
        SELECT f.fund_id FROM funds f
        WHERE (SELECT coalesce(sum(amount_minor), 0) FROM postings p
               WHERE p.fund_id = f.fund_id AND account_kind IN ('BANK', 'TRANSIT'))
          <> (SELECT sum(total_minor) FROM books b WHERE b.fund_id = f.fund_id)
           OR (SELECT sum(total_minor) FROM books b WHERE b.fund_id = f.fund_id)
          <> (SELECT coalesce(sum(amount_minor), 0) FROM disclosed_lines l
              WHERE l.fund_id = f.fund_id)
           OR f.running_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM disclosed_lines l
              WHERE l.fund_id = f.fund_id)""",
    "the bank posting is the account's balance": """
        SELECT a.fund_id FROM bank_accounts a
        WHERE a.bank_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM postings p
              WHERE p.fund_id = a.fund_id AND p.account_id = a.account_id
                AND account_kind = 'BANK')""",
    "every entry balances": """
        SELECT fund_id, entry_number FROM postings GROUP BY 1, 2 HAVING sum(amount_minor) <> 0""",
    "running balances add up": """
        SELECT * FROM (SELECT running_minor, sum(amount_minor)
            OVER (PARTITION BY fund_id ORDER BY line_number) AS right_minor
            FROM disclosed_lines) l WHERE running_minor <> right_minor""",
    "numbers have no gaps": """
        SELECT fund_id FROM (
            SELECT fund_id, count(*) AS n, max(line_number) AS last FROM disclosed_lines GROUP BY 1
            UNION ALL
            SELECT fund_id, count(*), max(entry_number) FROM entries GROUP BY 1) c
        WHERE n <> last""",
    "every line and every bank entry is booked once": """
        SELECT l.fund_id FROM disclosed_lines l
        LEFT JOIN entries e USING (fund_id, line_number) WHERE e.entry_number IS NULL
        UNION ALL
        SELECT b.fund_id FROM bank_entries b
        LEFT JOIN entries e USING (fund_id, bank_entry_id) WHERE e.entry_number IS NULL""",
    "a book holds what its unreleased payments ask for": """
        SELECT b.fund_id, b.book FROM books b WHERE held_minor <>
            (SELECT coalesce(sum(amount_minor), 0) FROM payments p
             WHERE p.fund_id = b.fund_id AND p.book = b.book
               AND state IN ('HELD', 'PARTLY_SIGNED', 'SIGNED'))""",
    "a budget line holds and spends what its payments say": """
        SELECT l.fund_id, l.budget_line_id FROM budget_lines l
        WHERE held_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM payments p
              WHERE p.fund_id = l.fund_id AND p.budget_line_id = l.budget_line_id
                AND state IN ('HELD', 'PARTLY_SIGNED', 'SIGNED'))
           OR spent_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM payments p
              WHERE p.fund_id = l.fund_id AND p.budget_line_id = l.budget_line_id
                AND state IN ('RELEASED', 'SENT', 'ACCEPTED', 'UNKNOWN', 'SETTLED'))""",
    "pending is what the bank has not confirmed": """
        SELECT b.fund_id, b.book FROM books b
        WHERE pending_out_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM disclosed_lines l
              WHERE l.fund_id = b.fund_id AND l.book = b.book
                AND NOT settled AND amount_minor < 0)
           OR pending_in_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM disclosed_lines l
              WHERE l.fund_id = b.fund_id AND l.book = b.book
                AND NOT settled AND amount_minor > 0)""",
    "released means two signatures by two persons of two parties": """
        SELECT a.payment_id FROM (
            SELECT payment_id, 1 AS attempt FROM payments WHERE transmission_id <> ''
            UNION ALL
            SELECT payment_id, attempt FROM resends WHERE released_at IS NOT NULL) a
        WHERE (SELECT array[count(*), count(DISTINCT natural_person), count(DISTINCT party_id)]
             FROM payment_signatures s
             WHERE s.payment_id = a.payment_id AND s.attempt = a.attempt)
            <> array[2, 2, 2]::bigint[]""",
    "a payment is on no more files than it was released for": """
        SELECT c.payment_id FROM transmission_payments c
        JOIN transmissions s USING (fund_id, transmission_id)
        WHERE s.delivered_at IS NOT NULL OR s.state = 'IN_DOUBT'
        GROUP BY c.fund_id, c.payment_id
        HAVING count(*) > 1 + (SELECT count(*) FROM resends r
            WHERE r.payment_id = c.payment_id AND r.released_at IS NOT NULL)""",
    "what is released has its line, and a line only once": """
        SELECT p.payment_id FROM payments p
        LEFT JOIN disclosed_lines l ON l.fund_id = p.fund_id AND l.payment_id = p.payment_id
            AND l.amount_minor = -p.amount_minor
        WHERE transmission_id <> '' GROUP BY p.fund_id, p.payment_id
        HAVING count(l.line_number) <> 1""",
    "what came back has its correction, and nothing else has": """
        SELECT p.payment_id FROM payments p
        LEFT JOIN disclosed_lines l ON l.fund_id = p.fund_id AND l.corrects = p.line_number
            AND l.amount_minor = p.amount_minor AND l.line_number = p.reversal_line_number
        WHERE (l.line_number IS NOT NULL) <> (state IN ('REJECTED', 'RETURNED'))""",
    "the last event is the state": """
        SELECT payment_id FROM payments p WHERE state <>
            (SELECT state FROM payment_events e WHERE e.payment_id = p.payment_id
             ORDER BY sequence DESC LIMIT 1)""",
}


async def check_conserved(store: Store) -> None:
    """Each rule finds nothing that breaks it."""
    async with store.snapshot(GATEWAY) as conn:
        for rule, query in RULES.items():
            found = (await conn.execute(sa.text(query))).all()
            assert not found, (rule, found)
