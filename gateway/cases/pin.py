"""Matches that people decide, and the undoing of any: rows, books and lines agree after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.cases.even import side_of
from gateway.cases.record import digest, labels_of
from gateway.cases.rows import Key
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.ledger.settling import settle_lines, unsettle_lines
from gateway.store import given
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.even import Taken
    from gateway.cases.rows import Side

RULE: Final = "pin"
_M: Final = t.match_members.c
_MATCH: Final = t.matches.c
_ROWS: Final[Mapping[Side, tuple[sa.Table, sa.Column[Any]]]] = {
    "bank": (t.bank_entries, t.bank_entries.c.bank_entry_id),
    "ledger": (t.disclosed_lines, t.disclosed_lines.c.line_number),
}


async def pin(
    conn: AsyncConnection,
    fund_id: str,
    resolution_id: str,
    taken: Sequence[Taken],
    day: date,
    now: datetime,
) -> str:
    """Matches what is taken, once and for all; both sides come to the same, the fund is locked.

    Lines of which nothing is open any more are confirmed by the bank, with the latest value date
    of the entries.

    Returns:
        The id of the match.

    Raises:
        GatewayError: STORE_UNAVAILABLE if a row was closed by somebody who did not lock the fund.
    """
    labels = labels_of(fund_id, [each.row for each in taken])
    match_id = digest(f"{labels}|{RULE}|{resolution_id}")
    for side in _ROWS:
        await _raise_taken(conn, fund_id, side, side_of(taken, side), match_id, day)
    settled = await settle_lines(conn, fund_id, _settled_by(taken))
    await conn.execute(
        t.matches.insert().values(
            fund_id=fund_id,
            match_id=match_id,
            made_by=resolution_id,
            account_id=taken[0].row.account_id,
            status="decided",
            rule=RULE,
            rules_version="",
            date=day,
            created_at=now,
        )
    )
    rows = [
        {
            "fund_id": fund_id,
            "match_id": match_id,
            "made_by": resolution_id,
            "account_id": each.row.account_id,
            "allocated_minor": each.allocated_minor,
            "settled_here": each.row.key.side == "ledger"
            and int(each.row.key.member_id) in settled,
            **each.row.key._asdict(),
        }
        for each in taken
    ]
    await conn.execute(t.match_members.insert(), rows)
    return match_id


def _settled_by(taken: Sequence[Taken]) -> dict[int, date | None]:
    """Lines that are matched in full now, with the latest value date among the entries."""
    dates = [each.row.value_date or each.row.day for each in side_of(taken, "bank")]
    value_date = max(dates, default=None)
    return {
        int(each.row.key.member_id): value_date
        for each in side_of(taken, "ledger")
        if each.allocated_minor == each.row.open_minor
    }


async def _raise_taken(
    conn: AsyncConnection,
    fund_id: str,
    side: Side,
    taken: Sequence[Taken],
    match_id: str,
    day: date,
) -> None:
    if not taken:
        return
    table, own_id = _ROWS[side]
    news = _unnest(own_id, [(each.row.key.member_id, each.allocated_minor) for each in taken])
    total = table.c.taken_minor + news.c.allocated_minor
    full = total == table.c.amount_minor
    result = await conn.execute(
        table.update()
        .where(table.c.fund_id == fund_id, own_id == news.c.member_id, table.c.match_id == "")
        .values(
            taken_minor=total,
            match_id=sa.case((full, match_id), else_=""),
            match_date=sa.case((full, sa.cast(sa.literal(day), sa.Date))),
        )
    )
    if result.rowcount != len(taken):
        raise GatewayError(
            Kind.UNAVAILABLE, Reason.STORE_UNAVAILABLE, "a row was closed meanwhile: try again"
        )


def _unnest(own_id: sa.Column[Any], rows: Sequence[tuple[str, int]]) -> sa.TableValuedAlias:
    numeric = isinstance(own_id.type, sa.BigInteger)
    ids = [int(member_id) if numeric else member_id for member_id, _ in rows]
    amounts = [amount for _, amount in rows]
    return given(member_id=(ids, own_id.type), allocated_minor=(amounts, sa.BigInteger()))


# --- taken back ---------------------------------------------------------------------------------


async def unpin(
    conn: AsyncConnection, fund_id: str, chosen: sa.ColumnElement[bool], **values: object
) -> int:
    """Undoes matches of a fund, which is locked: their rows are open again by what they took.

    Args:
        conn: the transaction.
        fund_id: the fund.
        chosen: which matches; those that are undone already stay as they are.
        values: what becomes of them: `undone_at`, `undone_by`, `undo_reason`, `kept_apart`.

    Returns:
        How many matches were undone.
    """
    active = sa.and_(_MATCH.fund_id == fund_id, _MATCH.undone_at.is_(None), chosen)
    unsettled = await _settled_lines(conn, fund_id, active)
    for side in _ROWS:
        await _lower_taken(conn, fund_id, side, active)
    result = await conn.execute(t.matches.update().where(active).values(**values))
    await unsettle_lines(conn, fund_id, unsettled)
    return result.rowcount


def _members(active: sa.ColumnElement[bool], *columns: Any) -> sa.Select[Any]:  # noqa: ANN401 - SQLAlchemy's
    of_match = sa.and_(*(_M[name] == _MATCH[name] for name in ("fund_id", "match_id", "made_by")))
    return sa.select(*columns).join_from(t.match_members, t.matches, of_match).where(active)


async def _settled_lines(
    conn: AsyncConnection, fund_id: str, active: sa.ColumnElement[bool]
) -> list[int]:
    """Lines of these matches of which a match in force says that the bank confirmed them."""
    theirs = _members(active, _M.member_id).where(_M.side == "ledger")
    in_force = sa.and_(_MATCH.fund_id == fund_id, _MATCH.undone_at.is_(None))
    query = _members(in_force, _M.member_id).where(
        _M.side == "ledger", _M.settled_here, _M.member_id.in_(theirs.correlate(None))
    )
    return [int(member_id) for member_id in await conn.scalars(query.distinct())]


async def _lower_taken(
    conn: AsyncConnection, fund_id: str, side: Side, active: sa.ColumnElement[bool]
) -> None:
    """What a closed row has in other matches stays taken; what it had in these is open."""
    table, own_id = _ROWS[side]
    member_id = sa.cast(_M.member_id, own_id.type).label("member_id")
    given_back = (
        _members(active, member_id, sa.func.sum(_M.allocated_minor).label("allocated_minor"))
        .where(_M.side == side)
        .group_by(_M.member_id)
        .cte("given_back")
    )
    before = sa.case((table.c.match_id != "", table.c.amount_minor), else_=table.c.taken_minor)
    rest = before - sa.cast(given_back.c.allocated_minor, sa.BigInteger)
    await conn.execute(
        table.update()
        .where(table.c.fund_id == fund_id, own_id == given_back.c.member_id)
        .values(taken_minor=rest, match_id="", match_date=None)
    )


async def rows_of(conn: AsyncConnection, fund_id: str, match_id: str, made_by: str) -> list[Key]:
    """The rows of a match."""
    query = sa.select(_M.side, _M.member_id).where(
        _M.fund_id == fund_id, _M.match_id == match_id, _M.made_by == made_by
    )
    return [Key(row.side, row.member_id) for row in await conn.execute(query)]
