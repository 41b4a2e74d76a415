"""The key by which a log is signed by SM2 as well"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("logs", sa.Column("sm2_key", sa.Text(), server_default="", nullable=False))
    op.execute("GRANT UPDATE (sm2_key) ON logs TO xinyi_app")
    op.execute("""
        CREATE FUNCTION only_begun() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.sm2_key NOT IN ('', NEW.sm2_key)
            THEN RAISE EXCEPTION 'a log keeps its keys for ever'
                USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER only_begun BEFORE UPDATE OF sm2_key ON logs
        FOR EACH ROW EXECUTE FUNCTION only_begun()
    """)
