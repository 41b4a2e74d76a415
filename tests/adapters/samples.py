"""Values that the adapter tests build on, and strategies that make many of them."""

from datetime import UTC, date, datetime

from hypothesis import strategies as st

from adapters.model import Balance, Batch, Entry, Payment, Statement

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 2, 30, tzinfo=UTC)
BANK_CODE = "102100099996"
ACCOUNT = "4402000100000000001"

identifiers = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", min_size=1, max_size=30)
chinese = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), max_size=20)
names = chinese.filter(bool)
amounts_minor = st.integers(1, 10**15)
days = st.dates(date(2000, 1, 1), date(2099, 12, 31))


def payment(end_to_end_id: str = "P1", amount_minor: int = 12345, **other: str) -> Payment:
    values = {
        "payee_name": "成都清运有限公司",
        "payee_account": "6222000011112222",
        "payee_bank_code": BANK_CODE,
        "currency": "CNY",
        "purpose": "垃圾清运费",
        **other,
    }
    return Payment(end_to_end_id=end_to_end_id, amount_minor=amount_minor, **values)


def batch(*payments: Payment, message_id: str = "M1", batch_booking: bool = False) -> Batch:
    return Batch(
        message_id=message_id,
        batch_id=f"B-{message_id}",
        debtor_name="长寿苑共有基金",
        debtor_account=ACCOUNT,
        debtor_bank_code=BANK_CODE,
        created_at=NOW,
        execution_date=DAY,
        payments=payments or (payment(),),
        batch_booking=batch_booking,
    )


payments = st.builds(
    Payment,
    end_to_end_id=identifiers,
    payee_name=names,
    payee_account=identifiers,
    payee_bank_code=st.sampled_from(["", BANK_CODE]),
    amount_minor=amounts_minor,
    currency=st.just("CNY"),
    purpose=chinese,
)

batches = st.builds(
    Batch,
    message_id=identifiers,
    batch_id=identifiers,
    debtor_name=names,
    debtor_account=identifiers,
    debtor_bank_code=st.sampled_from(["", BANK_CODE]),
    created_at=st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    execution_date=days,
    payments=st.lists(
        payments, min_size=1, max_size=5, unique_by=lambda one: one.end_to_end_id
    ).map(tuple),
    batch_booking=st.booleans(),
)

entries = st.builds(
    Entry,
    entry_id=identifiers,
    booking_date=days,
    value_date=days,
    amount_minor=st.integers(-(10**15), 10**15),
    currency=st.just("CNY"),
    reference=st.just("") | identifiers,
    end_to_end_id=st.just("") | identifiers,
    batch_id=st.just("") | identifiers,
    counterparty_name=chinese,
    counterparty_account=st.just("") | identifiers,
    text=chinese,
    reversal=st.booleans(),
    return_reason=st.sampled_from(["", "AC04", "MD07"]),
)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    """A statement whose entries lead from its opening to its closing balance."""
    drawn = draw(st.lists(entries, max_size=5, unique_by=lambda one: one.entry_id))
    opening_minor = draw(st.integers(-(10**15), 10**15))
    closing_minor = opening_minor + sum(entry.amount_minor for entry in drawn)
    return Statement(
        statement_id=draw(identifiers),
        account=draw(identifiers),
        currency="CNY",
        opening=Balance(draw(days), opening_minor),
        closing=Balance(draw(days), closing_minor),
        entries=tuple(drawn),
    )
