"""How each bank is reached, and whether that can be used, as far as files on this machine say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from adapters.profile import ProfileError
from adapters.reach import ReachError, SftpReach

if TYPE_CHECKING:
    from adapters.reach import Banks


class Usable(StrEnum):
    """Whether payments can go to a bank, as far as its files say."""

    YES = "yes"
    NO = "no"
    """A file of the operator is wrong, or one is missing."""
    NOT_SET_UP = "not_set_up"
    """The profile needs a `reach.toml`, and nobody has begun with one."""


@dataclass(frozen=True, slots=True)
class Way:
    """How one bank is reached.

    Attributes:
        profile: the bank's profile, or a folder that has none.
        usable: whether it can be used.
        kind: ``folder``, ``sftp`` or ``https``; empty where no file says it.
        where: the folder, the server or the address.
        why: what is wrong; empty where nothing is.
    """

    profile: str
    usable: Usable
    kind: str
    where: str
    why: str


def ways(banks: Banks) -> list[Way]:
    """The ways to all banks that have a profile or a folder."""
    return [look(banks, each) for each in sorted({*banks.ids(), *banks.reached()})]


def look(banks: Banks, profile_id: str) -> Way:
    """How one bank is reached; what is wrong is told, not raised, so that the others are seen."""
    kind, where, usable, why = "", "", Usable.YES, ""
    try:
        kind, where = _kind_and_place(banks, profile_id)
        banks.connection(profile_id)
    except (LookupError, ProfileError, OSError) as wrong:
        usable, why = Usable.NO, str(wrong)
    except ReachError as wrong:
        begun = (banks.root / profile_id).exists()
        usable, why = (Usable.NO if begun else Usable.NOT_SET_UP), str(wrong)
    return Way(profile_id, usable, kind, where, why)


def _kind_and_place(banks: Banks, profile_id: str) -> tuple[str, str]:
    said = banks.reach(profile_id)
    if said is None:
        # A channel answers at once, which no folder can.
        needed = banks.profile(profile_id).channel is not None
        return ("https", "") if needed else ("folder", str(banks.folder(profile_id)))
    if isinstance(said, SftpReach):
        return said.kind, f"{said.user}@{said.host}:{said.port}"
    return said.kind, said.url
