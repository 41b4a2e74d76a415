"""The log of what is disclosed"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0008"
down_revision = "0007"

_TABLES = ("logs", "log_entries", "log_tiles", "checkpoints", "cosignatures")
_MUTABLE = {
    "logs": "size",
    "log_position": "transaction_id, fund_id, line_number",
    "log_tiles": "hashes",
    "disclosed_lines": "salt",
}
_EVERYTHING = "current_setting('xinyi.party', true) = '*'"


def upgrade() -> None:
    _salt_lines()
    _create_tables()
    _guard()


def _salt_lines() -> None:
    """Lines get a salt, and an order in which they can be read without missing one."""
    op.add_column(
        "disclosed_lines",
        sa.Column("salt", pg.UUID(), server_default=sa.text("gen_random_uuid()"), nullable=True),
    )
    op.add_column(
        "disclosed_lines",
        sa.Column(
            "transaction_id",
            sa.BigInteger(),
            server_default=sa.text("(pg_current_xact_id()::text)::bigint"),
            nullable=False,
        ),
    )
    name = op.f("ix_disclosed_lines_transaction_id_fund_id_line_number")
    op.create_index(name, "disclosed_lines", ["transaction_id", "fund_id", "line_number"])


def _create_tables() -> None:
    op.create_table(
        "log_position",
        sa.Column("singleton", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fund_id", sa.Text(), server_default="", nullable=False),
        sa.Column("line_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_log_position_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_log_position")),
    )
    op.execute("INSERT INTO log_position DEFAULT VALUES")
    log = ["log_id"], ["logs.log_id"]
    op.create_table(
        "logs",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("log_id", name=op.f("pk_logs")),
        sa.UniqueConstraint("origin", name=op.f("uq_logs_origin")),
        sa.ForeignKeyConstraint(["log_id"], ["parties.party_id"], name=op.f("fk_logs_log_id")),
    )
    op.create_table(
        "log_entries",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("entry_index", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fund_id", sa.Text(), server_default="", nullable=False),
        sa.Column("line_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('LINE', 'CERTIFICATE')", name=op.f("ck_log_entries_kind")),
        sa.PrimaryKeyConstraint("log_id", "entry_index", name=op.f("pk_log_entries")),
        sa.ForeignKeyConstraint(*log, name=op.f("fk_log_entries_log_id")),
    )
    op.create_index(
        "uq_log_entries_line",
        "log_entries",
        ["fund_id", "line_number"],
        unique=True,
        postgresql_where=sa.text("kind = 'LINE'"),
    )
    op.create_table(
        "log_tiles",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("tile_index", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "level", "tile_index", name=op.f("pk_log_tiles")),
        sa.ForeignKeyConstraint(*log, name=op.f("fk_log_tiles_log_id")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "size", name=op.f("pk_checkpoints")),
        sa.ForeignKeyConstraint(*log, name=op.f("fk_checkpoints_log_id")),
    )
    op.create_table(
        "cosignatures",
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "size", "witness", name=op.f("pk_cosignatures")),
        sa.ForeignKeyConstraint(
            ["log_id", "size"],
            ["checkpoints.log_id", "checkpoints.size"],
            name=op.f("fk_cosignatures_log_id_size"),
        ),
    )


def _guard() -> None:
    """Public, so read by all; written by the gateway alone, and what is written stays."""
    for table in _TABLES:
        op.execute(f"GRANT SELECT, INSERT ON {table} TO xinyi_app")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY readable ON {table} FOR SELECT USING (true)")
        op.execute(f"CREATE POLICY added ON {table} FOR INSERT WITH CHECK ({_EVERYTHING})")
    op.execute("GRANT SELECT ON log_position TO xinyi_app")
    op.execute("ALTER TABLE log_position ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE log_position FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_gateway ON log_position USING ({_EVERYTHING})")
    for table in ("logs", "log_tiles"):
        op.execute(
            f"CREATE POLICY advanced ON {table} FOR UPDATE"
            f" USING ({_EVERYTHING}) WITH CHECK ({_EVERYTHING})"
        )
    for table, columns in _MUTABLE.items():
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO xinyi_app")
