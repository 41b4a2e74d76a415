"""`xinyi serve` and `xinyi demo`: the gateway itself."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.frame import Complaint, failures
from gateway.cli.options import iso_date
from gateway.logs import log_to
from gateway.settings import Settings


def serve() -> None:
    """Run the gateway until it is stopped; settings are XINYI_… variables or a .env file."""
    # Only the gateway's own process loads the server and its database.
    from gateway.app import prepare_database  # noqa: PLC0415 - as said above
    from gateway.cases.policy import PolicyError  # noqa: PLC0415 - as said above
    from reconciliation.engines import EngineError  # noqa: PLC0415 - as said above
    from reconciliation.rules import RulesError  # noqa: PLC0415 - as said above

    with failures():
        log_to()
        settings = Settings()
        database_url = prepare_database(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner, suppress(KeyboardInterrupt):
            try:
                runner.run(_until_stopped(settings, database_url))
            except (RulesError, EngineError, PolicyError) as error:
                raise Complaint(str(error), "对账规则、计算引擎或差异处理规定不可用") from None


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


async def _until_stopped(settings: Settings, database_url: str) -> None:
    """Serves until SIGTERM, which ends it as calmly as Ctrl-C does."""
    from gateway.app import serve as run  # noqa: PLC0415 - as above

    serving = asyncio.ensure_future(run(settings, database_url))
    with suppress(NotImplementedError):  # Windows has no such handlers
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster loop, where there is one."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not on every platform

    return uvloop.new_event_loop
