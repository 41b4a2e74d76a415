"""The factual record of a property firm: what lapsed while it was appointed, and when it was done.

Facts with their dates, as they were recorded; no score, no weight, no judgement whose fault it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.duties.lapses import bank_day
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

_L: Final = t.lapses.c

NAMES: Final = {
    "LATE_DISCLOSURE": "periods",
    "UNANSWERED_QUESTION": "questions",
    "MISSING_DETAIL": "lines",
    "UNRECONCILED_LINE": "lines",
}
"""What each kind of fact is about, as resource names have it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was owed and not done by its day.

    Attributes:
        kind: a name of `FactKind`.
        fund_id: of which fund.
        subject: id of what it is about, within the fund.
        due: the last day on which it would have been in time.
        done: the day on which it was done after all; None while it is not.
        recorded_at: when it was put on record.
    """

    kind: str
    fund_id: str
    subject: str
    due: date
    done: date | None
    recorded_at: datetime

    @property
    def resource(self) -> str:
        """Resource name of what it is about."""
        return f"funds/{self.fund_id}/{NAMES[self.kind]}/{self.subject}"


async def firm_record(
    conn: AsyncConnection,
    party_id: str,
    kinds: Sequence[str],
    after: Sequence[Any] | None,
    limit: int,
) -> Sequence[Fact]:
    """Facts of a firm in the estates that the reader's scope shows, the last recorded first.

    Args:
        conn: a transaction of the reader's scope.
        party_id: the firm.
        kinds: only these kinds; none for all.
        after: moment, fund, kind and subject of the last fact of the page before; None for none.
        limit: at most so many.
    """
    key = (_L.created_at, _L.fund_id, _L.kind, _L.subject)
    query = _facts().where(_L.firms.contains([party_id]))
    if kinds:
        query = query.where(_L.kind.in_(kinds))
    if after is not None:
        query = query.where(sa.tuple_(*key) < tuple(after))
    query = query.order_by(*(column.desc() for column in key)).limit(limit)
    return [
        Fact(row.kind, row.fund_id, row.subject, row.due_date, row.done, row.created_at)
        for row in await conn.execute(query)
    ]


def _facts() -> sa.Select[Any]:
    """Lapses with the day on which each was done after all, from what is stored of its subject.

    A lump sum is also done with when its line is taken back.
    """
    q, p, d, line = (
        table.c for table in (t.questions, t.publications, t.line_details, t.disclosed_lines)
    )
    correction = t.disclosed_lines.alias()
    # Only behind the kind is the subject known to be a number.
    of_line = _L.kind.in_([kind for kind, collection in NAMES.items() if collection == "lines"])
    number = sa.case((of_line, sa.cast(_L.subject, sa.BigInteger)))
    done = sa.func.coalesce(
        bank_day(q.answered_at),
        bank_day(p.created_at),
        bank_day(d.created_at),
        bank_day(correction.c.disclosed_at),
        line.match_date,
    )
    return (
        sa.select(t.lapses, done.label("done"))
        .outerjoin(t.questions, _of("UNANSWERED_QUESTION", q.fund_id, q.question_id == _L.subject))
        .outerjoin(t.publications, _of("LATE_DISCLOSURE", p.fund_id, p.period_id == _L.subject))
        .outerjoin(t.line_details, _of("MISSING_DETAIL", d.fund_id, d.line_number == number))
        .outerjoin(
            correction,
            _of("MISSING_DETAIL", correction.c.fund_id, correction.c.corrects == number),
        )
        .outerjoin(
            t.disclosed_lines,
            _of("UNRECONCILED_LINE", line.fund_id, line.line_number == number),
        )
    )


def _of(
    kind: str, fund_id: sa.ColumnElement[str], is_subject: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    return sa.and_(_L.kind == kind, fund_id == _L.fund_id, is_subject)
