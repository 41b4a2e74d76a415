"""Everything the simulated bank knows, kept in one JSON file that is replaced as a whole."""

import os
from datetime import date
from pathlib import Path

from pydantic import BaseModel, Field

from adapters.model import Balance, Entry
from adapters.transports.directory import sync


class Behaviour(BaseModel, frozen=True):
    """How the bank treats the payments of one reference or to one account; parts combine."""

    reject_code: str = ""
    """Refused with this ISO 20022 reason code."""
    silent: bool = False
    """The money moves, but the file that holds the payment is never answered."""
    return_after_days: int = 0
    """Booked, and credited back this many working days of the bank later; 0 is never."""
    return_reason: str = "AC04"
    book_next_day: bool = False
    """Accepted today, booked tomorrow: an item in transit."""


class Posting(BaseModel, frozen=True):
    """An entry of an account, and the number of payments it stands for if it is a lump."""

    entry: Entry
    lump_count: int | None = None


class Account(BaseModel):
    """One account, its movements not yet on a statement, and how it is run."""

    name: str
    currency: str
    balance_minor: int
    """All that is booked, also what is not on a statement yet."""
    stated: Balance
    """The closing balance of the last closed day: the next opening balance."""
    postings: list[Posting] = []
    """Booked and not yet on a statement."""
    history: list[Posting] = []
    lump: bool = False
    omitted_days: set[date] = set()


class Due(BaseModel, frozen=True):
    """A movement that the bank will book on a later day."""

    account: str
    on: date
    entry: Entry
    """Its id and dates are given when it is booked."""


class Answered(BaseModel, frozen=True):
    """What the bank answered to a message, to say the same again."""

    sha256: str
    name: str
    answer: str
    """The pain.002; empty for a silence."""


class State(BaseModel):
    """The bank."""

    seed: int
    serial: int = 0
    closed_on: date | None = None
    accounts: dict[str, Account] = {}
    behaviours: dict[str, Behaviour] = {}
    answered: dict[str, Answered] = {}
    paid: set[str] = Field(default_factory=set)
    """References of payments that were taken on: each is paid once for ever."""
    due: list[Due] = []


def load(path: Path, seed: int) -> State:
    """The state in a file, or a new bank with no accounts."""
    if not path.exists():
        return State(seed=seed)
    return State.model_validate_json(path.read_bytes())


def save(state: State, path: Path) -> None:
    """Replace the file as a whole, so that a crash leaves the old state or the new one."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(state.model_dump_json(indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync(path.parent)
