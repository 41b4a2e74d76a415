"""What everybody may see of a voucher: pictures of its pages, with black over what is private"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0014"
down_revision = "0013"

_TABLE = "voucher_renditions"


def upgrade() -> None:
    op.create_table(
        _TABLE,
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rendition_sha256", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("page_sizes", pg.ARRAY(sa.Integer()), nullable=False),
        sa.Column("regions", pg.JSONB(), nullable=False),
        sa.Column("numbers_masked", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("party_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_voucher_renditions_fund_id")
        ),
        sa.ForeignKeyConstraint(
            ["fund_id", "sha256"],
            ["vouchers.fund_id", "vouchers.sha256"],
            name=op.f("fk_voucher_renditions_fund_id_sha256"),
        ),
        sa.PrimaryKeyConstraint("fund_id", "sha256", "number", name=op.f("pk_voucher_renditions")),
    )
    # Pictures are packed already: PostgreSQL need not try, and a page is read without the others.
    op.execute(f"ALTER TABLE {_TABLE} ALTER COLUMN content SET STORAGE EXTERNAL")
    _guard()


def _guard() -> None:
    """Only ever added to: what was shown stays on record when another takes its place."""
    own = f"EXISTS (SELECT FROM funds f WHERE f.fund_id = {_TABLE}.fund_id OFFSET 0)"
    rule = f"current_setting('xinyi.party', true) = '*' OR {own}"
    op.execute(f"GRANT SELECT, INSERT ON {_TABLE} TO xinyi_app")
    op.execute(f"ALTER TABLE {_TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {_TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_estates ON {_TABLE} USING ({rule}) WITH CHECK ({rule})")
