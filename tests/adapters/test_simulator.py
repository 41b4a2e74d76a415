from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.calendar import Calendar
from adapters.formats import pain001
from adapters.model import Batch, Entry, Outcome, Statement, StatusReport
from adapters.profile import load_profile
from adapters.read import parse, parse_status
from adapters.simulator import Behaviour, SimulatedBank
from tests.adapters.samples import ACCOUNT, DAY, NOW, batch, payment

DEMO = load_profile("demo")
OPENING_MINOR = 1_000_000
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def bank(tmp_path: Path) -> SimulatedBank:
    return founded(tmp_path)


def founded(directory: Path) -> SimulatedBank:
    bank = SimulatedBank.open(directory, seed=7)
    bank.open_account(ACCOUNT, "长寿苑共有基金", OPENING_MINOR, "CNY", DAY)
    return bank


def order(bank: SimulatedBank, one: Batch, name: str = "order.xml") -> list[StatusReport]:
    (bank.inbox / name).write_bytes(pain001.render(one, DEMO))
    return [parse_status(path.read_bytes()) for path in bank.process(NOW)]


def close(bank: SimulatedBank, days_later: int = 0) -> Statement:
    (path,) = bank.close_day(DAY + timedelta(days=days_later))
    parsed = parse(path.read_bytes())
    assert parsed.findings == ()
    return parsed.statements[0]


def outcomes(reports: list[StatusReport]) -> dict[str, tuple[Outcome, str]]:
    return {s.end_to_end_id: (s.outcome, s.reason_code) for r in reports for s in r.statuses}


def lines(statement: Statement) -> list[tuple[int, str]]:
    return [(entry.amount_minor, entry.end_to_end_id) for entry in statement.entries]


def test_a_payment_is_answered_settled_and_stands_on_the_statement(bank: SimulatedBank) -> None:
    reports = order(bank, batch(payment("P1", 300), payment("P2", 500)))
    assert outcomes(reports) == {"P1": (Outcome.SETTLED, ""), "P2": (Outcome.SETTLED, "")}
    assert reports[0].original_message_id == "M1"
    statement = close(bank)
    assert lines(statement) == [(-300, "P1"), (-500, "P2")]
    assert statement.closing is not None
    assert statement.closing.amount_minor == bank.balance_minor(ACCOUNT) == OPENING_MINOR - 800
    assert [entry.batch_id for entry in statement.entries] == ["B-M1", "B-M1"]


def test_the_first_statement_opens_with_the_opening_balance(bank: SimulatedBank) -> None:
    opening = close(bank).opening
    assert opening is not None
    assert opening.amount_minor == OPENING_MINOR


@pytest.mark.parametrize("key", ["P1", "6222000011112222"])
def test_a_rejection_moves_no_money(bank: SimulatedBank, key: str) -> None:
    bank.behave(key, Behaviour(reject_code="AC04"))
    assert outcomes(order(bank, batch())) == {"P1": (Outcome.REJECTED, "AC04")}
    assert lines(close(bank)) == []


def test_a_silence_gives_no_answer_but_the_money_moves(bank: SimulatedBank) -> None:
    bank.behave("P1", Behaviour(silent=True))
    assert order(bank, batch(payment("P1", 300))) == []
    assert lines(close(bank)) == [(-300, "P1")]
    assert order(bank, batch(payment("P1", 300))) == []


def test_a_return_comes_days_later_with_its_reason_and_reference(bank: SimulatedBank) -> None:
    bank.behave("P1", Behaviour(return_after_days=3, return_reason="AC06"))
    order(bank, batch(payment("P1", 300)))
    assert [lines(close(bank, day)) for day in range(3)] == [[(-300, "P1")], [], []]
    (back,) = close(bank, 3).entries
    assert (back.amount_minor, back.end_to_end_id, back.return_reason) == (300, "P1", "AC06")
    assert back.counterparty_name == "成都清运有限公司"
    assert bank.balance_minor(ACCOUNT) == OPENING_MINOR


def test_a_return_waits_for_the_banks_working_days(tmp_path: Path) -> None:
    """From Monday 2 March 2026, with a holiday on Tuesday and the weekend before the fourth."""
    closed = Calendar(working_days="weekdays", extra_holidays=(DAY + timedelta(days=1),))
    bank = SimulatedBank.open(tmp_path, seed=7, calendar=closed)
    bank.open_account(ACCOUNT, "阳光小区共有资金", OPENING_MINOR, "CNY", DAY)
    bank.behave("P1", Behaviour(return_after_days=4))
    order(bank, batch(payment("P1", 300)))
    stated = [lines(close(bank, day)) for day in range(8)]
    assert stated == [[(-300, "P1")], [], [], [], [], [], [], [(300, "P1")]]


def test_an_item_in_transit_is_accepted_today_and_booked_tomorrow(bank: SimulatedBank) -> None:
    bank.behave("P1", Behaviour(book_next_day=True))
    assert outcomes(order(bank, batch())) == {"P1": (Outcome.ACCEPTED, "")}
    assert lines(close(bank)) == []
    assert lines(close(bank, 1)) == [(-12345, "P1")]


def test_money_promised_for_tomorrow_cannot_be_spent_today(bank: SimulatedBank) -> None:
    bank.behave("P1", Behaviour(book_next_day=True))
    order(bank, batch(payment("P1", OPENING_MINOR)))
    second = batch(payment("P2", 1), message_id="M2")
    assert outcomes(order(bank, second)) == {"P2": (Outcome.REJECTED, "AM04")}


@pytest.mark.parametrize("asked_in_the_order", [True, False])
def test_a_lump_is_one_debit_with_its_batch_and_no_references(
    bank: SimulatedBank, asked_in_the_order: bool
) -> None:
    if not asked_in_the_order:
        bank.lump(ACCOUNT)
    bank.behave("P3", Behaviour(reject_code="AC04"))
    paid = (payment("P1", 300), payment("P2", 500), payment("P3", 700))
    order(bank, batch(*paid, batch_booking=asked_in_the_order))
    (entry,) = close(bank).entries
    assert (entry.amount_minor, entry.end_to_end_id, entry.batch_id) == (-800, "", "B-M1")
    (path,) = bank.outbox.glob("camt053_*")
    assert b"<NbOfTxs>2</NbOfTxs>" in path.read_bytes()
    assert b"TxDtls" not in path.read_bytes()


def test_receipts_and_fees_stand_on_the_statement(bank: SimulatedBank) -> None:
    serial = bank.receive(ACCOUNT, 8800, DAY, "李女士", "6222", reference="R1", text="物业费")
    bank.charge_fee(ACCOUNT, 150, DAY, "手续费")
    receipt, fee = close(bank).entries
    assert receipt == Entry(
        serial,
        DAY,
        DAY,
        8800,
        "CNY",
        reference="R1",
        counterparty_name="李女士",
        counterparty_account="6222",
        text="物业费",
    )
    assert (fee.amount_minor, fee.text) == (-150, "手续费")


def test_a_repeated_entry_is_a_second_one_and_the_balance_agrees(bank: SimulatedBank) -> None:
    order(bank, batch(payment("P1", 300)))
    close(bank)
    serial = bank.repeat_entry(ACCOUNT, "P1", NEXT)
    (again,) = close(bank, 1).entries
    assert (again.amount_minor, again.end_to_end_id, again.entry_id) == (-300, "P1", serial)
    assert bank.balance_minor(ACCOUNT) == OPENING_MINOR - 600


def test_an_omitted_day_leaves_a_gap_between_two_statements(bank: SimulatedBank) -> None:
    bank.omit_day(ACCOUNT, NEXT)
    before = close(bank).closing
    bank.receive(ACCOUNT, 100, NEXT, "李女士", "6222")
    assert bank.close_day(NEXT) == []
    after = close(bank, 2).opening
    assert before is not None
    assert after is not None
    assert after.amount_minor - before.amount_minor == 100


def test_the_same_order_again_is_answered_as_before_and_pays_once(bank: SimulatedBank) -> None:
    first = order(bank, batch())
    assert order(bank, batch(), "copy.xml") == first
    assert lines(close(bank)) == [(-12345, "P1")]


def test_other_bytes_under_a_used_message_id_are_refused_whole(bank: SimulatedBank) -> None:
    order(bank, batch())
    reports = order(bank, batch(payment("P2")), "other.xml")
    assert outcomes(reports) == {"": (Outcome.REJECTED, "DU01")}
    assert lines(close(bank)) == [(-12345, "P1")]


def test_a_reference_is_paid_once_even_in_a_new_message(bank: SimulatedBank) -> None:
    order(bank, batch())
    assert outcomes(order(bank, batch(message_id="M2"))) == {"P1": (Outcome.REJECTED, "AM05")}


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (batch(payment("P1", OPENING_MINOR + 1)), "AM04"),
        (batch(payment("P1", currency="USD")), "AM03"),
        (replace(batch(), debtor_account="9"), "AC02"),
    ],
)
def test_what_the_bank_cannot_pay_it_rejects_by_code(
    bank: SimulatedBank, one: Batch, reason: str
) -> None:
    assert outcomes(order(bank, one)) == {"P1": (Outcome.REJECTED, reason)}
    assert bank.balance_minor(ACCOUNT) == OPENING_MINOR


def test_the_last_payment_that_the_balance_covers_passes(bank: SimulatedBank) -> None:
    reports = order(
        bank, batch(payment("P1", OPENING_MINOR - 1), payment("P2", 2), payment("P3", 1))
    )
    assert [one for one, _ in outcomes(reports).values()] == [
        Outcome.SETTLED,
        Outcome.REJECTED,
        Outcome.SETTLED,
    ]
    assert bank.balance_minor(ACCOUNT) == 0


def test_a_broken_order_is_refused_and_put_away(bank: SimulatedBank) -> None:
    (bank.inbox / "bad.xml").write_bytes(b"<broken")
    (answer,) = bank.process(NOW)
    assert outcomes([parse_status(answer.read_bytes())]) == {"": (Outcome.REJECTED, "FF01")}
    assert list(bank.inbox.iterdir()) == []


def test_money_on_a_closed_day_is_booked_on_the_next(bank: SimulatedBank) -> None:
    stated = close(bank)
    bank.receive(ACCOUNT, 100, DAY, "李女士", "6222")
    assert close(bank) == stated
    assert [entry.booking_date for entry in close(bank, 1).entries] == [NEXT]
    with pytest.raises(ValueError, match="closed already"):
        bank.close_day(DAY)


def test_the_day_is_counted_in_china(bank: SimulatedBank) -> None:
    (bank.inbox / "o.xml").write_bytes(pain001.render(batch(), DEMO))
    bank.process(datetime(2026, 3, 2, 16, 30, tzinfo=UTC))
    assert lines(close(bank)) == []
    assert lines(close(bank, 1)) == [(-12345, "P1")]


def test_a_bank_opened_again_knows_everything(bank: SimulatedBank, tmp_path: Path) -> None:
    first = order(bank, batch())
    again = SimulatedBank.open(tmp_path)
    assert again.balance_minor(ACCOUNT) == bank.balance_minor(ACCOUNT)
    assert order(again, batch(), "copy.xml") == first


def test_the_same_calls_give_the_same_files(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        bank = founded(tmp_path / name)
        order(bank, batch())
        bank.close_day(DAY)
        contents.append({path.name: path.read_bytes() for path in bank.outbox.iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


class PowerCutError(BaseException):
    """Stops the process where it is."""


@pytest.mark.parametrize(
    ("step", "nth"),
    [
        ("pathlib.Path.replace", 1),  # the state is not on disk yet
        ("adapters.simulator.bank.place", 1),  # the money moved, the answer is not out
        ("pathlib.Path.replace", 2),  # the answer is out, the order still lies in the inbox
    ],
)
def test_a_power_cut_while_it_pays_never_pays_twice(tmp_path: Path, step: str, nth: int) -> None:
    bank = founded(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        _cut_power_at(patch, step, nth)
        with pytest.raises(PowerCutError):
            order(bank, batch())
    bank = SimulatedBank.open(tmp_path)
    (answer,) = bank.process(NOW)
    assert outcomes([parse_status(answer.read_bytes())]) == {"P1": (Outcome.SETTLED, "")}
    assert bank.balance_minor(ACCOUNT) == OPENING_MINOR - 12345
    assert list(bank.outbox.iterdir()) == [answer]
    assert list(bank.inbox.iterdir()) == []


def _cut_power_at(patch: pytest.MonkeyPatch, step: str, nth: int) -> None:
    calls = iter(range(1, 100))
    real = Path.replace

    def cut(*arguments: Path) -> Path:
        if next(calls) == nth:
            raise PowerCutError
        return real(*arguments)

    patch.setattr(step, cut)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.integers(-5000, 5000), st.just("")),
        st.tuples(st.just("fee"), st.integers(1, 500), st.just("")),
        st.tuples(st.just("pay"), st.integers(1, 900_000), st.sampled_from("ABCDE")),
        st.tuples(st.just("close"), st.integers(1, 3), st.just("")),
    ),
    max_size=12,
)
behaviours = st.builds(
    Behaviour,
    reject_code=st.sampled_from(["", "", "AC04"]),
    silent=st.booleans(),
    return_after_days=st.integers(0, 3),
    book_next_day=st.booleans(),
)


@settings(max_examples=25)
@given(actions=actions, behaviour=behaviours, lump=st.booleans())
def test_no_money_appears_or_vanishes_and_statements_chain(
    tmp_path_factory: pytest.TempPathFactory,
    actions: list[tuple[str, int, str]],
    behaviour: Behaviour,
    lump: bool,
) -> None:
    bank = founded(tmp_path_factory.mktemp("bank"))
    bank.behave("A", behaviour)
    if lump:
        bank.lump(ACCOUNT)
    day = DAY
    stated = []
    for number, (action, amount, reference) in enumerate(actions):
        if action == "receive":
            bank.receive(ACCOUNT, amount, day, "李女士", "6222")
        elif action == "fee":
            bank.charge_fee(ACCOUNT, amount, day, "手续费")
        elif action == "pay":
            order(bank, batch(payment(reference, amount), message_id=f"M{number}"))
        else:
            stated += bank.close_day(day)
            day += timedelta(days=amount)
    for later in range(8):
        stated += bank.close_day(day + timedelta(days=later))
    parsed = [parse(path.read_bytes()) for path in stated]
    assert [p.findings for p in parsed] == [()] * len(parsed)
    _chained([p.statements[0] for p in parsed], bank.balance_minor(ACCOUNT))


def _chained(statements: list[Statement], final_minor: int) -> None:
    carried_minor = OPENING_MINOR
    for statement in statements:
        assert statement.opening is not None
        assert statement.closing is not None
        assert statement.opening.amount_minor == carried_minor
        carried_minor = statement.closing.amount_minor
    assert carried_minor == final_minor
