"""The composition root: settings → store → services → server, and the work between the calls."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from xinyi.v1 import bank_service_pb2_grpc as bank_grpc
from xinyi.v1 import disclosure_service_pb2_grpc as disclosure_grpc
from xinyi.v1 import fund_service_pb2_grpc as fund_grpc
from xinyi.v1 import ledger_service_pb2_grpc as ledger_grpc
from xinyi.v1 import party_service_pb2_grpc as party_grpc
from xinyi.v1 import payment_service_pb2_grpc as payment_grpc
from xinyi.v1 import reconciliation_service_pb2_grpc as reconciliation_grpc

from adapters.reach import Banks
from gateway.bank.inbox import Inbox
from gateway.cases.ageing import age_cases
from gateway.cases.policy import CasePolicy, load_policy
from gateway.clock import system_clock
from gateway.night import Nights
from gateway.night.schedule import Schedule
from gateway.payments.deadlines import expire, lose_track
from gateway.payments.inquiry import Inquirer
from gateway.payments.outbox import Sender
from gateway.registry import founding
from gateway.rpc.bank import BankServicer
from gateway.rpc.disclosure import DisclosureServicer
from gateway.rpc.errors import causes, frames
from gateway.rpc.fund import FundServicer
from gateway.rpc.ledger import LedgerServicer
from gateway.rpc.party import PartyServicer
from gateway.rpc.payment import PaymentServicer
from gateway.rpc.reconciliation import ReconciliationServicer
from gateway.rpc.server import GRACE_S, TlsFiles, build_server
from gateway.store import GATEWAY, Store, embedded, open_store, schema
from gateway.watching import Watch, watching
from reconciliation.engines import engine_named
from reconciliation.rules import Rules, load_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import grpc

    from gateway.clock import Clock
    from gateway.registry.founding import Founder
    from gateway.settings import Settings

_NIGHT_POLL_S: Final = 30.0
"""Pause between two looks whether the night is due."""
_CASES_POLL_S: Final = 60.0
"""Pause between two looks which cases have become late."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway.

    Attributes:
        store: its database.
        port: where it answers.
        sender: what goes to the banks.
        inbox: what comes from them.
        inquirer: what they are asked.
        nights: what reconciles it.
        clock: its present moment.
        watch: what watches it.
        monitor_port: where monitors are answered; None where they are not.
    """

    store: Store
    port: int
    sender: Sender
    inbox: Inbox
    inquirer: Inquirer
    nights: Nights
    clock: Clock
    watch: Watch
    monitor_port: int | None

    async def work(self) -> int:
        """One round of what happens between calls; returns how much there was to do."""
        sent = await self.sender.send_all()
        taken = await self.inbox.take_all()
        answered = await self.inquirer.ask_all()
        expired = await expire(self.store, self.sender.banks, self.clock())
        lost = await lose_track(self.store, self.clock())
        return sent + taken + answered + expired + lost


def prepare_database(settings: Settings) -> str:
    """Starts the embedded server unless a URL is set, brings the schema up, returns the URL."""
    url = settings.database_url or embedded.start(settings.data_dir / "postgres")
    schema.upgrade(url)
    return url


def found(settings: Settings, founder: Founder) -> None:
    """Registers the first operator of an empty gateway.

    Raises:
        GatewayError: RESOURCE_EXISTS once there is one; FIELD_INVALID.
    """

    async def register(database_url: str) -> None:
        store = open_store(database_url)
        try:
            await founding.found(store, founder, system_clock())
        finally:
            await store.close()

    asyncio.run(register(prepare_database(settings)))


@asynccontextmanager
async def running(
    settings: Settings, database_url: str, clock: Clock = system_clock
) -> AsyncIterator[Gateway]:
    """A gateway that answers calls inside the block; `Gateway.work` is left to the caller."""
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(watching(settings, database_url))
        store, banks = watch.traced(open_store(database_url), _banks(settings))
        stack.push_async_callback(store.close)
        nights = _nights(settings, store, clock)
        tls = TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        registrations = [*_services(store, clock, banks, nights, settings), watch.health.register]
        server, port = build_server(
            settings.listen, tls, store, clock, registrations, watch.interceptors()
        )
        monitor_port = await stack.enter_async_context(
            watch.published(settings, clock, store, banks)
        )
        await server.start()
        # In this order at the end: nothing is ready, then nothing new is answered.
        stack.push_async_callback(server.stop, GRACE_S)
        stack.push_async_callback(watch.health.leave)
        yield Gateway(
            store,
            port,
            Sender(store, clock, banks, settings.answer_due),
            Inbox(store, clock, banks),
            Inquirer(store, clock, banks),
            nights,
            clock,
            watch,
            monitor_port,
        )


async def serve(settings: Settings, database_url: str) -> None:
    """Runs a gateway until it is cancelled."""
    async with running(settings, database_url) as gateway:
        log.info(
            "serving",
            listen=settings.listen,
            port=gateway.port,
            monitor_port=gateway.monitor_port,
        )
        nights = Schedule(gateway.nights, settings.night_at)
        policy = _case_policy(settings)
        pause_s = settings.poll_interval.total_seconds()
        # Apart from each other: a long night holds up no file to a bank.
        async with asyncio.TaskGroup() as both:
            both.create_task(_repeat(gateway.watch, "round", gateway.work, pause_s))
            both.create_task(_repeat(gateway.watch, "night", nights.run_due, _NIGHT_POLL_S))
            both.create_task(
                _repeat(gateway.watch, "cases", partial(_age, gateway, policy), _CASES_POLL_S)
            )


async def _repeat(
    watch: Watch, name: str, work: Callable[[], Awaitable[int]], pause_s: float
) -> None:
    """Works without end; what fails is logged and tried again, and calls go on being answered."""
    while True:
        try:
            with watch.round(name):
                await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the process
            trail = {"cause": causes(error), "frames": frames(error)}
            log.error("work_failed", work=name, **trail)  # noqa: TRY400 - the message may repeat personal data
        await asyncio.sleep(pause_s)


async def _age(gateway: Gateway, policy: CasePolicy) -> int:
    async with gateway.store.transaction(GATEWAY) as conn:
        return await age_cases(conn, policy, gateway.nights.rules, gateway.clock())


def _case_policy(settings: Settings) -> CasePolicy:
    return CasePolicy() if settings.case_policy is None else load_policy(settings.case_policy)


def _banks(settings: Settings) -> Banks:
    return Banks(settings.banks_dir, settings.profiles_dir)


def _nights(settings: Settings, store: Store, clock: Clock) -> Nights:
    """What reconciles; rules or an engine that cannot be used are told now, not in the night."""
    rules = Rules() if settings.rules is None else load_rules(settings.rules)
    engine_named(settings.night_engine, settings.ray_address)
    return Nights(
        store, clock, settings.nights_dir, rules, settings.night_engine, settings.ray_address
    )


def _services(
    store: Store, clock: Clock, banks: Banks, nights: Nights, settings: Settings
) -> Sequence[Callable[[grpc.aio.Server], None]]:
    payments = PaymentServicer(store, clock, banks, settings.environment, settings.payment_ttl)
    files = BankServicer(store, clock, banks, settings.answer_due)
    return (
        partial(party_grpc.add_PartyServiceServicer_to_server, PartyServicer(store, clock)),
        partial(fund_grpc.add_FundServiceServicer_to_server, FundServicer(store, clock, banks)),
        partial(payment_grpc.add_PaymentServiceServicer_to_server, payments),
        partial(ledger_grpc.add_LedgerServiceServicer_to_server, LedgerServicer(store, clock)),
        partial(bank_grpc.add_BankServiceServicer_to_server, files),
        partial(
            disclosure_grpc.add_DisclosureServiceServicer_to_server,
            DisclosureServicer(store, clock),
        ),
        partial(
            reconciliation_grpc.add_ReconciliationServiceServicer_to_server,
            ReconciliationServicer(store, clock, nights, _case_policy(settings)),
        ),
    )
