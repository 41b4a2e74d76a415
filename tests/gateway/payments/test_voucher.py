"""Vouchers over the socket: stored once, or refused with the field at fault."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from xinyi.v1 import payment_service_pb2 as pb

from gateway.store import tables as t
from tests.gateway.payments.desk import (
    CONTENT,
    DIGEST,
    FUND,
    OTHER_FUND,
    voucher_header,
)
from tests.gateway.support import FIRM, OTHER_FIRM, refusal

if TYPE_CHECKING:
    from tests.gateway.payments.desk import Desk


def _content(content: bytes = CONTENT) -> pb.UploadVoucherRequest:
    return pb.UploadVoucherRequest(content=content)


async def _stored(desk: Desk) -> int:
    return len(await desk.rows(sa.select(t.vouchers.c.sha256)))


async def test_a_voucher_is_named_by_its_bytes_and_stored_once(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    parts = [voucher_header(), _content(CONTENT[:5]), _content(CONTENT[5:])]

    answer = await stub.UploadVoucher(parts)

    assert answer.voucher.name == f"{FUND}/vouchers/{DIGEST}"
    assert (answer.voucher.size_bytes, answer.voucher.file_name) == (len(CONTENT), "发票.pdf")
    assert await _stored(desk) == 1


BROKEN: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"name": f"{FUND}/vouchers/{'0' * 64}"}, "VOUCHER_DIGEST_MISMATCH", "header.voucher.name"),
    ({"size_bytes": 3}, "VOUCHER_DIGEST_MISMATCH", "header.voucher.size_bytes"),
    ({"name": f"{OTHER_FUND}/vouchers/{DIGEST}"}, "FIELD_INVALID", "header.voucher.name"),
    ({"name": "vouchers/1"}, "FIELD_INVALID", "name"),
    ({"media_type": "text/html"}, "FIELD_INVALID", "header.voucher.media_type"),
    ({"size_bytes": 0}, "FIELD_INVALID", "header.voucher.size_bytes"),
    ({"file_name": ""}, "FIELD_INVALID", "header.voucher.file_name"),
)
"""What is wrong with the header, the refusal, and the field at fault."""


async def test_a_voucher_that_is_not_what_it_says_is_refused(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    for fields, reason, path in BROKEN:
        refused = await refusal(stub.UploadVoucher([voucher_header(**fields), _content()]))

        found = (refused.reason, [each.field for each in refused.violations])
        assert found == (reason, [path]), fields
    assert await _stored(desk) == 1


ORDERS: tuple[list[pb.UploadVoucherRequest], ...] = (
    [],
    [_content()],
    [_content(), voucher_header()],
    [voucher_header(), voucher_header(), _content()],
    [voucher_header(), _content(), voucher_header()],
)
"""Streams without the one header in front."""


async def test_a_stream_has_one_header_and_it_comes_first(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    for parts in ORDERS:
        refused = await refusal(stub.UploadVoucher(parts))

        assert (refused.reason, refused.violations[0].field) == ("FIELD_INVALID", "header")
    assert await _stored(desk) == 1


async def test_more_than_ten_mebibytes_are_refused_and_nothing_is_kept(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    parts = [voucher_header(), *[_content(bytes(1 << 20))] * 10, _content(b"x")]

    refused = await refusal(stub.UploadVoucher(parts))

    assert refused.reason == "LIMIT_EXCEEDED"
    assert await _stored(desk) == 1


async def test_a_part_of_more_than_a_mebibyte_is_refused(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    content = bytes((1 << 20) + 1)

    refused = await refusal(
        stub.UploadVoucher([voucher_header(content=content), _content(content)])
    )

    assert (refused.reason, refused.violations[0].field) == ("FIELD_INVALID", "content")


async def test_the_same_request_id_with_other_bytes_is_refused(desk: Desk) -> None:
    stub = await desk.stub(FIRM)
    header = voucher_header()
    await stub.UploadVoucher([header, _content()])
    header.header.voucher.name = f"{FUND}/vouchers/{sha256(b'other').hexdigest()}"
    header.header.voucher.size_bytes = 5

    refused = await refusal(stub.UploadVoucher([header, _content(b"other")]))

    assert refused.reason == "REQUEST_ID_REUSED"
    assert await _stored(desk) == 1


async def test_a_firm_uploads_nothing_to_a_fund_that_is_not_its_own(desk: Desk) -> None:
    stub = await desk.stub(OTHER_FIRM)

    refused = await refusal(stub.UploadVoucher([voucher_header(), _content()]))

    assert refused.reason == "RESOURCE_NOT_FOUND"
