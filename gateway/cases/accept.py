"""Many at once: a run's proposals accepted, and proposals approved, each for itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.cases.approve import approve
from gateway.cases.plan import Ask, Posting
from gateway.cases.propose import propose
from gateway.cases.record import case_name, load_case
from gateway.cases.rows import members_of_case
from gateway.cases.strong import weakness
from gateway.domain.errors import GatewayError, Reason, invalid, precondition
from gateway.ledger.writer import lock_fund
from gateway.registry.rows import require_version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.actor import Actor
    from gateway.cases.policy import CasePolicy
    from gateway.cases.propose import Read
    from gateway.cases.rows import OpenRow
    from gateway.store import Row

_Item = TypeVar("_Item")

_CHARGE: Final = "银行手续费"
_CHARGE_RULE: Final = "proposed_fee_adjustment"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one of many: a resolution, or why not."""

    resolution: Row | None = None
    refusal: GatewayError | None = None


async def accept_all(
    conn: AsyncConnection,
    policy: CasePolicy,
    reads: Sequence[Read],
    reason: str,
    demoted: Collection[str],
    actor: Actor,
) -> list[Outcome]:
    """Proposes to accept what a run proposed in each of these cases, looked at again.

    Args:
        conn: the transaction; a case that is refused leaves nothing in it.
        policy: the case policy.
        reads: the cases as they were read.
        reason: why, of every proposal.
        demoted: rules over their limit of reversals.
        actor: who proposes.

    Returns:
        One outcome a case, in the same order.
    """

    async def one(read: Read) -> Row:
        return await _accept(conn, policy, read, reason, demoted, actor)

    return await one_by_one(conn, [(read.fund_id, read) for read in reads], one)


async def approve_all(
    conn: AsyncConnection,
    policy: CasePolicy,
    names: Sequence[tuple[str, str]],
    said: str,
    actor: Actor,
) -> list[Outcome]:
    """Approves resolutions, by fund and id; one outcome each, in the same order."""

    async def one(name: tuple[str, str]) -> Row:
        return await approve(conn, policy, *name, said, actor)

    return await one_by_one(conn, [(name[0], name) for name in names], one)


async def one_by_one(
    conn: AsyncConnection,
    items: Sequence[tuple[str, _Item]],
    work: Callable[[_Item], Awaitable[Row]],
) -> list[Outcome]:
    """Works on items one by one, in order of their funds, so that no two calls wait in a ring."""
    outcomes = [Outcome()] * len(items)
    for place in sorted(range(len(items)), key=lambda place: (items[place][0], place)):
        outcomes[place] = await attempt(conn, partial(work, items[place][1]))
    return outcomes


async def attempt(conn: AsyncConnection, work: Callable[[], Awaitable[Row]]) -> Outcome:
    """What came of one piece of work; if it was refused, nothing of it is left."""
    try:
        async with conn.begin_nested():
            return Outcome(resolution=await work())
    except GatewayError as refusal:
        return Outcome(refusal=refusal)


async def _accept(
    conn: AsyncConnection,
    policy: CasePolicy,
    read: Read,
    reason: str,
    demoted: Collection[str],
    actor: Actor,
) -> Row:
    await lock_fund(conn, read.fund_id)
    case = await load_case(conn, read.fund_id, read.case_id)
    name = case_name(read.fund_id, read.case_id)
    require_version(case, read.etag, name)
    members = await members_of_case(conn, read.fund_id, read.case_id)
    weak = weakness(case.cause, case.expected_accidents, members, demoted, policy)
    if weak:
        raise precondition(Reason.STATE_FORBIDS, name, f"no strong proposal: {weak}")
    return await propose(conn, policy, read, _ask(case, members, reason), actor)


def _ask(case: Row, members: Sequence[OpenRow], reason: str) -> Ask:
    """To match all of it; of a bank's charge, with the line that the ledger lacks."""
    if case.cause != _CHARGE_RULE:
        return Ask("MATCH", reason)
    books = {row.book for row in members if row.book}
    if len(books) != 1:
        raise invalid(Reason.FIELD_INVALID, "cases", "the lines are of both books")
    return Ask("ADJUST", reason, posting=Posting(books.pop(), _CHARGE, _CHARGE))
