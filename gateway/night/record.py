"""Where runs are kept: who works on one, how far it is, and how it ended."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import GatewayError, Kind, Reason, invalid, not_found
from gateway.night.outcome import ZERO, Counts
from gateway.store import tables as t
from reconciliation.archive import output_digest
from reconciliation.rules import RuleRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row, Select, Store
    from reconciliation.archive import Manifest
    from reconciliation.rules import Rules

_LOCK_ID: Final = 0x58494E59_49474854
_RUNNING: Final = t.runs.c.state == "RUNNING"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept; moments in UTC.

    Attributes:
        run_id: last segment of its resource name.
        date: the day to the end of which it reconciled.
        state: ``RUNNING``, ``DONE`` or ``FAILED``.
        rules_version: version and SHA-256 of the rules.
        input_digest: SHA-256 of its input; empty until that is read.
        output_digest: SHA-256 of what the kernel made of it; empty until it is done.
        counts: its figures; zero until it is done.
        engine: ``local`` or ``ray``.
        shard_count: into how many shards its input is divided; zero until that is read.
        written_shard_count: how many of them are done.
        demoted_rules: rules that persons took back too often: what they found was only proposed.
        started_at: when it began.
        ended_at: when it ended, None while it goes on.
        undone_at: when a person undid it, None if nobody did.
        undone_by: who did.
        undo_reason: why.
    """

    run_id: str
    date: date
    state: str
    rules_version: str
    input_digest: str
    output_digest: str
    counts: Counts
    engine: str
    shard_count: int
    written_shard_count: int
    demoted_rules: tuple[str, ...]
    started_at: datetime
    ended_at: datetime | None
    undone_at: datetime | None
    undone_by: str
    undo_reason: str


@dataclass(frozen=True, slots=True)
class Lease:
    """A run in the hands of one process; whoever takes it over ends this lease.

    Attributes:
        run_id: the run.
        owner: the process.
    """

    run_id: str
    owner: str


async def load_run(conn: AsyncConnection, run_id: str) -> Run:
    """The run of this id, or the one that began last for ``latest``.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    kept = _kept_runs()
    query = kept.limit(1) if run_id == "latest" else kept.where(t.runs.c.run_id == run_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"reconciliationRuns/{run_id}")
    return _run(row)


async def list_runs(
    conn: AsyncConnection, after: Sequence[object] | None, limit: int
) -> tuple[Run, ...]:
    """Runs, the newest first; `after` is the beginning and the id of the last one seen."""
    query = _kept_runs().limit(limit)
    if after is not None:
        query = query.where(sa.tuple_(*_NEWEST) < tuple(after))
    return tuple(_run(row) for row in await conn.execute(query))


_NEWEST: Final = (t.runs.c.started_at, t.runs.c.run_id)


def _kept_runs() -> Select:
    written = (
        sa.select(sa.func.count())
        .where(t.run_shards.c.run_id == t.runs.c.run_id, t.run_shards.c.written_at.is_not(None))
        .scalar_subquery()
    )
    kept = sa.select(t.runs, written.label("written_shard_count"))
    return kept.order_by(*(column.desc() for column in _NEWEST))


def _run(row: Row) -> Run:
    values = {name: getattr(row, name) for name in Run.__slots__}
    values |= {"counts": Counts(**row.counts), "demoted_rules": tuple(row.demoted_rules)}
    return Run(**values)


# --- one runner ---------------------------------------------------------------------------------


@asynccontextmanager
async def only_runner(store: Store) -> AsyncIterator[None]:
    """Makes this the only run inside the block; the lock dies with the process or its connection.

    Raises:
        GatewayError: RUN_IN_PROGRESS.
    """
    async with store.engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        locked = await conn.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK_ID)))
        if not locked:
            # It passes by itself: the same request id may be tried again.
            raise GatewayError(
                Kind.UNAVAILABLE, Reason.RUN_IN_PROGRESS, "another run is going on; try again"
            )
        try:
            yield
        finally:
            # Closed, not given back: no connection of the pool may keep the lock.
            await conn.invalidate()


async def fence(conn: AsyncConnection, lease: Lease) -> None:
    """Lets only the owner of a running run write; nobody takes it over until this is committed.

    Raises:
        GatewayError: RUN_IN_PROGRESS once another process has taken it over, or it has ended.
    """
    query = sa.select(t.runs.c.run_id).where(_is(lease)).with_for_update(read=True)
    if (await conn.execute(query)).one_or_none() is None:
        raise GatewayError(
            Kind.UNAVAILABLE, Reason.RUN_IN_PROGRESS, "another process has taken this run over"
        )


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return _RUNNING & (t.runs.c.run_id == lease.run_id) & (t.runs.c.owner == lease.owner)


# --- from beginning to end ----------------------------------------------------------------------


async def unfinished(conn: AsyncConnection) -> Row | None:
    """The run that a process left behind. Whoever is the only runner knows that it is dead."""
    return (await conn.execute(sa.select(t.runs).where(_RUNNING))).one_or_none()


async def take_over(conn: AsyncConnection, lease: Lease) -> None:
    """Goes on with a run that another process began; what that one still writes is refused."""
    await conn.execute(
        t.runs.update().where(_RUNNING, t.runs.c.run_id == lease.run_id).values(owner=lease.owner)
    )


async def begin(
    conn: AsyncConnection,
    lease: Lease,
    *,
    day: date,
    rules_version: str,
    engine: str,
    demoted: Sequence[str],
    now: datetime,
) -> None:
    """Notes that a run has begun; one that was left behind has failed.

    Raises:
        GatewayError: FIELD_INVALID where a later day is reconciled already: cases of that day would
            be lost.
    """
    latest = await conn.scalar(sa.select(sa.func.max(t.runs.c.date)).where(_DONE))
    if latest is not None and latest > day:
        raise invalid(Reason.FIELD_INVALID, "date", f"is before {latest}, reconciled already")
    await conn.execute(t.runs.update().where(_RUNNING).values(state="FAILED", ended_at=now))
    await conn.execute(
        t.runs.insert().values(
            run_id=lease.run_id,
            date=day,
            state="RUNNING",
            rules_version=rules_version,
            engine=engine,
            owner=lease.owner,
            demoted_rules=list(demoted),
            counts=asdict(ZERO),
            started_at=now,
        )
    )


_DONE: Final = t.runs.c.state == "DONE"


async def plan(conn: AsyncConnection, lease: Lease, manifest: Manifest) -> None:
    """Notes the shards that a run's input is divided into; again, it changes nothing."""
    await fence(conn, lease)
    rows = [
        {
            "run_id": lease.run_id,
            "shard": number,
            "first_fund_id": shard.first,
            "last_fund_id": shard.last,
            "input_digest": output_digest([shard.files[name] for name in sorted(shard.files)]),
        }
        for number, shard in enumerate(manifest.shards)
    ]
    await conn.execute(pg.insert(t.run_shards).on_conflict_do_nothing(), rows)
    values = {"shard_count": len(rows), "input_digest": manifest.input_digest}
    await conn.execute(t.runs.update().where(_is(lease)).values(values))


async def written_shards(conn: AsyncConnection, lease: Lease) -> frozenset[int]:
    """The shards that are done."""
    shards = t.run_shards.c
    query = sa.select(shards.shard).where(
        shards.run_id == lease.run_id, shards.written_at.is_not(None)
    )
    return frozenset(await conn.scalars(query))


async def mark_written(  # noqa: PLR0913 - what is kept of a shard
    conn: AsyncConnection,
    lease: Lease,
    shard: int,
    *,
    digest: str,
    counts: Counts,
    made: Mapping[str, int],
    left_out: int,
    now: datetime,
) -> None:
    """Notes that a shard is done, in the transaction that wrote it."""
    shards = t.run_shards
    told = {**asdict(counts), "made": dict(made), "left_out": left_out}
    await conn.execute(
        shards.update()
        .where(shards.c.run_id == lease.run_id, shards.c.shard == shard)
        .values(output_digest=digest, counts=told, written_at=now)
    )


async def finish(conn: AsyncConnection, lease: Lease, now: datetime) -> None:
    """Notes that a run is done, with what its shards add up to."""
    await fence(conn, lease)
    shards = t.run_shards.c
    query = sa.select(shards.output_digest, shards.counts).where(shards.run_id == lease.run_id)
    rows = (await conn.execute(query.order_by(shards.shard))).all()
    counts = sum((_counts(row.counts) for row in rows), ZERO)
    await conn.execute(
        t.runs.update()
        .where(_is(lease))
        .values(
            state="DONE",
            ended_at=now,
            counts=asdict(counts),
            output_digest=output_digest([row.output_digest for row in rows]),
        )
    )


def _counts(told: Mapping[str, int]) -> Counts:
    return Counts(**{name: told[name] for name in Counts.__slots__})


async def fail(conn: AsyncConnection, lease: Lease, now: datetime) -> None:
    """Notes that a run broke off; shards that were done by then stay done."""
    await conn.execute(t.runs.update().where(_is(lease)).values(state="FAILED", ended_at=now))


# --- what earlier runs tell ---------------------------------------------------------------------


async def last_done(conn: AsyncConnection, before: str) -> datetime | None:
    """When the last run before this one began that came to its end."""
    query = sa.select(sa.func.max(t.runs.c.started_at)).where(_DONE, t.runs.c.run_id != before)
    moment: datetime | None = await conn.scalar(query)
    return moment


_RECORDS: Final = sa.text("""
    WITH made AS (
        SELECT runs.rules_version, each.key AS rule, sum(each.value::bigint)::bigint AS count,
            max(runs.started_at) AS last
        FROM runs JOIN run_shards USING (run_id)
        CROSS JOIN LATERAL jsonb_each_text(run_shards.counts -> 'made') each
        WHERE runs.undone_at IS NULL
        GROUP BY runs.rules_version, each.key
    ), reversed AS (
        SELECT rules_version, rule, count(*) AS count FROM matches
        WHERE kept_apart AND status = 'automatic' GROUP BY rules_version, rule
    )
    SELECT rules_version, rule,
        greatest(coalesce(made.count, 0), coalesce(reversed.count, 0)) AS made,
        coalesce(reversed.count, 0) AS reversed
    FROM made FULL JOIN reversed USING (rules_version, rule)
    ORDER BY max(made.last) OVER (PARTITION BY rules_version) DESC NULLS LAST,
        rules_version DESC, rule
""")


async def rule_records(conn: AsyncConnection) -> tuple[RuleRecord, ...]:
    """How often each rule has matched, and how often persons took it apart; newest rules first.

    Matches are counted by the shards that wrote them: nobody counts a nation's matches each night.
    """
    rows = await conn.execute(_RECORDS)
    return tuple(RuleRecord(*row) for row in rows)


async def demoted(conn: AsyncConnection, rules: Rules) -> tuple[str, ...]:
    """The automatic rules that persons have had to take back too often under these rules."""
    version = rules.label()
    return rules.demoted(r for r in await rule_records(conn) if r.rules_version == version)
