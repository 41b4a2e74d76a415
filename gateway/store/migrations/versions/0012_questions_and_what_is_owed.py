"""Questions about lines, and what was owed to the owners and not done by its day"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0012"
down_revision = "0011"

_TABLES = (
    "questions",
    "question_photos",
    "answers",
    "disclosure_rules",
    "line_details",
    "publications",
    "lapses",
)
_EVERYTHING = "current_setting('xinyi.party', true) = '*'"


def upgrade() -> None:
    op.add_column(
        "funds",
        sa.Column(
            "alias_salt", pg.UUID(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
    )
    _create_questions()
    _create_duties()
    _guard()


def _create_questions() -> None:
    op.create_table(
        "questions",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("question_id", sa.Text(), nullable=False),
        sa.Column("line_number", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("asker_role", sa.Text(), nullable=False),
        sa.Column("asker_alias", sa.Text(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("fund_id", "question_id", name=op.f("pk_questions")),
        _of_fund("questions"),
        _of_line("questions"),
        sa.ForeignKeyConstraint(
            ["fund_id", "case_id"],
            ["cases.fund_id", "cases.case_id"],
            name=op.f("fk_questions_fund_id_case_id"),
        ),
    )
    for column in ("line_number", "case_id"):
        name = op.f(f"ix_questions_fund_id_{column}")
        op.create_index(name, "questions", ["fund_id", column])
    op.create_index(
        "ix_questions_open",
        "questions",
        ["due_date"],
        postgresql_where=sa.text("answered_at IS NULL"),
    )
    op.create_table(
        "question_photos",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("question_id", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "question_id", name=op.f("pk_question_photos")),
        _of_fund("question_photos"),
        _of_question("question_photos"),
    )
    op.create_table(
        "answers",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("question_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("party_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "question_id", "position", name=op.f("pk_answers")),
        _of_fund("answers"),
        _of_question("answers"),
    )


def _create_duties() -> None:
    op.create_table(
        "disclosure_rules",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("answer_working_days", sa.Integer(), nullable=False),
        sa.Column("clocks", pg.JSONB(), nullable=False),
        sa.Column("itemised", pg.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "version", name=op.f("pk_disclosure_rules")),
        _of_fund("disclosure_rules"),
    )
    op.create_table(
        "line_details",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("line_number", sa.BigInteger(), nullable=False),
        sa.Column("items", pg.JSONB(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("party_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "line_number", name=op.f("pk_line_details")),
        _of_fund("line_details"),
        _of_line("line_details"),
    )
    op.create_table(
        "publications",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("period_id", sa.Text(), nullable=False),
        sa.Column("posted_until", sa.Date(), nullable=True),
        sa.Column("figures_sha256", sa.Text(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("party_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "period_id", name=op.f("pk_publications")),
        _of_fund("publications"),
    )
    op.create_table(
        "lapses",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("firms", pg.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('LATE_DISCLOSURE', 'UNANSWERED_QUESTION', 'MISSING_DETAIL',"
            " 'UNRECONCILED_LINE')",
            name=op.f("ck_lapses_kind"),
        ),
        sa.PrimaryKeyConstraint("fund_id", "kind", "subject", name=op.f("pk_lapses")),
        _of_fund("lapses"),
    )
    op.create_index(op.f("ix_lapses_firms"), "lapses", ["firms"], postgresql_using="gin")


def _of_fund(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"], name=op.f(f"fk_{table}_fund_id"))


def _of_line(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["fund_id", "line_number"],
        ["disclosed_lines.fund_id", "disclosed_lines.line_number"],
        name=op.f(f"fk_{table}_fund_id_line_number"),
    )


def _of_question(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["fund_id", "question_id"],
        ["questions.fund_id", "questions.question_id"],
        name=op.f(f"fk_{table}_fund_id_question_id"),
    )


def _guard() -> None:
    """What is asked, answered and missed stays; what was missed only the gateway itself says."""
    for table in _TABLES:
        own = f"EXISTS (SELECT FROM funds f WHERE f.fund_id = {table}.fund_id OFFSET 0)"
        op.execute(f"GRANT SELECT, INSERT ON {table} TO xinyi_app")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        if table == "lapses":
            op.execute(
                f"CREATE POLICY readable ON lapses FOR SELECT USING ({_EVERYTHING} OR {own})"
            )
            op.execute(f"CREATE POLICY added ON lapses FOR INSERT WITH CHECK ({_EVERYTHING})")
        else:
            rule = f"{_EVERYTHING} OR {own}"
            op.execute(f"CREATE POLICY own_estates ON {table} USING ({rule}) WITH CHECK ({rule})")
    op.execute("GRANT UPDATE (answered_at, case_id) ON questions TO xinyi_app")
