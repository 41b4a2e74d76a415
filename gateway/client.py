"""The caller's side of the contract: a person's profile, the channel, safely repeated calls.

A profile is a directory that only its person can read::

    people/firm.zhao/profile.toml   server, environment, lang
                     ca.pem         certificates that sign the server's
                     client.pem     the person's certificate
                     client.key     its private key
                     signing.key    the key that signs payments; only a signer has one
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast
from uuid import uuid4

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # it ships no stubs
from grpc_status import rpc_status
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)
from xinyi.v1.audit_service_pb2_grpc import AuditServiceStub
from xinyi.v1.bank_service_pb2_grpc import BankServiceStub
from xinyi.v1.change_service_pb2 import Change, ChangeRef, ConfirmChangesRequest
from xinyi.v1.change_service_pb2_grpc import ChangeServiceStub
from xinyi.v1.disclosure_service_pb2_grpc import DisclosureServiceStub
from xinyi.v1.duty_service_pb2_grpc import DutyServiceStub
from xinyi.v1.fund_service_pb2_grpc import FundServiceStub
from xinyi.v1.ledger_service_pb2_grpc import LedgerServiceStub
from xinyi.v1.party_service_pb2_grpc import PartyServiceStub
from xinyi.v1.payment_service_pb2_grpc import PaymentServiceStub
from xinyi.v1.question_service_pb2_grpc import QuestionServiceStub
from xinyi.v1.reconciliation_service_pb2_grpc import ReconciliationServiceStub

from gateway.domain.describe import Language  # noqa: TC001 - pydantic reads it at run time
from gateway.domain.errors import FieldViolation, Reason

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Mapping,
        Sequence,
    )
    from pathlib import Path

    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # as above
    from xinyi.v1.audit_service_pb2_grpc import AuditServiceAsyncStub
    from xinyi.v1.bank_service_pb2_grpc import BankServiceAsyncStub
    from xinyi.v1.change_service_pb2_grpc import ChangeServiceAsyncStub
    from xinyi.v1.disclosure_service_pb2_grpc import DisclosureServiceAsyncStub
    from xinyi.v1.duty_service_pb2_grpc import DutyServiceAsyncStub
    from xinyi.v1.fund_service_pb2_grpc import FundServiceAsyncStub
    from xinyi.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub
    from xinyi.v1.party_service_pb2_grpc import PartyServiceAsyncStub
    from xinyi.v1.payment_service_pb2_grpc import PaymentServiceAsyncStub
    from xinyi.v1.question_service_pb2_grpc import QuestionServiceAsyncStub
    from xinyi.v1.reconciliation_service_pb2_grpc import ReconciliationServiceAsyncStub

CALL_TIMEOUT_S: Final = 10
LONG_TIMEOUT_S: Final = 600
"""For calls that work through a file or a night."""
ATTEMPTS: Final = 4
CHUNK_BYTES: Final = 1 << 20
"""The most bytes that one message of an upload may carry."""
PAGE_SIZE: Final = 1000
MAX_ITEMS: Final = 100_000
"""No answer is collected beyond this."""

_PROFILE_BYTES = 64 * 1024
_UNREACHABLE_ZH = "无法连接网关，或网关不接受此证书"
_NO_DETAILS_ZH = "请求未完成"

_Answer = TypeVar("_Answer")
_Page = TypeVar("_Page", bound=Message)


class ProfileError(Exception):
    """A profile that is not there or cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A person's way into one gateway.

    Attributes:
        directory: where the person's files are.
        server: address and port.
        environment: the environment the person means to sign in; other bytes are never signed.
        lang: the person's language.
    """

    directory: Path
    server: str
    environment: str
    lang: Language

    @property
    def ca(self) -> Path:
        """Certificates that sign the server's, PEM."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The person's client certificate, PEM."""
        return self.directory / "client.pem"

    @property
    def key(self) -> Path:
        """Private key of the client certificate, PEM."""
        return self.directory / "client.key"

    @property
    def signing_key(self) -> Path:
        """Private key that signs payments, PEM; not there for a person who never signs."""
        return self.directory / "signing.key"


class _ProfileFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    server: Annotated[str, StringConstraints(pattern=r"^[^\s:]{1,253}:[0-9]{1,5}$")]
    environment: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9-]{0,31}$")]
    lang: Language


def read_profile(directory: Path) -> Profile:
    """The profile in a person's directory.

    Raises:
        ProfileError: profile.toml is missing, too long, not TOML, or breaks a rule.
    """
    file = directory / "profile.toml"
    try:
        with file.open("rb") as opened:
            text = opened.read(_PROFILE_BYTES).decode()
        said = _ProfileFile.model_validate(tomllib.loads(text))
    except OSError as error:
        raise ProfileError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors())
        raise ProfileError(f"{file}: {wrong}") from None
    except ValueError as error:
        raise ProfileError(f"{file}: is not TOML: {error}") from None
    return Profile(directory, said.server, said.environment, said.lang)


def write_profile(  # noqa: PLR0913 - each is one file or one line of the directory
    directory: Path,
    *,
    server: str,
    environment: str,
    lang: Language,
    ca_pem: bytes,
    certificate_pem: bytes,
    key_pem: bytes,
    signing_key_pem: bytes | None = None,
) -> Profile:
    """Makes a person's directory, readable by its owner only; what is there is replaced.

    Args:
        directory: ``people/<party>.<person>``.
        server: address and port, such as ``127.0.0.1:50443``.
        environment: as in the gateway's settings.
        lang: the person's language.
        ca_pem: certificates that sign the server's.
        certificate_pem: the person's certificate.
        key_pem: its private key.
        signing_key_pem: the key that signs payments; None for a person who never signs.

    Raises:
        pydantic.ValidationError: server, environment or lang break a rule.
        OSError: the directory cannot be written.
    """
    said = _ProfileFile(server=server, environment=environment, lang=lang)
    profile = Profile(directory, said.server, said.environment, said.lang)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A JSON string is a TOML basic string: the rules above leave nothing that differs.
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in said.model_dump().items())
    write_private(profile.directory / "profile.toml", "".join(lines).encode())
    write_private(profile.ca, ca_pem)
    write_private(profile.certificate, certificate_pem)
    write_private(profile.key, key_pem)
    if signing_key_pem is not None:
        write_private(profile.signing_key, signing_key_pem)
    return profile


def write_private(file: Path, content: bytes) -> None:
    """Writes a file that nobody else could read at any moment of its being written."""
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600, exist_ok=False)
    part.write_bytes(content)
    part.replace(file)


@dataclass(frozen=True, slots=True)
class Stubs:
    """The services of one gateway."""

    parties: PartyServiceAsyncStub
    funds: FundServiceAsyncStub
    payments: PaymentServiceAsyncStub
    ledger: LedgerServiceAsyncStub
    banks: BankServiceAsyncStub
    disclosure: DisclosureServiceAsyncStub
    reconciliation: ReconciliationServiceAsyncStub
    changes: ChangeServiceAsyncStub
    audit: AuditServiceAsyncStub
    questions: QuestionServiceAsyncStub
    duties: DutyServiceAsyncStub


def connect(profile: Profile) -> grpc.aio.Channel:
    """A channel with mutual TLS; use it as ``async with``.

    Raises:
        ProfileError: a certificate or key file cannot be read.
    """
    try:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=profile.ca.read_bytes(),
            private_key=profile.key.read_bytes(),
            certificate_chain=profile.certificate.read_bytes(),
        )
    except OSError as error:
        raise ProfileError(f"{error.filename}: {error.strerror}") from None
    # The profile says where the gateway is: a proxy meant for the web would only hide it.
    direct = (("grpc.enable_http_proxy", 0),)
    return grpc.aio.secure_channel(profile.server, credentials, options=direct)


def stubs(channel: grpc.aio.Channel) -> Stubs:
    """The services behind a channel."""
    return Stubs(
        parties=PartyServiceStub(channel),
        funds=FundServiceStub(channel),
        payments=PaymentServiceStub(channel),
        ledger=LedgerServiceStub(channel),
        banks=BankServiceStub(channel),
        disclosure=DisclosureServiceStub(channel),
        reconciliation=ReconciliationServiceStub(channel),
        changes=ChangeServiceStub(channel),
        audit=AuditServiceStub(channel),
        questions=QuestionServiceStub(channel),
        duties=DutyServiceStub(channel),
    )


@dataclass
class CallRefused(Exception):  # noqa: N818 - it says what happened, as a caller reads it
    """A call that the gateway refused or did not answer.

    Attributes:
        code: the gRPC status.
        reason: name of the rule, as in `xinyi.v1.ErrorReason` without prefix; the name of the
            status where the answer carries none.
        message: one English sentence.
        message_zh: the same for a Chinese reader.
        violations: the fields, or the conditions, at fault.
        metadata: the variables of the message.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    message_zh: str
    violations: tuple[FieldViolation, ...]
    metadata: Mapping[str, str]

    def __str__(self) -> str:
        """The reason and both sentences."""
        return f"{self.reason}: {self.message} / {self.message_zh}"

    @property
    def undecided(self) -> bool:
        """Whether it may have been done all the same: repeat it with the same request id."""
        return self.code in _UNDECIDED


_UNDECIDED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


def decode_error(error: grpc.aio.AioRpcError) -> CallRefused:
    """What the status details of a failed call say."""
    status = _status(error)
    info = _detail(status, error_details_pb2.ErrorInfo())
    zh = _detail(status, error_details_pb2.LocalizedMessage()).message
    fields = _detail(status, error_details_pb2.BadRequest()).field_violations
    conditions = _detail(status, error_details_pb2.PreconditionFailure()).violations
    reason: str = info.reason or error.code().name
    down = error.code() is grpc.StatusCode.UNAVAILABLE
    return CallRefused(
        code=error.code(),
        reason=reason,
        # The gateway's sentence begins with the reason, for those who see nothing else.
        message=(error.details() or "the call failed").removeprefix(f"{reason}: "),
        message_zh=zh or (_UNREACHABLE_ZH if down else _NO_DETAILS_ZH),
        violations=(
            *(FieldViolation(each.field, each.description) for each in fields),
            *(FieldViolation(each.subject, each.description) for each in conditions),
        ),
        metadata=dict(info.metadata),
    )


async def call(
    method: Callable[..., Awaitable[_Answer]], request: object, timeout_s: int = CALL_TIMEOUT_S
) -> _Answer:
    """The answer to a call, repeated with the very same request while the gateway is away or busy.

    Args:
        method: a method of a stub, unary or client-streaming.
        request: its message; for a client stream the list of them.
        timeout_s: deadline of each attempt.

    Raises:
        CallRefused: any other answer, or none after `ATTEMPTS` attempts.
    """

    async def once() -> _Answer:
        return await method(request, timeout=timeout_s)

    try:
        return await _retrying()(once)
    except grpc.aio.AioRpcError as error:
        raise decode_error(error) from None


async def receive(
    method: Callable[..., AsyncIterable[_Answer]], request: object, timeout_s: int | None
) -> AsyncIterator[_Answer]:
    """The messages of a server stream; never repeated, since only the caller knows from where.

    Raises:
        CallRefused: the stream broke off.
    """
    try:
        async for answer in method(request, timeout=timeout_s):
            yield answer
    except grpc.aio.AioRpcError as error:
        raise decode_error(error) from None


async def collect(method: Callable[..., Awaitable[_Page]], request: Any, limit: int) -> _Page:  # noqa: ANN401 - any of the contract's list requests; they share their paging fields, not a type
    """All pages of a list as one answer, up to `limit` items.

    Args:
        method: a List method of a stub.
        request: its request; page_size and page_token are set here.
        limit: at most this many items, 1 to `MAX_ITEMS`. The answer's next_page_token is empty
            if and only if there are no more.

    Raises:
        CallRefused: as `call`.
    """
    request.page_size = min(limit, PAGE_SIZE)
    whole = await call(method, request)
    # A page may be empty and have a successor, so the pages are bounded too.
    for _ in range(MAX_ITEMS // PAGE_SIZE):
        left = limit - len(_items(whole))
        if not (token := _next_page(whole)) or left < 1:
            break
        request.page_token, request.page_size = token, min(left, PAGE_SIZE)
        whole.ClearField("next_page_token")
        whole.MergeFrom(await call(method, request))
    return whole


# --- two parties change the register ----------------------------------------------------------


async def confirm_changes(changes: ChangeServiceAsyncStub, shown: Sequence[Change]) -> list[Change]:
    """Confirms exactly the changes that were shown, oldest first, a thousand in one call.

    Raises:
        CallRefused: as `call`; what was confirmed by the calls before stays confirmed.
    """
    confirmed: list[Change] = []
    ordered = sorted(shown, key=lambda change: change.name)
    for begin in range(0, len(ordered), PAGE_SIZE):
        refs = [
            ChangeRef(name=each.name, digest=content_digest(each))
            for each in ordered[begin : begin + PAGE_SIZE]
        ]
        request = ConfirmChangesRequest(changes=refs, request_id=str(uuid4()))
        confirmed += (await call(changes.ConfirmChanges, request, LONG_TIMEOUT_S)).changes
    return confirmed


def content_digest(change: Change) -> str:
    """SHA-256 of what a change consists of, from the bytes themselves, in hexadecimal."""
    return sha256(change.content.value).hexdigest()


def listing_digest(changes: Iterable[Change]) -> str:
    """One digest of many changes and their contents, by which two people can be sure of the same.

    SHA-256 over a line ``name digest`` for each, in order of their names, in hexadecimal.
    """
    lines = sorted(f"{each.name} {content_digest(each)}\n" for each in changes)
    return sha256("".join(lines).encode()).hexdigest()


def _items(page: Message) -> list[Message]:
    """What a page lists: the one repeated field that answers of List methods have."""
    name = next(field.name for field in page.DESCRIPTOR.fields if field.is_repeated)
    return cast("list[Message]", getattr(page, name))


def _next_page(page: Message) -> str:
    return cast("Any", page).next_page_token  # type: ignore[no-any-return] # every list answer has it


def _retrying() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception(_passes),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=0.1, max=2, jitter=0.1),
        reraise=True,
    )


def _passes(error: BaseException) -> bool:
    """Whether the same call may be answered later: the gateway is away, or asks for patience."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return False
    return (
        error.code() is grpc.StatusCode.UNAVAILABLE
        or decode_error(error).reason == Reason.RATE_EXCEEDED
    )


def _status(error: grpc.aio.AioRpcError) -> Status | None:
    """The rich status, where there is one that agrees with the plain one."""
    try:
        # AioRpcError has the three methods that are asked of a call here.
        return rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:
        return None


def _detail(status: Status | None, empty: _Page) -> _Page:
    """The first detail of this type, or `empty` where there is none."""
    for each in status.details if status else ():
        if each.Unpack(empty):
            break
    return empty


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))
