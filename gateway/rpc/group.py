"""Groups of calls in one transaction, each call once: what the writers of payments do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gateway.domain.errors import GatewayError
from gateway.payments.docket import BatchSigning, Signing, weight
from gateway.payments.group import carry_out
from gateway.payments.signatures import verify_ahead
from gateway.payments.submit import Terms
from gateway.payments.writers import Writers, slot_of
from gateway.rpc.errors import StoredRefusal, passes
from gateway.rpc.once import find, is_lasting, keep, record, told_again
from gateway.rpc.trail import current_trail
from gateway.store import GATEWAY, bind, scope_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import timedelta

    from google.protobuf.message import Message
    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.domain.envelope import Envelope
    from gateway.payments.docket import Order
    from gateway.payments.group import Done, Outcome
    from gateway.payments.leases import Leases
    from gateway.rpc.once import Key, Parser, Use
    from gateway.rpc.trail import Trail
    from gateway.store import Store


@dataclass(frozen=True, slots=True)
class Item:
    """A call that waits for a writer.

    Attributes:
        use: of its request id.
        order: what is to be done.
        response_type: class of the answer.
        answer: makes it.
        trail: what the audit log is told of it.
    """

    use: Use
    order: Order
    response_type: Parser[Message]
    answer: Callable[[Done], Message]
    trail: Trail = field(default_factory=current_trail)

    @property
    def weight(self) -> int:
        """How many payments it is about."""
        return weight(self.order)

    @property
    def slot(self) -> int:
        """The part of the funds that it is about."""
        return slot_of(self.order.fund_id)

    @property
    def key(self) -> Key:
        """Its request id, which means one thing."""
        return self.use.key


PaymentWriters: TypeAlias = Writers[Item, "Message"]


class Submits(Protocol):
    """Has items written: the writers of this process, or whoever finds the right one."""

    async def submit(self, fund_id: str, item: Item) -> Message:
        """The answer of an item; as `Writers.submit`."""


class Moved(Exception):  # noqa: N818 - nothing went wrong
    """Another process writes the fund now; nothing was done."""


@dataclass(frozen=True, slots=True)
class Committer:
    """Commits groups of calls.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: what each bank wants.
        environment: stands in every payload to sign.
        payment_ttl: how long a payment may wait for its signatures.
        leases: what this process may write; None for a process that is alone.
    """

    store: Store
    clock: Clock
    banks: Banks
    environment: str
    payment_ttl: timedelta
    leases: Leases | None = None

    def writers(self) -> PaymentWriters:
        """Writers that commit by this."""
        return Writers(self.commit, lambda error: not passes(error))

    async def commit(self, items: Sequence[Item]) -> list[Message | Exception]:
        """Answers or refusals of calls in their order; all are on disk, or none.

        The transaction sees no more than the estates of the parties that call; that each order is
        of the caller's own is decided with it. Of a fund that another process writes by now, each
        call is answered that it has `Moved`.
        """
        recorded: list[Trail] = []
        async with self._begun(items) as (conn, ours):
            answers = await self._decide(conn, ours, recorded) if ours else {}
        for trail in recorded:
            trail.is_recorded = True
        return [answers.get(item.key, Moved()) for item in items]

    @asynccontextmanager
    async def _begun(
        self, items: Sequence[Item]
    ) -> AsyncIterator[tuple[AsyncConnection, Sequence[Item]]]:
        """A transaction, with those of the items that this process may write in it."""
        scope = scope_of(item.use.party_id for item in items)
        if self.leases is None:
            async with self.store.transaction(scope) as conn:
                yield conn, items
            return
        async with self.store.transaction(GATEWAY) as conn:
            held = await self.leases.fence(conn, {item.slot for item in items})
            await bind(conn, scope)
            yield conn, [item for item in items if item.slot in held]

    async def _decide(
        self, conn: AsyncConnection, items: Sequence[Item], recorded: list[Trail]
    ) -> dict[Key, Message | Exception]:
        stored = await find(conn, [item.use for item in items])
        fresh = [item for item in items if item.key not in stored]
        await verify_ahead(conn, _envelopes(fresh))
        terms = Terms(self.environment, self.payment_ttl, self.clock(), self.banks)
        outcomes = await carry_out(conn, [item.order for item in fresh], terms) if fresh else []
        answers = {
            item.key: _answer(item, outcome) for item, outcome in zip(fresh, outcomes, strict=True)
        }
        lasting = [item for item in fresh if is_lasting(answers[item.key])]
        await keep(conn, [(item.use, answers[item.key]) for item in lasting])
        await record(conn, [(item.trail, answers[item.key]) for item in lasting])
        recorded += [item.trail for item in lasting]
        again = {item.key: _again(item, stored[item.key]) for item in items if item.key in stored}
        return answers | again


def _envelopes(items: Sequence[Item]) -> list[Envelope]:
    """What these calls sign, as far as it can be read."""
    orders = [item.order for item in items if isinstance(item.order, Signing | BatchSigning)]
    return [each.envelope for each in orders if not isinstance(each.envelope, GatewayError)]


def _answer(item: Item, outcome: Outcome) -> Message | GatewayError:
    return outcome if isinstance(outcome, GatewayError) else item.answer(outcome)


def _again(item: Item, stored: Any) -> Message | Exception:  # noqa: ANN401 - a row
    """What this call was told the first time."""
    try:
        return item.response_type.FromString(told_again(stored, item.use))
    except (GatewayError, StoredRefusal) as refusal:
        return refusal
