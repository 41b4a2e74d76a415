"""PartyService over the wire: what is registered, who reads it, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc
from xinyi.v1 import common_pb2
from xinyi.v1 import party_service_pb2 as pb

from gateway.domain.keys import key_id
from gateway.domain.party import Role
from gateway.rpc.caller import Caller
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    LIMIT_MINOR,
    OPERATOR,
    OWNER,
    SUPERVISOR,
    Callers,
    Who,
    confirm,
    refusal,
    request_id,
)

CODE = uscc.calc_check_digit("91110000600037341")
SOCIAL_CREDIT_CODE = f"91110000600037341{CODE}"
ROLE = common_pb2.Role


def _stamp(year: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
    return stamp


def _new_key(raw: bytes, start: int = 2026, end: int = 2027) -> pb.CreatePublicKeyRequest:
    key = pb.PublicKey(ed25519=raw, start_time=_stamp(start), expire_time=_stamp(end))
    return pb.CreatePublicKeyRequest(parent=CHAIR.name, public_key=key, request_id=request_id())


def _new_mandate(**fields: Any) -> pb.CreateMandateRequest:
    given_fields: dict[str, Any] = {
        "role": ROLE.ROLE_OWNERS_COMMITTEE,
        "fund": "funds/wutong",
        "limit": common_pb2.Money(amount_minor=100, currency="CNY"),
        "start_time": _stamp(2026),
        "expire_time": _stamp(2027),
        **fields,
    }
    return pb.CreateMandateRequest(
        parent=CHAIR.name,
        mandate_id="m2",
        mandate=pb.Mandate(**given_fields),
        request_id=request_id(),
    )


@given(st.frozensets(st.sampled_from(Role)))
def test_only_an_operator_reaches_beyond_the_own_party(roles: frozenset[Role]) -> None:
    caller = Caller("p", "q", "0" * 64, roles)
    assert caller.scope.party_id == ("*" if Role.OPERATOR in roles else "p")
    assert caller.actor == "parties/p/persons/q"


# --- parties ---


async def test_new_party_is_there_and_has_an_etag(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    created = await operator.parties.CreateParty(
        pb.CreatePartyRequest(
            party_id="new",
            party=pb.Party(display_name="新公司", social_credit_code=SOCIAL_CREDIT_CODE),
            request_id=request_id(),
        )
    )
    assert created.party.name == "parties/new"
    assert created.party.etag
    read = await operator.parties.GetParty(pb.GetPartyRequest(name="parties/new"))
    assert read.party == created.party


async def test_party_with_a_wrong_check_character_is_refused(callers: Callers) -> None:
    wrong = SOCIAL_CREDIT_CODE[:-1] + ("1" if CODE != "1" else "2")
    operator = await callers.as_(OPERATOR)
    refused = await refusal(
        operator.parties.CreateParty(
            pb.CreatePartyRequest(
                party_id="new",
                party=pb.Party(display_name="x", social_credit_code=wrong),
                request_id=request_id(),
            )
        )
    )
    assert [violation.field for violation in refused.violations] == ["party.social_credit_code"]


async def test_taken_party_id_is_refused(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    refused = await refusal(
        operator.parties.CreateParty(
            pb.CreatePartyRequest(
                party_id="anju", party=pb.Party(display_name="x"), request_id=request_id()
            )
        )
    )
    assert (refused.code, refused.reason) == (StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS")


async def test_everybody_reads_their_own_party_and_the_office_all(callers: Callers) -> None:
    for who in (FIRM, OWNER, SUPERVISOR, CHECKER):
        calls = await callers.as_(who)
        own = await calls.parties.GetParty(pb.GetPartyRequest(name=f"parties/{who.party_id}"))
        assert own.party.name == f"parties/{who.party_id}"
    supervisor = await callers.as_(SUPERVISOR)
    other = await supervisor.parties.GetParty(pb.GetPartyRequest(name="parties/hexin"))
    assert other.party.name == "parties/hexin"


@pytest.mark.parametrize("name", ["parties/hexin", "parties/nobody"])
async def test_other_party_looks_the_same_as_none(callers: Callers, name: str) -> None:
    firm = await callers.as_(FIRM)
    refused = await refusal(firm.parties.GetParty(pb.GetPartyRequest(name=name)))
    assert (refused.code, refused.reason) == (StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


async def test_renamed_party_has_another_etag_and_the_old_one_no_longer_changes_it(
    callers: Callers,
) -> None:
    operator = await callers.as_(OPERATOR)
    read = (await operator.parties.GetParty(pb.GetPartyRequest(name="parties/anju"))).party
    new = pb.Party(name=read.name, display_name="新名", etag=read.etag)

    def request() -> pb.UpdatePartyRequest:
        return pb.UpdatePartyRequest(
            party=new, update_mask=FieldMask(paths=["display_name"]), request_id=request_id()
        )

    changed = await operator.parties.UpdateParty(request())
    assert changed.party.display_name == "新名"
    assert changed.party.etag != read.etag
    refused = await refusal(operator.parties.UpdateParty(request()))
    assert (refused.code, refused.reason) == (StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_field_that_cannot_change_is_refused_by_its_mask(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    refused = await refusal(
        operator.parties.UpdateParty(
            pb.UpdatePartyRequest(
                party=pb.Party(name="parties/anju", display_name="x"),
                update_mask=FieldMask(paths=["social_credit_code"]),
                request_id=request_id(),
            )
        )
    )
    assert [violation.field for violation in refused.violations] == ["update_mask"]


# --- persons and certificates ---


async def test_new_person_gets_in_with_a_registered_certificate(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    who = Who("anju", "second", Role.PROPERTY_FIRM)
    person = pb.Person(display_name="某", natural_person="a" * 64, roles=[ROLE.ROLE_PROPERTY_FIRM])
    await operator.parties.CreatePerson(
        pb.CreatePersonRequest(
            parent="parties/anju", person_id="second", person=person, request_id=request_id()
        )
    )
    pair = callers.pki.issue(who)
    callers.pki.people[who] = pair
    proposed = await operator.parties.CreateCertificate(
        pb.CreateCertificateRequest(
            parent=who.name,
            certificate=pb.Certificate(pem=pair.certificate_pem.decode()),
            request_id=request_id(),
        )
    )
    await confirm(callers, CHECKER, proposed.change)
    second = await callers.as_(who)
    assert (await second.parties.GetCaller(pb.GetCallerRequest())).person.name == who.name


@pytest.mark.parametrize("pem", ["of another person", "no certificate"])
async def test_certificate_that_does_not_name_the_person_is_refused(
    callers: Callers, pem: str
) -> None:
    operator = await callers.as_(OPERATOR)
    other = callers.pki.issue(FIRM).certificate_pem.decode()
    refused = await refusal(
        operator.parties.CreateCertificate(
            pb.CreateCertificateRequest(
                parent=CHAIR.name,
                certificate=pb.Certificate(pem=other if pem.startswith("of") else "x" * 64),
                request_id=request_id(),
            )
        )
    )
    assert [violation.field for violation in refused.violations] == ["certificate.pem"]


async def test_person_of_no_party_is_refused(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    person = pb.Person(display_name="x", natural_person="a" * 64, roles=[ROLE.ROLE_OWNER])
    refused = await refusal(
        operator.parties.CreatePerson(
            pb.CreatePersonRequest(
                parent="parties/nobody", person_id="x", person=person, request_id=request_id()
            )
        )
    )
    assert refused.reason == "RESOURCE_NOT_FOUND"


async def test_lists_of_a_person_are_for_the_own_party_and_the_office(callers: Callers) -> None:
    """Certificates are for the operator and the own party alone."""
    for who, reads_keys, reads_certificates in (
        (OPERATOR, True, True),
        (CHAIR, True, True),
        (CHECKER, True, False),
        (FIRM, False, False),
    ):
        parties = (await callers.as_(who)).parties
        lists = (
            (reads_keys, parties.ListPublicKeys(pb.ListPublicKeysRequest(parent=CHAIR.name))),
            (reads_keys, parties.ListMandates(pb.ListMandatesRequest(parent=CHAIR.name))),
            (
                reads_certificates,
                parties.ListCertificates(pb.ListCertificatesRequest(parent=CHAIR.name)),
            ),
        )
        for readable, answer in lists:
            if readable:
                assert await answer
            else:
                assert (await refusal(answer)).reason == "RESOURCE_NOT_FOUND"


# --- keys ---


async def test_new_key_is_named_by_its_id(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    public = Ed25519PrivateKey.generate().public_key()
    answer = await operator.parties.CreatePublicKey(_new_key(public.public_bytes_raw()))
    assert answer.public_key.name == f"{CHAIR.name}/publicKeys/{key_id(public)}"


async def test_key_that_anybody_has_is_refused(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    raw = CHECKER.signing_key.public_key().public_bytes_raw()
    refused = await refusal(operator.parties.CreatePublicKey(_new_key(raw)))
    assert refused.reason == "RESOURCE_EXISTS"


@pytest.mark.parametrize(
    ("raw", "start", "end"),
    [(bytes(32), 2026, 2027), (bytes([1]) + bytes(31), 2026, 2027), (b"\x42" * 32, 2027, 2026)],
)
async def test_weak_key_or_one_that_ends_before_it_begins_is_refused(
    callers: Callers, raw: bytes, start: int, end: int
) -> None:
    operator = await callers.as_(OPERATOR)
    refused = await refusal(operator.parties.CreatePublicKey(_new_key(raw, start, end)))
    assert refused.reason == "FIELD_INVALID"


async def test_person_ends_their_own_key_but_nobody_elses(callers: Callers) -> None:
    chair = await callers.as_(CHAIR)
    own, other = (
        f"{who.name}/publicKeys/{key_id(who.signing_key.public_key())}" for who in (CHAIR, CHECKER)
    )
    refused = await refusal(
        chair.parties.RevokePublicKey(
            pb.RevokePublicKeyRequest(name=other, request_id=request_id())
        )
    )
    assert refused.reason == "RESOURCE_NOT_FOUND"
    ended = await chair.parties.RevokePublicKey(
        pb.RevokePublicKeyRequest(name=own, request_id=request_id())
    )
    assert ended.public_key.HasField("revoke_time")


# --- mandates ---


async def test_mandate_given_listed_and_ended(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    proposed = await operator.parties.CreateMandate(_new_mandate())
    given_one = proposed.mandate
    await confirm(callers, CHECKER, proposed.change)
    listed = await operator.parties.ListMandates(pb.ListMandatesRequest(parent=CHAIR.name))
    assert [mandate.limit.amount_minor for mandate in listed.mandates] == [LIMIT_MINOR, 100]
    assert listed.mandates[1] == given_one

    def end() -> Any:
        request = pb.RevokeMandateRequest(name=given_one.name, request_id=request_id())
        return operator.parties.RevokeMandate(request)

    ended = (await end()).mandate
    assert ended.HasField("revoke_time")
    assert (await end()).mandate == ended


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"role": ROLE.ROLE_TRUSTEE_CHECKER}, "FIELD_INVALID"),
        ({"role": ROLE.ROLE_OPERATOR}, "FIELD_INVALID"),
        ({"limit": common_pb2.Money(amount_minor=0, currency="CNY")}, "AMOUNT_OUT_OF_RANGE"),
        ({"limit": common_pb2.Money(amount_minor=1, currency="USD")}, "CURRENCY_MISMATCH"),
        ({"expire_time": _stamp(2025)}, "FIELD_INVALID"),
        ({"fund": "funds/none"}, "RESOURCE_NOT_FOUND"),
    ],
)
async def test_mandate_that_cannot_be_is_refused(
    callers: Callers, fields: dict[str, Any], reason: str
) -> None:
    operator = await callers.as_(OPERATOR)
    refused = await refusal(operator.parties.CreateMandate(_new_mandate(**fields)))
    assert refused.reason == reason
