"""The night's certificate of each fund, and which statements it was that it told of"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_EVERYTHING = "current_setting('xinyi.party', true) = '*'"


def upgrade() -> None:
    op.create_table(
        "night_certificates",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("logged", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "number", name=op.f("pk_night_certificates")),
        sa.UniqueConstraint("fund_id", "run_id", name=op.f("uq_night_certificates_fund_id_run_id")),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_night_certificates_fund_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_night_certificates_run_id")
        ),
    )
    op.create_index(
        "ix_night_certificates_unlogged",
        "night_certificates",
        ["fund_id", "number"],
        postgresql_where=sa.text("NOT logged"),
    )
    _guard()
    op.add_column("statements", sa.Column("certificate_number", sa.BigInteger(), nullable=True))
    op.execute("GRANT UPDATE (certificate_number) ON statements TO xinyi_app")
    op.create_index(
        "ix_statements_uncertified",
        "statements",
        ["fund_id"],
        postgresql_where=sa.text("certificate_number IS NULL"),
    )
    op.create_index(
        op.f("ix_bank_entries_fund_id_statement_key"), "bank_entries", ["fund_id", "statement_key"]
    )
    _number_both_kinds()


def _guard() -> None:
    """What was certified stays; nothing of it changes but that the log has it."""
    own = "EXISTS (SELECT FROM funds f WHERE f.fund_id = night_certificates.fund_id OFFSET 0)"
    op.execute("GRANT SELECT, INSERT, UPDATE (logged) ON night_certificates TO xinyi_app")
    op.execute("ALTER TABLE night_certificates ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE night_certificates FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY readable ON night_certificates FOR SELECT USING ({_EVERYTHING} OR {own})"
    )
    op.execute(f"CREATE POLICY added ON night_certificates FOR INSERT WITH CHECK ({_EVERYTHING})")
    op.execute(f"CREATE POLICY logged ON night_certificates FOR UPDATE USING ({_EVERYTHING})")


def _number_both_kinds() -> None:
    """An entry of the log has the number of its line, or of its certificate."""
    op.alter_column("log_entries", "line_number", new_column_name="number")
    op.drop_index("uq_log_entries_line", "log_entries")
    op.create_index(
        "uq_log_entries_fund_id_number_kind",
        "log_entries",
        ["fund_id", "number", "kind"],
        unique=True,
    )
