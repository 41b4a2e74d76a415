"""Groups of calls in one transaction, and batches signed by one envelope"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_EVERYTHING = "current_setting('xinyi.party', true) = '*'"
# Several parties, with commas between, where their calls are written together.
_MINE = "ANY (string_to_array(current_setting('xinyi.party', true), ','))"
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
    rule = f"{_EVERYTHING} OR fund_id IN (SELECT f.fund_id FROM funds f)"
    op.execute(f"CREATE POLICY own_estates ON batch_envelopes USING ({rule}) WITH CHECK ({rule})")


def _widen_scopes() -> None:
    """The policies that name the calling party let a group of parties in; the others follow."""
    own_estates = (
        f"{_EVERYTHING} OR estate_id IN (SELECT a.estate_id FROM appointments a"
        f" WHERE a.party_id = {_MINE} AND a.ended_at IS NULL)"
    )
    own_party = f"{_EVERYTHING} OR party_id = {_MINE}"
    for table in ("estates", "funds"):
        op.execute(
            f"ALTER POLICY own_estates ON {table} USING ({own_estates}) WITH CHECK ({own_estates})"
        )
    op.execute(f"ALTER POLICY own_estates ON appointments USING ({own_party})")
    op.execute(f"ALTER POLICY own_estates ON requests USING ({own_party}) WITH CHECK ({own_party})")
    for table in _REGISTER:
        op.execute(
            f"ALTER POLICY own_party ON {table} USING ({own_party}) WITH CHECK ({own_party})"
        )


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
