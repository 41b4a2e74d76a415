"""Proves the audit log without a gateway: every entry, every link, and the anchors outside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.audit import anchor as anchors
from gateway.audit.chain import GENESIS, Head, follow
from gateway.audit.entry import Entry
from gateway.audit.keeper import missing
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.audit.anchor import Anchor
    from gateway.store import Row, Store

_AT_ONCE: Final = 5000


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong.

    Attributes:
        sequence: of the link; 0 where it is about an entry that is not linked yet.
        zh: what, in Chinese.
        en: what, in English.
    """

    sequence: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        head: the newest link that was proved.
        unsealed: entries that are not linked yet.
        oldest_unsealed: when the oldest of them was made; None where there is none.
        anchors: how many anchors were compared.
        fault: None if the log is whole.
    """

    head: Head
    unsealed: int
    oldest_unsealed: datetime | None
    anchors: int
    fault: Fault | None


async def verify(
    store: Store, places: Sequence[Path], progress: Callable[[int], None] = lambda _: None
) -> Verdict:
    """Reads the whole log as of one moment, in memory that does not grow with it.

    Args:
        store: the database.
        places: directories that hold an anchor each; one without is passed over.
        progress: told the number of entries proved so far.

    Raises:
        AnchorError: an anchor cannot be read.
        OSError: a place cannot be read.
    """
    found = await asyncio.to_thread(_read, places)
    async with store.snapshot(GATEWAY) as conn:
        head, fault = await _chain(conn, progress)
        unsealed, oldest, fault_of_unsealed = await _unsealed(conn)
        lost = await missing(conn, found)
    fault = fault or fault_of_unsealed or _of_anchor(lost)
    return Verdict(head, unsealed, oldest, len(found), fault)


def _read(places: Sequence[Path]) -> list[Anchor]:
    return [anchor for place in places if (anchor := anchors.read(place))]


async def _chain(
    conn: AsyncConnection, progress: Callable[[int], None]
) -> tuple[Head, Fault | None]:
    entries, links = t.audit_entries, t.audit_links
    query = (
        sa.select(
            entries,
            links.c.sequence,
            links.c.hash,
            links.c.entry_id.label("linked_id"),
        )
        .select_from(links)
        .outerjoin(entries, entries.c.entry_id == links.c.entry_id)
        .order_by(links.c.sequence)
        .execution_options(yield_per=_AT_ONCE)
    )
    head = GENESIS
    async with conn.stream(query) as rows:
        async for row in rows:
            fault = _fault_of_link(head, row)
            if fault is not None:
                return head, fault
            head = Head(row.sequence, row.hash)
            if head.sequence % _AT_ONCE == 0:
                progress(head.sequence)
    return head, None


def _fault_of_link(head: Head, row: Row) -> Fault | None:
    expected = head.sequence + 1
    if row.sequence != expected:
        return Fault(expected, "链上缺少这一条", "the link is missing")
    if row.entry_id is None:
        return Fault(expected, "所链的记录已不存在", "the entry it links is gone")
    if _entry(row).digest != row.digest:
        return Fault(expected, "记录内容被改动", "the entry was changed")
    if follow(head, row.digest).hash != row.hash:
        return Fault(
            expected,
            "与前一条不相接（被调换、插入或改写）",
            "it does not follow the one before: swapped, inserted or rewritten",
        )
    return None


def _entry(row: Row) -> Entry:
    values: dict[str, Any] = {name: getattr(row, name) for name in Entry.__dataclass_fields__}
    return Entry(**values)


async def _unsealed(conn: AsyncConnection) -> tuple[int, datetime | None, Fault | None]:
    entries, links = t.audit_entries, t.audit_links
    query = (
        sa.select(entries)
        .outerjoin(links, links.c.entry_id == entries.c.entry_id)
        .where(links.c.entry_id.is_(None))
        .order_by(entries.c.entry_id)
        .execution_options(yield_per=_AT_ONCE)
    )
    count, oldest, fault = 0, None, None
    async with conn.stream(query) as rows:
        async for row in rows:
            count += 1
            oldest = row.at if oldest is None else min(oldest, row.at)
            if fault is None and _entry(row).digest != row.digest:
                number = f"entry_id {row.entry_id}"
                fault = Fault(0, f"未链接的记录 {number} 被改动", f"unlinked {number} was changed")
    return count, oldest, fault


def _of_anchor(lost: Sequence[Anchor]) -> Fault | None:
    if not lost:
        return None
    last = max(lost, key=lambda anchor: anchor.head.sequence)
    return Fault(
        last.head.sequence,
        f"库外锚点（{last.at:%Y-%m-%d %H:%M:%S} UTC）证明的记录，库中没有",
        f"the anchor of {last.at:%Y-%m-%d %H:%M:%S} UTC proves an entry that is not here",
    )
