"""The public copy of a voucher: made by the firm, fetched page by page by owners."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from xinyi.v1 import disclosure_service_pb2 as pb
from xinyi.v1 import duty_service_pb2 as duty
from xinyi.v1.common_pb2 import ROLE_PROPERTY_FIRM

from tests.gateway.cli.fake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

DIGEST = "ab" * 32
NAME = f"funds/f1/vouchers/{DIGEST}"
PAGES = (b"first page", b"second")


def rendition(*pages: bytes, digest: str = "") -> pb.VoucherRendition:
    return pb.VoucherRendition(
        voucher=NAME,
        number=2,
        sha256=digest or sha256(b"".join(pages)).hexdigest(),
        media_type="image/jpeg",
        page_sizes=map(len, pages),
        regions=[pb.VoucherRegion(page=1, x=1, y=2, width=3, height=4)],
        numbers_masked=7,
        maker="安居物业",
        maker_role=ROLE_PROPERTY_FIRM,
    )


def parts(*pages: bytes, digest: str = "") -> list[pb.GetVoucherRenditionResponse]:
    content = b"".join(pages)
    said = pb.GetVoucherRenditionResponse(rendition=rendition(*pages, digest=digest))
    cut = (content[:4], content[4:])
    return [said, *(pb.GetVoucherRenditionResponse(content=each) for each in cut)]


def test_a_copy_of_one_page_is_one_file(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetVoucherRendition"] = parts(PAGES[0])
    result = zhao("voucher", "download", f"f1/{DIGEST}", "--out", "seen.jpg")
    assert result.exit_code == 0
    assert (tmp_path / "seen.jpg").read_bytes() == PAGES[0]
    assert fake.requests("GetVoucherRendition") == [[pb.GetVoucherRenditionRequest(name=NAME)]]


def test_a_copy_of_several_pages_is_a_file_a_page(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetVoucherRendition"] = parts(*PAGES)
    result = zhao("voucher", "download", NAME, "--out", "seen.jpg", "--json")
    files = [tmp_path / f"seen-{number}.jpg" for number in (1, 2)]
    assert tuple(file.read_bytes() for file in files) == PAGES
    assert not (tmp_path / "seen.jpg").exists()
    assert json.loads(result.stdout)["page_sizes"] == [10, 6]


def test_a_copy_that_is_not_what_was_said_is_not_written(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    for answer in (parts(*PAGES, digest="0" * 64), parts(*[bytes(3 << 20)] * 7)):
        fake.answers["GetVoucherRendition"] = answer
        result = zhao("voucher", "download", NAME, "--out", "seen.jpg")
        assert result.exit_code == 2
        assert list(tmp_path.glob("seen*")) == []


def test_that_no_copy_was_made_yet_is_said_in_both_languages(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    told = refusal("RENDITION_MISSING", "has not been made yet", "该凭证尚未制作公开副本")
    fake.answers["GetVoucherRendition"] = told
    result = zhao("voucher", "download", NAME, "--out", "seen.jpg")
    assert result.exit_code == 2
    assert "has not been made yet" in result.stderr
    assert "该凭证尚未制作公开副本" in result.stderr


def test_boxes_are_of_the_page_they_name_or_of_the_one_that_is_said(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["RenderVoucher"] = duty.RenderVoucherResponse(rendition=rendition(*PAGES))
    boxes = ("--box", "1,2,3,4", "--page", "2", "--box", "1:10,20,30,40", "--request-id", "r1")
    result = zhao("voucher", "mask", f"f1/{DIGEST}", *boxes)
    [[asked]] = fake.requests("RenderVoucher")
    assert asked == duty.RenderVoucherRequest(
        name=NAME,
        regions=[
            pb.VoucherRegion(page=2, x=1, y=2, width=3, height=4),
            pb.VoucherRegion(page=1, x=10, y=20, width=30, height=40),
        ],
        request_id="r1",
    )
    assert "自动遮盖号码" in result.stdout
    assert "安居物业 · 物业公司" in result.stdout
    assert "请下载核对" in result.stderr


@pytest.mark.parametrize("box", ["1,2,3", "a,2,3,4", "1,2,3,-4", "1.5,2,3,4", "1:2:3,4,5,6", ""])
def test_what_is_no_box_is_not_sent(
    zhao: Callable[..., Result], fake: FakeGateway, box: str
) -> None:
    result = zhao("voucher", "mask", NAME, "--box", box, "--lang", "en")
    assert result.exit_code == 2
    assert "120,300,200,40" in result.stderr
    assert fake.requests("RenderVoucher") == []
