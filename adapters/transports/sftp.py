"""Files over SFTP: the server's key pinned, our key to log in, a file whole or not there at all."""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import asyncssh

from adapters.connection import NotSentError, OutcomeUnknownError, RefusedError
from adapters.model import MAX_FILE_BYTES
from adapters.transports.directory import NameTakenError, ShortWriteError, is_plain

_PART: Final = ".part"
_MOST_FILES: Final = 1000
_SAME_NAMES: Final = 100
_LOST: Final = (
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    OSError,
    TimeoutError,
)
"""The way broke; asyncssh's refusals of a file operation are other errors."""


@dataclass(frozen=True, slots=True)
class SftpTransport:
    """A bank's SFTP server; one connection an operation, so that none is found dead later."""

    host: str
    port: int
    username: str
    client_key: Path
    """Our private key, readable by us only."""
    known_hosts: Path
    """Exactly the server's keys; any other server is refused."""
    outbox: str
    inbox: str
    done: str
    """Where files of the inbox go once they are kept here; empty to delete them."""
    timeout_s: float = 60.0
    """For each step of an operation."""

    async def deliver(self, content: bytes, name: str) -> None:
        """Write beside the target, check the size, rename; never over another file.

        Repeating is safe as long as the bank has not taken the file: the same bytes under the same
        name are the same delivery.

        Raises:
            NotSentError: The way broke before the file had its name.
            RefusedError: The server does not know us, is not the one we know, or forbids it.
            OutcomeUnknownError: The way broke while the file was given its name; see `find`.
            NameTakenError: Another content is there under this name.
            ShortWriteError: The server kept fewer bytes than were written.
            ValueError: The name is not a plain file name, or our key cannot be used.
        """
        target, part = self._places(name)
        async with self._session() as sftp:
            async with self._step(NotSentError):
                if await _is_there(sftp, target, content):
                    return
                await _write(sftp, part, content)
            async with self._step(OutcomeUnknownError):
                await _rename(sftp, part, target, content)

    async def find(self, content: bytes, name: str) -> bool | None:
        """What became of a delivery whose outcome is unknown.

        Returns:
            True: it lies there. False: it was never given its name, so deliver it again. None: not
            even the unfinished file is there: the bank may have taken it, ask the bank.

        Raises:
            NotSentError: The server cannot be asked now.
            RefusedError: As `deliver`.
            NameTakenError: Another content is there under this name.
        """
        target, part = self._places(name)
        async with self._session() as sftp, self._step(NotSentError):
            if await _is_there(sftp, target, content):
                return True
            return False if await sftp.exists(part) else None

    def _places(self, name: str) -> tuple[str, str]:
        if not is_plain(name):
            raise ValueError("the name of a delivery is a plain file name")
        folder = self.outbox
        return posixpath.join(folder, name), posixpath.join(folder, f".{name}{_PART}")

    async def collect(self) -> list[str]:
        """The names of the complete files in the inbox, sorted; unfinished ones are left out.

        Raises:
            NotSentError: The way broke.
            RefusedError: As `deliver`.
        """
        async with self._session() as sftp, self._step(NotSentError):
            listed = islice(await sftp.readdir(self.inbox), _MOST_FILES)
            return sorted(str(one.filename) for one in listed if _is_file(one))

    async def fetch(self, name: str) -> bytes:
        """The content of a file in the inbox.

        Raises:
            NotSentError: The way broke.
            RefusedError: As `deliver`; or the file is larger than any bank sends.
            ShortWriteError: The file grew or shrank while it was read: it is not complete.
        """
        path = posixpath.join(self.inbox, name)
        async with self._session() as sftp, self._step(NotSentError):
            size = (await sftp.stat(path)).size or 0
            if size > MAX_FILE_BYTES:
                raise RefusedError(f"{name} is larger than {MAX_FILE_BYTES} bytes")
            content = await _read(sftp, path, size)
            if len(content) != size or (await sftp.stat(path)).size != size:
                raise ShortWriteError(f"{name} changed while it was read")
            return content

    async def finish(self, name: str) -> None:
        """Delete a file of the inbox, or move it where done files go, never over another.

        Raises:
            NotSentError: The way broke: whether it is gone is seen by `collect`.
            RefusedError: As `deliver`.
        """
        path = posixpath.join(self.inbox, name)
        async with self._session() as sftp, self._step(NotSentError):
            if self.done:
                await sftp.rename(path, await _free(sftp, posixpath.join(self.done, name)))
            else:
                await sftp.remove(path)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncssh.SFTPClient]:
        async with self._step(NotSentError):
            connection = await self._connect()
        try:
            async with self._step(NotSentError):
                sftp = await connection.start_sftp_client()
            yield sftp
        finally:
            # Every answer that matters was awaited; a polite goodbye could wait for ever.
            connection.abort()

    @asynccontextmanager
    async def _step(self, lost: type[NotSentError | OutcomeUnknownError]) -> AsyncIterator[None]:
        with _told(lost):
            async with asyncio.timeout(self.timeout_s):
                yield

    async def _connect(self) -> asyncssh.SSHClientConnection:
        try:
            return await asyncssh.connect(
                self.host,
                self.port,
                username=self.username,
                client_keys=[read_key(self.client_key)],
                known_hosts=str(self.known_hosts),
                preferred_auth="publickey",
                # Nothing of the machine's own user may answer in our place.
                config=None,
                agent_path=None,
                gss_auth=False,
                x509_trusted_certs=None,
            )
        except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied) as refused:
            raise RefusedError(f"{self.host}: {type(refused).__name__}") from refused
        except (asyncssh.Error, OSError) as lost:
            raise NotSentError(f"{self.host} cannot be reached: {type(lost).__name__}") from lost
        except ValueError as wrong:
            raise ValueError("our key or the known hosts cannot be used") from wrong


def read_key(path: Path) -> asyncssh.SSHKey:
    """Our private key; raises OSError, or ValueError if it is none or has a passphrase."""
    # The arithmetic of a key that only we may write is not proved anew: for RSA of 4096 bits that
    # takes a quarter of a second, in which the whole process would stand still.
    return asyncssh.read_private_key(str(path), unsafe_skip_rsa_key_validation=True)


def check_known_hosts(path: Path) -> None:
    """Whether a file lists keys of servers; raises OSError or ValueError."""
    asyncssh.read_known_hosts(str(path))


@contextmanager
def _told(lost: type[NotSentError | OutcomeUnknownError]) -> Iterator[None]:
    """Turn what asyncssh says into our own errors; a broken way is what the caller says it is."""
    try:
        yield
    except (NameTakenError, ShortWriteError):
        raise
    except _LOST as broken:
        raise lost(f"the connection broke: {type(broken).__name__}") from broken
    except asyncssh.SFTPError as refused:
        raise RefusedError(f"the server refused: {type(refused).__name__}") from refused


async def _is_there(sftp: asyncssh.SFTPClient, path: str, content: bytes) -> bool:
    try:
        size = (await sftp.stat(path)).size
    except asyncssh.SFTPNoSuchFile:
        return False
    if size != len(content) or await _read(sftp, path, len(content)) != content:
        raise NameTakenError(f"{posixpath.basename(path)} exists with other content")
    return True


async def _read(sftp: asyncssh.SFTPClient, path: str, size: int) -> bytes:
    async with sftp.open(path, "rb") as file:
        # One byte more than expected, so that a file that grows is seen.
        return bytes(await file.read(size + 1))  # type: ignore[arg-type] # "rb" gives bytes


async def _write(sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
    async with sftp.open(part, "wb") as file:
        await file.write(content)
    size = (await sftp.stat(part)).size
    if size != len(content):
        await sftp.remove(part)
        raise ShortWriteError(f"{posixpath.basename(part)} has {size} bytes of {len(content)}")


async def _rename(sftp: asyncssh.SFTPClient, part: str, target: str, content: bytes) -> None:
    try:
        await sftp.rename(part, target)  # without flags it does not replace
    except asyncssh.SFTPError as refused:
        if isinstance(refused, _LOST):
            raise
        # Older servers have one code for everything: look what is there.
        if not await _is_there(sftp, target, content):
            raise RefusedError(
                f"the server refused the name: {type(refused).__name__}"
            ) from refused


def _is_file(one: asyncssh.SFTPName) -> bool:
    return is_plain(str(one.filename)) and one.attrs.type in (
        asyncssh.FILEXFER_TYPE_REGULAR,
        asyncssh.FILEXFER_TYPE_UNKNOWN,
    )


async def _free(sftp: asyncssh.SFTPClient, wanted: str) -> str:
    """The wanted name or a numbered one."""
    for number in range(_SAME_NAMES):
        candidate = f"{wanted}.{number}" if number else wanted
        if not await sftp.exists(candidate):
            return candidate
    raise RefusedError(f"{posixpath.basename(wanted)} is there {_SAME_NAMES} times")
