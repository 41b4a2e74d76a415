"""`xinyi serve` and `xinyi demo`: the gateway itself."""

import asyncio
import multiprocessing
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.frame import Complaint, failures
from gateway.cli.options import iso_date
from gateway.logs import log_to
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.payments.leases import Seat


def serve(
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=8, help="Processes on the port; else XINYI_WORKERS, else 1."
        ),
    ] = None,
) -> None:
    """Run the gateway until it is stopped; settings are XINYI_… variables or a .env file."""
    # Only the gateway's own process loads the server and its database.
    from gateway.app import prepare_database  # noqa: PLC0415 - as said above

    with failures():
        settings = Settings()
        if workers is not None:
            settings = settings.model_copy(update={"workers": workers})
        database_url = prepare_database(settings)
        if settings.workers == 1:
            _serve(settings, database_url)
        else:
            _serve_together(settings, database_url)


def _serve(settings: Settings, database_url: str, seat: "Seat | None" = None) -> None:
    """One process of the gateway, until it is stopped."""
    from gateway.cases.policy import PolicyError  # noqa: PLC0415 - as above
    from gateway.watching import WatchError, enrichment  # noqa: PLC0415 - as above
    from gateway.workers import in_log  # noqa: PLC0415 - as above
    from reconciliation.engines import EngineError  # noqa: PLC0415 - as above
    from reconciliation.rules import RulesError  # noqa: PLC0415 - as above

    with asyncio.Runner(loop_factory=_loop_factory()) as runner, suppress(KeyboardInterrupt):
        try:
            enrich = (*enrichment(settings), *([in_log(seat)] if seat else ()))
            log_to(level=settings.log_level, form=settings.log_format, enrich=enrich)
            runner.run(_until_stopped(settings, database_url, seat))
        except (RulesError, EngineError, PolicyError) as error:
            raise Complaint(str(error), "对账规则、计算引擎或差异处理规定不可用") from None
        except WatchError as error:
            raise Complaint(str(error), "无法记录调用链路，请安装 otel 组件") from None


def _serve_together(settings: Settings, database_url: str) -> None:
    """Several processes of the gateway, until they are stopped."""
    from gateway.workers import WorkersError, port_for, supervise  # noqa: PLC0415 - as above

    log_to(level=settings.log_level, form=settings.log_format)
    try:
        with port_for(settings) as port:
            work = partial(_serve_seat, settings, database_url, port)
            status = supervise(work, settings.workers)
    except WorkersError as error:
        raise Complaint(str(error), "无法以多个进程提供服务") from None
    if status:
        raise typer.Exit(status)


def _serve_seat(settings: Settings, database_url: str, port: int, seat: "Seat") -> None:
    """One of several processes: it starts here, and knows nothing but these."""
    from gateway.workers import settings_of  # noqa: PLC0415 - as above

    # Ctrl-C is told to all of them, and it is the parent that ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with failures():
            _serve(settings_of(settings, seat, port), database_url, seat)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


def demo(
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing where the demo's data is there.")
    ] = False,
    date: Annotated[
        date | None,
        typer.Option(parser=iso_date, metavar="DATE", help="The day to play, as 2026-11-23."),
    ] = None,
) -> None:
    """Play one whole working day through every real part, and check it."""
    from gateway.demo import run  # noqa: PLC0415 - as above

    with failures():
        status = run(Settings(), if_missing=if_missing, date=date)
    raise typer.Exit(status)


def found(
    party: Annotated[str, typer.Option(metavar="ID", help="Id of the party that operates.")],
    party_name: Annotated[str, typer.Option(metavar="NAME", help="Its registered name.")],
    person: Annotated[str, typer.Option(metavar="ID", help="Id of the first operator.")],
    person_name: Annotated[str, typer.Option(metavar="NAME", help="The operator's name.")],
    natural_person: Annotated[
        str, typer.Option(metavar="HEX", help="Keyed digest of the identity, 64 digits.")
    ],
    certificate: Annotated[
        Path, typer.Option(metavar="FILE", exists=True, help="The operator's certificate, PEM.")
    ],
) -> None:
    """Register the first operator of an empty gateway, who then registers everybody else."""
    # Only the gateway's own process loads its database.
    from gateway.app import found as register  # noqa: PLC0415 - as above
    from gateway.registry.founding import Founder  # noqa: PLC0415 - as above

    with failures():
        founder = Founder(
            party_id=party,
            party_name=party_name,
            person_id=person,
            person_name=person_name,
            natural_person=natural_person,
            certificate_pem=certificate.read_text(),
        )
        register(Settings(), founder)
    typer.echo(f"{party}/{person}: 已登记 / registered", err=True)


async def _until_stopped(settings: Settings, database_url: str, seat: "Seat | None") -> None:
    """Serves until SIGTERM, which ends it as calmly as Ctrl-C does; so does its parent's death."""
    from gateway.app import serve as run  # noqa: PLC0415 - as above

    serving = asyncio.create_task(run(settings, database_url, seat))

    def end() -> None:
        # Once: a second one would cut off what ends in order.
        if not serving.cancelling():
            serving.cancel()

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows has no such handlers
        loop.add_signal_handler(signal.SIGTERM, end)
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, end)
    with suppress(asyncio.CancelledError):
        await serving


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster loop, where there is one."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not on every platform

    return uvloop.new_event_loop
