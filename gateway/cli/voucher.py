"""`xinyi voucher`: the documents behind payments and lines."""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from xinyi.v1.disclosure_service_pb2 import GetVoucherRequest
from xinyi.v1.payment_service_pb2 import (
    UploadVoucherHeader,
    UploadVoucherRequest,
    UploadVoucherResponse,
    Voucher,
)

from gateway.cli.frame import EVERYONE, FIRM, Complaint, Session, group, remote
from gateway.cli.options import Fund, InputFile, new_request_id
from gateway.cli.screen import Column
from gateway.client import CHUNK_BYTES, LONG_TIMEOUT_S, call, receive, write_private

app = group("Vouchers: upload and fetch invoices, payrolls, contract pages 凭证.")

MAX_VOUCHER_BYTES: Final = 10 << 20
_NAME = re.compile(r"funds/[a-z0-9-]+/vouchers/[0-9a-f]{64}")
_MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".txt": "text/plain",
}


@remote(app, "upload", FIRM)
async def _upload(session: Session, file: InputFile, fund: Fund) -> None:
    """Store a voucher of a fund and print its name."""
    answer = await upload(session, fund, file)
    said = answer.voucher
    facts = (
        (Column("凭证", "Voucher"), said.name),
        (Column("文件", "File"), said.file_name),
        (Column("类型", "Media type"), said.media_type),
        (Column("大小（字节）", "Size (bytes)"), f"{said.size_bytes:,}"),
    )
    session.screen.one(answer, facts)


@remote(app, "get", EVERYONE)
async def _get(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="funds/FUND/vouchers/SHA256.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
) -> None:
    """Fetch a voucher, check its bytes against its name, and write it to a file."""
    content, voucher = bytearray(), Voucher()
    request = GetVoucherRequest(name=name)
    parts = receive(session.stubs.disclosure.GetVoucher, request, LONG_TIMEOUT_S)
    async for part in parts:
        voucher.MergeFrom(part.voucher)
        content += part.content
        if len(content) > MAX_VOUCHER_BYTES:
            raise Complaint("the voucher is too large", "凭证过大")
    if sha256(content).hexdigest() != name.rpartition("/")[2]:
        raise Complaint("the bytes are not the ones the name stands for", "凭证内容与名称不符")
    write_private(out, bytes(content))
    facts = ((Column("凭证", "Voucher"), name), (Column("已写入", "Written to"), str(out)))
    session.screen.one(voucher, facts)


async def upload(session: Session, fund: str, file: Path) -> UploadVoucherResponse:
    """Stores one file as a voucher of the fund.

    Raises:
        Complaint: not a kind of file, or not a size, that can be a voucher.
        CallRefused: the gateway refused it.
    """
    parts = list(_parts(fund, file))
    return await call(session.stubs.payments.UploadVoucher, parts, LONG_TIMEOUT_S)


async def voucher_names(session: Session, fund: str, given: list[str]) -> list[str]:
    """The names of vouchers given by name or by file; files are uploaded first.

    Raises:
        Complaint: one is neither a name nor a file that can be a voucher.
        CallRefused: the gateway refused one.
    """
    names = []
    for each in given:
        known = _NAME.fullmatch(each)
        names.append(each if known else await _uploaded(session, fund, Path(each)))
    return names


async def _uploaded(session: Session, fund: str, file: Path) -> str:
    session.screen.say(f"上传凭证 {file.name}", f"uploading voucher {file.name}")
    return (await upload(session, fund, file)).voucher.name


def _parts(fund: str, file: Path) -> Iterator[UploadVoucherRequest]:
    content, media_type = _content(file), _MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise Complaint(f"{file.name} is no PDF, PNG, JPEG or text file", "不支持的凭证类型")
    voucher = Voucher(
        name=f"{fund}/vouchers/{sha256(content).hexdigest()}",
        file_name=file.name,
        media_type=media_type,
        size_bytes=len(content),
    )
    header = UploadVoucherHeader(parent=fund, voucher=voucher, request_id=new_request_id())
    yield UploadVoucherRequest(header=header)
    for start in range(0, len(content), CHUNK_BYTES):
        yield UploadVoucherRequest(content=content[start : start + CHUNK_BYTES])


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MAX_VOUCHER_BYTES + 1)
    if not 0 < len(content) <= MAX_VOUCHER_BYTES:
        raise Complaint(f"{file.name} is empty or above 10 MiB", "凭证为空或超过 10 MiB")
    return content
