"""The gateway as one process: made of what is on disk, called without a socket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Self

from adapters.connection import ChannelConnection
from adapters.reach import Banks
from gateway.bank.inbox import Inbox
from gateway.cases.ageing import age_cases
from gateway.cases.policy import CasePolicy
from gateway.domain.party import Identity
from gateway.night import Nights
from gateway.payments.deadlines import expire, lose_track
from gateway.payments.inquiry import Inquirer
from gateway.payments.outbox import Sender
from gateway.rpc.access import METHODS
from gateway.rpc.bank import BankServicer
from gateway.rpc.caller import Caller, set_caller
from gateway.rpc.group import Committer, PaymentWriters
from gateway.rpc.ledger import LedgerServicer
from gateway.rpc.payment import PaymentServicer
from gateway.rpc.reconciliation import ReconciliationServicer
from gateway.rpc.trail import Trail, begin
from gateway.store import GATEWAY
from tests.simulation.stage import CHANNEL_FUND, PROFILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message

    from adapters.connection import BankConnection, Exchange
    from gateway.clock import Clock
    from gateway.rpc.group import Item
    from gateway.store import Store
    from tests.gateway.support import Who

TTL: Final = timedelta(days=2)
"""How long payments wait for their signatures."""
ANSWER_DUE: Final = timedelta(hours=4)


@dataclass(frozen=True)
class WiredBanks(Banks):
    """Banks of which the one with a channel hangs on a wire of the simulation.

    Attributes:
        wire: to that bank.
    """

    wire: Exchange | None = None

    def connection(self, profile_id: str) -> BankConnection:
        """As in `Banks`."""
        if profile_id != PROFILES[CHANNEL_FUND] or self.wire is None:
            return super().connection(profile_id)
        profile, audit = self.profile(profile_id), self.folder(profile_id) / "audit"
        return ChannelConnection(profile, self.wire, audit)


class AtOnce(PaymentWriters):
    """Writes each call when it comes, so that nothing happens between two steps."""

    def __init__(self, committer: Committer) -> None:
        super().__init__(committer.commit, lambda _: False)
        self._commit_one = committer.commit

    async def submit(self, fund_id: str, item: Item) -> Message:  # noqa: ARG002 - one writer for all
        """As in `Writers`."""
        (answer,) = await self._commit_one([item])
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(frozen=True, slots=True)
class Process:
    """Everything that a process of the gateway has in memory.

    Attributes:
        services: by the name of the service in the contract.
        sender: what goes to the banks.
        inbox: what comes from them.
        inquirer: what they are asked.
        nights: what reconciles.
    """

    services: Mapping[str, Any]
    sender: Sender
    inbox: Inbox
    inquirer: Inquirer
    nights: Nights

    @classmethod
    def begin(cls, store: Store, clock: Clock, banks: Banks, folder: Path) -> Self:
        """As the composition root does it, without a server around it."""
        nights = Nights(store, clock, folder / "nights")
        writers = AtOnce(Committer(store, clock, banks, "simulation", TTL))
        services = {
            "PaymentService": PaymentServicer(store, clock, banks, TTL, writers),
            "LedgerService": LedgerServicer(store, clock),
            "BankService": BankServicer(store, clock, banks, ANSWER_DUE),
            "ReconciliationService": ReconciliationServicer(store, clock, nights),
        }
        return cls(
            services,
            Sender(store, clock, banks, ANSWER_DUE, _secured),
            Inbox(store, clock, banks),
            Inquirer(store, clock, banks),
            nights,
        )

    async def call(self, who: Who, method: str, request: Any) -> Any:
        """A call of ``Service/Method`` by somebody, of a list of messages if it is a stream.

        Raises what the edge would make a status of.
        """
        service, _, name = method.partition("/")
        if who.role not in METHODS[f"/xinyi.v1.{method}"]:
            raise AssertionError(f"{who.role} may not call {method}")
        human = sha256(who.name.encode()).hexdigest()
        trail = Trail(f"/xinyi.v1.{method}", "simulation", self.sender.clock())
        trail.identify(Identity(who.party_id, who.person_id), "")
        begin(trail)
        set_caller(Caller(who.party_id, who.person_id, human, frozenset({who.role})))
        given = _stream(request) if isinstance(request, list) else request
        return await getattr(self.services[service], name)(given, None)

    async def look_at_the_clock(self) -> int:
        """What falls due by itself: signatures, answers, cases."""
        store, now = self.sender.store, self.sender.clock()
        expired = await expire(store, self.sender.banks, now)
        lost = await lose_track(store, now)
        async with store.transaction(GATEWAY) as conn:
            late = await age_cases(conn, CasePolicy(), self.nights.rules, now)
        return expired + lost + late


async def _secured() -> None:
    """Nothing of this world is ever restored from an older backup."""


async def _stream(messages: Sequence[Any]) -> AsyncIterator[Any]:
    for message in messages:
        yield message
