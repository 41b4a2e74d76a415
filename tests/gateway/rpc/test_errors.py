"""Every refusal becomes one status with details; whatever else goes wrong tells nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.rpc import (  # type: ignore[import-untyped] # it ships no stubs
    error_details_pb2,
    status_pb2,
)
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from xinyi.v1 import common_pb2

from gateway.domain.errors import (
    MESSAGES_ZH,
    FieldViolation,
    GatewayError,
    Kind,
    Reason,
    denied,
    invalid,
    precondition,
)
from gateway.rpc.errors import CODES, StoredRefusal, reason_in, status_of, to_status

if TYPE_CHECKING:
    from google.protobuf.message import Message

TEXT = st.text(max_size=20)
REFUSALS = st.builds(
    GatewayError,
    kind=st.sampled_from(Kind),
    reason=st.sampled_from(Reason),
    message=TEXT,
    metadata=st.dictionaries(TEXT, TEXT, max_size=4),
    violations=st.lists(st.builds(FieldViolation, TEXT, TEXT), max_size=3).map(tuple),
    subject=TEXT,
)


class _Broken(Exception):  # noqa: N818 - stands for the driver's
    def __init__(self, sqlstate: str) -> None:
        super().__init__("Key (account_number)=(6222010000000001)")
        self.sqlstate = sqlstate


def _by_database(sqlstate: str) -> DBAPIError:
    return DBAPIError("SELECT", {"name": "王小明"}, _Broken(sqlstate))


def _detail(status: status_pb2.Status, kind: type[Message]) -> Any:
    for each in status.details:
        found = kind()
        if each.Unpack(found):
            return found
    return None


def test_reasons_of_the_contract_are_those_of_the_domain() -> None:
    prefix = "ERROR_REASON_"
    names = {name.removeprefix(prefix) for name in common_pb2.ErrorReason.keys()}  # noqa: SIM118 - no mapping
    assert names - {"UNSPECIFIED"} == set(Reason)


def test_every_kind_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(Kind)
    assert len(set(CODES.values())) == len(Kind)


def test_every_reason_has_a_chinese_sentence() -> None:
    assert set(MESSAGES_ZH) == set(Reason)


@given(REFUSALS)
def test_refusal_carries_its_reason_metadata_and_chinese_sentence(refusal: GatewayError) -> None:
    status = to_status(refusal)
    info = _detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (refusal.reason, "xinyi.v1")
    assert dict(info.metadata) == refusal.metadata
    chinese = _detail(status, error_details_pb2.LocalizedMessage)
    assert (chinese.locale, chinese.message) == ("zh-CN", refusal.message_zh)
    assert status.code == CODES[refusal.kind].value[0]
    assert reason_in(status) == refusal.reason


@given(REFUSALS)
def test_equal_refusals_give_equal_bytes(refusal: GatewayError) -> None:
    """Replays depend on it; the order of metadata must not show."""
    turned = dict(reversed(list(refusal.metadata.items())))
    other = GatewayError(
        refusal.kind,
        refusal.reason,
        refusal.message,
        turned,
        refusal.violations,
        refusal.subject,
    )
    once, again = to_status(refusal), to_status(other)
    assert once.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


def test_invalid_field_is_named_in_a_bad_request() -> None:
    status = to_status(invalid(Reason.FIELD_INVALID, "payment.amount", "is zero"))
    (violation,) = _detail(status, error_details_pb2.BadRequest).field_violations
    assert (violation.field, violation.description) == ("payment.amount", "is zero")


def test_precondition_names_its_subject() -> None:
    status = to_status(precondition(Reason.STATE_FORBIDS, "funds/f/payments/p", "no", state="SENT"))
    (violation,) = _detail(status, error_details_pb2.PreconditionFailure).violations
    assert (violation.type, violation.subject) == ("STATE_FORBIDS", "funds/f/payments/p")


def test_refusal_that_is_no_precondition_carries_no_precondition_failure() -> None:
    status = to_status(denied(Reason.ROLE_NOT_ALLOWED, "no"))
    assert _detail(status, error_details_pb2.PreconditionFailure) is None
    assert _detail(status, error_details_pb2.BadRequest) is None


def test_stored_refusal_is_told_as_it_was_stored() -> None:
    stored = to_status(invalid(Reason.FIELD_INVALID, "x", "y"))
    assert status_of(StoredRefusal(stored)) is stored


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ValueError("王小明"), StatusCode.INTERNAL, "INTERNAL"),
        (_by_database("23514"), StatusCode.INTERNAL, "INTERNAL"),
        (_by_database("42501"), StatusCode.INTERNAL, "INTERNAL"),
        (_by_database("23505"), StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS"),
        (_by_database("22003"), StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (_by_database("22021"), StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        (_by_database("40P01"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (_by_database("57P01"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (_by_database("53100"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (_by_database("08006"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (
            InterfaceError("SELECT", {}, _Broken("")),
            StatusCode.UNAVAILABLE,
            "STORE_UNAVAILABLE",
        ),
        (
            InternalError("SELECT", {}, _Broken("")),
            StatusCode.UNAVAILABLE,
            "STORE_UNAVAILABLE",
        ),
        (
            InternalError("SELECT", {}, _Broken("XX000")),
            StatusCode.INTERNAL,
            "INTERNAL",
        ),
        (PoolTimeoutError("busy"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (ConnectionRefusedError("refused"), StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"),
    ],
)
def test_exception_of_no_refusal_is_told_by_its_kind_only(
    error: Exception, code: StatusCode, reason: str
) -> None:
    status = status_of(error)
    assert status.code == code.value[0]
    assert reason_in(status) == reason
    assert "王小明" not in str(status)
    assert "6222010000000001" not in str(status)
