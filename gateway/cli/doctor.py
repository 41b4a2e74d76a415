"""`xinyi doctor`: what is wrong with a set-up, and what to do about it."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gateway.cli.screen import Column, Screen, write_data
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.doctor import Finding

_FINDINGS = (
    Column("结论", "Verdict"),
    Column("检查", "Check"),
    Column("情况", "How it stands", prose=True),
    Column("怎么办", "What to do", prose=True),
)
_VERDICTS_ZH: Final = {"ok": "正常", "warn": "注意", "fail": "不可用"}
_STATUS: Final = {"ok": 0, "warn": 1, "fail": 2}


def doctor(screen: Screen) -> int:
    """Say what is wrong with this gateway's set-up, what that means and what to do.

    Run it as the user that the gateway runs as, with its settings; the gateway may be running or
    not. Nothing is changed, and no bank is spoken to.

    Exit status: 0 all is well, 1 something wants attention, 2 something does not work.
    """
    # Only this command loads what it looks at.
    from gateway.clock import system_clock  # noqa: PLC0415 - as said above
    from gateway.doctor import database_of, examine  # noqa: PLC0415 - as said above

    settings = Settings()
    database = database_of(settings)

    async def everything() -> "list[Finding]":
        return [finding async for finding in examine(settings, database, system_clock)]

    findings = asyncio.run(everything())
    if screen.as_json:
        write_data([_plain(each) for each in findings])
    else:
        screen.table(_FINDINGS, _rows(screen, findings))
        _sum_up(screen, findings)
    return max(_STATUS[each.verdict] for each in findings)


def _plain(finding: "Finding") -> dict[str, object]:
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "what": finding.what._asdict(),
        "todo": finding.todo._asdict(),
    }


def _rows(screen: Screen, findings: "Sequence[Finding]") -> Iterator[tuple[str, ...]]:
    for each in findings:
        verdict = screen.pick(_VERDICTS_ZH[each.verdict], each.verdict.value)
        yield verdict, each.check, screen.pick(*each.what), screen.pick(*each.todo)


def _sum_up(screen: Screen, findings: "Sequence[Finding]") -> None:
    ok, warn, fail = (
        sum(each.verdict == verdict for each in findings) for verdict in ("ok", "warn", "fail")
    )
    screen.say(
        f"{ok} 项正常，{warn} 项注意，{fail} 项不可用",
        f"{ok} ok, {warn} to look at, {fail} that do not work",
    )
