"""`xinyi demo`: sets the stage, plays the day, shows what came of it."""

from __future__ import annotations

import asyncio
from datetime import date as Date  # noqa: N812 - `date` is a parameter of the command
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from gateway.app import prepare_database, running
from gateway.clock import bank_date, system_clock
from gateway.demo import stage, world
from gateway.demo.banking import Banking
from gateway.demo.checks import Expectations
from gateway.demo.clock import StageClock, stage_moment
from gateway.demo.day import Day
from gateway.demo.firm import Office
from gateway.demo.people import People
from gateway.demo.register import Register
from gateway.demo.summary import check, summarise, table_of_expectations, table_of_funds
from gateway.logs import log_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.demo.summary import FundSummary
    from gateway.settings import Settings

_DAYS_BACK = 4
"""The demo's third night ends before today begins, so that a gateway can go on from there."""

_PAYMENTS_WANTED = 60
_CHANGES_WANTED = 40


def run(settings: Settings, *, if_missing: bool, date: Date | None) -> int:
    """Plays the demo in the settings' data directory, which it clears first if it is the demo's.

    Args:
        settings: where; the address to listen on is what people's profiles will name.
        if_missing: do nothing where a complete demo is.
        date: its first day; four days ago by default.

    Returns:
        0 if every expectation held, 1 otherwise.

    Raises:
        GatewayError: if the directory holds something else.
    """
    progress = Console(stderr=True, highlight=False)
    if if_missing and stage.has_demo(settings):
        progress.print(f"演示数据已在 {settings.data_dir} · the demo's data is there")
        return 0
    day = date or bank_date(system_clock()) - timedelta(days=_DAYS_BACK)
    stage.clear(settings, day)
    progress.print("准备证书、密钥与数据库 · certificates, keys, database")
    people_dir = settings.data_dir / "people"
    stage.make_certificates(settings, people_dir, day)
    database_url = prepare_database(settings)
    log_file = settings.data_dir / "demo.log"
    with log_file.open("w") as stream:
        log_to(stream)
        funds, expect = asyncio.run(_play(settings, database_url, people_dir, day, progress))
    _show(funds, expect)
    if expect.all_held:
        stage.mark(settings, day, complete=True)
    return 0 if expect.all_held else 1


async def _play(
    settings: Settings, database_url: str, people_dir: Path, day: Date, progress: Console
) -> tuple[Sequence[FundSummary], Expectations]:
    clock = StageClock(stage_moment(day, 8))
    anywhere = settings.model_copy(update={"listen": "127.0.0.1:0"})
    async with running(anywhere, database_url, clock) as gateway:
        await stage.found_operator(gateway.store, people_dir, clock())
        async with People(people_dir, f"127.0.0.1:{gateway.port}") as people:
            operator = await people.calls(world.OPERATOR_PERSON)
            progress.print("登记各方、小区、基金 · parties, estates, funds")
            expect = Expectations()
            register = Register(people, operator, day)
            await register.everything()
            progress.print("受托人复核登记事项 · the trustee confirms what the operator registered")
            confirmed = await register.confirm_as(world.CHECKER)
            expect.at_least(
                "两方确认的登记事项 · changes by two parties", confirmed, _CHANGES_WANTED
            )
            banking = Banking.open(settings.data_dir)
            script = Day(gateway, banking, Office(people), clock, day, progress.print, expect)
            await script.play()
            await gateway.publisher.log_all()
            expect.at_least("付款笔数 · payments", script.payment_count, _PAYMENTS_WANTED)
            funds = await summarise(people)
            await check(people, funds, expect)
    return funds, expect


def _show(funds: Sequence[FundSummary], expect: Expectations) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table_of_funds(funds))
    console.print(table_of_expectations(expect))
    held = sum(item.held for item in expect.items)
    verdict = "全部符合 · all held" if expect.all_held else "有不符 · NOT all held"
    console.print(f"{held}/{len(expect.items)} {verdict}")
