"""What must hold after every fault: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xinyi.v1 import payment_service_pb2 as pb

from gateway.store import open_store
from tests.faults.people import NO_ANSWERS, all_of
from tests.gateway.payments.desk import check_conserved
from tests.gateway.support import ACCOUNT_NUMBERS, OPENING_MINOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.people import Told
    from tests.faults.stage import Stage

_AT_A_TIME: Final = 6
_EXPECTED: Final = frozenset({"SAME_PERSON"})
"""Refusals that the load provokes."""


async def check(stage: Stage, lately: Sequence[Told]) -> None:
    """Everything that must hold once a fault is over and all is delivered.

    Args:
        stage: where it happened.
        lately: what was told during it; asked again here, and the answers compared.
    """
    _check_troubles(stage)
    await _check_conserved(stage)
    await _check_acknowledged(stage)
    await _check_watched(stage)
    await _check_same_again(stage, lately)
    await _check_bank(stage)


def _check_troubles(stage: Stage) -> None:
    assert not NO_ANSWERS & set(stage.people.troubles), stage.people.troubles
    refusals = {told.reason for told in stage.people.journal if told.reason}
    assert refusals <= _EXPECTED, refusals


async def _check_conserved(stage: Stage) -> None:
    """The ledger balances, in each of the ways that the tests of payments know."""
    store = open_store(stage.database_url, pool_size=1)
    try:
        await check_conserved(store)
    finally:
        await store.close()


async def _check_acknowledged(stage: Stage) -> None:
    """In the database is what was acknowledged, all of it and nothing else."""
    journal = stage.people.journal
    requests = await stage.rows("SELECT party_id, request_id FROM requests")
    sent = {(told.who.party_id, told.request.request_id) for told in journal}
    assert {tuple(row) for row in requests if row["request_id"].startswith("round-")} == sent
    asked = [
        pb.SubmitPaymentResponse.FromString(told.answer).payment
        for told in journal
        if told.method == "SubmitPayment"
    ]
    payments = await stage.rows("SELECT fund_id, payment_id, amount_minor FROM payments")
    assert sorted(
        (f"funds/{row['fund_id']}/payments/{row['payment_id']}", row["amount_minor"])
        for row in payments
    ) == sorted((payment.name, payment.amount.amount_minor) for payment in asked)
    signed = [
        (told.request.name.rpartition("/")[2], told.who.party_id, told.who.person_id)
        for told in journal
        if told.method == "SignPayment" and not told.reason
    ]
    signatures = await stage.rows("SELECT payment_id, party_id, person_id FROM payment_signatures")
    assert sorted(map(tuple, signatures)) == sorted(signed)


async def _check_watched(stage: Stage) -> None:
    """Who watches was told every change, once and in order, however often the stream broke."""
    events = await stage.rows(
        "SELECT fund_id, payment_id, state FROM payment_events ORDER BY transaction_id, sequence"
    )
    assert stage.watcher.seen == [
        (f"funds/{row['fund_id']}/payments/{row['payment_id']}", row["state"]) for row in events
    ]


async def _check_same_again(stage: Stage, lately: Sequence[Told]) -> None:
    """Each request id gives the same bytes again, refusals too."""
    again = await all_of([stage.people.ask_again(told) for told in lately], _AT_A_TIME)
    assert again == list(lately)


async def _check_bank(stage: Stage) -> None:
    """Every release reached the bank once, and both sides have the same money."""
    released = {
        row["payment_id"]: row["state"]
        for row in await stage.rows(
            "SELECT payment_id, state FROM payments WHERE transmission_id <> ''"
        )
    }
    assert set(stage.bank.ordered) == set(released)
    assert max(stage.bank.ordered.values(), default=1) == 1
    assert set(released.values()) <= {"SETTLED", "REJECTED"}
    settled = {payment_id for payment_id, state in released.items() if state == "SETTLED"}
    assert dict(stage.bank.debited) == dict.fromkeys(settled, 1)
    rows = await stage.rows(
        "SELECT fund_id, bank_minor, running_minor FROM bank_accounts JOIN funds USING (fund_id)"
    )
    for fund_id, bank_minor, running_minor in rows:
        has_minor = stage.bank.simulated.balance_minor(ACCOUNT_NUMBERS[fund_id])
        assert bank_minor == running_minor == has_minor
    assert sum(row["bank_minor"] for row in rows) <= OPENING_MINOR * len(rows)
