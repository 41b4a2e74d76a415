"""The rows of cases: read behind the fund's lock, changed with an event in their history."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.cases.rows import load_rows, members_of
from gateway.domain.errors import Reason, not_found, precondition
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.rows import Key, OpenRow
    from gateway.store import Row

_C: Final = t.cases.c
_TAKEN_APART: Final = "taken_apart"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to cases.

    Attributes:
        kind: such as ``PROPOSED``; see `CaseEvent` in the contract.
        actor: a person's resource name.
        now: UTC.
        detail: what was said.
        resolution_id: the resolution it is about; empty if none.
    """

    kind: str
    actor: str
    now: datetime
    detail: str = ""
    resolution_id: str = ""

    def of(self, kind: str) -> Event:
        """The same under another name."""
        return Event(kind, self.actor, self.now, "", self.resolution_id)


def case_name(fund_id: str, case_id: str) -> str:
    """Resource name of a case."""
    return f"funds/{fund_id}/cases/{case_id}"


async def load_case(conn: AsyncConnection, fund_id: str, case_id: str) -> Row:
    """The row of a case.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.cases).where(_C.fund_id == fund_id, _C.case_id == case_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(case_name(fund_id, case_id))
    return row


def require_open(case: Row) -> None:
    """Passes if somebody still has to do something about it.

    Raises:
        GatewayError: STATE_FORBIDS.
    """
    if not case.open:
        name = case_name(case.fund_id, case.case_id)
        raise precondition(Reason.STATE_FORBIDS, name, "the case is closed", state="CLOSED")


async def note(
    conn: AsyncConnection,
    fund_id: str,
    case_ids: Collection[str],
    event: Event,
    **values: Any,  # noqa: ANN401 - of any column
) -> None:
    """Writes an event into the history of cases, and changes them with it."""
    if not case_ids:
        return
    await conn.execute(
        t.cases.update()
        .where(_C.fund_id == fund_id, _C.case_id.in_(case_ids))
        .values(version=_C.version + 1, **values)
    )
    rows = [
        {
            "fund_id": fund_id,
            "case_id": case_id,
            "kind": event.kind,
            "actor": event.actor,
            "detail": event.detail,
            "resolution_id": event.resolution_id,
            "created_at": event.now,
        }
        for case_id in sorted(case_ids)
    ]
    await conn.execute(t.case_events.insert(), rows)


# --- what matching and its undoing make of them -------------------------------------------------


async def open_cases_of(
    conn: AsyncConnection, fund_id: str, keys: Iterable[Key]
) -> dict[Key, frozenset[str]]:
    """Ids of the open cases of each of these rows; rows without any are not in it."""
    m = t.case_members.c
    query = (
        sa.select(m.side, m.member_id, m.case_id)
        .join_from(t.case_members, t.cases, (_C.fund_id == m.fund_id) & (_C.case_id == m.case_id))
        .where(m.fund_id == fund_id, _C.open, sa.tuple_(m.side, m.member_id).in_(list(keys)))
    )
    found: dict[Any, frozenset[str]] = {}
    for row in await conn.execute(query):
        key = (row.side, row.member_id)
        found[key] = found.get(key, frozenset()) | {row.case_id}
    return found


async def settle_cases(
    conn: AsyncConnection, fund_id: str, keys: Iterable[Key], event: Event
) -> None:
    """Says the event in every open case of these rows, weighs it anew, and closes it if it can be.

    A case of which nothing is open is closed by the resolution of the event.
    """
    touched = frozenset[str]().union(*(await open_cases_of(conn, fund_id, keys)).values())
    rows = await members_of(conn, [(fund_id, case_id) for case_id in touched])
    for case_id in sorted(touched):
        members = rows[fund_id, case_id]
        weighed = {"amount_minor": balance(members), "weight_minor": weight(members)}
        await note(conn, fund_id, [case_id], event, **weighed)
        if weighed["weight_minor"] == 0:
            gone = {"open": False, "closed_at": event.now, "closed_by": event.resolution_id}
            rests = {"wait_until": None, "at_bank": False}
            await note(conn, fund_id, [case_id], event.of("CLOSED"), **gone, **rests)


def balance(members: Iterable[OpenRow]) -> int:
    """What is open: the bank's side less the ledger's."""
    return sum(row.signed_open_minor for row in members)


def weight(members: Iterable[OpenRow]) -> int:
    """What is open, without signs."""
    return sum(abs(row.open_minor) for row in members)


_OPENED: Final = {"open": True, "closed_at": None, "closed_by": ""}


async def reopen_closed_by(conn: AsyncConnection, fund_id: str, event: Event) -> None:
    """Opens again what the event's resolution had closed."""
    query = sa.select(_C.case_id).where(
        _C.fund_id == fund_id, ~_C.open, _C.closed_by == event.resolution_id
    )
    case_ids = (await conn.scalars(query)).all()
    await note(conn, fund_id, case_ids, event.of("REOPENED"), **_OPENED)


async def stand(
    conn: AsyncConnection, fund_id: str, keys: Sequence[Key], run_id: str, event: Event
) -> None:
    """Sees to it that every row that is open again is in an open case, without waiting for a run.

    Those that are in none get one together: that of the same members if there ever was one. The
    next run calls it by its right name.
    """
    covered = await open_cases_of(conn, fund_id, keys)
    rows = await load_rows(conn, fund_id, [key for key in keys if key not in covered])
    members = [row for row in rows.values() if row.open_minor != 0]
    for account_id in sorted({row.account_id for row in members}):
        own = [row for row in members if row.account_id == account_id]
        await _stand_together(conn, fund_id, own, run_id, event)


async def _stand_together(
    conn: AsyncConnection, fund_id: str, members: Sequence[OpenRow], run_id: str, event: Event
) -> None:
    case_id = case_id_of(fund_id, members)
    values = {
        "fund_id": fund_id,
        "case_id": case_id,
        "run_id": run_id,
        "account_id": members[0].account_id,
        "kind": "ambiguous",
        "cause": _TAKEN_APART,
        "detail": f"A match of {len(members)} entries and lines was taken apart.",
        "amount_minor": balance(members),
        "weight_minor": weight(members),
        "oldest_date": min(row.day for row in members),
        "open": True,
        "opened_at": event.now,
    }
    found = await conn.execute(pg.insert(t.cases).values(values).on_conflict_do_nothing())
    rows = [{"fund_id": fund_id, "case_id": case_id, **row.key._asdict()} for row in members]
    await conn.execute(pg.insert(t.case_members).on_conflict_do_nothing(), rows)
    kind = "FOUND" if found.rowcount else "REOPENED"
    await note(conn, fund_id, [case_id], event.of(kind), **_OPENED)


def case_id_of(fund_id: str, members: Iterable[OpenRow]) -> str:
    """The id that the kernel gives a case of these rows: of its members alone."""
    return digest(f"case|{labels_of(fund_id, members)}")


def labels_of(fund_id: str, members: Iterable[OpenRow]) -> str:
    """The kernel's names of rows, in its order: entries before lines, each by account and id."""
    ordered = sorted(members, key=lambda row: (row.key.side, row.account_id, row.key.member_id))
    return ",".join(_label(fund_id, row) for row in ordered)


def _label(fund_id: str, row: OpenRow) -> str:
    account, member_id = f"{fund_id}/{row.account_id}", row.key.member_id
    lengths = (len(account.encode()), len(member_id.encode()))
    return f"{row.key.side}:{lengths[0]}:{account}:{lengths[1]}:{member_id}"


def digest(text: str) -> str:
    """The first 32 hexadecimal digits of its SHA-256."""
    return sha256(text.encode()).hexdigest()[:32]
