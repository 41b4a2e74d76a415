"""Several processes on one port, callers on many connections, and a note of every commit."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import grpc
from xinyi.v1 import payment_service_pb2 as pb

from gateway.client import decode_error, stubs
from gateway.clock import bank_date, system_clock
from gateway.payments.writers import slot_of
from gateway.store import open_store
from tests.gateway.payments.desk import (
    CONTENT,
    FUND,
    ask,
    check_conserved,
    envelope,
    voucher_header,
)
from tests.gateway.support import CHAIR, FIRM, seed

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.support import Pki, Who

WORKERS: Final = 2
FUND_ID: Final = FUND.removeprefix("funds/")
SLOT: Final = slot_of(FUND_ID)

_START_S: Final = 120.0
_LOOK_S: Final = 0.05
_TIMEOUT_S: Final = 4.0
_PATIENCE_S: Final = 120.0
_PAUSE_S: Final = 0.1
_CHANNEL: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
"""A connection of its own for each channel, so that the kernel spreads them."""

_SERVE: Final = (sys.executable, "-c", "from gateway.cli import main; main()", "serve")

# Who wrote, and who held which slot at that moment: kept with the commit, or not at all.
_NOTES: Final = """
    CREATE TABLE notes (
        number bigserial, fund_id text, worker text, holders jsonb, at timestamptz
    );
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.notes (fund_id, worker, holders, at)
        SELECT NEW.fund_id, current_setting('application_name'),
            jsonb_object_agg(slot, jsonb_build_array(fence, owner)), clock_timestamp()
        FROM public.writer_leases;
        RETURN NULL;
    END $$;
    CREATE TRIGGER noted AFTER INSERT ON payments FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER noted AFTER INSERT ON payment_signatures FOR EACH ROW EXECUTE FUNCTION note();
"""


async def take_notes(owner_url: str) -> None:
    """From now on the database notes who writes, and who held which slot at that moment."""
    conn = await asyncpg.connect(owner_url)
    await conn.execute(_NOTES)
    await conn.close()


async def notes_of(owner_url: str) -> list[str]:
    """The processes that wrote, in order."""
    conn = await asyncpg.connect(owner_url)
    rows = await conn.fetch("SELECT worker FROM notes ORDER BY number")
    await conn.close()
    return [row["worker"] for row in rows]


@dataclass(slots=True)
class Crew:
    """The processes and their database.

    Attributes:
        directory: where their files are.
        owner_url: the database, as its owner.
        url: the same, as the gateway.
        pki: everybody's certificates.
        tls: the server's.
        port: where they answer.
    """

    directory: Path
    owner_url: str
    url: str
    pki: Pki
    tls: TlsSettings
    port: int = 0
    _parent: subprocess.Popen[bytes] | None = None
    _begins: int = field(default=0)

    async def found(self) -> None:
        """The world, as of now; the night is not what is tested here."""
        store = open_store(self.owner_url, pool_size=1)
        await seed(store, self.pki.people, system_clock())
        await store.close()
        async with self._connection() as conn:
            await conn.execute(
                "INSERT INTO runs (run_id, date, state, rules_version, counts, started_at)"
                " VALUES ('before', $1, 'DONE', '', '{}', now())",
                bank_date(system_clock()) + timedelta(days=1),
            )
        await take_notes(self.owner_url)

    def start(self) -> None:
        """Starts them and waits until all answer."""
        settings = {
            "XINYI_DATA_DIR": str(self.directory),
            "XINYI_DATABASE_URL": self.url,
            "XINYI_DATABASE_OWNER_URL": self.owner_url,
            "XINYI_LISTEN": "127.0.0.1:0",
            **{f"XINYI_{name.upper()}": str(path) for name, path in self.tls.items()},
        }
        with self._log.open("ab") as log:
            self._begins = log.tell()
            self._parent = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                (*_SERVE, f"--workers={WORKERS}"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **settings},
                cwd=self.directory,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s and self._parent.poll() is None:
            serving = [line["port"] for line in self.said("serving")]
            if len(serving) == WORKERS:
                self.port = serving[0]
                return
            time.sleep(_LOOK_S)
        raise AssertionError(self._log.read_text())

    def stop(self) -> int:
        """Ends them in order; returns the parent's status."""
        assert self._parent is not None
        self._parent.terminate()
        return self._parent.wait(_START_S)

    def lose_parent(self) -> None:
        """The parent dies without a word."""
        assert self._parent is not None
        self._parent.kill()
        self._parent.wait(_START_S)

    def said(self, event: str) -> Iterator[dict[str, Any]]:
        """The lines of this event in the log, of the present life."""
        with self._log.open("rb") as log:
            log.seek(self._begins)
            for line in log:
                if line.startswith(b"{") and line.endswith(b"}\n"):
                    said = json.loads(line)
                    if said["event"] == event:
                        yield said

    def pids(self) -> dict[int, int]:
        """The processes' ids by their seats, as the parent started them last."""
        return {line["worker"]: line["pid"] for line in self.said("worker_started")}

    async def holder(self) -> str:
        """The process that writes the fund now: its seat, and which of the seat's lives it is."""
        (row,) = await self.rows("SELECT owner FROM writer_leases WHERE slot = $1", SLOT)
        return str(row["owner"])

    def pid_of(self, holder: str) -> int:
        """The process's id."""
        return self.pids()[int(holder.partition("-")[0])]

    async def rows(self, query: str, *arguments: object) -> list[Any]:
        """What the database's owner sees."""
        async with self._connection() as conn:
            return await conn.fetch(query, *arguments)

    async def check_conserved(self) -> None:
        """The ledger balances."""
        store = open_store(self.owner_url, pool_size=1)
        await check_conserved(store)
        await store.close()

    async def check_notes(self) -> None:
        """Whoever wrote held the fund's slot, and nobody wrote once another had taken it."""
        notes = await self.rows("SELECT * FROM notes ORDER BY number")
        fences: dict[int, int] = {}
        owners: dict[tuple[int, int], str] = {}
        for note in notes:
            slot = slot_of(note["fund_id"])
            fence, owner = json.loads(note["holders"])[str(slot)]
            assert note["worker"] == f"xinyi-{owner.partition('-')[0]}"
            assert fence >= fences.get(slot, 0)
            assert owners.setdefault((slot, fence), owner) == owner
            fences[slot] = fence

    def hand(self, pid: int, what: signal.Signals) -> None:
        """Does something to one of the processes."""
        assert pid in self.pids().values()
        os.kill(pid, what)

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        conn = await asyncpg.connect(self.owner_url)
        try:
            yield conn
        finally:
            await conn.close()


@dataclass(slots=True)
class Line:
    """One caller's own connection, opened anew when it does not answer.

    Attributes:
        crew: whom it calls.
        who: the caller.
        troubles: reasons for which calls had to be repeated.
    """

    crew: Crew
    who: Who
    troubles: list[str] = field(default_factory=list)
    _channel: grpc.aio.Channel | None = None

    async def tell(self, method: str, request: Any) -> Message:
        """Calls until there is an answer."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    answer: Message = await getattr(self.payments(), method)(
                        request, timeout=_TIMEOUT_S
                    )
                except grpc.aio.AioRpcError as error:
                    refused = decode_error(error)
                    assert refused.undecided, refused
                    self.troubles.append(refused.reason)
                    await self.close()
                    await asyncio.sleep(_PAUSE_S)
                else:
                    return answer

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
        self._channel = None

    def payments(self) -> Any:
        """What is called over this connection."""
        if self._channel is None:
            pair = self.crew.pki.people[self.who]
            credentials = grpc.ssl_channel_credentials(
                self.crew.pki.ca.certificate_pem, pair.key_pem, pair.certificate_pem
            )
            address = f"127.0.0.1:{self.crew.port}"
            self._channel = grpc.aio.secure_channel(address, credentials, options=_CHANNEL)
        return stubs(self._channel).payments


@dataclass(slots=True)
class Load:
    """Clerks who ask for payments of one fund and have each signed once, on lines of their own.

    Attributes:
        crew: whom they call.
        prefix: of their request ids.
        told: the payments' names by the request ids that asked for them.
    """

    crew: Crew
    prefix: str
    told: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    last_told_s: float = 0.0

    async def run(self, clerk_count: int, payment_count: int) -> None:
        """All of it; each clerk asks for so many payments."""
        voucher = Line(self.crew, FIRM)
        parts = [voucher_header(FUND), pb.UploadVoucherRequest(content=CONTENT)]
        await voucher.tell("UploadVoucher", parts)
        await voucher.close()
        async with asyncio.TaskGroup() as clerks:
            for number in range(clerk_count):
                clerks.create_task(self._clerk(f"{self.prefix}-{number}", payment_count))

    async def _clerk(self, name: str, payment_count: int) -> None:
        lines = Line(self.crew, FIRM, self.troubles), Line(self.crew, CHAIR, self.troubles)
        try:
            for number in range(payment_count):
                await self._one(*lines, f"{name}-{number}")
        finally:
            for line in lines:
                await line.close()

    async def _one(self, firm: Line, chair: Line, request_id: str) -> None:
        payment = ask(100, budget_line=f"{FUND}/budgetLines/wages")
        request = pb.SubmitPaymentRequest(parent=FUND, payment=payment, request_id=request_id)
        asked = await firm.tell("SubmitPayment", request)
        assert isinstance(asked, pb.SubmitPaymentResponse)
        signing = pb.SignPaymentRequest(
            name=asked.payment.name,
            envelope=envelope(asked.payment.signing_payload, CHAIR),
            request_id=f"{request_id}-signed",
        )
        await chair.tell("SignPayment", signing)
        self.told[request_id] = asked.payment.name
        self.last_told_s = time.monotonic()

    async def check(self) -> None:
        """What was acknowledged is there, once, with its signature and its entries."""
        await self.crew.check_conserved()
        await self.crew.check_notes()
        asked = await self.crew.rows(
            "SELECT request_id FROM requests WHERE starts_with(request_id, $1)", f"{self.prefix}-"
        )
        assert {row["request_id"] for row in asked} == {
            each for name in self.told for each in (name, f"{name}-signed")
        }
        payments = await self.crew.rows(
            "SELECT payment_id, count(s.*) AS signatures FROM payments"
            " LEFT JOIN payment_signatures s USING (fund_id, payment_id) GROUP BY payment_id"
        )
        signatures = {row["payment_id"]: row["signatures"] for row in payments}
        names = [name.rpartition("/")[2] for name in self.told.values()]
        assert len(set(names)) == len(names)
        assert {signatures[name] for name in names} == {1}
        entries = await self.crew.rows(
            "SELECT request_id, count(*) AS entries FROM audit_entries"
            " WHERE code = 'OK' AND reason = '' AND starts_with(request_id, $1)"
            " GROUP BY request_id",
            f"{self.prefix}-",
        )
        assert {row["request_id"]: row["entries"] for row in entries} == dict.fromkeys(
            (row["request_id"] for row in asked), 1
        )
