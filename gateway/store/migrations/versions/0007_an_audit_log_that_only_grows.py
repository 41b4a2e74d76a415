"""An audit log that only grows, its chain, and who acknowledged that a part of it was lost"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TABLES = ("audit_entries", "audit_links", "rollback_assents")
_EVERYTHING = "current_setting('xinyi.party', true) = '*'"
# One party, or several whose calls are written together.
_MINE = "ANY (string_to_array(current_setting('xinyi.party', true), ','))"
_WRITTEN = (
    "at, party_id, person_id, fingerprint, peer, method, resource, request_id, request_digest,"
    " code, reason, digest"
)


def upgrade() -> None:
    _create_entries()
    _create_links()
    _create_assents()
    _only_grow()
    _guard()


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _create_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(
            _text(name)
            for name in (
                "party_id",
                "person_id",
                "fingerprint",
                "peer",
                "method",
                "resource",
                "request_id",
                "request_digest",
                "code",
                "reason",
            )
        ),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "xact", sa.BigInteger(), server_default=sa.text("txid_current()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_xact_entry_id"), "audit_entries", ["xact", "entry_id"])
    key = ["party_id", "entry_id"]
    op.create_index(op.f("ix_audit_entries_party_id_entry_id"), "audit_entries", key)


def _create_links() -> None:
    op.create_table(
        "audit_links",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_links")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_audit_links_entry_id")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["audit_entries.entry_id"], name=op.f("fk_audit_links_entry_id")
        ),
    )


def _create_assents() -> None:
    table = "rollback_assents"
    op.create_table(
        table,
        sa.Column("anchor_hash", sa.LargeBinary(), nullable=False),
        _text("report_digest"),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("anchor_sequence", sa.BigInteger(), nullable=False),
        _text("party_id"),
        _text("person_id"),
        _text("natural_person"),
        sa.Column("operator", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("position IN (1, 2)", name=op.f(f"ck_{table}_position")),
        sa.PrimaryKeyConstraint(
            "anchor_hash", "report_digest", "position", name=op.f(f"pk_{table}")
        ),
        *(
            sa.UniqueConstraint(
                "anchor_hash",
                "report_digest",
                distinct,
                name=op.f(f"uq_{table}_anchor_hash_report_digest_{distinct}"),
            )
            for distinct in ("natural_person", "party_id")
        ),
    )


def _only_grow() -> None:
    """No right is asked: these refuse the owner of the tables too."""
    op.execute("""
        CREATE FUNCTION only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% only grows: % is refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    for table in _TABLES:
        op.execute(f"""
            CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION only_grows()
        """)


def _guard() -> None:
    """A caller writes under the own party's name, and reads that and what touched its funds."""
    for table in _TABLES:
        op.execute(f"GRANT SELECT ON {table} TO xinyi_app")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT INSERT ({_WRITTEN}) ON audit_entries TO xinyi_app")
    op.execute("GRANT INSERT ON audit_links, rollback_assents TO xinyi_app")
    own = f"{_EVERYTHING} OR party_id = {_MINE}"
    touched = (
        "resource LIKE 'funds/%' AND split_part(resource, '/', 2)"
        " IN (SELECT f.fund_id FROM funds f)"
    )
    op.execute(f"CREATE POLICY own_estates ON audit_entries FOR SELECT USING ({own} OR {touched})")
    op.execute(f"CREATE POLICY added_by_caller ON audit_entries FOR INSERT WITH CHECK ({own})")
    # A link tells a number and a hash, nothing of any estate.
    op.execute("CREATE POLICY readable ON audit_links FOR SELECT USING (true)")
    op.execute(f"CREATE POLICY added ON audit_links FOR INSERT WITH CHECK ({_EVERYTHING})")
    op.execute(
        f"CREATE POLICY of_gateway ON rollback_assents"
        f" USING ({_EVERYTHING}) WITH CHECK ({_EVERYTHING})"
    )
