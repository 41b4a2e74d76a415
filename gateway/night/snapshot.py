"""What a run looks at, read as of one moment and kept on disk before anything is decided.

It is read by ADBC straight into frames, shard by shard, so that memory is bounded by a shard. An
account is named ``fund/account`` towards the kernel, which never pairs two accounts: so nothing is
ever paired across funds (Trust Law art. 29).
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import adbc_driver_postgresql.dbapi as adbc  # type: ignore[import-untyped]  # it ships no types
import polars as pl
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from gateway.night.figures import NIGHT, figures
from gateway.store import GATEWAY
from gateway.store import tables as t
from gateway.store.engine import APPLICATION_ROLE
from reconciliation.archive import manifest_of
from reconciliation.frames import BANK, LEDGER
from reconciliation.matching.pins import PINS
from reconciliation.shards import Span, divide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import date, datetime

    from gateway.store import Store
    from reconciliation.archive import Archive, Manifest
    from reconciliation.rules import Rules

    _Query = Callable[[sa.ColumnElement[bool]], sa.Select[Any]]

log = structlog.get_logger(__name__)

_DIALECT: Final = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own omission
_BIND: Final = sa.text(
    "SELECT set_config('role', :role, true) AS role, set_config('xinyi.party', :party, true) AS own"
).bindparams(role=APPLICATION_ROLE, party=GATEWAY.party_id)


@dataclass(frozen=True, slots=True)
class Reading:
    """A connection for bulk reading, all of which sees the database as of one moment."""

    conn: adbc.Connection

    def frame(self, query: sa.Executable, **bound: object) -> pl.DataFrame:
        """The rows of a query; blocks until they are here."""
        if isinstance(query, sa.TextClause):
            query = query.bindparams(**bound)
        with self.conn.cursor() as cursor:
            cursor.execute(_literal(query))
            frame: pl.DataFrame = cursor.fetch_polars()
        return frame

    @contextmanager
    def by_hashing(self) -> Iterator[None]:
        """Inside the block, joins go over all rows once, whatever the planner believes of them."""
        with self.conn.cursor() as cursor:
            cursor.execute("SET LOCAL enable_nestloop = off")
            yield
            cursor.execute("SET LOCAL enable_nestloop = on")


def _literal(query: sa.Executable) -> str:
    """The query with its values in it: the driver's fast way takes no parameters."""
    compiled = query.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]  # every query of ours is a clause
    return str(compiled)


@contextmanager
def reading(store: Store) -> Iterator[Reading]:
    """Opens a connection as the application, in the gateway's own scope."""
    with closing(adbc.connect(_libpq_url(store.engine.url))) as conn:
        opened = Reading(conn)
        with conn.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        opened.frame(_BIND)
        yield opened


def _libpq_url(url: sa.URL) -> str:
    """The URL as PostgreSQL's own library reads it, which calls one setting otherwise."""
    query = {"sslmode" if key == "ssl" else key: value for key, value in url.query.items()}
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


# --- the whole ----------------------------------------------------------------------------------


def keep(
    store: Store,
    archive: Archive,
    *,
    day: date,
    rules: Rules,
    demoted: tuple[str, ...],
    moment: datetime,
    rows_a_shard: int,
) -> Manifest:
    """Reads what is open up to the end of `day` into the archive; blocks until it is there."""
    with reading(store) as read:
        counts = read.frame(_open_counts(day)).iter_rows()
        spans = list(divide(counts, rows_a_shard)) or [Span("", "", 0)]
        shards = []
        for number, span in enumerate(spans):
            shards.append(archive.write_shard(number, span, frames(read, span, day)))
            log.info("night_shard_read", shard=f"{number + 1}/{len(spans)}", rows=span.rows)
    manifest = manifest_of(day, rules, shards, demoted, moment.isoformat(), explained=True)
    archive.write_manifest(manifest)
    return manifest


def _open_counts(day: date) -> sa.Select[Any]:
    """Every fund in the database's order, with its open rows."""
    counts = [
        sa.select(sa.func.count())
        .where(side.fund == t.funds.c.fund_id, side.match == "", side.day <= day)
        .scalar_subquery()
        for side in (_B, _D)
    ]
    fund = t.funds.c.fund_id
    return sa.select(fund, (counts[0] + counts[1]).label("rows")).order_by(fund)


def frames(read: Reading, span: Span, day: date) -> Mapping[str, pl.DataFrame]:
    """A shard's input.

    Returns:
        ``bank`` and ``ledger``: what is open, what a decision has matched with a part of it, and
        what is closed and shares an id, a reference, or amount and day with an open one;
        ``closed``: which of them are the last kind; ``pins``: persons' decisions; ``accounts``:
        as `figures.figures`.
    """
    bound: dict[str, object] = {"first": span.first, "last": span.last, "day": day}
    accepted = read.frame(sa.text(_ACCEPTED), **bound)
    sides = {
        "bank": _side(read, _bank_rows, _B, _Ask("bank", span, day, accepted)),
        "ledger": _side(read, _ledger_rows, _D, _Ask("ledger", span, day, accepted)),
    }
    rejected = read.frame(sa.text(_REJECTED), first=span.first, last=span.last)
    pins = pl.concat([_as_pins(accepted), _as_pins(rejected)]).sort(PINS.key)
    related = pl.concat([sides[side][1] for side in ("bank", "ledger")])
    return {
        "bank": sides["bank"][0],
        "ledger": sides["ledger"][0],
        "closed": related,
        "pins": pins,
        "accounts": read.frame(sa.text(figures(NIGHT)), **bound),
    }


@dataclass(frozen=True, slots=True)
class _Ask:
    """What is asked of a side: which it is, of which funds, up to when, what is partly matched."""

    side: str
    span: Span
    day: date
    accepted: pl.DataFrame


def _side(
    read: Reading,
    rows: _Query,
    columns: _Columns,
    ask: _Ask,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a side, and which of them are closed."""
    shape = BANK if ask.side == "bank" else LEDGER
    key = list(shape.key)
    opened = read.frame(rows(_is_open(columns, ask)))
    partners = _partners(read, rows, columns, ask, key)
    taken = partners.join(opened, on=key, how="anti")
    # Right after a large night the planner believes that everything is open still.
    with read.by_hashing():
        closed = pl.concat(read.frame(rows(each)) for each in _related(columns, ask)).unique(key)
    related = closed.join(taken, on=key, how="anti")
    whole = pl.concat([opened, taken, related]).sort(key)
    named = related.select(pl.lit(ask.side).alias("side"), "account_id", member_id=key[1])
    return whole, named.sort("account_id", "member_id")


def _partners(
    read: Reading,
    rows: _Query,
    columns: _Columns,
    ask: _Ask,
    key: list[str],
) -> pl.DataFrame:
    """What decisions have matched with a part of an open row, whatever its day.

    Each stands for no more than those decisions took of it: the rest of it went elsewhere.
    """
    named = ask.accepted.filter(side=ask.side)
    sums = named.group_by("account_id", pl.col("member_id").alias(key[1])).agg(
        taken=pl.col("allocated_minor").sum()
    )
    ids = sums[key[1]].unique().sort().to_list()
    within = columns.fund.between(ask.span.first, ask.span.last)
    found = read.frame(rows(sa.and_(within, columns.name.in_(ids))))
    joined = found.join(sums, on=key, how="inner")
    return joined.with_columns(pl.col("taken").alias("amount_minor")).drop("taken")


def _as_pins(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(kind) for name, kind in PINS.columns.items())


# --- rows in the kernel's columns ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Columns:
    """What both sides have, by the names that a side's table gives it."""

    fund: sa.Column[str]
    account: sa.Column[str]
    name: sa.ColumnElement[str]
    day: sa.Column[Any]
    amount: sa.Column[int]
    own: sa.Column[str]
    reference: sa.Column[str]
    match: sa.Column[str]


def _columns(table: sa.Table, name: sa.ColumnElement[str], day: str, own: str) -> _Columns:
    named = (day, "amount_minor", own, "reference", "match_id")
    return _Columns(table.c.fund_id, table.c.account_id, name, *(table.c[each] for each in named))


_LINE_NAME: Final = sa.cast(t.disclosed_lines.c.line_number, sa.Text)
_B: Final = _columns(
    t.bank_entries, t.bank_entries.c.bank_entry_id, "booking_date", "end_to_end_id"
)
_D: Final = _columns(t.disclosed_lines, _LINE_NAME, "effective_date", "payment_id")


def _account(side: _Columns) -> sa.ColumnElement[str]:
    return (side.fund + "/" + side.account).label("account_id")


def _bank_rows(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Entries in the columns of `BANK`."""
    e = t.bank_entries.c
    return sa.select(
        *(_account(_B), e.bank_entry_id.label("entry_id"), e.booking_date, e.value_date),
        *(e.amount_minor, e.currency, e.reference, e.end_to_end_id, e.batch_id),
        *(e.counterparty_name, e.counterparty_account, e.text, e.reversal, e.return_reason),
    ).where(condition)


def _ledger_rows(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Lines in the columns of `LEDGER`."""
    d = t.disclosed_lines.c
    return (
        sa.select(
            *(_account(_D), _LINE_NAME.label("line_id"), d.effective_date, d.amount_minor),
            *(t.funds.c.currency, d.payment_id, d.batch_id, d.reference, d.counterparty_name),
            *(d.counterparty_account, d.summary.label("text")),
        )
        .join_from(t.disclosed_lines, t.funds, t.funds.c.fund_id == d.fund_id)
        .where(condition)
    )


def _is_open(side: _Columns, ask: _Ask) -> sa.ColumnElement[bool]:
    within = side.fund.between(ask.span.first, ask.span.last)
    return sa.and_(within, side.match == "", side.day <= ask.day)


def _related(side: _Columns, ask: _Ask) -> Iterator[sa.ColumnElement[bool]]:
    """Closed, and something open may repeat or undo it: one condition a reason.

    Each by itself is a join; all of them in one would be a search for every row.
    """
    within = side.fund.between(ask.span.first, ask.span.last)
    closed = sa.and_(within, side.match != "", side.day <= ask.day)
    alike = sa.select(side.fund, side.account, side.amount, side.day).where(_is_open(side, ask))
    for shared in (
        sa.tuple_(side.fund, side.own).in_(_named_by_open(ask, _B.own, _D.own)),
        sa.tuple_(side.fund, side.reference).in_(_named_by_open(ask, _B.reference, _D.reference)),
        sa.tuple_(side.fund, side.account, side.amount, side.day).in_(alike.correlate(None)),
    ):
        yield sa.and_(closed, shared)


def _named_by_open(
    ask: _Ask, bank: sa.Column[str], ledger: sa.Column[str]
) -> sa.CompoundSelect[Any]:
    """What open rows of either side have in these columns, by fund."""
    return sa.union(
        *(
            sa.select(side.fund, column).where(_is_open(side, ask), column != "").correlate(None)
            for side, column in ((_B, bank), (_D, ledger))
        )
    )


# --- persons' decisions -------------------------------------------------------------------------

_ACCEPTED: Final = """
    WITH part AS (
        SELECT fund_id, 'bank' AS side, bank_entry_id AS member_id FROM bank_entries
        WHERE match_id = '' AND taken_minor <> 0 AND booking_date <= :day
            AND fund_id BETWEEN :first AND :last
        UNION ALL
        SELECT fund_id, 'ledger', line_number::text FROM disclosed_lines
        WHERE match_id = '' AND taken_minor <> 0 AND effective_date <= :day
            AND fund_id BETWEEN :first AND :last
    ), decided AS (
        SELECT DISTINCT m.fund_id, m.match_id, m.made_by
        FROM part JOIN match_members own USING (fund_id, side, member_id)
        JOIN matches m USING (fund_id, match_id, made_by)
        WHERE m.status = 'decided' AND m.undone_at IS NULL
    )
    SELECT 'accepted' AS decision, concat_ws('/', 'match', fund_id, match_id, made_by) AS "group",
        side, fund_id || '/' || account_id AS account_id, member_id, allocated_minor
    FROM decided JOIN match_members USING (fund_id, match_id, made_by)
"""
"""Decisions that took a part of a row whose rest is open still."""

_REJECTED: Final = """
    WITH apart AS (
        SELECT fund_id, concat_ws('/', 'apart', fund_id, match_id, made_by) AS name, side, member_id
        FROM matches JOIN match_members USING (fund_id, match_id, made_by)
        WHERE kept_apart AND fund_id BETWEEN :first AND :last
        UNION ALL
        SELECT fund_id, concat_ws('/', 'apart', fund_id, resolution_id), side, member_id
        FROM resolutions JOIN resolution_members USING (fund_id, resolution_id)
        WHERE action = 'KEEP_APART' AND state = 'APPROVED' AND fund_id BETWEEN :first AND :last
    )
    SELECT 'rejected' AS decision, apart.name AS "group", apart.side,
        apart.fund_id || '/' || coalesce(e.account_id, l.account_id) AS account_id,
        apart.member_id, NULL::bigint AS allocated_minor
    FROM apart
    LEFT JOIN bank_entries e ON apart.side = 'bank'
        AND e.fund_id = apart.fund_id AND e.bank_entry_id = apart.member_id
    LEFT JOIN disclosed_lines l ON l.fund_id = apart.fund_id
        AND l.line_number = CASE apart.side WHEN 'ledger' THEN apart.member_id::bigint END
"""
"""What persons took apart for good; the kernel leaves out what is not all open."""
