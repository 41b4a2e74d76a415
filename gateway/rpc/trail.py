"""What the audit log is told of a call, gathered while it runs.

A call that changes something is written in the transaction of its change: `gateway.rpc.once` does
so, and whoever commits for several calls at once has to (`Trail.entry`, then `is_recorded` behind
the commit). Everything else that is worth
an entry is noted when the call ends: refusals of what would change something, calls that were
denied, did not authenticate or asked for what is not theirs to see, and reads that hand out files
with personal data. Other reads leave a line in the log of the process only.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from grpc import StatusCode

from gateway.audit.entry import OK, UNCHANGED, Entry, bounded

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from gateway.domain.party import Identity

READS: Final = ("Get", "List", "Watch", "Export")
"""How the names of methods begin that change nothing."""

DISCLOSING: Final = frozenset(
    {
        "/xinyi.v1.AuditService/ListAuditEntries",
        "/xinyi.v1.BankService/GetTransmissionFile",
        "/xinyi.v1.DisclosureService/GetVoucher",
        "/xinyi.v1.ReconciliationService/ExportCases",
    }
)
"""Reads that hand out whole files, or the audit log itself: who had them is kept."""

_TURNED_AWAY: Final = frozenset(
    {
        StatusCode.UNAUTHENTICATED.name,
        StatusCode.PERMISSION_DENIED.name,
        StatusCode.NOT_FOUND.name,  # also what exists and is not the caller's
    }
)
_NOTHING_HAPPENED: Final = frozenset(
    {StatusCode.CANCELLED.name, StatusCode.RESOURCE_EXHAUSTED.name}
)
"""What a flood consists of: it leaves nothing in the database."""


@dataclass(slots=True)
class Trail:
    """One call, as far as it has come.

    Attributes:
        method: full name, as gRPC writes it.
        peer: where it came from.
        at: when it began, UTC.
        party_id: whom the certificate names, once it was read.
        person_id: likewise.
        fingerprint: of the certificate.
        resource: what it is about, once the request was read.
        request_id: likewise.
        is_recorded: its entry is committed, or noted.
        read_digest: of the request, SHA-256 in hexadecimal, where another process read it.
    """

    method: str
    peer: str
    at: datetime
    party_id: str = ""
    person_id: str = ""
    fingerprint: str = ""
    resource: str = ""
    request_id: str = ""
    is_recorded: bool = False
    read_digest: str = ""
    _content: Any = field(default_factory=sha256)
    _is_read: bool = False

    def identify(self, identity: Identity, fingerprint: str) -> None:
        """Says whom the certificate names; nothing yet of whether it is registered."""
        self.party_id, self.person_id = identity.party_id, identity.person_id
        self.fingerprint = fingerprint

    def read(self, raw: bytes, message: Message) -> None:
        """Takes in a message of the request, as it came and as it reads."""
        self._content.update(raw)
        if not self._is_read:
            self.resource = resource_in(message)
            self.request_id = bounded(_text_at(message, _path(message.DESCRIPTOR, "request_id")))
        self._is_read = True

    @property
    def request_digest(self) -> str:
        """SHA-256 of the request as it came, in hexadecimal; empty while nothing came."""
        return self._content.hexdigest() if self._is_read else self.read_digest

    def entry(self, code: str, reason: str, resource: str = "") -> Entry:
        """The entry of this call.

        Args:
            code: ``OK`` or the name of the status code.
            reason: of a refusal; else empty.
            resource: what the answer names, which for something new the request could not.
        """
        return Entry(
            at=self.at,
            party_id=self.party_id,
            person_id=self.person_id,
            fingerprint=self.fingerprint,
            peer=self.peer,
            method=self.method,
            resource=resource or self.resource,
            request_id=self.request_id,
            request_digest=self.request_digest,
            code=code,
            reason=reason,
        )

    def entry_after(self, code: str, reason: str) -> Entry | None:
        """What is to be noted when the call has ended; None where nothing is."""
        changing = changes(self.method)
        if self.is_recorded or (changing and code in _NOTHING_HAPPENED):
            return None
        if changing:
            return self.entry(code, reason or (UNCHANGED if code == OK else ""))
        if code in _TURNED_AWAY or self.method in DISCLOSING:
            return self.entry(code, reason)
        return None


_TRAIL: ContextVar[Trail] = ContextVar("trail")


def begin(trail: Trail) -> None:
    """Makes this the trail of the running task; the edge's privilege."""
    _TRAIL.set(trail)


def current_trail() -> Trail:
    """The trail of the running call.

    Raises:
        LookupError: outside a call, which is a defect.
    """
    return _TRAIL.get()


def changes(method: str) -> bool:
    """Whether a call of this method may change something."""
    return not method.rpartition("/")[2].startswith(READS)


def resource_in(message: Message) -> str:
    """The resource name that a message is about: its `name`, else its `parent`; else empty.

    Looks into the messages it holds where it has neither itself.
    """
    named = _text_at(message, _path(message.DESCRIPTOR, "name"))
    return bounded(named or _text_at(message, _path(message.DESCRIPTOR, "parent")))


@lru_cache(maxsize=1024)
def _path(kind: Descriptor, name: str) -> tuple[str, ...]:
    """Where a message of this kind has a text of this name: in itself, or one level down."""
    if name in kind.fields_by_name:
        return (name,)
    for inner in kind.fields:
        held = None if inner.is_repeated else inner.message_type
        if held is not None and name in held.fields_by_name:
            return (inner.name, name)
    return ()


def _text_at(message: Any, path: tuple[str, ...]) -> str:  # noqa: ANN401 - any message
    for name in path:
        message = getattr(message, name)
    return message if isinstance(message, str) else ""
