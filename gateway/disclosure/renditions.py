"""What everybody may see of a voucher: made by another process, kept; the last one is shown."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.disclosure.lines import get_voucher
from gateway.disclosure.pictures import MEDIA_TYPE, FaultError, answered, ask
from gateway.domain.errors import Reason, invalid, precondition
from gateway.ledger.writer import lock_fund
from gateway.registry.marks import party_name
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.disclosure.pictures import Pictures, Region
    from gateway.registry.marks import Author
    from gateway.store import Row

MOST_AT_ONCE: Final = 2
"""Vouchers of which pictures are made at a time; others wait."""

PATIENCE_S: Final = 30.0
"""How long one may take."""

_COMMAND: Final = (sys.executable, "-I", "-m", "gateway.disclosure.redacting")
_OF_THE_SYSTEM: Final = ("LD_LIBRARY_PATH", "SYSTEMROOT")
"""What the process is told of the surroundings: where libraries are, and nothing of the gateway."""

_R: Final = t.voucher_renditions.c


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes pictures of vouchers, a few at a time, each in a process of its own."""

    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    async def pictures(self, voucher: Row, regions: Sequence[Region]) -> Pictures:
        """The pages of a voucher, with black over what is private.

        Raises:
            GatewayError: FIELD_INVALID for a region on no page, VOUCHER_NOT_RENDERABLE.
        """
        asked = ask(bytes(voucher.content), voucher.media_type, regions)
        try:
            async with self._room:
                return answered(await asyncio.to_thread(_run, asked))
        except FaultError as fault:
            if fault.region is not None:
                path = f"regions[{fault.region}]"
                raise invalid(Reason.FIELD_INVALID, path, str(fault)) from None
            name = f"funds/{voucher.fund_id}/vouchers/{voucher.sha256}"
            message = f"no picture can be made of the voucher: {fault}"
            raise precondition(Reason.VOUCHER_NOT_RENDERABLE, name, message) from None


def _run(asked: bytes) -> bytes:
    """What the process answers.

    Raises:
        FaultError: it answered nothing, because the file wanted more memory or time than it gets.
    """
    surroundings = {name: os.environ[name] for name in _OF_THE_SYSTEM if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            _COMMAND,
            input=asked,
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
            env=surroundings,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise FaultError("to read it takes more memory or time than there is for it") from None
    return done.stdout


async def keep_rendition(
    conn: AsyncConnection,
    voucher: Row,
    regions: Sequence[Region],
    made: Pictures,
    by: Author,
    now: datetime,
) -> Row:
    """Adds a rendition, which is the one that is shown from now on; returns it without its bytes.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    await lock_fund(conn, voucher.fund_id)
    own = (_R.fund_id == voucher.fund_id) & (_R.sha256 == voucher.sha256)
    last = await conn.scalar(sa.select(sa.func.max(_R.number)).where(own))
    content = b"".join(made.pages)
    values = {
        "fund_id": voucher.fund_id,
        "sha256": voucher.sha256,
        "number": (last or 0) + 1,
        "rendition_sha256": sha256(content).hexdigest(),
        "media_type": MEDIA_TYPE,
        "content": content,
        "page_sizes": [len(page) for page in made.pages],
        "regions": [asdict(region) for region in regions],
        "numbers_masked": made.numbers_masked,
        "role": by.role,
        "party_name": await party_name(conn, by.party_id),
        "created_at": now,
    }
    await conn.execute(t.voucher_renditions.insert().values(values))
    return await get_rendition(conn, voucher.fund_id, voucher.sha256)


async def get_rendition(conn: AsyncConnection, fund_id: str, digest: str) -> Row:
    """What is shown of a voucher, without its bytes.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a voucher in the caller's scope;
            RENDITION_MISSING while none was made of it.
    """
    row = await find_rendition(conn, fund_id, digest)
    if row is None:
        await get_voucher(conn, fund_id, digest)
        name = f"funds/{fund_id}/vouchers/{digest}"
        message = "a public rendition of the voucher has not been made yet"
        raise precondition(Reason.RENDITION_MISSING, name, message)
    return row


async def find_rendition(conn: AsyncConnection, fund_id: str, digest: str) -> Row | None:
    """What is shown of a voucher, without its bytes; None while no rendition was made of it."""
    query = (
        sa.select(*(column for column in _R if column is not _R.content))
        .where(_R.fund_id == fund_id, _R.sha256 == digest)
        .order_by(_R.number.desc())
        .limit(1)
    )
    return (await conn.execute(query)).one_or_none()


async def rendition_chunks(
    conn: AsyncConnection, rendition: Row, chunk_bytes: int
) -> AsyncIterator[bytes]:
    """The bytes of a rendition, in order; no more than one chunk is in memory."""
    for start in range(0, sum(rendition.page_sizes), chunk_bytes):
        yield await _part(conn, rendition, start, chunk_bytes)


async def rendition_page(conn: AsyncConnection, rendition: Row, page: int) -> bytes:
    """The picture of a page, 1 for the first, of those that there are."""
    starts = [0, *accumulate(rendition.page_sizes)]
    return await _part(conn, rendition, starts[page - 1], rendition.page_sizes[page - 1])


async def _part(conn: AsyncConnection, rendition: Row, start: int, size: int) -> bytes:
    part = sa.func.substring(_R.content, start + 1, size, type_=sa.LargeBinary)
    query = sa.select(part).where(
        _R.fund_id == rendition.fund_id,
        _R.sha256 == rendition.sha256,
        _R.number == rendition.number,
    )
    return bytes((await conn.execute(query)).scalar_one())
