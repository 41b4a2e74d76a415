"""Whoever works on a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import bank_date
from gateway.domain.party import person_name

if TYPE_CHECKING:
    from datetime import date, datetime

    from gateway.domain.party import Role


@dataclass(frozen=True, slots=True)
class Actor:
    """A person at a moment.

    Attributes:
        party_id: the person's party.
        person_id: the person.
        natural_person: equal for the same human in every party.
        roles: what the person may do for the party.
        now: UTC.
    """

    party_id: str
    person_id: str
    natural_person: str
    roles: frozenset[Role]
    now: datetime

    @property
    def name(self) -> str:
        """The person's resource name."""
        return person_name(self.party_id, self.person_id)

    @property
    def today(self) -> date:
        """The banks' calendar day."""
        return bank_date(self.now)
