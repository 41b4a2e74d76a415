"""`xinyi bank reach`: how each bank is reached, and whether that can be used."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.screen import Column, Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.bank.ways import Way

_WAYS = (
    Column("接口", "Profile"),
    Column("可用", "Usable"),
    Column("方式", "Way"),
    Column("去处", "Where", prose=True),
    Column("说明", "Why not", prose=True),
)
_USABLE_ZH: Final = {"yes": "可用", "no": "不可用", "not_set_up": "未设置"}


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
    # Its parsers would slow every other command.
    from adapters.reach import Banks  # noqa: PLC0415 - as said above
    from gateway.bank.ways import Usable, look, ways  # noqa: PLC0415 - as said above

    settings = Settings()
    banks = Banks(settings.banks_dir, settings.profiles_dir)
    found = ways(banks) if profile is None else [look(banks, profile)]
    _print(screen, found)
    fine = {Usable.YES} if profile else {Usable.YES, Usable.NOT_SET_UP}
    return None if {each.usable for each in found} <= fine else MISMATCH


def _print(screen: Screen, found: "list[Way]") -> None:
    if screen.as_json:
        write_data([asdict(each) for each in found])
    else:
        screen.table(_WAYS, _rows(screen, found))


def _rows(screen: Screen, found: "list[Way]") -> Iterator[tuple[str, ...]]:
    for way in found:
        usable = screen.pick(_USABLE_ZH[way.usable], way.usable.replace("_", " "))
        yield way.profile, usable, way.kind, way.where, way.why
