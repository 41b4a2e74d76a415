"""Groups of calls in one transaction, and batches signed by one envelope"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_EVERYTHING = "current_setting('xinyi.party', true) = '*'"
# Several parties, with commas between, where their calls are written together.
_MINE = "ANY (string_to_array(current_setting('xinyi.party', true), ','))"
_BY_FUND = (
    "balance_proofs",
    "bank_accounts",
    "bank_entries",
    "batch_envelopes",
    "batches",
    "books",
    "budget_lines",
    "case_events",
    "case_members",
    "cases",
    "disclosed_lines",
    "entries",
    "inquiries",
    "matches",
    "payment_events",
    "payment_signatures",
    "payments",
    "postings",
    "resends",
    "resolution_members",
    "resolutions",
    "signing_policies",
    "statements",
    "transmission_payments",
    "transmissions",
    "vouchers",
)
_REGISTER = ("parties", "persons", "certificates", "public_keys", "mandates")


def upgrade() -> None:
    _sign_batches()
    _widen_scopes()
    _show_appointments()


def _sign_batches() -> None:
    op.create_table(
        "batch_envelopes",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_batch_envelopes_fund_id")
        ),
        sa.PrimaryKeyConstraint("fund_id", "sha256", name=op.f("pk_batch_envelopes")),
    )
    op.add_column(
        "payment_signatures",
        sa.Column("batch_sha256", sa.Text(), server_default="", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_payment_signatures_covered"),
        "payment_signatures",
        "(envelope = '') <> (batch_sha256 = '')",
    )
    op.execute("GRANT SELECT, INSERT ON batch_envelopes TO xinyi_app")
    op.execute("ALTER TABLE batch_envelopes ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE batch_envelopes FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_estates ON batch_envelopes USING ({_EVERYTHING})")


def _widen_scopes() -> None:
    """Policies let a group of parties in, and look at the rows at hand instead of at all funds.

    As a list (``fund_id IN (SELECT …)``) the caller's funds were read whole by every statement:
    100 ms a statement at 20,000 funds. As EXISTS it is one look into an index where rows are few,
    and the list where they are many.
    """
    own_party = f"{_EVERYTHING} OR party_id = {_MINE}"
    op.execute(f"ALTER POLICY own_estates ON appointments USING ({own_party})")
    _alter("own_estates", "requests", own_party)
    for table in _REGISTER:
        _alter("own_party", table, own_party)
    for table in ("estates", "funds"):
        appointed = (
            f"SELECT FROM appointments a WHERE a.estate_id = {table}.estate_id"
            f" AND a.party_id = {_MINE} AND a.ended_at IS NULL"
        )
        _alter("own_estates", table, f"{_EVERYTHING} OR EXISTS ({appointed})")
    for table in _BY_FUND:
        own_fund = f"SELECT FROM funds f WHERE f.fund_id = {table}.fund_id"
        _alter("own_estates", table, f"{_EVERYTHING} OR EXISTS ({own_fund})")


def _alter(policy: str, table: str, rule: str) -> None:
    op.execute(f"ALTER POLICY {policy} ON {table} USING ({rule}) WITH CHECK ({rule})")


def _show_appointments() -> None:
    """`appointed_parties` of many funds at once."""
    op.execute("""
        CREATE FUNCTION appointed(wanted text[]) RETURNS TABLE (fund_id text, party_id text)
        LANGUAGE sql STABLE SECURITY DEFINER
        SET search_path = pg_catalog SET xinyi.party = '*' AS $$
            SELECT f.fund_id, a.party_id
            FROM public.funds f JOIN public.appointments a USING (estate_id)
            WHERE f.fund_id = ANY(wanted) AND a.ended_at IS NULL
        $$
    """)
