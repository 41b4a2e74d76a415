"""One bank, whatever it speaks: validate, render, submit, query, fetch, parse.

Three things can go wrong on the wire and they are never mixed: nothing was sent (try again), the
other side refused (a person looks), or nobody knows (ask by our own reference, never send anew).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

import tenacity

from adapters import read
from adapters.formats import batch_cib, batch_cmb, batch_xlsx, channel_xml, pain001, xml
from adapters.model import (
    Batch,
    Finding,
    Parsed,
    ParseError,
    Payment,
    StatusReport,
    error,
    warning,
)
from adapters.profile import (
    BankProfile,
    card_warnings,
    content_violations,
    load_profile,
    payment_violations,
    timing,
    together_violations,
    violations,
)
from adapters.transports.directory import (
    NameTakenError,
    NotPlacedError,
    ShortWriteError,
    place,
    sync,
)

_ATTEMPTS: Final = 3
_LONGEST_PAUSE_S: Final = 5.0
_MOST_FILES: Final = 1000
SENT_MARK: Final = ".sent"
"""A mark beside the copy, there from before sending until it is certain that nothing was taken."""
DELIVERED_MARK: Final = ".delivered"
"""A mark beside the copy, there once the other side certainly has the file."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


class NotSentError(Exception):
    """Nothing reached the bank: the same file may be sent again under the same name."""


class RefusedError(Exception):
    """The other side refused to take the file; nothing was taken, and a person must look."""


class OutcomeUnknownError(Exception):
    """The bank may have it or not: ask by our own reference, never send under a new one."""


class NotKnownYetError(Exception):
    """Whether the bank has it can be looked up once the way is open again: repeat it then."""


class Transport(Protocol):
    """A way to hand over files: a directory, SFTP."""

    async def deliver(self, content: bytes, name: str) -> None:
        """Hand over a file, whole or not at all and never over another.

        Raises:
            NotSentError: Nothing was handed over.
            RefusedError: The other side refused.
            OutcomeUnknownError: The way broke at the last step.
            NameTakenError: Another content is there under this name.
        """
        ...

    async def find(self, content: bytes, name: str) -> bool | None:
        """What became of a delivery: True it lies there, False it never did, None nobody knows."""
        ...

    async def collect(self) -> list[str]:
        """The names of the complete files that wait for us."""
        ...

    async def fetch(self, name: str) -> bytes:
        """The content of one of them."""
        ...

    async def finish(self, name: str) -> None:
        """Say that one of them is kept here, so that it does not come again."""
        ...


class Exchange(Protocol):
    """A way to ask and be answered at once: HTTPS."""

    async def exchange(self, content: bytes) -> bytes:
        """The answer to a message.

        Raises:
            NotSentError: Nothing was sent.
            RefusedError: The other side refused to take it.
            OutcomeUnknownError: It was sent and no whole answer came.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outbound:
    """A rendered batch: which file carries which payments, byte for byte."""

    name: str
    content: bytes
    batch: Batch

    @property
    def sha256(self) -> str:
        """Of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def references(self) -> tuple[str, ...]:
        """The payments in the file, by our own references, in its order."""
        return tuple(payment.end_to_end_id for payment in self.batch.payments)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch that the bank has; `report` is its word where it answers at once."""

    name: str
    sha256: str
    size_bytes: int
    report: StatusReport | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was taken from a bank; what had to be left there is named and holds up no other."""

    paths: tuple[Path, ...]
    left: tuple[Finding, ...]


class BankConnection(Protocol):
    """What the gateway needs of a bank."""

    @property
    def profile(self) -> BankProfile:
        """The bank's settings."""
        ...

    def validate(self, batch: Batch, at: datetime) -> tuple[Finding, ...]:
        """Everything the bank would refuse if the batch were sent at this moment."""
        ...

    def render(self, batch: Batch) -> Outbound:
        """The file for a batch that `validate` passed; the same bytes for the same batch."""
        ...

    async def submit(self, outbound: Outbound, at: datetime) -> Submitted:
        """Keep a copy, then hand over; raises as `Transport.deliver` and `Exchange.exchange`."""
        ...

    async def query(self, batch: Batch, query_id: str, at: datetime) -> StatusReport | None:
        """What became of a batch, asked by our references; None where a bank cannot be asked."""
        ...

    async def fetch(self, inbox: Path) -> Fetched:
        """Take everything that the bank has for us into a folder, and keep it before it goes."""
        ...

    def parse(self, content: bytes) -> Parsed | StatusReport:
        """What a file of the bank says; raises ParseError."""
        ...


_RENDERERS: Final[Mapping[str, tuple[Callable[[Batch, BankProfile], bytes], str]]] = {
    pain001.VERSION: (pain001.render, ".xml"),
    pain001.OLDER_VERSION: (pain001.render, ".xml"),
    "batch-cib": (batch_cib.render, ".txt"),
    "batch-cmb": (batch_cmb.render, ".txt"),
    "batch-xlsx": (batch_xlsx.render, ".xlsx"),
    "channel-xml": (channel_xml.render, ".xml"),
}


def validate(batch: Batch, profile: BankProfile, at: datetime) -> tuple[Finding, ...]:
    """Everything a bank would refuse if the batch were sent at this moment, aware."""
    return violations(batch, profile) + timing(batch, profile, at)


def render(batch: Batch, profile: BankProfile) -> Outbound:
    """The file that a bank wants for a batch: the same bytes for the same batch.

    Raises:
        ValueError: The batch was not validated and cannot be written.
    """
    write, suffix = _RENDERERS[profile.outbound_format]
    return Outbound(batch.message_id + suffix, write(batch, profile), batch)


def parse(content: bytes) -> Parsed | StatusReport:
    """What a bank's file says.

    Raises:
        ParseError: The file cannot be used.
    """
    return read.parse_status(content) if read.is_status(content) else read.parse(content)


def retrying(
    call: Callable[_P, Awaitable[_T]],
    attempts: int = _ATTEMPTS,
    longest_pause_s: float = _LONGEST_PAUSE_S,
) -> Callable[_P, Awaitable[_T]]:
    """The call, repeated only while nothing was sent; the last error comes out as it is.

    A refusal and an unknown outcome are never repeated, and none ever becomes a success.
    """
    return tenacity.retry(
        retry=tenacity.retry_if_exception_type(NotSentError),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_random_exponential(multiplier=longest_pause_s / 8, max=longest_pause_s),
        reraise=True,
    )(call)


@dataclass(frozen=True, slots=True)
class FileConnection:
    """A bank that takes and gives files; its answer comes later as a file of its own."""

    profile: BankProfile
    transport: Transport
    audit: Path
    """The folder of copies that stay."""

    def validate(self, batch: Batch, at: datetime) -> tuple[Finding, ...]:
        """Everything the bank would refuse if the batch were sent at this moment."""
        return validate(batch, self.profile, at)

    def render(self, batch: Batch) -> Outbound:
        """The file for a batch; the same bytes for the same batch."""
        return render(batch, self.profile)

    async def submit(self, outbound: Outbound, at: datetime) -> Submitted:  # noqa: ARG002 - the protocol's
        """Keep a copy, which also guards the name for ever, then hand over once.

        Repeating is safe: what was delivered is not delivered again, also when the bank took it.

        Raises:
            NotSentError: Nothing was handed over, after some attempts.
            RefusedError: The other side refused.
            OutcomeUnknownError: The way or this process broke at the last step, and the file
                cannot be found: ask the bank.
            NotKnownYetError: The same, and nobody can look for it now: repeat this later.
            NameTakenError: Another content had this name before.
            NotPlacedError: It could not be written, or fewer bytes than there are.
        """
        name = outbound.name
        await asyncio.to_thread(place, outbound.content, self.audit / name)
        delivered = self.audit / (name + DELIVERED_MARK)
        if not await asyncio.to_thread(delivered.exists):
            await self._deliver(outbound, self.audit / (name + SENT_MARK))
            await asyncio.to_thread(place, b"", delivered)
        return Submitted(name, outbound.sha256, len(outbound.content), None)

    async def _deliver(self, outbound: Outbound, mark: Path) -> None:
        given = (outbound.content, outbound.name)
        if await asyncio.to_thread(mark.exists) and await self._is_there(outbound):
            return
        await asyncio.to_thread(place, b"", mark)
        try:
            await retrying(self.transport.deliver)(*given)
        except (NotSentError, RefusedError, NameTakenError, NotPlacedError, ValueError):
            await asyncio.to_thread(mark.unlink)
            raise
        except OutcomeUnknownError as broken:
            # It broke at the last step; perhaps it can be seen at once what came of it.
            if not await self._is_there(outbound):
                await asyncio.to_thread(mark.unlink)
                raise NotSentError(f"{outbound.name} never had its name at the bank") from broken

    async def _is_there(self, outbound: Outbound) -> bool:
        """Whether a file that may have been handed over lies at the bank; False: it never did."""
        try:
            found = await retrying(self.transport.find)(outbound.content, outbound.name)
        except (NotSentError, RefusedError) as closed:
            raise NotKnownYetError(f"{outbound.name} cannot be looked for now") from closed
        except NameTakenError:
            found = None  # ours may have been taken before another file got its name
        if found is None:
            raise OutcomeUnknownError(f"{outbound.name} may have been delivered and taken")
        return found

    async def query(self, batch: Batch, query_id: str, at: datetime) -> StatusReport | None:  # noqa: ARG002 - the protocol's
        """None: this bank cannot be asked, its word comes through `fetch`."""
        return None

    async def fetch(self, inbox: Path) -> Fetched:
        """Take the bank's files into a folder; each is kept there before it is finished.

        After a crash a file may come twice, never not at all: who reads knows it by its hash. One
        that is refused, too large or still being written stays at the bank.

        Raises:
            NotSentError: The bank cannot be reached; what was kept before lies in the folder.
        """
        kept, left = [], []
        for name in islice(await self.transport.collect(), _MOST_FILES):
            try:
                content = await self.transport.fetch(name)
                kept.append(await asyncio.to_thread(_keep, content, name, inbox))
                await self.transport.finish(name)
            except (RefusedError, ShortWriteError, ParseError) as wrong:
                left.append(warning("file_left", f"{name} stays at the bank: {wrong}", name))
        return Fetched(tuple(kept), tuple(left))

    def parse(self, content: bytes) -> Parsed | StatusReport:
        """What a file of the bank says; raises ParseError."""
        return parse(content)


def _mark(mark: Path) -> None:
    """Make a mark that survives a power cut; raises FileExistsError if it is there."""
    mark.touch(exist_ok=False)
    sync(mark.parent)


def _keep(content: bytes, name: str, folder: Path) -> Path:
    """Under the bank's name, or with its hash before it where another content has that name."""
    try:
        return place(content, folder / name)
    except NameTakenError:
        return place(content, folder / f"{hashlib.sha256(content).hexdigest()[:16]}-{name}")


@dataclass(frozen=True, slots=True)
class ChannelConnection:
    """A bank that answers at once and is asked again until it decides."""

    profile: BankProfile
    wire: Exchange
    audit: Path
    """The folder of copies that stay, of what was sent and of what came back."""

    def validate(self, batch: Batch, at: datetime) -> tuple[Finding, ...]:
        """Everything the bank would refuse if the batch were sent at this moment."""
        return validate(batch, self.profile, at)

    def render(self, batch: Batch) -> Outbound:
        """The message for a batch; the same bytes for the same batch."""
        return render(batch, self.profile)

    async def submit(self, outbound: Outbound, at: datetime) -> Submitted:
        """Keep a copy, send once, read the answer; a crash in between never sends twice.

        Raises:
            NotSentError: Nothing was sent, after some attempts.
            RefusedError: The other side refused to take it.
            OutcomeUnknownError: No whole answer that can be read came, or it was sent before:
                `query` it.
            NameTakenError: Another content had this name before.
        """
        name = outbound.name
        await asyncio.to_thread(place, outbound.content, self.audit / name)
        try:
            reply = await retrying(self._send)(outbound.content, self.audit / (name + SENT_MARK))
            await asyncio.to_thread(_keep, reply, f"{name}.reply", self.audit)
            report = channel_xml.parse_reply(reply, self.profile, outbound.batch, at)
        except ParseError as wrong:
            raise OutcomeUnknownError(f"the answer cannot be read: {wrong}") from wrong
        return Submitted(name, outbound.sha256, len(outbound.content), report)

    async def _send(self, content: bytes, mark: Path) -> bytes:
        """Send behind a mark that stays on disk unless it is certain that nothing was taken."""
        try:
            await asyncio.to_thread(_mark, mark)
        except FileExistsError as sent:
            raise OutcomeUnknownError(f"{mark.name}: it may have been sent before") from sent
        try:
            return await self.wire.exchange(content)
        except (NotSentError, RefusedError, ValueError):
            await asyncio.to_thread(mark.unlink)
            raise

    async def query(self, batch: Batch, query_id: str, at: datetime) -> StatusReport:
        """What became of a batch, asked by our own references.

        Args:
            batch: What was sent.
            query_id: The question's own number, never used before at this bank.
            at: When it is asked, aware.

        Raises:
            NotSentError: Nothing was sent, after some attempts.
            RefusedError: The other side refused to take the question.
            OutcomeUnknownError: No whole answer that can be read came; nothing is known.
        """
        question = channel_xml.render_query(batch, self.profile, query_id, at)
        reply = await retrying(self.wire.exchange)(question)
        await asyncio.to_thread(_keep, reply, f"{query_id}.reply", self.audit)
        try:
            return channel_xml.parse_reply(reply, self.profile, batch, at, query_id)
        except ParseError as wrong:
            raise OutcomeUnknownError(f"the answer cannot be read: {wrong}") from wrong

    async def fetch(self, inbox: Path) -> Fetched:  # noqa: ARG002 - the protocol's
        """Nothing: this channel answers questions, its statements come as files elsewhere."""
        return Fetched((), ())

    def parse(self, content: bytes) -> Parsed | StatusReport:
        """What a file of the bank says; raises ParseError."""
        return parse(content)


def check_file(profile_id: str, content: bytes, folder: Path | None = None) -> tuple[Finding, ...]:
    """What is wrong with a file for or from a bank: an order, a status report or statements.

    Args:
        profile_id: The bank.
        content: The file.
        folder: Where else to look for the profile.

    Returns:
        The findings; a file that cannot be used at all is one finding. When it is sent is not
        asked here, so days and hours are not checked.

    Raises:
        LookupError: No such profile.
        ProfileError: Its file cannot be used.
    """
    profile = load_profile(profile_id, folder)
    try:
        return tuple(_checked(content, profile))
    except ParseError as wrong:
        return (error(wrong.code, wrong.message, wrong.location),)


def _checked(content: bytes, profile: BankProfile) -> Iterator[Finding]:
    if channel_xml.is_channel(content):
        yield from _checked_batch(channel_xml.parse(content, profile), "channel-xml", profile)
    elif (version := _version(content)).startswith("pain.001"):
        yield from _checked_batch(pain001.parse(content), version, profile)
    elif profile.outbound_format == "batch-xlsx" and content.startswith(b"PK"):
        yield from _checked_payments(batch_xlsx.parse(content, profile), profile)
    elif profile.outbound_format == "batch-cib" and _is_cib(content):
        yield from _checked_payments(batch_cib.parse(content, profile), profile)
    elif profile.outbound_format == "batch-cmb" and batch_cmb.is_order(content, profile):
        yield from _checked_rows(batch_cmb.parse(content, profile), profile)
    else:
        yield from _checked_inbound(content)


def _version(content: bytes) -> str:
    """The ISO 20022 message of a file, for example `pain.001.001.09`; empty if it is none."""
    try:
        return xml.namespace_of_document(BytesIO(content)).rpartition(":")[2]
    except ParseError:
        return ""


def _is_cib(content: bytes) -> bool:
    return content[:8].partition(b"|")[0].strip().isdigit() and b"|" in content[:8]


def _checked_inbound(content: bytes) -> Iterator[Finding]:
    told = parse(content)
    if isinstance(told, Parsed):
        yield from told.findings


def _checked_batch(batch: Batch, found: str, profile: BankProfile) -> Iterator[Finding]:
    if found != profile.outbound_format:
        message = f"{found}, but the bank takes {profile.outbound_format}"
        yield error("format_differs", message, "batch")
    yield from violations(batch, profile)
    yield from card_warnings(batch.payments)


def _checked_payments(payments: tuple[Payment, ...], profile: BankProfile) -> Iterator[Finding]:
    yield from together_violations(payments, profile)
    for number, payment in enumerate(payments, 1):
        yield from payment_violations(payment, profile, f"payment {number}")
    yield from card_warnings(payments)


def _checked_rows(payments: tuple[Payment, ...], profile: BankProfile) -> Iterator[Finding]:
    """As `_checked_payments` for a file without our references: equal rows may be meant so."""
    for number, payment in enumerate(payments, 1):
        yield from content_violations(payment, profile, f"payment {number}")
    yield from card_warnings(payments)
