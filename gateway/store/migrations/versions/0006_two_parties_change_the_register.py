"""Two parties change the register; every table is guarded, and the application logs in as itself"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_EVERYTHING = "current_setting('xinyi.party', true) = '*'"
_MINE = "current_setting('xinyi.party', true)"


def upgrade() -> None:
    # No password: until its owner sets one, only a server that trusts its socket lets it in.
    op.execute("ALTER ROLE xinyi_app LOGIN")
    # By which it sees whether the database is of its release.
    op.execute("GRANT SELECT ON alembic_version TO xinyi_app")
    _answer_by_functions()
    _guard_what_was_open()
    _create_changes()
    _create_decisions()
    _guard_changes()


def _answer_by_functions() -> None:
    """What must be known of other parties' appointments, although row security is forced on all."""
    op.execute("DROP FUNCTION appointed_parties(text)")
    op.execute("""
        CREATE FUNCTION appointed_parties(estate text) RETURNS SETOF text
        LANGUAGE sql STABLE SECURITY DEFINER
        SET search_path = pg_catalog SET xinyi.party = '*' AS $$
            SELECT party_id FROM public.appointments WHERE estate_id = estate AND ended_at IS NULL
        $$
    """)
    op.execute("""
        CREATE FUNCTION fellow_parties(party text) RETURNS SETOF text
        LANGUAGE sql STABLE SECURITY DEFINER
        SET search_path = pg_catalog SET xinyi.party = '*' AS $$
            SELECT DISTINCT theirs.party_id
            FROM public.appointments mine JOIN public.appointments theirs USING (estate_id)
            WHERE mine.party_id = party AND mine.ended_at IS NULL AND theirs.ended_at IS NULL
        $$
    """)
    op.execute("ALTER TABLE appointments FORCE ROW LEVEL SECURITY")


def _guard_what_was_open() -> None:
    """Runs are read by every office and written by the night; files of banks are the gateway's."""
    for table in ("runs", "run_shards"):
        _force(table)
        op.execute(f"CREATE POLICY readable ON {table} FOR SELECT USING (true)")
        op.execute(f"CREATE POLICY written_by_gateway ON {table} USING ({_EVERYTHING})")
    for table in ("bank_files", "quarantined_files"):
        _force(table)
        op.execute(f"CREATE POLICY of_gateway ON {table} USING ({_EVERYTHING})")


def _create_changes() -> None:
    op.create_table(
        "register_changes",
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("estate_id", sa.Text(), server_default="", nullable=False),
        sa.Column("party_id", sa.Text(), server_default="", nullable=False),
        sa.Column("beneficiary_human", sa.Text(), server_default="", nullable=False),
        sa.Column("open_to_trustees", sa.Boolean(), nullable=False),
        sa.Column("proposer", sa.Text(), nullable=False),
        sa.Column("proposer_party", sa.Text(), nullable=False),
        sa.Column("proposer_human", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_register_changes")),
        sa.UniqueConstraint(
            "change_id",
            "proposer_party",
            "proposer_human",
            name=op.f("uq_register_changes_change_id_proposer_party_proposer_human"),
        ),
    )
    for columns in (["resource"], ["estate_id", "change_id"], ["party_id", "change_id"]):
        name = f"ix_register_changes_{'_'.join(columns)}"
        op.create_index(op.f(name), "register_changes", columns)


def _create_decisions() -> None:
    texts = ("change_id", "proposer_party", "proposer_human", "outcome")
    deciders = ("decider", "decider_party", "decider_human")
    op.create_table(
        "register_decisions",
        *(sa.Column(name, sa.Text(), nullable=False) for name in (*texts, *deciders)),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_register_decisions")),
        sa.ForeignKeyConstraint(
            ["change_id", "proposer_party", "proposer_human"],
            [
                "register_changes.change_id",
                "register_changes.proposer_party",
                "register_changes.proposer_human",
            ],
            name=op.f("fk_register_decisions_change_id_proposer_party_proposer_human"),
        ),
        sa.CheckConstraint(
            "outcome IN ('CONFIRMED', 'FOUNDED', 'ENDED', 'REJECTED')",
            name=op.f("ck_register_decisions_outcome"),
        ),
        sa.CheckConstraint(
            "outcome <> 'CONFIRMED' OR"
            " (proposer_party <> decider_party AND proposer_human <> decider_human)",
            name=op.f("ck_register_decisions_two_parties"),
        ),
    )


def _guard_changes() -> None:
    """Added to by the gateway; read by who proposed, whom it is about, and who may confirm."""
    for table in ("register_changes", "register_decisions"):
        op.execute(f"GRANT SELECT, INSERT ON {table} TO xinyi_app")
        _force(table)
        op.execute(
            f"CREATE POLICY added_by_gateway ON {table} FOR INSERT WITH CHECK ({_EVERYTHING})"
        )
    op.execute(f"""
        CREATE POLICY readable ON register_changes FOR SELECT USING (
            {_EVERYTHING}
            OR {_MINE} IN (proposer_party, party_id)
            OR estate_id IN (SELECT e.estate_id FROM estates e)
            OR estate_id = '' AND party_id IN (SELECT fellow_parties({_MINE}))
            OR open_to_trustees AND EXISTS (
                SELECT FROM persons p
                WHERE p.party_id = {_MINE} AND 'TRUSTEE_CHECKER' = ANY (p.roles)
            )
        )
    """)
    op.execute("""
        CREATE POLICY readable ON register_decisions FOR SELECT USING (
            change_id IN (SELECT c.change_id FROM register_changes c)
        )
    """)


def _force(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
