"""Against a real SSH server on the loopback, which breaks where a test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncssh
import pytest

from adapters.connection import NotSentError, OutcomeUnknownError, RefusedError
from adapters.transports.directory import NameTakenError, ShortWriteError
from adapters.transports.sftp import SftpTransport

CONTENT = b"<order>" + b"x" * 200_000 + b"</order>"
NAME = "M1.xml"


@dataclass
class Faults:
    """What goes wrong at the server, by the name of the operation."""

    cut_before: set[str] = field(default_factory=set)
    cut_after: set[str] = field(default_factory=set)
    hang: set[str] = field(default_factory=set)
    short_write: bool = False


def serving(folder: Path, faults: Faults) -> type[asyncssh.SFTPServer]:
    class Server(asyncssh.SFTPServer):
        def __init__(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
            self._connection = chan.get_connection()
            super().__init__(chan, chroot=str(folder).encode())

        async def _maybe(self, name: str, act: Callable[[], object]) -> object:
            if name in faults.hang:
                await asyncio.sleep(60)
            if name in faults.cut_before:
                self._connection.abort()
                raise asyncssh.SFTPConnectionLost("cut")
            done = act()
            if name in faults.cut_after:
                self._connection.abort()
            return done

        async def write(self, file_obj: object, offset: int, data: bytes) -> int:
            half = faults.short_write or "write" in faults.cut_before
            kept = data[: len(data) // 2] if half else data
            super().write(file_obj, offset, kept)
            await self._maybe("write", lambda: None)
            return len(data)

        async def rename(self, oldpath: bytes, newpath: bytes) -> None:
            rename = super().rename
            await self._maybe("rename", lambda: rename(oldpath, newpath))

        async def stat(self, path: bytes) -> object:  # type: ignore[override] # awaitable is allowed
            stat = super().stat
            return await self._maybe("stat", lambda: stat(path))

    return Server


class Bank:
    """One server, its folders, its faults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bank"
        self.faults = Faults()
        self.keys = folder
        for name in ("in", "out", "done"):
            (self.folder / name).mkdir(parents=True)
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key.write_private_key(folder / "client")
        self.client_key.write_public_key(folder / "authorized")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SftpTransport]:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            authorized_client_keys=str(self.keys / "authorized"),
            sftp_factory=serving(self.folder, self.faults),
        )
        port = server.get_port()
        known = self.host_key.export_public_key().decode()
        (self.keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {known}")
        try:
            yield SftpTransport(
                host="127.0.0.1",
                port=port,
                username="xinyi",
                client_key=self.keys / "client",
                known_hosts=self.keys / "known_hosts",
                outbox="/in",
                inbox="/out",
                done="/done",
                timeout_s=20.0,
            )
        finally:
            server.close()
            await server.wait_closed()

    def there(self) -> list[str]:
        """What a program that takes files from the bank's folder would see."""
        return sorted(p.name for p in (self.folder / "in").iterdir() if not p.name.startswith("."))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


async def test_a_file_arrives_whole_under_its_name_and_nothing_else_stays(bank: Bank) -> None:
    async with bank.open() as sftp:
        await sftp.deliver(CONTENT, NAME)
    assert [path.name for path in (bank.folder / "in").iterdir()] == [NAME]
    assert (bank.folder / "in" / NAME).read_bytes() == CONTENT


async def test_sending_the_same_again_is_the_same_delivery(bank: Bank) -> None:
    async with bank.open() as sftp:
        await sftp.deliver(CONTENT, NAME)
        await sftp.deliver(CONTENT, NAME)
    assert bank.there() == [NAME]


@pytest.mark.parametrize("other", [b"other", b"y" * len(CONTENT), b""])
async def test_another_content_under_the_name_is_never_replaced(bank: Bank, other: bytes) -> None:
    (bank.folder / "in" / NAME).write_bytes(other)
    async with bank.open() as sftp:
        with pytest.raises(NameTakenError):
            await sftp.deliver(CONTENT, NAME)
    assert (bank.folder / "in" / NAME).read_bytes() == other


async def test_a_name_taken_between_look_and_rename_is_not_replaced(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.transports import sftp as module  # noqa: PLC0415 - patched in this test only

    write = module._write

    async def race(sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
        await write(sftp, part, content)
        (bank.folder / "in" / NAME).write_bytes(b"another program's")

    monkeypatch.setattr(module, "_write", race)
    async with bank.open() as transport:
        with pytest.raises(NameTakenError):
            await transport.deliver(CONTENT, NAME)
    assert (bank.folder / "in" / NAME).read_bytes() == b"another program's"


@pytest.mark.parametrize("operation", ["write", "stat"])
@pytest.mark.parametrize("moment", ["cut_before", "cut_after"])
async def test_a_connection_cut_before_the_rename_sent_nothing(
    bank: Bank, operation: str, moment: str
) -> None:
    setattr(bank.faults, moment, {operation})
    async with bank.open() as sftp:
        with pytest.raises(NotSentError):
            await sftp.deliver(CONTENT, NAME)
        assert bank.there() == []
        setattr(bank.faults, moment, set())
        await sftp.deliver(CONTENT, NAME)
    assert (bank.folder / "in" / NAME).read_bytes() == CONTENT


async def test_a_connection_cut_during_the_rename_is_unknown_and_then_found_out(bank: Bank) -> None:
    bank.faults.cut_after = {"rename"}
    async with bank.open() as sftp:
        with pytest.raises(OutcomeUnknownError):
            await sftp.deliver(CONTENT, NAME)
        assert await sftp.find(CONTENT, NAME) is True
        (bank.folder / "in" / NAME).unlink()  # the bank takes it
        assert await sftp.find(CONTENT, NAME) is None


async def test_a_rename_that_never_happened_may_be_done_again(bank: Bank) -> None:
    bank.faults.cut_before = {"rename"}
    async with bank.open() as sftp:
        with pytest.raises(OutcomeUnknownError):
            await sftp.deliver(CONTENT, NAME)
        assert bank.there() == []
        assert await sftp.find(CONTENT, NAME) is False
        bank.faults.cut_before = set()
        await sftp.deliver(CONTENT, NAME)
    assert bank.there() == [NAME]


@pytest.mark.parametrize(
    ("operation", "error"), [("stat", NotSentError), ("rename", OutcomeUnknownError)]
)
async def test_a_server_that_stops_answering_is_given_up(
    bank: Bank, operation: str, error: type[Exception]
) -> None:
    bank.faults.hang = {operation}
    async with bank.open() as sftp:
        with pytest.raises(error):
            await replace(sftp, timeout_s=1.0).deliver(CONTENT, NAME)
    assert bank.there() == []


async def test_a_short_write_is_seen_by_the_size_and_leaves_no_file(bank: Bank) -> None:
    bank.faults.short_write = True
    async with bank.open() as sftp:
        with pytest.raises(ShortWriteError):
            await sftp.deliver(CONTENT, NAME)
    assert list((bank.folder / "in").iterdir()) == []


async def test_a_missing_folder_is_a_refusal(bank: Bank) -> None:
    async with bank.open() as sftp:
        with pytest.raises(RefusedError):
            await replace(sftp, outbox="/nowhere").deliver(CONTENT, NAME)
        with pytest.raises(RefusedError):
            await replace(sftp, inbox="/nowhere").collect()


async def test_another_server_under_the_same_address_is_refused(bank: Bank) -> None:
    async with bank.open() as sftp:
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        sftp.known_hosts.write_text(f"[127.0.0.1]:{sftp.port} {other}")
        with pytest.raises(RefusedError):
            await sftp.deliver(CONTENT, NAME)
    assert bank.there() == []


async def test_without_known_hosts_no_server_is_trusted(bank: Bank) -> None:
    async with bank.open() as sftp:
        sftp.known_hosts.write_text("")
        with pytest.raises(RefusedError):
            await sftp.deliver(CONTENT, NAME)
        sftp.known_hosts.unlink()
        with pytest.raises(NotSentError):
            await sftp.deliver(CONTENT, NAME)
    assert bank.there() == []


async def test_a_key_that_the_bank_does_not_know_is_refused(bank: Bank) -> None:
    async with bank.open() as sftp:
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(bank.keys / "client")
        with pytest.raises(RefusedError):
            await sftp.deliver(CONTENT, NAME)


async def test_a_closed_port_sent_nothing(bank: Bank) -> None:
    async with bank.open() as sftp:
        pass
    with pytest.raises(NotSentError):
        await sftp.deliver(CONTENT, NAME)


@pytest.mark.parametrize("name", ["", "../M1.xml", "a/b", ".hidden", "M1.xml.part"])
async def test_a_name_that_is_no_plain_file_name_goes_nowhere(bank: Bank, name: str) -> None:
    async with bank.open() as sftp:
        with pytest.raises(ValueError, match="plain"):
            await sftp.deliver(CONTENT, name)


async def test_files_of_the_bank_are_listed_read_and_put_aside(bank: Bank) -> None:
    out = bank.folder / "out"
    for name in ("b.xml", "a.xml", ".hidden", "c.xml.part"):
        (out / name).write_bytes(name.encode())
    (out / "folder").mkdir()
    async with bank.open() as sftp:
        assert await sftp.collect() == ["a.xml", "b.xml"]
        assert await sftp.fetch("a.xml") == b"a.xml"
        await sftp.finish("a.xml")
        assert await sftp.collect() == ["b.xml"]
        (out / "a.xml").write_bytes(b"the next day")
        await sftp.finish("a.xml")
        await replace(sftp, done="").finish("b.xml")
    done = bank.folder / "done"
    assert {path.name: path.read_bytes() for path in done.iterdir()} == {
        "a.xml": b"a.xml",
        "a.xml.1": b"the next day",
    }
    assert not (out / "b.xml").exists()


async def test_a_file_that_is_gone_is_a_refusal(bank: Bank) -> None:
    async with bank.open() as sftp:
        with pytest.raises(RefusedError):
            await sftp.fetch("a.xml")
        with pytest.raises(RefusedError):
            await sftp.finish("a.xml")


async def test_a_file_that_grows_while_it_is_read_is_not_complete(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.transports import sftp as module  # noqa: PLC0415 - patched in this test only

    path = bank.folder / "out" / "a.xml"
    path.write_bytes(b"half")
    read = module._read

    async def growing(sftp: asyncssh.SFTPClient, name: str, size: int) -> bytes:
        content = await read(sftp, name, size)
        path.write_bytes(b"half and half")
        return content

    monkeypatch.setattr(module, "_read", growing)
    async with bank.open() as transport:
        with pytest.raises(ShortWriteError):
            await transport.fetch("a.xml")


async def test_a_key_of_ours_that_is_none_is_named(bank: Bank) -> None:
    async with bank.open() as sftp:
        sftp.client_key.write_text("no key")
        with pytest.raises(ValueError, match="our key"):
            await sftp.deliver(CONTENT, NAME)


async def test_a_file_that_is_read_short_is_not_complete(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters.transports import sftp as module  # noqa: PLC0415 - patched in this test only

    (bank.folder / "out" / "a.xml").write_bytes(b"whole")
    read = module._read

    async def short(sftp: asyncssh.SFTPClient, name: str, size: int) -> bytes:
        return (await read(sftp, name, size))[:-1]

    monkeypatch.setattr(module, "_read", short)
    async with bank.open() as transport:
        with pytest.raises(ShortWriteError):
            await transport.fetch("a.xml")
