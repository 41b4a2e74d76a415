"""The machine: Python and its packages, variables, the data directory."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement

from gateway.doctor.finding import fail, ok, warn
from gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.doctor.finding import Finding

PACKAGE: Final = "xinyi-gateway"
LEAST_PYTHON: Final = (3, 11)

_GIB: Final = 1 << 30
LEAST_FREE_BYTES: Final = 1 * _GIB
"""Below this the database and the night's archive may stop in the middle of a write."""
FEW_FREE_BYTES: Final = 10 * _GIB

_OTHERS_WRITE: Final = 0o002
_OTHERS_ENTER: Final = 0o005
_OTHERS_LIST: Final = 0o004
_OF_COMMANDS: Final = frozenset({"XINYI_AS"})
"""Variables that are no settings of the gateway."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything of the machine itself."""
    yield python(sys.version_info[:3])
    yield packages(_extras(settings))
    yield variables(os.environ)
    yield from data_directory(settings)


def python(running: tuple[int, int, int]) -> Finding:
    """Whether this Python is new enough."""
    told = f"Python {'.'.join(map(str, running))}, {platform.machine()}"
    if running >= LEAST_PYTHON:
        return ok("python", told, told)
    least = ".".join(map(str, LEAST_PYTHON))
    return fail(
        "python",
        (f"{told} 过旧", f"{told} is too old"),
        (f"安装 Python {least} 或更新版本", f"install Python {least} or newer"),
    )


def packages(extras: Iterable[str]) -> Finding:
    """Whether every package that is needed is there, in a version that will do."""
    wrong = sorted(_wrong_packages(("", *extras)))
    if not wrong:
        told = f"{PACKAGE} {version(PACKAGE)}"
        return ok("packages", f"{told}，依赖齐全", f"{told} has all that it needs")
    named = ", ".join(wrong)
    return fail(
        "packages",
        (f"依赖缺失或版本不符：{named}", f"missing, or of another version: {named}"),
        ("按锁定文件重新安装（make setup）", "install again from the lock file (make setup)"),
    )


def _wrong_packages(extras: tuple[str, ...]) -> Iterator[str]:
    for line in requires(PACKAGE) or ():
        needed = Requirement(line)
        marker = needed.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            there = version(needed.name)
        except PackageNotFoundError:
            yield f"{needed.name} -"
        else:
            if not needed.specifier.contains(there, prereleases=True):
                yield f"{needed.name} {there}"


def _extras(settings: Settings) -> Iterator[str]:
    if settings.night_engine == "ray":
        yield "ray"
    if settings.otlp_endpoint:
        yield "otel"


def variables(environment: Mapping[str, str]) -> Finding:
    """Whether a variable is misspelt: it would be ignored, and its default would hold."""
    known = {f"XINYI_{name.upper()}" for name in Settings.model_fields} | _OF_COMMANDS
    strange = sorted(
        name for name in environment if name.startswith("XINYI_") and name.upper() not in known
    )
    if not strange:
        return ok("variables", "环境变量均可识别", "every XINYI_ variable is a setting")
    named = ", ".join(strange)
    return warn(
        "variables",
        (f"没有这样的设置，已被忽略：{named}", f"no such settings, so they are ignored: {named}"),
        ("改正拼写或删去", "mend the spelling, or remove them"),
    )


def data_directory(settings: Settings) -> Iterator[Finding]:
    """Whether the data directory can be used, by whom, and how much still fits."""
    place = settings.data_dir
    if not place.is_dir():
        yield warn(
            "data_directory",
            (f"{place} 尚不存在", f"{place} is not there yet"),
            (
                "首次运行时建立；若应已存在，检查 XINYI_DATA_DIR",
                "the first start makes it; if it should be there, look at XINYI_DATA_DIR",
            ),
        )
        return
    mode = place.stat().st_mode & 0o777
    if not os.access(place, os.W_OK | os.X_OK):
        yield fail(
            "data_directory",
            (f"当前用户不能写入 {place}", f"this user may not write in {place}"),
            (
                "以网关的用户运行，或改正目录属主",
                "run this as the gateway's user, or mend the directory's owner",
            ),
        )
    elif mode & _OTHERS_WRITE:
        yield fail(
            "data_directory",
            (f"{place} 任何用户都可写入", f"every user of this machine may write in {place}"),
            (f"chmod o-rw {place}", f"chmod o-rw {place}"),
        )
    elif mode & _reach_of_others(settings):
        yield warn(
            "data_directory",
            (
                f"{place} 其他用户可读，其中有收款人资料",
                f"other users may read {place}, and payees are named in it",
            ),
            (f"chmod o-r {place}", f"chmod o-r {place}"),
        )
    else:
        yield ok("data_directory", str(place), str(place))
    yield disk(shutil.disk_usage(place).free)


def _reach_of_others(settings: Settings) -> int:
    """What others should not have; root's embedded PostgreSQL is another user, who must enter."""
    lodger = not settings.database_url and os.geteuid() == 0
    return _OTHERS_LIST if lodger else _OTHERS_ENTER


def disk(free_bytes: int) -> Finding:
    """Whether enough space is left."""
    told = f"{free_bytes / _GIB:,.1f} GiB"
    todo = (
        "清理旧的对账存档（nights/）或扩容",
        "remove old archives of the night (nights/), or add space",
    )
    if free_bytes < LEAST_FREE_BYTES:
        return fail("disk", (f"仅余 {told}", f"only {told} are free"), todo)
    if free_bytes < FEW_FREE_BYTES:
        return warn("disk", (f"剩余 {told}", f"{told} are free"), todo)
    return ok("disk", f"剩余 {told}", f"{told} are free")
