"""Orders and answers over a real SSH server: once there, once here, whatever breaks in between."""

from __future__ import annotations

import os
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from xinyi.v1 import payment_service_pb2 as pb

from adapters.connection import FileConnection, NotSentError
from adapters.model import MAX_FILE_BYTES
from adapters.transports.sftp import SftpTransport
from gateway.payments import outbox
from gateway.store import tables as t
from tests.gateway.support import MAKER, TODAY, request_id
from tests.gateway.wires.stage import LEASE, id_of

if TYPE_CHECKING:
    from tests.gateway.wires.file_bank import FileBank


class Crash(BaseException):
    """The process dies here: nothing that catches exceptions may go on."""


async def _dies(*_: object, **__: object) -> None:
    raise Crash


# --- out --------------------------------------------------------------------------------------


async def test_an_order_arrives_whole_and_its_answers_come_back_and_are_booked(
    files: FileBank,
) -> None:
    async with files.open():
        name = await files.desk.released()
        await files.work()
        (order,) = files.at_bank("in")
        content = (files.simulated.inbox / order).read_bytes()
        carried = f"{order} sha256:{sha256(content).hexdigest()}"
        history = (await files.desk.get(name)).history
        assert [each.detail for each in history if "sha256:" in each.detail] == [carried]

        assert files.take() == 1
        await files.work()
        assert await files.desk.state(name) == "SETTLED"
        await files.work(LEASE)
        assert files.take() == 0
        await files.settled(name)
    fetched = files.at_bank("fetched")
    assert [each.partition("_")[0] for each in fetched] == ["camt053", "camt053", "pain002"]
    assert files.at_bank("out") == []


async def test_a_server_that_is_down_is_tried_again_after_growing_pauses(files: FileBank) -> None:
    name = await files.desk.released()
    pauses = []
    for _ in range(3):
        await files.work()
        queued = await files.desk.transmission(name)
        assert (queued.state, queued.last_error) == ("QUEUED", "NotSentError")
        pauses.append((queued.next_attempt_at - files.desk.clock()).total_seconds())
        files.desk.clock.moment = queued.next_attempt_at
    assert pauses == [2, 4, 8]

    async with files.open():
        await files.work()
        assert files.take() == 1
        await files.work()
        await files.settled(name)


async def test_a_connection_that_breaks_while_writing_sent_nothing_and_is_tried_again(
    files: FileBank,
) -> None:
    async with files.open():
        files.server.faults.cut_before = {"write"}
        name = await files.desk.released()
        await files.work()
        assert (await files.desk.transmission(name)).state == "QUEUED"
        assert files.server.there() == []

        files.server.faults.cut_before = set()
        await files.work(timedelta(seconds=2))
        assert files.take() == 1
        await files.work()
        await files.settled(name)


async def test_broken_after_the_rename_it_is_seen_at_once_that_the_file_arrived(
    files: FileBank,
) -> None:
    async with files.open():
        files.server.faults.cut_after = {"rename"}
        name = await files.desk.released()
        await files.work()

        assert (await files.desk.transmission(name)).state == "DELIVERED"
        assert files.take() == 1
        files.server.faults.cut_after = set()
        await files.work()
        await files.settled(name)


async def test_broken_before_the_rename_it_goes_out_later_under_its_name(files: FileBank) -> None:
    async with files.open():
        files.server.faults.cut_before = {"rename"}
        name = await files.desk.released()
        await files.work()
        assert (await files.desk.transmission(name)).state == "QUEUED"
        (unfinished,) = files.at_bank("in")
        assert unfinished.endswith(".part")

        files.server.faults.cut_before = set()
        await files.work(timedelta(seconds=2))
        assert files.take() == 1
        await files.work()
        await files.settled(name)


async def test_taken_before_anybody_looked_it_is_in_doubt_until_the_bank_answers(
    files: FileBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = SftpTransport.find

    async def late(transport: SftpTransport, content: bytes, name: str) -> bool | None:
        files.take()
        return await find(transport, content, name)

    async with files.open():
        files.server.faults.cut_after = {"rename"}
        name = await files.desk.released()
        with monkeypatch.context() as patched:
            patched.setattr(SftpTransport, "find", late)
            await files.desk.gateway.sender.send_all()
        files.server.faults.cut_after = set()

        assert (await files.desk.transmission(name)).state == "IN_DOUBT"
        assert await files.desk.state(name) == "UNKNOWN"
        await files.work(LEASE)
        assert files.take() == 0
        await files.settled(name)


async def test_gone_and_out_of_sight_it_goes_out_again_only_once_two_have_signed_so(
    files: FileBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bank that takes files cannot be asked: days of statements without it speak for that."""
    find, desk = SftpTransport.find, files.desk

    async def swept(transport: SftpTransport, content: bytes, name: str) -> bool | None:
        for path in (files.server.folder / "in").iterdir():
            path.unlink()
        return await find(transport, content, name)

    async with files.open():
        files.server.faults.cut_before = {"rename"}
        name = await desk.released()
        with monkeypatch.context() as patched:
            patched.setattr(SftpTransport, "find", swept)
            await files.work()
        assert (await desk.transmission(name)).state == "IN_DOUBT"
        files.server.faults.cut_before = set()
        for _ in range(3):
            await files.next_morning()
        assert files.take() == 0

        again = pb.PrepareResendRequest(name=name, request_id=request_id())
        await (await desk.stub(MAKER)).PrepareResend(again)
        await desk.sign_by_both(name)
        await files.work()
        assert files.take() == 1
        await files.work()
        await files.settled(name)


async def test_what_nobody_can_look_for_waits_with_its_bytes_and_its_day(
    files: FileBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(*_: object) -> None:
        raise NotSentError("no route")

    async with files.open():
        files.server.faults.cut_after = {"rename"}
        name = await files.desk.released()
        with monkeypatch.context() as patched:
            patched.setattr(SftpTransport, "find", closed)
            await files.work()
            await files.work(timedelta(days=1))
        first = await files.desk.transmission(name)
        assert (first.state, first.last_error) == ("SENDING", "NotKnownYetError")
        files.server.faults.cut_after = set()

        await files.work(LEASE)
        second = await files.desk.transmission(name)
        assert (second.state, second.transmission_id) == ("DELIVERED", first.transmission_id)
        assert files.take() == 1
        await files.work()
        await files.settled(name)


@pytest.mark.parametrize(
    ("moment", "taken", "stage"),
    [
        ("cut_after", False, "DELIVERED"),
        ("cut_before", False, "DELIVERED"),
        ("cut_after", True, "IN_DOUBT"),
    ],
    ids=["it-lies-there", "it-never-had-its-name", "the-bank-took-it"],
)
async def test_broken_at_the_rename_before_a_crash_the_file_is_looked_for_and_never_doubled(
    files: FileBank, monkeypatch: pytest.MonkeyPatch, moment: str, *, taken: bool, stage: str
) -> None:
    async with files.open():
        name = await files.desk.released()
        setattr(files.server.faults, moment, {"rename"})
        with monkeypatch.context() as patched:
            patched.setattr(FileConnection, "_is_there", _dies)
            with pytest.raises(Crash):
                await files.work()
        setattr(files.server.faults, moment, set())
        if taken:
            # Its answer is on the way still: only that the file is gone can be seen.
            assert files.take() == 1
            (answer,) = files.simulated.outbox.glob("pain002_*.xml")
            answer.rename(answer.with_suffix(".part"))

        files.desk.clock.moment += LEASE
        await files.desk.gateway.sender.send_all()
        assert (await files.desk.transmission(name)).state == stage
        if taken:
            answer.with_suffix(".part").rename(answer)
        assert files.take() == int(not taken)
        await files.work()
        await files.settled(name)


async def test_a_statement_that_overtakes_a_crash_leaves_a_history_that_names_the_file(
    files: FileBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with files.open():
        name = await files.desk.released()
        with monkeypatch.context() as patched:
            patched.setattr(outbox.Sender, "_record_delivery", _dies)
            with pytest.raises(Crash):
                await files.work()
        assert files.take() == 1
        (answer,) = files.simulated.outbox.glob("pain002_*.xml")
        answer.unlink()
        files.simulated.close_day(TODAY)
        await files.desk.gateway.inbox.take_all()
        assert await files.desk.state(name) == "SETTLED"

        await files.work(LEASE)
        assert files.take() == 0
        ((order, content),) = files.orders
        history = (await files.desk.get(name)).history
        assert history[-1].detail == f"{order} sha256:{sha256(content).hexdigest()}"


# --- in ---------------------------------------------------------------------------------------


async def test_a_file_too_large_or_gone_meanwhile_holds_up_no_other(
    files: FileBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, gone = files.simulated.outbox / "a-large.xml", files.simulated.outbox / "b-gone.xml"
    large.touch()
    os.truncate(large, MAX_FILE_BYTES + 1)  # sparse: it takes no room
    gone.write_bytes(b"<gone/>")
    fetch = SftpTransport.fetch

    async def vanishing(transport: SftpTransport, name: str) -> bytes:
        gone.unlink(missing_ok=True)
        return await fetch(transport, name)

    async with files.open():
        name = await files.desk.released()
        await files.desk.gateway.sender.send_all()
        files.take()
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr(SftpTransport, "fetch", vanishing)
            await files.work()

        assert await files.desk.state(name) == "SETTLED"
        assert [each["why"] for each in logs if each["event"] == "bank_file_left"] == [
            "file_left",
            "file_left",
        ]
        assert files.at_bank("out") == ["a-large.xml"]
        large.unlink()
        await files.settled(name)


async def test_a_statement_kept_before_a_crash_comes_twice_and_is_booked_once(
    files: FileBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with files.open():
        name = await files.desk.released()
        await files.work()
        files.take()
        with monkeypatch.context() as patched:
            patched.setattr(SftpTransport, "finish", _dies)
            with pytest.raises(Crash):
                await files.next_morning()
        assert any(each.startswith("camt053") for each in files.at_bank("out"))

        await files.work()
        await files.work()
        entries = await files.desk.rows(sa.select(t.bank_entries))
        assert [entry.end_to_end_id for entry in entries] == [id_of(name)]
        await files.settled(name)


async def test_a_server_that_is_down_keeps_no_file_here_from_being_read(files: FileBank) -> None:
    """What was fetched before, or what a person put there, does not wait for the bank."""
    async with files.open():
        name = await files.desk.released()
        await files.work()
        files.take()
    files.close()
    inbox = files.folder / "in"
    inbox.mkdir(exist_ok=True)
    for path in files.simulated.outbox.glob("pain002_*"):
        path.rename(inbox / path.name)
    await files.work()

    assert await files.desk.state(name) == "SETTLED"
