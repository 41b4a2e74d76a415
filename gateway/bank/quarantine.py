"""Files that could not be used: kept whole with the reason, to be tried again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql as pg

from gateway.audit.entry import Deed, by_gateway
from gateway.audit.log import append
from gateway.bank.inbound import BankFile, Imported, read, take_in
from gateway.domain.errors import GatewayError, Kind, not_found
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.store import Store

log = structlog.get_logger(__name__)


async def import_file(store: Store, file: BankFile, banks: Banks, now: datetime) -> Imported:
    """Takes a file in, or puts it in quarantine with the reason and refuses.

    Raises:
        GatewayError: why it could not be used.
    """
    try:
        content = await asyncio.to_thread(read, file, banks)
        async with store.transaction(GATEWAY) as conn:
            imported = await take_in(conn, file, content, banks, now)
            await append(conn, [by_gateway(Deed.FILE_TAKEN_IN, now, digest=file.digest)])
            return imported
    except GatewayError as refusal:
        await put(store, file, refusal, now)
        if refusal.kind is Kind.PRECONDITION:
            await _record_refusal(store, file, refusal, now)
        raise


async def _record_refusal(
    store: Store, file: BankFile, refusal: GatewayError, now: datetime
) -> None:
    name = f"quarantinedFiles/{file.digest}"
    entry = by_gateway(Deed.FILE_TAKEN_IN, now, name, digest=file.digest)
    refused = replace(entry, code="FAILED_PRECONDITION", reason=refusal.reason.value)
    async with store.transaction(GATEWAY) as conn:
        await append(conn, [refused])


async def put(store: Store, file: BankFile, refusal: GatewayError, now: datetime) -> None:
    """Keeps a refused file. A refusal that lies in our moment, not in the file, keeps nothing."""
    if refusal.kind is not Kind.PRECONDITION:
        return
    held = t.quarantined_files
    why = {"reason": refusal.reason.value, "detail": refusal.message}
    async with store.transaction(GATEWAY) as conn:
        await conn.execute(
            pg.insert(held)
            .values(
                sha256=file.digest,
                file_name=file.name,
                content=file.content,
                account_number=file.account_number,
                profile_id=file.profile_id,
                created_at=now,
                **why,
            )
            .on_conflict_do_update(index_elements=["sha256"], set_=why)
        )
    log.warning("bank_file_quarantined", sha256=file.digest, reason=refusal.reason.value)


async def held_file(conn: AsyncConnection, digest: str) -> BankFile:
    """A file in quarantine.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    held = t.quarantined_files
    query = sa.select(held).where(held.c.sha256 == digest)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"quarantinedFiles/{digest}")
    return BankFile(row.file_name, bytes(row.content), row.account_number, row.profile_id)


async def replay(conn: AsyncConnection, digest: str, banks: Banks, now: datetime) -> Imported:
    """Tries a file in quarantine again; the transaction must be the gateway's own.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, or why the file still cannot be used.
    """
    file = await held_file(conn, digest)
    content = await asyncio.to_thread(read, file, banks)
    imported = await take_in(conn, file, content, banks, now)
    held = t.quarantined_files
    await conn.execute(held.update().where(held.c.sha256 == digest).values(replayed_at=now))
    return imported
