"""Personal data of a line erased: nothing of it may be written but that it is gone"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_EVERYTHING = "current_setting('xinyi.party', true) = '*'"
_COLUMNS = "salt, summary, counterparty_name, counterparty_account, correction_reason"


def upgrade() -> None:
    op.create_table(
        "line_erasures",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("line_number", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "line_number", name=op.f("pk_line_erasures")),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_line_erasures_fund_id")
        ),
        sa.ForeignKeyConstraint(
            ["fund_id", "line_number"],
            ["disclosed_lines.fund_id", "disclosed_lines.line_number"],
            name=op.f("fk_line_erasures_fund_id_line_number"),
        ),
    )
    own = "EXISTS (SELECT FROM funds f WHERE f.fund_id = line_erasures.fund_id OFFSET 0)"
    op.execute("GRANT SELECT, INSERT ON line_erasures TO xinyi_app")
    op.execute("ALTER TABLE line_erasures ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE line_erasures FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY readable ON line_erasures FOR SELECT USING ({_EVERYTHING} OR {own})")
    op.execute(f"CREATE POLICY added ON line_erasures FOR INSERT WITH CHECK ({_EVERYTHING})")
    _let_nothing_but_erase()


def _let_nothing_but_erase() -> None:
    """The columns may be emptied, together, of a line whose erasure is on record."""
    op.execute(f"GRANT UPDATE ({_COLUMNS}) ON disclosed_lines TO xinyi_app")
    op.execute("""
        CREATE FUNCTION only_erased() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.salt IS NOT NULL OR (NEW.summary, NEW.counterparty_name,
                NEW.counterparty_account, NEW.correction_reason) <> ('', '', '', '')
                OR NOT EXISTS (SELECT FROM line_erasures e WHERE e.fund_id = NEW.fund_id
                    AND e.line_number = NEW.line_number)
            THEN RAISE EXCEPTION 'what was disclosed never changes; it can only be erased'
                USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER only_erased BEFORE UPDATE OF {_COLUMNS} ON disclosed_lines
        FOR EACH ROW EXECUTE FUNCTION only_erased()
    """)
