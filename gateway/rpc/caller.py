"""Who is calling, for the length of one call."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.domain.party import Role
from gateway.payments.docket import By
from gateway.store import GATEWAY, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Caller:
    """The person behind the client certificate, as the register had it when the call came in.

    Attributes:
        party_id: last segment of the party's resource name.
        person_id: last segment of the person's resource name.
        natural_person: equal for the same human in every party.
        roles: what the person may do for the party.
    """

    party_id: str
    person_id: str
    natural_person: str
    roles: frozenset[Role]

    @property
    def scope(self) -> Scope:
        """Whose rows the call may reach: the party's, or all for who runs the gateway."""
        return GATEWAY if Role.OPERATOR in self.roles else Scope(self.party_id)

    def acting_as(self, roles: Iterable[Role]) -> Role:
        """The first of these roles that the caller has; the table of methods lets in none without.

        Raises:
            StopIteration: for a caller without one, which is a defect.
        """
        return next(role for role in roles if role in self.roles)

    @property
    def by(self) -> By:
        """Who orders payments and signs them."""
        return By(self.party_id, self.person_id)

    @property
    def actor(self) -> str:
        """The person's resource name, as it stands in histories."""
        return self.by.actor


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """The caller of the running call.

    Raises:
        LookupError: outside a call, which is a defect.
    """
    return _CALLER.get()


def set_caller(caller: Caller) -> None:
    """Names the caller for the rest of the running task; the edge's privilege."""
    _CALLER.set(caller)
