"""A line with a voucher, and the public copy of it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.disclosure.renditions import Renderer, keep_rendition
from gateway.domain.party import Role
from gateway.payments.vouchers import Voucher, load_voucher, store_voucher
from gateway.registry.marks import Author
from gateway.store import GATEWAY
from tests.gateway.disclosure.papers import NAME, PHONE, pdf
from tests.gateway.night.world import NOW, TODAY

if TYPE_CHECKING:
    from gateway.disclosure.pictures import Region
    from gateway.store import Row
    from tests.gateway.night.world import World

PAPER = pdf((50, 700, f"{NAME} tel {PHONE}"), pages=2)
VOUCHER = f"/funds/f1/lines/5/vouchers/{sha256(PAPER).hexdigest()}"


async def with_voucher(world: World) -> None:
    """A fifth line, with a voucher of two pages."""
    digest = sha256(PAPER).hexdigest()
    async with world.store.transaction(GATEWAY) as conn:
        voucher = Voucher(digest, "发票.pdf", "application/pdf", len(PAPER), PAPER)
        await store_voucher(conn, "f1", voucher, NOW)
    await world.line("f1", -1_000, TODAY, vouchers=(digest,))


async def rendered(world: World, *regions: Region) -> Row:
    async with world.store.transaction(GATEWAY) as conn:
        voucher = await load_voucher(conn, "f1", sha256(PAPER).hexdigest())
        made = await Renderer().pictures(voucher, regions)
        by = Author("trustee", Role.OPERATOR)
        return await keep_rendition(conn, voucher, regions, made, by, NOW)
