"""`xinyi bank reach`: how each bank is reached, and whether that can be used."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.screen import Column, Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.settings import Settings

if TYPE_CHECKING:
    from adapters.reach import Banks

_WAYS = (
    Column("接口", "Profile"),
    Column("可用", "Usable"),
    Column("方式", "Way"),
    Column("去处", "Where", prose=True),
    Column("说明", "Why not", prose=True),
)


class Usable(StrEnum):
    """Whether payments can go to a bank, as far as its files say."""

    YES = "yes"
    NO = "no"
    """A file of the operator is wrong, or one is missing."""
    NOT_SET_UP = "not_set_up"
    """The profile needs a `reach.toml`, and nobody has begun with one."""


_USABLE_ZH = {Usable.YES: "可用", Usable.NO: "不可用", Usable.NOT_SET_UP: "未设置"}


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


def reach(
    screen: Screen,
    profile: Annotated[
        str | None, typer.Argument(metavar="[PROFILE]", help="Only this one, and it must be ready.")
    ] = None,
) -> int | None:
    """Say how each bank is reached, and whether its profile, reach.toml and keys can be used.

    Run it as the user that the gateway runs as. No bank is spoken to.

    Exit status: 0 all can be used or are not set up, 1 one cannot, 2 failure.
    """
    from adapters.reach import Banks  # noqa: PLC0415 - its parsers would slow every other command

    settings = Settings()
    banks = Banks(settings.banks_dir, settings.profiles_dir)
    named = sorted({*banks.ids(), *banks.reached()}) if profile is None else [profile]
    ways = [look(banks, each) for each in named]
    _print(screen, ways)
    fine = {Usable.YES} if profile else {Usable.YES, Usable.NOT_SET_UP}
    return None if {each.usable for each in ways} <= fine else MISMATCH


def look(banks: "Banks", profile_id: str) -> Way:
    """How one bank is reached; what is wrong is told, not raised, so that the others are seen."""
    from adapters.profile import ProfileError  # noqa: PLC0415 - as above
    from adapters.reach import ReachError  # noqa: PLC0415 - as above

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


def _kind_and_place(banks: "Banks", profile_id: str) -> tuple[str, str]:
    from adapters.reach import SftpReach  # noqa: PLC0415 - as above

    said = banks.reach(profile_id)
    if said is None:
        # A channel answers at once, which no folder can.
        needed = banks.profile(profile_id).channel is not None
        return ("https", "") if needed else ("folder", str(banks.folder(profile_id)))
    if isinstance(said, SftpReach):
        return said.kind, f"{said.user}@{said.host}:{said.port}"
    return said.kind, said.url


def _print(screen: Screen, ways: list[Way]) -> None:
    if screen.as_json:
        write_data([asdict(each) for each in ways])
    else:
        screen.table(_WAYS, _rows(screen, ways))


def _rows(screen: Screen, ways: list[Way]) -> Iterator[tuple[str, ...]]:
    for way in ways:
        usable = screen.pick(_USABLE_ZH[way.usable], way.usable.replace("_", " "))
        yield way.profile, usable, way.kind, way.where, way.why
