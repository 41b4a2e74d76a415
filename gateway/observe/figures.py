"""What the database knows of the gateway's state: asked when somebody looks, kept for a while."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from gateway.clock import bank_date
from gateway.domain.payment import State
from gateway.night.schedule import due_days
from gateway.payments.transmissions import Stage
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date, datetime, time

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.store import Row, Select, Store

OTHER_BANK: Final = "other"
"""Stands for banks that the gateway has no profile of."""

AGES: Final = ((1, "0-1d"), (7, "2-7d"), (30, "8-30d"))
"""Classes of age of an open case, up to so many days; older ones are of `OLDEST`."""
OLDEST: Final = "31d+"

WAITING: Final = (Stage.QUEUED, Stage.SENDING, Stage.STUCK, Stage.BY_HAND, Stage.IN_DOUBT)
"""Transmissions of which nobody is sure that the bank has them."""

_UNSENT: Final = frozenset({Stage.QUEUED, Stage.SENDING, Stage.STUCK})
_FRESH_S: Final = 15.0
_PATIENCE_S: Final = 5.0
_DAY: Final = timedelta(days=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outbox:
    """What waits to reach one bank.

    Attributes:
        counts: transmissions by stage, those of `WAITING`.
        oldest_at: when the oldest that is not sent was recorded, UTC; None if all are.
    """

    counts: Mapping[Stage, int]
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Night:
    """How the reconciliation stands.

    Attributes:
        last_day: the last day reconciled; None before the first night.
        ended_at: when the run of it ended, UTC.
        unproved_account_count: accounts whose balance that run could not prove.
        due_day_count: days that should be reconciled by now and are not.
    """

    last_day: date | None
    ended_at: datetime | None
    unproved_account_count: int
    due_day_count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The state of one moment.

    Attributes:
        asked_at: the moment, UTC.
        outboxes: by the bank's profile.
        unknown_payment_count: payments of which nobody knows whether the bank paid them.
        open_cases: by class of age.
        overdue_case_count: open cases past their due day.
        quarantined_file_count: bank files that nobody could use yet.
        night: the reconciliation.
    """

    asked_at: datetime
    outboxes: Mapping[str, Outbox]
    unknown_payment_count: int
    open_cases: Mapping[str, int]
    overdue_case_count: int
    quarantined_file_count: int
    night: Night


@dataclass(slots=True)
class Asked:
    """The figures, asked at most once in a quarter of a minute, by however many at a time.

    Attributes:
        store: the database, over connections that no call waits for.
        clock: the present moment.
        banks: profiles that stand by their own name.
        night_at: from when on the day before should be reconciled.
    """

    store: Store
    clock: Clock
    banks: frozenset[str]
    night_at: time
    _last: Figures | None = None
    _fresh_until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def figures(self) -> Figures | None:
        """The present figures; None if the database does not give them in time."""
        async with self._asking:
            if monotonic() >= self._fresh_until:
                self._last = await self._ask()
                self._fresh_until = monotonic() + _FRESH_S
            return self._last

    async def _ask(self) -> Figures | None:
        try:
            async with asyncio.timeout(_PATIENCE_S), self.store.snapshot(GATEWAY) as conn:
                return await read_figures(conn, self.clock(), self.banks, self.night_at)
        except Exception as error:  # noqa: BLE001 - the other metrics are still worth having
            _log.warning("figures_not_read", error=type(error).__name__)
            return None


async def read_figures(
    conn: AsyncConnection, now: datetime, banks: frozenset[str], night_at: time
) -> Figures:
    """The figures as one transaction sees them."""
    today = bank_date(now)
    ages = (await conn.execute(_open_cases())).all()
    overdue = sa.select(sa.func.count()).where(t.cases.c.open, t.cases.c.due_date < today)
    quarantined = sa.select(sa.func.count()).where(t.quarantined_files.c.replayed_at.is_(None))
    return Figures(
        asked_at=now,
        outboxes=outboxes((await conn.execute(_outboxes())).all(), banks),
        unknown_payment_count=await conn.scalar(_unknown_payments()) or 0,
        open_cases=by_age({row.oldest_date: row.number for row in ages}, today),
        overdue_case_count=await conn.scalar(overdue) or 0,
        quarantined_file_count=await conn.scalar(quarantined) or 0,
        night=_night((await conn.execute(_last_run())).one_or_none(), now, night_at),
    )


def by_age(open_cases: Mapping[date, int], today: date) -> dict[str, int]:
    """Cases by class of age, every class named, of those by the day of their oldest member."""
    counts = dict.fromkeys((*(name for _, name in AGES), OLDEST), 0)
    for oldest, count in open_cases.items():
        age_days = (today - oldest).days
        name = next((name for up_to, name in AGES if age_days <= up_to), OLDEST)
        counts[name] += count
    return counts


def outboxes(rows: Iterable[Row], banks: frozenset[str]) -> dict[str, Outbox]:
    """By bank what waits, of rows by bank and stage; every bank that has anything is named."""
    counts: dict[str, dict[Stage, int]] = {}
    oldest: dict[str, datetime] = {}
    for row in rows:
        bank = row.profile_id if row.profile_id in banks else OTHER_BANK
        stage = Stage(row.state)
        of_bank = counts.setdefault(bank, dict.fromkeys(WAITING, 0))
        of_bank[stage] += row.number
        if stage in _UNSENT:
            oldest[bank] = min(oldest.get(bank, row.oldest_at), row.oldest_at)
    return {bank: Outbox(of_bank, oldest.get(bank)) for bank, of_bank in counts.items()}


def _outboxes() -> Select:
    sent, accounts = t.transmissions.c, t.bank_accounts.c
    same = (sent.fund_id == accounts.fund_id) & (sent.account_id == accounts.account_id)
    return (
        sa.select(
            accounts.profile_id,
            sent.state,
            sa.func.count().label("number"),
            sa.func.min(sent.created_at).label("oldest_at"),
        )
        .join_from(t.transmissions, t.bank_accounts, same)
        # The second condition is implied by the first; it is what the index is made for.
        .where(sent.state.in_(WAITING), sent.state != Stage.ANSWERED)
        .group_by(accounts.profile_id, sent.state)
    )


def _unknown_payments() -> Select:
    """Through the files that are still open, because no index finds a payment by its state."""
    sent, payments = t.transmissions.c, t.payments.c
    carried = (payments.transmission_id == sent.transmission_id) & (
        payments.fund_id == sent.fund_id
    )
    return (
        sa.select(sa.func.count())
        .select_from(t.transmissions.join(t.payments, carried))
        .where(sent.state != Stage.ANSWERED, payments.state == State.UNKNOWN)
    )


def _open_cases() -> Select:
    cases = t.cases.c
    number = sa.func.count().label("number")
    return sa.select(cases.oldest_date, number).where(cases.open).group_by(cases.oldest_date)


def _last_run() -> Select:
    runs = t.runs.c
    return (
        sa.select(runs.date, runs.ended_at, runs.counts)
        .where(runs.state == "DONE")
        .order_by(runs.date.desc(), runs.ended_at.desc())
        .limit(1)
    )


def _night(run: Row | None, now: datetime, night_at: time) -> Night:
    last_day = run.date if run else None
    return Night(
        last_day=last_day,
        ended_at=run.ended_at if run else None,
        unproved_account_count=run.counts["unproved_account_count"] if run else 0,
        due_day_count=len(due_days(now, night_at, last_day)),
    )
