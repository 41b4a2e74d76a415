"""The first operator of an empty gateway: everybody else is registered by an operator's call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.party import Role, person_name
from gateway.registry import parties
from gateway.registry.changes import Actor, Draft, Subject, record_founding
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.store import Store


@dataclass(frozen=True, slots=True)
class Founder:
    """The first operator.

    Attributes:
        party_id: id of the party that runs the gateway.
        party_name: its registered name.
        person_id: id of the person within the party.
        person_name: the person's name.
        natural_person: keyed digest of the person's identity, 64 hexadecimal digits.
        certificate_pem: the client certificate.
    """

    party_id: str
    party_name: str
    person_id: str
    person_name: str
    natural_person: str
    certificate_pem: str


async def found(store: Store, founder: Founder, now: datetime) -> None:
    """Registers the first operator.

    Raises:
        GatewayError: RESOURCE_EXISTS once the gateway has an operator; FIELD_INVALID.
    """
    operators = sa.select(t.persons.c.person_id).where(t.persons.c.roles.contains([Role.OPERATOR]))
    async with store.transaction(GATEWAY) as conn:
        if await conn.scalar(operators.limit(1)):
            raise GatewayError(
                Kind.EXISTS, Reason.RESOURCE_EXISTS, "this gateway has an operator already"
            )
        await parties.create_party(conn, founder.party_id, display_name=founder.party_name, now=now)
        await parties.create_person(
            conn,
            founder.party_id,
            founder.person_id,
            display_name=founder.person_name,
            natural_person=founder.natural_person,
            roles=(Role.OPERATOR,),
            now=now,
        )
        certificate = await parties.create_certificate(
            conn, founder.party_id, founder.person_id, pem=founder.certificate_pem, now=now
        )
        name = person_name(founder.party_id, founder.person_id)
        draft = Draft(
            f"{name}/certificates/{certificate.fingerprint}", Subject(party_id=founder.party_id)
        )
        actor = Actor(name, founder.party_id, founder.person_id, founder.natural_person)
        await record_founding(conn, draft, actor, now)
        await append(conn, [by_gateway(Deed.FOUNDED, now, name)])
