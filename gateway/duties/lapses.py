"""Puts on record what was owed to the owners and not done by its day: once, and for ever.

Days are the banks' own, and a day is over before anything of it is a lapse. So whether something is
one depends on what is stored and on the day alone: looked at again, or for the first time long
afterwards, the same comes out. What was done late is a lapse as much as what never was; only of a
line that was matched late nobody can tell any more, if nobody looked before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.clock import BANK_ZONE, bank_date
from gateway.disclosure.detail import is_to_be_itemised
from gateway.domain.duties import owed
from gateway.domain.party import Role
from gateway.duties.rules import versions_of
from gateway.store import GATEWAY, given
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from typing import TypeAlias

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.store import Store

    _Found: TypeAlias = sa.Select[tuple[str, str, str, date]]

_Q: Final = t.questions.c
_FUNDS_AT_ONCE: Final = 5_000
_LOOKED_BACK: Final = timedelta(days=400)
"""No gateway stands still for longer; what fell due before was looked at when it did."""
_COLUMNS: Final = ("fund_id", "kind", "subject", "due_date", "firms", "created_at")


@dataclass(slots=True)
class LapseWatch:
    """Looks for lapses once on each day of the banks'.

    Attributes:
        store: the database.
        clock: the present moment.
        transit_days: for how long a line may be in transit, as the rules of reconciliation say.
        looked_on: the day of the last look; None before the first of this process.
    """

    store: Store
    clock: Clock
    transit_days: int
    looked_on: date | None = None

    async def look(self) -> int:
        """Records what a day that is over left undone; returns how much."""
        now = self.clock()
        if self.looked_on == bank_date(now):
            return 0
        async with self.store.transaction(GATEWAY) as conn:
            noted = await note_lapses(conn, self.transit_days, now)
            if noted:
                await append(conn, [by_gateway(Deed.LAPSES_NOTED, now)])
        self.looked_on = bank_date(now)
        return noted


async def note_lapses(conn: AsyncConnection, transit_days: int, now: datetime) -> int:
    """Records every lapse that is not on record yet; needs the GATEWAY scope.

    Args:
        conn: a transaction.
        transit_days: for how long a line may be in transit.
        now: UTC.

    Returns:
        How many there were.
    """
    today = bank_date(now)
    noted = await _record(conn, _late_questions(today), now)
    noted += await _record(conn, _lump_sums(today), now)
    noted += await _record(conn, _unreconciled(today, transit_days), now)
    after = ""
    while funds := await _funds_with_rules(conn, after):
        late = await _late_periods(conn, funds, today)
        noted += await _record(conn, late, now)
        after = funds[-1]
    return noted


async def _record(conn: AsyncConnection, found: _Found, now: datetime) -> int:
    """Records the rows of a query: fund, kind, subject, due day."""
    lapse = found.subquery()
    rows = sa.select(lapse, firms_of(lapse.c.fund_id), sa.literal(now))
    added = pg.insert(t.lapses).from_select(_COLUMNS, rows).on_conflict_do_nothing()
    return (await conn.execute(added)).rowcount


# --- periods ------------------------------------------------------------------------------------


async def _funds_with_rules(conn: AsyncConnection, after: str) -> Sequence[str]:
    fund_id = t.disclosure_rules.c.fund_id
    query = sa.select(fund_id).where(fund_id > after).distinct().order_by(fund_id)
    return (await conn.scalars(query.limit(_FUNDS_AT_ONCE))).all()


async def _late_periods(conn: AsyncConnection, fund_ids: Sequence[str], today: date) -> _Found:
    published = t.publications.c
    query = sa.select(published.fund_id, published.period_id, published.created_at)
    rows = await conn.execute(query.where(published.fund_id.in_(fund_ids)))
    done = {(row.fund_id, row.period_id): bank_date(row.created_at) for row in rows}
    versions = await versions_of(conn, fund_ids)
    late = [
        (fund_id, each.span.period_id, each.due)
        for fund_id in fund_ids
        for each in owed(versions[fund_id], today)
        if each.due < done.get((fund_id, each.span.period_id), today)
        and each.due >= today - _LOOKED_BACK
    ]
    return _rows("LATE_DISCLOSURE", late)


def _rows(kind: str, found: Sequence[tuple[str, str, date]]) -> _Found:
    """A query that has these rows."""
    funds, subjects, dues = zip(*found, strict=True) if found else ((), (), ())
    known = given(
        fund_id=(funds, sa.Text()), subject=(subjects, sa.Text()), due_date=(dues, sa.Date())
    )
    return sa.select(
        known.c.fund_id, sa.literal(kind).label("kind"), known.c.subject, known.c.due_date
    )


# --- questions ----------------------------------------------------------------------------------


def _late_questions(today: date) -> _Found:
    answered_on = bank_day(_Q.answered_at)
    late = sa.func.coalesce(answered_on > _Q.due_date, sa.literal(today) > _Q.due_date)
    kind = sa.literal("UNANSWERED_QUESTION")
    return sa.select(_Q.fund_id, kind.label("kind"), _Q.question_id, _Q.due_date).where(
        late, ~_is_noted(_Q.fund_id, "UNANSWERED_QUESTION", _Q.question_id)
    )


# --- lines --------------------------------------------------------------------------------------


def _lump_sums(today: date) -> _Found:
    """Income that was to be told by item on the day of its disclosure, and was not."""
    lines, details, kind = t.disclosed_lines.c, t.line_details.c, "MISSING_DETAIL"
    due, number = bank_day(lines.disclosed_at), sa.cast(lines.line_number, sa.Text)
    in_time = sa.exists().where(
        details.fund_id == lines.fund_id,
        details.line_number == lines.line_number,
        bank_day(details.created_at) <= due,
    )
    funds = sa.select(t.disclosure_rules.c.fund_id).where(t.disclosure_rules.c.itemised != [])
    return sa.select(lines.fund_id, sa.literal(kind).label("kind"), number, due.label("due")).where(
        lines.fund_id.in_(funds),
        lines.effective_date >= today - _LOOKED_BACK,
        due < today,
        is_to_be_itemised(),
        lines.corrected_by.is_(None),
        ~in_time,
        ~_is_noted(lines.fund_id, kind, number),
    )


def _unreconciled(today: date, transit_days: int) -> _Found:
    """Lines that no entry of the bank was matched to while they could be in transit.

    Of those that are open alone: a day's look comes before its night, which matches.
    """
    lines, kind = t.disclosed_lines.c, "UNRECONCILED_LINE"
    number = sa.cast(lines.line_number, sa.Text)
    known_on = sa.func.greatest(lines.effective_date, bank_day(lines.disclosed_at), type_=sa.Date)
    due = known_on + sa.cast(sa.literal(transit_days), sa.Integer)
    return sa.select(lines.fund_id, sa.literal(kind).label("kind"), number, due.label("due")).where(
        lines.match_id == "", due < today, ~_is_noted(lines.fund_id, kind, number)
    )


# --- shared -------------------------------------------------------------------------------------


def _is_noted(
    fund_id: sa.ColumnElement[str], kind: str, subject: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    lapses = t.lapses.c
    return sa.exists().where(
        lapses.fund_id == fund_id, lapses.kind == kind, lapses.subject == subject
    )


def firms_of(fund_id: sa.ColumnElement[str]) -> sa.ColumnElement[list[str]]:
    """The property firms that are appointed to a fund's estate now, by id."""
    appointed, persons = t.appointments.c, t.persons.c
    is_firm = sa.exists().where(
        persons.party_id == appointed.party_id, persons.roles.contains([Role.PROPERTY_FIRM])
    )
    firms = (
        sa.select(appointed.party_id)
        .join(t.funds, t.funds.c.estate_id == appointed.estate_id)
        .where(t.funds.c.fund_id == fund_id, appointed.ended_at.is_(None), is_firm)
        .order_by(appointed.party_id)
    )
    return sa.func.array(firms.scalar_subquery(), type_=pg.ARRAY(sa.Text))


def bank_day(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[date]:
    """The banks' calendar day of a moment."""
    return sa.cast(sa.func.timezone(BANK_ZONE.key, moment), sa.Date)
