"""Runs by shards, matches with their explanation, and cases that people close"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0003"
down_revision = "0002"

_TAKEN = "taken_minor BETWEEN least(0, amount_minor) AND greatest(0, amount_minor)"
_BY_FUND = ("matches", "case_events", "resolutions", "resolution_members")
_UNGUARDED = ("run_shards",)
_MUTABLE = {
    "bank_entries": "taken_minor",
    "disclosed_lines": "taken_minor",
    "runs": (
        "output_digest, engine, owner, shard_count, demoted_rules, undone_at, undone_by,"
        " undo_reason"
    ),
    "run_shards": "input_digest, output_digest, counts, written_at",
    "matches": "undone_at, undone_by, undo_reason, kept_apart",
    "cases": (
        "amount_minor, weight_minor, closed_at, closed_by, assignee, due_date, escalation,"
        " wait_until, at_bank, version, bank_candidates, ledger_candidates, runner_up,"
        " expected_accidents, states, search_limit"
    ),
    "resolutions": (
        "state, decider, decider_human, decision_note, decided_at, line_number, match_id,"
        " undone_at, undone_by, undo_reason"
    ),
}
_OF_CASE = (["fund_id", "case_id"], ["cases.fund_id", "cases.case_id"])
_PROPOSED = sa.text("state = 'PROPOSED'")


def upgrade() -> None:
    _take_parts()
    _extend_runs()
    _part_matches()
    _extend_cases()
    _create_events()
    _create_resolutions()
    _chain_proofs()
    _guard()


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _count(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def _minor(name: str) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _flag(name: str) -> sa.Column:
    return sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)


def _date(name: str) -> sa.Column:
    return sa.Column(name, sa.Date(), nullable=True)


def _time(name: str, *, nullable: bool = True) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _key(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _search() -> tuple[sa.Column, ...]:
    """What a search saw, for the explanation."""
    return (
        _count("bank_candidates"),
        _count("ledger_candidates"),
        _text("runner_up"),
        _text("expected_accidents"),
        _minor("states"),
    )


def _undo() -> tuple[sa.Column, ...]:
    return (_time("undone_at"), _text("undone_by"), _text("undo_reason"))


def _add(table: str, *columns: sa.Column) -> None:
    for column in columns:
        op.add_column(table, column)


def _take_parts() -> None:
    """A decision may match a part of a row; the rest of it stays open."""
    for table in ("bank_entries", "disclosed_lines"):
        _add(table, _minor("taken_minor"))
        op.create_check_constraint(op.f(f"ck_{table}_taken"), table, _TAKEN)


def _extend_runs() -> None:
    _add(
        "runs",
        _text("output_digest"),
        sa.Column("engine", sa.Text(), server_default="local", nullable=False),
        _text("owner"),
        _count("shard_count"),
        sa.Column("demoted_rules", pg.ARRAY(sa.Text()), server_default="{}", nullable=False),
        *_undo(),
    )
    op.create_table(
        "run_shards",
        _key("run_id"),
        sa.Column("shard", sa.Integer(), nullable=False),
        _key("first_fund_id"),
        _key("last_fund_id"),
        _text("input_digest"),
        _text("output_digest"),
        sa.Column("counts", pg.JSONB(), server_default="{}", nullable=False),
        _time("written_at"),
        sa.PrimaryKeyConstraint("run_id", "shard", name=op.f("pk_run_shards")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_run_shards_run_id")),
    )


def _part_matches() -> None:
    """What is true of a match stands once, apart from its members."""
    op.rename_table("matches", "match_members")
    op.drop_constraint(op.f("pk_matches"), "match_members")
    op.drop_constraint(op.f("uq_matches_fund_id_side_member_id"), "match_members")
    op.drop_constraint(op.f("fk_matches_run_id"), "match_members")
    op.drop_constraint(op.f("fk_matches_fund_id"), "match_members")
    op.alter_column("match_members", "run_id", new_column_name="made_by")
    op.create_table(
        "matches",
        _key("fund_id"),
        _key("match_id"),
        _key("made_by"),
        _key("account_id"),
        _key("status"),
        _key("rule"),
        _key("rules_version"),
        sa.Column("date", sa.Date(), nullable=False),
        _time("created_at", nullable=False),
        *_search(),
        *_undo(),
        _flag("kept_apart"),
        sa.CheckConstraint("status IN ('automatic', 'decided')", name=op.f("ck_matches_status")),
        sa.PrimaryKeyConstraint("fund_id", "match_id", "made_by", name=op.f("pk_matches")),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"], name=op.f("fk_matches_fund_id")),
    )
    op.execute("""
        INSERT INTO matches (fund_id, match_id, made_by, account_id, status, rule, rules_version,
            date, created_at)
        SELECT m.fund_id, m.match_id, m.made_by, min(m.account_id), 'automatic', min(m.rule),
            min(r.rules_version), min(r.date), min(r.started_at)
        FROM match_members m JOIN runs r ON r.run_id = m.made_by
        GROUP BY m.fund_id, m.match_id, m.made_by
    """)
    for name in ("status", "rule"):
        op.drop_column("match_members", name)
    _add("match_members", _flag("settled_here"))
    table, key = "match_members", ["fund_id", "match_id", "made_by"]
    op.create_primary_key(op.f("pk_match_members"), table, [*key, "side", "member_id"])
    op.create_foreign_key(
        op.f("fk_match_members_fund_id"), table, "funds", ["fund_id"], ["fund_id"]
    )
    name = op.f("fk_match_members_fund_id_match_id_made_by")
    op.create_foreign_key(name, table, "matches", key, key)
    columns = ["fund_id", "side", "member_id"]
    op.create_index(op.f("ix_match_members_fund_id_side_member_id"), table, columns)
    op.create_index(op.f("ix_matches_made_by_fund_id"), "matches", ["made_by", "fund_id"])
    apart = sa.text("kept_apart")
    op.create_index("ix_matches_kept_apart", "matches", ["fund_id"], postgresql_where=apart)


def _extend_cases() -> None:
    _add(
        "cases",
        _minor("weight_minor"),
        _time("opened_at"),
        _time("closed_at"),
        _text("closed_by"),
        _text("assignee"),
        _date("due_date"),
        _count("escalation"),
        _date("wait_until"),
        _flag("at_bank"),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        *_search(),
        _text("search_limit"),
    )
    op.execute("""
        UPDATE cases c SET weight_minor = abs(c.amount_minor), opened_at = r.started_at
        FROM runs r WHERE r.run_id = c.run_id
    """)
    op.alter_column("cases", "opened_at", nullable=False)
    op.create_index(
        "ix_cases_open_assignee", "cases", ["assignee"], postgresql_where=sa.text("open")
    )
    name = op.f("ix_case_members_fund_id_side_member_id")
    op.create_index(name, "case_members", ["fund_id", "side", "member_id"])


def _create_events() -> None:
    op.create_table(
        "case_events",
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _key("fund_id"),
        _key("case_id"),
        _key("kind"),
        _key("actor"),
        _text("detail"),
        _text("resolution_id"),
        _time("created_at", nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_case_events")),
        sa.ForeignKeyConstraint(*_OF_CASE, name=op.f("fk_case_events_fund_id_case_id")),
    )
    name = op.f("ix_case_events_fund_id_case_id_sequence")
    op.create_index(name, "case_events", ["fund_id", "case_id", "sequence"])


def _create_resolutions() -> None:
    op.create_table(
        "resolutions",
        *(_key(name) for name in ("fund_id", "resolution_id", "case_id", "account_id")),
        *(_key(name) for name in ("action", "state", "reason", "proposer", "proposer_human")),
        _time("created_at", nullable=False),
        *(_text(name) for name in ("decider", "decider_human", "decision_note")),
        _time("decided_at"),
        _minor("adjust_minor"),
        *(_text(name) for name in ("book", "category", "summary")),
        _date("effective_date"),
        sa.Column("vouchers", pg.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("line_number", sa.BigInteger(), nullable=True),
        _date("wait_until"),
        *(_text(name) for name in ("bank_reference", "match_id", "supersedes")),
        *_undo(),
        sa.CheckConstraint(
            "action IN ('MATCH', 'ADJUST', 'WRITE_OFF', 'WAIT', 'SEND_BACK', 'KEEP_APART')",
            name=op.f("ck_resolutions_action"),
        ),
        sa.CheckConstraint(
            "state IN ('PROPOSED', 'APPROVED', 'REJECTED', 'WITHDRAWN', 'UNDONE')",
            name=op.f("ck_resolutions_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('APPROVED', 'UNDONE') OR proposer_human <> decider_human",
            name=op.f("ck_resolutions_two_humans"),
        ),
        sa.PrimaryKeyConstraint("fund_id", "resolution_id", name=op.f("pk_resolutions")),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_resolutions_fund_id")
        ),
        sa.ForeignKeyConstraint(*_OF_CASE, name=op.f("fk_resolutions_fund_id_case_id")),
    )
    key = ["fund_id", "case_id"]
    op.create_index(
        "uq_resolutions_proposed", "resolutions", key, unique=True, postgresql_where=_PROPOSED
    )
    name = op.f("ix_resolutions_fund_id_case_id_created_at")
    op.create_index(name, "resolutions", [*key, "created_at"])
    op.create_table(
        "resolution_members",
        *(_key(name) for name in ("fund_id", "resolution_id", "side", "member_id")),
        sa.Column("allocated_minor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "fund_id", "resolution_id", "side", "member_id", name=op.f("pk_resolution_members")
        ),
        sa.ForeignKeyConstraint(
            ["fund_id"], ["funds.fund_id"], name=op.f("fk_resolution_members_fund_id")
        ),
        sa.ForeignKeyConstraint(
            ["fund_id", "resolution_id"],
            ["resolutions.fund_id", "resolutions.resolution_id"],
            name=op.f("fk_resolution_members_fund_id_resolution_id"),
        ),
    )


def _chain_proofs() -> None:
    """An account's proofs follow one another, and a run may find that an earlier one fell."""
    table = "balance_proofs"
    _add(table, _text("previous_digest"), _text("digest"), _time("created_at"))
    op.drop_constraint(op.f("pk_balance_proofs"), table)
    key = ["run_id", "fund_id", "account_id", "date"]
    op.create_primary_key(op.f("pk_balance_proofs"), table, key)
    name = op.f("ix_balance_proofs_fund_id_account_id_date")
    op.create_index(name, table, ["fund_id", "account_id", "date"])


def _guard() -> None:
    """As in the first schema: adds, changes what is listed, sees its own estates."""
    rule = (
        "current_setting('xinyi.party', true) = '*' OR fund_id IN (SELECT f.fund_id FROM funds f)"
    )
    for table in (*_BY_FUND, *_UNGUARDED):
        op.execute(f"GRANT SELECT, INSERT ON {table} TO xinyi_app")
    for table in _BY_FUND:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY own_estates ON {table} USING ({rule}) WITH CHECK ({rule})")
    for table, columns in _MUTABLE.items():
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO xinyi_app")
