"""Backups of a database at work, restored to its end, to a moment, and not at all."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
import sqlalchemy as sa

from gateway import app
from gateway.audit.verify import verify
from gateway.settings import Settings
from gateway.store import embedded, schema
from gateway.store import tables as t
from tests.gateway.conftest import TlsSettings, _seed
from tests.gateway.payments.desk import Desk, ask, check_conserved
from tests.gateway.recovery.test_rollback import rollback
from tests.gateway.support import OPERATOR, Callers, Pki, StillClock, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

XINYI = Path(sys.executable).with_name("xinyi")


@dataclass(slots=True)
class Site:
    """A place with a database of its own, a gateway over it, and the command."""

    place: Path
    kept: Path
    url: str
    settings: Settings
    pki: Pki
    clock: StillClock = field(default_factory=StillClock)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "XINYI_DATABASE_URL": self.url,
            "XINYI_DATA_DIR": str(self.settings.data_dir),
            "LANG": "en_US.UTF-8",
        }
        return {**os.environ, **own}

    def xinyi(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own command
            [XINYI, *words], capture_output=True, text=True, check=False, env=self.environment
        )

    async def done(self, *words: str) -> str:
        """Runs a command that must succeed."""
        ran = await asyncio.to_thread(self.xinyi, *words)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    @asynccontextmanager
    async def gateway(self, url: str = "", data_dir: Path | None = None) -> AsyncIterator[Desk]:
        self.clock.moment += timedelta(minutes=1)
        settings = self.settings.model_copy(update={"data_dir": data_dir or self.settings.data_dir})
        async with (
            app.running(settings, url or self.url, self.clock) as running,
            Callers(running.port, replace(self.pki, people=dict(self.pki.people))) as callers,
        ):
            yield Desk(running, callers, self.clock)

    async def now(self) -> datetime:
        """The server's clock, by which a moment is restored."""
        conn = await asyncpg.connect(self.url)
        moment = await conn.fetchval("SELECT clock_timestamp()")
        await conn.close()
        return moment.astimezone(UTC)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Story:
    """Payments before the backup, between it and a moment, and after that moment."""

    site: Site
    before: str
    between: str
    after: str
    moment: datetime


async def _live(site: Site) -> Story:
    async with site.gateway() as desk:
        await desk.upload()
        await site.done("backup", "log", "--once", "--out", str(site.kept))
        before = await desk.released(1_000)
        await desk.gateway.work()
        await site.done("backup", "--out", str(site.kept))
        between = await desk.released(2_000)
        await desk.gateway.work()
        moment = await site.now()
        after = await desk.released(3_000)
        await desk.gateway.work()
        await site.done("backup", "log", "--once", "--out", str(site.kept))
    return Story(site, before, between, after, moment)


@pytest.fixture(scope="module")
def lived(pki: Pki, tls_settings: TlsSettings) -> Iterator[Story]:
    """The one life of this module; the tests restore it, each into a place of its own."""
    # A path of its own, because a socket's path may have no more than 107 bytes.
    place = Path(tempfile.mkdtemp(prefix="xinyi-bk-"))
    near, far = place / "near", place / "far"
    near.mkdir()
    far.mkdir()
    url = embedded.start(near / "postgres")
    schema.upgrade(url)
    settings = Settings(listen="127.0.0.1:0", data_dir=near, anchor_dirs=(far,), **tls_settings)
    site = Site(place, place / "kept", url, settings, pki)

    async def begin() -> Story:
        await _seed(url, pki)
        return await _live(site)

    yield asyncio.run(begin())
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def story(lived: Story) -> Iterator[Story]:
    """The same with backups and a far anchor that a test may spoil."""
    place = Path(tempfile.mkdtemp(prefix="xinyi-bk-"))
    shutil.copytree(lived.site.kept, place / "kept")
    shutil.copytree(lived.site.place / "far", place / "far")
    settings = lived.site.settings.model_copy(update={"anchor_dirs": (place / "far",)})
    site = replace(lived.site, place=place, kept=place / "kept", settings=settings)
    yield replace(lived, site=site)
    shutil.rmtree(place, ignore_errors=True)


async def known(desk: Desk) -> set[str]:
    rows = await desk.rows(sa.select(t.payments.c.fund_id, t.payments.c.payment_id))
    return {f"funds/{row.fund_id}/payments/{row.payment_id}" for row in rows}


async def test_exactly_what_was_done_up_to_a_moment_is_there_again(story: Story) -> None:
    site = story.site
    new = site.place / "new"
    at = story.moment.isoformat()
    await site.done("restore", "--from", str(site.kept), "--to", str(new), "--at", at)
    url = await asyncio.to_thread(embedded.start, new / "postgres")

    async with site.gateway(url, new) as desk:
        assert await known(desk) == {story.before, story.between}
        assert await desk.states([story.before, story.between]) == ["SENT", "SENT"]
        await check_conserved(desk.store)
        # What came after is lost, and the anchor far away knows.
        assert (await refusal(desk.submit(ask(4_000)))).reason == "HISTORY_LOST"
        assert await desk.gateway.work() == 0
        chain = await verify(desk.store, [new])
        assert chain.fault is None
        entries = await desk.rows(sa.select(t.audit_entries.c.method))
        assert "gateway.Restored" in {row.method for row in entries}


async def test_without_a_moment_everything_is_there_again(story: Story) -> None:
    site = story.site
    new = site.place / "new"
    await site.done("restore", "--from", str(site.kept), "--to", str(new))
    url = await asyncio.to_thread(embedded.start, new / "postgres")
    async with site.gateway(url, new) as desk:
        assert await known(desk) == {story.before, story.between, story.after}
        assert (await verify(desk.store, [new])).fault is None
        # The files beside the base are older than the log: what lies with the bank is not lost.
        kept = [path.name for path in (new / "banks" / "demo" / "audit").glob("*.xml")]
        assert len(kept) == 1


async def test_the_old_data_directory_tells_more_than_the_backup(story: Story) -> None:
    site = story.site
    new, old = site.place / "new", site.settings.data_dir
    at = story.moment.isoformat()
    (site.settings.anchor_dirs[0] / "anchor.json").unlink()
    await site.done(
        *("restore", "--from", str(site.kept), "--to", str(new), "--at", at, "--files", str(old))
    )
    url = await asyncio.to_thread(embedded.start, new / "postgres")
    async with site.gateway(url, new) as desk:
        lost = await rollback(desk, OPERATOR)
        (payment,) = [payment for file in lost.files for payment in file.payments]
        assert payment.reference == story.after.rpartition("/")[2]


async def test_what_cannot_be_restored_is_told_and_nothing_is_overwritten(story: Story) -> None:
    site = story.site
    new = site.place / "new"
    words = ("restore", "--from", str(site.kept), "--to", str(new))

    late = site.xinyi(*words, "--at", (await site.now() + timedelta(hours=1)).isoformat())
    assert late.returncode == 2
    assert "what was kept of the log ends before that moment" in late.stderr
    early = site.xinyi(*words, "--at", (story.moment - timedelta(days=1)).isoformat())
    assert early.returncode == 2
    assert "no whole backup for this" in early.stderr
    assert list(new.iterdir()) == []

    (new / "mine").write_text("x")
    taken = site.xinyi(*words)
    assert taken.returncode == 2
    assert "is not empty" in taken.stderr
    (new / "mine").unlink()

    (base,) = site.kept.glob("2*")
    page = base / "postgres" / "global" / "pg_control"
    page.write_bytes(page.read_bytes()[:-1] + b"x")
    broken = site.xinyi(*words)
    assert broken.returncode == 2
    assert "global/pg_control is changed" in broken.stderr
    (base / "backup.json").unlink()
    half = site.xinyi(*words)
    assert "no whole backup" in half.stderr
    assert list(new.iterdir()) == []


async def test_a_bank_s_file_that_was_changed_in_the_backup_is_found(story: Story) -> None:
    site = story.site
    (copy,) = site.kept.glob("2*/files/banks/demo/audit/*.xml")
    copy.write_bytes(b"another")
    told = site.xinyi("restore", "--from", str(site.kept), "--to", str(site.place / "new"))
    assert told.returncode == 2
    assert "is not what was kept" in told.stderr


async def test_a_backup_is_told_in_json_and_holds_no_private_key(story: Story) -> None:
    site = story.site
    (site.settings.data_dir / "banks" / "demo" / "login.key").write_text("secret")
    told = json.loads(await site.done("backup", "--json", "--out", str(site.place / "other")))
    _private(Path(told["path"]))


def _private(backup: Path) -> None:
    assert (backup / "backup.json").is_file()
    assert not list(backup.rglob("*.key"))
    assert backup.stat().st_mode & 0o077 == 0


async def test_a_backup_that_fails_leaves_nothing_that_looks_whole(story: Story) -> None:
    site = story.site
    site.url = site.url.replace("/postgres?", "/nothing?")
    told = site.xinyi("backup", "--out", str(site.place / "other"))
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert not (site.place / "other").exists()


async def test_the_server_keeps_its_log_for_a_backup_until_told_otherwise(story: Story) -> None:
    site = story.site

    async def slots() -> int:
        conn = await asyncpg.connect(site.url)
        count = await conn.fetchval("SELECT count(*) FROM pg_replication_slots")
        await conn.close()
        return int(count)

    # Into a place of its own: where another test has ended it, the old one cannot be gone on with.
    await site.done("backup", "log", "--once", "--out", str(site.place / "other"))
    assert await slots() == 1
    await site.done("backup", "end")
    await site.done("backup", "end")
    assert await slots() == 0


async def test_the_log_is_carried_until_it_is_stopped(story: Story) -> None:
    site = story.site
    out = site.place / "other"
    carrying = subprocess.Popen(  # noqa: S603, ASYNC220 - our own command
        [XINYI, "backup", "log", "--out", str(out)], env=site.environment, stderr=subprocess.PIPE
    )
    for _ in range(600):
        if any((out / "wal").glob("*.partial")):
            break
        await asyncio.sleep(0.1)
    carrying.terminate()
    _, told = await asyncio.to_thread(carrying.communicate)
    assert carrying.returncode == 0, told
    assert any((out / "wal").glob("*.partial"))
    await site.done("backup", "end")
