from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.party import Mandate, PublicKey, Role, identity_uri, parse_identity_uri
from tests.gateway.domain.examples import DAY, NOW, SECOND, mandate, public_key

IDS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
RIGHTS = [public_key("wang", "wang"), mandate("wang", Role.OWNERS_COMMITTEE)]


@given(IDS, IDS)
def test_a_certificate_names_exactly_its_party_and_person(party_id: str, person_id: str) -> None:
    assert parse_identity_uri(identity_uri(party_id, person_id)) == (party_id, person_id)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "xinyi://party/firm",
        "xinyi://party/firm/person/",
        "xinyi://party//person/wang",
        "xinyi://party/firm/person/wang/",
        "xinyi://party/firm/person/wang\n",
        " xinyi://party/firm/person/wang",
        "xinyi://party/firm/person/wang?x",
        "xinyi://party/firm/person/Wang",
        "xinyi://party/firm/person/w%61ng",
        "xinyi://party/firm/person/a/person/b",
        "https://party/firm/person/wang",
        f"xinyi://party/firm/person/{'w' * 64}",
    ],
)
def test_a_uri_that_is_not_exactly_ours_names_nobody(uri: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_identity_uri(uri)
    assert refused.value.kind is Kind.UNAUTHENTICATED
    assert refused.value.reason is Reason.CERTIFICATE_UNKNOWN


@pytest.mark.parametrize("bad", ["", "a/person/b", "A", "-a", "a\n", "a" * 64])
def test_an_id_that_could_be_read_as_another_identity_is_never_written(bad: str) -> None:
    for party_id, person_id in ((bad, "wang"), ("firm", bad)):
        with pytest.raises(GatewayError):
            identity_uri(party_id, person_id)


@pytest.mark.parametrize("right", RIGHTS)
def test_a_right_holds_from_its_first_to_its_last_moment(right: PublicKey | Mandate) -> None:
    assert right.in_force(right.valid_from)
    assert right.in_force(right.valid_until)
    assert not right.in_force(right.valid_from - SECOND)
    assert not right.in_force(right.valid_until + SECOND)


@pytest.mark.parametrize("right", RIGHTS)
def test_a_revoked_right_ends_at_the_moment_of_revocation(right: PublicKey | Mandate) -> None:
    revoked = replace(right, revoked_at=NOW)
    assert revoked.in_force(NOW - SECOND)
    assert not revoked.in_force(NOW)
    assert not revoked.in_force(NOW + DAY)


def test_a_key_is_not_registered_under_the_id_of_another() -> None:
    key, other = public_key("wang", "wang"), public_key("wang", "li")
    with pytest.raises(GatewayError, match="its id names"):
        replace(key, key_id=other.key_id)


def test_a_weak_key_is_not_registered() -> None:
    with pytest.raises(GatewayError, match="weak"):
        replace(public_key("wang", "wang"), raw=(1).to_bytes(32, "little"))
