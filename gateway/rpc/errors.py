"""From what went wrong to what the caller is told: a `google.rpc.Status`, in one place.

Whatever is not a `GatewayError` tells the caller nothing of its cause; the log has the frames, and
no message of the exception, because those of the database quote the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # it ships no stubs
from grpc import StatusCode
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.domain.errors import MESSAGES_ZH, GatewayError, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

DOMAIN: Final = "xinyi.v1"
"""`ErrorInfo.domain` of every refusal."""

CODES: Final[Mapping[Kind, StatusCode]] = {
    Kind.INVALID: StatusCode.INVALID_ARGUMENT,
    Kind.PRECONDITION: StatusCode.FAILED_PRECONDITION,
    Kind.NOT_FOUND: StatusCode.NOT_FOUND,
    Kind.EXISTS: StatusCode.ALREADY_EXISTS,
    Kind.DENIED: StatusCode.PERMISSION_DENIED,
    Kind.UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
    Kind.CONFLICT: StatusCode.ABORTED,
    Kind.EXHAUSTED: StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: StatusCode.UNAVAILABLE,
}

_UNIQUE_VIOLATION: Final = "23505"
# No value of its type: as the driver sees it, too large, a text with NUL.
_UNSTORABLE: Final = ("22000", "22003", "22021")
# Classes of SQLSTATE that a later try gets over: connection, rollback, resources, intervention.
_PASSING_CLASSES: Final = ("08", "40", "53", "55", "57", "58")

_log = structlog.get_logger(__name__)


class StoredRefusal(Exception):  # noqa: N818 - a refusal is what the contract calls it
    """The refusal that this request id met the first time, to be told again byte for byte."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


class RelayedRefusal(Exception):  # noqa: N818 - as above
    """The refusal that another process of this gateway met, to be told byte for byte."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


def status_of(error: Exception) -> status_pb2.Status:
    """What the caller is told of any exception; logs it where it is not a refusal."""
    if isinstance(error, StoredRefusal | RelayedRefusal):
        return error.status
    if isinstance(error, GatewayError):
        return to_status(error)
    refusal = _refusal_by_store(error)
    if refusal is None or refusal.kind is Kind.UNAVAILABLE:
        _log.error("call_broken", cause=causes(error), frames=frames(error))
    return _internal() if refusal is None else to_status(refusal)


def to_status(error: GatewayError) -> status_pb2.Status:
    """A refusal as `google.rpc.Status`; equal refusals give equal bytes."""
    return _status(CODES[error.kind], error)


def reason_in(status: status_pb2.Status) -> str:
    """The reason in a status, for the log."""
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for detail in status.details if detail.Unpack(info)), "")


def causes(error: BaseException | None) -> list[str]:
    """Class names of an exception and of what it came from, outermost first."""
    names = []
    while error is not None:
        names.append(type(error).__qualname__)
        error = error.__cause__ or error.__context__
    return names


def frames(error: BaseException) -> list[str]:
    """Where it came from: file, line and function, without any value."""
    found = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return found


def _internal() -> status_pb2.Status:
    # No kind stands for a defect: nothing the caller does helps, so none may be raised as one.
    error = GatewayError(Kind.UNAVAILABLE, Reason.INTERNAL, "a defect of the gateway; see its log")
    return _status(StatusCode.INTERNAL, error)


def _status(code: StatusCode, error: GatewayError) -> status_pb2.Status:
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=str(error))
    for detail in _details(error):
        status.details.add().Pack(detail, deterministic=True)
    return status


def _refusal_by_store(error: Exception) -> GatewayError | None:
    """The refusal in an exception of the database, if the caller can do something about it."""
    if isinstance(error, DBAPIError) and _sqlstate(error) == _UNIQUE_VIOLATION:
        return GatewayError(Kind.EXISTS, Reason.RESOURCE_EXISTS, "the name was taken meanwhile")
    if isinstance(error, DBAPIError) and _sqlstate(error) in _UNSTORABLE:
        return GatewayError(Kind.INVALID, Reason.FIELD_INVALID, "the store cannot hold a value")
    if passes(error):
        return GatewayError(
            Kind.UNAVAILABLE,
            Reason.STORE_UNAVAILABLE,
            "the store cannot answer now; repeat with the same request id",
        )
    return None


def passes(error: Exception) -> bool:
    """Whether the database is away or busy, so that the same call may succeed later."""
    if isinstance(error, DBAPIError):
        return (
            error.connection_invalidated
            or isinstance(error, InterfaceError)
            or _lost_its_place(error)
            or _sqlstate(error).startswith(_PASSING_CLASSES)
        )
    return isinstance(error, DisconnectionError | PoolTimeoutError | OSError)


def _lost_its_place(error: DBAPIError) -> bool:
    """Whether the driver cannot follow an answer: the connection broke in the midst of it."""
    return isinstance(error, InternalError) and not _sqlstate(error)


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _details(error: GatewayError) -> list[Message]:
    """ErrorInfo and the Chinese message always, the others where they say something."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata)
        ),
        error_details_pb2.LocalizedMessage(locale="zh-CN", message=MESSAGES_ZH[error.reason]),
    ]
    if error.violations:
        details.append(_bad_request(error))
    if error.kind is Kind.PRECONDITION:
        details.append(_precondition_failure(error))
    if "retry_after_ms" in error.metadata:
        details += _retry_later(error)
    return details


def _retry_later(error: GatewayError) -> list[Message]:
    """When to repeat the call, and whose quota it is, if it is somebody's."""
    delay = Duration()
    delay.FromMilliseconds(int(error.metadata["retry_after_ms"]))
    details: list[Message] = [error_details_pb2.RetryInfo(retry_delay=delay)]
    if error.reason is Reason.RATE_EXCEEDED:
        violation = error_details_pb2.QuotaFailure.Violation(
            subject=error.subject, description=error.message
        )
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    return details


def _bad_request(error: GatewayError) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field, description=violation.description
            )
            for violation in error.violations
        ]
    )


def _precondition_failure(error: GatewayError) -> error_details_pb2.PreconditionFailure:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=error.reason, subject=error.subject, description=error.message
    )
    return error_details_pb2.PreconditionFailure(violations=[violation])
