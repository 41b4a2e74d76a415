"""Which process writes which funds, where several serve one port"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_SLOTS = 17
"""Sixteen of funds, and one of the work between the calls."""
_EVERYTHING = "current_setting('xinyi.party', true) = '*'"


def upgrade() -> None:
    op.create_table(
        "writer_leases",
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "expires_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_writer_leases")),
    )
    op.execute(f"INSERT INTO writer_leases (slot) SELECT generate_series(0, {_SLOTS - 1})")
    held = "owner, address, fence, expires_at"
    op.execute(f"GRANT SELECT, UPDATE ({held}) ON writer_leases TO xinyi_app")
    op.execute("ALTER TABLE writer_leases ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE writer_leases FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY of_gateway ON writer_leases"
        f" USING ({_EVERYTHING}) WITH CHECK ({_EVERYTHING})"
    )
