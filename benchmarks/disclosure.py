"""What the log of disclosed lines costs: a leaf beside the posting of its line, and a proof."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from xinyi.v1 import disclosure_service_pb2 as pb

from gateway.clock import system_clock
from gateway.disclosure.keys import LogKeys
from gateway.disclosure.proving import prove_line
from gateway.disclosure.publisher import Publisher
from gateway.ledger.writer import LineDraft, post_lines
from gateway.settings import Settings
from gateway.store import GATEWAY, Scope, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from benchmarks.rig import Rig
    from benchmarks.world import Server
    from gateway.store import Store

GROUP: Final = 1000
"""Lines of one transaction, where lines are posted in groups."""
_FUNDS: Final = 20
_FIRST_FUND: Final = 100
_READER: Final = "trust"
_PROOF: Final = "/xinyi.v1.DisclosureService/GetLineProof"
_MARKS: Final = tuple(
    {"party_name": name, "role": role, "created_at": "2026-06-30T08:00:00+00:00"}
    for name, role in (
        ("锐达物业", "PROPERTY_FIRM"),
        ("梧桐苑业委会", "OWNERS_COMMITTEE"),
        ("示例信托", "TRUSTEE_CHECKER"),
    )
)
_DRAFT: Final = LineDraft(
    "main",
    "COMMON",
    "电梯",
    "电梯维修",
    -12_345,
    date(2026, 6, 30),
    counterparty_name="锐达电梯工程有限公司",
    counterparty_account="6222020000000001",
    vouchers=("0" * 64,),
    signatures=_MARKS,
)


def appending(rig: Rig, count: int) -> dict[str, float]:
    """Lines posted one a transaction and in groups, and the leaves of all of them logged."""
    return asyncio.run(_appending(rig, count))


async def _appending(rig: Rig, count: int) -> dict[str, float]:
    store = open_store(rig.world.url, pool_size=2)
    settings = Settings(data_dir=rig.world.folder / "data")
    keys = LogKeys(settings.log_keys_dir, settings.log_origin)
    publisher = Publisher(store, system_clock, keys, settings.public_dir)
    try:
        await publisher.log_all()
        alone = await _each(rig, _post(store, count, 1))
        grouped = await _each(rig, _post(store, count, GROUP))
        leaves = await _each(rig, publisher.log_all())
    finally:
        await store.close()
    if (alone.lines, grouped.lines, leaves.lines) != (count, count, 2 * count):
        raise SystemExit(f"{leaves.lines} leaves of {alone.lines} and {grouped.lines} lines")
    figures = {
        "posting_us": round(alone.wall_us),
        "posting_cpu_us": round(alone.cpu_us),
        "posting_in_groups_us": round(grouped.wall_us),
        "posting_in_groups_cpu_us": round(grouped.cpu_us),
        "leaf_us": round(leaves.wall_us),
        "leaf_cpu_us": round(leaves.cpu_us),
        "leaf_to_posting": round(leaves.wall_us / alone.wall_us, 3),
        "leaf_to_posting_in_groups": round(leaves.wall_us / grouped.wall_us, 3),
    }
    print(f"a leaf {leaves.wall_us:.0f} µs, a posting {alone.wall_us:.0f} µs", flush=True)
    return figures


class _Each(NamedTuple):
    """What one line took, of wall and processor time."""

    lines: int
    wall_us: float
    cpu_us: float


async def _each(rig: Rig, work: Awaitable[int]) -> _Each:
    """Processor time is that of this process and of the database."""
    own, database, wall = time.process_time(), rig.database_cpu_s(), time.perf_counter()
    lines = await work
    wall = time.perf_counter() - wall
    cpu = time.process_time() - own + rig.database_cpu_s() - database
    return _Each(lines, wall / lines * 1e6, cpu / lines * 1e6)


async def _post(store: Store, count: int, group: int) -> int:
    for start in range(0, count, group):
        size = min(group, count - start)
        funds = [f"f{_FIRST_FUND + (start + n) % _FUNDS}" for n in range(size)]
        async with store.transaction(GATEWAY) as conn:
            await post_lines(conn, [(fund, _DRAFT) for fund in funds], datetime.now(UTC))
    return count


def proving(rig: Rig, server: Server, fund: str, lines: int, count: int) -> dict[str, float]:
    """Proofs of any lines of the log, as they are asked for, and made without the call around."""
    dice = random.Random(2026)  # noqa: S311 - no secret
    numbers = [dice.randrange(lines) + 1 for _ in range(count)]
    bodies = [
        pb.GetLineProofRequest(name=f"funds/{fund}/lines/{number}").SerializeToString()
        for number in numbers
    ]
    rig.load(server, _PROOF, bodies[:20], _READER, 1)
    found = rig.load(server, _PROOF, bodies, _READER, 1)
    if found["refused"]:
        raise SystemExit(f"proofs: {found}")
    made_ms = sorted(asyncio.run(_made(rig, fund, numbers)))
    figures = {
        "proof_call_p50_ms": round(found["p50_ms"], 2),
        "proof_call_p99_ms": round(found["p99_ms"], 2),
        "proof_p50_ms": round(made_ms[len(made_ms) // 2], 2),
        "proof_p99_ms": round(made_ms[len(made_ms) * 99 // 100], 2),
        "leaves": rig.one("SELECT max(size) FROM logs"),
    }
    print(f"proof: {figures}", flush=True)
    return figures


async def _made(rig: Rig, fund: str, numbers: Sequence[int]) -> list[float]:
    """Milliseconds of each proof, from the database to its file, within one transaction."""
    store, took = open_store(rig.world.url, pool_size=1), list[float]()
    try:
        async with store.snapshot(Scope(_READER)) as conn:
            for number in numbers:
                began = time.perf_counter()
                await prove_line(conn, fund, number, {})
                took.append((time.perf_counter() - began) * 1000)
    finally:
        await store.close()
    return took
