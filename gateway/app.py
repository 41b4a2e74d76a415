"""The composition root: settings → store → services → server, and the work between the calls."""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from xinyi.v1 import audit_service_pb2_grpc as audit_grpc
from xinyi.v1 import bank_service_pb2_grpc as bank_grpc
from xinyi.v1 import change_service_pb2_grpc as change_grpc
from xinyi.v1 import disclosure_service_pb2_grpc as disclosure_grpc
from xinyi.v1 import duty_service_pb2_grpc as duty_grpc
from xinyi.v1 import fund_service_pb2_grpc as fund_grpc
from xinyi.v1 import ledger_service_pb2_grpc as ledger_grpc
from xinyi.v1 import party_service_pb2_grpc as party_grpc
from xinyi.v1 import payment_service_pb2_grpc as payment_grpc
from xinyi.v1 import question_service_pb2_grpc as question_grpc
from xinyi.v1 import reconciliation_service_pb2_grpc as reconciliation_grpc

from adapters.reach import Banks
from gateway.audit.entry import Deed, by_gateway
from gateway.audit.keeper import Keeper
from gateway.audit.log import append
from gateway.audit.recorder import Recorder
from gateway.bank.inbox import Inbox
from gateway.beside import beside
from gateway.cases.ageing import age_cases
from gateway.cases.policy import CasePolicy, load_policy
from gateway.clock import system_clock
from gateway.console.pages import public_pages
from gateway.disclosure.keys import LogKeys
from gateway.disclosure.publisher import Publisher
from gateway.disclosure.witnesses import load_witnesses
from gateway.duties.lapses import LapseWatch
from gateway.night import Nights
from gateway.night.schedule import Schedule
from gateway.observe.page import serving_page
from gateway.observe.readiness import Check
from gateway.payments.deadlines import expire, lose_track
from gateway.payments.inquiry import Inquirer
from gateway.payments.leases import BACKGROUND, Leases
from gateway.payments.outbox import Sender
from gateway.registry import founding
from gateway.rpc.access import SERVICES_OF_MONEY, is_held, is_published
from gateway.rpc.audit import AuditServicer
from gateway.rpc.bank import BankServicer
from gateway.rpc.change import ChangeServicer
from gateway.rpc.disclosure import DisclosureServicer
from gateway.rpc.duty import DutyServicer
from gateway.rpc.edge import Edge
from gateway.rpc.errors import causes, frames
from gateway.rpc.fund import FundServicer
from gateway.rpc.group import Committer
from gateway.rpc.ledger import LedgerServicer
from gateway.rpc.limits import PartyLimits, Rate
from gateway.rpc.party import PartyServicer
from gateway.rpc.payment import PaymentServicer
from gateway.rpc.question import QuestionServicer
from gateway.rpc.reconciliation import ReconciliationServicer
from gateway.rpc.relay import Relay
from gateway.rpc.server import GRACE_S, build_server
from gateway.rpc.tls import TlsFiles
from gateway.store import GATEWAY, Store, application_url, embedded, open_store, schema
from gateway.watching import Watch, watching
from reconciliation.engines import engine_named
from reconciliation.rules import Rules, load_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import grpc

    from gateway.clock import Clock
    from gateway.payments.leases import Seat
    from gateway.registry.founding import Founder
    from gateway.rpc.group import Submits
    from gateway.settings import Settings

_NIGHT_POLL_S: Final = 30.0
"""Pause between two looks whether the night is due."""
_AUDIT_POLL_S: Final = 1.0
"""Pause between two links of what the audit log has new."""
_LOOK_S: Final = 5.0
"""Pause between two looks of a process whether the database has what is anchored and published."""
_CASES_POLL_S: Final = 60.0
"""Pause between two looks which cases have become late."""
_LAPSES_POLL_S: Final = 60.0
"""Pause between two looks whether a day is over, and what of it was left undone."""
_LOG_POLL_S: Final = 1.0
"""Pause between two looks for lines that no log has yet."""
_SCRUB_POLL_S: Final = 5.0
"""Pause between two looks at a few lines of each log."""
_WITNESS_POLL_S: Final = 10.0
"""Pause between two rounds to the witnesses."""
_READERS: Final = 256
"""Connections of browsers at once; a web server in front keeps what it was given."""
_READING_CONNECTIONS: Final = 4

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
        publisher: what logs its disclosed lines.
        clock: its present moment.
        keeper: keeps the audit log whole.
        recorder: writes what changed nothing into it.
        watch: what watches it.
        monitor_port: where monitors are answered; None where they are not.
        public_port: where the book is read in a browser; None where it is not.
        leases: what this process may write, among several; None for one that is alone.
    """

    store: Store
    port: int
    sender: Sender
    inbox: Inbox
    inquirer: Inquirer
    nights: Nights
    publisher: Publisher
    clock: Clock
    keeper: Keeper
    recorder: Recorder
    watch: Watch
    monitor_port: int | None
    public_port: int | None
    leases: Leases | None

    @property
    def whole(self) -> bool:
        """Whether the database has what was anchored, and nothing published is contradicted."""
        return not self.keeper.lost and self.publisher.standing.trouble is None

    async def work(self) -> int:
        """One round of what happens between calls; returns how much there was to do.

        Nothing is done while the gateway is not whole: files of the banks wait too, because they
        may answer what is lost.
        """
        if not self.whole:
            return 0
        sent = await self.sender.send_all()
        taken = await self.inbox.take_all()
        answered = await self.inquirer.ask_all()
        expired = await expire(self.store, self.sender.banks, self.clock())
        lost = await lose_track(self.store, self.clock())
        return sent + taken + answered + expired + lost


def prepare_database(settings: Settings) -> str:
    """Brings the schema up as its owner, and returns the URL by which the application logs in.

    The embedded server is started unless a URL is set.
    """
    if settings.database_url:
        schema.upgrade(settings.database_owner_url or settings.database_url)
        return settings.database_url
    owner_url = embedded.start(settings.data_dir / "postgres")
    schema.upgrade(owner_url)
    return application_url(owner_url)


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
    settings: Settings, database_url: str, clock: Clock = system_clock, seat: Seat | None = None
) -> AsyncIterator[Gateway]:
    """A gateway that answers calls inside the block; `Gateway.work` is left to the caller.

    Args:
        settings: what it is told.
        database_url: the database, whose schema is there already.
        clock: its present moment.
        seat: its place among several processes on one port; None for one that is alone.
    """
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(watching(settings, database_url))
        name = f"xinyi-{seat.number}" if seat else "xinyi"
        store, banks = watch.traced(open_store(database_url, name=name), _banks(settings))
        stack.push_async_callback(store.close)
        nights = _nights(settings, store, clock)
        publisher = _publisher(settings, store, clock)
        keeper = Keeper(store, (settings.data_dir, *settings.anchor_dirs), clock)
        recorder = Recorder(store, clock)
        socket = settings.workers_dir.resolve() / f"{seat.number}.sock" if seat else None
        leases = Leases(store, seat, str(socket)) if seat else None
        committer = Committer(
            store, clock, banks, settings.environment, settings.payment_ttl, leases
        )
        writers = committer.writers()
        shared = Relay(leases, writers, socket) if leases and socket else None
        parts = _Parts(store, clock, banks, nights, publisher, keeper, shared or writers)
        rate = Rate(settings.party_calls_per_s, settings.party_burst)
        standing = partial(_require_standing, keeper, publisher)
        edge = Edge(store, clock, PartyLimits(rate), recorder, standing)
        server, port = build_server(
            settings.listen,
            TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca),
            [*watch.interceptors(), edge],
            [*_services(parts, settings), watch.health.register],
            shared=seat is not None,
        )
        await keeper.look()
        await publisher.look()
        watch.readiness.checks += (_history_check(keeper), _log_check(publisher))
        await stack.enter_async_context(_recording(recorder, keeper))
        monitor_port = await stack.enter_async_context(
            watch.published(settings, clock, store, banks)
        )
        public_port = await stack.enter_async_context(
            _showing(settings, database_url, clock, publisher, seat)
        )
        on_death = partial(_trip, watch, set()) if shared is None else _end
        await stack.enter_async_context(writers.running(on_death))
        if shared is not None:
            await stack.enter_async_context(shared.taking_part())
        await server.start()
        # In this order at the end: nothing is ready, then nothing new is answered.
        stack.push_async_callback(server.stop, GRACE_S)
        stack.push_async_callback(watch.health.leave)
        yield Gateway(
            store,
            port,
            Sender(store, clock, banks, settings.answer_due, keeper.secure),
            Inbox(store, clock, banks),
            Inquirer(store, clock, banks),
            nights,
            publisher,
            clock,
            keeper,
            recorder,
            watch,
            monitor_port,
            public_port,
            leases,
        )


def _trip(watch: Watch, telling: set[asyncio.Task[None]]) -> None:
    """Has nobody send calls here any more: what this process cannot write, another one can."""
    telling.add(asyncio.ensure_future(watch.health.leave()))


def _end() -> None:
    """Ends this process in order: another one takes its slots, and its parent starts it anew."""
    signal.raise_signal(signal.SIGTERM)


def _history_check(keeper: Keeper) -> Check:
    """Nothing that moves money is ready while the database lacks what was anchored."""

    async def probe() -> str:
        return "the database lacks what was anchored; see `xinyi restore`" if keeper.lost else ""

    return Check("history", probe, SERVICES_OF_MONEY)


def _log_check(publisher: Publisher) -> Check:
    """Nothing that moves money or shows the book is ready while what is published is broken."""

    async def probe() -> str:
        trouble = publisher.standing.trouble
        return "" if trouble is None else trouble.message

    return Check("log", probe, SERVICES_OF_MONEY | {"xinyi.v1.DisclosureService"})


def _require_standing(keeper: Keeper, publisher: Publisher, method: str) -> None:
    """Passes unless the method is held back by what the database lacks, or by a broken log."""
    if is_held(method):
        keeper.require_whole()
    if is_held(method) or is_published(method):
        publisher.require_whole()


@asynccontextmanager
async def _recording(recorder: Recorder, keeper: Keeper) -> AsyncIterator[None]:
    """Writes the audit log beside the block; nothing is left unwritten or unlinked behind it."""
    try:
        async with beside(recorder.run()):
            yield
    finally:
        try:
            await recorder.flush()
            await keeper.keep()
        except Exception as error:  # noqa: BLE001 - the gateway ends all the same
            log.error("audit_not_ended", cause=causes(error))  # noqa: TRY400 - as in `_repeat`


@asynccontextmanager
async def _showing(
    settings: Settings, database_url: str, clock: Clock, publisher: Publisher, seat: Seat | None
) -> AsyncIterator[int | None]:
    """Shows the book to anybody inside the block, over connections that no call waits for."""
    if not settings.public_listen or (seat is not None and seat.number):
        yield None
        return
    store = open_store(database_url, pool_size=_READING_CONNECTIONS, name="xinyi-pages")
    try:
        pages = public_pages(store, clock, publisher)
        async with serving_page(settings.public_listen, pages, _READERS) as port:
            yield port
    finally:
        await store.close()


async def serve(settings: Settings, database_url: str, seat: Seat | None = None) -> None:
    """Runs a gateway until it is cancelled; of several processes one does the work between calls.

    Args:
        settings: what it is told.
        database_url: the database, whose schema is there already.
        seat: its place among several processes on one port; None for one that is alone.
    """
    async with running(settings, database_url, seat=seat) as gateway:
        log.info(
            "serving",
            listen=settings.listen,
            port=gateway.port,
            monitor_port=gateway.monitor_port,
            public_port=gateway.public_port,
        )
        if await gateway.store.login_owns_tables():
            log.warning("database_login_owns_tables", mend="set XINYI_DATABASE_OWNER_URL")
        # What is loaded stays: no call shall wait a tenth of a second while the collector looks at
        # all of it again.
        gc.collect()
        gc.freeze()
        work = partial(_work_between_calls, gateway, settings)
        async with beside(_look_between_calls(gateway)):
            if gateway.leases is None:
                await work()
            else:
                await gateway.leases.while_holding(BACKGROUND, work)


async def _look_between_calls(gateway: Gateway) -> None:
    """What each of several processes has to know for itself: whether it may go on answering."""
    looks: tuple[tuple[str, Callable[[], Awaitable[object]], float], ...] = (
        ("history", gateway.keeper.look, _LOOK_S),
        ("published", gateway.publisher.look, _LOOK_S),
        ("scrub", gateway.publisher.scrub, _SCRUB_POLL_S),
    )
    await _all_of(gateway.watch, looks)


async def _work_between_calls(gateway: Gateway, settings: Settings) -> None:
    """Everything that nobody calls for, without end."""
    nights = Schedule(gateway.nights, settings.night_at)
    policy = _case_policy(settings)
    pause_s = settings.poll_interval.total_seconds()
    lapses = LapseWatch(gateway.store, gateway.clock, gateway.nights.rules.transit_days)
    # Apart from each other: a long night holds up no file to a bank.
    whole = partial(_while_whole, gateway)
    works: tuple[tuple[str, Callable[[], Awaitable[object]], float], ...] = (
        ("audit", gateway.keeper.keep, _AUDIT_POLL_S),
        ("round", gateway.work, pause_s),
        ("log", whole(gateway.publisher.log_all), _LOG_POLL_S),
        ("witnesses", whole(gateway.publisher.ask_witnesses), _WITNESS_POLL_S),
        ("night", whole(nights.run_due), _NIGHT_POLL_S),
        ("cases", whole(partial(_age, gateway, policy)), _CASES_POLL_S),
        ("lapses", whole(lapses.look), _LAPSES_POLL_S),
    )
    await _all_of(gateway.watch, works)


async def _all_of(
    watch: Watch, works: Sequence[tuple[str, Callable[[], Awaitable[object]], float]]
) -> None:
    async with asyncio.TaskGroup() as all_of_it:
        for name, work, every_s in works:
            all_of_it.create_task(_repeat(watch, name, work, every_s))


async def _repeat(
    watch: Watch, name: str, work: Callable[[], Awaitable[object]], pause_s: float
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


def _while_whole(
    gateway: Gateway, work: Callable[[], Awaitable[int]]
) -> Callable[[], Awaitable[int]]:
    """The same work, let be while the gateway is not whole."""

    async def guarded() -> int:
        return await work() if gateway.whole else 0

    return guarded


async def _age(gateway: Gateway, policy: CasePolicy) -> int:
    async with gateway.store.transaction(GATEWAY) as conn:
        now = gateway.clock()
        escalated = await age_cases(conn, policy, gateway.nights.rules, now)
        if escalated:
            await append(conn, [by_gateway(Deed.CASES_AGED, now)])
        return escalated


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


def _publisher(settings: Settings, store: Store, clock: Clock) -> Publisher:
    keys = LogKeys(settings.log_keys_dir, settings.log_origin, sm2=settings.log_sm2)
    witnesses = () if settings.witnesses is None else load_witnesses(settings.witnesses)
    return Publisher(store, clock, keys, settings.public_dir, witnesses)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the services are made of."""

    store: Store
    clock: Clock
    banks: Banks
    nights: Nights
    publisher: Publisher
    keeper: Keeper
    writers: Submits


def _services(parts: _Parts, settings: Settings) -> Sequence[Callable[[grpc.aio.Server], None]]:
    store, clock, banks = parts.store, parts.clock, parts.banks
    payments = PaymentServicer(store, clock, banks, settings.payment_ttl, parts.writers)
    files = BankServicer(store, clock, banks, settings.answer_due)
    audit = AuditServicer(store, clock, banks, parts.keeper)
    return (
        partial(audit_grpc.add_AuditServiceServicer_to_server, audit),
        partial(party_grpc.add_PartyServiceServicer_to_server, PartyServicer(store, clock)),
        partial(change_grpc.add_ChangeServiceServicer_to_server, ChangeServicer(store, clock)),
        partial(fund_grpc.add_FundServiceServicer_to_server, FundServicer(store, clock, banks)),
        partial(payment_grpc.add_PaymentServiceServicer_to_server, payments),
        partial(ledger_grpc.add_LedgerServiceServicer_to_server, LedgerServicer(store, clock)),
        partial(bank_grpc.add_BankServiceServicer_to_server, files),
        partial(
            disclosure_grpc.add_DisclosureServiceServicer_to_server,
            DisclosureServicer(store, clock, parts.publisher.witness_keys),
        ),
        partial(duty_grpc.add_DutyServiceServicer_to_server, DutyServicer(store, clock)),
        partial(
            question_grpc.add_QuestionServiceServicer_to_server, QuestionServicer(store, clock)
        ),
        partial(
            reconciliation_grpc.add_ReconciliationServiceServicer_to_server,
            ReconciliationServicer(store, clock, parts.nights, _case_policy(settings)),
        ),
    )
