"""The night's certificate of each fund: written with the shard, so that a run has one or none.

What it tells is read as it stands in the database when the shard's matches and cases are there and
its funds are locked: nothing can come in between.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from gateway.domain.certificate import (
    AccountProof,
    BankEntry,
    Certificate,
    Details,
    Match,
    OpenItem,
    Part,
    entry_alias,
)
from gateway.night.sql import sql
from gateway.store import tables as t
from gateway.store.bulk import insertion, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.night.proofs import Proof
    from gateway.store import Row

STAGE: Final = "fund_id text, number bigint, since timestamptz"
"""Of ``night_numbers``: the number of each fund's next certificate, and when its last came."""

_AT_ONCE: Final = 1024


@dataclass(slots=True)
class _Fund:
    """What a certificate is made of; rows of the queries below."""

    row: Row
    proofs: list[Proof]
    came: list[Row] = field(default_factory=list)
    matched: dict[tuple[str, str], list[Row]] = field(default_factory=lambda: defaultdict(list))
    open: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    @property
    def name(self) -> str:
        return f"funds/{self.row.fund_id}"

    def public_id(self, side: str, member_id: str) -> str:
        """Of a line its number; of an entry what it is called in public."""
        return entry_alias(member_id, self.row.alias_salt.bytes) if side == "bank" else member_id


async def certify(
    conn: AsyncConnection, bound: Mapping[str, object], proofs: Iterable[Proof]
) -> None:
    """Writes the certificates of a shard's funds, one of each that has a proof of the run's day.

    Args:
        conn: the shard's transaction; matches, cases and proofs are written, its funds locked.
        bound: what the shard's statements are about.
        proofs: of the run's day.
    """
    funds = await _gathered(conn, bound, proofs)

    def made() -> list[dict[str, Any]]:
        return [_row(fund, bound) for fund in funds]

    # A digest an entry: in a thread, so that other calls are answered meanwhile.
    rows = await asyncio.to_thread(made)
    for start in range(0, len(rows), _AT_ONCE):
        await write(conn, insertion(t.night_certificates, rows[start : start + _AT_ONCE]))


async def _gathered(
    conn: AsyncConnection, bound: Mapping[str, object], proofs: Iterable[Proof]
) -> list[_Fund]:
    by_fund: dict[str, list[Proof]] = defaultdict(list)
    for proof in proofs:
        by_fund[proof.fund_id].append(proof)
    asked = dict(bound)
    await conn.execute(_NUMBERED, {**asked, "funds": list(by_fund)})
    rows = await conn.execute(_FUNDS, asked)
    funds = {row.fund_id: _Fund(row, by_fund[row.fund_id]) for row in rows}
    for row in await conn.execute(_CAME, asked):
        funds[row.fund_id].came.append(row)
    for row in await conn.execute(_MATCHED, asked):
        funds[row.fund_id].matched[row.match_id, row.made_by].append(row)
    for row in await conn.execute(_OPEN, asked):
        funds[row.fund_id].open[row.side].append(row)
    return list(funds.values())


# --- what it says -------------------------------------------------------------------------------


def _row(fund: _Fund, bound: Mapping[str, Any]) -> dict[str, Any]:
    """Of `night_certificates`."""
    details = _details(fund, bound["day"])
    content = details.content()
    entry = _certificate(fund, bound, details, content).entry()
    return {
        "fund_id": fund.row.fund_id,
        "number": fund.row.number,
        "run_id": bound["run"],
        "date": bound["day"],
        "entry": entry,
        "details": content,
        "created_at": bound["now"],
    }


def _certificate(
    fund: _Fund, bound: Mapping[str, Any], details: Details, content: bytes
) -> Certificate:
    ends = dict(zip(fund.row.accounts, fund.row.ends, strict=True))
    return Certificate(
        fund=fund.name,
        number=str(fund.row.number),
        date=bound["day"].isoformat(),
        run=f"reconciliationRuns/{bound['run']}",
        rules=fund.row.rules_version,
        previous=fund.row.previous,
        currency=fund.row.currency,
        accounts=tuple(_account(proof, ends[proof.account_id]) for proof in fund.proofs),
        totals=details.totals(),
        details_sha256=sha256(content).hexdigest(),
    )


def _account(proof: Proof, ends: str) -> AccountProof:
    figures = ("bank_closing", "ledger", "open_bank", "open_ledger", "difference")
    return AccountProof(
        account=proof.account_id,
        ends=ends,
        proved="yes" if proof.proved else "no",
        findings=tuple(dict.fromkeys(each.partition(":")[0] for each in proof.findings)),
        proof=proof.digest,
        **{f"{name}_minor": str(getattr(proof, f"{name}_minor")) for name in figures},
    )


def _details(fund: _Fund, day: date) -> Details:
    return Details(
        fund=fund.name,
        number=str(fund.row.number),
        came=tuple(_entry(fund, row) for row in fund.came),
        matches=tuple(_match(fund, parts) for parts in fund.matched.values()),
        open_entries=tuple(_open(fund, row, day) for row in fund.open["bank"]),
        open_lines=tuple(_open(fund, row, day) for row in fund.open["ledger"]),
    )


def _entry(fund: _Fund, row: Row) -> BankEntry:
    return BankEntry(
        id=fund.public_id("bank", row.bank_entry_id),
        account=row.account_id,
        date=row.booking_date.isoformat(),
        amount_minor=str(row.amount_minor),
    )


def _match(fund: _Fund, members: Sequence[Row]) -> Match:
    parts: dict[str, list[Part]] = {"bank": [], "ledger": []}
    for row in members:
        name = fund.public_id(row.side, row.member_id)
        parts[row.side].append(Part(id=name, amount_minor=str(row.allocated_minor)))
    return Match(rule=members[0].rule, entries=tuple(parts["bank"]), lines=tuple(parts["ledger"]))


def _open(fund: _Fund, row: Row, day: date) -> OpenItem:
    return OpenItem(
        id=fund.public_id(row.side, row.member_id),
        account=row.account_id,
        date=row.date.isoformat(),
        amount_minor=str(row.amount_minor),
        days=str(max(0, (day - row.date).days)),
        kind=row.kind,
    )


# --- what is read -------------------------------------------------------------------------------

_NUMBERED: Final = sql("""
    INSERT INTO night_numbers
    SELECT given.fund_id, coalesce(last.number, 0) + 1, last.created_at - interval '1 hour'
    FROM unnest(:funds) AS given (fund_id)
    LEFT JOIN LATERAL (
        SELECT number, created_at FROM night_certificates c WHERE c.fund_id = given.fund_id
        ORDER BY number DESC LIMIT 1
    ) last ON true
""")
"""A decision noted an hour before the last certificate may have been uncommitted when that was
made; told twice it does no harm."""
_FUNDS: Final = sql("""
    SELECT n.fund_id, n.number, f.alias_salt, f.currency, runs.rules_version,
        coalesce(encode(sha256(c.entry), 'hex'), '') AS previous,
        held.accounts, held.ends
    FROM night_numbers n JOIN funds f ON f.fund_id = n.fund_id
    JOIN runs ON runs.run_id = :run
    LEFT JOIN night_certificates c ON c.fund_id = n.fund_id AND c.number = n.number - 1
    CROSS JOIN LATERAL (
        SELECT array_agg(account_id) AS accounts, array_agg(right(account_number, 4)) AS ends
        FROM bank_accounts a WHERE a.fund_id = n.fund_id
    ) held
    ORDER BY n.fund_id
""")
_CAME: Final = sql("""
    WITH told AS (
        UPDATE statements s SET certificate_number = n.number FROM night_numbers n
        WHERE s.fund_id = n.fund_id AND s.certificate_number IS NULL AND s.end_date <= :day
            AND s.fund_id BETWEEN :first AND :last
        RETURNING s.fund_id, s.statement_key
    )
    SELECT e.fund_id, e.bank_entry_id, e.account_id, e.booking_date, e.amount_minor
    FROM told JOIN bank_entries e USING (fund_id, statement_key)
    WHERE e.fund_id BETWEEN :first AND :last
    ORDER BY e.fund_id, e.booking_date, e.bank_entry_id
""")
_MATCHED: Final = sql("""
    WITH subject AS (
        SELECT e.fund_id, e.bank_entry_id AS member_id FROM night_numbers n
        JOIN statements s ON s.fund_id = n.fund_id AND s.certificate_number = n.number
        JOIN bank_entries e ON e.fund_id = s.fund_id AND e.statement_key = s.statement_key
        WHERE s.fund_id BETWEEN :first AND :last AND e.fund_id BETWEEN :first AND :last
        UNION
        SELECT m.fund_id, m.member_id FROM night_members m JOIN night_numbers USING (fund_id)
        WHERE m.kind = 'match' AND m.side = 'bank'
        UNION
        SELECT own.fund_id, own.member_id FROM night_numbers n
        JOIN resolutions r ON r.fund_id = n.fund_id AND r.decided_at > n.since
        JOIN match_members own ON own.fund_id = r.fund_id AND own.match_id = r.match_id
            AND own.made_by = r.resolution_id AND own.side = 'bank'
        WHERE r.fund_id BETWEEN :first AND :last
    ), linked AS (
        SELECT DISTINCT m.fund_id, m.match_id, m.made_by, m.rule
        FROM subject s
        JOIN match_members own ON own.fund_id = s.fund_id AND own.side = 'bank'
            AND own.member_id = s.member_id
        JOIN matches m ON m.fund_id = own.fund_id AND m.match_id = own.match_id
            AND m.made_by = own.made_by AND m.undone_at IS NULL
        WHERE own.fund_id BETWEEN :first AND :last AND m.fund_id BETWEEN :first AND :last
    )
    SELECT l.fund_id, l.match_id, l.made_by, l.rule, own.side, own.member_id, own.allocated_minor
    FROM linked l JOIN match_members own USING (fund_id, match_id, made_by)
    WHERE own.fund_id BETWEEN :first AND :last
    ORDER BY l.fund_id, l.match_id, l.made_by, own.side, own.member_id
""")
_OPEN: Final = sql("""
    WITH kinds AS (
        SELECT m.fund_id, m.side, m.member_id, min(c.kind) AS kind
        FROM night_members m
        JOIN night_cases c ON c.fund_id = m.fund_id AND c.case_id = m.id
        WHERE m.kind = 'case' GROUP BY m.fund_id, m.side, m.member_id
    ), open AS (
        SELECT e.fund_id, 'bank' AS side, e.bank_entry_id AS member_id, e.account_id,
            e.booking_date AS date, e.amount_minor - e.taken_minor AS amount_minor
        FROM bank_entries e JOIN statements s USING (fund_id, statement_key)
        WHERE e.match_id = '' AND s.certificate_number IS NOT NULL
            AND e.fund_id BETWEEN :first AND :last
        UNION ALL
        SELECT fund_id, 'ledger', line_number::text, account_id, effective_date,
            amount_minor - taken_minor
        FROM disclosed_lines
        WHERE match_id = '' AND effective_date <= :day AND fund_id BETWEEN :first AND :last
    )
    SELECT open.*, coalesce(kinds.kind, '') AS kind
    FROM night_numbers JOIN open USING (fund_id)
    LEFT JOIN kinds USING (fund_id, side, member_id)
    ORDER BY open.fund_id, open.side, open.date, length(open.member_id), open.member_id
""")
