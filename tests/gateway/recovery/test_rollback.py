"""A database that lost its newest part pays nothing, until two parties have seen what is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from xinyi.v1 import audit_service_pb2 as pb
from xinyi.v1 import ledger_service_pb2 as ledger
from xinyi.v1 import party_service_pb2 as party

from gateway import app
from gateway.audit import anchor
from gateway.audit.anchor import AnchorError
from gateway.settings import Settings
from gateway.store import schema
from gateway.store import tables as t
from tests.gateway.conftest import TlsSettings, _execute, _seed, database
from tests.gateway.payments.desk import FUND, Desk, ask, check_conserved, open_bank
from tests.gateway.support import (
    CHECKER,
    MAKER,
    NOW,
    OPERATOR,
    SUPERVISOR,
    Callers,
    Pki,
    StillClock,
    Who,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass(slots=True)
class Site:
    """One data directory, and databases that a gateway is run over in turn."""

    postgres_url: str
    name: str
    settings: Settings
    pki: Pki
    clock: StillClock

    @asynccontextmanager
    async def gateway(self, name: str) -> AsyncIterator[Desk]:
        """A gateway over one of them; a moment later than the one before."""
        self.clock.moment += timedelta(minutes=1)
        url = database(self.postgres_url, name)
        async with (
            app.running(self.settings, url, self.clock) as running,
            Callers(running.port, replace(self.pki, people=dict(self.pki.people))) as callers,
        ):
            yield Desk(running, callers, self.clock)

    async def save(self) -> str:
        """The database as it is now, under another name."""
        saved = f"{self.name}_saved"
        await _execute(self.postgres_url, f"CREATE DATABASE {saved} TEMPLATE {self.name}")
        return saved

    @property
    def sent(self) -> list[str]:
        """What lies with the bank."""
        return sorted(path.name for path in (self.settings.banks_dir / "demo" / "out").iterdir())


@pytest.fixture
async def site(
    postgres_url: str, database_url: str, tls_settings: TlsSettings, pki: Pki, tmp_path: Path
) -> AsyncIterator[Site]:
    far = tmp_path / "far"
    far.mkdir()
    settings = Settings(
        listen="127.0.0.1:0", data_dir=tmp_path / "near", anchor_dirs=(far,), **tls_settings
    )
    settings.data_dir.mkdir()
    name = sa.make_url(database_url).database or ""
    yield Site(postgres_url, name, settings, pki, StillClock())
    await _execute(postgres_url, f"DROP DATABASE IF EXISTS {name}_saved WITH (FORCE)")


async def rollback(desk: Desk, who: Who = OPERATOR) -> pb.Rollback:
    audit = (await desk.callers.as_(who)).audit
    return (await audit.GetRollback(pb.GetRollbackRequest())).rollback


async def acknowledge(desk: Desk, who: Who, digest: str = "") -> Any:
    read = digest or (await rollback(desk, who)).report_digest
    request = pb.AcknowledgeRollbackRequest(report_digest=read, request_id=request_id())
    return await (await desk.callers.as_(who)).audit.AcknowledgeRollback(request)


@dataclass(frozen=True, slots=True)
class Story:
    """What the saved database does not know any more."""

    saved: str
    held: str
    queued: str
    unknown: str


async def lose_the_newest_part(site: Site) -> Story:
    """One payment was held and one queued when it was saved; both went out, and a third one."""
    async with site.gateway(site.name) as desk:
        await desk.upload()
        held = (await desk.submit(ask(1_000))).name
        queued = await desk.released(2_000)
    saved = await site.save()
    async with site.gateway(site.name) as desk:
        await desk.sign_by_both(held)
        unknown = await desk.released(3_000)
        assert await desk.gateway.work() == 3
        assert len(site.sent) == 3
    return Story(saved, held, queued, unknown)


async def test_nothing_is_paid_and_the_reason_is_told(site: Site) -> None:
    story = await lose_the_newest_part(site)
    async with site.gateway(story.saved) as desk:
        for call in (desk.submit(), desk.sign_by_both(story.held), desk.withdraw(story.held)):
            assert (await refusal(call)).reason == "HISTORY_LOST"
        assert await desk.gateway.work() == 0
        assert len(site.sent) == 3


async def test_reads_and_revocations_go_on(site: Site) -> None:
    story = await lose_the_newest_part(site)
    async with site.gateway(story.saved) as desk:
        assert await desk.state(story.held) == "HELD"
        maker = await desk.callers.as_(MAKER)
        await maker.ledger.GetBalance(ledger.GetBalanceRequest(parent=FUND))
        keys = await maker.parties.ListPublicKeys(party.ListPublicKeysRequest(parent=CHECKER.name))
        operator = await desk.callers.as_(OPERATOR)
        revocation = party.RevokePublicKeyRequest(
            name=keys.public_keys[0].name, request_id=request_id()
        )
        await operator.parties.RevokePublicKey(revocation)


async def test_what_is_lost_is_told_payment_by_payment(site: Site) -> None:
    story = await lose_the_newest_part(site)
    async with site.gateway(story.saved) as desk:
        lost = await rollback(desk)
        told = {
            (file.payments[0].amount.amount_minor, file.payments[0].payment) for file in lost.files
        }
        assert told == {(1_000, story.held), (2_000, story.queued), (3_000, "")}
        by_amount = {file.payments[0].amount.amount_minor: file.payments[0] for file in lost.files}
        assert by_amount[3_000].reference == story.unknown.rpartition("/")[2]
        assert by_amount[3_000].account_ending == "0001"
        (newest,) = lost.anchors
        assert newest.sequence > lost.sequence
        assert lost.last_time.ToDatetime(NOW.tzinfo) < newest.time.ToDatetime(NOW.tzinfo)


async def test_two_parties_acknowledge_and_nothing_is_paid_twice(site: Site) -> None:
    story = await lose_the_newest_part(site)
    before = site.sent
    async with site.gateway(story.saved) as desk:
        assert not (await acknowledge(desk, OPERATOR)).complete
        assert list((await rollback(desk)).acknowledged_by) == [OPERATOR.name]
        assert (await refusal(desk.submit())).reason == "HISTORY_LOST"
        assert (await acknowledge(desk, CHECKER)).complete

        assert await desk.state(story.held) == "EXPIRED"
        await desk.gateway.work()
        assert await desk.state(story.queued) == "SENT"
        assert site.sent == before
        assert (await refusal(rollback(desk))).reason == "RESOURCE_NOT_FOUND"

        # Payments go on, and what the bank has done meanwhile is booked to the fen.
        name = await desk.released(4_000)
        bank = open_bank(
            site.settings.data_dir / "bank", site.settings.banks_dir / "demo", site.clock
        )
        await desk.gateway.work()
        assert bank.take() == 4
        bank.bring()
        bank.close(site.clock().date())
        await desk.gateway.work()
        assert await desk.states([story.queued, name]) == ["SETTLED", "SETTLED"]
        entries = await desk.rows(sa.select(t.bank_entries.c.amount_minor))
        assert sorted(row.amount_minor for row in entries) == [-4_000, -3_000, -2_000, -1_000]
        await check_conserved(desk.store)
    async with site.gateway(story.saved) as desk:
        assert desk.gateway.keeper.lost == ()


async def test_a_payment_that_was_released_again_under_a_lost_file_is_not_sent(site: Site) -> None:
    """It missed its day, and the file that took its place is lost."""
    async with site.gateway(site.name) as desk:
        await desk.upload()
        queued = await desk.released(2_000)
    saved = await site.save()
    async with site.gateway(site.name) as desk:
        transmission = await desk.transmission(queued)
        await desk.gateway.work()
    audit = site.settings.banks_dir / "demo" / "audit"
    for path in audit.iterdir():  # as if it had gone out under another name
        other = path.name.replace(transmission.transmission_id, "m" + "0" * 19)
        path.rename(path.with_name(other))
    async with site.gateway(saved) as desk:
        await acknowledge(desk, OPERATOR)
        await acknowledge(desk, SUPERVISOR)
        assert await desk.state(queued) == "UNKNOWN"
        before = site.sent
        await desk.gateway.work()
        assert site.sent == before
        assert (await desk.transmission(queued)).state == "SUPERSEDED"
        await check_conserved(desk.store)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (OPERATOR, OPERATOR, "SAME_PERSON"),
        (CHECKER, SUPERVISOR, "ROLE_NOT_REQUIRED"),
        (OPERATOR, MAKER, "ROLE_NOT_ALLOWED"),
    ],
)
async def test_one_operator_and_another_party_are_needed(
    site: Site, first: Who, second: Who, reason: str
) -> None:
    story = await lose_the_newest_part(site)
    async with site.gateway(story.saved) as desk:
        await acknowledge(desk, first)
        assert (await refusal(acknowledge(desk, second))).reason == reason
        assert desk.gateway.keeper.lost


async def test_another_person_of_the_same_party_does_not_count(site: Site) -> None:
    story = await lose_the_newest_part(site)
    async with site.gateway(story.saved) as desk:
        second = Who(OPERATOR.party_id, "second", OPERATOR.role)
        await desk.enrol(second)
        await acknowledge(desk, OPERATOR)
        assert (await refusal(acknowledge(desk, second))).reason == "SAME_PARTY"


async def test_what_nobody_read_is_not_acknowledged(site: Site) -> None:
    story = await lose_the_newest_part(site)
    async with site.gateway(story.saved) as desk:
        refused = await refusal(acknowledge(desk, OPERATOR, "0" * 64))
        assert refused.reason == "ETAG_MISMATCH"


@pytest.mark.parametrize("place", ["near", "far"])
async def test_one_anchor_of_several_is_enough(site: Site, place: str) -> None:
    story = await lose_the_newest_part(site)
    other = site.settings.data_dir if place == "far" else site.settings.anchor_dirs[0]
    (other / anchor.FILE_NAME).unlink()
    async with site.gateway(story.saved) as desk:
        assert (await refusal(desk.submit())).reason == "HISTORY_LOST"


@pytest.mark.parametrize("anchors_too", [False, True])
async def test_a_log_that_is_cut_under_a_running_gateway_stops_it(
    site: Site, anchors_too: bool
) -> None:
    async with site.gateway(site.name) as desk:
        await desk.upload()
        queued = await desk.released(2_000)
        await desk.gateway.keeper.keep()
        async with desk.store.engine.begin() as conn:
            await conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
            await conn.execute(sa.text("DELETE FROM audit_links WHERE sequence > 1"))
        if anchors_too:
            for place in (site.settings.data_dir, *site.settings.anchor_dirs):
                (place / anchor.FILE_NAME).unlink()
        await desk.gateway.work()
        assert await desk.state(queued) == "RELEASED"
        assert not (site.settings.banks_dir / "demo" / "out").exists()
        assert (await refusal(desk.submit())).reason == "HISTORY_LOST"
        await desk.gateway.keeper.keep()
        assert desk.gateway.keeper.lost


async def test_where_no_place_can_keep_the_anchor_nothing_is_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with site.gateway(site.name) as desk:
        await desk.upload()
        queued = await desk.released(2_000)
        with monkeypatch.context() as broken:
            broken.setattr(anchor, "write", full)
            assert await desk.gateway.work() == 0
        assert await desk.state(queued) == "RELEASED"
        site.clock.moment += timedelta(minutes=20)
        assert await desk.gateway.work() == 1
        assert await desk.state(queued) == "SENT"


async def test_what_went_to_the_bank_is_anchored_before(site: Site) -> None:
    async with site.gateway(site.name) as desk:
        await desk.upload()
        await desk.released(2_000)
        seen: list[int] = []
        submit = type(desk.gateway.sender.banks.connection("demo")).submit

        async def watched(connection: Any, *given: Any) -> Any:
            found = anchor.read(site.settings.anchor_dirs[0])
            query = (
                sa.select(t.audit_links.c.sequence)
                .join(t.audit_entries)
                .where(t.audit_entries.c.method == "gateway.FileSending")
            )
            seen.extend(row.sequence for row in await desk.rows(query))
            assert found is not None
            assert seen == [found.head.sequence]
            return await submit(connection, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("adapters.reach.FolderConnection.submit", watched)
            assert await desk.gateway.work() == 1
        assert seen


async def test_over_an_anchor_that_cannot_be_read_no_gateway_starts(site: Site) -> None:
    (site.settings.anchor_dirs[0] / anchor.FILE_NAME).write_text("{")
    with pytest.raises(AnchorError, match="far"):
        async with site.gateway(site.name):
            pass


async def test_a_place_that_is_away_holds_up_nothing(site: Site) -> None:
    site.settings.anchor_dirs[0].rmdir()
    async with site.gateway(site.name) as desk:
        await desk.upload()
        queued = await desk.released(2_000)
        assert await desk.gateway.work() == 1
        assert await desk.state(queued) == "SENT"


async def test_new_data_over_an_old_anchor_is_founded_and_acknowledged(
    site: Site, pki: Pki
) -> None:
    """The register is lost with the rest: those who have to acknowledge it are registered anew."""
    await lose_the_newest_part(site)
    empty = f"{site.name}_saved"
    await _execute(site.postgres_url, f"DROP DATABASE {empty}", f"CREATE DATABASE {empty}")
    url = database(site.postgres_url, empty)
    await asyncio.to_thread(schema.upgrade, url)
    await _seed(url, pki)
    async with site.gateway(empty) as desk:
        lost = await rollback(desk)
        assert len(lost.files) == 3
        assert not any(payment.payment for file in lost.files for payment in file.payments)
        await acknowledge(desk, OPERATOR)
        assert (await acknowledge(desk, CHECKER)).complete
        await desk.upload()
        assert await desk.released(1_000)
