"""The edge over a real mTLS socket: who gets in, and what a call that goes wrong is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from xinyi.v1 import bank_service_pb2 as bank
from xinyi.v1 import common_pb2
from xinyi.v1 import fund_service_pb2 as fund
from xinyi.v1 import party_service_pb2 as pb
from xinyi.v1 import payment_service_pb2 as payment

from gateway.client import decode_error, stubs
from gateway.registry import parties
from gateway.rpc import limits
from gateway.rpc.limits import MAX_MESSAGE_BYTES
from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    CHAIR,
    FIRM,
    LONG,
    OPERATOR,
    OWNER,
    Callers,
    StillClock,
    Who,
    failure,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

WHO = pb.GetCallerRequest()


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """What the gateway logs, as structlog hands it to its renderer."""
    lines: list[Any] = []

    def keep(_logger: object, _name: str, event: Any) -> Any:
        lines.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield lines
    structlog.configure(**before)


# --- who gets in ---


async def test_registered_person_is_told_who_they_are(callers: Callers) -> None:
    chair = await callers.as_(CHAIR)
    answer = await chair.parties.GetCaller(WHO)
    assert answer.person.name == CHAIR.name
    assert answer.party.name == "parties/wutong-committee"


async def test_client_without_a_certificate_does_not_get_through_tls(callers: Callers) -> None:
    nobody = stubs(await callers.channel(None))
    refused = await refusal(nobody.parties.GetCaller(WHO))
    assert refused.code is grpc.StatusCode.UNAVAILABLE


async def test_certificate_that_was_never_registered_is_unauthenticated(callers: Callers) -> None:
    """The same person, the same authority, another certificate."""
    stranger = stubs(await callers.channel(callers.pki.issue(CHAIR)))
    refused = await refusal(stranger.parties.GetCaller(WHO))
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    assert refused.reason == "CERTIFICATE_UNKNOWN"


async def test_certificate_of_a_person_nobody_knows_is_unauthenticated(callers: Callers) -> None:
    ghost = Who("nowhere", "nobody", OPERATOR.role)
    stranger = stubs(await callers.channel(callers.pki.issue(ghost)))
    assert (await refusal(stranger.parties.GetCaller(WHO))).reason == "CERTIFICATE_UNKNOWN"


async def test_revoked_certificate_is_refused_at_the_next_call(callers: Callers) -> None:
    operator, chair = await callers.as_(OPERATOR), await callers.as_(CHAIR)
    await chair.parties.GetCaller(WHO)
    certificates = await operator.parties.ListCertificates(
        pb.ListCertificatesRequest(parent=CHAIR.name)
    )
    await operator.parties.RevokeCertificate(
        pb.RevokeCertificateRequest(name=certificates.certificates[0].name, request_id=request_id())
    )
    refused = await refusal(chair.parties.GetCaller(WHO))
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    assert refused.reason == "CERTIFICATE_REVOKED"


async def test_certificate_out_of_its_time_is_refused(callers: Callers, clock: StillClock) -> None:
    """By the gateway's clock, whatever the clock of TLS says."""
    chair = await callers.as_(CHAIR)
    clock.moment = LONG.end + timedelta(seconds=1)
    assert (await refusal(chair.parties.GetCaller(WHO))).reason == "CERTIFICATE_REVOKED"


async def test_health_and_reflection_answer_any_client_of_the_authority(callers: Callers) -> None:
    channel: Any = await callers.channel(callers.pki.issue(CHAIR))
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING

    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    listed = [
        service.name
        async for message in reflection.ServerReflectionInfo(iter([asked]))
        for service in message.list_services_response.service
    ]
    assert "xinyi.v1.PaymentService" in listed


# --- what is refused before anything is done ---


async def test_malformed_fields_come_back_with_their_paths(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    refused = await refusal(
        operator.parties.CreatePerson(
            pb.CreatePersonRequest(
                parent="parties/anju",
                person_id="Not An Id",
                person=pb.Person(
                    display_name="x",
                    natural_person="short",
                    roles=[common_pb2.ROLE_PROPERTY_FIRM, common_pb2.ROLE_UNSPECIFIED],
                ),
            )
        )
    )
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason == "FIELD_INVALID"
    assert {violation.field for violation in refused.violations} == {
        "person_id",
        "person.natural_person",
        "person.roles[1]",
        "request_id",
    }
    assert refused.message_zh


async def test_refusal_does_not_repeat_what_was_sent(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    error = await failure(
        operator.parties.CreateParty(pb.CreatePartyRequest(party_id="Secret-Name"))
    )
    assert "Secret-Name" not in str(error)


async def test_malformed_message_of_a_client_stream_is_refused(callers: Callers) -> None:
    firm = await callers.as_(FIRM)
    header = payment.UploadVoucherHeader(parent="not a fund", request_id="r")
    stream = iter([payment.UploadVoucherRequest(header=header)])
    refused = await refusal(firm.payments.UploadVoucher(stream))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "header.parent" in {violation.field for violation in refused.violations}


async def test_message_too_large_is_refused(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    huge = bank.ImportStatementRequest(content=b"x" * (MAX_MESSAGE_BYTES + 1))
    refused = await refusal(operator.banks.ImportStatement(iter([huge])))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_unknown_method_is_unimplemented(callers: Callers) -> None:
    channel: Any = await callers.channel(callers.pki.people[OPERATOR])
    error = await failure(channel.unary_unary("/xinyi.v1.PartyService/Rob")(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_call_with_too_little_time_left_is_not_begun(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is raised above the call's deadline, so that no test waits."""
    monkeypatch.setattr(limits, "MIN_REMAINING_S", 1000.0)
    operator = await callers.as_(OPERATOR)
    refused = await refusal(operator.parties.GetCaller(WHO, timeout=100))
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert refused.reason == "DEADLINE_TOO_SHORT"


async def test_call_without_a_deadline_ends_at_ours(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CALL_S", 0.0)
    operator = await callers.as_(OPERATOR)
    assert (await refusal(operator.parties.GetCaller(WHO))).reason == "DEADLINE_TOO_SHORT"


async def test_text_with_nul_is_refused_as_invalid(callers: Callers) -> None:
    """PostgreSQL has no NUL in texts; the caller hears so, and not of a defect."""
    operator = await callers.as_(OPERATOR)
    refused = await refusal(
        operator.funds.CreateEstate(
            fund.CreateEstateRequest(
                estate_id="e", estate=fund.Estate(display_name="a\0b"), request_id=request_id()
            )
        )
    )
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


# --- what is told of a defect, and what is logged ---


async def test_defect_tells_the_caller_nothing_and_the_log_where(
    callers: Callers, monkeypatch: pytest.MonkeyPatch, log: list[Any]
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("6222010000000001 王小明")

    monkeypatch.setattr(parties, "get_party", broken)
    operator = await callers.as_(OPERATOR)
    error = await failure(operator.parties.GetCaller(WHO))
    assert decode_error(error).reason == "INTERNAL"
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "王小明" not in str(error)

    (defect,) = [line for line in log if line["event"] == "call_broken"]
    assert defect["cause"] == ["ZeroDivisionError"]
    assert any("GetCaller" in frame for frame in defect["frames"])
    assert "王小明" not in str(log)


async def test_each_call_leaves_one_line_with_ids_and_no_content(
    callers: Callers, log: list[Any]
) -> None:
    chair = await callers.as_(CHAIR)
    await chair.funds.ListBankAccounts(fund.ListBankAccountsRequest(parent="funds/wutong"))
    owner = await callers.as_(OWNER)
    await failure(owner.funds.ListBankAccounts(fund.ListBankAccountsRequest(parent="funds/wutong")))

    # A line is written behind its answer, which may be here first.
    for _ in range(500):
        if len([line for line in log if line["event"] == "call"]) == 2:
            break
        await asyncio.sleep(0.01)
    answered, refused = [line for line in log if line["event"] == "call"]
    assert answered["method"] == "/xinyi.v1.FundService/ListBankAccounts"
    assert (answered["party"], answered["person"]) == ("wutong-committee", "chair")
    assert (answered["code"], answered["reason"]) == ("OK", "")
    assert answered["duration_ms"] >= 0
    assert (refused["code"], refused["reason"]) == ("PERMISSION_DENIED", "ROLE_NOT_ALLOWED")
    assert answered["call_id"] != refused["call_id"]
    for secret in (ACCOUNT_NUMBERS["wutong"], "信托财产专户", "chair某"):
        assert secret not in str(log)
