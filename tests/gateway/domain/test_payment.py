from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.payment import (
    TERMINAL,
    TRANSITIONS,
    Event,
    State,
    absorbs,
    advance,
    allowed_events,
    in_flight,
    reserves_money,
)

BANK_NEWS = {Event.ACCEPT, Event.REJECT, Event.SETTLE, Event.RETURN}
TO_RELEASE = [Event.HOLD, Event.SIGN_FIRST, Event.SIGN_SECOND, Event.RELEASE]
STOPS = {
    Event.REFUSE: State.REFUSED,
    Event.WITHDRAW: State.WITHDRAWN,
    Event.EXPIRE: State.EXPIRED,
}


def all_paths(state: State, taken: tuple[Event, ...] = ()) -> list[tuple[tuple[Event, ...], State]]:
    """Every path from here that cannot go on, on which it is sent again once at most.

    Any other recursion without end would be a cycle that nobody meant.
    """
    again = Event.RELEASE_AGAIN in taken
    onward = [each for each in allowed_events(state) if not (again and each == Event.RELEASE_AGAIN)]
    if not onward:
        return [(taken, state)]
    return [path for event in onward for path in all_paths(advance(state, event), (*taken, event))]


PATHS = all_paths(State.SUBMITTED)


def test_every_path_ends_and_ends_in_a_terminal_state() -> None:
    assert {state for _, state in PATHS} == TERMINAL - {State.SETTLED}


def test_every_state_can_be_reached() -> None:
    assert {State.SUBMITTED, *TRANSITIONS.values()} == set(State)


def test_nothing_is_released_without_a_hold_and_two_signatures_in_turn() -> None:
    released = [path for path, _ in PATHS if Event.RELEASE in path]
    assert released
    assert all(list(path[: path.index(Event.RELEASE) + 1]) == TO_RELEASE for path in released)


def test_no_path_sends_more_often_than_it_was_released_or_settles_twice() -> None:
    assert all(path.count(Event.SEND) <= 1 + path.count(Event.RELEASE_AGAIN) for path, _ in PATHS)
    assert all(path.count(Event.SETTLE) <= 1 for path, _ in PATHS)


def test_only_what_is_lost_is_released_again() -> None:
    again = [path for path, _ in PATHS if Event.RELEASE_AGAIN in path]
    assert again
    assert all(path[path.index(Event.RELEASE_AGAIN) - 1] == Event.LOSE_TRACK for path in again)


def test_no_path_settles_what_was_never_sent() -> None:
    settled = [path for path, _ in PATHS if Event.SETTLE in path]
    assert settled
    assert all(path.index(Event.SEND) < path.index(Event.SETTLE) for path in settled)


@pytest.mark.parametrize("state", [State.SUBMITTED, State.HELD, State.PARTLY_SIGNED, State.SIGNED])
@pytest.mark.parametrize("event", STOPS)
def test_before_release_a_payment_can_be_refused_withdrawn_or_expire(
    state: State, event: Event
) -> None:
    assert advance(state, event) is STOPS[event]


@pytest.mark.parametrize("state", [state for state in State if in_flight(state)])
def test_after_release_nobody_but_the_bank_can_stop_a_payment(state: State) -> None:
    assert not set(allowed_events(state)) & set(STOPS)


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (Event.ACCEPT, State.ACCEPTED),
        (Event.REJECT, State.REJECTED),
        (Event.SETTLE, State.SETTLED),
    ],
)
def test_only_bank_evidence_or_two_persons_resolve_the_unknown(
    event: Event, outcome: State
) -> None:
    assert advance(State.UNKNOWN, event) is outcome
    by_the_bank = {Event.ACCEPT, Event.REJECT, Event.SETTLE}
    assert set(allowed_events(State.UNKNOWN)) == {*by_the_bank, Event.RELEASE_AGAIN}


def test_a_statement_may_overtake_the_status() -> None:
    state = advance(State.SENT, Event.SETTLE)
    assert state is State.SETTLED
    assert absorbs(state, Event.ACCEPT)


def test_repeated_and_overtaken_bank_news_is_absorbed_and_no_other_event() -> None:
    absorbed = {(state, event) for state, event in product(State, Event) if absorbs(state, event)}
    assert absorbed == {
        (State.ACCEPTED, Event.ACCEPT),
        (State.REJECTED, Event.REJECT),
        (State.SETTLED, Event.ACCEPT),
        (State.SETTLED, Event.SETTLE),
        (State.RETURNED, Event.ACCEPT),
        (State.RETURNED, Event.SETTLE),
        (State.RETURNED, Event.RETURN),
    }


def test_a_bank_may_reject_what_it_had_accepted() -> None:
    assert advance(State.ACCEPTED, Event.REJECT) is State.REJECTED


def test_what_was_settled_can_only_be_returned() -> None:
    assert allowed_events(State.SETTLED) == (Event.RETURN,)
    assert advance(State.SETTLED, Event.RETURN) is State.RETURNED


def test_a_rejection_is_final_and_a_booking_after_it_is_a_contradiction() -> None:
    assert allowed_events(State.REJECTED) == ()
    assert not absorbs(State.REJECTED, Event.SETTLE)
    assert not absorbs(State.REJECTED, Event.ACCEPT)
    assert not absorbs(State.SETTLED, Event.REJECT)


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_a_terminal_state_keeps_everything_out_but_late_bank_news(events: list[Event]) -> None:
    """Random events, illegal ones tried too: after the first terminal state only RETURN moves."""
    state = State.SUBMITTED
    for event in events:
        try:
            after = advance(state, event)
        except GatewayError:
            continue
        assert state not in TERMINAL or (state, event) == (State.SETTLED, Event.RETURN)
        state = after


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_an_event_moves_a_payment_or_is_absorbed_or_refused_never_two_of_them(
    state: State, event: Event
) -> None:
    moves = (state, event) in TRANSITIONS
    assert not (moves and absorbs(state, event))
    assert not absorbs(state, event) or event in BANK_NEWS
    if not moves:
        with pytest.raises(GatewayError):
            advance(state, event)


@pytest.mark.parametrize("state", State)
def test_money_is_held_or_in_flight_but_never_both(state: State) -> None:
    assert not (reserves_money(state) and in_flight(state))
    assert not (state in TERMINAL and (reserves_money(state) or in_flight(state)))


def test_every_state_from_hold_to_the_banks_word_binds_the_money() -> None:
    bound = {state for state in State if reserves_money(state) or in_flight(state)}
    assert bound == set(State) - TERMINAL - {State.SUBMITTED}


def test_a_refusal_names_the_state_the_event_and_what_is_allowed() -> None:
    with pytest.raises(GatewayError) as refused:
        advance(State.SENT, Event.WITHDRAW, "funds/f1/payments/p1")
    error = refused.value
    assert (error.kind, error.reason) == (Kind.PRECONDITION, Reason.STATE_FORBIDS)
    assert error.subject == "funds/f1/payments/p1"
    assert error.metadata == {
        "state": "SENT",
        "event": "WITHDRAW",
        "allowed": "ACCEPT, LOSE_TRACK, REJECT, SETTLE",
    }


def test_a_refusal_in_a_final_state_says_that_nothing_is_allowed() -> None:
    with pytest.raises(GatewayError, match="allowed: nothing"):
        advance(State.EXPIRED, Event.SIGN_FIRST)
