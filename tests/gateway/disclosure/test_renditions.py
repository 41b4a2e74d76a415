"""Over the socket: the firm makes what everybody may see of a voucher, and owners see only that."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from PIL import Image
from xinyi.v1 import audit_service_pb2 as audit
from xinyi.v1 import common_pb2 as common
from xinyi.v1 import disclosure_service_pb2 as pb
from xinyi.v1 import duty_service_pb2 as duty
from xinyi.v1 import payment_service_pb2 as payment

from gateway.audit.entry import UNCHANGED
from gateway.disclosure import renditions
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.disclosure.papers import NAME, PHONE, boundless_png, encrypted, pdf, photo
from tests.gateway.payments.desk import FUND, voucher_header
from tests.gateway.support import (
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    OPERATOR,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    Callers,
    Who,
    refusal,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app import Gateway

PAPER = pdf((50, 700, f"{NAME} tel {PHONE}"), pages=2)
REGION = pb.VoucherRegion(page=1, x=60, y=140, width=200, height=40)


async def upload(callers: Callers, content: bytes = PAPER, **fields: Any) -> str:
    parts = [voucher_header(content=content, **fields)]
    parts.append(payment.UploadVoucherRequest(content=content))
    answer = await (await callers.as_(FIRM)).payments.UploadVoucher(iter(parts))
    return str(answer.voucher.name)


async def render(
    callers: Callers,
    voucher: str,
    regions: Sequence[pb.VoucherRegion] = (),
    who: Who = FIRM,
    named: str = "",
) -> pb.VoucherRendition:
    request = duty.RenderVoucherRequest(
        name=voucher, regions=regions, request_id=named or request_id()
    )
    answer = await (await callers.as_(who)).duties.RenderVoucher(request)
    return answer.rendition


async def seen(callers: Callers, voucher: str, who: Who = OWNER) -> tuple[Any, bytes]:
    request = pb.GetVoucherRenditionRequest(name=voucher)
    stream = (await callers.as_(who)).disclosure.GetVoucherRendition(request)
    head, *parts = [part async for part in stream]
    return head.rendition, b"".join(part.content for part in parts)


async def _first(callers: Callers, voucher: str, who: Who) -> Any:
    stream = (await callers.as_(who)).disclosure.GetVoucher(pb.GetVoucherRequest(name=voucher))
    return [part async for part in stream]


async def test_owners_see_the_pictures_that_the_firm_made_and_their_hash(callers: Callers) -> None:
    voucher = await upload(callers)
    made = await render(callers, voucher, [REGION])
    for who in (OWNER, CHAIR, FIRM, SUPERVISOR):
        said, content = await seen(callers, voucher, who)
        assert said == made
    assert made.sha256 == sha256(content).hexdigest()
    assert (made.voucher, made.number, made.media_type) == (voucher, 1, "image/jpeg")
    assert (list(made.regions), made.numbers_masked) == ([REGION], 2)
    first, second = made.page_sizes
    for page in (content[:first], content[first:]):
        assert Image.open(BytesIO(page)).size == (1240, 1755)
    assert first + second == len(content)
    assert NAME.encode() not in content


async def test_owners_never_get_an_original(callers: Callers) -> None:
    voucher = await upload(callers)
    await render(callers, voucher)
    assert (await refusal(_first(callers, voucher, OWNER))).reason == "ROLE_NOT_ALLOWED"
    for who in (CHAIR, FIRM, MAKER, CHECKER, OPERATOR, SUPERVISOR):
        parts = await _first(callers, voucher, who)
        assert b"".join(part.content for part in parts) == PAPER


async def test_what_was_not_made_yet_is_said_to_be_so(callers: Callers) -> None:
    voucher = await upload(callers)
    refused = await refusal(seen(callers, voucher))
    assert refused.reason == "RENDITION_MISSING"
    assert "has not been made yet" in str(refused)
    assert "尚未制作公开副本" in str(refused)
    nothing = f"{FUND}/vouchers/{'0' * 64}"
    assert (await refusal(seen(callers, nothing))).reason == "RESOURCE_NOT_FOUND"


async def test_no_other_estate_makes_or_sees_a_rendition(callers: Callers) -> None:
    voucher = await upload(callers)
    await render(callers, voucher)
    assert (await refusal(seen(callers, voucher, OTHER_FIRM))).reason == "RESOURCE_NOT_FOUND"
    refused = await refusal(render(callers, voucher, who=OTHER_FIRM))
    assert refused.reason == "RESOURCE_NOT_FOUND"
    for who in (OWNER, CHAIR, SUPERVISOR, OPERATOR):
        refused = await refusal(render(callers, voucher, who=who))
        assert refused.reason == "ROLE_NOT_ALLOWED"


async def test_a_newer_rendition_takes_the_place_of_the_older_which_is_kept(
    gateway: Gateway, callers: Callers
) -> None:
    voucher = await upload(callers)
    first = await render(callers, voucher)
    second = await render(callers, voucher, [REGION], CHECKER)
    assert (second.number, second.maker_role) == (2, common.ROLE_TRUSTEE_CHECKER)
    assert first.sha256 != second.sha256
    assert (await seen(callers, voucher))[0] == second
    async with gateway.store.transaction(GATEWAY) as conn:
        query = sa.select(t.voucher_renditions.c.rendition_sha256)
        kept = (await conn.scalars(query.order_by(t.voucher_renditions.c.number))).all()
    assert kept == [first.sha256, second.sha256]


async def test_a_repeated_call_makes_nothing_new_and_the_audit_log_has_it_once(
    callers: Callers,
) -> None:
    voucher, named = await upload(callers), request_id()
    made = await render(callers, voucher, [REGION], named=named)
    assert await render(callers, voucher, [REGION], named=named) == made
    refused = await refusal(render(callers, voucher, named=named))
    assert refused.reason == "REQUEST_ID_REUSED"
    request = audit.ListAuditEntriesRequest(resource=voucher, page_size=100)
    answer = await (await callers.as_(OPERATOR)).audit.ListAuditEntries(request)
    rendered = [each for each in answer.entries if each.method.endswith("/RenderVoucher")]
    assert [each.reason for each in rendered if each.code == "OK"] == [UNCHANGED, ""]


@pytest.mark.parametrize(
    ("content", "media_type", "said"),
    [
        (encrypted(), "application/pdf", "it is encrypted"),
        (b"%PDF-1.7 invoice", "application/pdf", "it is a broken PDF"),
        (pdf(pages=1000), "application/pdf", "it has 1,000 pages"),
        (pdf(pages=0), "application/pdf", "it is a broken PDF"),
        (photo()[:500], "image/jpeg", "it is a broken JPEG"),
        (boundless_png(), "image/png", "it is a broken PNG"),
        (b"\xff", "text/plain", "it is no text in UTF-8"),
    ],
)
async def test_a_voucher_of_which_no_picture_can_be_made_is_refused_with_the_reason(
    callers: Callers, content: bytes, media_type: str, said: str
) -> None:
    voucher = await upload(callers, content, media_type=media_type)
    refused = await refusal(render(callers, voucher))
    assert refused.reason == "VOUCHER_NOT_RENDERABLE"
    assert said in str(refused)
    assert (await refusal(seen(callers, voucher))).reason == "RENDITION_MISSING"


@pytest.mark.parametrize("end", ["import os; os.abort()", "import time; time.sleep(60)"])
async def test_a_file_that_takes_its_reader_down_or_for_ever_does_no_harm_to_the_gateway(
    callers: Callers, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    voucher = await upload(callers)
    with monkeypatch.context() as patch:
        patch.setattr(renditions, "_COMMAND", (renditions._COMMAND[0], "-c", end))
        patch.setattr(renditions, "PATIENCE_S", 0.5)
        refused = await refusal(render(callers, voucher))
    assert refused.reason == "VOUCHER_NOT_RENDERABLE"
    assert (await render(callers, voucher)).number == 1


async def test_a_picture_that_wants_more_memory_than_there_is_for_it_is_refused(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = "import gateway.disclosure.redacting as r; r._confine(); bytes(2 << 30)"
    monkeypatch.setattr(renditions, "_COMMAND", (renditions._COMMAND[0], "-I", "-c", greedy))
    refused = await refusal(render(callers, await upload(callers)))
    assert refused.reason == "VOUCHER_NOT_RENDERABLE"


@pytest.mark.parametrize(
    ("region", "field"),
    [
        ({"page": 3, "x": 0, "y": 0, "width": 1, "height": 1}, "regions[1]"),
        ({"page": 0, "x": 0, "y": 0, "width": 1, "height": 1}, "regions[1].page"),
        ({"page": 1, "x": 999, "y": 0, "width": 2, "height": 1}, "regions[1]"),
        ({"page": 1, "x": 0, "y": -1, "width": 1, "height": 1}, "regions[1].y"),
        ({"page": 1, "x": 0, "y": 0, "width": 0, "height": 1}, "regions[1].width"),
    ],
)
async def test_a_region_that_is_on_no_page_is_named(
    callers: Callers, region: dict[str, int], field: str
) -> None:
    voucher = await upload(callers)
    refused = await refusal(render(callers, voucher, [REGION, pb.VoucherRegion(**region)]))
    assert refused.reason == "FIELD_INVALID"
    assert [each.field for each in refused.violations] == [field]
