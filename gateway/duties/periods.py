"""Periods that are owed to the owners, and the record that they were disclosed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.clock import bank_date
from gateway.disclosure.period import Period
from gateway.disclosure.proving import fund_checkpoint
from gateway.disclosure.summary import fund_summary
from gateway.domain.canonical import canonical_json
from gateway.domain.duties import Owed, owed, span_of
from gateway.domain.errors import GatewayError, Kind, Reason, not_found, precondition
from gateway.duties.rules import versions_of
from gateway.ledger.writer import lock_fund
from gateway.registry.marks import party_name
from gateway.registry.rows import insert_new
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.disclosure.summary import BookSummary, Summary
    from gateway.registry.marks import Author
    from gateway.store import Row

SCHEMA: Final = "xinyi.figures/v1"

_P: Final = t.publications.c


@dataclass(frozen=True, slots=True)
class OwedPeriod:
    """A period that is owed, with what was done.

    Attributes:
        owed: which, and by when.
        publication: row of `publications`, None while it was not disclosed.
        overdue_at: when it was recorded that it was late, None if it was not.
    """

    owed: Owed
    publication: Row | None
    overdue_at: datetime | None

    def is_late(self, today: date) -> bool:
        """Whether it was disclosed after its day, or is not yet."""
        done = today if self.publication is None else bank_date(self.publication.created_at)
        return done > self.owed.due

    def state(self, today: date) -> str:
        """Where it stands, a name of `PeriodState`."""
        if self.publication is not None:
            until = self.publication.posted_until
            return "POSTED" if until is not None and today <= until else "DONE"
        if today <= self.owed.span.last:
            return "RUNNING"
        return "LATE" if today > self.owed.due else "DUE"


async def list_periods(conn: AsyncConnection, fund_id: str, today: date) -> Sequence[OwedPeriod]:
    """Every period that is owed, the one that is running included; the last due first.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    query = sa.select(t.funds.c.fund_id).where(t.funds.c.fund_id == fund_id)
    if await conn.scalar(query) is None:
        raise not_found(f"funds/{fund_id}")
    versions = (await versions_of(conn, [fund_id])).get(fund_id, ())
    published = await _by_period(conn, sa.select(t.publications).where(_P.fund_id == fund_id))
    lapses = t.lapses.c
    late = await _by_period(
        conn,
        sa.select(lapses.subject.label("period_id"), lapses.created_at).where(
            lapses.fund_id == fund_id, lapses.kind == "LATE_DISCLOSURE"
        ),
    )
    return [
        OwedPeriod(
            each,
            published.get(each.span.period_id),
            late[each.span.period_id].created_at if each.span.period_id in late else None,
        )
        for each in reversed(owed(versions, today))
    ]


async def _by_period(conn: AsyncConnection, query: sa.Select[Any]) -> dict[str, Row]:
    return {row.period_id: row for row in await conn.execute(query)}


async def publish(
    conn: AsyncConnection, fund_id: str, period_id: str, by: Author, now: datetime
) -> None:
    """Records that a period was disclosed, with its figures and the log's tree as they are now.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope; FIELD_INVALID
            for what is no period; STATE_FORBIDS for one that is not owed or not over;
            RESOURCE_EXISTS; NOT_LOGGED while the log lacks lines that the figures have.
    """
    name, today = period_name(fund_id, period_id), bank_date(now)
    span = span_of(period_id)
    # Under the fund's lock no line is added between the figures and the tree.
    fund = await lock_fund(conn, fund_id)
    periods = await list_periods(conn, fund_id, today)
    found = next((each.owed for each in periods if each.owed.span == span), None)
    if found is None or today <= span.last:
        state = "NOT_OWED" if found is None else "RUNNING"
        message = "the period is not over, or the rules do not want it"
        raise precondition(Reason.STATE_FORBIDS, name, message, state=state)
    await _require_logged(conn, fund)
    summary = await fund_summary(conn, fund_id, Period(span.first, span.last))
    checkpoint, _ = await fund_checkpoint(conn, fund_id)
    values = {
        "fund_id": fund_id,
        "period_id": period_id,
        "posted_until": _posted_until(today, found.posting_days),
        "figures_sha256": figures_sha256(fund_id, Period(span.first, span.last), summary),
        "checkpoint": checkpoint,
        "role": by.role,
        "party_name": await party_name(conn, by.party_id),
        "created_at": now,
    }
    await insert_new(conn, t.publications, name, values)


def _posted_until(today: date, posting_days: int) -> date | None:
    """The last of so many whole days behind the day of posting; None where there is no rule."""
    return today + timedelta(days=posting_days) if posting_days else None


async def _require_logged(conn: AsyncConnection, fund: Row) -> None:
    """The log takes lines about once a second: until then the call is to be repeated."""
    entries = t.log_entries.c
    query = sa.select(entries.entry_index).where(
        entries.fund_id == fund.fund_id,
        entries.number == fund.last_line_number,
        entries.kind == "LINE",
    )
    if await conn.scalar(query) is None:
        raise GatewayError(
            Kind.UNAVAILABLE,
            Reason.NOT_LOGGED,
            "the log takes lines every second; ask again",
            {"fund": f"funds/{fund.fund_id}"},
        )


def figures_sha256(fund_id: str, period: Period, summary: Summary) -> str:
    """SHA-256 of the figures, hexadecimal: what a notice of the period says in sums."""
    figures = {
        "schema": SCHEMA,
        "fund": f"funds/{fund_id}",
        "first": period.first.isoformat(),
        "last": period.last.isoformat(),
        "currency": summary.currency,
        "books": [_figures(book) for book in summary.books],
    }
    return sha256(canonical_json(figures)).hexdigest()


def _figures(book: BookSummary) -> dict[str, Any]:
    return {
        "book": book.book,
        "opening_minor": str(book.opening_minor),
        "income_minor": str(book.income_minor),
        "cost_minor": str(book.cost_minor),
        "closing_minor": str(book.closing_minor),
        "kinds": [
            {
                "category": kind.category,
                "income_minor": str(kind.income_minor),
                "cost_minor": str(kind.cost_minor),
            }
            for kind in book.kinds
        ],
    }


def period_name(fund_id: str, period_id: str) -> str:
    """Resource name of a period."""
    return f"funds/{fund_id}/periods/{period_id}"
