"""What decides who can pay takes two parties: over the wire, as an operator and a trustee do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from sqlalchemy.exc import IntegrityError
from xinyi.v1 import change_service_pb2 as pb
from xinyi.v1 import common_pb2 as common
from xinyi.v1 import fund_service_pb2 as fund
from xinyi.v1 import party_service_pb2 as party

from gateway.domain.party import Role
from gateway.registry import changes, founding
from gateway.rpc.convert import role_number
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    NOW,
    OPERATOR,
    OTHER_CHAIR,
    OWNER,
    SUPERVISOR,
    YEAR,
    Callers,
    StillClock,
    Who,
    confirm,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from gateway.store import Store

State = pb.ChangeState
VICE = Who("wutong-committee", "vice", Role.OWNERS_COMMITTEE)
SECOND_CHECKER = Who("trust", "checker-2", Role.TRUSTEE_CHECKER)


@dataclass(frozen=True, slots=True)
class Register:
    """The operator's side of the register, and everybody's side of its changes."""

    callers: Callers

    async def key_of(self, who: Who) -> party.CreatePublicKeyResponse:
        key = party.PublicKey(
            ed25519=Ed25519PrivateKey.generate().public_key().public_bytes_raw(),
            start_time=_stamp(NOW),
            expire_time=_stamp(NOW + YEAR),
        )
        operator = await self.callers.as_(OPERATOR)
        return await operator.parties.CreatePublicKey(
            party.CreatePublicKeyRequest(parent=who.name, public_key=key, request_id=request_id())
        )

    async def mandate_of(self, who: Who, fund_id: str = "") -> party.CreateMandateResponse:
        mandate = party.Mandate(
            role=role_number(who.role),
            fund=f"funds/{fund_id}" if fund_id else "",
            limit=common.Money(amount_minor=100, currency="CNY"),
            start_time=_stamp(NOW),
            expire_time=_stamp(NOW + YEAR),
        )
        operator = await self.callers.as_(OPERATOR)
        return await operator.parties.CreateMandate(
            party.CreateMandateRequest(
                parent=who.name, mandate_id="m2", mandate=mandate, request_id=request_id()
            )
        )

    async def appoint(self, estate_id: str, party_id: str) -> fund.CreateAppointmentResponse:
        operator = await self.callers.as_(OPERATOR)
        return await operator.funds.CreateAppointment(
            fund.CreateAppointmentRequest(
                parent=f"estates/{estate_id}",
                appointment=fund.Appointment(party=f"parties/{party_id}"),
                request_id=request_id(),
            )
        )

    async def policy(self) -> fund.SetSigningPolicyResponse:
        tier = fund.SigningTier(
            first_roles=[common.ROLE_PROPERTY_FIRM], second_roles=[common.ROLE_TRUSTEE_CHECKER]
        )
        operator = await self.callers.as_(OPERATOR)
        return await operator.funds.SetSigningPolicy(
            fund.SetSigningPolicyRequest(
                parent="funds/wutong",
                signing_policy=fund.SigningPolicy(version=1, tiers=[tier]),
                request_id=request_id(),
            )
        )

    async def person(self, who: Who, human: str) -> None:
        operator = await self.callers.as_(OPERATOR)
        await operator.parties.CreatePerson(
            party.CreatePersonRequest(
                parent=f"parties/{who.party_id}",
                person_id=who.person_id,
                person=party.Person(
                    display_name="某",
                    natural_person=sha256(human.encode()).hexdigest(),
                    roles=[role_number(who.role)],
                ),
                request_id=request_id(),
            )
        )

    async def certificate(self, who: Who) -> party.CreateCertificateResponse:
        pair = self.callers.pki.people.setdefault(who, self.callers.pki.issue(who))
        operator = await self.callers.as_(OPERATOR)
        return await operator.parties.CreateCertificate(
            party.CreateCertificateRequest(
                parent=who.name,
                certificate=party.Certificate(pem=pair.certificate_pem.decode()),
                request_id=request_id(),
            )
        )

    async def listed(self, who: Who, **fields: Any) -> list[pb.Change]:
        calls = await self.callers.as_(who)
        return list((await calls.changes.ListChanges(pb.ListChangesRequest(**fields))).changes)

    async def confirm(self, who: Who, *names: str) -> list[pb.Change]:
        return await confirm(self.callers, who, *names)

    async def reject(self, who: Who, name: str) -> list[pb.Change]:
        calls = await self.callers.as_(who)
        request = pb.RejectChangesRequest(names=[name], reason="不对", request_id=request_id())
        return list((await calls.changes.RejectChanges(request)).changes)


def _stamp(moment: Any) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


@pytest.fixture
def register(callers: Callers) -> Register:
    return Register(callers)


async def _mandates(callers: Callers, who: Who) -> list[str]:
    operator = await callers.as_(OPERATOR)
    request = party.ListMandatesRequest(parent=who.name)
    return [each.name for each in (await operator.parties.ListMandates(request)).mandates]


# --- proposed, not in force ---


async def test_nothing_proposed_is_in_force_until_another_party_confirms_it(
    register: Register, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    key, mandate = await register.key_of(CHAIR), await register.mandate_of(CHAIR)
    appointment, policy = await register.appoint("jinjiang", "anju"), await register.policy()
    proposed = (key, mandate, appointment, policy)
    assert all(each.waits and each.change for each in proposed)

    keys = party.ListPublicKeysRequest(parent=CHAIR.name)
    names = [each.name for each in (await operator.parties.ListPublicKeys(keys)).public_keys]
    assert key.public_key.name not in names
    assert await _mandates(callers, CHAIR) == [f"{CHAIR.name}/mandates/m1"]
    firm = await callers.as_(FIRM)
    asked = fund.GetFundRequest(name="funds/jinjiang")
    assert (await refusal(firm.funds.GetFund(asked))).code is StatusCode.NOT_FOUND
    in_force = fund.GetSigningPolicyRequest(parent="funds/wutong")
    assert (await operator.funds.GetSigningPolicy(in_force)).signing_policy.version == 1

    confirmed = await register.confirm(CHECKER, *(each.change for each in proposed))
    assert {each.state for each in confirmed} == {State.CHANGE_STATE_CONFIRMED}
    names = [each.name for each in (await operator.parties.ListPublicKeys(keys)).public_keys]
    assert key.public_key.name in names
    assert mandate.mandate.name in await _mandates(callers, CHAIR)
    assert (await firm.funds.GetFund(asked)).fund.name == "funds/jinjiang"
    assert (await operator.funds.GetSigningPolicy(in_force)).signing_policy.version == 2


async def test_certificate_of_one_who_acts_lets_nobody_in_before_it_is_confirmed(
    register: Register, callers: Callers
) -> None:
    """Otherwise the operator could make up the person who confirms."""
    await register.person(VICE, "vice")
    proposed = await register.certificate(VICE)
    vice = await callers.as_(VICE)
    asked = party.GetCallerRequest()
    assert (await refusal(vice.parties.GetCaller(asked))).reason == "CERTIFICATE_UNKNOWN"
    await register.confirm(CHAIR, proposed.change)
    assert (await vice.parties.GetCaller(asked)).person.name == VICE.name


async def test_certificate_of_a_reader_needs_nobody(register: Register, callers: Callers) -> None:
    reader = Who("wutong-owners", "neighbour", Role.OWNER)
    await register.person(reader, "neighbour")
    answer = await register.certificate(reader)
    assert (answer.change, answer.waits) == ("", False)
    calls = await callers.as_(reader)
    assert (await calls.parties.GetCaller(party.GetCallerRequest())).person.name == reader.name


async def test_change_that_cannot_be_is_refused_when_it_is_proposed(register: Register) -> None:
    assert (await refusal(register.appoint("wutong", "anju"))).reason == "RESOURCE_EXISTS"
    assert await register.listed(OPERATOR) == []


async def test_one_resource_waits_for_one_change_at_a_time(register: Register) -> None:
    first = await register.mandate_of(CHAIR)
    refused = await refusal(register.mandate_of(CHAIR))
    assert refused.reason == "RESOURCE_EXISTS"
    assert refused.metadata["change"] == first.change
    await register.reject(OPERATOR, first.change)
    assert (await register.mandate_of(CHAIR)).waits


# --- who confirms ---


@pytest.mark.parametrize("who", [OPERATOR, FIRM, MAKER, SUPERVISOR, OWNER])
async def test_only_who_signs_for_trustee_or_owners_confirms(register: Register, who: Who) -> None:
    proposed = await register.mandate_of(CHAIR)
    assert (await refusal(register.confirm(who, proposed.change))).reason == "ROLE_NOT_ALLOWED"


async def test_nobody_confirms_what_they_gain_by(register: Register) -> None:
    proposed = await register.mandate_of(CHAIR)
    assert (await refusal(register.confirm(CHAIR, proposed.change))).reason == "SAME_PERSON"


async def test_one_human_as_two_persons_does_not_confirm_either(register: Register) -> None:
    """The chair also works for the trustee."""
    await register.person(SECOND_CHECKER, CHAIR.name)
    await register.confirm(CHECKER, (await register.certificate(SECOND_CHECKER)).change)
    proposed = await register.mandate_of(CHAIR)
    refused = await refusal(register.confirm(SECOND_CHECKER, proposed.change))
    assert refused.reason == "SAME_PERSON"


async def test_proposers_party_does_not_confirm(register: Register, store: Store) -> None:
    """Whatever further role somebody of it holds."""
    async with store.engine.begin() as owner:
        await owner.execute(
            t.persons.update()
            .where(t.persons.c.person_id == "operator")
            .values(roles=["OPERATOR", "TRUSTEE_CHECKER"])
        )
    proposed = await register.mandate_of(CHAIR)
    assert (await refusal(register.confirm(OPERATOR, proposed.change))).reason == "SAME_PARTY"


async def test_committee_confirms_what_concerns_its_own_estates_only(register: Register) -> None:
    """The trustee serves both estates, the firm only the first."""
    of_trustee = await register.mandate_of(CHECKER)
    of_firm = await register.mandate_of(FIRM)
    of_estate = await register.policy()
    own = await register.listed(OTHER_CHAIR, confirmable=True)
    assert [each.name for each in own] == [of_trustee.change]
    for foreign in (of_firm.change, of_estate.change):
        refused = await refusal(register.confirm(OTHER_CHAIR, foreign))
        assert refused.code is StatusCode.NOT_FOUND
    await register.confirm(OTHER_CHAIR, of_trustee.change)
    await register.confirm(CHAIR, of_firm.change, of_estate.change)


async def test_mandate_for_one_fund_is_confirmed_by_its_estate(register: Register) -> None:
    proposed = await register.mandate_of(CHECKER, "jinjiang")
    assert await register.listed(CHAIR, confirmable=True) == []
    await register.confirm(OTHER_CHAIR, proposed.change)


async def test_ended_appointment_confirms_nothing_any_more(
    register: Register, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    proposed = await register.policy()
    await operator.funds.EndAppointment(
        fund.EndAppointmentRequest(
            name="estates/wutong/appointments/wutong-committee", request_id=request_id()
        )
    )
    assert (await refusal(register.confirm(CHAIR, proposed.change))).code is StatusCode.NOT_FOUND


# --- how it is decided ---


async def test_confirmation_covers_the_bytes_that_were_read(register: Register) -> None:
    proposed = await register.mandate_of(CHAIR)
    calls = await register.callers.as_(CHECKER)
    other = pb.ChangeRef(name=proposed.change, digest=sha256(b"something else").hexdigest())
    request = pb.ConfirmChangesRequest(changes=[other], request_id=request_id())
    assert (await refusal(calls.changes.ConfirmChanges(request))).reason == "PAYLOAD_MISMATCH"


async def test_shown_content_is_the_request_that_was_made(register: Register) -> None:
    await register.mandate_of(CHAIR)
    (shown,) = await register.listed(CHECKER, confirmable=True)
    request = party.CreateMandateRequest()
    assert shown.content.Unpack(request)
    assert (request.parent, request.mandate.limit.amount_minor) == (CHAIR.name, 100)
    assert shown.digest == sha256(shown.content.value).hexdigest()


async def test_many_are_confirmed_all_or_none(register: Register, callers: Callers) -> None:
    """One key that somebody else registered meanwhile keeps the whole batch back."""
    first, second = await register.mandate_of(CHAIR), await register.policy()
    await register.confirm(CHAIR, second.change)
    refused = await refusal(register.confirm(CHECKER, first.change, second.change))
    assert refused.reason == "STATE_FORBIDS"
    assert first.mandate.name not in await _mandates(callers, CHAIR)
    await register.confirm(CHECKER, first.change)


async def test_rejected_or_lapsed_change_never_takes_effect(
    register: Register, clock: StillClock
) -> None:
    rejected, late = await register.mandate_of(CHAIR), await register.policy()
    await register.reject(CHECKER, rejected.change)
    clock.moment = NOW + changes.LIFE + timedelta(seconds=1)
    states = {each.name: each.state for each in await register.listed(OPERATOR)}
    assert states == {
        rejected.change: State.CHANGE_STATE_REJECTED,
        late.change: State.CHANGE_STATE_LAPSED,
    }
    for name in states:
        assert (await refusal(register.confirm(CHECKER, name))).reason == "STATE_FORBIDS"


async def test_change_of_others_is_not_rejected(register: Register) -> None:
    proposed = await register.mandate_of(CHAIR, "wutong")
    refused = await refusal(register.reject(OTHER_CHAIR, proposed.change))
    assert refused.code is StatusCode.NOT_FOUND


# --- ending, and the history ---


async def test_ending_a_right_works_at_once_by_one_and_leaves_its_history(
    register: Register, callers: Callers, clock: StillClock
) -> None:
    operator = await callers.as_(OPERATOR)
    name = f"{CHAIR.name}/mandates/m1"
    request = party.RevokeMandateRequest(name=name, request_id=request_id())
    assert (await operator.parties.RevokeMandate(request)).mandate.HasField("revoke_time")
    clock.moment += timedelta(seconds=1)
    again = party.RevokeMandateRequest(name=name, request_id=request_id())
    await operator.parties.RevokeMandate(again)
    (ended,) = await register.listed(SUPERVISOR, parent="parties/wutong-committee")
    assert (ended.resource, ended.state) == (name, State.CHANGE_STATE_ENDED)
    assert ended.proposer == ended.decider == OPERATOR.name


async def test_person_ends_their_own_key_and_that_is_in_the_history(
    register: Register, callers: Callers
) -> None:
    chair = await callers.as_(CHAIR)
    keys = await chair.parties.ListPublicKeys(party.ListPublicKeysRequest(parent=CHAIR.name))
    name = keys.public_keys[0].name
    await chair.parties.RevokePublicKey(
        party.RevokePublicKeyRequest(name=name, request_id=request_id())
    )
    (ended,) = await register.listed(CHAIR)
    assert (ended.resource, ended.decider) == (name, CHAIR.name)


async def test_history_says_who_proposed_and_who_confirmed(
    register: Register, clock: StillClock
) -> None:
    proposed = await register.policy()
    clock.moment = NOW + timedelta(hours=1)
    await register.confirm(CHAIR, proposed.change)
    (change,) = await register.listed(SUPERVISOR, parent="estates/wutong")
    assert (change.proposer, change.decider) == (OPERATOR.name, CHAIR.name)
    assert change.create_time.ToDatetime().hour + 1 == change.decide_time.ToDatetime().hour
    assert await register.listed(SUPERVISOR, parent="estates/jinjiang") == []


async def test_history_is_paged_newest_first(register: Register, clock: StillClock) -> None:
    made = []
    for who in (CHAIR, CHECKER, FIRM):
        clock.moment += timedelta(seconds=1)
        made.append((await register.mandate_of(who)).change)
    calls = await register.callers.as_(OPERATOR)
    request = pb.ListChangesRequest(page_size=2)
    first = await calls.changes.ListChanges(request)
    request.page_token = first.next_page_token
    rest = await calls.changes.ListChanges(request)
    assert [each.name for page in (first, rest) for each in page.changes] == made[::-1]
    assert rest.next_page_token == ""


async def test_database_refuses_one_party_twice(register: Register, store: Store) -> None:
    """Whatever the code believes."""
    await register.mandate_of(CHAIR)
    async with store.transaction(GATEWAY) as conn:
        (row,) = (await conn.execute(sa.select(t.register_changes))).all()
    for party_id, human in (("gateway", "other"), ("trust", row.proposer_human)):
        actor = changes.Actor("x", party_id, "x", human)
        with pytest.raises(IntegrityError):
            async with store.transaction(GATEWAY) as conn:
                await changes.decide(conn, row, changes.Outcome.CONFIRMED, actor, NOW)


# --- founding ---


@pytest.fixture
async def empty(store: Store, callers: Callers) -> Register:
    """A gateway with its first operator and nobody else."""
    tables = [table.name for table in t.metadata.sorted_tables if table is not t.log_position]
    operator = callers.pki.people[OPERATOR]
    async with store.engine.begin() as owner:
        # What only grows refuses its owner too.
        await owner.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await owner.execute(sa.text(f"TRUNCATE {', '.join(tables)} CASCADE"))
    founder = founding.Founder(
        party_id="gateway",
        party_name="运营",
        person_id="operator",
        person_name="某",
        natural_person=sha256(b"operator").hexdigest(),
        certificate_pem=operator.certificate_pem.decode(),
    )
    await founding.found(store, founder, NOW)
    calls = await callers.as_(OPERATOR)
    for party_id in ("trust", "wutong-committee"):
        await calls.parties.CreateParty(
            party.CreatePartyRequest(
                party_id=party_id,
                party=party.Party(display_name=party_id),
                request_id=request_id(),
            )
        )
    return Register(callers)


async def test_founding_ends_with_the_first_who_can_confirm(
    empty: Register, clock: StillClock
) -> None:
    """The first operator founds, the first checker is founded, the next waits for the first."""
    await empty.person(CHECKER, "checker")
    assert not (await empty.certificate(CHECKER)).waits
    assert not (await empty.key_of(CHECKER)).waits
    assert not (await empty.mandate_of(CHECKER)).waits
    await empty.person(CHAIR, "chair")
    clock.moment += timedelta(seconds=1)
    waiting = await empty.certificate(CHAIR)
    assert waiting.waits
    await empty.confirm(CHECKER, waiting.change)

    states = [each.state for each in await empty.listed(OPERATOR)]
    assert states == [State.CHANGE_STATE_CONFIRMED, *[State.CHANGE_STATE_FOUNDED] * 4]


async def test_one_human_behind_operator_and_checker_ends_no_founding(empty: Register) -> None:
    """Who proposes could not confirm, whatever else they are."""
    await empty.person(CHECKER, "operator")
    await empty.certificate(CHECKER)
    await empty.person(CHAIR, "chair")
    assert not (await empty.certificate(CHAIR)).waits


async def test_taking_the_rights_of_all_who_confirm_founds_nothing_again(
    register: Register, callers: Callers
) -> None:
    """Else the operator alone could end everybody and then grant alone."""
    operator = await callers.as_(OPERATOR)
    for who in (CHECKER, CHAIR, OTHER_CHAIR):
        listed = await operator.parties.ListCertificates(
            party.ListCertificatesRequest(parent=who.name)
        )
        for each in listed.certificates:
            await operator.parties.RevokeCertificate(
                party.RevokeCertificateRequest(name=each.name, request_id=request_id())
            )
    for party_id in ("trust", "wutong-committee"):
        await operator.funds.EndAppointment(
            fund.EndAppointmentRequest(
                name=f"estates/wutong/appointments/{party_id}", request_id=request_id()
            )
        )
    assert (await register.mandate_of(FIRM)).waits
    assert (await register.policy()).waits


async def test_first_appointment_of_an_estate_is_any_trustees_to_confirm(
    register: Register, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    await operator.funds.CreateEstate(
        fund.CreateEstateRequest(
            estate_id="third", estate=fund.Estate(display_name="三"), request_id=request_id()
        )
    )
    first = [
        await register.appoint("third", party_id) for party_id in ("wutong-committee", "trust")
    ]
    assert await register.listed(CHAIR, confirmable=True) == []
    await register.confirm(CHECKER, *(each.change for each in first))
    later = await register.appoint("third", "anju")
    assert (await refusal(register.confirm(OTHER_CHAIR, later.change))).code is (
        StatusCode.NOT_FOUND
    )
    await register.confirm(CHAIR, later.change)


async def test_repeated_request_id_proposes_nothing_twice(
    register: Register, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    request = fund.CreateAppointmentRequest(
        parent="estates/jinjiang",
        appointment=fund.Appointment(party="parties/anju"),
        request_id=request_id(),
    )
    first = await operator.funds.CreateAppointment(request)
    assert await operator.funds.CreateAppointment(request) == first
    assert len(await register.listed(OPERATOR)) == 1
