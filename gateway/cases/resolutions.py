"""The rows of resolutions: what was proposed, by whom, and what became of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.cases.even import Part
from gateway.cases.plan import POSTING, Ask, Posting
from gateway.cases.rows import Key
from gateway.domain.errors import Reason, denied, not_found, precondition
from gateway.domain.party import Role
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.actor import Actor
    from gateway.store import Row

_R: Final = t.resolutions.c
_M: Final = t.resolution_members.c
PREFIX: Final = "res-"
"""Begins the id of every resolution, and of no run."""


def resolution_name(fund_id: str, resolution_id: str) -> str:
    """Resource name of a resolution."""
    return f"funds/{fund_id}/resolutions/{resolution_id}"


async def load_resolution(conn: AsyncConnection, fund_id: str, resolution_id: str) -> Row:
    """The row of a resolution.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.resolutions).where(_R.fund_id == fund_id, _R.resolution_id == resolution_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(resolution_name(fund_id, resolution_id))
    return row


async def load_proposal(conn: AsyncConnection, case: Row) -> Row | None:
    """The resolution of a case that waits for another person."""
    query = sa.select(t.resolutions).where(
        _R.fund_id == case.fund_id, _R.case_id == case.case_id, _R.state == "PROPOSED"
    )
    return (await conn.execute(query)).one_or_none()


def require_state(resolution: Row, state: str) -> None:
    """Passes if the resolution stands where it must.

    Raises:
        GatewayError: STATE_FORBIDS.
    """
    if resolution.state != state:
        raise precondition(
            Reason.STATE_FORBIDS,
            resolution_name(resolution.fund_id, resolution.resolution_id),
            f"the resolution is {resolution.state}, not {state}",
            state=resolution.state,
        )


def require_may_post(action: str, actor: Actor) -> None:
    """Only the trustee's checker lets a line be posted, or taken back.

    Raises:
        GatewayError: ROLE_NOT_ALLOWED.
    """
    if action in POSTING and Role.TRUSTEE_CHECKER not in actor.roles:
        message = f"{action} posts a line: only TRUSTEE_CHECKER decides about it"
        raise denied(Reason.ROLE_NOT_ALLOWED, message, action=action)


async def change(conn: AsyncConnection, resolution: Row, **values: Any) -> None:  # noqa: ANN401 - of any column
    """Changes the row of a resolution."""
    await conn.execute(
        t.resolutions.update()
        .where(_R.fund_id == resolution.fund_id, _R.resolution_id == resolution.resolution_id)
        .values(**values)
    )


async def allocations_of(
    conn: AsyncConnection, resolutions: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], list[Row]]:
    """What each resolution takes, by fund and resolution; entries first."""
    query = (
        sa.select(t.resolution_members)
        .where(sa.tuple_(_M.fund_id, _M.resolution_id).in_(list(resolutions)))
        .order_by(_M.side, _M.member_id)
    )
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in await conn.execute(query):
        groups[row.fund_id, row.resolution_id].append(row)
    return groups


async def ask_of(conn: AsyncConnection, resolution: Row) -> Ask:
    """What was proposed, to be looked at again."""
    this = (resolution.fund_id, resolution.resolution_id)
    members = (await allocations_of(conn, [this])).get(this, [])
    return Ask(
        action=resolution.action,
        reason=resolution.reason,
        parts=_parts(resolution.action, members),
        posting=_posting(resolution) if resolution.action in POSTING else None,
        wait_until=resolution.wait_until,
        bank_reference=resolution.bank_reference,
        supersedes=resolution.supersedes,
    )


def _parts(action: str, members: Sequence[Row]) -> tuple[Part, ...]:
    """Whole rows are kept apart, whatever is open of them by now."""
    whole = action == "KEEP_APART"
    return tuple(
        Part(Key(row.side, row.member_id), None if whole else row.allocated_minor)
        for row in members
    )


def _posting(resolution: Row) -> Posting:
    return Posting(
        book=resolution.book,
        category=resolution.category,
        summary=resolution.summary,
        amount_minor=resolution.adjust_minor,
        effective_date=resolution.effective_date,
        vouchers=tuple(resolution.vouchers),
    )


async def restand(conn: AsyncConnection, case: Row) -> None:
    """Whether the case waits or is at the bank: what the last resolution in force says.

    The last is the one whose approval its history has last: two may bear the same moment.
    """
    e = t.case_events.c
    said = sa.and_(*(e[name] == _R[name] for name in ("fund_id", "case_id", "resolution_id")))
    query = (
        sa.select(_R.action, _R.wait_until)
        .join_from(t.resolutions, t.case_events, said)
        .where(_R.fund_id == case.fund_id, _R.case_id == case.case_id, _R.state == "APPROVED")
        .where(e.kind == "APPROVED")
        .order_by(e.sequence.desc())
        .limit(1)
    )
    last = (await conn.execute(query)).one_or_none()
    c = t.cases.c
    await conn.execute(
        t.cases.update()
        .where(c.fund_id == case.fund_id, c.case_id == case.case_id)
        .values(
            wait_until=last.wait_until if last else None,
            at_bank=last is not None and last.action == "SEND_BACK",
        )
    )
