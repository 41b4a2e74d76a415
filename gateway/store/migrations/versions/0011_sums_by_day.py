"""What a fund with a million lines is asked about most: its past from sums, its pages by look-ups

The database keeps the sums itself, in the statement that adds or changes the rows they are the sums
of: whatever writes lines or postings, now or later, they cannot part from them. The application may
read them and nothing else.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_EVERYTHING = "current_setting('xinyi.party', true) = '*'"
_BY_FUND = (
    *("balance_proofs", "bank_accounts", "bank_entries", "batch_envelopes", "batches", "books"),
    *("budget_lines", "case_events", "case_members", "cases", "disclosed_lines", "entries"),
    *("inquiries", "match_members", "matches", "payment_events", "payment_signatures", "payments"),
    *("postings", "resends", "resolution_members", "resolutions", "signing_policies"),
    *("statements", "transmission_payments", "transmissions", "vouchers"),
)
_SUMS = ("bank_days", "book_days", "category_months")

# A line that was voided together with its correction was closed without a value date of the bank's.
_CLOSED_ON = "coalesce(bank_value_date, match_date)"
_RECEIVED = "(amount_minor > 0) = (corrects IS NULL)"


def _book_days(booked: str, confirmed: str) -> str:
    """Adds lines to the day they count for, and to the first day on which they also are confirmed.

    Args:
        booked: rows of lines whose amounts are new.
        confirmed: rows of lines and `sign`: 1 as the bank's word is now, -1 as it was before.
    """
    return f"""
        INSERT INTO public.book_days AS d
            (fund_id, book, day, booked_minor, settled_minor, first_line, last_line)
        SELECT fund_id, book, day, sum(booked), sum(settled), min(number), max(number)
        FROM (
            SELECT fund_id, book, effective_date AS day, amount_minor AS booked, 0 AS settled,
                line_number AS number
            FROM {booked}
            UNION ALL
            SELECT fund_id, book, greatest(effective_date, {_CLOSED_ON}), 0, sign * amount_minor,
                NULL
            FROM {confirmed} WHERE {_CLOSED_ON} IS NOT NULL
        ) moved
        GROUP BY fund_id, book, day HAVING count(number) > 0 OR sum(settled) <> 0
        ORDER BY fund_id, book, day
        ON CONFLICT (fund_id, book, day) DO UPDATE SET
            booked_minor = d.booked_minor + excluded.booked_minor,
            settled_minor = d.settled_minor + excluded.settled_minor,
            first_line = least(d.first_line, excluded.first_line),
            last_line = greatest(d.last_line, excluded.last_line)
    """


def _category_months(lines: str) -> str:
    return f"""
        INSERT INTO public.category_months AS m
            (fund_id, month, disclosed_on, book, category, income_minor, cost_minor)
        SELECT fund_id, date_trunc('month', effective_date)::date AS month,
            (disclosed_at AT TIME ZONE 'Asia/Shanghai')::date AS disclosed_on, book, category,
            coalesce(sum(amount_minor) FILTER (WHERE {_RECEIVED}), 0),
            coalesce(sum(-amount_minor) FILTER (WHERE NOT ({_RECEIVED})), 0)
        FROM {lines}
        GROUP BY fund_id, month, disclosed_on, book, category
        ORDER BY fund_id, month, disclosed_on, book, category
        ON CONFLICT (fund_id, month, disclosed_on, book, category) DO UPDATE SET
            income_minor = m.income_minor + excluded.income_minor,
            cost_minor = m.cost_minor + excluded.cost_minor
    """


def _bank_days(postings: str) -> str:
    return f"""
        INSERT INTO public.bank_days AS d (fund_id, day, moved_minor)
        SELECT fund_id, effective_date, sum(amount_minor)
        FROM {postings} WHERE account_kind = 'BANK'
        GROUP BY fund_id, effective_date ORDER BY fund_id, effective_date
        ON CONFLICT (fund_id, day) DO UPDATE SET moved_minor = d.moved_minor + excluded.moved_minor
    """


def upgrade() -> None:
    # Of every fund, also where the owner of the tables is bound by the policies.
    op.execute("SELECT set_config('xinyi.party', '*', true)")
    _create()
    signed = "(SELECT *, 1 AS sign FROM public.disclosed_lines) l"
    op.execute(_book_days("public.disclosed_lines", signed))
    op.execute(_category_months("public.disclosed_lines"))
    op.execute(_bank_days("public.postings"))
    _keep()
    _guard()
    _index()


def _guard() -> None:
    for table in _SUMS:
        op.execute(f"GRANT SELECT ON {table} TO xinyi_app")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        # A transaction that was narrowed to a fund, which was looked up then.
        narrowed = f"{table}.fund_id = current_setting('xinyi.fund', true)"
        op.execute(f"CREATE POLICY own_estates ON {table} USING ({narrowed} OR {_own(table)})")
    for table in _BY_FUND:
        rule = _own(table)
        op.execute(f"ALTER POLICY own_estates ON {table} USING ({rule}) WITH CHECK ({rule})")


def _own(table: str) -> str:
    """Whether a row's fund is the reader's.

    `OFFSET 0` keeps the planner from making a hash of all that are: for one page of a large fund
    it would go through the 100,000 estates of a trustee, because it reckons with the whole fund.
    """
    own = f"EXISTS (SELECT FROM funds f WHERE f.fund_id = {table}.fund_id OFFSET 0)"
    return f"{_EVERYTHING} OR {own}"


def _index() -> None:
    """Few lines are pending, taken back, or of the other book: pages of them pass by no others."""
    for name, which in (
        ("pending", "NOT settled AND corrected_by IS NULL"),
        ("corrected", "corrected_by IS NOT NULL"),
        ("maintenance", "book = 'MAINTENANCE'"),
    ):
        op.create_index(
            f"ix_disclosed_lines_{name}",
            "disclosed_lines",
            ["fund_id", "line_number"],
            postgresql_where=sa.text(which),
        )


def _create() -> None:
    op.create_table(
        "bank_days",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("moved_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"], name=op.f("fk_bank_days_fund_id")),
        sa.PrimaryKeyConstraint("fund_id", "day", name=op.f("pk_bank_days")),
    )
    op.create_table(
        "book_days",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("booked_minor", sa.BigInteger(), nullable=False),
        sa.Column("settled_minor", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=True),
        sa.Column("last_line", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"], name=op.f("fk_book_days_fund_id")),
        sa.PrimaryKeyConstraint("fund_id", "book", "day", name=op.f("pk_book_days")),
    )
    op.create_table(
        "category_months",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("disclosed_on", sa.Date(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("income_minor", sa.BigInteger(), nullable=False),
        sa.Column("cost_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_category_months_fund_id")
        ),
        sa.PrimaryKeyConstraint(
            *("fund_id", "month", "disclosed_on", "book", "category"),
            name=op.f("pk_category_months"),
        ),
    )


def _keep() -> None:
    """One addition a statement and sum, however many rows the statement has."""
    signed = "(SELECT *, 1 AS sign FROM added) l"
    body = f"{_book_days('added', signed)}; {_category_months('added')}"
    _trigger("sum_new_lines", "disclosed_lines", "INSERT", "NEW TABLE AS added", body)
    both = """(
        SELECT *, 1 AS sign FROM after UNION ALL SELECT *, -1 FROM before
    ) l"""
    # An update only ever changes what the bank has said: amounts and days are never touched.
    none = "after WHERE false"
    tables = "OLD TABLE AS before NEW TABLE AS after"
    _trigger("sum_settled_lines", "disclosed_lines", "UPDATE", tables, _book_days(none, both))
    body = _bank_days("added")
    _trigger("sum_new_postings", "postings", "INSERT", "NEW TABLE AS added", body)


def _trigger(name: str, table: str, event: str, transition: str, body: str) -> None:
    op.execute(f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog SET xinyi.party = '*' AS $$
        BEGIN
            {body};
            RETURN NULL;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING {transition}
        FOR EACH STATEMENT EXECUTE FUNCTION {name}()
    """)
