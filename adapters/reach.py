"""How each bank is reached, as data: one folder a bank, and in it perhaps a `reach.toml`.

Without that file the folder is the way itself: our files go to `out`, the bank's are put into `in`.
With it, for example (paths are relative to the file; a secret is a file, never a text in it):

    kind = "sftp"
    host = "files.bank.example"
    user = "customer-1"
    private_key = "login.key"
    known_hosts = "known_hosts"
    remote_out = "/upload"
    remote_in = "/download"

Every key and setting is read anew for each connection, so that an edit needs no restart.
"""

import os
import posixpath
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from adapters.connection import BankConnection, ChannelConnection, Fetched, FileConnection
from adapters.profile import BankProfile, list_profiles, load_profile
from adapters.transports.directory import DirectoryTransport
from adapters.transports.https import HttpsExchange
from adapters.transports.sftp import SftpTransport, check_known_hosts, read_key

REACH_FILE: Final = "reach.toml"
_REACH_BYTES: Final = 1 << 16
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_CONNECT_S: Final = 10.0

_SEEN: Final = r"[^\x00-\x1f\x7f]"
_Text = Annotated[str, Field(min_length=1, max_length=400, pattern=rf"^{_SEEN}+$")]
_TextOrNone = Annotated[str, Field(max_length=400, pattern=rf"^{_SEEN}*$")]
_Host = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.:-]{0,252}$")]
_Port = Annotated[int, Field(strict=True, gt=0, le=65_535)]
_Seconds = Annotated[int, Field(strict=True, gt=0, le=600)]
# Only HTTPS, and neither a user nor a password may stand in the address.
_Url = Annotated[
    str,
    Field(
        max_length=400,
        pattern=r"^https://([0-9A-Za-z.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?(/[!-\x22$-~]*)?$",
    ),
]


class ReachError(ValueError):
    """A bank cannot be reached as its `reach.toml` says; the message names file and setting."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SftpReach(_Frozen):
    """A bank's SFTP server."""

    kind: Literal["sftp"]
    host: _Host
    port: _Port = 22
    user: _Text
    private_key: _Text
    """The file of our private key, without a passphrase and readable by us only."""
    known_hosts: _Text
    """The file of the server's keys, as OpenSSH writes it; any other server is refused."""
    remote_out: _Text
    """The server's folder for our files."""
    remote_in: _Text
    """The server's folder with the bank's files."""
    remote_done: _TextOrNone = ""
    """Where the bank's files go once they are kept here; empty to delete them."""
    timeout_s: _Seconds = 60
    """For each step of an operation."""

    @field_validator("remote_in", "remote_done")
    @classmethod
    def _apart(cls, folder: str, info: ValidationInfo) -> str:
        """Else our own orders would be taken as the bank's files, or its files as our orders."""
        others = {_normal(info.data.get(name, "")) for name in ("remote_out", "remote_in")}
        if folder and _normal(folder) in others:
            raise ValueError("this folder has another use already")
        return folder


class HttpsReach(_Frozen):
    """A bank's HTTPS door, for a bank that answers at once (`channel-xml`)."""

    kind: Literal["https"]
    url: _Url
    certificate: _Text
    """The file of our certificate and those between it and its authority, PEM."""
    private_key: _Text
    """The file of its private key, PEM, without a passphrase and readable by us only."""
    authority: _Text
    """The file of the certificate that signs the bank's, PEM; no other is trusted."""
    timeout_s: _Seconds = 60
    """For one whole exchange."""

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        try:
            port = httpx.URL(url).port
        except httpx.InvalidURL as wrong:
            raise ValueError("no address") from wrong
        if port is not None and not 0 < port <= 65_535:  # noqa: PLR2004 - the largest there is
            raise ValueError("no port has this number")
        return url


Reach: TypeAlias = SftpReach | HttpsReach
_REACH: Final[TypeAdapter[Reach]] = TypeAdapter(Annotated[Reach, Field(discriminator="kind")])


def _normal(folder: str) -> str:
    """A server's folder without its spellings; most servers show the login folder as the root."""
    return posixpath.normpath(f"/{folder}").lstrip("/") if folder else ""


def reach_schema() -> dict[str, Any]:
    """The JSON schema of a `reach.toml`, published beside that of profiles."""
    return _REACH.json_schema()


def read_reach(content: bytes, name: str) -> Reach:
    """What a `reach.toml` says.

    Args:
        content: The file's bytes.
        name: How errors call the file.

    Raises:
        ReachError: Too large, no TOML, or against the schema.
    """
    if len(content) > _REACH_BYTES:
        raise ReachError(f"{name} is larger than {_REACH_BYTES} bytes")
    try:
        return _REACH.validate_python(tomllib.loads(content.decode("utf-8")))
    except ValidationError as wrong:
        told = "; ".join(_told(each) for each in wrong.errors(include_input=False))
        # Not chained: the cause would repeat what was written, perhaps a misplaced secret.
        raise ReachError(f"{name}: {told}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise ReachError(f"{name} is no TOML: {wrong}") from wrong


def _told(wrong: Mapping[str, Any]) -> str:
    # The first part of the place is the kind, chosen before anything else is read.
    where = ".".join(map(str, wrong["loc"][1:])) or "kind"
    return f"{where}: {wrong['msg']}"


@dataclass(frozen=True, slots=True)
class Banks:
    """The banks that can be spoken to, and how: profiles, and a folder for each.

    Attributes:
        root: One folder a bank, named by its profile's id.
        profiles: Where profiles lie besides those that come with the gateway.
    """

    root: Path
    profiles: Path | None = None

    def ids(self) -> tuple[str, ...]:
        """The ids of all profiles, sorted."""
        return list_profiles(self.profiles)

    def reached(self) -> tuple[str, ...]:
        """The names of the folders with a `reach.toml`, sorted: where `fetch` has something to do.

        A name that is no profile's is among them, so that `connection` tells of the mistake.
        """
        folders = self.root.glob("*")
        return tuple(sorted(one.name for one in folders if os.path.lexists(one / REACH_FILE)))

    def profile(self, profile_id: str) -> BankProfile:
        """The profile of this id, read once in the life of a process.

        Raises:
            LookupError: There is none.
            ProfileError: Its file cannot be used.
        """
        return load_profile(profile_id, self.profiles)

    def folder(self, profile_id: str) -> Path:
        """The bank's folder, which need not exist yet; raises as `profile`."""
        return self.root / self.profile(profile_id).id

    def reach(self, profile_id: str) -> Reach | None:
        """What the bank's `reach.toml` says; None if it has none: its folder is the way.

        Raises:
            LookupError: No such profile.
            ProfileError: The profile's file cannot be used.
            ReachError: The `reach.toml` cannot be used.
        """
        path = self.folder(profile_id) / REACH_FILE
        name = f"{profile_id}/{REACH_FILE}"
        try:
            path.lstat()  # a link to nothing is a mistake, not a missing file
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise ReachError(f"{name} cannot be read: {type(wrong).__name__}") from wrong
        return read_reach(_content(path, name), name)

    def connection(self, profile_id: str) -> BankConnection:
        """A connection to a bank, made anew: nothing is asked of the bank, some files are read.

        Its `fetch` is given `in` of the bank's folder.

        Raises:
            LookupError: No such profile.
            ProfileError: The profile's file cannot be used.
            ReachError: The `reach.toml` cannot be used or does not fit the profile; a file that it
                names is missing or no such file; others than we may read our key.
        """
        return _connection(
            self.profile(profile_id), self.reach(profile_id), self.folder(profile_id)
        )


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_REACH_BYTES + 1)
    except OSError as wrong:
        raise ReachError(f"{name} cannot be read: {type(wrong).__name__}") from wrong


@dataclass(frozen=True, slots=True)
class FolderConnection(FileConnection):
    """A bank whose files somebody puts where the gateway reads them."""

    async def fetch(self, inbox: Path) -> Fetched:  # noqa: ARG002 - the protocol's
        """Nothing: taking them from their folder into the same folder could only lose them."""
        return Fetched((), ())


def _connection(profile: BankProfile, reach: Reach | None, folder: Path) -> BankConnection:
    audit = folder / "audit"
    if profile.outbound_format == "channel-xml":
        if not isinstance(reach, HttpsReach):
            raise _wrong(folder, "kind", "a bank of channel-xml is reached by https")
        return ChannelConnection(profile, _https(reach, profile, folder), audit)
    if isinstance(reach, HttpsReach):
        raise _wrong(folder, "kind", f"a bank of {profile.outbound_format} takes files, not https")
    if reach is None:
        folders = DirectoryTransport(folder / "out", folder / "in", folder / "done")
        return FolderConnection(profile, folders, audit)
    return FileConnection(profile, _sftp(reach, folder), audit)


def _sftp(reach: SftpReach, folder: Path) -> SftpTransport:
    """The transport; a key that cannot be used is found here, before a file counts as sent."""
    key = _secret(folder, "private_key", reach.private_key)
    hosts = _file(folder, "known_hosts", reach.known_hosts)
    try:
        read_key(key)
    except (OSError, ValueError) as wrong:
        raise _wrong(folder, "private_key", "no key, or one with a passphrase") from wrong
    try:
        check_known_hosts(hosts)
    except (OSError, ValueError) as wrong:
        raise _wrong(folder, "known_hosts", "no list of the keys of servers") from wrong
    return SftpTransport(
        host=reach.host,
        port=reach.port,
        username=reach.user,
        client_key=key,
        known_hosts=hosts,
        outbox=reach.remote_out,
        inbox=reach.remote_in,
        done=reach.remote_done,
        timeout_s=float(reach.timeout_s),
    )


def _https(reach: HttpsReach, profile: BankProfile, folder: Path) -> HttpsExchange:
    """The wire; a key that cannot be used is found here, before a message counts as sent."""
    wire = HttpsExchange(
        url=reach.url,
        client_certificate=_file(folder, "certificate", reach.certificate),
        client_key=_secret(folder, "private_key", reach.private_key),
        authority=_file(folder, "authority", reach.authority),
        content_type=f"application/xml; charset={profile.declared}",
        # Were it not shorter than the whole, a closed door would count as an unknown outcome.
        connect_timeout_s=min(_LONGEST_CONNECT_S, reach.timeout_s / 2),
        timeout_s=float(reach.timeout_s),
    )
    try:
        wire.context()
    except ValueError as wrong:
        raise _wrong(folder, "certificate, private_key, authority", str(wrong)) from wrong
    return wire


def _file(folder: Path, setting: str, written: str) -> Path:
    path = folder / written
    try:
        mode = path.stat().st_mode
    except OSError as wrong:
        raise _wrong(folder, setting, f"{written}: {type(wrong).__name__}") from wrong
    if not stat.S_ISREG(mode):
        raise _wrong(folder, setting, f"{written} is no file")
    return path


def _secret(folder: Path, setting: str, written: str) -> Path:
    path = _file(folder, setting, written)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise _wrong(folder, setting, f"others may use {written}: its mode is {mode:o}, not 600")
    return path


def _wrong(folder: Path, setting: str, why: str) -> ReachError:
    return ReachError(f"{folder.name}/{REACH_FILE}: {setting}: {why}")
