"""What carries a payment to its bank, how the bank is asked, and how it is sent again"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0002"
down_revision = "0001"

_NEW_TABLES = ("transmission_payments", "inquiries", "resends")
_MUTABLE = {
    "transmissions": (
        "next_attempt_at, next_inquiry_at, file_name, delivered_by, delivery_reason, confirmed_by"
    ),
    "inquiries": "answered_at, missing, error",
    "resends": "released_at",
}
_OF_TRANSMISSION = (
    ["fund_id", "transmission_id"],
    ["transmissions.fund_id", "transmissions.transmission_id"],
)
_OF_PAYMENT = (["fund_id", "payment_id"], ["payments.fund_id", "payments.payment_id"])


def upgrade() -> None:
    _extend_transmissions()
    _extend_quarantine()
    _number_signatures()
    _create_carriers()
    _create_inquiries()
    _create_resends()
    _guard()


def _extend_transmissions() -> None:
    for name in ("next_attempt_at", "next_inquiry_at"):
        op.add_column("transmissions", sa.Column(name, sa.DateTime(timezone=True)))
    for name in ("file_name", "delivered_by", "delivery_reason", "confirmed_by"):
        column = sa.Column(name, sa.Text(), server_default="", nullable=False)
        op.add_column("transmissions", column)


def _extend_quarantine() -> None:
    """What a file does not say itself is needed again when it is replayed."""
    for name in ("account_number", "profile_id"):
        column = sa.Column(name, sa.Text(), server_default="", nullable=False)
        op.add_column("quarantined_files", column)


def _number_signatures() -> None:
    """A payment that is sent again is signed again, by two, as if for the first time."""
    table = "payment_signatures"
    column = sa.Column("attempt", sa.Integer(), server_default="1", nullable=False)
    op.add_column(table, column)
    op.drop_constraint(op.f("pk_payment_signatures"), table)
    key = ["fund_id", "payment_id", "attempt", "position"]
    op.create_primary_key(op.f("pk_payment_signatures"), table, key)
    for distinct in ("natural_person", "party_id"):
        old = f"uq_payment_signatures_fund_id_payment_id_{distinct}"
        new = f"uq_payment_signatures_fund_id_payment_id_attempt_{distinct}"
        op.drop_constraint(op.f(old), table)
        columns = ["fund_id", "payment_id", "attempt", distinct]
        op.create_unique_constraint(op.f(new), table, columns)


def _create_carriers() -> None:
    op.create_table(
        "transmission_payments",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("transmission_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "fund_id", "transmission_id", "payment_id", name=op.f("pk_transmission_payments")
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"]),
        sa.ForeignKeyConstraint(*_OF_TRANSMISSION),
        sa.ForeignKeyConstraint(*_OF_PAYMENT),
    )
    name = op.f("ix_transmission_payments_fund_id_payment_id")
    op.create_index(name, "transmission_payments", ["fund_id", "payment_id"])
    op.execute("""
        INSERT INTO transmission_payments (fund_id, transmission_id, payment_id)
        SELECT fund_id, transmission_id, payment_id FROM payments WHERE transmission_id <> ''
    """)


def _create_inquiries() -> None:
    op.create_table(
        "inquiries",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("inquiry_id", sa.Text(), nullable=False),
        sa.Column("transmission_id", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("missing", pg.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("fund_id", "inquiry_id", name=op.f("pk_inquiries")),
        sa.UniqueConstraint("inquiry_id", name=op.f("uq_inquiries_inquiry_id")),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"]),
        sa.ForeignKeyConstraint(*_OF_TRANSMISSION),
    )
    name = op.f("ix_inquiries_fund_id_transmission_id")
    op.create_index(name, "inquiries", ["fund_id", "transmission_id"])


def _create_resends() -> None:
    op.create_table(
        "resends",
        sa.Column("fund_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("attempt > 1", name=op.f("ck_resends_attempt")),
        sa.PrimaryKeyConstraint("fund_id", "payment_id", "attempt", name=op.f("pk_resends")),
        sa.ForeignKeyConstraint(["fund_id"], ["funds.fund_id"]),
        sa.ForeignKeyConstraint(*_OF_PAYMENT),
    )


def _guard() -> None:
    """As in the first schema: adds, changes what is listed, sees its own estates."""
    rule = (
        "current_setting('xinyi.party', true) = '*' OR fund_id IN (SELECT f.fund_id FROM funds f)"
    )
    for table in _NEW_TABLES:
        op.execute(f"GRANT SELECT, INSERT ON {table} TO xinyi_app")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY own_estates ON {table} USING ({rule}) WITH CHECK ({rule})")
    for table, columns in _MUTABLE.items():
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO xinyi_app")
