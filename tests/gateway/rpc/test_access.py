"""The table of who may call what: complete, true to the contract, and in force on the wire."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import (
    audit_service_pb2,
    bank_service_pb2,
    change_service_pb2,
    disclosure_service_pb2,
    duty_service_pb2,
    fund_service_pb2,
    ledger_service_pb2,
    party_service_pb2,
    payment_service_pb2,
    question_service_pb2,
    reconciliation_service_pb2,
)

from gateway.client import decode_error
from gateway.domain.errors import GatewayError, Reason
from gateway.domain.party import Role
from gateway.rpc.access import METHODS, admit
from tests.gateway.support import BY_ROLE, Callers, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTRACT = Path(__file__).parents[3] / "protos" / "xinyi" / "v1"

MODULES = (
    audit_service_pb2,
    bank_service_pb2,
    change_service_pb2,
    disclosure_service_pb2,
    duty_service_pb2,
    fund_service_pb2,
    ledger_service_pb2,
    party_service_pb2,
    payment_service_pb2,
    question_service_pb2,
    reconciliation_service_pb2,
)

DESCRIBED = {
    f"/{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

NO_MESSAGE = b"\xff"
"""Bytes that parse as no message at all: a call that gets as far as its content is INVALID."""


def test_every_method_of_the_contract_is_in_the_table_and_no_other() -> None:
    assert set(METHODS) == set(DESCRIBED)


def test_every_service_file_of_the_contract_is_looked_at_here() -> None:
    names = {Path(module.DESCRIPTOR.name).name for module in MODULES}
    assert names == {path.name for path in CONTRACT.glob("*_service.proto")}


def test_the_table_says_what_the_contract_says() -> None:
    assert dict(METHODS) == dict(_read_contract())


@pytest.mark.parametrize("roles", [frozenset[Role](), frozenset(Role)])
def test_method_that_is_not_in_the_table_is_refused_to_everybody(roles: frozenset[Role]) -> None:
    with pytest.raises(GatewayError) as caught:
        admit("/xinyi.v1.PartyService/New", roles)
    assert caught.value.reason is Reason.ROLE_NOT_ALLOWED


@pytest.mark.parametrize("role", list(Role))
async def test_role_calls_what_the_table_allows_and_is_refused_the_rest(
    role: Role, callers: Callers
) -> None:
    """Refused before a byte of the request is looked at, let through as far as its bytes."""
    channel: Any = await callers.channel(callers.pki.people[BY_ROLE[role]])
    told = {name: await _reason(channel, name) for name in DESCRIBED}
    assert told == {
        name: "FIELD_INVALID" if role in METHODS[name] else "ROLE_NOT_ALLOWED" for name in DESCRIBED
    }


async def _reason(channel: Any, name: str) -> str:
    return decode_error(await failure(_call(channel, name))).reason


async def _call(channel: Any, name: str) -> Any:
    """Calls a method of any arity with bytes that are no message."""
    method = DESCRIBED[name]
    if method.client_streaming:
        return await channel.stream_unary(name)(iter([NO_MESSAGE]))
    if method.server_streaming:
        return [answer async for answer in channel.unary_stream(name)(NO_MESSAGE)]
    return await channel.unary_unary(name)(NO_MESSAGE)


def _read_contract() -> Iterator[tuple[str, frozenset[Role]]]:
    """Each method with the roles that its comment names."""
    for path in CONTRACT.glob("*_service.proto"):
        text = path.read_text(encoding="utf-8")
        (service,) = re.findall(r"^service (\w+)", text, re.MULTILINE)
        for comment, method in re.findall(r"((?:^  // .*\n)+)  rpc (\w+)", text, re.MULTILINE):
            sentence = " ".join(comment.replace("//", " ").split())
            (callers,) = re.findall(r"Callers: (.*?)\.(?: |$)", sentence)
            yield f"/xinyi.v1.{service}/{method}", _roles(callers)


def _roles(callers: str) -> frozenset[Role]:
    if re.search(r"own|every registered|all but OWNER of other", callers):
        return frozenset(Role)
    if callers.startswith("all but OWNER"):
        return frozenset(Role) - {Role.OWNER}
    if callers.startswith("all"):
        return frozenset(Role)
    named = callers.replace("TRUSTEE_*", "TRUSTEE_MAKER, TRUSTEE_CHECKER")
    return frozenset(role for role in Role if re.search(rf"\b{role}\b", named))
