"""The same shards over two Ray nodes, one of whose workers is killed: the same bytes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from reconciliation.engines import LocalEngine, RayEngine
from reconciliation.offline import reconcile_files
from reconciliation.shards import solve
from tests.reconciliation.builders import START, bank_frame, entry, ledger_frame, line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciliation.engines import Load, Work
    from reconciliation.shards import Files, Job

_SLOW_S = 1.5


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes of one core each."""
    ray = pytest.importorskip("ray", reason="`make ray` installs it beside the other packages")
    from ray.cluster_utils import Cluster  # type: ignore[import-not-found] # noqa: PLC0415 - as above

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def _files(folder: Path) -> tuple[Path, Path]:
    accounts = [f"A{n:02d}" for n in range(12)]
    bank = [
        entry(f"e{n}", 100 + n, n % 5, account_id=account, end_to_end_id=f"P{n}")
        for account in accounts
        for n in range(20)
    ]
    ledger = [
        line(f"l{n}", 100 + n, n % 5, account_id=account, payment_id=f"P{n}")
        for account in accounts
        for n in range(1, 21)
    ]
    bank.append(entry("crossed", -7, account_id="A00", end_to_end_id="X"))
    ledger.append(line("crossed", -7, account_id="A11", payment_id="X"))
    bank_frame(bank).write_parquet(folder / "bank.parquet")
    ledger_frame(ledger).write_parquet(folder / "ledger.parquet")
    return folder / "bank.parquet", folder / "ledger.parquet"


def _ran(folder: Path, name: str, engine: Any) -> Path:
    out = folder / name
    files = _files(folder)
    reconcile_files(*files, out, None, START, lambda _: None, engine=engine, rows_a_shard=40)
    return out


def _assert_same(left: Path, right: Path) -> None:
    names = sorted(str(file.relative_to(left)) for file in left.rglob("*") if file.is_file())
    assert len(names) > 12 * 2
    for name in names:
        assert (left / name).read_bytes() == (right / name).read_bytes(), name


def test_two_nodes_give_the_bytes_of_one_process(tmp_path: Path, address: str) -> None:
    alone = _ran(tmp_path, "alone", LocalEngine(1))
    spread = _ran(tmp_path, "spread", RayEngine(address))

    _assert_same(alone, spread)
    assert pl.read_parquet(spread / "cases.parquet").filter(kind="wrong_account").height == 2


def _slow(folder: Path) -> Work:
    """Work that says which process does it, and takes its time."""

    def work(job: Job) -> Files:
        (folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(_SLOW_S)
        return solve(job)

    return work


@dataclass(frozen=True)
class SlowRay:
    """Ray with slow work in the place of `solve`, and a hand that kills one of its workers."""

    address: str
    folder: Path

    def map(self, work: Work, shards: Any, load: Load) -> Iterator[tuple[int, Files]]:
        chosen = _slow(self.folder) if work is solve else work
        return RayEngine(self.address).map(chosen, shards, load)


def _kill_first(folder: Path, killed: list[int]) -> None:
    """Pulls the plug of the first worker that has begun."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for each in folder.iterdir():
            pid = int(each.name.split("-")[0])
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return
        time.sleep(0.05)


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path: Path, address: str) -> None:
    alone = _ran(tmp_path, "alone", LocalEngine(1))
    marks = tmp_path / "marks"
    marks.mkdir()
    killed: list[int] = []
    killer = Thread(target=_kill_first, args=(marks, killed))
    killer.start()

    spread = _ran(tmp_path, "spread", SlowRay(address, marks))

    killer.join()
    workers = [int(each.name.split("-")[0]) for each in marks.iterdir()]
    assert killed
    assert len(workers) > 12  # the shard of the one that was killed was begun again
    assert len(set(workers)) > 1
    _assert_same(alone, spread)
