"""The life of a payment: one table of states and events; what is not in the table cannot happen."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.domain.errors import Reason, precondition

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a payment stands."""

    SUBMITTED = "SUBMITTED"
    """Recorded, no money held yet."""
    HELD = "HELD"
    """Its amount is held against the budget line and the book."""
    PARTLY_SIGNED = "PARTLY_SIGNED"
    """One of the two signatures is there."""
    SIGNED = "SIGNED"
    """Both signatures are there."""
    RELEASED = "RELEASED"
    """Checked again and recorded in the outbox: from here on only the bank decides."""
    SENT = "SENT"
    """Recorded as handed to the bank; no answer yet."""
    ACCEPTED = "ACCEPTED"
    """The bank has taken it; the debit is not booked yet."""
    UNKNOWN = "UNKNOWN"
    """No answer in time. It may have been paid: nobody sends it again on their own."""
    REJECTED = "REJECTED"
    """The bank refused it. Final."""
    SETTLED = "SETTLED"
    """The bank booked the debit. Success, though a return can still follow days later (退票)."""
    RETURNED = "RETURNED"
    """The money came back after it was booked. Final."""
    REFUSED = "REFUSED"
    """A signer declined. Final."""
    WITHDRAWN = "WITHDRAWN"
    """Whoever asked took it back. Final."""
    EXPIRED = "EXPIRED"
    """Its time to be signed ran out. Final."""


class Event(StrEnum):
    """What can happen to a payment."""

    HOLD = "HOLD"
    SIGN_FIRST = "SIGN_FIRST"
    SIGN_SECOND = "SIGN_SECOND"
    RELEASE = "RELEASE"
    SEND = "SEND"
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    LOSE_TRACK = "LOSE_TRACK"
    """The bank did not answer in time."""
    RELEASE_AGAIN = "RELEASE_AGAIN"
    """The bank never had it: two persons signed that it be sent again under its own reference."""
    SETTLE = "SETTLE"
    RETURN = "RETURN"
    REFUSE = "REFUSE"
    WITHDRAW = "WITHDRAW"
    EXPIRE = "EXPIRE"


_RESERVING = frozenset({State.HELD, State.PARTLY_SIGNED, State.SIGNED})
_IN_FLIGHT = frozenset({State.RELEASED, State.SENT, State.ACCEPTED, State.UNKNOWN})

_FORWARD: Mapping[tuple[State, Event], State] = {
    (State.SUBMITTED, Event.HOLD): State.HELD,
    (State.HELD, Event.SIGN_FIRST): State.PARTLY_SIGNED,
    (State.PARTLY_SIGNED, Event.SIGN_SECOND): State.SIGNED,
    (State.SIGNED, Event.RELEASE): State.RELEASED,
    (State.RELEASED, Event.SEND): State.SENT,
}

_BEFORE_RELEASE: Mapping[tuple[State, Event], State] = {
    (state, event): outcome
    for state in (State.SUBMITTED, *sorted(_RESERVING))
    for event, outcome in (
        (Event.REFUSE, State.REFUSED),
        (Event.WITHDRAW, State.WITHDRAWN),
        (Event.EXPIRE, State.EXPIRED),
    )
}

_BY_THE_BANK: Mapping[tuple[State, Event], State] = {
    (State.SENT, Event.ACCEPT): State.ACCEPTED,
    (State.SENT, Event.REJECT): State.REJECTED,
    (State.SENT, Event.SETTLE): State.SETTLED,
    (State.SENT, Event.LOSE_TRACK): State.UNKNOWN,
    (State.UNKNOWN, Event.ACCEPT): State.ACCEPTED,
    (State.UNKNOWN, Event.REJECT): State.REJECTED,
    (State.UNKNOWN, Event.SETTLE): State.SETTLED,
    (State.UNKNOWN, Event.RELEASE_AGAIN): State.RELEASED,
    (State.ACCEPTED, Event.REJECT): State.REJECTED,
    (State.ACCEPTED, Event.SETTLE): State.SETTLED,
    (State.SETTLED, Event.RETURN): State.RETURNED,
}

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {**_FORWARD, **_BEFORE_RELEASE, **_BY_THE_BANK}
)
"""Every move there is."""

TERMINAL = frozenset(
    {
        State.REJECTED,
        State.SETTLED,
        State.RETURNED,
        State.REFUSED,
        State.WITHDRAWN,
        State.EXPIRED,
    }
)
"""Nothing more is expected. Only SETTLED still has a way on: a bank may return what it paid."""

_ABSORBED: Mapping[State, frozenset[Event]] = {
    State.ACCEPTED: frozenset({Event.ACCEPT}),
    State.REJECTED: frozenset({Event.REJECT}),
    State.SETTLED: frozenset({Event.ACCEPT, Event.SETTLE}),
    State.RETURNED: frozenset({Event.ACCEPT, Event.SETTLE, Event.RETURN}),
}


def advance(state: State, event: Event, subject: str = "") -> State:
    """The state after the event.

    Args:
        state: where the payment stands.
        event: what happened.
        subject: resource name of the payment, for the refusal.

    Raises:
        GatewayError: STATE_FORBIDS if the table has no such move; names state, event and what is
            allowed.
    """
    outcome = TRANSITIONS.get((state, event))
    if outcome is None:
        allowed = ", ".join(allowed_events(state)) or "nothing"
        raise precondition(
            Reason.STATE_FORBIDS,
            subject,
            f"a payment that is {state} cannot {event}; allowed: {allowed}",
            state=state.value,
            event=event.value,
            allowed=allowed,
        )
    return outcome


def allowed_events(state: State) -> tuple[Event, ...]:
    """What may happen next, in alphabetical order."""
    return tuple(sorted(event for source, event in TRANSITIONS if source is state))


def absorbs(state: State, event: Event) -> bool:
    """Whether this is repeated or late bank news that leaves the payment as it is.

    A bank may repeat itself, and a status may arrive after the statement that overtook it. News
    that contradicts what is known, such as a rejection of what was booked, is never absorbed:
    `advance` refuses it and a person looks. A second debit entry changes no state either, but
    remains an entry of its own that the night's reconciliation must explain.
    """
    return event in _ABSORBED.get(state, frozenset())


def reserves_money(state: State) -> bool:
    """Whether the amount is held, not yet on its way: it counts against budget and balance."""
    return state in _RESERVING


def in_flight(state: State) -> bool:
    """Whether the bank has it, or may have it, and has not said how it ended."""
    return state in _IN_FLIGHT
