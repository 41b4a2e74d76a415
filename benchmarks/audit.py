"""What the audit log costs: an entry in the transaction of its change, and the chain behind it.

``python -m benchmarks.audit``: rates of CPU time of this process, so that a busy machine does not
show in them, and beside each the database's share by the wall clock.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final

from gateway.audit.entry import Entry
from gateway.audit.log import append, seal
from gateway.audit.verify import verify
from gateway.store import GATEWAY, embedded, open_store, schema

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.store import Store

COUNT: Final = 50_000
GROUP: Final = 1_000
ONE_BY_ONE: Final = 500


def _entry(number: int) -> Entry:
    return Entry(
        datetime.now(UTC),
        "anju",
        "cashier",
        "f" * 64,
        "ipv4:192.0.2.7:50112",
        "/xinyi.v1.PaymentService/SubmitPayment",
        f"funds/wutong/payments/p{number:019}",
        f"request-{number}",
        "d" * 64,
        "OK",
        "",
    )


async def _grouped(store: Store) -> int:
    for start in range(0, COUNT, GROUP):
        async with store.transaction(GATEWAY) as conn:
            await append(conn, [_entry(start + each) for each in range(GROUP)])
    return COUNT


async def _alone(store: Store, *, with_entry: bool) -> int:
    for number in range(ONE_BY_ONE):
        async with store.transaction(GATEWAY) as conn:
            if with_entry:
                await append(conn, [_entry(number)])
    return ONE_BY_ONE


async def _sealed(store: Store) -> int:
    total = 0
    while True:
        async with store.transaction(GATEWAY) as conn:
            count = await seal(conn)
        if not count:
            return total
        total += count


async def _verified(store: Store) -> int:
    verdict = await verify(store, ())
    if verdict.fault is not None:
        raise RuntimeError(verdict.fault.en)
    return verdict.head.sequence


async def _measure(name: str, work: Awaitable[int]) -> None:
    cpu, wall = process_time(), perf_counter()
    count = await work
    cpu, wall = process_time() - cpu, perf_counter() - wall
    print(f"{name:45} {count:>8,}  {cpu / count * 1e6:8.1f} µs CPU each  {count / wall:>9,.0f}/s")


async def _main(url: str) -> None:
    store = open_store(url, pool_size=1)
    await _measure("entries in groups of 1,000, committed", _grouped(store))
    await _measure("linked", _sealed(store))
    await _measure("verified", _verified(store))
    await _measure("an empty transaction", _alone(store, with_entry=False))
    await _measure("a transaction with one entry", _alone(store, with_entry=True))
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(
        prefix="xinyi-audit-", ignore_cleanup_errors=True
    ) as directory:
        database_url = embedded.start(Path(directory) / "data")
        schema.upgrade(database_url)
        asyncio.run(_main(database_url))
