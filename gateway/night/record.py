"""Where runs are kept: their beginning, their end, and all that they decide."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import GatewayError, Kind, Reason, invalid, not_found
from gateway.ledger.writer import settle_lines
from gateway.night.outcome import Counts
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.night.outcome import Outcome, Proof

_LOCK_ID: Final = 0x58494E59_49474854
_ROWS_A_STATEMENT: Final = 5_000
_ZERO: Final = Counts(0, 0, 0, 0, 0, 0, 0)
_RUNNING: Final = t.runs.c.state == "RUNNING"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept; moments in UTC.

    Attributes:
        run_id: last segment of its resource name.
        date: the day to the end of which it reconciled.
        state: ``RUNNING``, ``DONE`` or ``FAILED``.
        rules_version: version and SHA-256 of the rules.
        input_digest: SHA-256 of its input; empty until it is done.
        counts: its figures; zero until it is done.
        started_at: when it began.
        ended_at: when it ended, None while it goes on.
    """

    run_id: str
    date: date
    state: str
    rules_version: str
    input_digest: str
    counts: Counts
    started_at: datetime
    ended_at: datetime | None


async def load_run(conn: AsyncConnection, run_id: str) -> Run:
    """The run of this id, or the one that began last for ``latest``.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    kept = sa.select(*(t.runs.c[field.name] for field in fields(Run)))
    newest = kept.order_by(t.runs.c.started_at.desc(), t.runs.c.run_id.desc()).limit(1)
    query = newest if run_id == "latest" else kept.where(t.runs.c.run_id == run_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"reconciliationRuns/{run_id}")
    return Run(**{**row._mapping, "counts": Counts(**row.counts)})  # noqa: SLF001 - its documented name


async def lock(conn: AsyncConnection) -> None:
    """Makes this the only run until the transaction ends, even if its process dies.

    Raises:
        GatewayError: RUN_IN_PROGRESS.
    """
    if not (
        await conn.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK_ID)))
    ).scalar_one():
        # It passes by itself: the same request id may be tried again.
        raise GatewayError(
            Kind.UNAVAILABLE, Reason.RUN_IN_PROGRESS, "another run is going on; try again"
        )


async def begin(
    conn: AsyncConnection, run_id: str, day: date, rules_version: str, now: datetime
) -> None:
    """Notes that a run has begun. Whoever holds the lock knows that no other run is alive.

    Raises:
        GatewayError: FIELD_INVALID where a later day is reconciled already: cases of that day would
            be lost.
    """
    done = sa.select(sa.func.max(t.runs.c.date)).where(t.runs.c.state == "DONE")
    latest = (await conn.execute(done)).scalar_one()
    if latest is not None and latest > day:
        raise invalid(Reason.FIELD_INVALID, "date", f"is before {latest}, reconciled already")
    await _end(conn, _RUNNING, "FAILED", now)
    await conn.execute(
        t.runs.insert().values(
            run_id=run_id,
            date=day,
            state="RUNNING",
            rules_version=rules_version,
            counts=asdict(_ZERO),
            started_at=now,
        )
    )


async def fail(conn: AsyncConnection, run_id: str, now: datetime) -> None:
    """Notes that a run broke off; nothing of what it decided was kept."""
    await _end(conn, _RUNNING & (t.runs.c.run_id == run_id), "FAILED", now)


async def finish(
    conn: AsyncConnection, run_id: str, input_digest: str, counts: Counts, now: datetime
) -> None:
    """Notes that a run is done."""
    await _end(
        conn,
        _RUNNING & (t.runs.c.run_id == run_id),
        "DONE",
        now,
        input_digest=input_digest,
        counts=asdict(counts),
    )


async def _end(
    conn: AsyncConnection,
    which: sa.ColumnElement[bool],
    state: str,
    now: datetime,
    **values: object,
) -> None:
    await conn.execute(t.runs.update().where(which).values(state=state, ended_at=now, **values))


# --- what it decided --------------------------------------------------------------------------


async def write(
    conn: AsyncConnection, run_id: str, day: date, outcome: Outcome, now: datetime
) -> None:
    """Writes matches, settlements, cases and proofs.

    Raises:
        GatewayError: STORE_UNAVAILABLE if a matched row was closed otherwise since it was read.
    """
    await _lock_funds(conn, outcome.matches["fund_id"].unique().sort().to_list())
    await _insert_matches(conn, run_id, day, outcome.matches, now)
    await _close_rows(conn, outcome.matches, day)
    await _settle(conn, outcome.matches)
    await _write_cases(conn, run_id, outcome, now)
    await _insert_rows(
        conn, t.balance_proofs.insert(), [_proof_row(each, run_id, day) for each in outcome.proofs]
    )


async def _insert_matches(
    conn: AsyncConnection, run_id: str, day: date, members: pl.DataFrame, now: datetime
) -> None:
    shared = ["fund_id", "match_id", "account_id", "status", "rule"]
    groups = members.select(shared).unique(maintain_order=True)
    version = sa.select(t.runs.c.rules_version).where(t.runs.c.run_id == run_id)
    made = {
        "made_by": run_id,
        "rules_version": (await conn.execute(version)).scalar_one(),
        "date": day,
        "created_at": now,
    }
    await _insert(conn, t.matches.insert(), groups, **made)
    columns = ["fund_id", "match_id", "side", "member_id", "account_id", "allocated_minor"]
    await _insert(conn, t.match_members.insert(), members.select(columns), made_by=run_id)


async def _lock_funds(conn: AsyncConnection, fund_ids: Sequence[str]) -> None:
    """Whoever writes to a fund locks it first; always in this order, so nobody waits in a ring."""
    funds = t.funds.c.fund_id
    query = sa.select(funds).where(funds.in_(fund_ids)).order_by(funds).with_for_update()
    await conn.execute(query)


async def _insert(
    conn: AsyncConnection, statement: sa.Insert, frame: pl.DataFrame, **constants: object
) -> None:
    for part in frame.iter_slices(_ROWS_A_STATEMENT):
        await _insert_rows(conn, statement, [{**row, **constants} for row in part.to_dicts()])


async def _insert_rows(
    conn: AsyncConnection, statement: sa.Insert, rows: Sequence[Mapping[str, Any]]
) -> None:
    if rows:
        await conn.execute(statement, rows)


_TEXTS: Final = pg.ARRAY(sa.Text)
_BOUND: Final[tuple[sa.BindParameter[Any], ...]] = (
    sa.bindparam("funds", type_=_TEXTS),
    sa.bindparam("members", type_=_TEXTS),
    sa.bindparam("matches", type_=_TEXTS),
    sa.bindparam("day", type_=sa.Date),
)
_CLOSE: Final = {
    "bank": sa.text("""
        UPDATE bank_entries AS row SET match_id = v.match_id, match_date = :day
        FROM unnest(:funds, :members, :matches) AS v (fund_id, member_id, match_id)
        WHERE row.fund_id = v.fund_id AND row.bank_entry_id = v.member_id AND row.match_id = ''
    """).bindparams(*_BOUND),
    "ledger": sa.text("""
        UPDATE disclosed_lines AS row SET match_id = v.match_id, match_date = :day
        FROM unnest(:funds, :members, :matches) AS v (fund_id, member_id, match_id)
        WHERE row.fund_id = v.fund_id AND row.line_number = v.member_id::bigint
            AND row.match_id = ''
    """).bindparams(*_BOUND),
}


async def _close_rows(conn: AsyncConnection, matches: pl.DataFrame, day: date) -> None:
    """Names its match in every matched row."""
    for side, statement in _CLOSE.items():
        for part in matches.filter(pl.col("side") == side).iter_slices(_ROWS_A_STATEMENT):
            result = await conn.execute(
                statement,
                {
                    "funds": part["fund_id"].to_list(),
                    "members": part["member_id"].to_list(),
                    "matches": part["match_id"].to_list(),
                    "day": day,
                },
            )
            if result.rowcount != part.height:
                raise _overtaken()


def _overtaken() -> GatewayError:
    return GatewayError(
        Kind.UNAVAILABLE,
        Reason.STORE_UNAVAILABLE,
        "a line was closed while the run read: run again",
    )


async def _settle(conn: AsyncConnection, matches: pl.DataFrame) -> None:
    """The bank has confirmed what is matched: lines that are pending still are settled."""
    lines = matches.filter(pl.col("side") == "ledger").sort("fund_id", "member_id")
    columns = lines.select("fund_id", pl.col("member_id").cast(pl.Int64), "value_date")
    for fund_id, rows in groupby(columns.iter_rows(), key=lambda row: row[0]):
        value_dates = {number: value_date for _, number, value_date in rows}
        await settle_lines(conn, fund_id, value_dates)


async def _write_cases(conn: AsyncConnection, run_id: str, outcome: Outcome, now: datetime) -> None:
    """A case that is found again is the same case, however it is called now; the others close."""
    statement = pg.insert(t.cases)
    found = {name: statement.excluded[name] for name in ("run_id", "kind", "cause", "detail")}
    upsert = statement.on_conflict_do_update(
        index_elements=["fund_id", "case_id"], set_={**found, "open": sa.true()}
    )
    await _insert(conn, upsert, outcome.cases, run_id=run_id, open=True, opened_at=now)
    members = pg.insert(t.case_members).on_conflict_do_nothing()
    await _insert(conn, members, outcome.members)
    gone = t.cases.c.open & (t.cases.c.run_id != run_id)
    await conn.execute(t.cases.update().where(gone).values(open=False))


def _proof_row(proof: Proof, run_id: str, day: date) -> dict[str, object]:
    return {
        "run_id": run_id,
        "fund_id": proof.account.fund_id,
        "account_id": proof.account.account_id,
        "date": day,
        "bank_closing_minor": proof.bank_closing_minor,
        "ledger_minor": proof.account.ledger_minor,
        "open_bank_minor": proof.open_bank_minor,
        "open_ledger_minor": proof.open_ledger_minor,
        "difference_minor": proof.difference_minor,
        "proved": proof.proved,
        "findings": list(proof.findings),
    }
