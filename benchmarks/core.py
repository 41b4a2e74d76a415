"""The core under load: payments asked for and signed, beside their ceilings of the same run.

`python -m benchmarks.core [--quick]`, run where this repository lies, also measures the reads and
the log (`benchmarks.reads`, `benchmarks.disclosure`) of the same world, and writes all of it by
`benchmarks.results`. Server, database and load share the machine's cores, each in a process of its
own; every disk write is waited for. After each load the rows are counted: as many as were
acknowledged, or the run fails.

Wall times stretch when others work on the machine, ratios of one run much less; beside each rate
stands the processor time of the server and of the database for one call.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import payment_service_pb2 as pb

from benchmarks import disclosure, echo, reads, results, world
from benchmarks.pgbench import plain_sql
from benchmarks.rig import Rig
from gateway.domain.batch import batch_bytes
from gateway.domain.envelope import BATCH_TYPE, sign, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import asyncpg

    from benchmarks.world import Server

_SIGN: Final = "/xinyi.v1.PaymentService/SignPayment"
_BATCH: Final = 1000
_BULK_CONNECTIONS: Final = 4
_BULK_STREAMS: Final = 12
"""Open at a time, of several firms as it were: while one waits for the disk, another is decided."""
_BULK_COMMAND: Final = (*world.GATEWAY_COMMAND, "--workers=2")
"""As many processes as there are cores."""
_COUNTS: Final = {
    "submit": "SELECT count(*) FROM payments",
    "sign": "SELECT count(*) FROM payment_signatures",
}
"""What a load writes, by the first word of its name."""


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
        pages: of a thousand lines, read one after the other.
        posted: lines whose posting and logging are compared.
        pgbench_s: how long pgbench runs.
    """

    funds: int = 100_000
    calls: int = 20_000
    rounds: int = 3
    batches: int = 50
    lines: int = 1_000_000
    reads: int = 5_000
    pages: int = 1_000
    posted: int = 20_000
    pgbench_s: int = 20


QUICK: Final = Sizes(
    funds=100_000,
    calls=3_000,
    rounds=2,
    batches=40,
    lines=1_000_000,
    reads=300,
    pages=300,
    posted=5_000,
    pgbench_s=8,
)


@dataclass(slots=True)
class Core:
    """One run."""

    rig: Rig
    sizes: Sizes
    serial: int = 0

    # --- requests -----------------------------------------------------------------------------

    def _asks(self, funds: Sequence[str]) -> list[bytes]:
        """One request a fund of the list, each with an id of its own."""
        return [self._ask(fund) for fund in funds]

    def _ask(self, fund: str) -> bytes:
        self.serial += 1
        return world.ask(fund, self.serial)

    def _hot(self) -> list[bytes]:
        return self._asks([world.HOT] * self.sizes.calls)

    def _many(self) -> list[bytes]:
        funds, calls = self.rig.world.funds, self.sizes.calls
        step = max(1, funds // calls)
        return self._asks([f"f{n * step % funds + 1}" for n in range(calls)])

    async def _unsigned(self) -> Sequence[asyncpg.Record]:
        query = """
            SELECT fund_id, payment_id, payload FROM payments
            WHERE state = 'HELD' AND batch_id = '' ORDER BY random() LIMIT $1
        """
        return await self.rig.fetch(query, self.sizes.calls)

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
            bare = stack.enter_context(world.serving(self.rig.world, *world.BARE_COMMAND))
            edge = stack.enter_context(world.serving(self.rig.world, *world.ECHO_COMMAND))
            gateway = stack.enter_context(world.serving(self.rig.world, *world.GATEWAY_COMMAND))
            self.rig.load(gateway, world.SUBMIT, self._asks([world.HOT] * 500), "firm")
            self.rig.rested(gateway)
            for _ in range(self.sizes.rounds):
                loads = {
                    "echo_bare": (bare, echo.PATH, self._hot(), "firm"),
                    "echo": (edge, echo.PATH, self._hot(), "firm"),
                    "submit_hot": (gateway, world.SUBMIT, self._hot(), "firm"),
                    "submit_many": (gateway, world.SUBMIT, self._many(), "firm"),
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
        with world.serving(self.rig.world, *world.NAIVE_COMMAND) as server:
            self.rig.load(server, world.SUBMIT, self._asks([world.HOT] * 20), "firm")
            calls = self.sizes.calls // 20
            hot = self._counted("submit", server, world.SUBMIT, self._hot()[:calls], "firm")
            many = self._counted("submit", server, world.SUBMIT, self._many()[:calls], "firm")
        return {
            "naive_hot_per_s": round(hot["per_s"]),
            "naive_many_per_s": round(many["per_s"]),
        }

    def _counted(
        self, name: str, server: Server, path: str, bodies: Sequence[bytes], party: str
    ) -> dict[str, float]:
        """A load after which there are as many rows as calls were acknowledged."""
        count = _COUNTS.get(name.partition("_")[0], "SELECT 0")
        before = self.rig.one(count)
        found = self.rig.load(server, path, bodies, party)
        written = self.rig.one(count) - before
        if found["refused"] or (name.partition("_")[0] in _COUNTS and written != found["calls"]):
            raise SystemExit(f"{name}: {found}, but {written} rows were written")
        print(f"{name}: {found['per_s']:,.0f}/s", flush=True)
        return found

    # --- bulk ---------------------------------------------------------------------------------

    def bulk(self) -> dict[str, float]:
        """Batches of a thousand payments, held; then each signed by two envelopes and released."""
        before = self.rig.one(_COUNTS["submit"])
        with world.serving(self.rig.world, *_BULK_COMMAND) as server:
            figures = asyncio.run(self._bulk(server.port))
        written = self.rig.one(_COUNTS["submit"]) - before
        if written != (_BULK_CONNECTIONS + self.sizes.batches) * _BATCH:
            raise SystemExit(f"{written} payments of batches were written")
        released = "SELECT count(*) FROM payments WHERE batch_id <> '' AND state = 'RELEASED'"
        if self.rig.one(released) != _BATCH * figures["batches_signed"]:
            raise SystemExit("not every signed batch was released")
        return figures

    async def _bulk(self, port: int) -> dict[str, float]:
        async with AsyncExitStack() as stack:
            calls: list[Any] = []
            for _ in range(_BULK_CONNECTIONS):
                firm = await stack.enter_async_context(self.rig.channel(port, "firm"))
                calls.append(
                    firm.stream_unary(
                        "/xinyi.v1.PaymentService/SubmitPayments",
                        response_deserializer=pb.SubmitPaymentsResponse.FromString,
                    )
                )
            # What a process needs once is no part of the rate.
            await _in_turn(calls, [self._stream(f"f{n + 1}") for n in range(_BULK_CONNECTIONS)])
            streams = [self._stream(f"f{n % 20 + 1}") for n in range(self.sizes.batches)]
            began = time.perf_counter()
            held = await _in_turn(calls, streams)
            submitted_s = time.perf_counter() - began
        signed = held[: max(2, min(10, self.sizes.batches // 5))]
        signing_s = []
        for party in ("committee", "trust"):
            async with self.rig.channel(port, party) as channel:
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
        payments = [world.payment(fund, n) for n in range(1, _BATCH + 1)]
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
        rows = await self.rig.fetch(query, fund, batch.batch_id)
        name = f"funds/{fund}/batches/{batch.batch_id}"
        content = batch_bytes(name, [row["payload"] for row in rows])
        self.serial += 1
        return pb.SignBatchRequest(
            name=name,
            envelope=to_json(sign(content, world.signing_key(party), BATCH_TYPE)),
            request_id=f"request-{self.serial:012}",
        )


async def _in_turn(calls: Sequence[Any], streams: Sequence[Sequence[bytes]]) -> list[Any]:
    """The answers to all streams, `_BULK_STREAMS` of them open at a time."""
    waiting = iter(streams)
    answers: list[Any] = []

    async def work(call: Any) -> None:  # noqa: ANN401 - gRPC's
        for stream in waiting:
            answers.append(await call(iter(stream), timeout=120))  # noqa: PERF401 - one by one

    await asyncio.gather(*(work(calls[n % len(calls)]) for n in range(_BULK_STREAMS)))
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


# --- results ----------------------------------------------------------------------------------


def measure(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """All figures."""
    began = time.perf_counter()
    rig = Rig(world.build(folder, sizes.funds))
    print(f"{sizes.funds:,} funds after {time.perf_counter() - began:.0f} s", flush=True)
    core = Core(rig, sizes)
    figures = {**core.unary(), **core.bulk(), **core.naive(), **plain_sql(rig, sizes.pgbench_s)}
    figures |= disclosure.appending(rig, sizes.posted)
    figures |= reads.measure(rig, sizes.lines, sizes.reads, sizes.pages)
    return figures | {"funds": sizes.funds, "lines": sizes.lines, "calls": sizes.calls}


def main() -> None:
    """Measure, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--quick", action="store_true", help="less of everything: minutes")
    chosen = arguments.parse_args()
    on = results.machine()
    # A short path: that of a socket may have no more than 107 bytes.
    figures = measure(world.scratch("xinyi-core-"), QUICK if chosen.quick else Sizes())
    print(results.record("core", figures, on, quick=chosen.quick))


if __name__ == "__main__":
    main()
