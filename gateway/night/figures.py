"""What bank and ledger say of an account at the end of a day: the terms of its balance proof.

One query for both who ask: the night, of every account and its day, from the snapshot; and who
proves an earlier day again, of a few accounts, from the database as it is now.
"""

from __future__ import annotations

from typing import Final

NIGHT: Final = """
    SELECT fund_id, account_id, CAST(:day AS date) AS day FROM bank_accounts
    WHERE opening_date <= :day AND fund_id BETWEEN :first AND :last
"""
"""Every account of a span of funds that the gateway had taken over by then."""

SOME: Final = """
    SELECT * FROM unnest(CAST(:funds AS text[]), CAST(:accounts AS text[]), CAST(:days AS date[]))
        AS given (fund_id, account_id, day)
"""
"""Accounts and days one by one."""

_STATEMENTS: Final = """
    SELECT count(*) AS statements, max(end_date) AS covered_until,
        (array_agg(closing_minor ORDER BY place DESC))[1] AS closing_minor,
        (array_agg(opening_minor ORDER BY place DESC))[1] AS last_opening_minor,
        (array_agg(statement_key ORDER BY place DESC))[1] AS last_key,
        min(start_date) FILTER (WHERE opening_minor <> before_minor) AS broken_on,
        min(end_date) FILTER (WHERE occurrence > 1 AND opening_minor <> closing_minor)
            AS repeated_on
    FROM (
        SELECT s.*, row_number() OVER chain AS place,
            lag(closing_minor, 1, a.opening_minor) OVER chain AS before_minor,
            row_number() OVER (
                PARTITION BY start_date, end_date, s.opening_minor, closing_minor, entry_count
                ORDER BY created_at, statement_key
            ) AS occurrence
        FROM statements s
        WHERE s.fund_id = p.fund_id AND s.account_id = p.account_id
            AND s.end_date BETWEEN a.opening_date AND p.day
        WINDOW chain AS (ORDER BY end_date, created_at, statement_key)
    ) chained
"""
"""How the statements up to the day follow one another; the order is that of `bank.statements`."""

_LATE: Final = """
    SELECT coalesce(sum(amount_minor) FILTER (WHERE side = 'bank'), 0)::bigint AS late_bank_minor,
        coalesce(sum(amount_minor) FILTER (WHERE side = 'ledger'), 0)::bigint AS late_ledger_minor
    FROM (
        SELECT DISTINCT own.side, own.member_id, own.match_id, own.made_by,
            own.allocated_minor AS amount_minor
        FROM (
            SELECT 'bank' AS side, bank_entry_id AS member_id FROM bank_entries
            WHERE fund_id = p.fund_id AND booking_date > p.day
            UNION ALL
            SELECT 'ledger', line_number::text FROM disclosed_lines
            WHERE fund_id = p.fund_id AND effective_date > p.day
        ) later
        JOIN match_members other ON other.fund_id = p.fund_id
            AND other.side = later.side AND other.member_id = later.member_id
        JOIN matches m ON m.fund_id = p.fund_id AND m.match_id = other.match_id
            AND m.made_by = other.made_by AND m.undone_at IS NULL
        JOIN match_members own ON own.fund_id = p.fund_id AND own.match_id = m.match_id
            AND own.made_by = m.made_by AND own.account_id = p.account_id
        LEFT JOIN bank_entries e ON own.side = 'bank'
            AND e.fund_id = p.fund_id AND e.bank_entry_id = own.member_id
        LEFT JOIN disclosed_lines l ON l.fund_id = p.fund_id
            AND l.line_number = CASE own.side WHEN 'ledger' THEN own.member_id::bigint END
        WHERE coalesce(e.booking_date, l.effective_date) <= p.day
        UNION ALL
        SELECT 'ledger', l.line_number::text, v.match_id, '', l.amount_minor
        FROM disclosed_lines v JOIN disclosed_lines l ON l.fund_id = v.fund_id
            AND l.line_number IN (v.corrects, v.corrected_by) AND l.match_id = v.match_id
        WHERE v.fund_id = p.fund_id AND v.effective_date > p.day AND v.match_id LIKE 'void-%'
            AND l.effective_date <= p.day AND l.account_id = p.account_id
    ) half
"""
"""Rows of the day whose other half counts for a later one: they were open that evening."""


def figures(accounts: str) -> str:
    """The query for accounts as `NIGHT` or `SOME` names them.

    Columns: fund_id, account_id, day, currency, opening_minor (what the bank had when the gateway
    took the account over), ledger_minor (the sum of its lines), covered_until and closing_minor
    (of the last statement, null without any), inconsistent (that statement's entries do not make
    its closing balance), broken_on (first day of the first statement that does not open with the
    closing balance before it), repeated_on (last day of the first statement that is there twice),
    open_bank_minor and open_ledger_minor (what is open at the moment of the query), late_bank_minor
    and late_ledger_minor (what was open that evening only because its other half came later).
    """
    return f"""
        WITH p AS ({accounts})
        SELECT p.fund_id, p.account_id, p.day, f.currency, a.opening_minor,
            ledger.amount_minor AS ledger_minor, gate.covered_until, gate.closing_minor,
            coalesce(gate.last_opening_minor + moved.amount_minor <> gate.closing_minor, false)
                AS inconsistent,
            gate.broken_on, gate.repeated_on,
            open_bank.amount_minor AS open_bank_minor,
            open_ledger.amount_minor AS open_ledger_minor,
            late.late_bank_minor, late.late_ledger_minor
        FROM p
        JOIN funds f ON f.fund_id = p.fund_id
        JOIN bank_accounts a ON a.fund_id = p.fund_id AND a.account_id = p.account_id
        CROSS JOIN LATERAL ({_sum("disclosed_lines", "effective_date")}) ledger
        CROSS JOIN LATERAL ({_STATEMENTS}) gate
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(e.amount_minor), 0)::bigint AS amount_minor FROM bank_entries e
            WHERE e.fund_id = p.fund_id AND e.statement_key = gate.last_key
        ) moved
        CROSS JOIN LATERAL ({_sum("bank_entries", "booking_date", open_only=True)}) open_bank
        CROSS JOIN LATERAL ({_sum("disclosed_lines", "effective_date", open_only=True)}) open_ledger
        CROSS JOIN LATERAL ({_LATE}) late
        ORDER BY p.fund_id, p.account_id, p.day
    """  # noqa: S608 - of constants


def _sum(table: str, day: str, *, open_only: bool = False) -> str:
    amount = "r.amount_minor - r.taken_minor" if open_only else "r.amount_minor"
    which = "AND r.match_id = ''" if open_only else ""
    return f"""
        SELECT coalesce(sum({amount}), 0)::bigint AS amount_minor FROM {table} r
        WHERE r.fund_id = p.fund_id AND r.account_id = p.account_id AND r.{day} <= p.day {which}
    """  # noqa: S608 - of constants
