"""Writes one shard in one transaction: matches, settlements, cases, proofs.

Rows come by COPY into tables of the transaction and go from there into the real ones by plain
statements, because COPY itself is not let past row-level security. Every statement is about all
funds of the shard at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import structlog

from gateway.ledger.settling import close_staged
from gateway.night import certificates, record
from gateway.night.figures import SOME, figures
from gateway.night.proofs import Account, Draft, News, Proof, draft, linked, reopened, touched
from gateway.night.sql import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.night.outcome import Outcome
    from gateway.night.record import Lease
    from reconciliation.archive import Manifest

_STAGES: Final = {
    "night_matches": """
        fund_id text, match_id text, account_id text, rule text, bank_candidates bigint,
        ledger_candidates bigint, runner_up text, expected_accidents text, states bigint,
        search_limit text
    """,
    "night_cases": """
        fund_id text, case_id text, account_id text, kind text, cause text, detail text,
        amount_minor bigint, weight_minor bigint, oldest_date date, bank_candidates bigint,
        ledger_candidates bigint, runner_up text, expected_accidents text, states bigint,
        search_limit text, news text DEFAULT 'FOUND', told text DEFAULT ''
    """,
    "night_members": """
        fund_id text, side text, account_id text, member_id text, kind text, id text,
        amount_minor bigint, value_date date,
        line_number bigint GENERATED ALWAYS AS
            (CASE side WHEN 'ledger' THEN member_id::bigint END) STORED
    """,
    "night_stale": "kind text, fund_id text, id text",
    "night_numbers": certificates.STAGE,
    "night_proofs": """
        run_id text, fund_id text, account_id text, date date, bank_closing_minor bigint,
        ledger_minor bigint, open_bank_minor bigint, open_ledger_minor bigint,
        difference_minor bigint, proved boolean, findings text, created_at timestamptz,
        previous_digest text, digest text
    """,
}
_LATE_COMMIT: Final = timedelta(hours=1)
"""What was noted this long before the last run may still have been uncommitted when that one read;
the proofs themselves tell whether they knew it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard on its way into the database.

    Attributes:
        lease: the run, in this process's hands.
        number: of the shard.
        manifest: of the run.
        accounts: the shard's accounts, as of the run's moment.
        outcome: what is to be written.
        digest: SHA-256 of what the kernel made.
    """

    lease: Lease
    number: int
    manifest: Manifest
    accounts: Sequence[Account]
    outcome: Outcome
    digest: str

    def bound(self, now: datetime) -> dict[str, object]:
        """What the statements are about."""
        span = self.manifest.shards[self.number]
        return {
            "first": span.first,
            "last": span.last,
            "run": self.lease.run_id,
            "actor": f"reconciliationRuns/{self.lease.run_id}",
            "day": self.manifest.as_of,
            "moment": datetime.fromisoformat(self.manifest.moment),
            "now": now,
        }


async def write(conn: AsyncConnection, shard: Shard, now: datetime) -> None:
    """Writes all that a shard came to, or nothing of it.

    What a person closed or decided since the run read it is left out, and counted: the next run
    sees it.

    Raises:
        GatewayError: RUN_IN_PROGRESS once another process has taken the run over.
    """
    await record.fence(conn, shard.lease)
    bound = shard.bound(now)
    await conn.execute(_LOCK_FUNDS, bound)
    outcome, left_out = await _staged(conn, shard, bound)
    for statement in (*_MATCHES, *_CASES):
        await conn.execute(statement, bound)
    proofs = await _proofs(conn, shard, bound)
    await _copy(conn, "night_proofs", _proof_rows(proofs))
    await conn.execute(_PROOFS)
    own = [each for each in proofs if each.date == shard.manifest.as_of]
    await certificates.certify(conn, bound, own)
    proved = sum(each.proved for each in own)
    counts = replace(
        outcome.counts(), proved_account_count=proved, unproved_account_count=len(own) - proved
    )
    await record.mark_written(
        conn,
        shard.lease,
        shard.number,
        digest=shard.digest,
        counts=counts,
        made=outcome.made_by_rule(),
        left_out=left_out,
        now=now,
    )


# --- staging ------------------------------------------------------------------------------------


async def _staged(
    conn: AsyncConnection, shard: Shard, bound: Mapping[str, object]
) -> tuple[Outcome, int]:
    """Brings the rows to the database; what is overtaken is taken out of them there and here."""
    for name, columns in _STAGES.items():
        await conn.execute(sql(f"CREATE TEMP TABLE {name} ({columns}) ON COMMIT DROP"))
    outcome = shard.outcome
    await _copy(conn, "night_members", outcome.members)
    await _copy(conn, "night_matches", outcome.matches)
    await _copy(conn, "night_cases", outcome.cases)
    await conn.execute(sql("ANALYZE night_members"))
    rows = (await conn.execute(_STALE, bound)).all()
    if not rows:
        return outcome, 0
    for statement in _DROP_STALE:
        await conn.execute(statement)
    log.warning("night_overtaken", run=shard.lease.run_id, shard=shard.number, count=len(rows))
    schema = {"kind": pl.String(), "fund_id": pl.String(), "id": pl.String()}
    stale = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
    return outcome.without(stale), len(rows)


async def _copy(conn: AsyncConnection, table: str, rows: pl.DataFrame) -> None:
    """Rows as they lie in memory to the database; text is never null here, so empty is empty."""
    if rows.is_empty():
        return
    content = rows.write_csv(include_header=False, quote_style="non_numeric").encode()
    raw = await conn.get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.copy_to_table(table, source=BytesIO(content), columns=rows.columns, format="csv")


_LOCK_FUNDS: Final = sql("""
    SELECT fund_id FROM funds WHERE fund_id BETWEEN :first AND :last ORDER BY fund_id FOR UPDATE
""")
"""Whoever writes to a fund locks it first; always in this order, so nobody waits in a ring."""

_STALE: Final = sql("""
    INSERT INTO night_stale SELECT DISTINCT m.kind, m.fund_id, m.id FROM night_members m
    LEFT JOIN bank_entries e ON m.side = 'bank' AND e.fund_id BETWEEN :first AND :last
        AND e.fund_id = m.fund_id AND e.bank_entry_id = m.member_id
    LEFT JOIN disclosed_lines l ON l.fund_id BETWEEN :first AND :last
        AND l.fund_id = m.fund_id AND l.line_number = m.line_number
    WHERE coalesce(e.match_id, l.match_id) <> ''
        OR coalesce(e.amount_minor - e.taken_minor, l.amount_minor - l.taken_minor)
            <> m.amount_minor
        OR EXISTS (
            SELECT FROM resolution_members own JOIN resolutions r USING (fund_id, resolution_id)
            WHERE own.fund_id = m.fund_id AND own.side = m.side AND own.member_id = m.member_id
                AND r.action = 'KEEP_APART' AND r.decided_at > :moment
        )
    RETURNING kind, fund_id, id
""")
_DROP_STALE: Final = tuple(
    sql(f"""
        DELETE FROM {table} o USING night_stale s
        WHERE s.kind = {kind} AND s.fund_id = o.fund_id AND s.id = o.{name}
    """)  # noqa: S608 - of constants
    for table, kind, name in (
        ("night_matches", "'match'", "match_id"),
        ("night_cases", "'case'", "case_id"),
        ("night_members", "o.kind", "id"),
    )
)


# --- matches ------------------------------------------------------------------------------------

_SAW: Final = "bank_candidates, ledger_candidates, runner_up, expected_accidents, states"
_MATCHES: Final = (
    sql("""
        UPDATE bank_entries row SET match_id = m.id, match_date = :day
        FROM night_members m WHERE m.kind = 'match' AND m.side = 'bank'
            AND row.fund_id = m.fund_id AND row.bank_entry_id = m.member_id
            AND row.fund_id BETWEEN :first AND :last
    """),
    sql(f"""
        INSERT INTO matches (fund_id, match_id, made_by, account_id, status, rule, rules_version,
            date, created_at, {_SAW})
        SELECT fund_id, match_id, :run, account_id, 'automatic', rule, r.rules_version, :day, :now,
            {_SAW}
        FROM night_matches JOIN runs r ON r.run_id = :run
    """),  # noqa: S608 - of constants
    sql(f"""
        {close_staged("night_members", "m.kind = 'match' AND m.side = 'ledger'")}
        INSERT INTO match_members (fund_id, match_id, made_by, side, member_id, account_id,
            allocated_minor, settled_here)
        SELECT m.fund_id, m.id, :run, m.side, m.member_id, m.account_id, m.amount_minor,
            settled.line_number IS NOT NULL
        FROM night_members m LEFT JOIN settled USING (fund_id, line_number) WHERE m.kind = 'match'
    """),  # noqa: S608 - of constants
)

# --- cases --------------------------------------------------------------------------------------

_SAW_OF_CASE: Final = (
    *_SAW.split(", "),
    "search_limit",
)
_FOUND: Final = ("run_id", "kind", "cause", "detail", "amount_minor", "weight_minor", *_SAW_OF_CASE)
_CHANGED: Final = "(c.open, c.kind, c.cause, c.amount_minor)"
_CASES: Final = (
    # What is new of each, while the case still is as the last run left it.
    sql("""
        UPDATE night_cases n SET
            news = CASE WHEN NOT c.open THEN 'REOPENED'
                WHEN (c.kind, c.cause) <> (n.kind, n.cause) THEN 'RENAMED' ELSE '' END,
            told = CASE WHEN (c.kind, c.cause) <> (n.kind, n.cause)
                THEN format('%s/%s → %s/%s', c.kind, c.cause, n.kind, n.cause) ELSE '' END
        FROM cases c WHERE c.fund_id = n.fund_id AND c.case_id = n.case_id
    """),
    sql(f"""
        INSERT INTO cases AS c (fund_id, case_id, account_id, oldest_date, open, opened_at,
            {", ".join(_FOUND)})
        SELECT fund_id, case_id, account_id, oldest_date, true, :now,
            :run, {", ".join(_FOUND[1:])}
        FROM night_cases
        ON CONFLICT (fund_id, case_id) DO UPDATE SET open = true, closed_at = NULL, closed_by = '',
            {", ".join(f"{name} = excluded.{name}" for name in _FOUND)},
            version = c.version + CASE WHEN {_CHANGED} = (true, excluded.kind, excluded.cause,
                excluded.amount_minor) THEN 0 ELSE 1 END
    """),  # noqa: S608 - of constants
    sql("""
        INSERT INTO case_members (fund_id, case_id, side, member_id)
        SELECT fund_id, id, side, member_id FROM night_members WHERE kind = 'case'
        ON CONFLICT DO NOTHING
    """),
    sql("""
        INSERT INTO case_events (fund_id, case_id, kind, actor, detail, created_at)
        SELECT fund_id, case_id, news, :actor, told, :now FROM night_cases WHERE news <> ''
        ORDER BY fund_id, case_id
    """),
    # One that the owners' question opened has nothing open, and waits for the answer.
    sql("""
        UPDATE cases SET amount_minor = 0, weight_minor = 0, version = version + 1
        WHERE open AND run_id <> :run AND fund_id BETWEEN :first AND :last
            AND kind = 'questioned' AND weight_minor <> 0
    """),
    sql("""
        WITH gone AS (
            UPDATE cases SET open = false, closed_at = :now, closed_by = :run,
                wait_until = NULL, at_bank = false, version = version + 1
            WHERE open AND run_id <> :run AND fund_id BETWEEN :first AND :last
                AND NOT (kind = 'questioned' AND EXISTS (
                    SELECT FROM questions q WHERE q.fund_id = cases.fund_id
                        AND q.case_id = cases.case_id AND q.answered_at IS NULL
                ))
            RETURNING fund_id, case_id
        )
        INSERT INTO case_events (fund_id, case_id, kind, actor, created_at)
        SELECT fund_id, case_id, 'CLOSED', :actor, :now FROM gone ORDER BY fund_id, case_id
    """),
)

# --- proofs -------------------------------------------------------------------------------------


async def _proofs(conn: AsyncConnection, shard: Shard, bound: Mapping[str, object]) -> list[Proof]:
    """The day's proof of every account, and one of each earlier day that something new counts for.

    The day's own terms are those of the run's moment; an earlier day is proved with what is known
    by now.
    """
    open_minor = shard.outcome.open_minor()
    drafts: dict[tuple[str, str], list[Draft]] = {}
    for account in shard.accounts:
        key = (account.fund_id, account.account_id)
        own = draft(account, *(open_minor.get((*key, side), 0) for side in ("bank", "ledger")))
        drafts[key] = [own]
    await _reopen(conn, shard, bound, drafts)
    last = {(p.fund_id, p.account_id): p for p in await _read(conn, _LAST, bound)}
    moment = datetime.fromisoformat(shard.manifest.moment)

    def chained() -> list[Proof]:
        return [
            proof
            for key, each in drafts.items()
            for proof in linked(each, shard.lease.run_id, last.get(key), moment)
        ]

    # A digest an account: in a thread, so that other calls are answered meanwhile.
    return await asyncio.to_thread(chained)


async def _reopen(
    conn: AsyncConnection,
    shard: Shard,
    bound: Mapping[str, object],
    drafts: dict[tuple[str, str], list[Draft]],
) -> None:
    """Adds to each account the proved days that something new counts for."""
    since = await record.last_done(conn, shard.lease.run_id)
    if since is None:
        return
    bound = {**bound, "since": since - _LATE_COMMIT}
    news = [News(**row._mapping) for row in await conn.execute(_NEWS, bound)]  # noqa: SLF001 - its documented name
    keys = sorted({(each.fund_id, each.account_id) for each in news} & drafts.keys())
    known = await _newest_proofs(conn, keys, min((each.first for each in news), default=None))
    days = touched(news, known)
    before = {(p.fund_id, p.account_id, p.date): p for each in known.values() for p in each}
    for again in await _again(conn, shard, days, drafts):
        account = again.account
        day = (account.fund_id, account.account_id, account.day)
        told = reopened(again, before[day], days[day])
        if told is None:
            continue
        own = drafts[day[:2]]
        drafts[day[:2]] = [each for each in own if each.account.day != account.day] + [told]


async def _again(
    conn: AsyncConnection,
    shard: Shard,
    days: Iterable[tuple[str, str, date]],
    drafts: Mapping[tuple[str, str], Sequence[Draft]],
) -> list[Draft]:
    """What is to be said now of days that were proved before; of the run's own day it is said."""
    own, earlier = [], []
    for fund_id, account_id, day in sorted(days):
        if day == shard.manifest.as_of:
            own.append(drafts[fund_id, account_id][0])
        else:
            earlier.append((fund_id, account_id, day))
    if not earlier:
        return own
    names = ("funds", "accounts", "days")
    asked = dict(zip(names, (list(each) for each in zip(*earlier, strict=True)), strict=True))
    rows = await conn.execute(_FIGURES, asked)
    accounts = [Account(**row._mapping) for row in rows]  # noqa: SLF001 - its documented name
    return [*own, *(draft(each, each.open_bank_minor, each.open_ledger_minor) for each in accounts)]


async def _newest_proofs(
    conn: AsyncConnection, keys: Sequence[tuple[str, str]], first: date | None
) -> dict[tuple[str, str], list[Proof]]:
    """The newest proof of each day from `first` on, by account."""
    if not keys or first is None:
        return {}
    asked = {"funds": [f for f, _ in keys], "accounts": [a for _, a in keys], "from_day": first}
    found: dict[tuple[str, str], list[Proof]] = {}
    for proof in await _read(conn, _NEWEST, asked):
        found.setdefault((proof.fund_id, proof.account_id), []).append(proof)
    return found


async def _read(
    conn: AsyncConnection, query: sa.Executable, bound: Mapping[str, object]
) -> list[Proof]:
    names = [each.name for each in fields(Proof)]
    rows = await conn.execute(query, dict(bound))
    values = [{name: getattr(row, name) for name in names} for row in rows]
    return [
        Proof(**{**each, "findings": tuple(each["findings"]), "created_at": each["created_at"]})
        for each in values
    ]


_FIGURES: Final = sql(figures(SOME))
_COLUMNS_OF_PROOF: Final = ", ".join(
    each.name for each in fields(Proof) if each.name != "created_at"
)
_CREATED: Final = "coalesce(created_at, 'epoch') AS created_at"
_LAST: Final = sql(f"""
    SELECT p.* FROM bank_accounts a CROSS JOIN LATERAL (
        SELECT {_COLUMNS_OF_PROOF}, {_CREATED} FROM balance_proofs p
        WHERE p.fund_id = a.fund_id AND p.account_id = a.account_id
        ORDER BY p.date DESC, p.created_at DESC NULLS LAST LIMIT 1
    ) p
    WHERE a.fund_id BETWEEN :first AND :last
""")  # noqa: S608 - of constants
"""The end of each account's chain: a run proves its own day last, and no run goes back in days."""
_NEWEST: Final = sql(f"""
    SELECT DISTINCT ON (fund_id, account_id, date) {_COLUMNS_OF_PROOF}, {_CREATED}
    FROM unnest(:funds, :accounts) AS given (fund_id, account_id)
    JOIN balance_proofs USING (fund_id, account_id)
    WHERE date >= :from_day
    ORDER BY fund_id, account_id, date, balance_proofs.created_at DESC NULLS LAST
""")  # noqa: S608 - of constants
_NEWS: Final = sql("""
    WITH RECURSIVE lines AS (
        -- a fund numbers its lines in the order of their disclosure: back from the last one
        SELECT l.* FROM funds f JOIN disclosed_lines l
            ON l.fund_id = f.fund_id AND l.line_number = f.last_line_number
        WHERE f.fund_id BETWEEN :first AND :last AND l.disclosed_at > :since
        UNION ALL
        SELECT l.* FROM lines JOIN disclosed_lines l
            ON l.fund_id = lines.fund_id AND l.line_number = lines.line_number - 1
        WHERE l.disclosed_at > :since
    ), undone AS (
        SELECT m.* FROM matches m JOIN runs r ON r.run_id = m.made_by
        WHERE r.undone_at > :since AND m.fund_id BETWEEN :first AND :last
        UNION
        SELECT m.* FROM matches m WHERE m.kept_apart AND m.fund_id BETWEEN :first AND :last
        UNION
        SELECT m.* FROM resolutions r JOIN matches m ON m.fund_id = r.fund_id
            AND m.match_id = r.match_id AND m.made_by = r.resolution_id
        WHERE r.undone_at > :since AND r.fund_id BETWEEN :first AND :last
    ), rows AS (
        SELECT u.fund_id, u.match_id, u.made_by, own.account_id, u.undone_at,
            coalesce(e.booking_date, l.effective_date) AS day
        FROM undone u JOIN match_members own USING (fund_id, match_id, made_by)
        LEFT JOIN bank_entries e ON own.side = 'bank'
            AND e.fund_id = u.fund_id AND e.bank_entry_id = own.member_id
        LEFT JOIN disclosed_lines l ON l.fund_id = u.fund_id
            AND l.line_number = CASE own.side WHEN 'ledger' THEN own.member_id::bigint END
        WHERE u.undone_at > :since
    )
    SELECT fund_id, account_id, 'line' AS kind, line_number::text AS name, amount_minor,
        effective_date AS first, effective_date AS last, disclosed_at AS at
    FROM lines WHERE effective_date <= :day
    UNION ALL
    SELECT fund_id, account_id, 'statement', '', 0, start_date, end_date, created_at
    FROM statements
    WHERE fund_id BETWEEN :first AND :last AND created_at > :since AND start_date <= :day
    UNION ALL
    SELECT fund_id, account_id, 'match', '', 0, min(day), max(day), undone_at
    FROM rows GROUP BY fund_id, match_id, made_by, account_id, undone_at
    ORDER BY fund_id, account_id, first, kind, name, at
""")
"""What came since, each thing found by when it came: no day's history is gone through."""
_PROOFS: Final = sql("""
    INSERT INTO balance_proofs (run_id, fund_id, account_id, date, bank_closing_minor, ledger_minor,
        open_bank_minor, open_ledger_minor, difference_minor, proved, findings, created_at,
        previous_digest, digest)
    SELECT run_id, fund_id, account_id, date, bank_closing_minor, ledger_minor,
        open_bank_minor, open_ledger_minor, difference_minor, proved,
        string_to_array(findings, chr(30)), created_at, previous_digest, digest
    FROM night_proofs
""")


def _proof_rows(proofs: Sequence[Proof]) -> pl.DataFrame:
    rows = [
        {
            **each.row(),
            "findings": chr(30).join(each.findings),
            "created_at": str(each.created_at),
        }
        for each in proofs
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
