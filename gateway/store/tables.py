"""Every table of the gateway, as SQLAlchemy Core.

Keys start with the fund wherever a row belongs to one, so that funds can be spread over servers and
so that no foreign key can reach from one fund into another (Trust Law art. 29: separate books).
Amounts are `*_minor`: minor units of the fund's currency, fen for CNY. Times are UTC. What was
disclosed or booked is append-only: the migrations grant the application role UPDATE on a few
columns, and DELETE on nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, default: str | None = None, **options: Any) -> sa.Column[str]:  # noqa: ANN401 - passed on
    """A text column that is never null; optional text is empty."""
    return sa.Column(name, sa.Text, nullable=False, server_default=default, **options)


def _minor(name: str, **options: Any) -> sa.Column[int]:  # noqa: ANN401 - passed on
    return sa.Column(name, sa.BigInteger, nullable=False, **options)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _date(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Date, nullable=nullable)


def _transaction_id() -> sa.Column[int]:
    """Of the transaction that adds the row: what is above all finished ones is never missed."""
    current = sa.text("(pg_current_xact_id()::text)::bigint")
    return sa.Column("transaction_id", sa.BigInteger, nullable=False, server_default=current)


def _fund() -> sa.Column[str]:
    return sa.Column("fund_id", sa.Text, sa.ForeignKey("funds.fund_id"), primary_key=True)


_TAKEN = "taken_minor BETWEEN least(0, amount_minor) AND greatest(0, amount_minor)"
"""No more of a row may be matched than it is."""


# --- the register -----------------------------------------------------------------------------

parties = sa.Table(
    "parties",
    metadata,
    sa.Column("party_id", sa.Text, primary_key=True),
    _text("display_name"),
    _text("social_credit_code", default=""),
    _time("created_at"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
)

persons = sa.Table(
    "persons",
    metadata,
    sa.Column("party_id", sa.Text, sa.ForeignKey("parties.party_id"), primary_key=True),
    sa.Column("person_id", sa.Text, primary_key=True),
    _text("display_name"),
    _text("natural_person"),
    sa.Column("roles", pg.ARRAY(sa.Text), nullable=False),
    _time("created_at"),
)


def _of_person() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["party_id", "person_id"], ["persons.party_id", "persons.person_id"]
    )


certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    _text("party_id"),
    _text("person_id"),
    _text("pem"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    _time("created_at"),
    _of_person(),
    sa.Index(None, "party_id", "person_id"),
)

public_keys = sa.Table(
    "public_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    _text("party_id"),
    _text("person_id"),
    sa.Column("ed25519", sa.LargeBinary, nullable=False),
    _time("starts_at"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    _time("created_at"),
    _of_person(),
    sa.Index(None, "party_id", "person_id"),
)

mandates = sa.Table(
    "mandates",
    metadata,
    sa.Column("party_id", sa.Text, primary_key=True),
    sa.Column("person_id", sa.Text, primary_key=True),
    sa.Column("mandate_id", sa.Text, primary_key=True),
    _text("role"),
    _text("fund_id", default=""),
    _minor("limit_minor"),
    _text("currency"),
    _time("starts_at"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    _time("created_at"),
    _of_person(),
)

estates = sa.Table(
    "estates",
    metadata,
    sa.Column("estate_id", sa.Text, primary_key=True),
    _text("display_name"),
    _text("group_name", default=""),
    _time("created_at"),
)

appointments = sa.Table(
    "appointments",
    metadata,
    sa.Column("estate_id", sa.Text, sa.ForeignKey("estates.estate_id"), primary_key=True),
    sa.Column("party_id", sa.Text, sa.ForeignKey("parties.party_id"), primary_key=True),
    _time("created_at"),
    _time("ended_at", nullable=True),
    sa.Index(None, "party_id"),
)

funds = sa.Table(
    "funds",
    metadata,
    sa.Column("fund_id", sa.Text, primary_key=True),
    sa.Column(
        "estate_id", sa.Text, sa.ForeignKey("estates.estate_id"), nullable=False, unique=True
    ),
    _text("display_name"),
    sa.Column("trustee_id", sa.Text, sa.ForeignKey("parties.party_id"), nullable=False),
    _text("currency"),
    _time("created_at"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    # The next numbers are handed out under the row's lock, so they have no gaps.
    sa.Column("last_line_number", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("last_entry_number", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("running_minor", sa.BigInteger, nullable=False, server_default="0"),
    # Under which people who ask questions get their pseudonyms; told to nobody.
    sa.Column("alias_salt", pg.UUID, nullable=False, server_default=sa.text("gen_random_uuid()")),
)

books = sa.Table(
    "books",
    metadata,
    _fund(),
    sa.Column("book", sa.Text, primary_key=True),
    _minor("total_minor", server_default="0"),
    # Of the total, lines that the bank has not confirmed: receipts above zero, payments below.
    _minor("pending_in_minor", server_default="0"),
    _minor("pending_out_minor", server_default="0"),
    _minor("held_minor", server_default="0"),
    sa.CheckConstraint("book IN ('COMMON', 'MAINTENANCE')", name="book"),
    sa.CheckConstraint("held_minor >= 0", name="held"),
)

bank_accounts = sa.Table(
    "bank_accounts",
    metadata,
    _fund(),
    sa.Column("account_id", sa.Text, primary_key=True),
    _text("account_number", unique=True),
    _text("holder_name"),
    _text("bank_code"),
    _text("profile_id"),
    _minor("opening_minor"),
    _date("opening_date"),
    # Sum of the bank's entries, the opening balance included.
    _minor("bank_minor", server_default="0"),
    _time("created_at"),
)

budget_lines = sa.Table(
    "budget_lines",
    metadata,
    _fund(),
    sa.Column("budget_line_id", sa.Text, primary_key=True),
    _text("book"),
    _text("category"),
    _text("display_name"),
    _minor("limit_minor"),
    _minor("held_minor", server_default="0"),
    _minor("spent_minor", server_default="0"),
    _date("start_date"),
    _date("end_date"),
    _time("created_at"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.CheckConstraint("held_minor >= 0", name="held"),
    sa.CheckConstraint("spent_minor >= 0", name="spent"),
    sa.CheckConstraint("held_minor + spent_minor <= limit_minor", name="limit"),
)

signing_policies = sa.Table(
    "signing_policies",
    metadata,
    _fund(),
    sa.Column("version", sa.BigInteger, primary_key=True),
    # [{"up_to_minor": int|null, "slots": [[role, …], [role, …]]}, …]
    sa.Column("tiers", pg.JSONB, nullable=False),
    _time("created_at"),
)

# What decides who can pay, as it was proposed; nothing of it ever changes.
register_changes = sa.Table(
    "register_changes",
    metadata,
    sa.Column("change_id", sa.Text, primary_key=True),
    # Resource name of what is added or ended.
    _text("resource"),
    # Name of the request message in `content`; empty where something was ended.
    _text("kind", default=""),
    sa.Column("content", sa.LargeBinary, nullable=False),
    # The one estate it is about, or whose person's register it is; both may be empty.
    _text("estate_id", default=""),
    _text("party_id", default=""),
    # Equal for the same human in every party: who gains by it and may not confirm it.
    _text("beneficiary_human", default=""),
    # Whether any trustee may confirm it, because no party of the estate could.
    sa.Column("open_to_trustees", sa.Boolean, nullable=False),
    _text("proposer"),
    _text("proposer_party"),
    _text("proposer_human"),
    _time("created_at"),
    _time("expires_at"),
    sa.UniqueConstraint("change_id", "proposer_party", "proposer_human"),
    sa.Index(None, "resource"),
    sa.Index(None, "estate_id", "change_id"),
    sa.Index(None, "party_id", "change_id"),
)

# What became of a change: at most one decision each, and that for ever.
register_decisions = sa.Table(
    "register_decisions",
    metadata,
    sa.Column("change_id", sa.Text, primary_key=True),
    _text("proposer_party"),
    _text("proposer_human"),
    _text("outcome"),
    _text("decider"),
    _text("decider_party"),
    _text("decider_human"),
    _text("reason", default=""),
    _time("created_at"),
    sa.ForeignKeyConstraint(
        ["change_id", "proposer_party", "proposer_human"],
        [
            "register_changes.change_id",
            "register_changes.proposer_party",
            "register_changes.proposer_human",
        ],
    ),
    sa.CheckConstraint("outcome IN ('CONFIRMED', 'FOUNDED', 'ENDED', 'REJECTED')", name="outcome"),
    # The database itself refuses one human or one party twice, whatever the code believes.
    sa.CheckConstraint(
        "outcome <> 'CONFIRMED' OR"
        " (proposer_party <> decider_party AND proposer_human <> decider_human)",
        name="two_parties",
    ),
)

vouchers = sa.Table(
    "vouchers",
    metadata,
    _fund(),
    sa.Column("sha256", sa.Text, primary_key=True),
    _text("file_name"),
    _text("media_type"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    _time("created_at"),
)

# What everybody may see of a voucher. Append-only: the one with the highest number is shown.
voucher_renditions = sa.Table(
    "voucher_renditions",
    metadata,
    _fund(),
    # Of the original.
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    # Of the content, hexadecimal.
    _text("rendition_sha256"),
    _text("media_type"),
    # The pictures of the pages, one behind the other, and the size of each.
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("page_sizes", pg.ARRAY(sa.Integer), nullable=False),
    # [{"page", "x", "y", "width", "height"}, …]: what was blacked out as asked.
    sa.Column("regions", pg.JSONB, nullable=False),
    # Numbers that were found in the text and blacked out unasked.
    sa.Column("numbers_masked", sa.Integer, nullable=False),
    _text("role"),
    _text("party_name"),
    _time("created_at"),
    sa.ForeignKeyConstraint(["fund_id", "sha256"], ["vouchers.fund_id", "vouchers.sha256"]),
)

# --- payments ---------------------------------------------------------------------------------

batches = sa.Table(
    "batches",
    metadata,
    _fund(),
    sa.Column("batch_id", sa.Text, primary_key=True),
    sa.Column("payment_count", sa.Integer, nullable=False),
    _time("created_at"),
)

payments = sa.Table(
    "payments",
    metadata,
    _fund(),
    # Also the end-to-end id on the bank's files: unique over all funds, for ever.
    sa.Column("payment_id", sa.Text, primary_key=True, unique=True),
    _text("batch_id", default=""),
    _text("account_id"),
    _text("payee_name"),
    _text("payee_account"),
    _text("payee_bank_code"),
    _minor("amount_minor"),
    _text("currency"),
    _text("purpose"),
    _text("budget_line_id"),
    _text("book"),
    _text("category"),
    sa.Column("vouchers", pg.ARRAY(sa.Text), nullable=False),
    _text("state"),
    _text("submitter_party_id"),
    sa.Column("policy_version", sa.BigInteger, nullable=False),
    # The exact bytes that both signatures cover.
    sa.Column("payload", sa.LargeBinary, nullable=False),
    _time("created_at"),
    _time("expires_at"),
    _text("transmission_id", default=""),
    # Disclosed line of the payment, and of its reversal.
    sa.Column("line_number", sa.BigInteger),
    sa.Column("reversal_line_number", sa.BigInteger),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.ForeignKeyConstraint(
        ["fund_id", "account_id"], ["bank_accounts.fund_id", "bank_accounts.account_id"]
    ),
    sa.ForeignKeyConstraint(
        ["fund_id", "budget_line_id"], ["budget_lines.fund_id", "budget_lines.budget_line_id"]
    ),
    sa.Index(None, "fund_id", "created_at", "payment_id"),
    sa.Index(None, "fund_id", "batch_id"),
    sa.Index(None, "transmission_id"),
    sa.Index(
        "ix_payments_awaiting",
        "expires_at",
        postgresql_where=sa.text("state IN ('HELD', 'PARTLY_SIGNED', 'SIGNED')"),
    ),
)

payment_signatures = sa.Table(
    "payment_signatures",
    metadata,
    _fund(),
    sa.Column("payment_id", sa.Text, primary_key=True),
    # 1 for the payment itself, 2 and more for sending again what the bank never had.
    sa.Column("attempt", sa.Integer, primary_key=True, server_default="1"),
    sa.Column("position", sa.Integer, primary_key=True),
    _text("party_id"),
    _text("person_id"),
    _text("natural_person"),
    _text("key_id"),
    _text("role"),
    # As it was sent; empty where the payment was signed with others of its batch.
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    # The signed batch that lists the payment.
    _text("batch_sha256", default=""),
    _time("created_at"),
    sa.ForeignKeyConstraint(["fund_id", "payment_id"], ["payments.fund_id", "payments.payment_id"]),
    _of_person(),
    # The database itself refuses one human or one party twice, whatever the code believes.
    sa.UniqueConstraint("fund_id", "payment_id", "attempt", "natural_person"),
    sa.UniqueConstraint("fund_id", "payment_id", "attempt", "party_id"),
    sa.CheckConstraint("position IN (1, 2)", name="position"),
    sa.CheckConstraint("(envelope = '') <> (batch_sha256 = '')", name="covered"),
)

# Signed batches: one envelope for all the payments that it lists.
batch_envelopes = sa.Table(
    "batch_envelopes",
    metadata,
    _fund(),
    # Of the envelope as it was sent, hexadecimal.
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    _time("created_at"),
)

payment_events = sa.Table(
    "payment_events",
    metadata,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    # Transactions commit out of the order of their sequences: watchers read in order of the
    # transaction, and only below the oldest one still open.
    _transaction_id(),
    sa.Column("fund_id", sa.Text, nullable=False),
    _text("payment_id"),
    _text("state"),
    _text("actor"),
    _text("detail", default=""),
    _time("created_at"),
    sa.ForeignKeyConstraint(["fund_id", "payment_id"], ["payments.fund_id", "payments.payment_id"]),
    sa.Index(None, "fund_id", "payment_id", "sequence"),
    sa.Index(None, "transaction_id", "sequence"),
)

transmissions = sa.Table(
    "transmissions",
    metadata,
    _fund(),
    # Also the message id in the file.
    sa.Column("transmission_id", sa.Text, primary_key=True, unique=True),
    _text("account_id"),
    _text("batch_id"),
    _text("state"),
    sa.Column("payment_count", sa.Integer, nullable=False),
    _minor("amount_minor"),
    _date("execution_date"),
    _text("file_sha256", default=""),
    _time("created_at"),
    _time("delivered_at", nullable=True),
    # After this, without an answer, its payments are UNKNOWN.
    _time("answer_due_at", nullable=True),
    sa.Column("attempt_count", sa.Integer, nullable=False, server_default="0"),
    _text("last_error", default=""),
    # Nothing is tried before this.
    _time("next_attempt_at", nullable=True),
    # When the bank is asked what became of it; null where it need not or cannot be asked.
    _time("next_inquiry_at", nullable=True),
    _text("file_name", default=""),
    # Who says that it was handed over by hand, why, and who confirmed it.
    _text("delivered_by", default=""),
    _text("delivery_reason", default=""),
    _text("confirmed_by", default=""),
    sa.ForeignKeyConstraint(
        ["fund_id", "account_id"], ["bank_accounts.fund_id", "bank_accounts.account_id"]
    ),
    sa.Index("ix_transmissions_open", "state", postgresql_where=sa.text("state <> 'ANSWERED'")),
    sa.Index(None, "batch_id"),
)

# --- ledger and disclosure --------------------------------------------------------------------

# Which file carries which payments; a payment that was sent again is in more than one.
transmission_payments = sa.Table(
    "transmission_payments",
    metadata,
    _fund(),
    sa.Column("transmission_id", sa.Text, primary_key=True),
    sa.Column("payment_id", sa.Text, primary_key=True),
    sa.ForeignKeyConstraint(
        ["fund_id", "transmission_id"],
        ["transmissions.fund_id", "transmissions.transmission_id"],
    ),
    sa.ForeignKeyConstraint(["fund_id", "payment_id"], ["payments.fund_id", "payments.payment_id"]),
    sa.Index(None, "fund_id", "payment_id"),
)
# Each time a bank was asked what became of a file; recorded before it is asked.
inquiries = sa.Table(
    "inquiries",
    metadata,
    _fund(),
    # Also the question's own number at the bank.
    sa.Column("inquiry_id", sa.Text, primary_key=True, unique=True),
    _text("transmission_id"),
    _time("asked_at"),
    _time("answered_at", nullable=True),
    # Payments that the bank said it does not know.
    sa.Column("missing", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    _text("error", default=""),
    sa.ForeignKeyConstraint(
        ["fund_id", "transmission_id"],
        ["transmissions.fund_id", "transmissions.transmission_id"],
    ),
    sa.Index(None, "fund_id", "transmission_id"),
)
# Payments of which a bank never knew, to be sent once more under the same reference.
resends = sa.Table(
    "resends",
    metadata,
    _fund(),
    sa.Column("payment_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    # The exact bytes that both signatures cover.
    sa.Column("payload", sa.LargeBinary, nullable=False),
    _text("actor"),
    _time("created_at"),
    _time("expires_at"),
    _time("released_at", nullable=True),
    sa.ForeignKeyConstraint(["fund_id", "payment_id"], ["payments.fund_id", "payments.payment_id"]),
    sa.CheckConstraint("attempt > 1", name="attempt"),
)
disclosed_lines = sa.Table(
    "disclosed_lines",
    metadata,
    _fund(),
    sa.Column("line_number", sa.BigInteger, primary_key=True),
    _text("account_id"),
    _text("book"),
    _text("category"),
    _text("summary"),
    _minor("amount_minor"),
    _minor("running_minor"),
    _date("effective_date"),
    _time("disclosed_at"),
    _text("payment_id", default=""),
    _text("batch_id", default=""),
    _text("reference", default=""),
    _text("counterparty_name", default=""),
    _text("counterparty_account", default=""),
    sa.Column("vouchers", pg.ARRAY(sa.Text), nullable=False),
    # [{"party_name", "role", "created_at"}, …]: who asked and who signed, no persons.
    sa.Column("signatures", pg.JSONB, nullable=False),
    sa.Column("corrects", sa.BigInteger),
    _text("correction_reason", default=""),
    # What has become of the line since; the only columns that may change.
    sa.Column("settled", sa.Boolean, nullable=False, server_default=sa.false()),
    _date("bank_value_date", nullable=True),
    sa.Column("corrected_by", sa.BigInteger),
    _text("match_id", default=""),
    _date("match_date", nullable=True),
    # What operators' decisions have matched of the amount while a rest of it is still open.
    _minor("taken_minor", server_default="0"),
    # Under which the log commits to what may name a person; once it is erased, nobody can tell.
    sa.Column("salt", pg.UUID, server_default=sa.text("gen_random_uuid()")),
    # As of `payment_events`: the order in which the log takes lines.
    _transaction_id(),
    sa.CheckConstraint("amount_minor <> 0", name="amount"),
    sa.CheckConstraint(_TAKEN, name="taken"),
    sa.ForeignKeyConstraint(
        ["fund_id", "account_id"], ["bank_accounts.fund_id", "bank_accounts.account_id"]
    ),
    # Few lines correct another: the others need no place in the index.
    sa.Index(
        "uq_disclosed_lines_corrects",
        "fund_id",
        "corrects",
        unique=True,
        postgresql_where=sa.text("corrects IS NOT NULL"),
    ),
    sa.Index("ix_disclosed_lines_open", "fund_id", postgresql_where=sa.text("match_id = ''")),
    # Few among very many, of which a page shall pass by no others.
    *(
        sa.Index(
            f"ix_disclosed_lines_{name}",
            "fund_id",
            "line_number",
            postgresql_where=sa.text(which),
        )
        for name, which in (
            ("pending", "NOT settled AND corrected_by IS NULL"),
            ("corrected", "corrected_by IS NOT NULL"),
            ("maintenance", "book = 'MAINTENANCE'"),
        )
    ),
    sa.Index(None, "fund_id", "effective_date"),
    sa.Index(None, "transaction_id", "fund_id", "line_number"),
)

entries = sa.Table(
    "entries",
    metadata,
    _fund(),
    sa.Column("entry_number", sa.BigInteger, primary_key=True),
    _date("effective_date"),
    _time("created_at"),
    # Either a disclosed line moves a book, or an entry of the bank moves the bank account.
    sa.Column("line_number", sa.BigInteger),
    sa.Column("bank_entry_id", sa.Text),
    sa.CheckConstraint("num_nonnulls(line_number, bank_entry_id) = 1", name="cause"),
    sa.ForeignKeyConstraint(
        ["fund_id", "line_number"], ["disclosed_lines.fund_id", "disclosed_lines.line_number"]
    ),
    sa.UniqueConstraint("fund_id", "line_number"),
    sa.UniqueConstraint("fund_id", "bank_entry_id"),
)

postings = sa.Table(
    "postings",
    metadata,
    _fund(),
    sa.Column("entry_number", sa.BigInteger, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    _text("account_kind"),
    _text("account_id", default=""),
    _text("book", default=""),
    _text("category", default=""),
    # Debit positive, credit negative; the postings of an entry add up to zero.
    _minor("amount_minor"),
    _date("effective_date"),
    sa.CheckConstraint("account_kind IN ('BANK', 'TRANSIT', 'BOOK')", name="account_kind"),
    sa.ForeignKeyConstraint(
        ["fund_id", "entry_number"], ["entries.fund_id", "entries.entry_number"]
    ),
    sa.Index(None, "fund_id", "effective_date"),
)

# Sums that the database keeps in the statement that adds or changes lines and postings (migration
# 0011), so that nobody adds up a million lines to tell the past of a fund.
book_days = sa.Table(
    "book_days",
    metadata,
    _fund(),
    sa.Column("book", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    # Of the lines that count for this day.
    _minor("booked_minor"),
    # Of the lines of which this is the first day that they count for and the bank has confirmed.
    _minor("settled_minor"),
    # The lowest and the highest number of the lines that count for this day; null without any.
    sa.Column("first_line", sa.BigInteger),
    sa.Column("last_line", sa.BigInteger),
)

bank_days = sa.Table(
    "bank_days",
    metadata,
    _fund(),
    sa.Column("day", sa.Date, primary_key=True),
    # Of the bank's entries.
    _minor("moved_minor"),
)

category_months = sa.Table(
    "category_months",
    metadata,
    _fund(),
    # The first day of the month that lines count for.
    sa.Column("month", sa.Date, primary_key=True),
    # In China.
    sa.Column("disclosed_on", sa.Date, primary_key=True),
    sa.Column("book", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, primary_key=True),
    # As a summary counts them: a correction is on the side of the line that it takes back.
    _minor("income_minor"),
    _minor("cost_minor"),
)

# --- from the bank ----------------------------------------------------------------------------

bank_files = sa.Table(
    "bank_files",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    _text("file_name"),
    _text("format"),
    # The bank's message id; the same one with other bytes is refused.
    sa.Column("message_id", sa.Text, unique=True),
    sa.Column("payments_changed", sa.Integer, nullable=False),
    _time("created_at"),
)

quarantined_files = sa.Table(
    "quarantined_files",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    _text("file_name"),
    _text("reason"),
    _text("detail"),
    sa.Column("content", sa.LargeBinary, nullable=False),
    _time("created_at"),
    # What the file does not say itself, as it was told with it.
    _text("account_number", default=""),
    _text("profile_id", default=""),
    _time("replayed_at", nullable=True),
)

statements = sa.Table(
    "statements",
    metadata,
    _fund(),
    sa.Column("statement_key", sa.Text, primary_key=True),
    _text("account_id"),
    _text("bank_statement_id"),
    _date("start_date"),
    _date("end_date"),
    _minor("opening_minor"),
    _minor("closing_minor"),
    sa.Column("entry_count", sa.Integer, nullable=False),
    _text("file_sha256"),
    _time("created_at"),
    sa.Column("findings", pg.ARRAY(sa.Text), nullable=False),
    # Of the certificate that told its entries first.
    sa.Column("certificate_number", sa.BigInteger),
    sa.ForeignKeyConstraint(
        ["fund_id", "account_id"], ["bank_accounts.fund_id", "bank_accounts.account_id"]
    ),
    sa.Index(None, "fund_id", "account_id", "end_date"),
    sa.Index(
        "ix_statements_uncertified",
        "fund_id",
        postgresql_where=sa.text("certificate_number IS NULL"),
    ),
)

bank_entries = sa.Table(
    "bank_entries",
    metadata,
    _fund(),
    sa.Column("bank_entry_id", sa.Text, primary_key=True),
    _text("account_id"),
    _text("statement_key"),
    _text("entry_id"),
    _date("booking_date"),
    _date("value_date", nullable=True),
    _minor("amount_minor"),
    _text("currency"),
    _text("reference"),
    _text("end_to_end_id"),
    _text("batch_id"),
    _text("counterparty_name"),
    _text("counterparty_account"),
    _text("text"),
    sa.Column("reversal", sa.Boolean, nullable=False),
    _text("return_reason"),
    _text("match_id", default=""),
    _date("match_date", nullable=True),
    # As of a disclosed line.
    _minor("taken_minor", server_default="0"),
    sa.CheckConstraint(_TAKEN, name="taken"),
    sa.ForeignKeyConstraint(
        ["fund_id", "statement_key"], ["statements.fund_id", "statements.statement_key"]
    ),
    sa.Index(None, "fund_id", "booking_date", "bank_entry_id"),
    sa.Index(None, "fund_id", "statement_key"),
    sa.Index("ix_bank_entries_open", "fund_id", postgresql_where=sa.text("match_id = ''")),
)

# --- reconciliation ---------------------------------------------------------------------------

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    _date("date"),
    _text("state"),
    _text("rules_version"),
    _text("input_digest", default=""),
    # SHA-256 over the digests of the shards' results, in order.
    _text("output_digest", default=""),
    sa.Column("counts", pg.JSONB, nullable=False),
    _time("started_at"),
    _time("ended_at", nullable=True),
    # `local` or `ray`; tells nothing of the result.
    _text("engine", default="local"),
    # The process that works on it: what any other process still wants to write is refused.
    _text("owner", default=""),
    sa.Column("shard_count", sa.Integer, nullable=False, server_default="0"),
    # Rules that reversals had shown to be wrong too often: what they found was only proposed.
    sa.Column("demoted_rules", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    _time("undone_at", nullable=True),
    _text("undone_by", default=""),
    _text("undo_reason", default=""),
    sa.Index(
        "uq_runs_running", "state", unique=True, postgresql_where=sa.text("state = 'RUNNING'")
    ),
)

# A run's work by shares of funds, in order of fund ids; one that is written is not done again.
run_shards = sa.Table(
    "run_shards",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True),
    _text("first_fund_id"),
    _text("last_fund_id"),
    _text("input_digest", default=""),
    _text("output_digest", default=""),
    sa.Column("counts", pg.JSONB, nullable=False, server_default="{}"),
    _time("written_at", nullable=True),
)

matches = sa.Table(
    "matches",
    metadata,
    _fund(),
    # Of its members, the rule and the rules' version; of a person's decision, its name.
    sa.Column("match_id", sa.Text, primary_key=True),
    # The run or the resolution that made it: once undone, another run may make it again.
    sa.Column("made_by", sa.Text, primary_key=True),
    _text("account_id"),
    _text("status"),
    _text("rule"),
    _text("rules_version"),
    _date("date"),
    _time("created_at"),
    # What the search saw, for the explanation: partners possible on either side, the best of those
    # that were not taken and why, E of a sum, partial sums looked at.
    sa.Column("bank_candidates", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ledger_candidates", sa.Integer, nullable=False, server_default="0"),
    _text("runner_up", default=""),
    _text("expected_accidents", default=""),
    sa.Column("states", sa.BigInteger, nullable=False, server_default="0"),
    _time("undone_at", nullable=True),
    _text("undone_by", default=""),
    _text("undo_reason", default=""),
    # A person took it apart: its members are never matched with each other again by a rule.
    sa.Column("kept_apart", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("status IN ('automatic', 'decided')", name="status"),
    sa.Index(None, "made_by", "fund_id"),
    sa.Index("ix_matches_kept_apart", "fund_id", postgresql_where=sa.text("kept_apart")),
)

match_members = sa.Table(
    "match_members",
    metadata,
    # The match tells that there is such a fund; to ask again of each member costs a night minutes.
    sa.Column("fund_id", sa.Text, primary_key=True),
    sa.Column("match_id", sa.Text, primary_key=True),
    sa.Column("made_by", sa.Text, primary_key=True),
    sa.Column("side", sa.Text, primary_key=True),
    sa.Column("member_id", sa.Text, primary_key=True),
    _text("account_id"),
    _minor("allocated_minor"),
    # Whether this match is what settled the line: then its undoing unsettles it.
    sa.Column("settled_here", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.ForeignKeyConstraint(
        ["fund_id", "match_id", "made_by"],
        ["matches.fund_id", "matches.match_id", "matches.made_by"],
    ),
    sa.Index(None, "fund_id", "side", "member_id"),
)

cases = sa.Table(
    "cases",
    metadata,
    _fund(),
    sa.Column("case_id", sa.Text, primary_key=True),
    # The run that found it last.
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), nullable=False),
    _text("account_id"),
    _text("kind"),
    _text("cause"),
    _text("detail"),
    # Of what is still open of its members, bank less ledger.
    _minor("amount_minor"),
    # The sum of all of them without signs: what it is weighed by.
    _minor("weight_minor", server_default="0"),
    _date("oldest_date"),
    # False once a later run no longer finds it, or a decision has matched all of it.
    sa.Column("open", sa.Boolean, nullable=False),
    _time("opened_at"),
    _time("closed_at", nullable=True),
    # The run or the resolution that closed it.
    _text("closed_by", default=""),
    # A person's resource name.
    _text("assignee", default=""),
    _date("due_date", nullable=True),
    sa.Column("escalation", sa.Integer, nullable=False, server_default="0"),
    _date("wait_until", nullable=True),
    sa.Column("at_bank", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    # What the search saw, as of a match.
    sa.Column("bank_candidates", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ledger_candidates", sa.Integer, nullable=False, server_default="0"),
    _text("runner_up", default=""),
    _text("expected_accidents", default=""),
    sa.Column("states", sa.BigInteger, nullable=False, server_default="0"),
    _text("search_limit", default=""),
    sa.Index(None, "open", "oldest_date", "case_id"),
    sa.Index("ix_cases_open_assignee", "assignee", postgresql_where=sa.text("open")),
)

case_members = sa.Table(
    "case_members",
    metadata,
    _fund(),
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("side", sa.Text, primary_key=True),
    sa.Column("member_id", sa.Text, primary_key=True),
    sa.ForeignKeyConstraint(["fund_id", "case_id"], ["cases.fund_id", "cases.case_id"]),
    sa.Index(None, "fund_id", "side", "member_id"),
)

# What happened to a case and who did it: append-only.
case_events = sa.Table(
    "case_events",
    metadata,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("fund_id", sa.Text, nullable=False),
    _text("case_id"),
    _text("kind"),
    # A person's resource name, or a run's.
    _text("actor"),
    _text("detail", default=""),
    _text("resolution_id", default=""),
    _time("created_at"),
    sa.ForeignKeyConstraint(["fund_id", "case_id"], ["cases.fund_id", "cases.case_id"]),
    sa.Index(None, "fund_id", "case_id", "sequence"),
)

# What a person proposes to do about a case; another person approves or rejects it.
resolutions = sa.Table(
    "resolutions",
    metadata,
    _fund(),
    sa.Column("resolution_id", sa.Text, primary_key=True),
    _text("case_id"),
    _text("account_id"),
    _text("action"),
    _text("state"),
    _text("reason"),
    _text("proposer"),
    # Equal for the same human in every party.
    _text("proposer_human"),
    _time("created_at"),
    _text("decider", default=""),
    _text("decider_human", default=""),
    _text("decision_note", default=""),
    _time("decided_at", nullable=True),
    # The line that ADJUST and WRITE_OFF post; the number once it is posted.
    _minor("adjust_minor", server_default="0"),
    _text("book", default=""),
    _text("category", default=""),
    _text("summary", default=""),
    _date("effective_date", nullable=True),
    sa.Column("vouchers", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("line_number", sa.BigInteger),
    _date("wait_until", nullable=True),
    _text("bank_reference", default=""),
    _text("match_id", default=""),
    # The resolution or match that this one replaces after it was undone.
    _text("supersedes", default=""),
    _time("undone_at", nullable=True),
    _text("undone_by", default=""),
    _text("undo_reason", default=""),
    sa.ForeignKeyConstraint(["fund_id", "case_id"], ["cases.fund_id", "cases.case_id"]),
    sa.CheckConstraint(
        "action IN ('MATCH', 'ADJUST', 'WRITE_OFF', 'WAIT', 'SEND_BACK', 'KEEP_APART')",
        name="action",
    ),
    sa.CheckConstraint(
        "state IN ('PROPOSED', 'APPROVED', 'REJECTED', 'WITHDRAWN', 'UNDONE')", name="state"
    ),
    # The database itself refuses one human twice, whatever the code believes.
    sa.CheckConstraint(
        "state NOT IN ('APPROVED', 'UNDONE') OR proposer_human <> decider_human", name="two_humans"
    ),
    # Two operators on one case cannot both win.
    sa.Index(
        "uq_resolutions_proposed",
        "fund_id",
        "case_id",
        unique=True,
        postgresql_where=sa.text("state = 'PROPOSED'"),
    ),
    sa.Index(None, "fund_id", "case_id", "created_at"),
)

resolution_members = sa.Table(
    "resolution_members",
    metadata,
    _fund(),
    sa.Column("resolution_id", sa.Text, primary_key=True),
    sa.Column("side", sa.Text, primary_key=True),
    sa.Column("member_id", sa.Text, primary_key=True),
    # Signed; the whole of what is open where the person named no part of it.
    _minor("allocated_minor"),
    sa.ForeignKeyConstraint(
        ["fund_id", "resolution_id"], ["resolutions.fund_id", "resolutions.resolution_id"]
    ),
)

balance_proofs = sa.Table(
    "balance_proofs",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    _fund(),
    sa.Column("account_id", sa.Text, primary_key=True),
    # The run's day, or an earlier one whose proof the run found to hold no longer.
    sa.Column("date", sa.Date, primary_key=True),
    _minor("bank_closing_minor"),
    _minor("ledger_minor"),
    _minor("open_bank_minor"),
    _minor("open_ledger_minor"),
    _minor("difference_minor"),
    sa.Column("proved", sa.Boolean, nullable=False),
    sa.Column("findings", pg.ARRAY(sa.Text), nullable=False),
    # The chain of an account: SHA-256 of the proof with the digest of the one before it.
    _text("previous_digest", default=""),
    _text("digest", default=""),
    _time("created_at", nullable=True),
    sa.Index(None, "fund_id", "account_id", "date"),
)

# What a run certified of each fund: the log's entry, and beside it what that sums up.
night_certificates = sa.Table(
    "night_certificates",
    metadata,
    _fund(),
    # From 1, without gaps within the fund.
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), nullable=False),
    _date("date"),
    # Canonical JSON of gateway.domain.certificate.
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Column("details", sa.LargeBinary, nullable=False),
    _time("created_at"),
    sa.Column("logged", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("fund_id", "run_id"),
    sa.Index(
        "ix_night_certificates_unlogged",
        "fund_id",
        "number",
        postgresql_where=sa.text("NOT logged"),
    ),
)

# --- questions, and what is owed to the owners ------------------------------------------------

# About a disclosed line, as everybody reads it: who asked is a pseudonym, numbers of persons are
# masked before they are stored.
questions = sa.Table(
    "questions",
    metadata,
    _fund(),
    sa.Column("question_id", sa.Text, primary_key=True),
    sa.Column("line_number", sa.BigInteger, nullable=False),
    _text("text"),
    _text("asker_role"),
    _text("asker_alias"),
    _date("due_date"),
    _time("created_at"),
    # When it was first answered; with the case that it opened, the only columns that may change.
    _time("answered_at", nullable=True),
    sa.Column("case_id", sa.Text),
    sa.ForeignKeyConstraint(
        ["fund_id", "line_number"], ["disclosed_lines.fund_id", "disclosed_lines.line_number"]
    ),
    sa.ForeignKeyConstraint(["fund_id", "case_id"], ["cases.fund_id", "cases.case_id"]),
    sa.Index(None, "fund_id", "line_number"),
    sa.Index(None, "fund_id", "case_id"),
    sa.Index("ix_questions_open", "due_date", postgresql_where=sa.text("answered_at IS NULL")),
)

question_photos = sa.Table(
    "question_photos",
    metadata,
    _fund(),
    sa.Column("question_id", sa.Text, primary_key=True),
    _text("media_type"),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.ForeignKeyConstraint(
        ["fund_id", "question_id"], ["questions.fund_id", "questions.question_id"]
    ),
)

# Append-only: a correction is a further answer.
answers = sa.Table(
    "answers",
    metadata,
    _fund(),
    sa.Column("question_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    _text("text"),
    _text("role"),
    _text("party_name"),
    _time("created_at"),
    sa.ForeignKeyConstraint(
        ["fund_id", "question_id"], ["questions.fund_id", "questions.question_id"]
    ),
)

# What an estate owes its owners, in versions that two parties set.
disclosure_rules = sa.Table(
    "disclosure_rules",
    metadata,
    _fund(),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("answer_working_days", sa.Integer, nullable=False),
    # [{"cycle", "due_day", "posting_days"}, …]
    sa.Column("clocks", pg.JSONB, nullable=False),
    # Categories of income that are told by item.
    sa.Column("itemised", pg.ARRAY(sa.Text), nullable=False),
    # In bills that the estate has with others: a Basis and a weight, or empty and 0.
    _text("share_basis", default=""),
    sa.Column("share_weight", sa.BigInteger, nullable=False, server_default="0"),
    _time("created_at"),
    sa.CheckConstraint(
        "share_basis IN ('', 'AREA', 'HOUSEHOLDS', 'EQUAL')"
        " AND (share_basis = '') = (share_weight = 0) AND share_weight >= 0",
        name="share",
    ),
)

# What a line that is one sum consists of: told once, by item.
# That a line's texts and its salt were erased; the line itself stays.
line_erasures = sa.Table(
    "line_erasures",
    metadata,
    _fund(),
    sa.Column("line_number", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("reason"),
    _time("created_at"),
    sa.ForeignKeyConstraint(
        ["fund_id", "line_number"], ["disclosed_lines.fund_id", "disclosed_lines.line_number"]
    ),
)

line_details = sa.Table(
    "line_details",
    metadata,
    _fund(),
    sa.Column("line_number", sa.BigInteger, primary_key=True),
    # [{"label", "count", "amount_minor"}, …]; the amounts add up to the line's.
    sa.Column("items", pg.JSONB, nullable=False),
    _text("role"),
    _text("party_name"),
    _time("created_at"),
    sa.ForeignKeyConstraint(
        ["fund_id", "line_number"], ["disclosed_lines.fund_id", "disclosed_lines.line_number"]
    ),
)

# Periods that were disclosed: by whom, when, and the figures and the log's tree of that moment.
publications = sa.Table(
    "publications",
    metadata,
    _fund(),
    # Such as `monthly-2026-10`.
    sa.Column("period_id", sa.Text, primary_key=True),
    # The last day on which the notice has to stand; null where the rules ask for none.
    _date("posted_until", nullable=True),
    # SHA-256 of the figures, hexadecimal, see gateway.duties.periods.
    _text("figures_sha256"),
    _text("checkpoint"),
    _text("role"),
    _text("party_name"),
    _time("created_at"),
)

# What was owed to the owners and not done by its day: recorded once, and for ever.
lapses = sa.Table(
    "lapses",
    metadata,
    _fund(),
    sa.Column("kind", sa.Text, primary_key=True),
    # What it is about within the fund: the id of a question or of a period, the number of a line.
    sa.Column("subject", sa.Text, primary_key=True),
    _date("due_date"),
    # Property firms that were appointed to the estate when it was recorded.
    sa.Column("firms", pg.ARRAY(sa.Text), nullable=False),
    _time("created_at"),
    sa.CheckConstraint(
        "kind IN ('LATE_DISCLOSURE', 'UNANSWERED_QUESTION', 'MISSING_DETAIL', 'UNRECONCILED_LINE')",
        name="kind",
    ),
    sa.Index(None, "firms", postgresql_using="gin"),
)

# --- calls ------------------------------------------------------------------------------------

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("party_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    _text("method"),
    # SHA-256 of the request's canonical bytes.
    sa.Column("digest", sa.LargeBinary, nullable=False),
    # One of the two: the answer, or the refusal as a google.rpc.Status.
    sa.Column("response", sa.LargeBinary),
    sa.Column("refusal", sa.LargeBinary),
    _time("created_at"),
    sa.CheckConstraint("num_nonnulls(response, refusal) = 1", name="outcome"),
)

# --- the log of what is disclosed ---------------------------------------------------------------

# One a trust company: its lines and its nights' certificates, in the order in which they came.
logs = sa.Table(
    "logs",
    metadata,
    sa.Column("log_id", sa.Text, sa.ForeignKey("parties.party_id"), primary_key=True),
    sa.Column("origin", sa.Text, nullable=False, unique=True),
    _text("key"),
    # Of the line beside; empty until one was asked for.
    sa.Column("sm2_key", sa.Text, nullable=False, server_default=""),
    sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
    _time("created_at"),
)

# One row: the last line that was taken into a log. Whoever takes lines locks it.
log_position = sa.Table(
    "log_position",
    metadata,
    sa.Column("singleton", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("transaction_id", sa.BigInteger, nullable=False, server_default="0"),
    _text("fund_id", default=""),
    sa.Column("line_number", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("singleton", name="singleton"),
)

log_entries = sa.Table(
    "log_entries",
    metadata,
    sa.Column("log_id", sa.Text, sa.ForeignKey("logs.log_id"), primary_key=True),
    sa.Column("entry_index", sa.BigInteger, primary_key=True),
    _text("kind"),
    _text("fund_id", default=""),
    # Of the line, or of the certificate, within the fund.
    sa.Column("number", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("kind IN ('LINE', 'CERTIFICATE')", name="kind"),
    sa.Index("uq_log_entries_fund_id_number_kind", "fund_id", "number", "kind", unique=True),
)

log_tiles = sa.Table(
    "log_tiles",
    metadata,
    sa.Column("log_id", sa.Text, sa.ForeignKey("logs.log_id"), primary_key=True),
    sa.Column("level", sa.Integer, primary_key=True),
    sa.Column("tile_index", sa.BigInteger, primary_key=True),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("log_id", sa.Text, sa.ForeignKey("logs.log_id"), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    _text("note"),
    _time("created_at"),
)

cosignatures = sa.Table(
    "cosignatures",
    metadata,
    sa.Column("log_id", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("witness", sa.Text, primary_key=True),
    _text("line"),
    sa.ForeignKeyConstraint(["log_id", "size"], ["checkpoints.log_id", "checkpoints.size"]),
)

# --- several processes ------------------------------------------------------------------------

writer_leases = sa.Table(
    "writer_leases",
    metadata,
    # Of funds, see gateway.payments.writers.slot_of; the last one of the work between the calls.
    sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
    # The process, and where the others of its machine reach it.
    _text("owner", default=""),
    _text("address", default=""),
    # Higher at each change of hands.
    sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column(
        "expires_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
    ),
)

# --- the audit log ----------------------------------------------------------------------------

audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("entry_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    _time("at"),
    # Who: empty for what the gateway does by itself.
    _text("party_id"),
    _text("person_id"),
    _text("fingerprint"),
    _text("peer"),
    _text("method"),
    _text("resource"),
    _text("request_id"),
    # SHA-256 in hexadecimal, of the request as it came or of the file; empty where there is none.
    _text("request_digest"),
    _text("code"),
    _text("reason"),
    # SHA-256 of the entry's canonical bytes, see gateway.audit.entry.
    sa.Column("digest", sa.LargeBinary, nullable=False),
    # The transaction that wrote it: what the sealer orders by.
    sa.Column("xact", sa.BigInteger, nullable=False, server_default=sa.text("txid_current()")),
    sa.Index(None, "xact", "entry_id"),
    sa.Index(None, "party_id", "entry_id"),
)

audit_links = sa.Table(
    "audit_links",
    metadata,
    # From 1, without gaps.
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column(
        "entry_id",
        sa.BigInteger,
        sa.ForeignKey("audit_entries.entry_id"),
        nullable=False,
        unique=True,
    ),
    # SHA-256 over the hash before, this sequence and the entry's digest.
    sa.Column("hash", sa.LargeBinary, nullable=False),
    # Every entry of a transaction before this one had its link by then.
    sa.Column("floor", sa.BigInteger, nullable=False),
)

rollback_assents = sa.Table(
    "rollback_assents",
    metadata,
    # The anchored hash that the database lacks.
    sa.Column("anchor_hash", sa.LargeBinary, primary_key=True),
    # Of what was shown as lost: both persons acknowledge the same.
    sa.Column("report_digest", sa.Text, primary_key=True),
    sa.Column("position", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("anchor_sequence", sa.BigInteger, nullable=False),
    _text("party_id"),
    _text("person_id"),
    _text("natural_person"),
    sa.Column("operator", sa.Boolean, nullable=False),
    _time("created_at"),
    sa.CheckConstraint("position IN (1, 2)", name="position"),
    sa.UniqueConstraint("anchor_hash", "report_digest", "natural_person"),
    sa.UniqueConstraint("anchor_hash", "report_digest", "party_id"),
)
