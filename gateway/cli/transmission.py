"""`xinyi bank transmission`: files to the banks, and what people do where one does not leave."""

import os
from collections.abc import AsyncIterable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from xinyi.v1.bank_service_pb2 import (
    ConfirmDeliveryRequest,
    DeliverByHandRequest,
    GetTransmissionFileRequest,
    GetTransmissionFileResponse,
    GetTransmissionRequest,
    ListTransmissionsRequest,
    RetryTransmissionRequest,
    Transmission,
    TransmissionFile,
    TransmissionState,
)

from gateway.cli.frame import Complaint, Session, group, remote
from gateway.cli.labels import label, trouble
from gateway.cli.options import Limit, OnlyFund, new_request_id, resource
from gateway.cli.screen import Column, Row
from gateway.cli.text import day, last, moment, money
from gateway.client import LONG_TIMEOUT_S, call, collect, receive

app = group("One file to a bank: fetch it, hand it over by hand, confirm, retry 付款报文.")

MAX_FILE_BYTES: Final = 64 << 20

_TRANSMISSION = Column("报文", "Transmission")
_ACCOUNT = Column("账户", "Account")
_STATE = Column("状态", "State")
_COUNT = Column("笔数", "Payments", right=True)
_AMOUNT = Column("金额", "Amount", right=True)
_DAY = Column("执行日", "Bank's day")
_FILE = Column("文件", "File", prose=True)
_DELIVERED = Column("送达（北京）", "Delivered (Beijing)")
_ATTEMPTS = Column("尝试", "Attempts", right=True)
_NEXT_ATTEMPT = Column("下次送达（北京）", "Tried next (Beijing)")
_NEXT = Column("下次询问（北京）", "Asked next (Beijing)")
_NOTE = Column("情况", "What happened", prose=True)
_SHA256 = Column("SHA-256", "SHA-256")
_LISTED = (
    *(_TRANSMISSION, _STATE, _DAY, _COUNT, _AMOUNT, _NOTE),
    *(_NEXT_ATTEMPT, _NEXT, _ATTEMPTS, _DELIVERED, _FILE, _ACCOUNT),
)

_OPEN: Final = tuple(
    number
    for name, number in TransmissionState.items()
    if name.removeprefix("TRANSMISSION_STATE_") not in {"UNSPECIFIED", "ANSWERED", "SUPERSEDED"}
)

_Name = Annotated[
    str,
    typer.Argument(
        parser=resource("transmissions"), metavar="NAME", help="As `bank transmissions` lists it."
    ),
]


async def transmissions(
    session: Session,
    fund: OnlyFund = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only those that the bank has not answered.")
    ] = False,
    limit: Limit = 500,
) -> None:
    """List files to the banks with what keeps them, newest first."""
    states = _OPEN if only_open else ()
    request = ListTransmissionsRequest(parent=fund or "", states=states)
    answer = await collect(session.stubs.banks.ListTransmissions, request, limit)
    rows = (_row(each, session) for each in answer.transmissions)
    session.screen.list(answer, _LISTED, rows)


@remote(app, "show")
async def _show(session: Session, name: _Name) -> None:
    """Show one file to a bank: how far it has come, and what keeps it."""
    answer = await call(session.stubs.banks.GetTransmission, GetTransmissionRequest(name=name))
    session.screen.one(answer, _facts(answer.transmission, session))


@remote(app, "file")
async def _file(
    session: Session,
    name: _Name,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", exists=True, file_okay=False, help="Where to put it."),
    ] = Path(),
) -> None:
    """Fetch the file as the bank gets it, check it, and write it under its name at the bank.

    Say first with `by-hand` that you hand it over, so that the gateway does not do it too.
    """
    request = GetTransmissionFileRequest(name=name)
    parts = receive(session.stubs.banks.GetTransmissionFile, request, LONG_TIMEOUT_S)
    said, content = await _whole(parts)
    path = out / _plain(said.file_name)
    _write_new(path, content)
    facts = (
        (_TRANSMISSION, name),
        (_SHA256, said.sha256),
        (Column("大小（字节）", "Size (bytes)"), f"{len(content):,}"),
        (Column("已写入", "Written to"), str(path)),
    )
    session.screen.one(said, facts)


@remote(app, "by-hand")
async def _by_hand(
    session: Session,
    name: _Name,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, and how; others read it.")
    ],
) -> None:
    """Say that you hand the file over: the gateway leaves it alone, and a second person confirms.

    Only for a file that certainly was not handed over: queued, or stuck.
    """
    request = DeliverByHandRequest(name=name, reason=reason, request_id=new_request_id())
    answer = await call(session.stubs.banks.DeliverByHand, request)
    session.screen.one(answer, _facts(answer.transmission, session))
    confirming = f"xinyi bank transmission confirm {last(name)}"
    session.screen.say(
        f"银行收到后须由另一人确认：{confirming}",
        f"once the bank has it, another person confirms: {confirming}",
    )


@remote(app, "confirm")
async def _confirm(session: Session, name: _Name) -> None:
    """Confirm that the bank has a file that somebody else handed over: its payments count as sent.

    Look for it at the bank first. You must be another person than who handed it over.
    """
    request = ConfirmDeliveryRequest(name=name, request_id=new_request_id())
    answer = await call(session.stubs.banks.ConfirmDelivery, request)
    session.screen.one(answer, _facts(answer.transmission, session))


@remote(app, "retry")
async def _retry(session: Session, name: _Name) -> None:
    """Put a file back in the queue: its cause was mended, or nobody handed it over after all."""
    request = RetryTransmissionRequest(name=name, request_id=new_request_id())
    answer = await call(session.stubs.banks.RetryTransmission, request)
    session.screen.one(answer, _facts(answer.transmission, session))


def _row(sent: Transmission, session: Session) -> Row:
    return (
        last(sent.name),
        label(TransmissionState, sent.state, session.screen.lang),
        day(sent.execution_date),
        f"{sent.payment_count:,}",
        money(sent.amount),
        "; ".join(_notes(sent, session)),
        moment(sent.attempt_time),
        moment(sent.inquire_time),
        str(sent.attempt_count),
        moment(sent.deliver_time),
        sent.file_name,
        sent.bank_account,
    )


def _facts(sent: Transmission, session: Session) -> Iterable[tuple[Column, str]]:
    listed = zip(_LISTED, _row(sent, session), strict=True)
    facts = (*listed, (_SHA256, sent.file_sha256))
    return ((column, value) for column, value in facts if value)


def _notes(sent: Transmission, session: Session) -> Iterator[str]:
    """Why the last attempt failed, and whose hands it is in."""
    pick = session.screen.pick
    if sent.last_error:
        yield trouble(sent.last_error, session.screen.lang)
    if sent.delivered_by:
        said = f"{sent.delivered_by}: {sent.delivery_reason}"
        yield pick(f"手工交付 {said}", f"by hand: {said}")
    if sent.confirmed_by:
        yield pick(f"确认 {sent.confirmed_by}", f"confirmed: {sent.confirmed_by}")


async def _whole(
    parts: AsyncIterable[GetTransmissionFileResponse],
) -> tuple[TransmissionFile, bytes]:
    """What the file is, and its bytes.

    Raises:
        Complaint: too large, or not the bytes that were announced.
    """
    said, content = TransmissionFile(), bytearray()
    async for part in parts:
        said.MergeFrom(part.header)
        content += part.content
        if len(content) > MAX_FILE_BYTES:
            raise Complaint("the file is above 64 MiB", "文件超过 64 MiB")
    if sha256(content).hexdigest() != said.sha256:
        raise Complaint("the bytes are not the ones that were announced", "文件内容与摘要不符")
    return said, bytes(content)


def _plain(name: str) -> str:
    """The name, if a file of the folder that was asked for can have it."""
    if not name or Path(name).name != name or name.startswith("."):
        raise Complaint(f"no file can be called {name!r}", "文件名不可用")
    return name


def _write_new(path: Path, content: bytes) -> None:
    """Writes a file that its owner alone may read; one that could not be written whole is gone.

    Raises:
        Complaint: it is there already.
        OSError: it cannot be written.
    """
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise Complaint(f"{path} is there already", "文件已存在，不会覆盖") from None
    try:
        # Not under another name first: the sticks that such files are carried on know no links.
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise
