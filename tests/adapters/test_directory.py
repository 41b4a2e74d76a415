import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.model import ParseError
from adapters.transports import directory
from adapters.transports.directory import (
    NameTakenError,
    ShortWriteError,
    collect,
    deliver,
    quarantine,
    replay,
)

CONTENT = b"<order/>"


class PowerCutError(BaseException):
    """Stops the process where it is: no handler may catch it."""


def send(folder: Path, content: bytes = CONTENT) -> directory.Delivery:
    return deliver(content, "order.xml", folder / "out", folder / "audit")


def test_a_delivery_lies_in_the_outbox_and_in_the_audit_folder(tmp_path: Path) -> None:
    delivery = send(tmp_path)
    assert delivery.path.read_bytes() == (tmp_path / "audit/order.xml").read_bytes() == CONTENT
    assert delivery.size_bytes == len(CONTENT)
    assert collect(tmp_path / "out") == [delivery.path]


def test_sending_again_is_the_same_delivery(tmp_path: Path) -> None:
    assert send(tmp_path) == send(tmp_path)


def test_other_bytes_under_a_name_are_refused_and_the_first_stay(tmp_path: Path) -> None:
    send(tmp_path)
    with pytest.raises(NameTakenError):
        send(tmp_path, b"<other/>")
    assert (tmp_path / "out/order.xml").read_bytes() == CONTENT


def test_a_name_stays_taken_after_the_bank_took_the_file(tmp_path: Path) -> None:
    send(tmp_path).path.unlink()
    with pytest.raises(NameTakenError):
        send(tmp_path, b"<other/>")
    assert collect(tmp_path / "out") == []


def test_another_writer_of_the_same_name_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def race(_source: Path, target: Path) -> None:
        target.write_bytes(b"<other/>")
        raise FileExistsError(str(target))

    monkeypatch.setattr(os, "link", race)
    with pytest.raises(NameTakenError):
        directory.place(CONTENT, tmp_path / "order.xml")
    assert (tmp_path / "order.xml").read_bytes() == b"<other/>"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["", "../order.xml", "a/b", ".hidden", "order.part", "/etc/x"])
def test_a_name_that_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        deliver(CONTENT, name, tmp_path / "out", tmp_path / "audit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
@pytest.mark.parametrize("nth", range(1, 5))
def test_a_power_cut_at_any_step_shows_no_half_file_and_sending_again_completes(
    tmp_path: Path, call: str, nth: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _cut_power_at(patch, call, nth)
        with contextlib.suppress(PowerCutError):
            send(tmp_path)
    for folder in ("out", "audit"):
        assert all(path.read_bytes() == CONTENT for path in collect(tmp_path / folder))
    if collect(tmp_path / "out"):
        assert collect(tmp_path / "audit")
    assert send(tmp_path).path.read_bytes() == CONTENT


def _cut_power_at(patch: pytest.MonkeyPatch, call: str, nth: int) -> None:
    holder = Path if call == "unlink" else os
    real = getattr(holder, call)
    calls = iter(range(1, 100))

    def cut(*arguments: object) -> object:
        if next(calls) == nth:
            raise PowerCutError
        return real(*arguments)

    patch.setattr(holder, call, cut)


def test_a_disk_that_keeps_too_little_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorten(handle: int) -> None:
        os.ftruncate(handle, 3)

    monkeypatch.setattr(os, "fsync", shorten)
    with pytest.raises(ShortWriteError):
        send(tmp_path)
    assert list((tmp_path / "audit").iterdir()) == []


def test_unfinished_and_hidden_files_are_not_collected_and_the_rest_is_in_order(
    tmp_path: Path,
) -> None:
    for name in ("b.xml", "a.xml", "c.xml.part", ".d.xml"):
        (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / "folder").mkdir()
    assert [path.name for path in collect(tmp_path)] == ["a.xml", "b.xml"]
    assert collect(tmp_path / "missing") == []


def test_a_quarantined_file_has_its_reason_beside_it_and_goes_back_on_replay(
    tmp_path: Path,
) -> None:
    inbox, aside = tmp_path / "in", tmp_path / "aside"
    inbox.mkdir()
    (inbox / "bad.xml").write_bytes(CONTENT)
    kept = quarantine(inbox / "bad.xml", aside, "xml_malformed", "line 3")
    assert collect(inbox) == []
    assert "xml_malformed" in (aside / "bad.xml.reason.json").read_text()
    assert replay(kept, inbox).read_bytes() == CONTENT
    assert list(aside.iterdir()) == []


def test_two_bad_files_of_one_name_are_both_kept(tmp_path: Path) -> None:
    kept = []
    for content in (b"1", b"2"):
        (tmp_path / "bad.xml").write_bytes(content)
        kept.append(quarantine(tmp_path / "bad.xml", tmp_path / "aside", "x", "y"))
    assert [path.read_bytes() for path in kept] == [b"1", b"2"]
    assert replay(kept[1], tmp_path).name == "bad.xml"


@pytest.mark.parametrize("nth", [1, 2])
def test_a_power_cut_during_quarantine_loses_nothing_and_it_can_be_repeated(
    tmp_path: Path, nth: int
) -> None:
    bad, aside = tmp_path / "in/bad.xml", tmp_path / "aside"
    bad.parent.mkdir()
    bad.write_bytes(CONTENT)
    with pytest.MonkeyPatch.context() as patch:
        _cut_power_at(patch, "link", nth)
        with pytest.raises(PowerCutError):
            quarantine(bad, aside, "first", "cut")
    assert bad.read_bytes() == CONTENT
    assert quarantine(bad, aside, "second", "whole") == aside / "bad.xml"
    assert "second" in (aside / "bad.xml.reason.json").read_text()
    assert collect(bad.parent) == []


def test_a_file_half_moved_before_a_crash_is_moved_once(tmp_path: Path) -> None:
    bad, aside = tmp_path / "bad.xml", tmp_path / "aside"
    aside.mkdir()
    bad.write_bytes(CONTENT)
    os.link(bad, aside / "bad.xml")
    assert quarantine(bad, aside, "x", "y") == aside / "bad.xml"
    assert len(collect(aside)) == 2
    assert not bad.exists()


def test_a_replay_never_covers_a_file_in_the_inbox(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_bytes(b"1")
    kept = quarantine(tmp_path / "bad.xml", tmp_path / "aside", "x", "y")
    (tmp_path / "bad.xml").write_bytes(b"2")
    with pytest.raises(NameTakenError):
        replay(kept, tmp_path)
    assert kept.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(content=st.binary(max_size=2000))
def test_any_bytes_arrive_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    assert send(tmp_path_factory.mktemp("d"), content).path.read_bytes() == content


async def test_a_directory_says_what_it_knows_of_a_delivery(tmp_path: Path) -> None:
    folders = directory.DirectoryTransport(tmp_path / "out", tmp_path / "in", tmp_path / "done")
    assert await folders.find(CONTENT, "order.xml") is None
    await folders.deliver(CONTENT, "order.xml")
    assert await folders.find(CONTENT, "order.xml") is True
    with pytest.raises(NameTakenError):
        await folders.find(b"<other/>", "order.xml")
    with pytest.raises(NameTakenError):
        await folders.deliver(b"<other/>", "order.xml")


@pytest.mark.parametrize("name", ["", "../order.xml", ".order.xml", "order.xml.part"])
async def test_a_directory_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    folders = directory.DirectoryTransport(tmp_path / "out", tmp_path / "in", tmp_path / "done")
    with pytest.raises(ValueError, match="plain"):
        await folders.deliver(CONTENT, name)


async def test_a_file_larger_than_any_bank_sends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MAX_FILE_BYTES", 3)
    folders = directory.DirectoryTransport(tmp_path / "out", tmp_path, tmp_path / "done")
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"1234")
    assert await folders.fetch("a") == b"123"
    with pytest.raises(ParseError):
        await folders.fetch("b")


async def test_a_file_is_finished_whole_and_never_over_another(tmp_path: Path) -> None:
    folders = directory.DirectoryTransport(tmp_path / "out", tmp_path / "in", tmp_path / "done")
    (tmp_path / "in").mkdir()
    for content in (b"1", b"2"):
        (tmp_path / "in" / "a").write_bytes(content)
        assert await folders.collect() == ["a"]
        assert await folders.fetch("a") == content
        await folders.finish("a")
    assert await folders.collect() == []
    assert {p.name: p.read_bytes() for p in (tmp_path / "done").iterdir()} == {
        "a": b"1",
        "a.1": b"2",
    }
