"""The chain over the audit log: each link takes in the one before it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOMAIN: Final = b"xinyi.audit.v1\0"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link.

    Attributes:
        sequence: how many links there are.
        hash: SHA-256 that takes in every entry up to here, 32 bytes.
    """

    sequence: int
    hash: bytes


GENESIS: Final = Head(0, bytes(32))
"""Before the first entry."""


def follow(head: Head, digest: bytes) -> Head:
    """The head after one more entry."""
    sequence = head.sequence + 1
    linked = sha256(_DOMAIN + head.hash + sequence.to_bytes(8, "big") + digest)
    return Head(sequence, linked.digest())


def links(head: Head, digests: Sequence[bytes]) -> list[Head]:
    """The links of entries, in their order, after `head`."""
    made = []
    for digest in digests:
        head = follow(head, digest)
        made.append(head)
    return made
