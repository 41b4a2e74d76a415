"""A city of funds for the core's benchmark, its people with their certificates, and the servers."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from stdnum.iso7064 import mod_11_10
from xinyi.v1 import common_pb2
from xinyi.v1 import payment_service_pb2 as pb

from gateway.domain.party import Mandate, Role
from gateway.domain.policy import Tier
from gateway.pki import Validity, create_ca, issue_person, issue_server
from gateway.registry import parties
from gateway.store import GATEWAY, embedded, open_store, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.pki import Pair
    from gateway.store import Store

HOT: Final = "f1"
BANK_CODE: Final = "10565100001" + mod_11_10.calc_check_digit("10565100001")
VOUCHER: Final = sha256(b"voucher").hexdigest()
SUBMIT: Final = "/xinyi.v1.PaymentService/SubmitPayment"
_PAYEE: Final = pb.Payee(
    display_name="锐达电梯工程有限公司",
    account_number="6222020000000001",
    bank_code=BANK_CODE,
)
PEOPLE: Final = {
    "firm": Role.PROPERTY_FIRM,
    "committee": Role.OWNERS_COMMITTEE,
    "trust": Role.TRUSTEE_CHECKER,
}
"""Parties, each with one person of the same name, and what the person does."""
_NOW: Final = datetime.now(UTC)
_VALID: Final = Validity(_NOW - timedelta(days=1), _NOW + timedelta(days=30))
_PLENTY_MINOR: Final = 10**14


def signing_key(party: str) -> Ed25519PrivateKey:
    """A person's own key."""
    return Ed25519PrivateKey.from_private_bytes(sha256(party.encode()).digest())


@dataclass(frozen=True, slots=True)
class World:
    """Where everything is.

    Attributes:
        folder: certificates and the gateway's data.
        url: the database.
        funds: how many there are: f1, f2 and so on.
    """

    folder: Path
    url: str
    funds: int

    def environment(self, port: int) -> dict[str, str]:
        """The settings of a gateway process."""
        return os.environ | {
            "XINYI_DATA_DIR": str(self.folder / "data"),
            "XINYI_DATABASE_URL": self.url,
            "XINYI_LISTEN": f"127.0.0.1:{port}",
            "XINYI_TLS_CERTIFICATE": str(self.folder / "server.pem"),
            "XINYI_TLS_KEY": str(self.folder / "server.key"),
            "XINYI_TLS_CLIENT_CA": str(self.folder / "ca.pem"),
            # Nothing goes to a bank, and no night falls while this measures.
            "XINYI_POLL_INTERVAL": "PT1H",
            "XINYI_NIGHT_AT": "23:59",
        }


def scratch(prefix: str) -> Path:
    """A folder for a database, gone when this process ends.

    What is registered last runs first: the database that comes to lie there has stopped by then.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build(folder: Path, count: int) -> World:
    """A fresh database with so many funds, and certificates for everybody."""
    url = embedded.start(folder / "postgres")
    schema.upgrade(url)
    ca = create_ca("xinyi-benchmark", _VALID)
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    issue_server(ca, names, _VALID).write(folder / "server.pem", folder / "server.key")
    (folder / "ca.pem").write_bytes(ca.certificate_pem)
    pairs = {party: issue_person(ca, party, party, _VALID) for party in PEOPLE}
    for party, pair in pairs.items():
        pair.write(folder / f"{party}.pem", folder / f"{party}.key")
    asyncio.run(_fill(url, pairs, count))
    return World(folder, url, count)


async def _fill(url: str, pairs: dict[str, Pair], count: int) -> None:
    store = open_store(url, pool_size=1)
    try:
        for party, role in PEOPLE.items():
            await _enrol(store, party, role, pairs[party])
    finally:
        await store.close()
    conn = await asyncpg.connect(url)
    try:
        for statement in _FUNDS:
            await conn.execute(statement, count)
        tiers = Tier(None, (frozenset({Role.OWNERS_COMMITTEE}), frozenset({Role.TRUSTEE_CHECKER})))
        await conn.execute(_POLICIES, count, json.dumps([_stored(tiers)]))
        await conn.execute(_VOUCHERS, count, VOUCHER)
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


def _stored(tier: Tier) -> dict[str, Any]:
    slots = [sorted(role.value for role in slot) for slot in tier.slots]
    return {"up_to_minor": tier.up_to_minor, "slots": slots}


async def _enrol(store: Store, party: str, role: Role, pair: Pair) -> None:
    async with store.transaction(GATEWAY) as conn:
        await parties.create_party(conn, party, display_name=party, now=_NOW)
        human = sha256(f"human {party}".encode()).hexdigest()
        await parties.create_person(
            conn, party, party, display_name=party, natural_person=human, roles=[role], now=_NOW
        )
        pem = pair.certificate_pem.decode()
        await parties.create_certificate(conn, party, party, pem=pem, now=_NOW)
        raw = signing_key(party).public_key().public_bytes_raw()
        await parties.create_public_key(
            conn, party, party, raw=raw, starts_at=_VALID.start, expires_at=_VALID.end, now=_NOW
        )
        mandate = Mandate("m1", party, role, "", _PLENTY_MINOR, "CNY", _VALID.start, _VALID.end)
        await parties.create_mandate(conn, party, mandate, now=_NOW)


_FUNDS: Final = (
    """INSERT INTO estates (estate_id, display_name, created_at)
       SELECT 'e' || n, 'estate', now() FROM generate_series(1, $1::int) n""",
    """INSERT INTO appointments (estate_id, party_id, created_at)
       SELECT 'e' || n, p, now()
       FROM generate_series(1, $1::int) n, unnest(ARRAY['firm', 'committee', 'trust']) p""",
    """INSERT INTO funds (fund_id, estate_id, display_name, trustee_id, currency, created_at,
           last_line_number, last_entry_number, running_minor)
       SELECT 'f' || n, 'e' || n, 'fund', 'trust', 'CNY', now(), 0, 0, 100000000000000
       FROM generate_series(1, $1::int) n""",
    """INSERT INTO books (fund_id, book, total_minor)
       SELECT 'f' || n, b, 100000000000000
       FROM generate_series(1, $1::int) n, unnest(ARRAY['COMMON', 'MAINTENANCE']) b""",
    """INSERT INTO bank_accounts (fund_id, account_id, account_number, holder_name, bank_code,
           profile_id, opening_minor, opening_date, created_at)
       SELECT 'f' || n, 'main', '62220' || n, 'holder', '', 'demo', 0, '2026-01-01', now()
       FROM generate_series(1, $1::int) n""",
    """INSERT INTO budget_lines (fund_id, budget_line_id, book, category, display_name, limit_minor,
           start_date, end_date, created_at)
       SELECT 'f' || n, 'wages', 'COMMON', 'wages', 'wages', 100000000000000, '2020-01-01',
           '2049-12-31', now()
       FROM generate_series(1, $1::int) n""",
)
_POLICIES: Final = """
    INSERT INTO signing_policies (fund_id, version, tiers, created_at)
    SELECT 'f' || n, 1, $2::text::jsonb, now() FROM generate_series(1, $1::int) n
"""
_VOUCHERS: Final = """
    INSERT INTO vouchers (fund_id, sha256, file_name, media_type, size_bytes, content, created_at)
    SELECT 'f' || n, $2, 'v.pdf', 'application/pdf', 7, 'voucher', now()
    FROM generate_series(1, $1::int) n
"""


def ask(fund: str, serial: int) -> bytes:
    """A request for a payment, unlike those of every other number."""
    request = pb.SubmitPaymentRequest(
        parent=f"funds/{fund}",
        payment=payment(fund, serial),
        request_id=f"request-{serial:012}",
    )
    return request.SerializeToString()


def payment(fund: str, amount_minor: int) -> pb.Payment:
    """A payment that the fund's budget has room for."""
    return pb.Payment(
        payee=_PAYEE,
        amount=common_pb2.Money(amount_minor=amount_minor, currency="CNY"),
        purpose="电梯维修",
        budget_line=f"funds/{fund}/budgetLines/wages",
        vouchers=[f"funds/{fund}/vouchers/{VOUCHER}"],
    )


FIRST_DAY: Final = date(2024, 7, 1)
DAYS: Final = 730
"""Which the lines of a full fund are spread over."""


async def fill_lines(url: str, fund: str, count: int) -> None:
    """Gives a fund so many lines of ten categories, with their entries; the last few are pending.

    One in a hundred is of the other book, and one in fifty comes a week late; of ten together the
    bank has one entry.
    """
    conn = await asyncpg.connect(url)
    try:
        # Of the run's own, made-up books: their entries need no second look.
        await conn.execute("ALTER TABLE postings DISABLE TRIGGER entry_balances")
        async with conn.transaction():
            await conn.execute(_MADE_UP, fund, count)
            for statement in _LINES:
                await conn.execute(statement)
        await conn.execute("ALTER TABLE postings ENABLE TRIGGER entry_balances")
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


_MADE_UP: Final = f"""
    CREATE TEMPORARY TABLE made_up ON COMMIT DROP AS
    SELECT fund_id, n, last_line_number + n AS line, last_entry_number + n + (n - 1) / 10 AS entry,
        running_minor + n AS running,
        date '{FIRST_DAY}' + greatest(0, passed - 7 * (n % 50 = 0)::int) AS day,
        date '{FIRST_DAY}' + passed AS known,
        CASE n % 100 WHEN 0 THEN 'MAINTENANCE' ELSE 'COMMON' END AS book,
        'category ' || n % 10 AS category, n <= $2 - 300 AS settled
    FROM funds, generate_series(1, $2::bigint) n,
        LATERAL (SELECT (n * {DAYS} / ($2 + 1))::int AS passed) d
    WHERE fund_id = $1
"""  # noqa: S608 - of our own constants
_LINES: Final = (
    """INSERT INTO disclosed_lines (fund_id, line_number, account_id, book, category, summary,
           amount_minor, running_minor, effective_date, disclosed_at, vouchers, signatures, settled,
           bank_value_date, match_id, match_date, counterparty_name, counterparty_account)
       SELECT fund_id, line, 'main', book, category, '十一月电梯维修', 1, running, day,
           known + time '10:00', ARRAY[repeat('0', 64)], jsonb_build_array(m, m, m), settled,
           CASE WHEN settled THEN known + 1 END, CASE WHEN settled THEN 'm' || n ELSE '' END,
           CASE WHEN settled THEN known + 1 END, '锐达电梯工程有限公司', '6222020000000001'
       FROM made_up, jsonb_build_object('party_name', '锐达物业', 'role', 'PROPERTY_FIRM',
           'created_at', '2026-06-30T08:00:00+00:00') m
       ORDER BY n""",
    """INSERT INTO entries (fund_id, entry_number, effective_date, created_at, line_number,
           bank_entry_id)
       SELECT fund_id, entry + p, day, known, CASE p WHEN 0 THEN line END,
           CASE p WHEN 1 THEN 'b' || n END
       FROM made_up, generate_series(0, 1) p WHERE p = 0 OR n % 10 = 0 ORDER BY n, p""",
    """INSERT INTO postings (fund_id, entry_number, position, account_kind, account_id, book,
           category, amount_minor, effective_date)
       SELECT fund_id, entry + p, q,
           CASE WHEN q = 1 + p THEN 'TRANSIT' WHEN p = 0 THEN 'BOOK' ELSE 'BANK' END, 'main',
           CASE WHEN q = 2 AND p = 0 THEN book ELSE '' END,
           CASE WHEN q = 2 AND p = 0 THEN category ELSE '' END,
           (3 - 2 * q) * CASE p WHEN 0 THEN 1 ELSE 10 END, day
       FROM made_up, generate_series(0, 1) p, generate_series(1, 2) q WHERE p = 0 OR n % 10 = 0
       ORDER BY n, p, q""",
    """UPDATE funds f SET last_line_number = line, last_entry_number = entry + (n % 10 = 0)::int,
           running_minor = running
       FROM made_up m WHERE f.fund_id = m.fund_id AND n = (SELECT max(n) FROM made_up)""",
    """UPDATE books b SET total_minor = b.total_minor + moved.total,
           pending_in_minor = b.pending_in_minor + moved.pending
       FROM (SELECT fund_id, book, count(*) AS total,
                 count(*) FILTER (WHERE NOT settled) AS pending
             FROM made_up GROUP BY fund_id, book) moved
       WHERE b.fund_id = moved.fund_id AND b.book = moved.book""",
    """UPDATE bank_accounts a SET bank_minor = a.bank_minor + moved.total
       FROM (SELECT fund_id, count(*) / 10 * 10 AS total FROM made_up GROUP BY fund_id) moved
       WHERE a.fund_id = moved.fund_id""",
)


# --- processes --------------------------------------------------------------------------------

GATEWAY_COMMAND: Final = (Path(sys.executable).parent / "xinyi", "serve")
NAIVE_COMMAND: Final = (sys.executable, "-m", "benchmarks.naive")
ECHO_COMMAND: Final = (sys.executable, "-m", "benchmarks.echo", "edge")
BARE_COMMAND: Final = (sys.executable, "-m", "benchmarks.echo", "bare")


class Server(NamedTuple):
    """A server that runs."""

    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def serving(world: World, *command: str | Path) -> Iterator[Server]:
    """A server of this world in a process of its own."""
    port = _free_port()
    with (world.folder / f"{command[-1]}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, env=world.environment(port), stdout=log, stderr=log
        )
        try:
            _await_port(port, process)
            yield Server(port, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server does not answer")
