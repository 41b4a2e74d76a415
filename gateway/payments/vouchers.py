"""Vouchers: the documents behind payments and receipts, named by the digest of their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.domain.errors import Reason, invalid, not_found
from gateway.ledger.writer import lock_fund
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher as declared by its uploader, with its bytes.

    Attributes:
        sha256: declared digest, hexadecimal.
        file_name: as uploaded.
        media_type: IANA media type.
        size_bytes: declared size.
        content: the bytes that arrived.
    """

    sha256: str
    file_name: str
    media_type: str
    size_bytes: int
    content: bytes


async def store_voucher(
    conn: AsyncConnection, fund_id: str, voucher: Voucher, now: datetime
) -> None:
    """Stores a voucher; the same bytes again change nothing.

    Raises:
        GatewayError: VOUCHER_DIGEST_MISMATCH if the bytes are not the declared ones,
            RESOURCE_NOT_FOUND without such a fund.
    """
    if len(voucher.content) != voucher.size_bytes:
        raise invalid(
            Reason.VOUCHER_DIGEST_MISMATCH,
            "header.voucher.size_bytes",
            f"{len(voucher.content)} bytes arrived",
        )
    if sha256(voucher.content).hexdigest() != voucher.sha256:
        raise invalid(
            Reason.VOUCHER_DIGEST_MISMATCH,
            "header.voucher.name",
            "the bytes that arrived have another SHA-256",
        )
    await lock_fund(conn, fund_id)
    await conn.execute(
        pg.insert(t.vouchers)
        .values(
            fund_id=fund_id,
            sha256=voucher.sha256,
            file_name=voucher.file_name,
            media_type=voucher.media_type,
            size_bytes=voucher.size_bytes,
            content=voucher.content,
            created_at=now,
        )
        .on_conflict_do_nothing()
    )


async def load_voucher(conn: AsyncConnection, fund_id: str, digest: str) -> Row:
    """A voucher with its bytes.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND if there is none in the caller's scope.
    """
    query = sa.select(t.vouchers).where(
        t.vouchers.c.fund_id == fund_id, t.vouchers.c.sha256 == digest
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}/vouchers/{digest}")
    return row
