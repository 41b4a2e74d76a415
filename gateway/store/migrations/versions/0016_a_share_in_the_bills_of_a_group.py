"""What an estate's rules say of its share in bills that it has with others"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column(
        "disclosure_rules",
        sa.Column("share_basis", sa.Text(), server_default="", nullable=False),
    )
    op.add_column(
        "disclosure_rules",
        sa.Column("share_weight", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_disclosure_rules_share"),
        "disclosure_rules",
        "share_basis IN ('', 'AREA', 'HOUSEHOLDS', 'EQUAL')"
        " AND (share_basis = '') = (share_weight = 0) AND share_weight >= 0",
    )
