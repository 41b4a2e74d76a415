"""`xinyi voucher`: the documents behind payments and lines."""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from xinyi.v1.common_pb2 import Role
from xinyi.v1.disclosure_service_pb2 import (
    GetVoucherRenditionRequest,
    GetVoucherRequest,
    VoucherRegion,
    VoucherRendition,
)
from xinyi.v1.duty_service_pb2 import RenderVoucherRequest
from xinyi.v1.payment_service_pb2 import (
    UploadVoucherHeader,
    UploadVoucherRequest,
    UploadVoucherResponse,
    Voucher,
)

from gateway.cli.frame import EVERYONE, FIRM, Complaint, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import Fund, InputFile, RequestId, announced, in_fund, new_request_id
from gateway.cli.screen import Column
from gateway.cli.text import moment
from gateway.client import CHUNK_BYTES, LONG_TIMEOUT_S, call, receive, write_private
from gateway.domain.describe import Language

app = group("Vouchers: invoices, payrolls, contract pages, and their public copies 凭证.")

MAX_VOUCHER_BYTES: Final = 10 << 20
MAX_RENDITION_BYTES: Final = 20 << 20
_BOX = re.compile(r"(?:(\d{1,2}):)?(\d{1,4}),(\d{1,4}),(\d{1,4}),(\d{1,4})")
_NAME = re.compile(r"funds/[a-z0-9-]+/vouchers/[0-9a-f]{64}")
_MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".txt": "text/plain",
}

_Voucher = Annotated[
    str,
    typer.Argument(
        parser=in_fund("vouchers"), metavar="VOUCHER", help="FUND/SHA256, or funds/FUND/vouchers/…"
    ),
]
_Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")]


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
async def _get(session: Session, name: _Voucher, out: _Out) -> None:
    """Fetch the original of a voucher and check its bytes; owners use `voucher download`."""
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


@remote(app, "mask", FIRM)
async def _mask(
    session: Session,
    name: _Voucher,
    boxes: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            metavar="[PAGE:]X,Y,WIDTH,HEIGHT",
            help="What to black out, in thousandths of the upright page; repeat it.",
        ),
    ] = None,
    page: Annotated[
        int, typer.Option("--page", min=1, max=20, help="Page of boxes that name none.")
    ] = 1,
    request_id: RequestId = None,
) -> None:
    """Make the public copy of a voucher: pictures, black over boxes and numbers of persons."""
    regions = [_region(each, page) for each in boxes or ()]
    named = announced(session.screen, request_id)
    request = RenderVoucherRequest(name=name, regions=regions, request_id=named)
    answer = await call(session.stubs.duties.RenderVoucher, request, LONG_TIMEOUT_S)
    session.screen.one(answer, _rendition(answer.rendition, session.screen.lang))
    session.screen.say(
        "所有业主都能看到：请下载核对，仍有个人信息就再遮盖一次",
        "all owners see it: download it and look; mask again if it still names a private person",
    )


@remote(app, "download", EVERYONE)
async def _download(session: Session, name: _Voucher, out: _Out) -> None:
    """Fetch the public copy of a voucher; of several pages FILE-1, FILE-2 and so on."""
    content, rendition = bytearray(), VoucherRendition()
    request = GetVoucherRenditionRequest(name=name)
    parts = receive(session.stubs.disclosure.GetVoucherRendition, request, LONG_TIMEOUT_S)
    async for part in parts:
        rendition.MergeFrom(part.rendition)
        content += part.content
        if len(content) > MAX_RENDITION_BYTES:
            raise Complaint("the public copy is too large", "公开副本过大")
    if sha256(content).hexdigest() != rendition.sha256:
        raise Complaint("the bytes have another SHA-256 than was said", "公开副本内容与摘要不符")
    written = _write_pages(bytes(content), list(rendition.page_sizes), out)
    at = (Column("已写入", "Written to"), " ".join(map(str, written)))
    session.screen.one(rendition, (*_rendition(rendition, session.screen.lang), at))


def _region(text: str, page: int) -> VoucherRegion:
    given = _BOX.fullmatch(text)
    if given is None:
        raise typer.BadParameter("is not as in 120,300,200,40 or 2:120,300,200,40 / 格式不对")
    own, x, y, width, height = given.groups()
    return VoucherRegion(
        page=int(own or page), x=int(x), y=int(y), width=int(width), height=int(height)
    )


def _write_pages(content: bytes, sizes: list[int], out: Path) -> list[Path]:
    """The pictures of the pages, one a file."""
    several, written, start = len(sizes) > 1, list[Path](), 0
    for number, size in enumerate(sizes, 1):
        file = out.with_stem(f"{out.stem}-{number}") if several else out
        write_private(file, content[start : start + size])
        written, start = [*written, file], start + size
    return written


def _rendition(rendition: VoucherRendition, lang: Language) -> Iterator[tuple[Column, str]]:
    yield Column("凭证", "Voucher"), rendition.voucher
    yield Column("公开副本", "Public copy"), f"{rendition.number} · {rendition.sha256}"
    yield Column("页数", "Pages"), str(len(rendition.page_sizes))
    yield Column("按要求遮盖", "Masked as asked"), str(len(rendition.regions))
    yield Column("自动遮盖号码", "Numbers masked"), str(rendition.numbers_masked)
    yield (
        Column("制作", "Made by"),
        f"{rendition.maker} · {label(Role, rendition.maker_role, lang)}",
    )
    yield Column("时间（北京）", "Time (Beijing)"), moment(rendition.create_time)


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
