"""One entry of the audit log, and the bytes that its digest is of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from gateway.domain.canonical import canonical_json

OK: Final = "OK"
"""The code of what was done."""

UNCHANGED: Final = "UNCHANGED"
"""The reason where a call that may change something was answered and did not: a preview, or a
request id that was answered before."""

_TEXT_CHARACTERS: Final = 256
"""Of any text in an entry; a request that is refused may hold anything."""


class Deed(StrEnum):
    """What the gateway does by itself, and commands that reach the database without a call."""

    FILE_SENDING = "gateway.FileSending"
    """An attempt to hand a file to a bank begins; the digest is the file's."""
    FILE_SENT = "gateway.FileSent"
    FILE_IN_DOUBT = "gateway.FileInDoubt"
    """The bank may have it or not."""
    FILE_TAKEN_IN = "gateway.FileTakenIn"
    """A file of a bank: booked, or refused and put in quarantine."""
    NIGHT_BEGUN = "gateway.NightBegun"
    NIGHT_ENDED = "gateway.NightEnded"
    NIGHT_BROKEN = "gateway.NightBroken"
    """A run broke off."""
    PAYMENT_EXPIRED = "gateway.PaymentExpired"
    TRACK_LOST = "gateway.TrackLost"
    """A bank did not answer in time: its payments are UNKNOWN."""
    CASES_AGED = "gateway.CasesAged"
    LAPSES_NOTED = "gateway.LapsesNoted"
    """What was owed to the owners and not done by its day was put on record."""
    ENTRIES_DROPPED = "gateway.EntriesDropped"
    """More was refused than could be noted; the resource says how many entries are missing."""
    FOUNDED = "gateway.Founded"
    BACKED_UP = "gateway.BackedUp"
    RESTORED = "gateway.Restored"


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what, when, from where, and how it ended. Holds no personal data but ids.

    Attributes:
        at: UTC.
        party_id: who called, by the certificate; empty for the gateway itself.
        person_id: likewise.
        fingerprint: SHA-256 of the certificate, hexadecimal; empty for the gateway itself.
        peer: address that the call came from, as gRPC writes it.
        method: full name of the method, or a `Deed`.
        resource: name of what it was about; empty where that is not known.
        request_id: the caller's; empty where the call has none.
        request_digest: SHA-256 in hexadecimal of the request's messages as they came, or of the
            file; empty where there is neither.
        code: ``OK`` or the gRPC status code.
        reason: of a refusal, the name of the rule.
    """

    at: datetime
    party_id: str
    person_id: str
    fingerprint: str
    peer: str
    method: str
    resource: str
    request_id: str
    request_digest: str
    code: str
    reason: str

    @property
    def content(self) -> bytes:
        """The canonical bytes: JSON of all fields, which RFC 8785 would write the same."""
        values = {name: getattr(self, name) for name in _NAMES}
        at = self.at if self.at.tzinfo is UTC else self.at.astimezone(UTC)
        values["at"] = at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        return canonical_json(values)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return sha256(self.content).digest()


_NAMES: Final = tuple(sorted(field.name for field in fields(Entry)))


def by_gateway(deed: Deed, now: datetime, resource: str = "", *, digest: str = "") -> Entry:
    """An entry of what was done and nobody called for; `digest` is a file's, hexadecimal."""
    return Entry(now, "", "", "", "", deed.value, resource, "", digest, OK, "")


def bounded(text: str) -> str:
    """A text of a request as an entry may hold it: not long, and nothing the store refuses."""
    return text[:_TEXT_CHARACTERS].replace("\0", "\ufffd")
